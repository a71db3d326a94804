// The heat map of similarity scores, with a list of the closest pairs as its text equivalent.

const MAX_TICKS = 60;
const MAX_NUMBERED = 12;
const MAX_TICK_CHARACTERS = 26;
const MAX_LISTED = 200;

class HeatMap {
  constructor({ answer, left, right }) {
    Object.assign(this, { answer, left, right: right || left, symmetric: !right });
    this.leftText = lookup(left);
    this.rightText = lookup(this.right);
    const [rows, columns] = [this.left.ids.length, this.right.ids.length];
    for (const side of [this.left, this.right]) side.showsIndices = side.ids.every((id, index) => id === index);
    this.cells = this.matrix();
    heading(this.symmetric ? this.left.label : `${this.left.label} × ${this.right.label}`,
      `${COUNT.format(rows)} × ${COUNT.format(columns)} ${answer.metric || "cosine"} scores · ${this.complete ? "the stronger the colour, the closer" : `the ${plural(answer.pairs.length, "closest pair")} of all`}`);
    this.plot = make("div", { class: "plot", role: "img", "aria-label": `Heat map of ${rows} by ${columns} scores. The table of pairs says the same.` });
    setMain("heat-page", make("section", { class: "stage", "aria-label": "Heat map" }, this.plot), this.table(), notes(answer.notes));
    this.draw();
    onThemeChange(() => this.draw());
    new ResizeObserver(() => Plotly.Plots.resize(this.plot)).observe(this.plot);
  }

  // Returns the whole matrix if the answer has it. Otherwise builds one from the pairs, restricted to the items that
  // occur in a pair, since a side may have 100,000.
  matrix() {
    const { answer } = this;
    this.complete = Boolean(answer.scores?.length);
    if (this.complete) return answer.scores;
    const possible = this.symmetric ? (this.left.ids.length * (this.left.ids.length - 1)) / 2 : this.left.ids.length * this.right.ids.length;
    this.complete = answer.pairs.length === possible;
    const [lefts, rights] = ["left", "right"].map((side) => answer.pairs.map((pair) => pair[side]));
    this.left = withIds(this.left, this.symmetric ? [...lefts, ...rights] : lefts);
    this.right = this.symmetric ? this.left : withIds(this.right, rights);
    const { left, right } = this;
    const row = new Map(left.ids.map((id, index) => [String(id), index]));
    const column = new Map(right.ids.map((id, index) => [String(id), index]));
    const cells = left.ids.map(() => new Array(right.ids.length).fill(null));
    for (const pair of answer.pairs) {
      const [rowIndex, columnIndex] = [row.get(String(pair.left)), column.get(String(pair.right))];
      cells[rowIndex][columnIndex] = pair.score;
      if (this.symmetric) cells[columnIndex][rowIndex] = pair.score;
    }
    return cells;
  }

  ticks(side, text) {
    const clipped = (words) => (words.length > MAX_TICK_CHARACTERS ? `${words.slice(0, MAX_TICK_CHARACTERS - 1)}…` : words);
    return side.ids.map((id) => plotText(clipped(shown(side.showsIndices ? text(id) : id))));
  }

  draw() {
    const { cells } = this;
    const [rows, columns] = [this.left.ids.length, this.right.ids.length];
    const below = this.ticks(this.right, this.rightText);
    const showsScores = rows <= MAX_NUMBERED && columns <= MAX_NUMBERED && innerWidth > 600;
    const axis = (number, labels, narrow) => ({
      tickmode: "array", tickvals: labels.map((_, index) => index), ticktext: labels, showticklabels: number <= (narrow ? 25 : MAX_TICKS), ticks: "",
      showgrid: false, zeroline: false, fixedrange: false, automargin: true, color: colour("--ink"), tickfont: { size: 12 },
    });
    const text = { family: getComputedStyle(document.body).fontFamily, color: colour("--ink") };
    const trace = {
      type: "heatmap", z: cells, hoverinfo: "none", zmin: Math.min(0, ...cells.flat().filter((score) => score !== null)), zmax: this.answer.metric === "cosine" || !this.answer.metric ? 1 : undefined,
      xgap: columns <= MAX_TICKS ? 2 : 0, ygap: rows <= MAX_TICKS ? 2 : 0, hoverongaps: false,
      colorscale: [[0, colour("--heat0")], [0.5, colour("--heat1")], [1, colour("--heat2")]],
      colorbar: { thickness: 12, outlinewidth: 0, len: 0.6, tickfont: { size: 12, color: colour("--soft") } },
      ...(showsScores ? { texttemplate: "%{z:.2f}", textfont: { size: 13 } } : {}),
    };
    const layout = {
      margin: { l: 20, r: 10, t: 20, b: 20 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: text, dragmode: "zoom", uirevision: "stay",
      xaxis: { ...axis(columns, below, innerWidth < 600), tickangle: columns > 4 && Math.max(...below.map((label) => label.length)) > 5 ? -40 : 0, side: "bottom" },
      yaxis: { ...axis(rows, this.ticks(this.left, this.leftText), false), autorange: "reversed" },
    };
    Plotly.react(this.plot, [trace], layout, { displayModeBar: false, doubleClick: "reset" });
    if (this.listening) return;
    this.listening = true;
    this.plot.on("plotly_hover", ({ points: [point], event }) => showTip(event.clientX, event.clientY, ...this.tipContent(point.pointNumber)));
    this.plot.on("plotly_unhover", hideTip);
  }

  tipContent([row, column]) {
    const [leftId, rightId] = [this.left.ids[row], this.right.ids[column]];
    return [
      make("p", { class: "score" }, this.cells[row][column].toFixed(3)),
      make("p", {}, words(this.leftText(leftId))), make("p", {}, words(this.rightText(rightId))),
    ];
  }

  table() {
    const pairs = this.answer.pairs.slice(0, MAX_LISTED);
    const rows = pairs.map((pair) => pairCard(pair, [this.leftText(pair.left), this.rightText(pair.right)]));
    const more = this.answer.pairs.length > MAX_LISTED ? ` of ${COUNT.format(this.answer.pairs.length)}` : "";
    return make("section", { class: "side-panel", "aria-label": "Pairs" }, make("h2", { class: "caption" }, `Closest pairs (${COUNT.format(pairs.length)}${more})`),
      make("ol", { class: "cards", tabindex: "0", "aria-label": "Closest pairs" }, ...rows));
  }
}

function withIds(side, ids) {
  const kept = new Set(ids.map(String));
  return { ...side, ids: side.ids.filter((id) => kept.has(String(id))) };
}

// Plotly interprets some HTML tags in labels.
function plotText(text) {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}
