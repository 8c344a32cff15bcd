// The view of one neuron: strongest inputs, response by feature, measures.

const WINDOW = 80; // pieces of a text on each side of its position

function showNeuron(place) {
  const neuron = NEURONS[place];
  const view = document.getElementById("view-neuron");
  view.replaceChildren(
    headOf(neuron, place),
    summaryOf(neuron),
    el("section", {}, el("h3", {}, "Strongest inputs"), strongestOf(neuron)),
    el("section", {}, el("h3", {}, "Response by feature"), responseOf(neuron)),
    el("section", {}, el("h3", {}, "Measures"), measuresOf(neuron)),
  );
}

function titleOf(neuron) {
  const model = SEVERAL ? `${inOneLine(neuron.model.name)}: ` : "";
  return `${model}neuron ${neuron.number} of ${inOneLine(neuron.layer.name)}`;
}

/** Places of the neurons before and after it, in the order of the table. */
function neighbours(place) {
  const at = LIST.found.indexOf(place);
  const order = at < 0 ? [...NEURONS.keys()] : LIST.found;
  const here = at < 0 ? place : at;
  return { before: order[here - 1], after: order[here + 1], at: here, of: order.length };
}

function headOf(neuron, place) {
  const { before, after, at, of } = neighbours(place);
  const step = (to, text, key) =>
    to === undefined
      ? el("span", { class: "step off" }, text)
      : el("a", { class: "step", href: linkOf(NEURONS[to]), "aria-keyshortcuts": key, "data-step": key }, text);
  const model = SEVERAL ? [named(neuron.model.name, 40), ": neuron "] : ["Neuron "];
  return el(
    "div",
    { class: "head" },
    el("h2", { tabindex: "-1" }, model, `${neuron.number} of `, named(neuron.layer.name)),
    el(
      "nav",
      { "aria-label": "Neurons" },
      step(before, "← Previous", "ArrowLeft"),
      el("span", { class: "place" }, `${whole(at + 1)} of ${whole(of)} in the table`),
      step(after, "Next →", "ArrowRight"),
      el("a", { class: "step", href: "#neurons", "aria-keyshortcuts": "Escape", "data-step": "Escape" }, "All neurons (Esc)"),
    ),
  );
}

function summaryOf(neuron) {
  if (!isAlive(neuron)) {
    const state = stateOf(neuron);
    const gives = state === "dead" ? "the same" : "NaN or an infinite number";
    return el("p", { class: "summary" }, el("span", { class: "dead" }, state), ` It gives ${gives} on every input, so that it has neither an own feature nor measures.`);
  }
  const { rank, of } = rankOf(neuron, "best_phi");
  return el(
    "p",
    { class: "summary" },
    el("span", { class: "alive" }, "alive"),
    " Own feature ",
    el("strong", {}, named(ownFeature(neuron))),
    `: mean φ ${figure(value(neuron, "best_phi"))} there, rank ${whole(rank)} of ${whole(of)} in its layer.`,
    isSilent(neuron) ? " It is less active on its own feature than on the others: it answers by silence, and its strongest inputs are of other features." : "",
  );
}

/** Whether it lies lower on its own feature than on the others. */
function isSilent(neuron) {
  const own = neuron.layer.neurons[neuron.number];
  if (!own) return false;
  const at = own.feature.indexOf(neuron.layer.best_feature[neuron.number]);
  const others = own.mean.filter((x, i) => i !== at && x !== null);
  return at >= 0 && others.length > 0 && others.every((x) => own.mean[at] < x);
}

function notDescribed() {
  return el("p", {}, "This report holds the measures of all neurons, and inputs and responses of the 8,192 most monosemantic ones. Report on fewer layers to see this one's.");
}

function strongestOf(neuron) {
  if (!isAlive(neuron)) return el("p", {}, "It has none.");
  const own = neuron.layer.neurons[neuron.number];
  if (!own) return notDescribed();
  const found = own.strongest;
  const kind = DATA.samples.kind;
  return el(
    "ol",
    { class: `strongest ${kind}` },
    found.sample.map((sample, i) => {
      const input = {
        sample,
        position: found.position[i],
        activation: found.activation[i],
        feature: DATA.features[found.feature[i]],
        shown: DATA.samples.shown[sample],
        grid: neuron.layer.positions,
      };
      return el("li", {}, pictured(kind, input), captionOf(input));
    }),
  );
}

function captionOf({ sample, position, activation, feature, grid }) {
  const where = grid === null || grid.length ? `, position ${positionText(position, grid)}` : "";
  return el("p", { class: "caption" }, el("strong", {}, named(feature, 40)), ` ${figure(activation)} `, el("span", { class: "quiet" }, `input ${sample}${where}`));
}

