// Marks the differences in a pair of texts. The tool reports them as strings such as "30 days → 60 days".

function changedParts(differs, side) {
  const changes = [...(differs.numbers || []), ...(differs.negation || [])].map((change) => change.split(" → "));
  const replaced = changes.map((pair) => pair[side] || "").flatMap((part) => part.split(", "));
  const listed = (side === 0 ? differs.removed : differs.added) || [];
  return [...replaced, ...listed].map((part) => part.trim()).filter((part) => part && part !== "∅");
}

function escapedPattern(text) {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&").replace(/\s+/g, "\\s+");
}

// Marks a part of a text where it is a whole word, ignoring case.
function marked(text, parts, tag) {
  const clean = shown(text);
  if (!parts.length) return [clean];
  const choices = [...parts].sort((a, b) => b.length - a.length).map(escapedPattern).join("|");
  const pattern = new RegExp(`(?<![\\p{L}\\p{N}])(?:${choices})(?![\\p{L}\\p{N}])`, "giu");
  const pieces = [];
  let end = 0;
  for (const match of clean.matchAll(pattern)) {
    if (match.index > end) pieces.push(clean.slice(end, match.index));
    pieces.push(make(tag, {}, match[0]));
    end = match.index + match[0].length;
  }
  pieces.push(clean.slice(end));
  return pieces;
}

function differsList(differs) {
  const items = [];
  for (const change of differs.numbers || []) items.push(make("li", {}, make("b", {}, "number "), words(change)));
  for (const change of differs.negation || []) items.push(make("li", {}, make("b", {}, "sense "), words(change)));
  for (const word of differs.removed || []) items.push(make("li", {}, make("b", {}, "left only "), words(word)));
  for (const word of differs.added || []) items.push(make("li", {}, make("b", {}, "right only "), words(word)));
  return items.length ? make("ul", { class: "differs", "aria-label": "What differs" }, ...items) : null;
}

function sideBySide(pair, texts) {
  const differs = pair.differs || {};
  const side = (index, name, tag) => make(
    "div", { class: "side" },
    make("p", { class: "id" }, make("span", { class: "visually-hidden" }, `${name} `), words(pair[name])),
    make("p", { class: "body", dir: "auto" }, ...marked(texts[index], changedParts(differs, index), tag)),
  );
  return [side(0, "left", "del"), side(1, "right", "ins")];
}

function pairCard(pair, texts) {
  return make(
    "li", { class: "card" },
    make("p", { class: "score" }, pair.score.toFixed(3), pair.band ? make("span", { class: `band ${pair.band}` }, pair.band) : ""),
    make("div", { class: "sides" }, ...sideBySide(pair, texts)),
    differsList(pair.differs || {}),
  );
}

// Returns the text of an item of a side by its id; the map's keys are strings, since ids are strings or numbers.
function lookup(side) {
  const byId = new Map(side ? side.ids.map((id, index) => [String(id), side.texts[index]]) : []);
  return (id, otherwise) => byId.get(String(id)) ?? otherwise ?? "";
}
