// The table of all neurons: search, sort, filter. Rows are made as they are scrolled to.

const CHUNK = 100;

const LIST = {
  search: "",
  model: "",
  layer: "",
  feature: "",
  state: "",
  sorting: { key: "best_phi", falling: true },
  found: [], // places in NEURONS, in order
  drawn: 0,
};

function columnsOfList() {
  const measures = DATA.measures.map(({ name, title, about }) => ({ key: name, title, about }));
  return [
    { key: "neuron", title: "neuron" },
    ...(SEVERAL ? [{ key: "model", title: "model", isName: true }] : []),
    { key: "feature", title: "own feature", isName: true },
    ...measures,
    { key: "state", title: "state", isName: true },
  ];
}

function sortValue(place, key) {
  const neuron = NEURONS[place];
  if (key === "neuron") return place;
  if (key === "model") return neuron.m;
  if (key === "feature") return ownFeature(neuron);
  if (key === "state") return stateOf(neuron);
  return value(neuron, key);
}

/** A neuron holds every word: a number is its own or its feature, else a part of a name. */
function matches(neuron, words) {
  if (!words.length) return true;
  const feature = (ownFeature(neuron) ?? "").toLowerCase();
  const name = `${neuron.layer.name}/${neuron.number}`.toLowerCase();
  const model = SEVERAL ? neuron.model.name.toLowerCase() : "";
  return words.every((word) => {
    if (/^\d+$/.test(word)) return String(neuron.number) === word || feature === word;
    return name.includes(word) || feature.includes(word) || model.includes(word);
  });
}

function kept(neuron, words) {
  if (LIST.model !== "" && neuron.m !== Number(LIST.model)) return false;
  if (LIST.layer !== "" && neuron.layer.name !== LIST.layer) return false;
  if (LIST.state !== "" && stateOf(neuron) !== LIST.state) return false;
  if (LIST.feature !== "" && ownFeature(neuron) !== DATA.features[LIST.feature]) return false;
  return matches(neuron, words);
}

function find() {
  const words = LIST.search.toLowerCase().split(/\s+/).filter(Boolean);
  const places = [...NEURONS.keys()].filter((place) => kept(NEURONS[place], words));
  const { key, falling } = LIST.sorting;
  LIST.found = ordered(places, (place) => sortValue(place, key), falling);
}

function rowOf(place, index) {
  const neuron = NEURONS[place];
  const name = el("a", { href: linkOf(neuron) }, named(neuron.layer.name, 30), `/${neuron.number}`);
  const own = ownFeature(neuron);
  return el(
    "tr",
    { "aria-rowindex": index + 2, "data-place": place },
    el("th", { scope: "row" }, name),
    SEVERAL ? el("td", { class: "name" }, named(neuron.model.name, 24)) : null,
    el("td", { class: "name" }, own === null ? "–" : named(own, 24)),
    DATA.measures.map(({ name: measure }) => el("td", {}, figure(value(neuron, measure)))),
    el("td", { class: "name" }, isAlive(neuron) ? "alive" : el("span", { class: "dead" }, stateOf(neuron))),
  );
}

function drawMore(until = LIST.drawn + CHUNK) {
  const body = document.querySelector("#view-neurons tbody");
  const rows = document.createDocumentFragment();
  const end = Math.min(until, LIST.found.length);
  for (; LIST.drawn < end; LIST.drawn++) rows.append(rowOf(LIST.found[LIST.drawn], LIST.drawn));
  body.append(rows);
  const more = document.getElementById("more");
  more.hidden = LIST.drawn >= LIST.found.length;
  more.textContent = `Show more (${whole(LIST.found.length - LIST.drawn)} left)`;
}

function drawList() {
  find();
  const table = document.querySelector("#view-neurons table");
  const heads = sortableHeads(columnsOfList(), LIST.sorting, sortBy);
  table.tHead.replaceChildren(el("tr", {}, heads));
  table.setAttribute("aria-rowcount", LIST.found.length + 1);
  table.tBodies[0].replaceChildren();
  LIST.drawn = 0;
  drawMore();
  const number = LIST.found.length;
  document.getElementById("hits").textContent =
    number === NEURONS.length
      ? `${whole(number)} neurons`
      : `${whole(number)} of ${whole(NEURONS.length)} neurons`;
}

/** A second time by the same column: the other way round. Measures begin with the largest. */
function sortBy(key) {
  const again = LIST.sorting.key === key;
  const isMeasure = DATA.measures.some((x) => x.name === key);
  LIST.sorting = { key, falling: again ? !LIST.sorting.falling : isMeasure };
  drawList();
  document.querySelector(`#view-neurons th[data-key="${key}"] button`).focus();
}

function filters() {
  const search = el("input", { type: "search", autocomplete: "off", spellcheck: "false" });
  search.addEventListener("input", () => {
    LIST.search = search.value;
    drawList();
  });
  const set = (key) => (chosen) => {
    LIST[key] = chosen;
    drawList();
  };
  const layers = [...new Set(NEURONS.map((x) => x.layer.name))];
  const own = new Set(NEURONS.map(ownFeature));
  const features = [...DATA.features.entries()].filter(([, x]) => own.has(x)).map(([i, x]) => [String(i), x]);
  const models = DATA.models.map((model, m) => [String(m), model.name]);
  const all = [["", "all"]];
  const pairs = (names) => [...all, ...names.map((x) => [x, x])];
  return el(
    "form",
    { role: "search", class: "filters", "aria-label": "Neurons" },
    el("label", {}, el("span", {}, "Search"), search),
    SEVERAL ? choice("Model", [...all, ...models], "", set("model")) : null,
    choice("Layer", pairs(layers), "", set("layer")),
    choice("Own feature", [...all, ...features], "", set("feature")),
    choice("State", pairs(["alive", "dead", "not finite"]), "", set("state")),
  );
}

/** Up, down, home, end and pages move from row to row; Enter follows the row's link. */
function moveInList(event) {
  const row = event.target.closest("#view-neurons tbody tr");
  const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity };
  if (!row || !(event.key in steps)) return;
  event.preventDefault();
  const here = row.sectionRowIndex + steps[event.key];
  focusRow(Math.max(0, Math.min(here, LIST.found.length - 1)));
}

function focusRow(index) {
  if (index >= LIST.drawn) drawMore(index + CHUNK);
  const row = document.querySelector("#view-neurons tbody").rows[index];
  if (!row) return;
  row.querySelector("a").focus();
  row.scrollIntoView({ block: "nearest" });
}

function makeList() {
  const table = el("table", {}, el("caption", { class: "unseen" }, "All neurons"), el("thead"), el("tbody"));
  const more = el("button", { type: "button", id: "more" });
  more.addEventListener("click", () => {
    const first = LIST.drawn;
    drawMore();
    focusRow(first);
  });
  const view = document.getElementById("view-neurons");
  const form = filters();
  form.addEventListener("submit", (event) => event.preventDefault());
  view.append(
    el("h2", { tabindex: "-1" }, "Neurons"),
    form,
    el("p", { id: "hits", role: "status", "aria-live": "polite" }),
    el("p", { class: "hint" }, "Arrow keys move between rows, Enter opens a neuron. Dead: it gives the same on every input. Not finite: NaN or infinite on every input."),
    scrolling("Neurons", table),
    more,
  );
  view.addEventListener("keydown", moveInList);
  const seen = new IntersectionObserver((entries) => {
    if (entries.some((x) => x.isIntersecting) && LIST.drawn < LIST.found.length) drawMore();
  }, { rootMargin: "600px" });
  seen.observe(more);
  drawList();
}
