"""The detail of docs/results.md: every arm of every setting, doses, and features."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from evidence import paired, rows
from evidence.all_results import MANIPULATION, STUDIES, settings_of
from evidence.arms import title as arm_title
from evidence.claims import CNNS, CONDITIONS, EIGHT, ENCOURAGING, STRONG, at_dose
from evidence.figures import interval, number, p_value
from evidence.methods import TITLES
from evidence.results import Results
from evidence.setting import Setting
from evidence.tuning import Choices

SCRIPT = 'KERAS_BACKEND=jax python studies/study.py --row "ROW"'
SETTINGS = {
    "mnist-planted": "MNIST, a leaked label: two dense layers, ReLU",
    "mnist-cnn": "MNIST: CNN without normalization, ReLU",
    "mnist-cnn-normalized": "MNIST: CNN with batch normalization, ReLU",
    "mnist-vit": "MNIST: vision transformer, GELU",
    "mnist-cnn-wrong": "MNIST, a fifth of the labels wrong: CNN",
    "mnist-cnn-normalized-wrong": "MNIST, a fifth of the labels wrong: normalized CNN",
    "mnist-cnn-few": "MNIST, 512 digits: CNN",
    "mnist-cnn-normalized-few": "MNIST, 512 digits: normalized CNN",
    "udhr-small": "Declaration in twenty languages: causal transformer, width 16",
    "udhr-medium": "Declaration in twenty languages: causal transformer, width 32",
    "udhr-large": "Declaration in twenty languages: causal transformer, width 64",
    "encoder-small": "Encoder, width 16: twelve languages, after masked pretraining",
    "encoder-medium": "Encoder, width 32: twelve languages, after masked pretraining",
    "encoder-large": "Encoder, width 64: twelve languages, after masked pretraining",
    "nowcasting": "ConvGRU: rain twenty frames ahead, after pretraining on the same",
}
NEURONS = ("tail", "selectivity", "scale", "decorrelation")
DOSE = 20  # % by which the tail is lowered
DOSED = {
    "penalty, phi": [f"phi:weight={w}" for w in ("0.001", "0.003", "0.01", "0.03")],
    "penalty, log_phi": [f"log_phi:weight={w}" for w in ("0.01", "0.03")],
    "L2E penalty": [f"l2e:weight={w}" for w in ("0.01", "0.03")],
    "RD, scale-invariant": [f"rd-si:strength={s}" for s in ("1", "5")],
}


def sections(results: Results) -> list[str]:
    """All of them; of what has no runs nothing."""
    found = [_doses(results), _robustness(results), _features(results), "## Row by row"]
    for study in STUDIES:
        for setting in settings_of(study):
            if len(_seeds(results, setting)) > 1:
                found.append(_setting(results, setting))
    found += [f"```sh\n{SCRIPT}\n```", _searched(results)]
    return [section for section in found if section]


def _seeds(results: Results, setting: Setting) -> list[int]:
    return sorted(results.figure(setting.name, setting.plain, setting.primary))


def _doses(results: Results) -> str:
    """The other study's eight networks, each method at the same fall of the tail."""
    names = [name for name in EIGHT if results.found[name][2]]
    if not names:
        return ""
    lines = [
        "## At the same dose",
        "Change of the task where a method lowers the tail of φ by "
        f"{DOSE} %, between the two strengths around it, in the network's margin "
        "([manipulation](manipulation.md) has the margins; below 0 is worse) and with "
        "its 95 % interval. A dash: it does not lower the tail so far at any strength "
        "tried.",
        "![What a change of the tail does to the task: MNIST, and eight networks]"
        "(images/results-doses.png)",
        "| method | "
        + " | ".join(f"`{name.removeprefix(MANIPULATION)}`" for name in names)
        + f" |\n| --- |{' --- |' * len(names)}",
    ]
    for shown, methods in DOSED.items():
        cells = [_dosed(results, name, methods) for name in names]
        lines[-1] += f"\n| {shown} | {' | '.join(cells)} |"
    return "\n\n".join(lines)


