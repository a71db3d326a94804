// Draws the map with Plotly. Labels are separate elements above it, since Plotly's may overlap.

function swatch(rank) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "-6 -6 12 12");
  svg.setAttribute("class", `swatch c${rank % COLOUR_COUNT}`);
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", SHAPES[Math.floor(rank / COLOUR_COUNT) % SHAPES.length]);
  svg.append(path);
  return svg;
}

// Minimum area of the map in square pixels for each label.
const LABEL_AREA = 22000;

// Coordinates range from 0 to 10,000; the margin leaves room for labels and for points at the edge.
const EXTENT = [-600, 10600];

const SHAPES = [
  "M5 0A5 5 0 1 1-5 0A5 5 0 1 1 5 0Z",
  "M0-6 6 0 0 6-6 0Z",
  "M-5-5H5V5H-5Z",
  "M0-5.5 5.5 4.5H-5.5Z",
  "M-2-5.5H2V-2H5.5V2H2V5.5H-2V2H-5.5V-2H-2Z",
  "M0-6 1.6-2 6-1.8 2.5.9 3.7 5.2 0 2.7-3.7 5.2-2.5.9-6-1.8-1.6-2Z",
  "M3-5.2 6 0 3 5.2H-3L-6 0-3-5.2Z",
  "M0 5.5 5.5-4.5H-5.5Z",
];

