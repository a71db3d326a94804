// The map of a set of items: points with colours and shapes by group, labels of the groups, search, selection.

const SYMBOLS = ["circle", "diamond", "square", "triangle-up", "cross", "star", "hexagon", "triangle-down"];
const COLOUR_COUNT = 8;
const MAX_SVG_POINTS = 2000;
const MAX_LABELS = 40;

class ItemMap {
  constructor(data) {
    this.data = data;
    this.items = data.items;
    this.searchTexts = this.items.texts.map((text, index) => `${this.items.ids[index]} ${text}`.toLowerCase());
    this.field = "cluster" in this.items.fields ? "cluster" : Object.keys(this.items.fields)[0];
    if (data.colour && data.colour in this.items.fields) this.field = data.colour;
    this.query = "";
    this.group = null;
    this.members = [];
    this.list = new ItemList(this.items, { onActive: (item) => this.showDetail(item), onSelect: () => this.selectionChanged() });
    this.build();
    this.refresh();
    onThemeChange(() => this.draw());
  }

  build() {
    const { items } = this;
    heading(items.label, `${plural(items.ids.length, "item")} · near on the map means near in meaning`);
    this.plot = make("div", { class: "plot", role: "img", "aria-label": this.summary() });
    this.labels = make("div", { class: "labels", "aria-hidden": "true" });
    this.detail = make("div", { class: "detail" });
    this.detail.hidden = true;
    this.groups = make("ul", { class: "groups" });
    this.chosen = make("div", { class: "chosen" });
    this.found = make("p", { class: "found", role: "status" });
    this.mode = "pan";
    setMain("map-page",
      make("section", { class: "map", "aria-label": "Map" }, this.tools(), make("div", { class: "stage" }, this.plot, this.labels), this.detail),
      make("aside", { class: "side-panel" }, this.search(), this.colours(), this.groups,
        make("div", { class: "bar" }, this.found, this.chosen), this.list.box, notes(this.data.answer.notes)));
    new ResizeObserver(() => { if (this.drawn) Plotly.Plots.resize(this.plot).then(() => this.placeLabels()); }).observe(this.plot);
  }

  summary() {
    const named = this.data.answer.clusters.slice(0, 8).map((cluster) => `${cluster.terms.slice(0, 3).join(", ")} (${cluster.size})`);
    return `Map of ${plural(this.items.ids.length, "item")}. Clusters: ${named.map(shown).join("; ") || "none"}. The list of items says the same.`;
  }

  tools() {
    const modes = { pan: "Move", select: "Box", lasso: "Lasso" };
    const set = (mode) => {
      this.mode = mode;
      for (const [name, control] of Object.entries(controls)) control.setAttribute("aria-pressed", String(name === mode));
      Plotly.relayout(this.plot, { dragmode: mode });
    };
    const controls = Object.fromEntries(Object.entries(modes).map(([mode, label]) => [
      mode, button(label, () => set(mode), { "aria-pressed": String(mode === "pan") }),
    ]));
    return make("div", { class: "tools", role: "toolbar", "aria-label": "Map tools" },
      make("span", { class: "joined" }, ...Object.values(controls)),
      make("span", { class: "joined" }, button("+", () => this.zoom(0.6), { "aria-label": "Zoom in" }),
        button("−", () => this.zoom(1 / 0.6), { "aria-label": "Zoom out" }), button("All", () => this.zoom(0))));
  }

  search() {
    let waiting = 0;
    return searchBox("Search items", (query) => { clearTimeout(waiting); waiting = setTimeout(() => { this.query = query; this.refresh(); }, 150); });
  }

  colours() {
    const names = Object.keys(this.items.fields);
    if (names.length < 2) return null;
    const choice = make("select", { id: "colour", onchange: () => { this.field = choice.value; this.group = null; this.refresh(); } },
      ...names.map((name) => make("option", { value: name, selected: name === this.field }, shown(name))));
    return make("div", { class: "colour" }, make("label", { for: "colour" }, "Colour by"), choice);
  }

  // Returns the groups in the order of their colours: clusters as in the answer, values of a column by frequency.
  groupsInOrder() {
    const field = this.items.fields[this.field];
    if (!field) return [];
    const sizes = new Array(field.values.length).fill(0);
    for (const code of field.codes) if (code >= 0) sizes[code]++;
    const clusters = this.field === "cluster" ? new Map(this.data.answer.clusters.map((cluster) => [String(cluster.id), cluster])) : null;
    return field.values.map((value, code) => ({
      code, size: sizes[code],
      name: clusters ? (clusters.get(value)?.terms || []).slice(0, 3).join(" · ") || `cluster ${value}` : value,
      rank: clusters ? Number(value) : code,
    })).sort((a, b) => a.rank - b.rank).map((group, rank) => ({ ...group, rank }));
  }

  matches() {
    const isMatch = matcher(this.query);
    const codes = this.items.fields[this.field]?.codes;
    const matching = [];
    for (let index = 0; index < this.searchTexts.length; index++) {
      if (this.group !== null && codes[index] !== this.group) continue;
      if (isMatch(this.searchTexts[index])) matching.push(index);
    }
    return matching;
  }

  refresh() {
    this.currentGroups = this.groupsInOrder();
    this.matching = this.matches();
    this.active = null;
    this.detail.hidden = true;
    this.list.show(this.matching);
    const all = this.matching.length === this.items.ids.length;
    this.found.textContent = all ? plural(this.matching.length, "item") : `${COUNT.format(this.matching.length)} of ${plural(this.items.ids.length, "item")}`;
    this.drawGroups();
    this.selectionChanged();
  }

  drawGroups() {
    const rows = this.currentGroups.map((group) => make("li", {}, button("", () => {
      this.group = this.group === group.code ? null : group.code;
      this.refresh();
    }, { "aria-pressed": String(this.group === group.code), "data-code": group.code })));
    this.currentGroups.forEach((group, index) => rows[index].firstChild.append(
      swatch(group.rank), words(group.name, { class: "words name" }), make("span", { class: "size" }, COUNT.format(group.size))));
    const focused = document.activeElement?.dataset?.code;
    this.groups.setAttribute("aria-label", this.field === "cluster" ? "Clusters" : shown(this.field));
    this.groups.replaceChildren(...rows);
    if (focused !== undefined) this.groups.querySelector(`[data-code="${focused}"]`)?.focus();
  }

  selectionChanged() {
    const ids = () => [...this.list.selected].sort((a, b) => a - b).map((index) => this.items.ids[index]);
    const number = this.list.selected.size;
    const selectAll = button(this.query || this.group !== null ? "Select found" : "Select all", () => this.list.add(this.matching), { class: "quiet" });
    this.chosen.replaceChildren(...(number
      ? [make("span", { class: "number" }, `${COUNT.format(number)} selected`), copyButton("Copy ids", ids), button("Clear", () => this.list.clear(), { class: "quiet" })]
      : this.matching.length ? [selectAll] : []));
    this.draw();
    document.dispatchEvent(new CustomEvent("chosen", { detail: ids() }));
  }

  showDetail(item) {
    this.active = item;
    this.detail.replaceChildren(
      make("p", { class: "id" }, words(this.items.ids[item])),
      make("p", { class: "body" }, words(this.items.texts[item])),
      button("×", () => { this.detail.hidden = true; this.active = null; this.draw(); }, { class: "quiet close", "aria-label": "Close" }),
    );
    this.detail.hidden = false;
    this.draw();
  }
}
