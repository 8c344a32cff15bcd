"""What came out, in five points for a newcomer; the README has the same."""

from collections.abc import Iterable, Sequence

from evidence.claims import CENTRAL, DOSE
from evidence.figures import number
from evidence.verdicts import CHANGES, NONE, OPEN, OPPOSITE, YES, Verdict

ANSWERS = {
    YES: "it helps",
    OPPOSITE: "it harms",
    NONE: "it neither helps nor harms",
    OPEN: "these runs cannot tell",
}


def summary(verdicts: Sequence[Verdict], docs: str = "") -> str:
    """The points. `docs`: the way to the folder of the pages, before links."""
    claims = [v for v in verdicts if not v.claim.planted]
    points = [
        *(_answer(v, docs) for v in claims if v.claim is CENTRAL),
        _held(claims),
        _contrary(claims),
        _open(claims),
        _limits(verdicts),
    ]
    return "\n".join(f"- {point}" for point in points if point)


def _answer(verdict: Verdict, docs: str) -> str:
    """To the question of the page, by the claim that asks it."""
    at_dose, against_random = (found.difference for found in verdict.found)
    return (
        f"**Does less monosemanticity help? In these small networks, on clean data, "
        f"{ANSWERS[verdict.word]}.** Monosemanticity is measured by the tail of φ: "
        "how far the strongest activations of a neuron lie from its mean "
        f"([glossary]({docs}glossary.md)). A penalty that lowers it by {DOSE} % "
        f"changes the accuracy on MNIST by {number(at_dose.mean, True)} points (95 % "
        f"interval {number(at_dose.low, True)} to {number(at_dose.high, True)}). "
        "At weight 0.01 the accuracy is "
        f"{number(abs(against_random.mean))} points "
        f"{'lower' if against_random.mean < 0 else 'higher'} than with the same "
        "weight on as many activations at random."
    )


def _held(claims: Sequence[Verdict]) -> str:
    """Claims that hold, and those that show no effect."""
    yes = [f"{lower(v.claim.title)} ({v.number})" for v in claims if v.word == YES]
    none = [
        f"{v.claim.topic} ({v.number}, within {margins(v)})"
        for v in claims
        if v.word == NONE
    ]
    text = f"Of {len(claims)} claims, written down before their runs, "
    text += f"**{_count(len(yes), 'holds', 'hold')}**{_listed(yes)}."
    if none:
        text += f" **{_count(len(none), 'shows', 'show')} no effect**{_listed(none)}."
    return text


def _contrary(claims: Sequence[Verdict]) -> str:
    contrary = [
        f"{v.claim.opposite or f'not {lower(v.claim.title)}'} ({v.number})"
        for v in claims
        if v.word in (OPPOSITE, CHANGES)
    ]
    if not contrary:
        return ""
    return f"**Of {len(contrary)} claims the opposite is true**{_listed(contrary)}."


def _open(claims: Sequence[Verdict]) -> str:
    """What cannot be told, and where the reason is that a test is too weak."""
    found = [v for v in claims if v.word == OPEN]
    if not found:
        return ""
    topics = [f"{v.claim.topic} ({v.number})" for v in found]
    text = f"**{_count(len(found), 'remains', 'remain')} open**{_listed(topics)}."
    weak = [str(v.number) for v in found if not sees_theirs(v)]
    if weak:
        text += (
            f" Too weak for an effect as small as the paper's: the "
            f"{'tests' if len(weak) > 1 else 'test'} of {' and '.join(weak)}."
        )
    return text


def _limits(verdicts: Sequence[Verdict]) -> str:
    """What was put in to test the machinery, and what this speaks of."""
    planted = [
        f"{v.claim.topic} came out as *{v.word}*" for v in verdicts if v.claim.planted
    ]
    checks = f"The method was tested too: {', '.join(planted)}. " if planted else ""
    return (
        f"{checks}All networks are small, trained in seconds on a CPU: this speaks of "
        "nothing larger."
    )


def _count(number: int, one: str, many: str) -> str:
    return f"{number or 'none'} {one if number < 2 else many}"


def _listed(each: Iterable[str]) -> str:
    text = "; ".join(each)
    return f": {text}" if text else ""


def lower(title: str) -> str:
    """As a part of a sentence."""
    first = title.split()[0]
    return (
        title if first.isupper() or "φ" in first else f"{title[0].lower()}{title[1:]}"
    )


def margins(verdict: Verdict) -> str:
    each = [f"± {f.part.margin:g} {f.part.unit}".strip() for f in verdict.found]
    return ", ".join(dict.fromkeys(each))


def sees_theirs(verdict: Verdict) -> bool:
    return all(found.sees_theirs is not False for found in verdict.found)