Object.assign(ItemMap.prototype, {
  traces() {
    const { items } = this;
    const kind = items.ids.length > MAX_SVG_POINTS && hasWebGl() ? "scattergl" : "scatter";
    const size = items.ids.length > 20000 ? 3 : items.ids.length > 2000 ? 5 : items.ids.length > 300 ? 8 : 11;
    const trace = (members, marker, more = {}) => ({
      type: kind, mode: "markers", hoverinfo: "none", showlegend: false, x: members.map((index) => items.x[index]), y: members.map((index) => items.y[index]),
      marker: { size, line: { width: 0 }, ...marker }, ...more,
    });
    const found = new Uint8Array(items.ids.length);
    for (const index of this.matching) found[index] = 1;
    const rest = [];
    for (let index = 0; index < found.length; index++) if (!found[index]) rest.push(index);
    const codes = items.fields[this.field]?.codes || [];
    const byCode = new Map();
    for (const index of this.matching) {
      const code = codes[index] ?? -1;
      if (!byCode.has(code)) byCode.set(code, []);
      byCode.get(code).push(index);
    }
    const grey = { color: colour("--grey-point"), symbol: "circle" };
    this.members = [rest, byCode.get(-1) || []];
    const traces = [trace(rest, { ...grey, opacity: 0.25 }, { hoverinfo: "skip" }), trace(this.members[1], { ...grey, opacity: 0.8 })];
    for (const group of this.currentGroups) {
      const members = byCode.get(group.code) || [];
      this.members.push(members);
      traces.push(trace(members, {
        color: colour(`--c${group.rank % COLOUR_COUNT}`), symbol: SYMBOLS[Math.floor(group.rank / COLOUR_COUNT) % SYMBOLS.length], opacity: 0.85,
      }));
    }
    const ring = { color: "rgba(0,0,0,0)", symbol: "circle", size: size + 7, line: { width: 2, color: colour("--ink") } };
    traces.push(trace([...this.list.selected], ring, { hoverinfo: "skip" }));
    traces.push(trace(this.active === null ? [] : [this.active], { ...ring, size: size + 14, line: { width: 3, color: colour("--accent") } }, { hoverinfo: "skip" }));
    return traces;
  },

  layout() {
    const axis = { visible: false, fixedrange: false, range: EXTENT };
    return {
      margin: { l: 0, r: 0, t: 0, b: 0 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      xaxis: { ...axis }, yaxis: { ...axis }, dragmode: this.mode, hovermode: "closest", hoverdistance: 12, uirevision: "stay", showlegend: false,
      newselection: { line: { color: colour("--accent"), width: 2 } }, selections: [],
    };
  },

  async draw() {
    if (!this.labels) return;
    await Plotly.react(this.plot, this.traces(), this.layout(), { displayModeBar: false, scrollZoom: true, doubleClick: "reset", responsive: false });
    if (!this.drawn) this.listen();
    this.drawn = true;
    this.placeLabels();
  },

  listen() {
    const item = (point) => this.members[point.curveNumber]?.[point.pointNumber ?? point.pointIndex];
    this.plot.on("plotly_hover", ({ points, event }) => {
      const index = item(points[0]);
      if (index !== undefined) showTip(event.clientX, event.clientY, make("p", { class: "id" }, words(this.items.ids[index])), make("p", {}, words(this.items.texts[index])));
    });
    this.plot.on("plotly_unhover", hideTip);
    this.plot.on("plotly_click", ({ points }) => {
      const index = item(points[0]);
      if (index === undefined) return;
      hideTip();
      this.showDetail(index);
      this.list.toggle(index);
      const row = this.list.order.indexOf(index);
      if (row >= 0) this.list.activate(row, false);
    });
    this.plot.on("plotly_selected", (event) => {
      if (!event) return;
      const chosen = event.points.map(item).filter((index) => index !== undefined);
      announce(`${plural(chosen.length, "item")} in the area`);
      setTimeout(() => this.list.add(chosen));
    });
    for (const name of ["plotly_relayout", "plotly_relayouting"]) this.plot.on(name, () => this.placeLabels());
  },

  zoom(factor) {
    const { xaxis, yaxis } = this.plot.layout;
    const around = ([low, high]) => {
      const middle = (low + high) / 2, half = ((high - low) / 2) * factor;
      return factor ? [middle - half, middle + half] : EXTENT;
    };
    Plotly.relayout(this.plot, { "xaxis.range": around(xaxis.range), "yaxis.range": around(yaxis.range) });
  },

  // Places the label of each group at the median of its points, larger groups first. A label that would overlap another
  // is moved or left out.
  placeLabels() {
    const { xaxis, yaxis } = this.plot.layout;
    const { clientWidth: width, clientHeight: height } = this.plot;
    const tools = this.plot.closest(".map").querySelector(".tools");
    const taken = [{ x: tools.offsetLeft, y: tools.offsetTop, w: tools.offsetWidth, h: tools.offsetHeight }];
    const bySize = [...this.currentGroups].sort((a, b) => b.size - a.size).slice(0, Math.min(MAX_LABELS, (width * height) / LABEL_AREA));
    this.labels.replaceChildren();
    for (const group of bySize) {
      const members = this.members[group.rank + 2];
      if (!members || !members.length) continue;
      const label = make("span", { class: `label t${group.rank % COLOUR_COUNT}` }, shown(group.name));
      this.labels.append(label);
      group.middle ??= [this.items.x, this.items.y].map((places) => median(members.map((index) => places[index]))); // cached for drags
      const x = ((group.middle[0] - xaxis.range[0]) / (xaxis.range[1] - xaxis.range[0])) * width;
      const y = height - ((group.middle[1] - yaxis.range[0]) / (yaxis.range[1] - yaxis.range[0])) * height;
      const w = label.offsetWidth, h = label.offsetHeight;
      const box = x < 0 || y < 0 || x > width || y > height ? null : freeBox(x, y, w, h, width, height, taken);
      if (!box) { label.remove(); continue; }
      taken.push(box);
      label.style.left = `${box.x}px`;
      label.style.top = `${box.y}px`;
    }
  },
});

function freeBox(x, y, w, h, width, height, taken) {
  for (const dy of [-h - 9, 9, -2 * h - 12, h + 12, -3 * h - 15, 2 * h + 15]) {
    const left = Math.max(2, Math.min(width - w - 2, x - w / 2));
    const top = Math.max(2, Math.min(height - h - 2, y + dy));
    const box = { x: left, y: top, w, h };
    if (!taken.some((o) => box.x < o.x + o.w + 6 && o.x < box.x + w + 6 && box.y < o.y + o.h + 2 && o.y < box.y + h + 2)) return box;
  }
  return null;
}

function median(values) {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
}

function hasWebGl() {
  return Boolean(document.createElement("canvas").getContext("webgl2") || document.createElement("canvas").getContext("webgl"));
}
