// A virtual list of up to 100,000 items: only the visible rows are in the document. It is an ARIA listbox: one tab stop,
// arrows move, Space selects, Ctrl+A selects all listed items.

const ROW_HEIGHT = 60;

class ItemList {
  constructor(items, { onActive, onSelect }) {
    Object.assign(this, { items, onActive, onSelect, order: [], active: -1, selected: new Set() });
    this.rows = make("div", { class: "rows", role: "presentation" });
    this.box = make("div", {
      class: "list", role: "listbox", tabindex: "0", "aria-multiselectable": "true", "aria-label": "Items",
      onscroll: () => this.draw(), onkeydown: (event) => this.key(event), onclick: (event) => this.click(event),
      onfocus: () => { if (this.active < 0 && this.order.length && this.box.matches(":focus-visible")) this.activate(0); },
    }, this.rows);
    new ResizeObserver(() => this.draw()).observe(this.box);
  }

  show(order) {
    this.order = order;
    this.active = -1;
    this.box.scrollTop = 0;
    this.rows.style.height = `${order.length * ROW_HEIGHT}px`;
    this.draw();
  }

  draw() {
    const first = Math.max(0, Math.floor(this.box.scrollTop / ROW_HEIGHT) - 4);
    const last = Math.min(this.order.length, first + Math.ceil(this.box.clientHeight / ROW_HEIGHT) + 8);
    const rows = [];
    for (let index = first; index < last; index++) rows.push(this.row(index));
    this.rows.replaceChildren(...rows);
    const shows = this.active >= first && this.active < last;
    if (shows) this.box.setAttribute("aria-activedescendant", `item-${this.active}`);
    else this.box.removeAttribute("aria-activedescendant");
  }

  row(index) {
    const item = this.order[index];
    const chosen = this.selected.has(item);
    const row = make(
      "div", {
        role: "option", id: `item-${index}`, class: index === this.active ? "row active" : "row",
        "aria-selected": String(chosen), "aria-setsize": this.order.length, "aria-posinset": index + 1,
      },
      make("span", { class: "tick", "aria-hidden": "true" }, chosen ? "✓" : ""),
      make("span", { class: "id" }, words(this.items.ids[item])),
      make("span", { class: "text" }, words(this.items.texts[item].slice(0, 200))),
    );
    row.style.top = `${index * ROW_HEIGHT}px`;
    return row;
  }

  activate(index, notify = true) {
    this.active = Math.max(0, Math.min(this.order.length - 1, index));
    const top = this.active * ROW_HEIGHT;
    if (top < this.box.scrollTop) this.box.scrollTop = top;
    else if (top + ROW_HEIGHT > this.box.scrollTop + this.box.clientHeight) this.box.scrollTop = top + ROW_HEIGHT - this.box.clientHeight;
    this.draw();
    if (notify) this.onActive(this.order[this.active]);
  }

  toggle(item) {
    if (!this.selected.delete(item)) this.selected.add(item);
    this.changed();
  }

  add(items) {
    for (const item of items) this.selected.add(item);
    this.changed();
  }

  clear() {
    this.selected.clear();
    this.changed();
  }

  changed() {
    this.draw();
    this.onSelect();
  }

  click(event) {
    const index = Math.floor((event.clientY - this.rows.getBoundingClientRect().top) / ROW_HEIGHT);
    if (index < 0 || index >= this.order.length) return;
    this.activate(index);
    this.toggle(this.order[index]);
  }

  key(event) {
    const page = Math.max(1, Math.floor(this.box.clientHeight / ROW_HEIGHT) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key in steps && this.order.length) this.activate(this.active + steps[event.key]);
    else if (event.key === " " && this.active >= 0) this.toggle(this.order[this.active]);
    else if (event.key === "a" && (event.ctrlKey || event.metaKey)) this.add(this.order);
    else if (event.key === "Escape") this.clear();
    else return;
    event.preventDefault();
  }
}