def _dosed(results: Results, name: str, methods: list[str]) -> str:
    found = by_dose(results, name, methods)
    values = np.array(list(at_dose(*found, DOSE).values()))
    return interval(paired.compare(values)) if len(values) > 1 else "-"


def by_dose(
    results: Results, name: str, methods: Iterable[str]
) -> tuple[list[float], list[dict[int, float]]]:
    """Mean fall of the tail in percent, and the task's gain in margins; 0 first."""
    from manipulation.networks import networks

    setting = results.found[name][0]
    network = networks()[name.removeprefix(MANIPULATION)]
    plain = results.figure(name, setting.plain, setting.primary)
    margin = network.margin
    margin *= float(np.mean(list(plain.values()))) if network.relative else 1.0
    sign = 1 if setting.higher_is_better else -1
    doses: list[float] = [0.0]
    gains: list[dict[int, float]] = [{}]
    for method in methods:
        lowered = list(results.lowered(name, method, "test tail").values())
        path = (*setting.plain[:-1], method)
        gain = results.gain(name, path, setting.plain, setting.primary)
        if lowered:
            doses.append(float(np.mean(lowered)))
            gains.append({s: sign * value / margin for s, value in gain.items()})
    return doses, gains


def _robustness(results: Results) -> str:
    lines = [
        "## Robustness, condition by condition",
        "Test accuracy of plain training, and what an arm adds to it [95 %], points. "
        "Noise, turning and the other hand (scikit-learn's digits) are of the test "
        "only, with the networks that were trained on clean digits.",
        "| network | condition | plain | encouraging, -0.003 | penalty, 0.01 |\n"
        "| --- | --- | --- | --- | --- |",
    ]
    some = False
    for name in CNNS:
        for shown, (suffix, figure) in {
            "clean": ("", "test accuracy"),
            **CONDITIONS,
        }.items():
            plain = results.figure(f"{name}{suffix}", ("plain",), figure)
            cells = [
                results.gain(f"{name}{suffix}", (method,), ("plain",), figure)
                for method in (ENCOURAGING, STRONG)
            ]
            if any(len(cell) < 2 for cell in cells):
                continue
            some = True
            gains = [interval(_compared(cell)) for cell in cells]
            lines[-1] += (
                f"\n| `{name}` | {shown} | {np.mean(list(plain.values())):.2f} | "
                f"{' | '.join(gains)} |"
            )
    return "\n\n".join(lines) if some else ""


def _compared(by_seed: Mapping[int, float]) -> paired.Difference:
    return paired.compare(np.array([by_seed[seed] for seed in sorted(by_seed)]))


def _features(results: Results) -> str:
    figures = {
        "weights": "test parameters",
        "φ_ℓ*": "test best phi",
        "K-S": "test K-S",
        "FKR at 0.2 %": "test FKR at 0.002",
        "at 2 %": "test FKR at 0.02",
        "at 20 %": "test FKR at 0.2",
        "chance": "test FKR by chance",
    }
    lines = [
        "## Features by model size",
        "Of plainly trained causal transformers on the Declaration: the hidden units "
        "of the two middle blocks, on articles that were not trained on, language "
        "being the feature.",
        "![φ_ℓ* and K-S by size, and the false killing rate by fraction]"
        "(images/results-features.png)",
        f"| model | seeds | {' | '.join(figures)} |\n|{' --- |' * (len(figures) + 2)}",
    ]
    for size in ("small", "medium", "large"):
        each = [
            list(results.figure(f"udhr-{size}", ("plain",), figure).values())
            for figure in figures.values()
        ]
        if not all(each):
            return ""
        means = [float(np.mean(values)) for values in each]
        cells = [f"{means[0]:,.0f}", *(f"{mean:.3f}" for mean in means[1:])]
        lines[-1] += f"\n| `udhr-{size}` | {len(each[0])} | {' | '.join(cells)} |"
    return "\n\n".join(lines)


