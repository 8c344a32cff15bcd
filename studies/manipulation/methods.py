"""The methods of the manipulation study, all at one place and by one share."""

import keras

import keras_mono as km
from evidence.methods import Method
from evidence.setting import Setting

WEIGHTS = (0.001, 0.003, 0.01, 0.03)
INHIBITION = {
    "rd": 1.0,
    "naive-a": 0.0,
    "naive-b": -1.0,
    "rd-si": 1.0,
    "rd-random": 1.0,
}
RELATIVE = (0.03, 0.05, 0.07)
PENALTIES = {
    "l2e": "l2e",
    "phi": "phi",
    "log_phi": "log_phi",
    "relative": "relative",
    "phi-random": "phi",
    "relative-random": "relative",
}
TITLES = {
    "plain": "plain",
    "rd": "RD",
    "naive-a": "naive (a)",
    "naive-b": "naive (b)",
    "rd-si": "RD, scale-invariant",
    "l2e": "L2E penalty",
    "phi": "penalty, phi",
    "log_phi": "penalty, log_phi",
    "relative": "penalty, relative",
    "phi-random": "penalty, phi, random activations",
    "relative-random": "penalty, relative, random activations",
    "rd-random": "RD, random activations",
}
TRIED = (
    *(f"l2e:weight={w:g}" for w in WEIGHTS[2:]),
    *(f"phi:weight={w:g}" for w in WEIGHTS),
    *(f"log_phi:weight={w:g}" for w in WEIGHTS[2:]),
    *(f"relative:weight={w:g}" for w in RELATIVE),
)
"""Penalties of which the default is chosen, by validation data."""


def methods(default: str) -> list[str]:
    """Every method, plain first. `default`: the penalty that was chosen."""
    form, _, weight = default.partition(":weight=")
    chosen = float(weight)
    found = [
        "plain",
        "rd:strength=1",
        "naive-a",
        "naive-b",
        "rd-si:strength=1",
        "rd-si:strength=5",
        "rd-random:strength=1",
        *TRIED,
        *(f"phi:weight={-w:g}" for w in WEIGHTS),
        default,
        f"{form}:weight={10 * chosen:g}",
        "phi-random:weight=0.003",
        f"{form}-random:weight={chosen:g}",
        f"{form}:weight={-chosen:g}",
    ]
    return list(dict.fromkeys(found))


def place(text: str) -> tuple[int, bool, float]:
    """By which methods are sorted: by kind, negative weights last, then by size."""
    name, _, given = text.partition(":")
    value = float(given.partition("=")[2] or 0)
    return list(TITLES).index(name), value < 0, abs(value)


def title(text: str) -> str:
    """Of a method with its settings."""
    name, _, given = text.partition(":")
    shown = given.replace("strength=", "Δ = ").replace("weight=", "")
    return f"{TITLES[name]}{', ' if shown else ''}{shown}"


class Manipulation(Method):
    """A method on the hidden units, neurons being channels, 2 % of the activations."""

    titles = TITLES

    @property
    def penalizes(self) -> bool:
        return self.name in PENALTIES

    def layer(self, setting: Setting) -> keras.layers.Layer | None:
        if self.name == "plain":
            return None
        if self.penalizes:
            return self.penalty(setting, PENALTIES[self.name])
        given = {"gradient": "scale_invariant"} if self.name == "rd-si" else {}
        return km.layers.MonosemanticInhibition(
            self.some(),
            self.given.get("strength", INHIBITION[self.name]),
            axis=-1,
            forget_steps=setting.guard,
            start_step=setting.guard,
            **given,
        )

    def places(self, setting: Setting, model: keras.Model) -> list[str]:
        return km.middle(model, setting.units, setting.middle)
