// Which view is shown: the part of the address after #, keys, and the download.

const MADE = { neurons: makeList, comparison: makeComparison };
let shownNeuron = -1;

function made(view) {
  const element = document.getElementById(`view-${view}`);
  if (!element.hasChildNodes() && MADE[view]) MADE[view]();
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // a % that is no escape
  }
}

/** The view that an address names; null: no view, such as the link to the content. */
function viewOf(hash) {
  const parts = hash.replace(/^#/, "").split("/").map(decoded);
  if (parts.length > 1) return "neuron";
  const [name] = parts;
  if (name === "") return "overview";
  if (name === "comparison" && !SEVERAL) return "overview";
  return ["overview", "neurons", "comparison"].includes(name) ? name : null;
}

function show(isStart) {
  const view = viewOf(location.hash);
  if (view === null && !isStart) return;
  const shown = view ?? "overview";
  let title = "";
  const came = shownNeuron;
  shownNeuron = -1;
  if (shown === "neuron") {
    made("neurons"); // the order of its neighbours
    title = openNeuron();
  } else if (shown !== "overview") {
    made(shown);
    title = shown === "neurons" ? "Neurons" : "Comparison";
  }
  for (const element of document.querySelectorAll(".view")) element.hidden = element.id !== `view-${shown}`;
  for (const link of document.querySelectorAll("nav [data-view]")) {
    if (link.dataset.view === shown) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = (title ? `${short(title)} – ` : "") + visible(DATA.title);
  if (!isStart) focusOn(shown, came);
}

/** Shows the neuron of the address and returns its title. */
function openNeuron() {
  const parts = location.hash.slice(1).split("/").map(decoded);
  shownNeuron = placeOf(parts);
  if (shownNeuron >= 0) {
    showNeuron(shownNeuron);
    return titleOf(NEURONS[shownNeuron]);
  }
  document.getElementById("view-neuron").replaceChildren(
    el("h2", { tabindex: "-1" }, "No such neuron"),
    el("p", {}, "This report has no neuron ", named(parts.join("/")), "."),
    el("p", {}, el("a", { href: "#neurons" }, "All neurons")),
  );
  return "No such neuron";
}

function focusOn(view, came) {
  window.scrollTo(0, 0);
  if (view === "neurons" && came >= 0) {
    const index = LIST.found.indexOf(came);
    if (index >= 0) {
      focusRow(index);
      return;
    }
  }
  const target = document.querySelector(`#view-${view} h2[tabindex]`) || document.getElementById("content");
  target.focus();
}

/** Escape leads back to the table, left and right to the neighbours in its order. */
function stepByKey(event) {
  if (shownNeuron < 0 || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
  if (event.target.closest("input, select, textarea")) return;
  if (event.key !== "Escape" && event.target.closest(".scroll")) return; // scrolls
  const link = document.querySelector(`#view-neuron [data-step="${event.key}"]`);
  if (!link) return;
  event.preventDefault();
  if (event.key === "Escape") location.hash = "#neurons";
  else location.replace(link.getAttribute("href")); // back leads to the table
}

function download() {
  const content = document.getElementById("data").textContent;
  const url = URL.createObjectURL(new Blob([content], { type: "application/json" }));
  const link = el("a", { href: url, download: "report.json" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

document.getElementById("download").addEventListener("click", download);
document.addEventListener("keydown", stepByKey);
window.addEventListener("hashchange", () => show(false));
show(true);
document.documentElement.dataset.ready = performance.now().toFixed(0);
