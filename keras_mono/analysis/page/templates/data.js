// What the report holds: DATA as in the JSON file, and all neurons in one list.

const DATA = JSON.parse(document.getElementById("data").textContent);
const SEVERAL = DATA.models.length > 1;

/** Every neuron: its model, its layer, its number; and its place in this list. */
const NEURONS = [];
DATA.models.forEach((model, m) =>
  model.layers.forEach((layer, l) => {
    layer.first = NEURONS.length;
    layer.dead.forEach((_, number) => NEURONS.push({ m, l, number, model, layer }));
  }),
);

function value(neuron, measure) {
  return neuron.layer.measures[measure][neuron.number];
}

/** "alive"; "dead": the same on every input; "not finite": NaN or infinite on every input. */
function stateOf(neuron) {
  if (neuron.layer.not_finite[neuron.number]) return "not finite";
  return neuron.layer.dead[neuron.number] ? "dead" : "alive";
}

function isAlive(neuron) {
  return stateOf(neuron) === "alive";
}

/** The name of its own feature; null for a neuron that is not alive. */
function ownFeature(neuron) {
  if (!isAlive(neuron)) return null;
  return DATA.features[neuron.layer.best_feature[neuron.number]];
}

/** Where it is shown: `#layer/neuron`, or `#model/layer/neuron`. */
function linkOf(neuron) {
  const path = [neuron.layer.name, String(neuron.number)];
  if (SEVERAL) path.unshift(neuron.model.name);
  return "#" + path.map(encodeURIComponent).join("/");
}

/** The place in NEURONS that a link's parts name; -1 if there is none. */
function placeOf(parts) {
  const [number, layerName, modelName] = parts.slice().reverse();
  if (!/^\d+$/.test(number)) return -1;
  for (const model of DATA.models) {
    if (modelName !== undefined && model.name !== modelName) continue;
    const layer = model.layers.find((x) => x.name === layerName);
    if (layer && Number(number) < layer.dead.length) return layer.first + Number(number);
  }
  return -1;
}

/** Its rank by a measure in its layer, and of how many; null without a value. */
function rankOf(neuron, measure) {
  const own = value(neuron, measure);
  if (own === null) return null;
  const known = neuron.layer.measures[measure].filter((x) => x !== null);
  return { rank: 1 + known.filter((x) => x > own).length, of: known.length };
}

/** The pairing of a model's layer with the reference's; null if there is none. */
function pairingOf(m, layerName) {
  if (m === 0) return null;
  return DATA.comparisons[m - 1].layers.find((x) => x.layer === layerName) || null;
}

/** Whether activations show that neurons of the same number belong together. */
function belongTogether(pairing) {
  return pairing.paired !== null && pairing.paired > Math.abs(pairing.shuffled) + 0.2;
}

/** The neurons of the same number in the other models, where they are comparable. */
function counterparts(neuron) {
  const found = [];
  DATA.models.forEach((model, m) => {
    if (m === neuron.m || (m !== 0 && neuron.m !== 0)) return;
    const pairing = pairingOf(m || neuron.m, neuron.layer.name);
    const layer = model.layers.find((x) => x.name === neuron.layer.name);
    if (pairing && layer && pairing.why_not === null) {
      found.push({ pairing, neuron: NEURONS[layer.first + neuron.number] });
    }
  });
  return found;
}
