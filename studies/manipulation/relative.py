"""Of the page: how the dose of one weight differs, and what was tried against it."""

import json
from pathlib import Path

import numpy as np

from manipulation.outcomes import STORED, Outcomes, runs_in

DOSES = "doses.json"
FOLDER = "tried"
TRIED = {
    "relative": "as chosen",
    "rel": "norms without the neurons' standard deviations",
    "reln": "norms neuron by neuron",
    "std-cfn": "without the part against the loss's gradient, neuron by neuron",
    "std-cfe": "without the entries where it is against the loss's gradient",
}


def doses(found: Outcomes, folder: Path = STORED) -> str:
    """The penalty's gradient beside the loss's, layer by layer."""
    stored = json.loads((folder / DOSES).read_text("utf-8"))
    lines = [
        "## The dose of one weight",
        "How long the gradient of `phi:weight=0.003` is beside the loss's own, in "
        "percent and in standard deviations of the neurons: median over a training of "
        "one validation seed [10 %, 90 % of the batches in which anything is "
        "selected]. A weight of the relative form sets this number, for all layers and "
        "batches.",
        "| network | layer | percent | cosine between the two, median |\n"
        "| --- | --- | --- | --- |",
    ]
    for network in found.networks:
        for layer, of in stored.get(network, {}).items():
            low, middle, high = (100 * of[key] for key in ("low", "median", "high"))
            lines[-1] += (
                f"\n| `{network}` | `{layer}` | {middle:.3g} [{low:.3g}, {high:.3g}] | "
                f"{of['cosine']:+.3f} |"
            )
    command = "KERAS_BACKEND=jax PYTHONPATH=studies python -m manipulation.doses"
    return "\n\n".join([*lines, f"```sh\n{command}\n```"])


def tried(found: Outcomes, folder: Path = STORED) -> str:
    """Other forms of a relative weight: validation data, few seeds and networks."""
    networks, more = found.networks, runs_in(found.networks, folder / FOLDER, "default")
    own = runs_in(networks, folder, "default")
    every = {name: [*own[name], *more[name]] for name in networks}
    validated = Outcomes(networks, every, "validation")
    lines = [
        "## What else was tried",
        "Other forms of the relative weight, by validation data of some networks and "
        "seeds, by a prototype that is not part of the library; *as chosen* beside "
        "them. The two gradients are nearly orthogonal (the cosines above), so there "
        "is little to take out as PCGrad (Yu et al., 2020) does. A running mean of the "
        "gradient's length was not tried: it is known in the backward pass only, where "
        "a layer cannot store it on every backend. A weight of 0.1 was begun and left "
        "for lack of time, so it is no candidate for the default.",
        "| network | what | weight | seeds | tail, % | selectivity, % | task, margins "
        "(± standard error) |\n"
        f"|{' --- |' * 7}",
    ]
    for name in networks:
        methods = {run["path"][-1] for run in more[name]}
        if methods:
            methods |= _relative(validated, name)
        for method in sorted(methods, key=_place):
            lines[-1] += f"\n{_row(validated, name, method)}"
    return "\n\n".join(lines)


def _relative(found: Outcomes, name: str) -> set[str]:
    methods = {run["path"][-1] for run in found.runs[name]}
    return {method for method in methods if method.startswith("relative:")}


def _place(method: str) -> tuple[int, float]:
    kind, _, weight = method.partition(":weight=")
    return list(TRIED).index(kind), float(weight)


def _row(found: Outcomes, name: str, method: str) -> str:
    kind, _, weight = method.partition(":weight=")
    tail = 100 * found.in_unit(name, method, "tail")
    selectivity = 100 * found.in_unit(name, method, "selectivity").mean()
    task = found.in_unit(name, method, "task", "margin")
    error = ""
    if len(task) > 1:
        error = f" ± {task.std(ddof=1) / np.sqrt(len(task)):.2f}"
    return (
        f"| `{name}` | {TRIED[kind]} | {weight} | {len(task)} | {tail.mean():+.1f} | "
        f"{selectivity:+.1f} | {task.mean():+.2f}{error} |"
    )
