"""The claims that are tested: written down with their sign before the runs.

Each claim has one or two parts, all of which must hold. A part is paired by seed: its
values, one a seed, are predicted to be above 0, or within ± its margin.

Each had `FIRST` seeds at first. `seeds` of a claim is more where its test then proved
too weak. It was computed from the standard deviation of the first, and stated here,
before the others ran: studies/README.md says how.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from evidence.results import Results, difference, mean_of

Needs = tuple[tuple[str, tuple[str, ...]], ...]  # settings and their paths
IMAGE = ("mnist-cnn", "mnist-cnn-normalized", "mnist-vit")
CNNS = IMAGE[:2]
EIGHT = tuple(
    f"manipulation/{name}"
    for name in (
        "mlp-digits",
        "cnn-digits",
        "cnn-normalized",
        "vit-digits",
        "encoder-small",
        "gru-phrases",
        "causal-medium",
        "nowcasting",
    )
)
FIRST = 12  # seeds, of every claim, 0 on
DOSE = 40  # % by which the tail is lowered where doses are matched
WEIGHTS = (0.003, 0.01)  # of the penalty on MNIST
LIGHT, STRONG, ENCOURAGING = (f"phi:weight={w:g}" for w in (*WEIGHTS, -0.003))
RANDOM = "phi-random:weight=0.01"
PLANTED_WITH = "phi:weight=0.1"
CONDITIONS = {
    "wrong labels": ("-wrong", "test accuracy"),
    "few digits": ("-few", "test accuracy"),
    "noisy pixels": ("", "noisy accuracy"),
    "turned digits": ("", "turned accuracy"),
    "another hand": ("", "other hand accuracy"),
}
"""Of robustness: what is trained on, and what is tested."""


@dataclass(frozen=True)
class Part:
    """What is measured, one value a seed; predicted to be above 0.

    Attributes:
        text: What the values are.
        unit: Theirs.
        values: From the runs.
        margin: Within ± it an effect counts as none.
        theirs: The paper's effect, if it is one in this unit.
    """

    text: str
    unit: str
    values: Callable[[Results], np.ndarray]
    margin: float
    theirs: float | None = None


@dataclass(frozen=True)
class Claim:
    """One statement, and how it is tested here.

    `within`: predicted is that all parts are within their margin, not above 0.
    `planted`: what must come out, because it was put in: it tests the machinery.
    `opposite`: what is then true if an effect of the other sign comes out.
    `seeds`: how many it is judged by, 0 on.
    `topic`: what it is about, in a few words.
    """

    question: str
    title: str
    predicted: str
    source: str
    theirs: str
    parts: tuple[Part, ...]
    needs: Needs
    within: bool = False
    planted: str = ""
    opposite: str = ""
    seeds: int = FIRST
    topic: str = ""


def _needs(settings: tuple[str, ...], *methods: str) -> Needs:
    return tuple((name, (method,)) for name in settings for method in methods)


def _manipulated(*methods: str) -> Needs:
    return tuple(
        (name, (*before, method))
        for name in EIGHT
        for before in [() if name.endswith(FROM_SCRATCH) else ("plain",)]
        for method in ("plain", *methods)
    )


FROM_SCRATCH = ("mlp-digits", "gru-phrases", "causal-medium")


def _share(method: str, figure: str) -> Callable[[Results], np.ndarray]:
    """By how many percent of plain's mean a figure is lower, mean of the networks."""

    def values(results: Results) -> np.ndarray:
        return mean_of((results.lowered(name, method, figure) for name in EIGHT), True)

    return values


def _points(
    better: str, than: str = "plain", settings: tuple[str, ...] = IMAGE
) -> Callable[[Results], np.ndarray]:
    """Test accuracy of one arm less that of another, mean of the networks."""

    def values(results: Results) -> np.ndarray:
        return mean_of(
            results.gain(name, (better,), (than,), "test accuracy") for name in settings
        )

    return values


def _at_dose(results: Results) -> np.ndarray:
    """Accuracy against plain, each network at the weight that lowers its tail so."""
    found = []
    for name in IMAGE:
        doses = [0.0]
        gains: list[dict[int, float]] = [{}]
        for weight in WEIGHTS:
            method = f"phi:weight={weight:g}"
            lowered = results.lowered(name, method, "test tail").values()
            doses.append(float(np.mean(list(lowered))) if lowered else np.nan)
            gains.append(results.gain(name, (method,), ("plain",), "test accuracy"))
        found.append(at_dose(doses, gains, DOSE))
    return mean_of(found)