/** Numbers along each axis, counted from 0. */
function positionText(position, grid) {
  if (grid === null || grid.length < 2) return String(position);
  const numbers = [];
  for (const size of grid.slice().reverse()) {
    numbers.unshift(position % size);
    position = Math.floor(position / size);
  }
  return numbers.join(", ");
}

function pictured(kind, input) {
  if (input.shown === undefined) return el("p", { class: "quiet" }, "(left out: the page would become too large)");
  if (kind === "images") return imageOf(input);
  if (kind === "numbers") return el("p", { class: "numbers" }, input.shown.map(figure).join("  "), " …");
  if (kind === "strings") return el("p", { class: "text", dir: direction(input.shown) }, input.shown);
  return textOf(input, kind === "texts" ? Array.from(input.shown) : input.shown);
}

function imageOf({ sample, position, activation, feature, shown, grid }) {
  const alt = `Input ${sample}, feature ${short(feature)}, activation ${figure(activation)}`;
  const box = el("div", { class: "image" }, el("img", { src: shown, alt: visible(alt) }));
  if (grid && grid.length === 2 && grid[0] * grid[1] > 1) {
    const [rows, columns] = grid;
    const mark = el("span", { class: "cell", "aria-hidden": "true" });
    mark.style.left = `${(100 * (position % columns)) / columns}%`;
    mark.style.top = `${(100 * Math.floor(position / columns)) / rows}%`;
    mark.style.width = `${100 / columns}%`;
    mark.style.height = `${100 / rows}%`;
    box.append(mark);
  }
  return box;
}

/** A text with its position marked; an empty piece belongs to the one before it. */
function textOf({ position, grid }, pieces) {
  const marks = grid === null || grid.length === 1;
  let at = marks && position < pieces.length ? position : -1;
  while (at > 0 && pieces[at] === "") at--;
  const start = Math.max(0, at - WINDOW);
  const end = Math.min(pieces.length, Math.max(at, 0) + WINDOW + 1);
  const between = pieces.every((x) => /^\d*$/.test(x)) ? " " : "";
  const text = (from, to) => pieces.slice(from, to).join(between);
  const shown = el("p", { class: "text", dir: direction(text(start, end)) });
  if (start > 0) shown.append("…");
  if (at < 0) shown.append(visible(text(start, end)));
  else {
    shown.append(
      visible(text(start, at)) + between,
      el("mark", {}, el("span", { class: "unseen" }, "marked: "), marked(pieces[at])),
      between + visible(text(at + 1, end)),
    );
  }
  if (end < pieces.length) shown.append("…");
  return shown;
}

/** What is marked must be seen: ends of lines and tabs too. */
function marked(piece) {
  if (piece === " ") return "\u2423";
  return piece.replace("\n", "⏎\n").replace("\t", "⇥");
}

function responseOf(neuron) {
  const own = neuron.layer.neurons[neuron.number];
  if (!isAlive(neuron)) return el("p", {}, stateOf(neuron) === "dead" ? "The same on every feature." : "It has none.");
  if (!own) return notDescribed();
  const scale = scaleOf(own.quantiles);
  const order = own.feature.map((_, i) => i).sort((a, b) => (own.phi[b] ?? -1) - (own.phi[a] ?? -1));
  const rows = order.map((i) => {
    const isOwn = own.feature[i] === neuron.layer.best_feature[neuron.number];
    return el(
      "tr",
      { class: isOwn ? "own" : null },
      el("th", { scope: "row" }, named(DATA.features[own.feature[i]], 24), isOwn ? el("span", { class: "quiet" }, " own") : null),
      el("td", {}, figure(own.phi[i])),
      el("td", { class: "drawn" }, boxOf(own.quantiles[i], own.mean[i], scale)),
      el("td", {}, figure(own.mean[i])),
      own.quantiles[i].map((x) => el("td", { class: "more" }, figure(x))),
    );
  });
  const heads = ["feature", "φ", "activation", "mean"].map((x) => el("th", { scope: "col", class: x === "activation" ? "drawn" : null }, x));
  const percent = DATA.quantiles.map((q) => el("th", { scope: "col", class: "more" }, q === 0.5 ? "median" : `${Math.round(100 * q)} %`));
  const left = DATA.features.length - own.feature.length;
  return el(
    "div",
    {},
    scrolling("Response by feature", el("table", { class: "response" }, el("thead", {}, el("tr", {}, heads, percent)), el("tbody", {}, rows))),
    el("p", { class: "hint" }, "Boxes: quartiles and median, lines from the 1st to the 99th percentile, the mean as a dot; the dashed line is 0. They are of at most about 5,000 samples, φ of all inputs.", left > 0 ? ` Only the ${own.feature.length} features with its largest φ, of ${whole(DATA.features.length)}.` : ""),
  );
}

