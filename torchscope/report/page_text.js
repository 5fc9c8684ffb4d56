"use strict";
// What is written in the boxes, above and below them.
// Names and code are whatever a user wrote: they are set as text, never as HTML.

const data = JSON.parse(document.getElementById("data").textContent);
const SHOWN = 4; // lines called from which another one is reached
const MOST = 50; // notes of one kind
const MARKS = ["shared", "unused", "near miss", "tied"];

function make(tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}

function isolated(text, className = "") { // whatever way it is written, what is around keeps its own
  const element = make("bdi", className);
  for (const part of text.split(/(?<=[/_,(=])|(?<=\.)(?=[a-z_])/i)) element.append(part, make("wbr")); // where it may be broken
  return element;
}

function counted(number, word) {
  return `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;
}

function often(times) {
  return times === 1 ? "once" : times === 2 ? "twice" : counted(times, "time");
}

function marked(count, mark) {
  return `${count.toLocaleString("en")} ${mark === "near miss" && count > 1 ? "near misses" : mark}`;
}

function classOf(mark) {
  return mark.replace(" ", "-");
}

function sum(numbers) {
  return numbers.reduce((total, one) => total + one, 0);
}

// ---- what is written in the boxes ------------------------------------------------------------

function pills(marks, times) {
  return MARKS.filter((mark) => marks[mark]).map((mark) => {
    const count = marks[mark];
    const text = times === undefined ? marked(count, mark) : mark === "shared" && times > 1 ? `shared ×${times}` : mark;
    return make("span", `pill ${classOf(mark)}`, text);
  });
}

function fillScope(box, head, element) {
  head.append(isolated(box.label, "label"));
  if (box.leaf < 0) {
    head.append(make("span", "facts", counted(box.leaves, "variable")), ...pills(box.marks));
  } else {
    const variable = data.variables[box.leaf];
    const kind = variable.kind === "parameter" ? (variable.trainable ? "" : " not trainable") : ` ${variable.kind}`;
    head.append(make("span", "facts", `${variable.shape}${kind}`), ...pills(box.marks, variable.times));
    element.classList.add("variable");
  }
  const part = box.weight / allWeight;
  const bar = make("div", "bar");
  bar.style.setProperty("--part", `${100 * part}%`);
  head.append(make("span", "size", box.size), bar);
  if (box.leaf >= 0) head.append(make("span", "refs", asking(box.leaf)));
  head.style.minHeight = `${Math.round(34 + 90 * Math.sqrt(part))}px`;
}

// For paper, where no lines are drawn.
function asking(leaf) {
  const lines = edgesOf.variables[leaf].map(([, line, times]) => `${data.lines[line].where}${times > 1 ? ` ×${times}` : ""}`);
  return lines.length ? `asked for by ${lines.join(", ")}` : "";
}

function fillLine(box, head, element) {
  if (box.leaf < 0) {
    head.append(isolated(box.label, "label"), make("span", "facts", counted(box.leaves, "line")), ...pills(box.marks));
    return;
  }
  element.classList.add("code");
  const edges = edgesOf.lines[box.leaf];
  head.append(make("span", "number", String(data.lines[box.leaf].line)), isolated(box.label, "label"));
  const facts = make("span", "facts", `${counted(edges.length, "variable")}, asked for ${often(sum(edges.map((edge) => edge[2])))} `);
  if (box.marks.shared) facts.append(make("span", "pill shared", "shared"));
  head.append(make("span", "break"), facts);
  const callers = data.lines[box.leaf].callers;
  if (callers.length) head.append(make("span", "break"), make("span", "facts", "called from"));
  for (const [where, code] of callers.slice(0, SHOWN)) {
    head.append(make("span", "break"), make("span", "number", where), isolated(code, "way"));
  }
  if (callers.length > SHOWN) head.append(make("span", "break"), make("span", "facts", `and ${callers.length - SHOWN} more`));
}

// What an opened leaf shows: describe(leaf, row) gives its rows.
function details(leaf, describe) {
  const list = make("dl", "details");
  const row = (title, ...contents) => {
    const cell = make("dd");
    cell.append(...contents);
    list.append(make("dt", "", title), cell);
  };
  describe(leaf, row);
  return list;
}

function describeVariable(leaf, row) {
  const one = data.variables[leaf];
  row("name", isolated(one.name));
  row("kind", `${one.kind}${one.trainable ? ", trainable" : ", not trainable"}`);
  row("tensor", `${one.dtype} ${one.shape} on ${one.device}`);
  row("size", `${counted(one.count, "value")}, ${counted(one.bytes, "byte")}`);
  if (one.made) row("made", ...place(one.made));
  for (const fetch of one.fetches) {
    row("asked for", ...place(fetch), `${often(fetch.times)}${fetch.scope ? `, in scope ${fetch.scope}` : ""}`);
    for (const caller of fetch.callers || []) row("called from", ...place(caller));
  }
  data.tied.filter((tie) => tie.names.includes(one.name)).forEach((tie) =>
    row(`tied (${tie.how})`, isolated(tie.names.filter((name) => name !== one.name).join(", "))));
  data.near_misses.filter((miss) => miss.variables.includes(one.name)).forEach((miss) =>
    row("near miss", isolated(miss.variables.filter((name) => name !== one.name).join(", ")), ` ${miss.why}`));
}

function describeLine(leaf, row) {
  const line = data.lines[leaf];
  row("file", isolated(`${line.file}:${line.line}`));
  row("function", isolated(line.function));
  const asked = edgesOf.lines[leaf].map(([variable, , times]) => `${data.variables[variable].name}${times > 1 ? ` ×${times}` : ""}`);
  const shown = asked.slice(0, 200);
  if (asked.length > shown.length) shown.push(`and ${asked.length - shown.length} more`);
  row("asks for", isolated(shown.join("\n")));
  if (line.callers.length) row("called from", isolated(line.callers.map(([where, code]) => `${where}: ${code}`).join("\n")));
}

function place(one) {
  return [isolated(`${one.file}:${one.line}`), ` in `, isolated(one.function), make("code", "", one.code)];
}

function writeTotals() {
  const having = (mark) => data.variables.filter((variable) => variable.marks.includes(mark)).length;
  document.getElementById("totals").textContent = [
    counted(data.variables.length, "variable"),
    counted(sum(data.variables.filter((one) => one.kind === "parameter").map((one) => one.count)), "parameter"),
    marked(having("shared"), "shared"),
    data.recorded ? `asked for by ${counted(data.lines.length, "line")}` : "no pass was recorded",
  ].join(" · ");
  for (const mark of MARKS) {
    if (!having(mark)) continue;
    const button = make("button", "", marked(having(mark), mark));
    button.type = "button";
    button.dataset.mark = mark;
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => {
      wantedMark = wantedMark === mark ? "" : mark;
      search();
    });
    document.getElementById("filters").append(button);
  }
}

function writeNotes() {
  const notes = document.getElementById("notes");
  const section = (title, items, className, write) => {
    if (!items.length) return;
    const list = make("ul");
    list.append(...capped(items.map((one) => {
      const item = make("li", className);
      item.append(...write(one));
      return item;
    })));
    notes.append(make("h2", "", title), list);
  };
  section("What this cannot tell", data.notes, "note", (note) => [note]);
  section("Near misses: meant to be one variable?", alike(data.near_misses), "near-miss", (misses) => [
    make("p", "", misses[0].why),
    ...capped(misses.map((miss) => {
      const item = make("div", "miss");
      item.append(...miss.variables.map(link), ...place(miss.place));
      return item;
    })),
  ]);
  section("Tied by hand", data.tied, "tied",
    (tie) => [...tie.names.map(link), make("p", "", tie.how === "one object" ? "One object under these names." : "Several objects in one memory.")]);
}

// Near misses in groups that have the same reason.
function alike(misses) {
  const groups = new Map();
  for (const miss of misses) groups.set(miss.why, [...(groups.get(miss.why) || []), miss]);
  return [...groups.values()];
}

function capped(items) {
  const more = items.length - MOST;
  return more > 0 ? [...items.slice(0, MOST), make("p", "", `and ${more.toLocaleString("en")} more`)] : items;
}

// A button that goes to a variable's box.
function link(name) {
  const box = scopes.boxes.findIndex((one) => one.leaf >= 0 && data.variables[one.leaf].name === name);
  if (box < 0) return isolated(`${name} `);
  const button = make("button");
  button.type = "button";
  button.append(isolated(name));
  button.addEventListener("click", () => {
    wantedMark = document.getElementById("search").value = "";
    search();
    scopes.reveal(box);
    scopes.focus(box);
    redraw();
  });
  return button;
}
