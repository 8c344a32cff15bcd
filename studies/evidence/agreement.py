"""Does a repetition agree with what is stored?"""

from collections.abc import Mapping, Sequence

import numpy as np
from rich.console import Console

from evidence import paired

Values = Sequence[float] | np.ndarray
# In standard deviations of the stored values, where seeds, data and versions are the
# same (docs/results.md).
TOLERANCE = 1e-2


def shown(
    title: str,
    unit: str,
    now: Mapping[str, np.ndarray],
    before: Mapping[str, Values],
    same: Mapping[str, Values] | None = None,
) -> bool:
    """Print paired values and their statistics beside the stored; do all agree?

    `before`: all that is stored; `same`: of the same seeds, if these are others.
    """
    console = Console(highlight=False, soft_wrap=True)
    console.print(title)
    agreed = [
        _one(console, unit, text, values, before[text], (same or before)[text])
        for text, values in now.items()
    ]
    return all(agreed)


def _one(
    console: Console,
    unit: str,
    text: str,
    now: np.ndarray,
    before: Values,
    same: Values,
) -> bool:
    console.print(f"  {text}{f' ({unit})' if unit else ''}, seed by seed:")
    console.print(f"    {'  '.join(f'{value:+.4g}' for value in now)}")
    if len(now) == 0:
        console.print("    NOTHING: no seed has all the runs that this needs.")
        return False
    if len(now) == 1:
        console.print("    One seed cannot be compared.")
        return True
    found = paired.compare(now)
    console.print(f"    {found.in_words()}")
    if len(before) < 2:
        console.print("    Nothing is stored to compare this with.")
        return True
    stored = paired.compare(np.asarray(before))
    console.print(f"    stored: {stored.in_words()}")
    near = TOLERANCE * stored.deviation
    if len(now) == len(same) and (np.abs(now - np.asarray(same)) <= near).all():
        console.print("    AGREES: every seed gives what is stored.")
        return True
    low, high = stored.prediction(len(now))
    inside = low <= found.mean <= high
    console.print(
        f"    {'AGREES' if inside else 'DIFFERS'}: the mean lies "
        f"{'inside' if inside else 'outside'} the 95 % prediction interval of "
        f"{len(now)} new pairs, {low:+.4g} to {high:+.4g}."
    )
    return inside
