// The lines between the two trees, lighting up, searching; and how all of it begins.

const MANY = 150; // found variables up to which their boxes are opened
const page = document.getElementById("picture");
const svg = document.getElementById("edges");

// ---- the lines between -----------------------------------------------------------------------

let drawn = []; // [path, edges]

function draw() {
  stick();
  const frame = page.getBoundingClientRect();
  const [left, right] = [ends(scopes, frame), ends(files, frame)];
  const bundles = new Map();
  for (const edge of data.edges) {
    const [from, to] = [left.boxOf[edge[0]], right.boxOf[edge[1]]];
    if (scopes.hidden[scopes.boxOfLeaf[edge[0]]] || files.hidden[files.boxOfLeaf[edge[1]]]) continue;
    const key = `${from} ${to}`;
    if (!bundles.has(key)) bundles.set(key, { from: left.rects.get(from), to: right.rects.get(to), edges: [] });
    bundles.get(key).edges.push(edge);
  }
  const stacked = right.left < left.right;
  const lanes = [...new Set([...bundles.values()].map((bundle) => bundle.to))]; // one for each line of code
  drawn = [...bundles.values()].map((bundle) => {
    const far = frame.width - 40 + (34 * (lanes.indexOf(bundle.to) + 1)) / lanes.length;
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", stacked ? arc(bundle, far) : curve(bundle, left.right, right.left));
    const shared = bundle.edges.some((edge) => data.variables[edge[0]].marks.includes("shared"));
    if (shared) path.setAttribute("class", "shared");
    return [path, bundle.edges, shared];
  });
  drawn.sort((one, other) => one[2] - other[2]); // what is shared lies on top
  svg.classList.toggle("many", drawn.length > 24 || stacked);
  svg.classList.toggle("dense", drawn.length > 250);
  svg.replaceChildren(...drawn.map(([path]) => path));
  light();
}

// The boxes that are seen, where their heads are, and by which each leaf is seen.
function ends(tree, frame) {
  const sight = tree.standIns();
  const boxOf = [];
  const rects = new Map();
  tree.boxes.forEach((box, i) => {
    if (box.leaf < 0) return;
    boxOf[box.leaf] = sight[i];
    if (rects.has(sight[i]) || tree.hidden[sight[i]]) return;
    const rect = tree.elements.get(sight[i]).firstChild.getBoundingClientRect();
    rects.set(sight[i], { left: rect.left - frame.left, right: rect.right - frame.left, y: (rect.top + rect.bottom) / 2 - frame.top });
  });
  const column = tree.root.getBoundingClientRect();
  return { boxOf, rects, left: column.left - frame.left, right: column.right - frame.left };
}

// Straight within the columns, where text is; bent between them.
function curve({ from, to }, left, right) {
  const middle = (left + right) / 2;
  return `M${from.right} ${from.y}H${left}C${middle} ${from.y} ${middle} ${to.y} ${right} ${to.y}H${to.left}`;
}

function arc({ from, to }, far) { // columns that lie one below the other
  const turn = Math.min(12, Math.abs(to.y - from.y) / 2);
  return `M${from.right} ${from.y}Q${far} ${from.y} ${far} ${from.y + turn}V${to.y - turn}Q${far} ${to.y} ${to.right} ${to.y}`;
}

// The shorter column goes along as the page is scrolled, by its foot if it is higher than the window.
function stick() {
  for (const column of document.querySelectorAll(".column")) {
    column.style.top = `${Math.min(8, innerHeight - column.offsetHeight - 8)}px`;
  }
}

let waiting = false;

function redraw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    draw();
  });
}

// ---- lighting up -----------------------------------------------------------------------------

let hovered = null;
let lit = [];

function light() {
  lit.forEach((element) => element.classList.remove("lit"));
  lit = [];
  const element = hovered || document.activeElement.closest?.(".box");
  page.classList.toggle("lighting", Boolean(element));
  if (!element) return;
  const [tree, other, end] = scopes.root.contains(element) ? [scopes, files, 0] : [files, scopes, 1];
  const leaves = new Set(tree.leavesIn(Number(element.dataset.box)));
  const sight = other.standIns();
  const far = new Set();
  for (const edge of data.edges) if (leaves.has(edge[end])) far.add(sight[other.boxOfLeaf[edge[1 - end]]]);
  lit = [element, ...[...far].map((i) => other.elements.get(i))];
  for (const [path, edges] of drawn) if (edges.some((edge) => leaves.has(edge[end]))) lit.push(path);
  lit.forEach((one) => one.classList.add("lit"));
  const first = [...far].filter((i) => !other.hidden[i]).sort((a, b) => a - b)[0];
  if (!hovered && first !== undefined) other.moveTo(first); // so that Tab goes there
}

