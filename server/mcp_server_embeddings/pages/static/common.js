"use strict";

// Direction marks could display a text in a different order, so they are replaced by a visible character.
const DIRECTION_MARKS = /[\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c]/g;
const CONTROLS = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/g;
const COUNT = new Intl.NumberFormat("en");

// Texts are untrusted: they are inserted as text nodes, never as markup.
function shown(text) {
  return String(text).replace(DIRECTION_MARKS, "\u25cc").replace(CONTROLS, " ");
}

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

function words(text, properties = {}) {
  return make("span", { dir: "auto", class: "words", ...properties }, shown(text));
}

// Returns a predicate for texts that contain all words of a query.
function matcher(query) {
  const terms = query.toLowerCase().split(/\s+/).filter(Boolean);
  return (text) => terms.every((term) => text.includes(term));
}

function searchBox(label, onSearch) {
  const input = make("input", { type: "search", id: "search", placeholder: "Search words or ids", autocomplete: "off", spellcheck: "false",
    oninput: () => onSearch(input.value) });
  return make("div", { class: "search" }, make("label", { for: "search", class: "visually-hidden" }, label), input);
}

function button(label, onClick, properties = {}) {
  return make("button", { type: "button", onclick: onClick, ...properties }, label);
}

function plural(number, noun) {
  return `${COUNT.format(number)} ${noun}${number === 1 ? "" : "s"}`;
}

async function unpack(id) {
  const packed = document.getElementById(id).textContent;
  if (!packed) return "";
  const bytes = Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

const NONCE = document.currentScript.nonce;

// Replaces the Function constructor, with which Plotly compiles WebGL code from text of its own. The policy forbids
// "eval"; it allows scripts with the nonce of this document, which only this script knows.
function compiledFunction(...parts) {
  const body = parts.pop();
  const script = document.createElement("script");
  script.nonce = NONCE;
  script.textContent = `window.compiled = function (${parts.join(",")}) {${body}\n};`;
  document.head.append(script);
  script.remove();
  const { compiled } = window;
  delete window.compiled;
  return compiled;
}

// The policy of this document allows the library by its hash. It forbids style attributes, which Plotly sets; the same
// styles set through the DOM are allowed.
async function loadLibrary() {
  const set = Element.prototype.setAttribute;
  Element.prototype.setAttribute = function setAttribute(name, value) {
    if (name === "style") this.style.cssText = value;
    else set.call(this, name, value);
  };
  const source = await unpack("library");
  const script = document.createElement("script");
  script.textContent = source;
  // While loading, Plotly also adds the styles of geographic maps, which no page uses.
  compiledFunction.prototype = Function.prototype;
  window.Function = compiledFunction;
  const { head } = document;
  head.appendChild = (node) => (node.localName === "style" && node.textContent ? node : Node.prototype.appendChild.call(head, node));
  head.append(script);
  delete head.appendChild;
  document.getElementById("library").remove();
}

function announce(sentence) {
  document.getElementById("announcement").textContent = sentence;
}

async function copyIds(ids) {
  const text = ids.join("\n");
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    copyFromTextArea(text);
  }
  announce(`${plural(ids.length, "id")} copied`);
  return text;
}

// Fallback for pages that may not use the clipboard, such as those inside another page.
function copyFromTextArea(text) {
  const area = make("textarea", { class: "visually-hidden", "aria-hidden": "true", tabindex: "-1" });
  const focused = document.activeElement;
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
  if (focused) focused.focus();
}

function copyButton(label, ids) {
  const onClick = async () => {
    await copyIds(ids());
    control.textContent = "Copied";
    setTimeout(() => { control.textContent = label; }, 1500);
  };
  const control = button(label, onClick, { class: "quiet" });
  return control;
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function onThemeChange(redraw) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  document.addEventListener("themechange", redraw);
}

function showTip(x, y, ...content) {
  const tip = document.getElementById("tip");
  tip.replaceChildren(...content);
  tip.hidden = false;
  const margin = 12;
  const right = x + margin + tip.offsetWidth > innerWidth ? x - margin - tip.offsetWidth : x + margin;
  const below = y + margin + tip.offsetHeight > innerHeight ? y - margin - tip.offsetHeight : y + margin;
  tip.style.left = `${Math.max(4, right)}px`;
  tip.style.top = `${Math.max(4, below)}px`;
}

function hideTip() {
  document.getElementById("tip").hidden = true;
}

function heading(title, detail, ...controls) {
  document.title = shown(title);
  document.getElementById("top").replaceChildren(
    make("div", { class: "title" }, make("h1", {}, words(title)), make("p", {}, detail)),
    ...controls,
  );
}

function setMain(name, ...content) {
  const main = document.getElementById("main");
  main.className = name;
  main.replaceChildren(...content.filter(Boolean));
}

function emptyState(title, detail) {
  return make("div", { class: "empty" }, make("h2", {}, title), make("p", {}, detail));
}

function notes(list) {
  if (!list || !list.length) return null;
  const summary = make("summary", {}, plural(list.length, "note"));
  return make("details", { class: "notes" }, summary, make("ul", {}, ...list.map((note) => make("li", {}, words(note)))));
}
