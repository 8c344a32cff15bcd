"""What came out of each claim: its effect, corrected p, and what could be shown."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evidence import paired
from evidence.claims import CLAIMS, PLANTED, Claim, Part
from evidence.results import Results

LEVEL = 0.025  # of the corrected one-sided p: 5 % for both signs together
FEWEST = 5  # pairs of which something is said
YES, OPPOSITE, NONE, OPEN = "yes", "no: the opposite", "no effect", "cannot tell"
CHANGES = "no: it changes"  # more than the margin within which it was predicted


@dataclass(frozen=True)
class Found:
    """What came out of a part."""

    part: Part
    values: np.ndarray
    smallest: float  # mean, or margin if within is predicted, shown with 80 % power

    @property
    def difference(self) -> paired.Difference:
        return paired.compare(self.values)

    @property
    def sees_theirs(self) -> bool | None:
        """Whether the paper's effect could have been shown; None: it has none."""
        if self.part.theirs is None:
            return None
        return self.smallest <= abs(self.part.theirs)


@dataclass(frozen=True)
class Verdict:
    """What came out of a claim. `number`: of its command."""

    number: int
    claim: Claim
    found: tuple[Found, ...]
    supports: float  # corrected p of what is predicted
    contradicts: float  # of the opposite, or beyond the margin
    equivalent: float  # of all parts being within their margins
    word: str


def judge(
    results: Results, claims: Sequence[Claim] = (*CLAIMS, *PLANTED)
) -> list[Verdict]:
    """All claims that have runs, corrected for their number by Holm's procedure.

    Each is judged by its own number of seeds. The planted ones are treated like all
    others. Of two parts both must hold, so that the larger p counts; the opposite of
    either contradicts.
    """
    numbered = []
    for number, claim in enumerate(claims, 1):
        of_claim = results.of(range(claim.seeds))
        values = [part.values(of_claim) for part in claim.parts]
        if all(len(each) >= FEWEST for each in values):
            numbered.append((number, claim, values))
    ps = [_p_values(claim, values) for _, claim, values in numbered]
    corrected = [paired.holm(list(each)) for each in zip(*ps, strict=True)]
    return [
        Verdict(
            number,
            claim,
            _found(claim, values, len(numbered)),
            *of_claim,
            _word(claim, *of_claim),
        )
        for (number, claim, values), *of_claim in zip(numbered, *corrected, strict=True)
    ]


def _found(claim: Claim, values: list[np.ndarray], number: int) -> tuple[Found, ...]:
    of = paired.smallest_margin if claim.within else paired.smallest
    return tuple(
        Found(part, each, of(each, LEVEL / number))
        for part, each in zip(claim.parts, values, strict=True)
    )


def _p_values(claim: Claim, values: list[np.ndarray]) -> tuple[float, float, float]:
    """For the claim, against it, and of no effect."""
    margins = [part.margin for part in claim.parts]
    pairs = list(zip(values, margins, strict=True))
    none = max(paired.equivalence(v, margin) for v, margin in pairs)
    if claim.within:
        beyond = min(
            paired.one_sided(side) for v, m in pairs for side in (v - m, -m - v)
        )
        return none, min(1.0, 2 * len(values) * beyond), 1.0
    against = min(paired.one_sided(-v) for v in values)
    return max(map(paired.one_sided, values)), min(1.0, len(values) * against), none


def _word(claim: Claim, supports: float, contradicts: float, equivalent: float) -> str:
    """A significant sign comes first, also of an effect within the margin."""
    if supports < LEVEL:
        return YES
    if contradicts < LEVEL:
        return CHANGES if claim.within else OPPOSITE
    return NONE if equivalent < LEVEL else OPEN