page.addEventListener("pointerover", (event) => {
  const head = event.target.closest(".head");
  const now = head ? head.parentElement : null;
  if (now === hovered || event.pointerType === "touch") return;
  hovered = now;
  light();
});
page.addEventListener("pointerleave", () => {
  hovered = null;
  light();
});
page.addEventListener("focusin", light);
page.addEventListener("focusout", () => setTimeout(light));

// ---- searching -------------------------------------------------------------------------------

let wantedMark = "";
let openBefore = null; // which boxes were open when the search began

function search() {
  const words = document.getElementById("search").value.trim().toLowerCase();
  const active = Boolean(words || wantedMark);
  const lineHas = data.lines.map((line) => `${line.where} ${line.function} ${line.code}`.toLowerCase().includes(words));
  const found = new Set(data.variables.flatMap((variable, i) => {
    if (wantedMark && !variable.marks.includes(wantedMark)) return [];
    return variable.name.toLowerCase().includes(words) || edgesOf.variables[i].some((edge) => lineHas[edge[1]]) ? [i] : [];
  }));
  const lines = active ? new Set(data.edges.flatMap((edge) => (found.has(edge[0]) ? [edge[1]] : []))) : new Set(data.lines.keys());
  remember(active);
  scopes.keep(found, active && found.size <= MANY);
  files.keep(lines, active && lines.size <= MANY);
  for (const button of document.querySelectorAll("#filters button")) {
    button.setAttribute("aria-pressed", String(button.dataset.mark === wantedMark));
  }
  document.getElementById("found").textContent = active
    ? `${found.size.toLocaleString("en")} of ${counted(data.variables.length, "variable")}${found.size > MANY ? "; open the boxes to see them" : ""}`
    : "";
  redraw();
}

// Keeps what was open while a search opens and hides, and brings it back at its end.
function remember(active) {
  if (active && !openBefore) openBefore = [[...scopes.open], [...files.open]];
  if (active || !openBefore) return;
  [scopes, files].forEach((tree, side) => openBefore[side].forEach((open, i) => open || tree.setOpen(i, false)));
  openBefore = null;
}

document.getElementById("search").addEventListener("input", search);
document.getElementById("open-all").addEventListener("click", () => setAll(true));
document.getElementById("fold-all").addEventListener("click", () => setAll(false));

function setAll(open) {
  scopes.setAll(open);
  files.setAll(open);
  redraw();
}

document.addEventListener("keydown", (event) => {
  const input = document.getElementById("search");
  if (event.key === "/" && document.activeElement !== input && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    input.focus();
    input.select();
  } else if (event.key === "Escape" && (input.value || wantedMark)) {
    input.value = wantedMark = "";
    search();
  }
});

// ---- the beginning ---------------------------------------------------------------------------

const allWeight = sum(data.variables.map((variable) => variable.count)) || 1;
const edgesOf = { variables: data.variables.map(() => []), lines: data.lines.map(() => []) };
for (const edge of data.edges) {
  edgesOf.variables[edge[0]].push(edge);
  edgesOf.lines[edge[1]].push(edge);
}
const scopes = new Tree(document.getElementById("scopes"), data.scopes, {
  fill: fillScope, details: (leaf) => details(leaf, describeVariable), changed: redraw,
});
const files = new Tree(document.getElementById("files"), data.files, {
  fill: fillLine, details: (leaf) => details(leaf, describeLine), changed: redraw,
});
if (!data.variables.length) scopes.root.append(make("p", "facts", "There are no variables."));
if (!data.lines.length) files.root.append(make("p", "facts", data.recorded ? "None: no line asked for a variable." : "No pass was recorded, so none is known."));
writeTotals();
writeNotes();
draw();
new ResizeObserver(redraw).observe(page);
addEventListener("scroll", redraw, { passive: true });
