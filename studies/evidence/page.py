"""docs/results.md: written from the stored runs, nothing of it by hand."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from evidence import paired, rows
from evidence.all_results import STUDIES, settings_of, study_of
from evidence.claims import CLAIMS, Results, Verdict
from evidence.methods import L2E_WEIGHT, TITLES
from evidence.setting import Setting
from evidence.tuning import WEIGHTS, Choices

SETTINGS = {
    "vit-digits": "Vision transformer: ten digits, after patches of photographs",
    "cnn-digits": "Convolutional network: ten digits, after patches of photographs",
    "vit-patches": "Vision transformer: where a patch of photographs is (chance: 17 %)",
    "encoder-small": "Encoder, width 16: twelve languages, after masked pretraining",
    "encoder-medium": "Encoder, width 32: twelve languages, after masked pretraining",
    "encoder-large": "Encoder, width 64: twelve languages, after masked pretraining",
    "causal-small": "Causal transformer, width 16: next byte of source code",
    "causal-medium": "Causal transformer, width 32: next byte of source code",
    "causal-large": "Causal transformer, width 64: next byte of source code",
    "nowcasting": "ConvGRU: rain twenty frames ahead, after pretraining on the same",
}


def page(results: Results, verdicts: list[Verdict]) -> str:
    """The whole page."""
    parts = [_head(results), summary(verdicts), _claims(verdicts), _READING]
    for study in STUDIES:
        parts.append(f"## {study.capitalize()}")
        for setting in settings_of(study):
            found = results.found[setting.name]
            if found[2]:
                parts.append(_setting(*found))
    parts += [_weights(results), _features(results)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def summary(verdicts: list[Verdict]) -> str:
    """What came out, in a few sentences; the README has the same."""
    words = Counter(verdict.word for verdict in verdicts)
    listed = ", ".join(f"{number} {word}" for word, number in words.most_common())
    parts = [f"Of {len(verdicts)} claims, written down before the runs: {listed}."]
    for word, lead in {
        "supported": "Supported: ",
        "contradicted": "Contradicted, by a significant effect of the other sign: ",
    }.items():
        titles = [
            f"{v.claim.title[0].lower()}{v.claim.title[1:]} ({v.claim.source})"
            for v in verdicts
            if v.word == word
        ]
        if titles:
            parts.append(f"{lead}{'; '.join(titles)}.")
    parts.append(
        "These are small models on small data, 12 seeds each; they speak of nothing "
        "larger."
    )
    return " ".join(parts)


def _head(results: Results) -> str:
    runs = [run for _, _, every in results.found.values() for run in every]
    seconds = sum(run["seconds"] for run in runs)
    backends = sorted({run["backend"] for run in runs})
    versions: dict[str, set[str]] = {}
    for run in runs:
        for package, version in run["versions"].items():
            versions.setdefault(package, set()).add(version)
    shown = ", ".join(f"{p} {'/'.join(sorted(v))}" for p, v in sorted(versions.items()))
    machines = "; ".join(sorted({run["machine"] for run in runs}))
    pythons = "/".join(sorted({run["python"] for run in runs}))
    return (
        "# Results: the papers' claims, tested\n\n"
        "This page is written by `python studies/results.py` from "
        f"[{len(runs)} stored runs](data/evidence) of `studies/study.py`: "
        f"{seconds / 3600:.1f} hours of one core in all. "
        f"Backend: {', '.join(backends)}. "
        f"Versions: {shown}, Python {pythons}. Machine: {machines}."
    )


def _claims(verdicts: list[Verdict]) -> str:
    lines = [
        "## The claims",
        "![Each claim's effect with its interval, in standard deviations of the "
        "paired differences](images/results-claims.png)",
        "| | claim | the paper | here, mean [95 %] | d_z | t / Wilcoxon | corrected p, "
        "for / against | verdict |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for number, verdict in enumerate(verdicts, 1):
        claim = verdict.claim
        each = verdict.differences.items()
        ours = "; ".join(
            f"{text}: {_interval(d)} {claim.unit}".strip() for text, d in each
        )
        effects = "; ".join(f"{d.effect:+.2f}" for _, d in each)
        tests = "; ".join(f"{_p(d.p)} / {_p(d.wilcoxon)}" for _, d in each)
        lines.append(
            f"| {number} | {claim.title} ({claim.source}) | {claim.theirs} | {ours} | "
            f"{effects} | {tests} | {_p(verdict.supports)} / "
            f"{_p(verdict.contradicts)} | **{verdict.word}** |"
        )
    table = "\n".join(lines[2:])
    commands = "\n".join(
        f"KERAS_BACKEND=jax python studies/study.py "
        f"{study_of(claim.needs[0][0])} --claim {number}"
        for number, claim in enumerate(CLAIMS, 1)
    )
    return f"{lines[0]}\n\n{lines[1]}\n\n{table}\n\n```sh\n{commands}\n```"


# How to read the page; long lines, as in docs/.
_READING = (Path(__file__).parent / "reading.md").read_text("utf-8")


def _setting(setting: Setting, choices: Choices, runs: list[dict[str, Any]]) -> str:
    study = study_of(setting.name)
    plain = _values(runs, choices.resolved(setting.plain), setting.primary)
    lines = [
        f"### {SETTINGS[setting.name]}",
        "",
        f"`{setting.name}`: {setting.primary}, {_parameters(setting)} weights. Plain: "
        f"{_number(np.mean(plain))} ± {_number(np.std(plain, ddof=1))} (standard "
        f"deviation over {len(plain)} seeds).",
        "",
        "| method | settings chosen | mean | better than plain by [95 %] | d_z | "
        "t / Wilcoxon p | 12 new seeds | the row |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for path in setting.paths():
        if path == setting.plain:
            continue
        row = rows.Row(setting, choices, path)
        found = row.differences(runs)
        if len(found) < 2:
            continue
        d = paired.compare(found)
        low, high = d.prediction(12)
        mean = np.mean(_values(runs, row.resolved, setting.primary))
        lines.append(
            f"| {_title(path)} | {_chosen(row.resolved, choices)} | {_number(mean)} | "
            f"{_interval(d)} | {d.effect:+.2f} | {_p(d.p)} / {_p(d.wilcoxon)} | "
            f"{_number(low, True)} to {_number(high, True)} | "
            f"`{setting.name}/{rows.text(path)}` |"
        )
    lines += [
        "",
        "```sh",
        f'KERAS_BACKEND=jax python studies/study.py {study} --subset "ROW"',
        "```",
    ]
    return "\n".join(lines)


def _weights(results: Results) -> str:
    """What the search for the weight of L2E's penalty saw."""
    lines = [
        "## The penalty's weight",
        "",
        "Validation figures of the search (mean of 2 seeds that are in no other "
        f"table). {L2E_WEIGHT:g}, the largest that is nowhere clearly worse, is the "
        '"default weight" of the other tables.',
        "",
        f"| setting | figure | {' | '.join(f'{w:g}' for w in WEIGHTS)} |",
        f"| --- | --- |{' --- |' * len(WEIGHTS)}",
    ]
    for name, (setting, choices, _) in results.found.items():
        if "weight" not in setting.tuned:
            continue
        found = choices.by_weight().values()
        best = (max if setting.higher_is_better else min)(found)
        cells = [f"**{v:.2f}**" if v == best else f"{v:.2f}" for v in found]
        figure = setting.primary.removeprefix("test ")
        lines.append(f"| `{name}` | {figure} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _features(results: Results) -> str:
    lines = [
        "## Features by model size",
        "",
        "Of plainly trained causal transformers: the hidden units of the two middle "
        "blocks, on held-out source code of five kinds (mean over 12 seeds).",
        "",
        "![φ_ℓ* and K-S by size, and the false killing rate by fraction]"
        "(images/results-features.png)",
        "",
        "| model | weights | φ_ℓ* | K-S | FKR at 0.2 % | at 2 % | at 20 % | chance |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for size in ("small", "medium", "large"):
        name = f"causal-{size}"
        cells = [
            np.mean(list(results.figure(name, ("plain",), figure).values()))
            for figure in (
                "parameters",
                "best phi",
                "K-S",
                "FKR at 0.002",
                "FKR at 0.02",
                "FKR at 0.2",
                "FKR by chance",
            )
        ]
        shown = [f"{cells[0]:,.0f}", *(f"{c:.3f}" for c in cells[1:])]
        lines.append(f"| `{name}` | {' | '.join(shown)} |")
    return "\n".join(lines)


def _values(runs: Iterable[Any], path: tuple[str, ...], name: str) -> list[float]:
    return list(rows.figures(runs, path, name).values())


def _parameters(setting: Setting) -> str:
    return f"{setting.tasks[-1].build(None).count_params():,}"


def _title(path: tuple[str, ...]) -> str:
    if len(path) == 1 or path[0] == "plain":
        return TITLES[path[-1]]
    return f"{TITLES[path[0]]} in pretraining, {TITLES[path[1]]} in fine-tuning"


def _chosen(resolved: tuple[str, ...], choices: Choices) -> str:
    shown = []
    for pair in filter(None, resolved[-1].partition(":")[2].split(",")):
        key, _, value = pair.partition("=")
        edge = "*" if choices.at_an_edge(key, float(value)) else ""
        name = {"strength": "Δ", "rate": "learning rate"}.get(key, key)
        shown.append(f"{name} = {value}{edge}")
    return ", ".join(shown) or "-"


def _interval(d: paired.Difference) -> str:
    shown = [_number(value, True) for value in (d.mean, d.low, d.high)]
    return f"{shown[0]} [{shown[1]}, {shown[2]}]"


def _number(value: float, signed: bool = False) -> str:
    """Three figures behind the leading one, without an exponent."""
    digits = 2 if abs(value) >= 1 else 3 if abs(value) >= 0.01 else 5
    return f"{value:{'+' if signed else ''}.{digits}f}"


def _p(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else f"{value:.2g}"
