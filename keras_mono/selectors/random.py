import random
from typing import Any

import keras
from keras import ops

from keras_mono._internal import validation
from keras_mono._internal.typing import Tensor
from keras_mono.backend import backend
from keras_mono.backend.reference import SMALLEST_PHI
from keras_mono.selectors.selector import Selector

_LARGEST = 2**31 - 1  # of a hash without its sign


@keras.saving.register_keras_serializable(package="keras_mono")
class Random(Selector):
    """A share of all activations, drawn at random: the control for a selection by φ.

    A layer with it does the same to as many activations as one with
    `MovingThreshold(fraction)`, whatever their φ. What such a layer changes too is no
    effect of monosemanticity.

    Each activation is drawn for itself, anew in every training batch. The draws depend
    on seed, number of batches, replica and position only: they are the same on every
    backend, and go on where they were after saving and loading. Layers that share a
    seed and a shape draw the same positions, such as the copies that `insert_after`
    makes of one layer.

    Args:
        fraction: Share of the activations to select, between 0 and 1.
        seed: Integer. None draws one, which is saved with the layer. It is drawn as
            Keras draws its own, so that layers made later start from other weights:
            give one to compare with a training that has no such layer.

    Call arguments:
        phi: Monosemantic Scale, any shape; activations whose φ is 0 are not selected.
        channel_axis: Not used.
        state: Number of batches, which a layer keeps. A layer's `selected` shows the
            draws of the next training batch; inside a recurrence all time steps of a
            batch have the same.

    Returns:
        Boolean tensor in the shape of `phi`.

    Raises:
        ValueError: if `fraction` is not between 0 and 1, or `seed` is no integer.

    Example:

    >>> layer = km.layers.MonosemanticPenalty(
    ...     select=km.selectors.Random(0.1, seed=0), start_step=1)
    >>> x = np.random.default_rng(0).normal(size=(1000, 8)).astype("float32")
    >>> for _ in range(2):
    ...     y = layer(x, training=True)
    >>> bool(0.09 < layer.selector_state["selected_fraction"] < 0.11)
    True
    """

    state_names = ("selected_fraction", "num_batches")
    counts_every_batch = True

    def __init__(self, fraction: float = 0.02, seed: int | None = None) -> None:
        self.fraction = validation.fraction_to_select(fraction)
        self.seed = validation.seed(random.randrange(10**9) if seed is None else seed)

    def get_config(self) -> dict[str, Any]:
        return {"fraction": self.fraction, "seed": self.seed}

    def __call__(
        self,
        phi: Tensor,
        channel_axis: int = -1,  # noqa: ARG002
        state: Tensor | None = None,
    ) -> Tensor:
        state = self._present(state, "the number of batches")
        phi = ops.convert_to_tensor(phi)
        drawn = self._hashes(phi, backend.held(state[1])) < int(
            self.fraction * _LARGEST
        )
        return ops.logical_and(drawn, phi >= SMALLEST_PHI)

    def update(
        self,
        phi: Tensor,
        counted: Tensor,
        state: Tensor,
        channel_axis: int = -1,
        num_batches: int | None = None,  # noqa: ARG002
    ) -> tuple[Tensor, Tensor]:
        selected = self(phi, channel_axis, state)
        number = backend.all_reduce_sum(backend.count_true(selected))
        share = number / backend.clip(ops.cast(counted, "float32"), 1.0)
        return selected, ops.stack([share, state[1] + 1.0])

    def _hashes(self, phi: Tensor, number: Tensor) -> Tensor:
        """Of each position: int32 from 0, by Wellons' `lowbias32`."""
        stream = _hash(ops.cast(number, "int32") + _hash(ops.cast(self.seed, "int32")))
        stream = _hash(stream + backend.replica_index())
        positions = ops.cumsum(ops.ones_like(ops.reshape(phi, (-1,)), "int32"))
        hashes = ops.bitwise_and(_hash(_hash(positions) + stream), _int32(_LARGEST))
        return ops.reshape(hashes, ops.shape(phi))


def _hash(x: Tensor) -> Tensor:
    """A mixing of 32 bits; products overflow."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B - 2**32)):
        x = _shifted(x, shift) * factor
    return _shifted(x, 16)


def _shifted(x: Tensor, by: int) -> Tensor:
    """x xor (x >> by), with zeros shifted in."""
    high = ops.bitwise_and(ops.right_shift(x, _int32(by)), _int32(2 ** (32 - by) - 1))
    return ops.bitwise_xor(x, high)


def _int32(number: int) -> Tensor:
    """On JAX Keras makes a float of it if `floatx` is bfloat16."""
    return ops.convert_to_tensor(number, "int32")
