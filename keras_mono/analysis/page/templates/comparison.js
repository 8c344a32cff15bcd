// Two models side by side, neuron by neuron.

const PAIRS = { model: 1, layer: 0, measure: "best_phi", moved: false, sorting: { key: "change", falling: false }, found: [], drawn: 0 };

function pairing() {
  return DATA.comparisons[PAIRS.model - 1].layers[PAIRS.layer];
}

/** The neuron of a number in the reference and in the model. */
function pairOf(number) {
  const { layer } = pairing();
  return [0, PAIRS.model].map((m) => {
    const found = DATA.models[m].layers.find((x) => x.name === layer);
    return NEURONS[found.first + number];
  });
}

function changeOf(number) {
  const [before, after] = pairOf(number).map((x) => value(x, PAIRS.measure));
  return before === null || after === null ? null : after - before;
}

function hasMoved(number) {
  const [before, after] = pairOf(number).map(ownFeature);
  return before !== after;
}

function pairValue(number, key) {
  const [before, after] = pairOf(number);
  if (key === "neuron") return number;
  if (key === "change") return changeOf(number);
  const [which, what] = key.split("-");
  const neuron = which === "before" ? before : after;
  return what === "feature" ? ownFeature(neuron) : value(neuron, PAIRS.measure);
}

function pairRow(number, index, largest) {
  const [before, after] = pairOf(number);
  const moved = hasMoved(number);
  const feature = (neuron) => {
    const own = ownFeature(neuron);
    return el("td", { class: moved ? "name moved" : "name" }, own === null ? el("span", { class: "dead" }, stateOf(neuron)) : named(own, 24));
  };
  const link = (neuron) => el("a", { href: linkOf(neuron), "aria-label": `${figure(value(neuron, PAIRS.measure))}, neuron ${number} of ${short(neuron.model.name, 24)}` }, figure(value(neuron, PAIRS.measure)));
  const difference = changeOf(number);
  return el(
    "tr",
    { "aria-rowindex": index + 2 },
    el("th", { scope: "row" }, String(number)),
    feature(before),
    feature(after),
    el("td", {}, link(before)),
    el("td", {}, link(after)),
    el("td", {}, change(difference)),
    el("td", { class: "drawn" }, differenceBar(difference, largest)),
  );
}

function differenceBar(difference, largest) {
  const picture = draw("svg", { viewBox: "0 0 120 18", "aria-hidden": "true", focusable: "false" });
  picture.append(draw("line", { class: "zero", x1: 60, x2: 60, y1: 0, y2: 18 }));
  if (difference === null || !largest) return picture;
  const width = (58 * Math.abs(difference)) / largest;
  picture.append(draw("rect", { class: difference < 0 ? "fell" : "rose", x: difference < 0 ? 60 - width : 60, y: 4, width: Math.max(width, 0.5), height: 10 }));
  return picture;
}

function whyNot(text) {
  return el("p", { class: "note" }, "This layer cannot be compared neuron by neuron. ", text);
}

function togetherness(found) {
  const first = inOneLine(DATA.comparisons[PAIRS.model - 1].reference);
  if (found.paired === null) {
    return el("p", { class: "note" }, `The neurons of the same number are set side by side. It is not known whether they belong together: that holds if both models began with the same weights.`);
  }
  const figures = `On the same inputs, activations of the same neuron in both models correlate by ${found.paired.toFixed(2)} on average, those of different neurons by ${found.shuffled.toFixed(2)}.`;
  if (belongTogether(found)) return el("p", {}, figures, ` So the neurons of the same number belong together.`);
  return el("p", { class: "note" }, figures, ` Nothing shows that neurons of the same number belong together. They do so only where both models began with the same weights as ${first}.`);
}

function pairsSummary(numbers) {
  const changes = numbers.map(changeOf).filter((x) => x !== null);
  const fell = changes.filter((x) => x < 0).length, rose = changes.filter((x) => x > 0).length;
  const mean = changes.length ? changes.reduce((a, b) => a + b, 0) / changes.length : null;
  const moved = numbers.filter(hasMoved).length;
  return `${whole(numbers.length)} neurons: fell in ${whole(fell)}, rose in ${whole(rose)}, mean change ${change(mean)}; ${whole(moved)} have another own feature.`;
}