def at_dose(
    doses: list[float], gains: list[dict[int, float]], wanted: float
) -> dict[int, float]:
    """Seed by seed between the two doses around `wanted`; nothing where none is.

    The first dose is 0, without a gain.
    """
    for i in range(1, len(doses)):
        if doses[i - 1] <= wanted <= doses[i]:
            way = (wanted - doses[i - 1]) / (doses[i] - doses[i - 1])
            below = gains[i - 1] if i > 1 else dict.fromkeys(gains[i], 0.0)
            both = sorted({*below} & {*gains[i]})
            return {s: (1 - way) * below[s] + way * gains[i][s] for s in both}
    return {}


def _percent(
    setting: str, path: tuple[str, ...], than: tuple[str, ...], figure: str
) -> Callable[[Results], np.ndarray]:
    """By how many percent of plain's mean a loss is lower."""

    def values(results: Results) -> np.ndarray:
        lower = results.gain(setting, than, path, figure)
        plain = results.figure(setting, ("plain",) * len(path), figure).values()
        scale = 100 / np.mean(list(plain)) if plain else np.nan
        return scale * np.array([lower[seed] for seed in sorted(lower)])

    return values


def _robust(method: str, sign: int) -> Callable[[Results], np.ndarray]:
    """Accuracy against plain where it is made hard, mean of the ways and networks."""

    def values(results: Results) -> np.ndarray:
        found = mean_of(
            results.gain(f"{name}{condition}", (method,), ("plain",), figure)
            for condition, figure in CONDITIONS.values()
            for name in CNNS
        )
        return sign * found

    return values


def _of(
    setting: str, path: tuple[str, ...], than: tuple[str, ...], figure: str
) -> Callable[[Results], np.ndarray]:
    def values(results: Results) -> np.ndarray:
        found = results.gain(setting, path, than, figure)
        return np.array([found[seed] for seed in sorted(found)])

    return values


def _falls_with_size(figure: str) -> Callable[[Results], np.ndarray]:
    def values(results: Results) -> np.ndarray:
        small, large = (
            results.figure(f"udhr-{size}", ("plain",), figure)
            for size in ("small", "large")
        )
        return difference(small, large)

    return values


def _fkr(other: str) -> Callable[[Results], np.ndarray]:
    """False killing rate at another fraction less that at 2 %, in points."""

    def values(results: Results) -> np.ndarray:
        rate = {
            fraction: results.figure(
                "udhr-medium", ("plain",), f"test FKR at {fraction}"
            )
            for fraction in (other, "0.02")
        }
        return 100 * difference(rate[other], rate["0.02"])

    return values


def _left_on(results: Results) -> np.ndarray:
    found = []
    for name in IMAGE:
        off = results.figure(name, ("memel",), "test accuracy")
        on = results.figure(name, ("memel",), "test accuracy, left on")
        found.append({seed: on[seed] - off[seed] for seed in {*on} & {*off}})
    return mean_of(found)


def _planted(results: Results) -> np.ndarray:
    lowered = results.lowered("mnist-planted", PLANTED_WITH, "planted phi")
    return np.array([lowered[seed] for seed in sorted(lowered)])


def _physics(path: tuple[str, ...], than: tuple[str, ...]) -> Callable:
    return _percent("nowcasting", path, than, "test B-MAE")


def _language(path: str) -> Callable:
    return _percent("udhr-medium", (path,), ("plain",), "test bits per byte")


