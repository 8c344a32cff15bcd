"""The papers' claims that are tested: written down with their sign before the runs.

Each claim is one or two one-sided hypotheses, all of which must hold. A hypothesis is
paired by seed: its values, one a seed, are predicted to be above 0.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from evidence import paired
from evidence.rows import figures
from evidence.setting import Setting
from evidence.tuning import Choices

LEVEL = 0.025  # of the corrected one-sided p: 5 % for both signs together
MARGIN = 0.3  # percentage points of accuracy that count as "little"


class Results:
    """All stored runs, by setting; of some seeds only, if given."""

    def __init__(
        self,
        found: Mapping[str, tuple[Setting, Choices, list[Any]]],
        seeds: Iterable[int] | None = None,
    ) -> None:
        self.found = found
        self.seeds = None if seeds is None else set(seeds)

    def of(self, seeds: Iterable[int]) -> "Results":
        return Results(self.found, seeds)

    def figure(
        self, setting: str, path: tuple[str, ...], name: str
    ) -> dict[int, float]:
        """One figure by seed."""
        _, choices, runs = self.found[setting]
        every = figures(runs, choices.resolved(path), name)
        return {
            seed: value
            for seed, value in every.items()
            if self.seeds is None or seed in self.seeds
        }


def difference(a: Mapping[int, float], b: Mapping[int, float]) -> np.ndarray:
    """a - b of the seeds that both have."""
    return np.array([a[seed] - b[seed] for seed in sorted(set(a) & set(b))])


def by_seed(a: Mapping[int, float]) -> np.ndarray:
    return np.array([a[seed] for seed in sorted(a)])


@dataclass(frozen=True)
class Claim:
    """One of the papers' statements, and how it is tested here.

    `values(results)` gives the paired values of each hypothesis, by its text, all
    predicted to be above 0. With `margin` they are predicted to be within ± it.
    """

    title: str
    source: str
    theirs: str
    unit: str
    values: Callable[[Results], dict[str, np.ndarray]]
    needs: tuple[tuple[str, tuple[str, ...]], ...]  # settings and their paths
    margin: float | None = None


def _needs(
    setting: str, *paths: tuple[str, ...]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple((setting, path) for path in paths)


def _one_step(results: Results) -> tuple[dict, dict, dict]:
    path = ("plain", "plain")
    names = ("RD", "plain", "naive (b)")
    return tuple(
        results.figure("vit-digits", path, f"decrease_ratio {name}") for name in names
    )


def _lowers(results: Results) -> dict[str, np.ndarray]:
    reversed_, plain, _ = _one_step(results)
    return {
        "Decrease Ratio, RD": by_seed(reversed_),
        "Decrease Ratio, RD - plain": difference(reversed_, plain),
    }


def _raises(results: Results) -> dict[str, np.ndarray]:
    _, plain, naive = _one_step(results)
    return {
        "Increase, naive (b)": -by_seed(naive),
        "Decrease Ratio, plain - naive (b)": difference(plain, naive),
    }


def _better(setting: str, figure: str, sign: int) -> Callable:
    def values(results: Results) -> dict[str, np.ndarray]:
        memel = results.figure(setting, ("plain", "memel"), figure)
        plain = results.figure(setting, ("plain", "plain"), figure)
        words = "MEmeL - plain" if sign > 0 else "plain - MEmeL"
        return {f"{figure}, {words}": sign * difference(memel, plain)}

    return values


def _pretraining(results: Results) -> dict[str, np.ndarray]:
    name = "test B-MAE"
    early = results.figure("nowcasting", ("memel", "plain"), name)
    late = results.figure("nowcasting", ("plain", "memel"), name)
    never = results.figure("nowcasting", ("plain", "plain"), name)
    return {
        f"{name}, plain - in pretraining": difference(never, early),
        f"{name}, in fine-tuning - in pretraining": difference(late, early),
    }


def _always(results: Results) -> dict[str, np.ndarray]:
    name = "test accuracy"
    always = results.figure("vit-digits", ("plain", "memel-always"), name)
    off = results.figure("vit-digits", ("plain", "memel"), name)
    return {f"{name}, left on - off": difference(always, off)}


def _falls_with_size(results: Results) -> dict[str, np.ndarray]:
    found = {}
    for name, shown in (("best phi", "φ_ℓ*"), ("K-S", "K-S")):
        small, large = (
            results.figure(f"causal-{size}", ("plain",), name)
            for size in ("small", "large")
        )
        found[f"{shown}, small - large"] = difference(small, large)
    return found


def _minimum(results: Results) -> dict[str, np.ndarray]:
    def rate(fraction: str) -> dict[int, float]:
        return results.figure("causal-medium", ("plain",), f"FKR at {fraction}")

    return {
        f"FKR, at {other} - at 0.02": 100 * difference(rate(other), rate("0.02"))
        for other in ("0.002", "0.2")
    }


def _early(results: Results) -> dict[str, np.ndarray]:
    name = "test loss after epoch 1"
    inhibited, penalized = (
        results.figure("causal-medium", (method,), name)
        for method in ("memel", "l2e-default")
    )
    return {f"{name}, RD - penalty": difference(inhibited, penalized)}


def _middle(results: Results) -> dict[str, np.ndarray]:
    def accuracy(method: str) -> dict[int, float]:
        return results.figure("encoder-medium", ("plain", method), "test accuracy")

    return {
        f"test accuracy, middle - {other}": difference(
            accuracy("memel"), accuracy(f"memel-{other}")
        )
        for other in ("first", "last")
    }


def _encouraging(results: Results) -> dict[str, np.ndarray]:
    name = "test bits per byte"
    plain, encouraged = (
        results.figure("causal-medium", (method,), name)
        for method in ("plain", "encourage")
    )
    return {f"{name}, plain - encouraging": difference(plain, encouraged)}


CLAIMS = (
    Claim(
        "Reversed deactivation lowers φ in one update, and more than plain training",
        "MEmeL, Table 4",
        "0.013 % against 0.003 %",
        "%",
        _lowers,
        _needs("vit-digits", ("plain", "plain")),
    ),
    Claim(
        "Naive deactivation (b) raises φ in one update, unlike plain training",
        "MEmeL, Table 4",
        "-0.044 % against 0.003 %",
        "%",
        _raises,
        _needs("vit-digits", ("plain", "plain")),
    ),
    Claim(
        "Image: fine-tuning with MEmeL is better than plain",
        "MEmeL, Table 2",
        "+0.2, +0.2 and 0.0 points (Swin-T, S, B)",
        "points",
        _better("vit-digits", "test accuracy", 1),
        _needs("vit-digits", ("plain", "plain"), ("plain", "memel")),
    ),
    Claim(
        "Language: fine-tuning with MEmeL is better than plain",
        "MEmeL, Table 1",
        "+0.6 points (GLUE mean)",
        "points",
        _better("encoder-medium", "test accuracy", 1),
        _needs("encoder-medium", ("plain", "plain"), ("plain", "memel")),
    ),
    Claim(
        "Physics: fine-tuning with MEmeL is better than plain",
        "MEmeL, Table 3",
        "0.16 of B-MAE 1003.41",
        "B-MAE",
        _better("nowcasting", "test B-MAE", -1),
        _needs("nowcasting", ("plain", "plain"), ("plain", "memel")),
    ),
    Claim(
        "MEmeL in pretraining helps, and more than in fine-tuning",
        "MEmeL, Table 5",
        "1.85 of B-MAE against 0.16",
        "B-MAE",
        _pretraining,
        _needs(
            "nowcasting", ("plain", "plain"), ("memel", "plain"), ("plain", "memel")
        ),
    ),
    Claim(
        f"Leaving it on at test changes little (within ± {MARGIN} points)",
        "MEmeL, Table 7",
        "little on ImageNet (but half of the gain, 0.3 points, on GLUE)",
        "points",
        _always,
        _needs("vit-digits", ("plain", "memel"), ("plain", "memel-always")),
        margin=MARGIN,
    ),
    Claim(
        "φ_ℓ* and K-S fall as the model grows",
        "L2E, Figs. 4 and 5",
        "both fall from 70M to 2.8B parameters",
        "",
        _falls_with_size,
        (*_needs("causal-small", ("plain",)), *_needs("causal-large", ("plain",))),
    ),
    Claim(
        "The false killing rate has its minimum near 2 %",
        "L2E, Fig. 6",
        "minimum at 2 % on Pythia",
        "points",
        _minimum,
        _needs("causal-medium", ("plain",)),
    ),
    Claim(
        "Early in training the penalty beats reversed deactivation, neither tuned",
        "L2E, section on the penalty",
        "stated without a figure",
        "nats",
        _early,
        _needs("causal-medium", ("memel",), ("l2e-default",)),
    ),
    Claim(
        "The middle blocks are the best place",
        "MEmeL, section 4.1; L2E",
        "chosen, not compared; middle layers are the most polysemantic",
        "points",
        _middle,
        _needs(
            "encoder-medium",
            ("plain", "memel"),
            ("plain", "memel-first"),
            ("plain", "memel-last"),
        ),
    ),
    Claim(
        "Encouraging monosemantic neurons (a negative penalty) helps in pretraining",
        "DecPO",
        "gains of another method, in preference tuning of large models",
        "bits per byte",
        _encouraging,
        _needs("causal-medium", ("plain",), ("encourage",)),
    ),
)


@dataclass(frozen=True)
class Verdict:
    """What came out of a claim."""

    claim: Claim
    differences: dict[str, paired.Difference]
    supports: float  # corrected p of the predicted sign
    contradicts: float  # and of the other
    word: str


def judge(results: Results) -> list[Verdict]:
    """All claims, corrected for their number by Holm's procedure.

    A claim is supported if the corrected p of the predicted sign is below 2.5 %, and
    contradicted if that of the opposite sign is. Of two hypotheses both must hold, so
    that the larger p counts; the opposite of either contradicts.
    """
    values = [claim.values(results) for claim in CLAIMS]
    for_it, against = [], []
    for claim, found in zip(CLAIMS, values, strict=True):
        for_it.append(max(_p(v, claim.margin) for v in found.values()))
        against.append(
            min(1.0, len(found) * min(_against(v, claim) for v in found.values()))
        )
    supported, contradicted = paired.holm(for_it), paired.holm(against)
    verdicts = []
    for i, (claim, found) in enumerate(zip(CLAIMS, values, strict=True)):
        word = "no effect shown"
        if claim.margin is not None:
            word = "not shown"
        if supported[i] < LEVEL:
            word = "supported"
        elif contradicted[i] < LEVEL:
            word = "contradicted"
        differences = {text: paired.compare(v) for text, v in found.items()}
        verdicts.append(
            Verdict(claim, differences, supported[i], contradicted[i], word)
        )
    return verdicts


def _p(values: np.ndarray, margin: float | None) -> float:
    if margin is not None:
        return paired.equivalence(values, margin)
    return paired.one_sided(values)


def _against(values: np.ndarray, claim: Claim) -> float:
    """p of the opposite: below 0, or beyond the margin."""
    if claim.margin is None:
        return paired.one_sided(-values)
    beyond = (values - claim.margin, -claim.margin - values)
    return min(1.0, 2 * min(paired.one_sided(each) for each in beyond))
