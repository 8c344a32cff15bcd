"""The study of MNIST: three networks; clean, few and wrongly labelled digits."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import keras

from evidence.setting import Setting, Task
from image.settings import accuracy
from mnist import data, models
from mnist.measures import Measuring, Planted

MAIN = (
    "plain",
    "again",
    "memel",
    "phi:weight=0.003",
    "phi:weight=0.01",
    "phi-random:weight=0.01",
)
# The transformer's trainings take longest: it has the arms of fewer claims.
OF_CNNS = ("phi:weight=-0.003", "phi-early:weight=0.01", "phi-late:weight=0.01")
OF_TRANSFORMER = ("memel-first", "memel-last")
ROBUST = ("plain", "phi:weight=0.01", "phi:weight=-0.003")
PLANTED = ("plain", "again", "phi:weight=0.1")
SEARCHED = tuple(f"plain:rate={rate:g}" for rate in (1e-3, 3e-3, 1e-2, 3e-2))
NETWORKS = {
    "cnn": "CNN without normalization, ReLU",
    "cnn-normalized": "CNN with batch normalization, ReLU",
    "vit": "Vision transformer, GELU",
}
CONDITIONS = {
    "": "",
    "-wrong": f", {100 * data.WRONG:.0f} % of the training labels wrong",
    "-few": f", {data.FEW} training digits",
}
# By the validation accuracy of plain training of two seeds that nothing else uses:
# `study.py --search`.
RATES = {"cnn": 1e-2, "cnn-normalized": 1e-2, "vit": 3e-3}


def settings(scale: str) -> list[Setting]:
    """The settings at a scale: quick or default."""
    quick = scale == "quick"
    found = [
        _setting(network, condition, quick)
        for condition in CONDITIONS
        for network in NETWORKS
        if not (condition and network == "vit")
    ]
    return [_planted(quick), *found]


def trainer(setting: Setting) -> Measuring:
    if setting.name == "mnist-planted":
        return Planted(setting)
    transformer = "vit" in setting.name
    return Measuring(setting, () if transformer or not setting.searched else ROBUST)


def _build(network: str, quick: bool) -> Callable[[object], keras.Model]:
    if network == "vit":
        width = 8 if quick else 32
        return lambda _: models.vision_transformer(width, 3)
    width = 4 if quick else 16
    normalized = network == "cnn-normalized"
    return lambda _: models.convolutional_network(width, normalized)


def _task(
    build: Callable[[object], keras.Model], rate: float, quick: bool, **given
) -> Task:
    whole = given.pop("data", data.split)
    train = given.get("train", data.TRAIN)
    given["train"] = 128 if quick else train
    return Task(
        build=build,
        data=partial(whole, quick=quick, **given),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        measure=accuracy,
        batch_size=8 if quick else 64,
        # As many steps with few digits as with all.
        epochs=2 if quick else 6 * data.TRAIN // train,
        learning_rate=rate,
        decays=True,
    )


def _setting(network: str, condition: str, quick: bool) -> Setting:
    given = {"-wrong": {"wrong": data.WRONG}, "-few": {"train": data.FEW}}
    transformer = network == "vit"
    main = MAIN + (OF_TRANSFORMER if transformer else OF_CNNS)
    return Setting(
        f"mnist-{network}{condition}",
        (
            _task(
                _build(network, quick),
                RATES[network],
                quick,
                **given.get(condition, {}),
            ),
        ),
        primary="test accuracy",
        higher_is_better=True,
        blocks="block_?",
        units="mlp_?" if transformer else "block_?",
        middle=1 if transformer else 2,
        methods=ROBUST if condition else main,
        searched=SEARCHED if not condition else (),
    )


def _planted(quick: bool) -> Setting:
    task = _task(lambda _: models.planted(), 1e-3, quick, data=data.leaking)
    if quick:  # the penalty needs some hundred steps to act
        task = replace(task, batch_size=64, epochs=100)
    return Setting(
        "mnist-planted",
        (task,),
        primary="test accuracy",
        higher_is_better=True,
        blocks="block_0",
        units="block_0",
        middle=1,
        methods=PLANTED,
    )
