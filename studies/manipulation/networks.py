"""The networks of the manipulation study, and what their neurons are labelled by.

They differ in the kind of data, in normalization and in the activation. Models, data
and learning rates are those of the study of the papers' claims (docs/results.md), where
it has the network, but for what makes a training a matter of a few seconds:
transformers have four blocks, and there are fewer epochs. Where it can, the learning
rate falls to 0: the task's figure is less noisy then.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial

import keras
import numpy as np

import image.data
import image.models
import image.settings
import language.data
import language.models
import language.settings
import physics.data
import physics.settings
from evidence.setting import Part, Setting, Split, Task

DEPTH = 4  # of transformers
BELOW = "mlp_0"  # the middle two are mlp_1 and mlp_2
Labelled = tuple[np.ndarray | None, np.ndarray]  # None: the part's own inputs


@dataclass(frozen=True)
class Network:
    """A network on its task, with one place for every method.

    Attributes:
        setting: Model and tasks; the methods act on the middle ones of its `units`, in
            the last task only. What came before is plain.
        title: For the page.
        below: The nearest hidden layer before the first of these.
        margin: Change of the task's figure that counts as none; a share of plain's if
            `relative`.
        unit: Of the figure.
        by_sample: Whether the labels are of samples, so that the selectivity is CSI,
            or of positions or windows, so that it is φ_ℓ* - 1.
        labelled: Inputs and labels to measure selectivity with, of a part with its
            name and for a layer.
        constant: The figure of the best prediction that is the same for every input.
        padding: Whether inputs of 0 are padding.
    """

    setting: Setting
    title: str
    below: str
    margin: float
    unit: str
    labelled: Callable[[Part, str, str], Labelled]
    constant: Callable[[np.ndarray], float]
    by_sample: bool = True
    relative: bool = False
    padding: bool = False

    @property
    def name(self) -> str:
        return self.setting.name

    @property
    def selectivity(self) -> str:
        return "CSI" if self.by_sample else "φ_ℓ* - 1"

    def path(self, method: str) -> tuple[str, ...]:
        """What is trained, task by task."""
        return (*self.setting.plain[:-1], method)


def networks(quick: bool = False) -> dict[str, Network]:
    """All of them, by name; `quick`: tiny, to see that the study runs."""
    found = [
        *_of_images(quick),
        *_of_language(quick),
        _of_rain(quick),
    ]
    return {network.name: network for network in found}


def _setting(name: str, tasks: tuple[Task, ...], units: str, middle: int) -> Setting:
    figure, higher = {
        "nowcasting": ("B-MAE", False),
        "causal-medium": ("bits per byte", False),
    }.get(name, ("accuracy", True))
    return Setting(
        name,
        tasks,
        primary=f"test {figure}",
        higher_is_better=higher,
        blocks=units,
        units=units,
        middle=middle,
        axis=-1,
    )


def _by_class(part: Part, name: str, layer: str) -> Labelled:  # noqa: ARG001
    return None, part.y


def _most_frequent(y: np.ndarray) -> float:
    return 100 * float(np.unique(y, return_counts=True)[1].max() / len(y))


def _classifier(
    name: str,
    title: str,
    tasks: tuple[Task, ...],
    units: str,
    middle: int,
    below: str,
    padding: bool = False,
) -> Network:
    return Network(
        _setting(name, tasks, units, middle),
        title,
        below,
        margin=0.5,
        unit="points",
        labelled=_by_class,
        constant=_most_frequent,
        padding=padding,
    )


def _perceptron(classes: int, head: str, *_: int) -> keras.Model:
    return image.models.perceptron(classes, head, (128, 64))


def _normalized(*size) -> keras.Model:
    return image.models.convolutional_network(*size, normalized=True)


def _of_digits(
    quick: bool, model, width: int, depth: int, rate: float
) -> tuple[Task, Task]:
    epochs, batch = ((1, 1), 8) if quick else ((5, 10), 32)
    first, second = image.settings.tasks_of(model, width, depth, epochs, batch, quick)
    if not quick:
        # More images than there: margins of the task are small.
        second = replace(second, data=lambda seed: image.data.digits(seed, 896))
    return first, replace(second, learning_rate=rate, decays=True)


def _of_images(quick: bool) -> list[Network]:
    tasks = partial(_of_digits, quick)
    _, digits = tasks(_perceptron, 0, 0, 1e-3)
    digits = replace(digits, epochs=1 if quick else 20, decays=False)
    transformer, width = image.models.vision_transformer, 16 if quick else 32
    return [
        _classifier(
            "mlp-digits",
            "64-128-64-10, ReLU: digits",
            (digits,),
            "block_1",
            1,
            "block_0",
        ),
        _classifier(
            "cnn-digits",
            "CNN without normalization, ReLU: digits after patches of photographs",
            tasks(image.models.convolutional_network, 21, 4, 1e-2),
            "block_*",
            2,
            "block_0",
        ),
        _classifier(
            "cnn-normalized",
            "CNN with batch normalization, ReLU: digits after patches of photographs",
            tasks(_normalized, 21, 4, 1e-2),
            "block_*",
            2,
            "block_0",
        ),
        _classifier(
            "vit-digits",
            "Vision transformer, GELU: digits after patches of photographs",
            tasks(transformer, width, DEPTH, 3e-3),
            "mlp_?",
            2,
            BELOW,
        ),
    ]


def _of_language(quick: bool) -> list[Network]:
    scale = "quick" if quick else "default"
    encoder = language.settings.encoder(scale, "small", 16)
    whole = partial(language.models.encoder, width=16, depth=DEPTH)
    first, second = encoder.tasks
    first = replace(first, build=lambda _: whole(language.data.VOCABULARY, "byte"))
    second = replace(second, build=lambda _: whole(12, "language"), learning_rate=3e-3)
    second = replace(second, decays=True)

    def recurrent(_) -> keras.Model:
        return language.models.recurrent(12, "language", 32)

    return [
        _classifier(
            "encoder-small",
            "Encoder, GELU: twelve languages after masked pretraining",
            (first, second),
            "mlp_?",
            2,
            BELOW,
            padding=True,
        ),
        _classifier(
            "gru-phrases",
            "Two GRUs, tanh: twelve languages",
            (replace(second, build=recurrent, epochs=1 if quick else 8),),
            "block_1",
            1,
            "block_0",
            padding=True,
        ),
        _causal(quick),
    ]


@cache
def _code_of(length: int, each: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    sixths = {"validation": (0,), "test": (1,)}[name]
    return language.data.labelled_code(length, each, sixths)


def _causal(quick: bool) -> Network:
    length, each = 48, 32 if quick else 64

    def windows(seed: int) -> Split:
        found = language.data.code(seed, length, train=1600 if quick else 1200)
        return found.shorter(96, 32) if quick else found

    task = Task(
        build=lambda _: language.models.causal(length, 32, DEPTH),
        data=windows,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        measure=language.settings.bits_per_byte,
        batch_size=8,
        epochs=2,
        learning_rate=6e-3,
        decays=True,
    )

    def labelled(part: Part, name: str, layer: str) -> Labelled:  # noqa: ARG001
        return _code_of(length, each, name)

    return Network(
        _setting("causal-medium", (task,), "mlp_?", 2),
        "Causal transformer, GELU: next byte of source code",
        BELOW,
        margin=0.03,
        unit="bits",
        labelled=labelled,
        constant=_entropy,
        by_sample=False,
    )


def _entropy(y: np.ndarray) -> float:
    """Bits of the targets' frequencies."""
    share = np.unique(y, return_counts=True)[1] / y.size
    return float(-(share * np.log2(share)).sum())


