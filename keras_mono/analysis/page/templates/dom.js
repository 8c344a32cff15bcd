"use strict";
// Elements, and texts and numbers as people read them. All text goes through text nodes.

const DRAWING = document.getElementById("drawing").namespaceURI;
const HIDDEN_CHARACTERS =
  /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/** A text whose hidden characters are shown as escapes. */
function visible(text) {
  return String(text).replace(
    HIDDEN_CHARACTERS,
    (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"),
  );
}

/** A name in one line, in quotes if it is blank or has a blank at an end. */
function inOneLine(text) {
  const shown = visible(text).replaceAll("\n", "\\n").replaceAll("\t", "\\t");
  return shown && shown === shown.trim() ? shown : `"${shown}"`;
}

/** The first characters of a name. */
function short(text, most = 60) {
  const characters = Array.from(inOneLine(text).slice(0, 2 * most + 2));
  if (characters.length <= most) return characters.join("");
  return characters.slice(0, most - 1).join("") + "…";
}

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null) made.setAttribute(name, value);
  }
  for (const child of children.flat()) {
    if (child !== null) made.append(child instanceof Node ? child : visible(child));
  }
  return made;
}

/** An HTML element with attributes and children; texts become text nodes. */
function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** An element of a drawing. */
function draw(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(DRAWING, tag), attributes, children);
}

/** The direction of a text. Escapes read from the left, among Hebrew or Arabic too. */
function direction(text) {
  return visible(text) === String(text) ? "auto" : "ltr";
}

/** A name that may be long: cut off, and whole where the pointer rests. */
function named(text, most = 60) {
  const cut = short(text, most);
  const whole = inOneLine(text);
  return el("bdi", { dir: direction(text), title: cut === whole ? null : whole.slice(0, 500) }, cut);
}

/** A number with two decimals or three digits; a dash if it is not known. */
function figure(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  let text;
  if (size >= 1e5 || (size > 0 && size < 5e-3)) text = value.toExponential(1);
  else if (size >= 100) text = value.toFixed(0);
  else text = value.toFixed(2);
  return text.replaceAll("-", "−").replace("e+", "e");
}

/** A difference, with its sign. */
function change(value) {
  if (value === null) return "–";
  return value > 0 ? "+" + figure(value) : figure(value);
}

function whole(value) {
  return value.toLocaleString("en");
}

/** A labelled choice. */
function choice(label, options, chosen, onChange) {
  const select = el("select");
  for (const [value, text] of options) {
    select.append(el("option", { value, selected: value === chosen }, short(text, 40)));
  }
  select.addEventListener("change", () => onChange(select.value));
  return el("label", {}, el("span", {}, label), select);
}

/** A table in a box that scrolls sideways, which keys reach. */
function scrolling(label, table) {
  return el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": label }, table);
}

/** Heads of a table by which it can be sorted. */
function sortableHeads(columns, sorting, onSort) {
  return columns.map(({ key, title, about, isName }) => {
    const here = sorting.key === key;
    const direction = sorting.falling ? "descending" : "ascending";
    const button = el("button", { type: "button", title: about || null }, title);
    button.append(el("span", { "aria-hidden": "true", class: "arrow" }, here ? (sorting.falling ? "▼" : "▲") : ""));
    button.addEventListener("click", () => onSort(key));
    return el("th", { scope: "col", "aria-sort": here ? direction : "none", "data-key": key, class: isName ? "name" : null }, button);
  });
}

/** Numbers in the order of values; null last in both directions. */
function ordered(numbers, valueOf, falling) {
  const values = new Map(numbers.map((n) => [n, valueOf(n)]));
  const sign = falling ? -1 : 1;
  return numbers.slice().sort((a, b) => {
    const x = values.get(a), y = values.get(b);
    if (x === null || y === null) return (x === null) - (y === null) || a - b;
    if (x === y) return a - b;
    return (x < y ? -1 : 1) * sign;
  });
}
