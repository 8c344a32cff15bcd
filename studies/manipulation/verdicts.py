"""Predictions and criteria against what came out."""

from dataclasses import dataclass

import numpy as np

from evidence import paired
from evidence.verdicts import LEVEL
from manipulation.outcomes import Outcomes
from manipulation.predictions import CRITERIA, PREDICTIONS, Criterion, Prediction


@dataclass(frozen=True)
class Tested:
    """One prediction for one method in one network."""

    prediction: Prediction
    method: str
    network: str
    mean: float
    number: int
    word: str


def than(prediction: Prediction, method: str) -> str:
    """What a method is compared with: plain, or the same with what is selected."""
    if prediction.than is None:
        return "plain"
    return f"{prediction.than}:{method.partition(':')[2]}"


def matching(prediction: Prediction, methods: list[str]) -> list[str]:
    """The methods that a prediction is about: with their settings, or every one."""
    return [
        method
        for method in methods
        if method in prediction.methods
        or method.partition(":")[0] in prediction.methods
    ]


def predictions(found: Outcomes) -> list[Tested]:
    """All, corrected together for their number by Holm's procedure, each sign apart.

    A pair that lacks the figure, as of a layer that died, is left out.
    """
    tested = []
    for prediction in PREDICTIONS:
        for method in matching(prediction, found.methods()):
            for network in found.networks:
                changes = prediction.sign * found.changes(
                    network, method, prediction.figure, than(prediction, method)
                )
                tested.append((prediction, method, network, changes))
    for_it = paired.holm([paired.one_sided(values) for *_, values in tested])
    against = paired.holm([paired.one_sided(-values) for *_, values in tested])
    return [
        Tested(
            prediction,
            method,
            network,
            prediction.sign * float(values.mean()) if len(values) else np.nan,
            len(values),
            _word(yes, no),
        )
        for (prediction, method, network, values), yes, no in zip(
            tested, for_it, against, strict=True
        )
    ]


def _word(for_it: float, against: float) -> str:
    if for_it < LEVEL:
        return "confirmed"
    return "contradicted" if against < LEVEL else "open"


@dataclass(frozen=True)
class Judged:
    """One criterion in one network. `shown`: by a test, corrected, not by the mean."""

    criterion: Criterion
    network: str
    values: np.ndarray
    met: bool
    shown: bool


def criteria(found: Outcomes, chosen: str) -> list[Judged]:
    """All criteria in all networks.

    Met is by the mean, shown by a one-sided test against the limit at 2.5 %. Tail and
    selectivity are tested against 0, corrected for the number of networks by Holm's
    procedure, and have to be shown to be met.
    """
    judged = []
    for criterion in CRITERIA:
        values = {n: _values(found, criterion, chosen, n) for n in found.networks}
        p_values = [_p(criterion, each) for each in values.values()]
        if criterion.needed == 6:
            p_values = paired.holm(p_values)
        for (network, each), p in zip(values.items(), p_values, strict=True):
            shown = p < LEVEL
            met = _met(criterion, each)
            if criterion.needed == 6:
                met = met and shown
            judged.append(Judged(criterion, network, each, met, shown))
    return judged


def _values(
    found: Outcomes, criterion: Criterion, chosen: str, network: str
) -> np.ndarray:
    if criterion.figure == "chance":
        method = tenfold(chosen)
        return np.array(found.at_chance(network, method), float)
    return found.in_unit(network, chosen, criterion.figure, criterion.of)


def tenfold(chosen: str) -> str:
    form, _, weight = chosen.partition(":weight=")
    return f"{form}:weight={10 * float(weight):g}"


def _met(criterion: Criterion, values: np.ndarray) -> bool:
    if not len(values):
        return False
    if criterion.figure == "chance":
        return bool(values[1] > 0 and values[0] == 0)
    mean = float(values.mean())
    if criterion.figure == "task":
        return mean >= -criterion.limit
    if criterion.figure == "scale":
        return mean >= criterion.limit
    if criterion.figure == "selectivity":
        return mean < 0
    return mean <= criterion.limit


def _p(criterion: Criterion, values: np.ndarray) -> float:
    """Of the criterion being met."""
    if criterion.figure == "chance" or len(values) < 2:
        return 1.0
    if criterion.figure in ("tail", "selectivity"):
        return paired.one_sided(-values)
    if criterion.figure == "task":
        return paired.one_sided(values + criterion.limit)
    if criterion.figure == "scale":
        return paired.one_sided(values - criterion.limit)
    return paired.one_sided(criterion.limit - values)
