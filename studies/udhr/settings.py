"""The study of the Declaration: causal transformers of three sizes, byte by byte.

Where an accelerator is at hand, two larger ones.
"""

from functools import partial
from typing import Any

import keras

import keras_mono as km
from evidence.setting import Setting, Task
from language import models
from language.settings import bits_per_byte
from udhr import data
from udhr.measures import Measuring

DEPTH = 4
SIZES = {"small": 16, "medium": 32, "large": 64}
METHODS = (
    "plain",
    "l2e:weight=0.003",
    "phi:weight=0.003",
    "phi:weight=-0.003",
)
SEARCHED = tuple(f"plain:rate={rate:g}" for rate in (3e-3, 1e-2))
# By the validation data of plain training of two seeds that nothing else uses:
# `study.py udhr --search`.
RATES = {"small": 1e-2, "medium": 3e-3, "large": 3e-3}
LARGE_DEPTH = 12
LARGE_SIZES = {"small": 256, "large": 768}  # a factor of nine in weights
LARGE_RATES = {"small": 1e-3, "large": 3e-4}  # not tuned
LARGE_METHODS = ("plain", "memel", "l2e:weight=0.003", "phi:weight=0.003")


def settings(scale: str) -> list[Setting]:
    """The settings at a scale: quick, default or large."""
    if scale == "quick":
        return [_setting("medium", 16, quick=True)]
    if scale == "large":
        return [_large(size, width) for size, width in LARGE_SIZES.items()]
    return [_setting(size, width) for size, width in SIZES.items()]


def trainer(setting: Setting) -> Measuring:
    return Measuring(setting)


def _setting(size: str, width: int, quick: bool = False) -> Setting:
    task = Task(
        build=lambda _: models.causal(data.LENGTH, width, DEPTH),
        data=partial(data.split, quick=quick, train=64 if quick else 1600),
        batch_size=4 if quick else 16,
        epochs=1 if quick else 2,
        learning_rate=RATES[size],
        **_NEXT_BYTE,
    )
    return Setting(
        f"udhr-{size}",
        (task,),
        blocks="block_?",
        units="mlp_?",
        methods=METHODS if size == "medium" else ("plain",),
        searched=SEARCHED,
        labelled=partial(data.labelled, quick),
        **_CAUSAL,
    )


def _large(size: str, width: int) -> Setting:
    task = Task(
        build=lambda _: models.causal(data.LARGE_LENGTH, width, LARGE_DEPTH),
        data=data.large_split,
        batch_size=64,
        epochs=3,
        learning_rate=LARGE_RATES[size],
        **_NEXT_BYTE,
    )
    return Setting(
        f"udhr-{size}",
        (task,),
        blocks="block_[0-9]*",
        units="mlp_[0-9]*",
        methods=LARGE_METHODS,
        labelled=data.large_labelled,
        **_CAUSAL,
    )


_NEXT_BYTE: dict[str, Any] = {
    "loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    "measure": bits_per_byte,
    "decays": True,
}
_CAUSAL: dict[str, Any] = {
    "primary": "test bits per byte",
    "higher_is_better": False,
    "middle": 2,
    # By position: k of a sample would let later bytes decide about earlier ones.
    "select": km.selectors.TopK(1, per="position"),
    "axis": -1,
}