def _setting(results: Results, setting: Setting) -> str:
    runs = results.found[setting.name][2]
    plain = list(results.figure(setting.name, setting.plain, setting.primary).values())
    neurons = [n for n in NEURONS if setting.tasks and _has(runs, f"test {n}")]
    shown = [f"{n}, % of plain" for n in neurons]
    head = ["method", "settings chosen", "mean", "better than plain by [95 %]"]
    head += ["n", "t / Wilcoxon p", *shown, "12 new seeds", "the row"]
    lines = [
        f"### {SETTINGS[setting.name]}",
        f"`{setting.name}`: {setting.primary}, "
        f"{setting.tasks[-1].build(None).count_params():,} weights. Plain: "
        f"{number(np.mean(plain))} ± {number(np.std(plain, ddof=1))} (standard "
        f"deviation over {len(plain)} seeds).",
        f"| {' | '.join(head)} |\n|{' --- |' * len(head)}",
    ]
    for path in setting.paths():
        if path != setting.plain:
            lines[-1] += _row(results, setting, path, neurons)
    if lines[-1].count("\n") == 1:
        lines.pop()
    return "\n\n".join(lines)


def _has(runs: Iterable[Any], figure: str) -> bool:
    return any(figure in run["figures"] for run in runs)


def _row(
    results: Results, setting: Setting, path: tuple[str, ...], neurons: list[str]
) -> str:
    _, choices, runs = results.found[setting.name]
    row = rows.Row(setting, choices, path)
    found = row.differences(runs)
    if len(found) < 2:
        return ""
    d = paired.compare(found)
    mean = np.mean(list(results.figure(setting.name, path, setting.primary).values()))
    changes = []
    for name in neurons:
        lowered = results.lowered(setting.name, row.resolved[-1], f"test {name}")
        each = -np.array(list(lowered.values()))
        changes.append(f"{each.mean():+.1f}" if len(each) else "-")
    cells = [_title(path), _chosen(row.resolved, choices), number(mean), interval(d)]
    cells += [str(d.number), f"{p_value(d.p)} / {p_value(d.wilcoxon)}", *changes]
    cells.append(" to ".join(number(v, True) for v in d.prediction(12)))
    cells.append(f"`{setting.name}/{rows.text(path)}`")
    return f"\n| {' | '.join(cells)} |"


def _title(path: tuple[str, ...]) -> str:
    if len(path) == 1:
        return arm_title(path[0])
    if path[0] == "plain":
        return TITLES[path[-1]]
    return f"{TITLES[path[0]]} in pretraining, {TITLES[path[1]]} in fine-tuning"


def _chosen(resolved: tuple[str, ...], choices: Choices) -> str:
    if len(resolved) == 1:
        return "-"
    shown = []
    for pair in filter(None, resolved[-1].partition(":")[2].split(",")):
        key, _, value = pair.partition("=")
        edge = "*" if choices.at_an_edge(key, float(value)) else ""
        name = {"strength": "Δ", "rate": "learning rate"}.get(key, key)
        shown.append(f"{name} = {value}{edge}")
    return ", ".join(shown) or "-"


def _searched(results: Results) -> str:
    """Validation figures of plain training by learning rate."""
    lines = [
        "## Learning rates",
        "Validation figure of plain training, mean of two seeds that no other table "
        "has; **bold**: used. Of the other settings a * in the tables above marks a "
        "rate at the edge of what was tried.",
        "| setting | by learning rate |\n| --- | --- |",
    ]
    for name, (setting, _, runs) in results.found.items():
        figure = setting.primary.replace("test ", "validation ")
        cells = []
        for method in setting.searched:
            values = [
                run["figures"][figure] for run in runs if run["path"][-1] == method
            ]
            rate = float(method.partition("rate=")[2])
            if values:
                cell = f"{rate:g}: {np.mean(values):.2f}"
                used = np.isclose(rate, setting.tasks[-1].learning_rate)
                cells.append(f"**{cell}**" if used else cell)
        if cells:
            lines[-1] += f"\n| `{name}` | {', '.join(cells)} |"
    return "\n\n".join(lines) if lines[-1].count("\n") > 1 else ""