function scaleOf(quantiles) {
  const known = quantiles.flat().filter((x) => x !== null);
  const low = Math.min(0, ...known), high = Math.max(0, ...known);
  return (x) => 4 + (232 * (x - low)) / (high - low || 1);
}

/** A box plot; the same numbers stand in the table. */
function boxOf(quantiles, mean, scale) {
  const picture = draw("svg", { viewBox: "0 0 240 18", "aria-hidden": "true", focusable: "false" });
  picture.append(draw("line", { class: "zero", x1: scale(0), x2: scale(0), y1: 0, y2: 18 }));
  if (mean === null) return picture;
  const [low, left, middle, right, high] = quantiles.map(scale);
  picture.append(
    draw("line", { class: "whisker", x1: low, x2: high, y1: 9, y2: 9 }),
    draw("rect", { class: "box", x: left, y: 3, width: Math.max(right - left, 1), height: 12 }),
    draw("line", { class: "median", x1: middle, x2: middle, y1: 3, y2: 15 }),
    draw("circle", { class: "mean", cx: scale(mean), cy: 9, r: 3 }),
  );
  return picture;
}

function measuresOf(neuron) {
  if (!isAlive(neuron)) return el("p", {}, "It has none.");
  const others = counterparts(neuron);
  const rows = DATA.measures.map(({ name, title, about }) => {
    const own = value(neuron, name);
    const rank = rankOf(neuron, name);
    const chance = neuron.layer.permuted[name];
    return el(
      "tr",
      {},
      el("th", { scope: "row" }, title, el("span", { class: "about" }, about), name === "class_selectivity" ? selectiveFor(neuron) : null),
      el("td", {}, figure(own)),
      el("td", {}, rank ? `${whole(rank.rank)} of ${whole(rank.of)}` : "–"),
      el("td", {}, chance ? figure(chance[neuron.number]) : "–"),
      el("td", { class: "drawn" }, layerOf(neuron.layer.measures[name], own)),
      others.map((other) => {
        const there = value(other.neuron, name);
        return el("td", {}, figure(there), own === null || there === null ? null : el("span", { class: "quiet" }, ` (${change(there - own)})`));
      }),
    );
  });
  const heads = ["measure", "value", "rank", "by chance", "in its layer"].map((x) => el("th", { scope: "col", class: x === "in its layer" ? "drawn" : null }, x));
  const linked = others.map((x) => el("th", { scope: "col" }, "in ", el("a", { href: linkOf(x.neuron) }, named(x.neuron.model.name, 24))));
  const table = el("table", {}, el("thead", {}, el("tr", {}, heads, linked)), el("tbody", {}, rows));
  const unlike = others.some((x) => !belongTogether(x.pairing));
  return el(
    "div",
    {},
    scrolling("Measures", table),
    el("p", { class: "hint" }, "By chance: the same measure after the labels are dealt anew at random. Rank 1 is the largest value. The strip is the distribution over the neurons of the layer, the mark this neuron."),
    unlike ? el("p", { class: "note" }, "Nothing shows that the neurons of the same number in the models belong together: see the comparison.") : null,
  );
}

/** The feature for which class selectivity is high. */
function selectiveFor(neuron) {
  if (!value(neuron, "class_selectivity")) return null;
  const feature = DATA.features[neuron.layer.selective_for[neuron.number]];
  return el("span", { class: "about" }, "most active on ", named(feature, 24));
}

/** The distribution of a measure over a layer, and where a value lies in it. */
function layerOf(values, own) {
  const bins = 24, picture = draw("svg", { viewBox: "0 0 120 18", "aria-hidden": "true", focusable: "false" });
  let low = Infinity, high = -Infinity;
  for (const x of values) {
    if (x === null) continue;
    low = Math.min(low, x);
    high = Math.max(high, x);
  }
  if (own === null || !(high > low)) return picture;
  const binOf = (x) => Math.min(bins - 1, Math.floor((bins * (x - low)) / (high - low)));
  const count = new Array(bins).fill(0);
  for (const x of values) if (x !== null) count[binOf(x)]++;
  const most = Math.max(...count);
  count.forEach((n, bin) => {
    if (n) {
      const height = Math.max(1.5, (17 * n) / most);
      picture.append(draw("rect", { class: "bar", x: 5 * bin + 0.5, y: 18 - height, width: 4, height }));
    }
  });
  const x = 2.5 + 5 * binOf(own);
  picture.append(draw("line", { class: "here", x1: x, x2: x, y1: 0, y2: 18 }));
  return picture;
}
