"""What each method is predicted to change: written down before the runs.

From what was measured before in three networks with few seeds, and from the papers: the
source stands beside each. A sign is of the change against plain training of the same
seed. The criteria are about the penalty that is chosen by validation data.
"""

from typing import NamedTuple


class Prediction(NamedTuple):
    """The sign of a figure's change by methods of a kind.

    `than`: the change is compared with that of another method instead of plain's.
    """

    methods: tuple[str, ...]
    figure: str
    sign: int
    source: str
    than: str | None = None


POSITIVE = tuple(f"phi:weight={w}" for w in ("0.001", "0.003", "0.01", "0.03"))
NEGATIVE = tuple(f"phi:weight=-{w}" for w in ("0.001", "0.003", "0.01", "0.03"))
LOG = ("log_phi:weight=0.01", "log_phi:weight=0.03")
RELATIVE = tuple(f"relative:weight={w}" for w in ("0.03", "0.05", "0.07"))
L2E = ("l2e:weight=0.01", "l2e:weight=0.03")
RD = ("rd:strength=1",)
RD_SI = ("rd-si:strength=1", "rd-si:strength=5")

_BEFORE = "measured before"
PREDICTIONS = (
    Prediction(RD, "selectivity", +1, _BEFORE),
    Prediction(RD, "scale", -1, _BEFORE),
    Prediction(("naive-b",), "tail", +1, "MEmeL, Table 4"),
    Prediction(RD_SI, "tail", -1, _BEFORE),
    Prediction(RD_SI, "selectivity", -1, _BEFORE),
    Prediction(L2E, "selectivity", +1, _BEFORE),
    Prediction(L2E, "scale", -1, _BEFORE),
    Prediction(L2E, "dead", +1, _BEFORE),
    Prediction(POSITIVE, "tail", -1, _BEFORE),
    Prediction(POSITIVE, "selectivity", -1, _BEFORE),
    Prediction(NEGATIVE, "tail", +1, "the sign of the weight"),
    Prediction(NEGATIVE, "selectivity", +1, "the sign of the weight"),
    Prediction(LOG, "tail", -1, _BEFORE),
    Prediction(LOG, "selectivity", -1, _BEFORE),
    # Before the runs by test data, after those that choose: the same as of `phi`.
    Prediction(RELATIVE, "tail", -1, "validation data"),
    Prediction(RELATIVE, "selectivity", -1, "validation data"),
    Prediction(("relative-random",), "tail", +1, "the selection matters", "relative"),
    # As many activations, drawn at random: less of what the selected ones bring.
    Prediction(("phi-random",), "tail", +1, "the selection matters", "phi"),
    Prediction(("rd-random",), "selectivity", -1, "the selection matters", "rd"),
)
"""Of `phi-random` and the like: against the same weight or strength, selected."""


class Criterion(NamedTuple):
    """What is predicted of the chosen penalty, network by network.

    `figure` changes by at most `limit`, in the unit of `of`: "share" of plain,
    "points", or "margin" of the task. `needed` of 8 networks; all if None.
    """

    text: str
    figure: str
    limit: float
    of: str
    needed: int | None


CRITERIA = (
    Criterion("the tail falls by at least 15 %", "tail", -0.15, "share", 6),
    Criterion("selectivity falls", "selectivity", 0.0, "share", 6),
    Criterion("the task is worse by at most its margin", "task", 1.0, "margin", 7),
    Criterion("the scale falls by at most 15 %", "scale", -0.15, "share", None),
    Criterion("dead: at most + 2 points", "dead", 2.0, "points", None),
    Criterion("the layer below: at most + 3 %", "tail below", 0.03, "share", None),
    Criterion("ten times the weight: none at chance", "chance", 0, "runs", None),
)
