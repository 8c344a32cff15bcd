"""docs/manipulation.md and what it links to: written from the stored runs."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from evidence import paired
from manipulation import choice, relative, verdicts
from manipulation.methods import title
from manipulation.outcomes import STORED, Outcomes
from manipulation.predictions import CRITERIA, PREDICTIONS
from manipulation.verdicts import Judged, Tested

SCRIPT = "KERAS_BACKEND=jax python studies/manipulation_study.py"
FIGURES = {
    "tail": "tail",
    "selectivity": "selectivity",
    "scale": "scale",
    "dead": "dead neurons",
    "tail below": "tail of the layer below",
    "task": "task",
}


def page(found: Outcomes, chosen: dict[str, Any]) -> str:
    """The page of what came out."""
    judged = verdicts.criteria(found, chosen["chosen"])
    tested = verdicts.predictions(found)
    parts = [
        _head(found),
        summary(judged, tested, chosen["chosen"]),
        "![Change of the tail and of selectivity against change of the task's figure, "
        "one point a method and network](images/manipulation.png)",
        _READING,
        _networks(found),
        "## Method by method",
        overview(found),
        _criteria(judged, chosen["chosen"], found),
        _choice(chosen),
        relative.doses(found),
        relative.tried(found),
        _predictions(tested),
        "[Network by network](manipulation-networks.md): every row, with the command "
        "that repeats it.",
    ]
    return _joined(parts)


def networks_page(found: Outcomes) -> str:
    """The page of every network."""
    parts = [
        "# Each method in each network",
        "[The summary](manipulation.md) is made of this, and says how to read it. "
        "The same program writes both.",
        *(_network(found, name) for name in found.networks),
    ]
    return _joined(parts)


def _joined(parts: Iterable[str]) -> str:
    return "\n\n".join(part.strip() for part in parts) + "\n"


def chosen_in(folder: Path = STORED) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / choice.FILE).read_text("utf-8"))
    return found


def summary(judged: list[Judged], tested: list[Tested], chosen: str) -> str:
    """What came out, in a few sentences."""
    words = Counter(each.word for each in tested)
    lines = [
        f"Chosen by validation data: `{chosen}`. What was predicted of it, "
        "by test data:",
        "",
    ]
    for criterion in CRITERIA:
        mine = [j for j in judged if j.criterion is criterion]
        met = sum(j.met for j in mine)
        needed = _needed(criterion.needed, len(mine))
        word = "holds" if met >= needed else "**does not hold**"
        lines.append(
            f"- {criterion.text}: in {met} of {len(mine)} networks ({needed} were "
            f"predicted): {word}."
        )
    listed = ", ".join(f"{words[w]} {w}" for w in ("confirmed", "open", "contradicted"))
    lines += ["", f"Of {len(tested)} predicted signs of all methods: {listed}."]
    return "\n".join(lines)


def _needed(of_eight: int | None, number: int) -> int:
    return number if of_eight is None else int(np.ceil(of_eight / 8 * number))


def _head(found: Outcomes) -> str:
    runs = [run for each in found.runs.values() for run in each]
    seeds = {
        name: len({run["seed"] for run in each}) for name, each in found.runs.items()
    }
    most = max(seeds.values())
    fewer = [f"{n} in `{name}`" for name, n in seeds.items() if n < most]
    shown = f"{most} seeds each"
    if fewer:
        shown += f" ({', '.join(fewer)}, where time was up)"
    hours = sum(run["seconds"] for run in runs) / 3600
    versions: dict[str, set[str]] = {}
    for run in runs:
        for package, version in run["versions"].items():
            versions.setdefault(package, set()).add(version)
    listed = ", ".join(
        f"{p} {'/'.join(sorted(v))}" for p, v in sorted(versions.items())
    )
    return (
        "# Does each method do what it is named after?\n\n"
        "This page is written by `python studies/manipulation_page.py` from "
        f"[{len(runs)} stored runs](data/manipulation) of "
        f"`studies/manipulation_study.py`: {len(found.networks)} networks, "
        f"{len(found.methods())} methods, {shown}, {hours:.1f} hours. "
        f"Backend: {', '.join(sorted({run['backend'] for run in runs}))}. "
        f"Versions: {listed}. "
        f"Machine: {'; '.join(sorted({run['machine'] for run in runs}))}."
    )


# How to read the page; long lines, as in docs/.
_READING = (Path(__file__).parent / "reading.md").read_text("utf-8")


def _networks(found: Outcomes) -> str:
    lines = [
        "| network | | weights | last task: epochs, batch, learning rate | margin |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, network in found.networks.items():
        task = network.setting.tasks[-1]
        falls = ", falling to 0" if task.decays else ""
        lines.append(
            f"| `{name}` | {network.title} | {task.build(None).count_params():,} | "
            f"{task.epochs}, {task.batch_size}, {task.learning_rate:g}{falls} | "
            f"{found.margin(name):.3g} {network.unit} |"
        )
    return "\n".join(lines)


def overview(found: Outcomes) -> str:
    """In how many networks a method does what; the guide has the same."""
    lines = [
        "In how many networks the 95 % interval of a change lies below or above 0, "
        "scale falls by more than 15 % (mean), dead neurons rise by more than 2 points "
        "(mean), and the task is worse by more than its margin (mean, and the whole "
        f"interval). Of {len(found.networks)} networks; trainings at chance of all.",
        "| method | tail falls / rises | median | selectivity falls / rises | median | "
        "scale falls | dead rise | task worse | trainings at chance |\n"
        f"|{' --- |' * 9}",
    ]
    for method in found.methods():
        if method != "plain":
            lines[-1] += f"\n{_overall(found, method)}"
    ended = [found.at_chance(name, "plain") for name in found.networks]
    lines.append(
        "Of plain training {} of {} end at chance.".format(
            *np.sum(ended, axis=0, dtype=int)
        )
    )
    return "\n\n".join(lines)


def _overall(found: Outcomes, method: str) -> str:
    names = list(found.networks)
    cells = []
    for figure in ("tail", "selectivity"):
        values = [100 * found.in_unit(name, method, figure) for name in names]
        values = [each for each in values if len(each) > 1]
        ends = [paired.interval(each) for each in values]
        falls, rises = sum(e[1] < 0 for e in ends), sum(e[0] > 0 for e in ends)
        median = np.median([each.mean() for each in values]) if values else np.nan
        cells += [f"{falls} / {rises}", f"{median:+.0f} %"]
    scale = [found.in_unit(name, method, "scale").mean() for name in names]
    dead = [found.changes(name, method, "dead").mean() for name in names]
    task = [found.in_unit(name, method, "task", "margin") for name in names]
    worse = sum(each.mean() < -1 for each in task)
    surely = sum(len(e) > 1 and paired.interval(e)[1] < -1 for e in task)
    ended = np.sum([found.at_chance(name, method) for name in names], axis=0)
    cells += [
        f"{sum(s < -0.15 for s in scale)}",
        f"{sum(d > 2 for d in dead)}",
        f"{worse} ({surely})",
        f"{ended[0]} of {ended[1]}",
    ]
    return f"| {title(method)} | {' | '.join(cells)} |"


def _criteria(judged: list[Judged], chosen: str, found: Outcomes) -> str:
    names = list(found.networks)
    lines = [
        "## Criterion by criterion, network by network",
        f"Of `{chosen}`; the last of `{verdicts.tenfold(chosen)}`. Mean change [95 %]. "
        "**Bold**: not met. *shown*: also by a one-sided test at 2.5 %, against the "
        "limit; of tail and selectivity against 0 and corrected for the number of "
        "networks by Holm's procedure, and only then met.",
        f"| criterion | {' | '.join(f'`{name}`' for name in names)} |\n"
        f"| --- |{' --- |' * len(names)}",
    ]
    for criterion in CRITERIA:
        cells = [_cell(j) for j in judged if j.criterion is criterion]
        lines[-1] += f"\n| {criterion.text} | {' | '.join(cells)} |"
    return "\n\n".join(lines)


def _cell(judged: Judged) -> str:
    values, criterion = judged.values, judged.criterion
    if criterion.figure == "chance":
        text = f"{values[0]:.0f} of {values[1]:.0f}" if len(values) else "-"
    elif criterion.of == "margin":
        text = _interval(values, "{:+.2f}")
    else:
        scale = 100 if criterion.of == "share" else 1
        text = _interval(scale * values, "{:+.1f}")
    if not judged.met:
        return f"**{text}**"
    return f"{text} *shown*" if judged.shown else text


def _interval(values: np.ndarray, form: str) -> str:
    if not len(values):
        return "-"
    if len(values) < 2:
        return form.format(values[0])
    ends = (values.mean(), *paired.interval(values))
    mean, low, high = (form.format(v) for v in ends)
    return f"{mean} [{low}, {high}]"


def _choice(chosen: dict[str, Any]) -> str:
    lines = [
        "## The default, chosen by validation data",
        chosen["rule"],
        "| penalty | allowed | lowers tail and selectivity | task worse by more than "
        "the margin | at chance | mean loss of the task, margins |\n"
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for each in chosen["candidates"]:
        candidate = choice.Candidate(**each)
        of = f"of {candidate.networks} networks"
        name = f"`{candidate.method}`"
        lines[-1] += (
            f"\n| {f'**{name}**' if candidate.method == chosen['chosen'] else name} | "
            f"{'yes' if candidate.allowed else 'no'} | {candidate.lowers} {of} | "
            f"{candidate.harms} {of} | "
            f"{candidate.at_chance} of {candidate.runs} runs | {candidate.loss:+.2f} |"
        )
    return "\n\n".join(
        [*lines, f"```sh\n{SCRIPT} --validation\n{SCRIPT} --choose\n```"]
    )


def _predictions(tested: list[Tested]) -> str:
    names = list(dict.fromkeys(each.network for each in tested))
    short = {"confirmed": "yes", "contradicted": "**no**", "open": "open"}
    lines = [
        "## Predicted signs",
        "Written down before the runs. *yes*: significant with the predicted sign, "
        "**no**: with the other, *open*: neither (one-sided, 2.5 %, each sign "
        "corrected for the number of all cells by Holm's procedure). In brackets the "
        "sign of the mean.",
        "| method | figure | predicted | source | "
        f"{' | '.join(f'`{n}`' for n in names)} |\n"
        f"| --- | --- | --- | --- |{' --- |' * len(names)}",
    ]
    for prediction in PREDICTIONS:
        methods = dict.fromkeys(t.method for t in tested if t.prediction is prediction)
        for method in methods:
            mine = {
                t.network: t
                for t in tested
                if t.prediction is prediction and t.method == method
            }
            cells = [
                f"{short[mine[n].word]} ({'+' if mine[n].mean > 0 else '−'})"
                if mine[n].number
                else "-"
                for n in names
            ]
            sign = "rises" if prediction.sign > 0 else "falls"
            if prediction.than:
                than = title(verdicts.than(prediction, method))
                sign = f"{'higher' if prediction.sign > 0 else 'lower'} than {than}"
            lines[-1] += (
                f"\n| {title(method)} | {FIGURES[prediction.figure]} | {sign} | "
                f"{prediction.source} | {' | '.join(cells)} |"
            )
    return "\n\n".join(lines)


def _network(found: Outcomes, name: str) -> str:
    network = found.networks[name]
    seeds = found.values(name, "plain", "task").values()
    figure = network.setting.primary
    plain = {key: found.plain(name, key) for key in FIGURES}
    lines = [
        f"## `{name}`: {network.title}",
        f"Plain: {figure} {plain['task']:.2f} ± {_deviation(seeds):.2f} (standard "
        f"deviation over {len(seeds)} seeds), tail {plain['tail']:.2f}, "
        f"{network.selectivity} {plain['selectivity']:.3f}, "
        f"scale {plain['scale']:.3f}, dead {plain['dead']:.1f} %, tail of the "
        f"layer below {plain['tail below']:.2f}. At chance: "
        "{} of {}.".format(*found.at_chance(name, "plain")),
        f"| method | task, better by ({network.unit}) | tail, % | "
        f"{network.selectivity}, % | scale, % | dead, points | layer below, % | "
        f"at chance | the row |\n|{' --- |' * 9}",
    ]
    for method in found.methods():
        if method != "plain":
            lines[-1] += f"\n{_row(found, name, method)}"
    return "\n\n".join([*lines, f'```sh\n{SCRIPT} --row "ROW"\n```'])


def _deviation(values: Iterable[float]) -> float:
    values = list(values)
    return float(np.std(values, ddof=1)) if len(values) > 1 else np.nan


def _row(found: Outcomes, name: str, method: str) -> str:
    shares = ("tail", "selectivity", "scale")
    digits = 3 if found.margin(name) < 0.1 else 2
    cells = [_interval(found.changes(name, method, "task"), f"{{:+.{digits}f}}")]
    cells += [
        _interval(100 * found.in_unit(name, method, figure), "{:+.1f}")
        for figure in shares
    ]
    cells.append(_interval(found.changes(name, method, "dead"), "{:+.1f}"))
    cells.append(_interval(100 * found.in_unit(name, method, "tail below"), "{:+.1f}"))
    ended, number = found.at_chance(name, method)
    pairs = len(found.changes(name, method, "tail"))
    if pairs < number:
        cells[1] += f" ({pairs} of {number}: the others have no neuron that changes)"
    return (
        f"| {title(method)} | {' | '.join(cells)} | {ended} of {number} | "
        f"`{name}/{method}` |"
    )
