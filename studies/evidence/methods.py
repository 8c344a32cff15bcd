"""What each compared method puts into a model, and where."""

from typing import Any

import keras

import keras_mono as km
from evidence.setting import Setting, Task

FRACTION = 0.02  # of the activations, where a threshold or chance selects
NAIVE = {"naive-a": 0.0, "naive-b": -1.0}  # Δ
TITLES = {
    "plain": "plain",
    "naive-a": "naive (a)",
    "naive-b": "naive (b)",
    "memel": "MEmeL",
    "memel-tune": "MEmeL-Tune",
    "memel-first": "MEmeL, first blocks",
    "memel-last": "MEmeL, last blocks",
    "memel-always": "MEmeL, left on at test",
}


class Method:
    """A method with its settings, from a text such as `memel:k=5,strength=10`."""

    titles = TITLES

    def __init__(self, text: str) -> None:
        self.text = text
        self.name, _, given = text.partition(":")
        if self.name not in self.titles:
            raise SystemExit(
                f"No method {self.name!r}. There are: {', '.join(self.titles)}."
            )
        pairs = (pair.split("=") for pair in given.split(",") if pair)
        self.given = {key: float(value) for key, value in pairs}

    @property
    def penalizes(self) -> bool:
        """Whether it acts after hidden units, not after blocks."""
        return False

    def layer(self, setting: Setting) -> keras.layers.Layer | None:
        """What is put in, new; None for plain training."""
        if self.name == "plain":
            return None
        select = setting.select
        if "k" in self.given:
            per = getattr(setting.select, "per", "sample")
            select = km.selectors.TopK(int(self.given["k"]), per=per)
        strength = self.given.get("strength", NAIVE.get(self.name, 1.0))
        active = "always" if self.name == "memel-always" else "training"
        return km.layers.MonosemanticInhibition(
            select,
            strength,
            setting.axis,
            forget_steps=setting.guard,
            start_step=setting.guard,
            active=active,
        )

    def some(self) -> float | km.selectors.Random:
        """2 % of the activations: those above a moving threshold, or any."""
        if self.name.endswith("-random"):
            return km.selectors.Random(FRACTION, seed=0)
        return FRACTION

    def penalty(self, setting: Setting, form: str) -> km.layers.MonosemanticPenalty:
        return km.layers.MonosemanticPenalty(
            self.given["weight"],
            self.some(),
            form=form,
            forget_steps=setting.guard,
            start_step=setting.guard,
        )

    def places(self, setting: Setting, model: keras.Model) -> list[str]:
        """The middle layers, unless the method is about another place."""
        where = setting.units if self.penalizes else setting.blocks
        if self.name not in ("memel-first", "memel-last"):
            return km.middle(model, where, setting.middle)
        scale = km.layers.MonosemanticScale()
        every = len(km.insert_after(model, where, scale, dry_run=True))
        names = km.middle(model, where, every)
        count = setting.middle
        return names[:count] if self.name == "memel-first" else names[-count:]

    def model(self, setting: Setting, task: int) -> keras.Model:
        """The task's model with the method in it, not compiled."""
        layer = self.layer(setting)
        build = setting.tasks[task].build
        inhibits = isinstance(layer, km.layers.MonosemanticInhibition)
        if setting.inside and inhibits:
            return build(layer)
        model = build(None)
        if layer is None:
            return model
        return km.insert_after(model, self.places(setting, model), layer)

    def sharing(self, setting: Setting) -> str:
        """Equal for methods that differ in a setting that a layer can change."""
        layer = self.layer(setting)
        if layer is None:
            return "plain"
        config: dict[str, Any] = layer.get_config()
        kept = {k: v for k, v in config.items() if k not in ("strength", "weight")}
        kept["name"] = type(layer).__name__
        return (
            f"{kept} {self.name if self.name in ('memel-first', 'memel-last') else ''}"
        )

    def callbacks(self, task: Task) -> list[keras.callbacks.Callback]:  # noqa: ARG002
        """What changes the method while it trains."""
        return []

    def order(self, seed: int) -> int:
        """The seed of the samples' order."""
        return seed

    def set_up(self, setting: Setting, layers: list[keras.layers.Layer]) -> None:
        """Give layers that other methods share this method's strength or weight."""
        wanted = self.layer(setting)
        for layer in layers:
            layer.reset()
            if hasattr(layer, "enabled"):
                layer.enabled = True  # a schedule may have ended with it off
            for name in ("strength", "weight"):
                if hasattr(wanted, name):
                    setattr(layer, name, getattr(wanted, name))
