"""Numbers as the pages show them."""

from evidence import paired


def interval(d: paired.Difference) -> str:
    shown = [number(value, True) for value in (d.mean, d.low, d.high)]
    return f"{shown[0]} [{shown[1]}, {shown[2]}]"


def number(value: float, signed: bool = False) -> str:
    """Three figures behind the leading one, without an exponent."""
    digits = 2 if abs(value) >= 1 else 3 if abs(value) >= 0.01 else 5
    return f"{value:{'+' if signed else ''}.{digits}f}"


def p_value(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else f"{value:.2g}"