function morePairs() {
  const body = document.querySelector("#view-comparison tbody");
  const largest = Math.max(...PAIRS.found.map((x) => Math.abs(changeOf(x) ?? 0)), 0);
  const end = Math.min(PAIRS.drawn + CHUNK, PAIRS.found.length);
  for (; PAIRS.drawn < end; PAIRS.drawn++) body.append(pairRow(PAIRS.found[PAIRS.drawn], PAIRS.drawn, largest));
  const more = document.getElementById("more-pairs");
  more.hidden = PAIRS.drawn >= PAIRS.found.length;
  more.textContent = `Show more (${whole(PAIRS.found.length - PAIRS.drawn)} left)`;
}

function drawPairs() {
  const result = document.getElementById("pairs"), found = pairing();
  document.getElementById("changes").textContent = "";
  if (found.why_not !== null) {
    result.replaceChildren(whyNot(found.why_not));
    return;
  }
  const names = [0, PAIRS.model].map((m) => named(DATA.models[m].name, 24));
  const numbers = [...pairOf(0)[0].layer.dead.keys()];
  const shown = PAIRS.moved ? numbers.filter(hasMoved) : numbers;
  PAIRS.found = ordered(shown, (x) => pairValue(x, PAIRS.sorting.key), PAIRS.sorting.falling);
  PAIRS.drawn = 0;
  const measure = DATA.measures.find((x) => x.name === PAIRS.measure);
  const [a, b] = names.map((x) => x.textContent);
  const columns = [
    { key: "neuron", title: "neuron" },
    { key: "before-feature", title: `own feature, ${a}`, isName: true },
    { key: "after-feature", title: `own feature, ${b}`, isName: true },
    { key: "before-value", title: `${measure.title}, ${a}` },
    { key: "after-value", title: `${measure.title}, ${b}` },
    { key: "change", title: "change" },
  ];
  const heads = sortableHeads(columns, PAIRS.sorting, sortPairs);
  const drawn = el("th", { scope: "col" }, el("span", { class: "unseen" }, "change, drawn"));
  const table = el("table", { "aria-rowcount": PAIRS.found.length + 1 }, el("thead", {}, el("tr", {}, heads, drawn)), el("tbody"));
  const more = el("button", { type: "button", id: "more-pairs" });
  more.addEventListener("click", morePairs);
  result.replaceChildren(togetherness(found), scrolling("Neurons side by side", table), more);
  morePairs();
  document.getElementById("changes").textContent = `${measure.title} of ${pairsSummary(shown)}`;
}

function sortPairs(key) {
  const again = PAIRS.sorting.key === key;
  PAIRS.sorting = { key, falling: again ? !PAIRS.sorting.falling : key.endsWith("value") };
  drawPairs();
  document.querySelector(`#view-comparison th[data-key="${key}"] button`).focus();
}

function pairFilters() {
  const layers = () => DATA.comparisons[PAIRS.model - 1].layers.map((x, i) => [String(i), x.layer]);
  const layerChoice = el("div", { class: "slot" });
  const chooseLayer = () =>
    layerChoice.replaceChildren(
      choice("Layer", layers(), "0", (chosen) => {
        PAIRS.layer = Number(chosen);
        drawPairs();
      }),
    );
  const models = DATA.comparisons.map((x, i) => [String(i + 1), x.model]);
  const moved = el("input", { type: "checkbox" });
  moved.addEventListener("change", () => {
    PAIRS.moved = moved.checked;
    drawPairs();
  });
  chooseLayer();
  return el(
    "form",
    { class: "filters", "aria-label": "Comparison" },
    choice("Model", models, "1", (chosen) => {
      PAIRS.model = Number(chosen);
      PAIRS.layer = 0;
      chooseLayer();
      drawPairs();
    }),
    layerChoice,
    choice("Measure", DATA.measures.map((x) => [x.name, x.title]), "best_phi", (chosen) => {
      PAIRS.measure = chosen;
      drawPairs();
    }),
    el("label", { class: "check" }, moved, el("span", {}, "only with another own feature")),
  );
}

function makeComparison() {
  const form = pairFilters();
  form.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("view-comparison").append(
    el("h2", { tabindex: "-1" }, "Against ", named(DATA.models[0].name, 40), ", neuron by neuron"),
    form,
    el("p", { id: "changes", role: "status", "aria-live": "polite" }),
    el("div", { id: "pairs" }),
  );
  drawPairs();
}
