"""How measures are called and explained to people, in the order of a report."""

_WORDS = {
    "best_phi": (
        "φ of own feature",
        "mean φ on the own feature: 1 for equal responses to all features",
    ),
    "ks": (
        "K-S",
        "how far φ on the own feature is distributed from φ on all inputs, 0 to 1",
    ),
    "class_selectivity": (
        "class selectivity",
        "0: equal responses to all features, 1: to one only",
    ),
    "class_purity": (
        "class purity",
        "share of the most frequent feature among inputs with an activation above 0",
    ),
    "mono_score": (
        "MonoScore",
        "how often two inputs that activate it have the same feature, weighted by "
        "(z - min) / (max - min): for activations of at least 0",
    ),
    "hoyer": ("Hoyer", "0: the same activation everywhere, 1: one input only"),
    "treves_rolls": (
        "Treves–Rolls",
        "0: the same activation everywhere, 1: one input only",
    ),
    "wasserstein": (
        "Wasserstein",
        "distance to a normal distribution, in standard deviations",
    ),
    "phi_tail": ("tail of φ", "mean of the 2 % largest φ; about 7 if it is normal"),
}
MEASURES = tuple(_WORDS)


def title_of(measure: str) -> str:
    """A measure's name for people."""
    return _WORDS[measure][0]


def about(measure: str) -> str:
    """What its values mean."""
    return _WORDS[measure][1]
