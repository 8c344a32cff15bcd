"""Keras masks: two joined to one, and one made to fit activations."""

from keras import ops

from keras_mono._internal.typing import Tensor


def combine_masks(mask: Tensor | None, padding_mask: Tensor | None) -> Tensor | None:
    """True where both are not 0; of the rank of the one with more axes."""
    given = [ops.convert_to_tensor(m) for m in (mask, padding_mask) if m is not None]
    if len(given) < 2:
        return given[0] if given else None
    rank = max(m.ndim for m in given)
    return ops.logical_and(*(of_rank(rank, m) for m in given))


def of_rank(rank: int, mask: Tensor) -> Tensor:
    """A boolean mask with axes of length 1 behind its own."""
    mask = ops.cast(mask, "bool")
    for _ in range(rank - mask.ndim):
        mask = ops.expand_dims(mask, -1)
    return mask


def as_entries(z: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Float32 activations without gradient, and a mask that broadcasts against them."""
    z = ops.cast(ops.stop_gradient(z), "float32")
    if mask is None:
        return z, None
    mask = ops.convert_to_tensor(mask)
    check_fits(z, mask)
    return z, of_rank(z.ndim, mask)


def check_fits(z: Tensor, mask: Tensor) -> None:
    """An error if a mask, with axes of length 1 behind its own, does not broadcast."""
    given = tuple(mask.shape)
    if len(given) > z.ndim:
        raise ValueError(
            "`mask` must have at most as many axes as the input. Received: mask of "
            f"shape {given} for an input of shape {tuple(z.shape)}."
        )
    for length, masked in zip(z.shape, given, strict=False):
        if None in (length, masked):
            continue
        if masked != 1 and masked != length:  # the compiler knows no size `in` a tuple
            raise ValueError(
                "`mask` must broadcast against the input. Received: mask of shape "
                f"{given} for an input of shape {tuple(z.shape)}. Pass one entry a "
                "sample, a position, or an activation."
            )
