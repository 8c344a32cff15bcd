"""Arms of a study: MEmeL as published after blocks, penalties after hidden units."""

import keras

import keras_mono as km
from evidence.methods import Method
from evidence.setting import Setting, Task

OTHER_ORDER = 500_000  # added to the seed: of nothing but the samples' order
FORMS = {
    "l2e": "l2e",
    "phi": "phi",
    "phi-random": "phi",
    "phi-early": "phi",
    "phi-late": "phi",
}
TITLES = {
    "plain": "plain",
    "again": "plain, in another order",
    "memel": "MEmeL",
    "memel-first": "MEmeL, first layers",
    "memel-last": "MEmeL, last layers",
    "l2e": "L2E penalty",
    "phi": "penalty",
    "phi-random": "penalty, random activations",
    "phi-early": "penalty, first half of training",
    "phi-late": "penalty, second half of training",
}


class Arm(Method):
    """MEmeL as its paper has it, after blocks; penalties after hidden units."""

    titles = TITLES

    @property
    def penalizes(self) -> bool:
        return self.name in FORMS

    def layer(self, setting: Setting) -> keras.layers.Layer | None:
        if self.name in ("plain", "again"):
            return None
        if self.penalizes:
            return self.penalty(setting, FORMS[self.name])
        return super().layer(setting)

    def callbacks(self, task: Task) -> list[keras.callbacks.Callback]:
        if self.name not in ("phi-early", "phi-late"):
            return []
        half, weight = task.epochs // 2, self.given["weight"]

        def of(epoch: int) -> float | None:
            return weight if (epoch < half) == (self.name == "phi-early") else None

        return [km.callbacks.InhibitionSchedule(of)]

    def order(self, seed: int) -> int:
        return seed + OTHER_ORDER if self.name == "again" else seed


def title(text: str) -> str:
    """Of an arm with its settings."""
    name, _, given = text.partition(":")
    parts = given.replace("weight=", "").replace("rate=", "learning rate ")
    return f"{TITLES[name]}{', ' if parts else ''}{parts}"