CLAIMS = (
    Claim(
        "Does each method lower what it should?",
        "The papers' methods lower the tail of φ",
        "falls",
        "MEmeL, Table 4; L2E",
        "0.013 % in one update; L2E: no figure",
        (
            Part(
                "tail lower by, RD, Δ = 1, 2 %",
                "%",
                _share("rd:strength=1", "test tail"),
                5.0,
            ),
            Part(
                "tail lower by, L2E penalty, 0.01",
                "%",
                _share("l2e:weight=0.01", "test tail"),
                5.0,
            ),
        ),
        _manipulated("rd:strength=1", "l2e:weight=0.01"),
        topic="what the papers' methods do to the tail of φ",
    ),
    Claim(
        "Does each method lower what it should?",
        "The scale-invariant penalty (`phi`, 0.003) lowers the tail of φ, and "
        "selectivity",
        "both fall",
        "this library",
        "-",
        tuple(
            Part(f"{figure} lower by", "%", _share(LIGHT, f"test {figure}"), 5.0)
            for figure in ("tail", "selectivity")
        ),
        _manipulated(LIGHT),
        topic="what the scale-invariant penalty does to neurons",
    ),
    Claim(
        "Does the task gain, and is it monosemanticity or mere noise?",
        f"With the tail lowered by {DOSE} % the task is better, and more so than with "
        "as many activations at random",
        "better",
        "the papers' conjecture; MEmeL, Table 2",
        "+0.2 points (Swin-T, S)",
        (
            Part("accuracy at this dose, against plain", "points", _at_dose, 0.2, 0.2),
            Part(
                "accuracy, selected - random, 0.01",
                "points",
                _points(STRONG, RANDOM),
                0.2,
                0.2,
            ),
        ),
        _needs(IMAGE, "plain", LIGHT, STRONG, RANDOM),
        seeds=30,
        opposite=f"with the tail lowered by {DOSE} % the task is worse, and a penalty "
        "on what it selects makes it worse than one on as many activations at random",
        topic="less monosemanticity at a matched dose",
    ),
    Claim(
        "Does MEmeL help, as published?",
        "Image: training with MEmeL is better than plain",
        "better",
        "MEmeL, Table 2",
        "+0.2, +0.2 and 0.0 points (Swin-T, S, B)",
        (Part("accuracy, MEmeL - plain", "points", _points("memel"), 0.2, 0.2),),
        _needs(IMAGE, "plain", "memel"),
        topic="MEmeL in image classification",
    ),
    Claim(
        "Does MEmeL help, as published?",
        "Language: fine-tuning with MEmeL is better than plain",
        "better",
        "MEmeL, Table 1",
        "+0.6 points (GLUE mean)",
        (
            Part(
                "accuracy, MEmeL - plain",
                "points",
                _of(
                    "encoder-medium",
                    ("plain", "memel"),
                    ("plain", "plain"),
                    "test accuracy",
                ),
                0.6,
                0.6,
            ),
        ),
        (
            ("encoder-medium", ("plain", "plain")),
            ("encoder-medium", ("plain", "memel")),
        ),
        seeds=90,
        topic="MEmeL in language",
    ),
    Claim(
        "Fine-tuning or pretraining?",
        "Physics: MEmeL in pretraining helps, and more than in fine-tuning",
        "better",
        "MEmeL, Table 5",
        "B-MAE lower by 0.18 %, against 0.016 %",
        (
            Part(
                "B-MAE lower by, in pretraining",
                "%",
                _physics(("memel", "plain"), ("plain", "plain")),
                0.18,
                0.18,
            ),
            Part(
                "the same, more than in fine-tuning",
                "%",
                _physics(("memel", "plain"), ("plain", "memel")),
                0.18,
                0.17,
            ),
        ),
        tuple(
            ("nowcasting", path)
            for path in (("plain", "plain"), ("memel", "plain"), ("plain", "memel"))
        ),
        topic="MEmeL in physics",
    ),
    Claim(
        "Fine-tuning or pretraining?",
        "Language: a penalty in pretraining lowers the loss",
        "lower",
        "L2E",
        "gains of 1 to 2 %",
        (
            Part(
                "bits per byte lower by, L2E penalty, 0.003",
                "%",
                _language("l2e:weight=0.003"),
                1.0,
                1.0,
            ),
            Part(
                "bits per byte lower by, scale-invariant, 0.003",
                "%",
                _language(LIGHT),
                1.0,
                1.0,
            ),
        ),
        _needs(("udhr-medium",), "plain", "l2e:weight=0.003", LIGHT),
        opposite="language: a penalty in pretraining makes the loss worse",
        topic="a penalty in language pretraining",
    ),
    Claim(
        "Or encourage it?",
        "Encouraging (weight -0.003) lowers the loss, and decorrelates neurons",
        "lower; rises",
        "DecPO",
        "gains of another method, in preference tuning",
        (
            Part("bits per byte lower by", "%", _language(ENCOURAGING), 1.0),
            Part(
                "decorrelation (1 - mean absolute correlation), against plain",
                "",
                _of("udhr-medium", (ENCOURAGING,), ("plain",), "test decorrelation"),
                0.01,
            ),
        ),
        _needs(("udhr-medium",), "plain", ENCOURAGING),
        opposite="encouraging (weight -0.003) makes the loss worse, and correlates "
        "neurons",
        topic="encouraging monosemanticity",
    ),
    Claim(
        "Early or late?",
        "The penalty in the first half of training harms more than in the second",
        "late is better",
        "Ranadive et al. (arXiv:2305.17409), of selectivity",
        "stated for other regularizers",
        (
            Part(
                "accuracy, second half - first half, 0.01",
                "points",
                _points("phi-late:weight=0.01", "phi-early:weight=0.01", CNNS),
                0.2,
            ),
        ),
        _needs(CNNS, "phi-early:weight=0.01", "phi-late:weight=0.01"),
        seeds=30,
        opposite="the penalty harms more late in training than early",
        topic="a penalty early or late in training",
    ),
    Claim(
        "Is a monosemantic network more robust?",
        "Where it is hard, encouraging beats plain training, and that the penalty",
        "better",
        "Zhang et al. (arXiv:2410.21331)",
        "stated for features made monosemantic in other ways",
        (
            Part(
                "accuracy, encouraging - plain",
                "points",
                _robust(ENCOURAGING, 1),
                0.5,
            ),
            Part("accuracy, plain - penalty, 0.01", "points", _robust(STRONG, -1), 0.5),
        ),
        _needs(
            tuple(f"{n}{c}" for n in CNNS for c in ("", "-wrong", "-few")),
            "plain",
            STRONG,
            ENCOURAGING,
        ),
        seeds=40,
        opposite="where it is hard, encouraging is worse than plain training",
        topic="robustness",
    ),
    Claim(
        "Do larger models have less of it?",
        "φ_ℓ* and K-S fall as the model grows",
        "both fall",
        "L2E, Figs. 4 and 5",
        "both fall from 70M to 2.8B parameters",
        (
            Part("φ_ℓ*, small - large", "", _falls_with_size("test best phi"), 0.05),
            Part("K-S, small - large", "", _falls_with_size("test K-S"), 0.01),
        ),
        _needs(("udhr-small", "udhr-large"), "plain"),
        topic="monosemanticity by model size",
    ),
    Claim(
        "How much to select?",
        "The false killing rate has its minimum near 2 %",
        "lowest at 2 %",
        "L2E, Fig. 6",
        "minimum at 2 % on Pythia",
        (
            Part("FKR, at 0.2 % - at 2 %", "points", _fkr("0.002"), 2.0),
            Part("FKR, at 20 % - at 2 %", "points", _fkr("0.2"), 2.0),
        ),
        _needs(("udhr-medium",), "plain"),
        opposite="the false killing rate is lower at 0.2 % than at 2 %",
        topic="the fraction to select",
    ),
    Claim(
        "Where?",
        "The middle block is the best place",
        "better",
        "MEmeL, section 4.1; L2E",
        "chosen, not compared",
        tuple(
            Part(
                f"accuracy of the transformer, middle - {other}",
                "points",
                _points("memel", f"memel-{other}", ("mnist-vit",)),
                0.2,
            )
            for other in ("first", "last")
        ),
        _needs(("mnist-vit",), "memel", "memel-first", "memel-last"),
        seeds=30,
        topic="middle blocks against the first or the last",
    ),
    Claim(
        "Left on at test?",
        "Leaving MEmeL on at test changes little",
        "within ± 0.3 points",
        "MEmeL, Table 7",
        "little on ImageNet; half of the gain, 0.3 points, on GLUE",
        (Part("accuracy, left on - off", "points", _left_on, 0.3, -0.3),),
        _needs(IMAGE, "memel"),
        within=True,
        topic="MEmeL left on at test",
    ),
)
CENTRAL = CLAIMS[2]  # the one that asks what the page's title asks
PLANTED = (
    Claim(
        "Can this machinery say yes?",
        "Planted: a label is leaked into one neuron, and the neuron is penalized",
        "φ of this label falls",
        "planted",
        "-",
        (Part("φ of the label in this neuron lower by", "%", _planted, 5.0),),
        _needs(("mnist-planted",), "plain", PLANTED_WITH),
        planted="yes",
        topic="a planted effect",
    ),
    Claim(
        "Can it say no?",
        "Planted: plain training is better with its samples in another order",
        "better",
        "planted",
        "-",
        (Part("accuracy, another order - plain", "points", _points("again"), 0.2),),
        _needs(IMAGE, "plain", "again"),
        seeds=112,
        planted="no",
        topic="a planted null",
    ),
)
