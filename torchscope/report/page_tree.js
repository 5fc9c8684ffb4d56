// A tree of boxes that fold, walked by keys; it knows nothing of what is written in them.

// Boxes come each before what is in it, so that what is in box i are boxes i + 1 to after[i].
class Tree {
  // fill(box, head, element) writes a box's head, details(leaf) gives what an opened leaf shows, and
  // changed() is called when boxes have come, gone or moved.
  constructor(root, boxes, { fill, details, changed }) {
    Object.assign(this, { root, boxes, fill, details, changed });
    this.elements = new Map();
    this.open = boxes.map((box) => box.open);
    this.hidden = boxes.map(() => false);
    this.children = boxes.map(() => []);
    this.after = boxes.map((_, i) => i + 1);
    for (let i = boxes.length - 1; i >= 0; i--) {
      const parent = boxes[i].parent;
      if (parent < 0) continue;
      this.children[parent].unshift(i);
      this.after[parent] = Math.max(this.after[parent], this.after[i]);
    }
    this.boxOfLeaf = [];
    boxes.forEach((box, i) => {
      if (box.leaf >= 0) this.boxOfLeaf[box.leaf] = i;
    });
    this.tops = boxes.flatMap((box, i) => (box.parent < 0 ? [i] : []));
    this.at = this.tops[0]; // the box that Tab goes to
    this.build(root, this.tops, 1);
    this.moveTo(this.at);
    root.addEventListener("keydown", (event) => this.key(event));
  }

  build(container, boxes, level) {
    const built = document.createDocumentFragment();
    boxes.forEach((i, place) => {
      const element = this.element(i, level);
      element.setAttribute("aria-posinset", place + 1);
      element.setAttribute("aria-setsize", boxes.length);
      built.append(element);
    });
    container.append(built);
    for (const i of boxes) if (this.open[i]) this.show(i);
  }

  element(i, level) {
    const box = this.boxes[i];
    const element = make("div", `box ${box.leaf < 0 ? "scope" : "leaf"}`);
    element.tabIndex = -1;
    element.dataset.box = i;
    element.dataset.level = level;
    element.setAttribute("role", "treeitem");
    element.setAttribute("aria-level", level);
    element.setAttribute("aria-expanded", "false");
    for (const mark in box.marks) element.classList.add(classOf(mark));
    if (level > 7) element.classList.add("deep");
    element.hidden = this.hidden[i];
    const head = make("div", "head");
    const fold = make("span", "fold");
    fold.setAttribute("aria-hidden", "true");
    head.append(fold);
    this.fill(box, head, element);
    element.setAttribute("aria-label", [...head.children].map((one) => one.textContent).filter(Boolean).join(", "));
    const inner = make("div", "inner");
    inner.setAttribute("role", "group");
    element.append(head, inner);
    head.addEventListener("click", () => {
      this.moveTo(i);
      element.focus({ preventScroll: true });
      this.toggle(i);
    });
    this.elements.set(i, element);
    return element;
  }

  // Shows what is in a box; it is made the first time.
  show(i) {
    const element = this.elements.get(i);
    const inner = element.lastChild;
    if (!inner.firstChild) {
      if (this.boxes[i].leaf < 0) this.build(inner, this.children[i], Number(element.dataset.level) + 1);
      else inner.append(this.details(this.boxes[i].leaf));
    }
    this.setOpen(i, true);
  }

  setOpen(i, open) {
    this.open[i] = open;
    const element = this.elements.get(i);
    if (!element) return;
    element.classList.toggle("open", open);
    element.setAttribute("aria-expanded", String(open));
    element.lastChild.hidden = !open;
  }

  toggle(i, open = !this.open[i]) {
    if (open) this.show(i);
    else this.setOpen(i, false);
    this.changed();
  }

  // Opens all around a box.
  reveal(i) {
    const around = [];
    for (let one = this.boxes[i].parent; one >= 0; one = this.boxes[one].parent) around.push(one);
    for (const one of around.reverse()) if (!this.open[one] || !this.elements.has(this.children[one][0])) this.show(one);
  }

  setAll(open) {
    this.boxes.forEach((box, i) => {
      if (box.leaf >= 0) return;
      if (open) this.show(i);
      else this.setOpen(i, false);
    });
    if (!this.seen().includes(this.at)) this.moveTo(this.tops[0]);
  }

  // For each box the one that stands for it on the page: itself, or the folded one it is in.
  standIns() {
    const sight = [];
    this.boxes.forEach((box, i) => {
      const parent = box.parent;
      const folded = parent >= 0 && (sight[parent] !== parent || !this.open[parent]);
      sight.push(folded ? sight[parent] : i);
    });
    return sight;
  }

  seen() {
    const sight = this.standIns();
    return this.boxes.flatMap((_, i) => (sight[i] === i && !this.hidden[i] ? [i] : []));
  }

  leavesIn(i) {
    return this.boxes.slice(i, this.after[i]).flatMap((box) => (box.leaf < 0 ? [] : [box.leaf]));
  }

  // Hides all boxes in which no leaf is wanted.
  keep(wanted, openThem) {
    const inside = this.boxes.map((box) => (box.leaf >= 0 && wanted.has(box.leaf) ? 1 : 0));
    for (let i = inside.length - 1; i >= 0; i--) {
      if (this.boxes[i].parent >= 0) inside[this.boxes[i].parent] += inside[i];
      this.hidden[i] = inside[i] === 0;
      const element = this.elements.get(i);
      if (element) element.hidden = this.hidden[i];
    }
    if (openThem) this.boxes.forEach((box, i) => {
      if (box.leaf < 0 && !this.hidden[i]) this.show(i);
    });
    const seen = this.seen();
    if (!seen.includes(this.at) && seen.length) this.moveTo(seen[0]);
  }

  moveTo(i) {
    if (i === undefined) return; // there is no box
    const before = this.elements.get(this.at);
    if (before) before.tabIndex = -1;
    this.at = i;
    this.elements.get(i).tabIndex = 0;
  }

  focus(i) {
    this.moveTo(i);
    this.elements.get(i).focus();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const seen = this.seen();
    const place = seen.indexOf(this.at);
    const go = (to) => to !== undefined && this.focus(to);
    const box = this.boxes[this.at];
    const actions = {
      ArrowDown: () => go(seen[place + 1]),
      ArrowUp: () => go(seen[place - 1]),
      Home: () => go(seen[0]),
      End: () => go(seen[seen.length - 1]),
      ArrowRight: () => (this.open[this.at] ? box.leaf < 0 && go(seen[place + 1]) : this.toggle(this.at, true)),
      ArrowLeft: () => (this.open[this.at] ? this.toggle(this.at, false) : box.parent >= 0 && go(box.parent)),
      Enter: () => this.toggle(this.at),
      " ": () => this.toggle(this.at),
    };
    if (!(event.key in actions)) return;
    event.preventDefault();
    actions[event.key]();
  }
}
