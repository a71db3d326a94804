// Pages of pairs: the matches of align, and the groups of deduplicate with its doubtful pairs first.

const SHOWN_AT_ONCE = 100;

// A long list that grows on request by a fixed number of entries.
function growingList(entries, draw, kind) {
  const list = make("ol", { class: kind });
  const more = button("", () => grow(), { class: "more" });
  let shownNow = 0;
  const grow = () => {
    for (const entry of entries.slice(shownNow, shownNow + SHOWN_AT_ONCE)) list.append(draw(entry));
    shownNow = Math.min(entries.length, shownNow + SHOWN_AT_ONCE);
    more.hidden = shownNow === entries.length;
    more.textContent = `Show more (${COUNT.format(entries.length - shownNow)} left)`;
  };
  grow();
  return make("div", {}, list, more);
}

// Buttons that select one kind of entry to show below, and a search box that filters the entries.
function choices(kinds) {
  const body = make("div", { class: "sheet" });
  const found = make("p", { class: "found", role: "status" });
  let chosen = kinds.find((kind) => kind.entries.length) || kinds[0];
  let query = "";
  const draw = () => {
    const matches = matcher(query);
    const entries = chosen.entries.filter((entry) => matches(chosen.words(entry).toLowerCase()));
    for (const [index, control] of controls.entries()) control.setAttribute("aria-pressed", String(kinds[index] === chosen));
    found.textContent = query ? `${COUNT.format(entries.length)} of ${COUNT.format(chosen.entries.length)}` : chosen.explained;
    body.replaceChildren(entries.length ? growingList(entries, chosen.draw, chosen.list) : emptyState(query ? "Nothing found" : chosen.empty, ""));
  };
  const controls = kinds.map((kind) => button("", () => { chosen = kind; draw(); }));
  kinds.forEach((kind, index) => controls[index].append(kind.label, make("span", { class: "size" }, COUNT.format(kind.number ?? kind.entries.length))));
  draw();
  return [
    make("div", { class: "choices" }, make("div", { class: "joined", role: "group", "aria-label": "What to show" }, ...controls),
      searchBox("Search words or ids", (typed) => { query = typed; draw(); }), found),
    body,
  ];
}

function itemRow(id, text) {
  return make("li", { class: "item" }, make("p", { class: "id" }, words(id)), make("p", { class: "body" }, words(text)));
}

// How choices() lists pairs, given the lookups of the texts on both sides.
function pairList(leftText, rightText) {
  const textsOf = (pair) => [leftText(pair.left, pair.texts?.[0]), rightText(pair.right, pair.texts?.[1])];
  return {
    list: "cards", draw: (pair) => pairCard(pair, textsOf(pair)),
    words: (pair) => `${pair.left} ${pair.right} ${textsOf(pair).join(" ")}`,
  };
}

// How choices() lists single items.
const ITEM_LIST = {
  list: "items", draw: (item) => itemRow(item.id, item.shown), words: (item) => `${item.id} ${item.shown}`,
};

function showAlign({ answer, left, right }) {
  const [leftText, rightText] = [lookup(left), lookup(right)];
  const pairs = pairList(leftText, rightText);
  const counts = answer.counts;
  const same = (answer.same || []).map(([leftId, rightId]) => ({ left: leftId, right: rightId }));
  const only = (items, text) => (items || []).map((item) => ({ ...item, shown: text(item.id, item.text) }));
  heading(`${left.label || "left"} → ${right.label || "right"}`,
    `${plural(counts.changed, "pair")} changed · ${COUNT.format(counts.same)} the same · ${COUNT.format(counts.left_only)} only left · ${COUNT.format(counts.right_only)} only right`);
  setMain("pairs-page", ...choices([
    { ...pairs, label: "Changed", number: counts.changed, entries: answer.changed || [], empty: "Nothing changed", explained: "most changed first" },
    { ...pairs, label: "Same", number: counts.same, entries: same, empty: "No pair says the same", explained: "worded alike, or only reworded" },
    { ...ITEM_LIST, label: "Only left", number: counts.left_only, entries: only(answer.left_only, leftText), empty: "Every item on the left has a match", explained: "without a match on the right" },
    { ...ITEM_LIST, label: "Only right", number: counts.right_only, entries: only(answer.right_only, rightText), empty: "Every item on the right has a match", explained: "without a match on the left" },
  ]), notes(answer.notes));
}

function showDuplicates({ answer, left }) {
  const text = lookup(left);
  const groups = answer.groups || [];
  const dropped = groups.flatMap((group) => group.slice(1));
  heading(left.label || "duplicates",
    `${plural(groups.length, "group")} of duplicates · ${plural(answer.unique, "item")} left without them · threshold ${answer.threshold.toFixed(3)}`,
    dropped.length ? copyButton("Copy ids of duplicates", () => dropped) : null);
  const group = (ids) => make("li", { class: "card" },
    make("p", { class: "score" }, plural(ids.length, "item")),
    make("ul", { class: "items" }, ...ids.map((id, index) => {
      const row = itemRow(id, text(id));
      row.prepend(make("span", { class: index ? "mark drop" : "mark keep" }, index ? "duplicate" : "keep"));
      return row;
    })),
    copyButton("Copy ids", () => ids));
  const doubtful = answer.doubtful || [];
  setMain("pairs-page", ...choices([
    { ...pairList(text, text), label: "Doubtful", entries: doubtful, empty: "No pair is near the threshold",
      explained: `nearest the threshold first; duplicates from ${answer.threshold.toFixed(3)} on` },
    { label: "Groups", entries: groups, draw: group, list: "cards", empty: "There are no duplicates",
      words: (ids) => ids.map((id) => `${id} ${text(id)}`).join(" "), explained: "largest first; the first of each is kept" },
  ]), notes(answer.notes));
}