def _of_rain(quick: bool) -> Network:
    scale = "quick" if quick else "default"
    (whole,) = physics.settings.settings(scale)
    first, second = whole.tasks
    if not quick:
        data = partial(physics.settings.sequences, 160, 48, physics.data.SIZE)
        second = replace(second, data=data, batch_size=4, epochs=3)
    return Network(
        _setting("nowcasting", (first, second), "block_*", 2),
        "Two ConvGRUs, tanh: rain twenty frames ahead, after pretraining on the same",
        "smaller",
        margin=0.003,
        unit="B-MAE",
        labelled=_by_rain,
        constant=_constant_rain,
        by_sample=False,
        relative=True,
    )


def _by_rain(part: Part, name: str, layer: str) -> Labelled:  # noqa: ARG001
    """The class of rain rate, HKO-7's five, at each position of the half-sized layer.

    The encoder's last state: of the last frame seen. The forecaster's: of the frame
    that it forecasts.
    """
    if layer == "block_0":
        frames = physics.data.balance(part.x[:, -1, ..., 0])
    else:
        frames = part.y[..., 1]
    *before, height, width = frames.shape
    squares = frames.reshape(*before, height // 2, 2, width // 2, 2)
    return None, squares.max(axis=(-3, -1))


def _constant_rain(y: np.ndarray) -> float:
    tried = [
        physics.settings.balanced_errors(np.full_like(y[..., :1], value), y)["B-MAE"]
        for value in np.linspace(0, 1, 21)
    ]
    return min(tried)
