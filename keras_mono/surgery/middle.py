import keras

from keras_mono._internal import validation
from keras_mono.surgery.places import Where, matching


def middle(model: keras.Model, where: Where, count: int = 4) -> list[str]:
    """The `count` middle layers of those that match `where`, for `insert_after`.

    Of 12 blocks, 4 middle ones are the blocks 4 to 7, counted from 0: where the papers
    put the method in BERT-base. In a hierarchical vision model they take the 4 middle
    blocks of the third stage, in Pythia the 2 middle blocks. Where the number cannot be
    centred, the earlier ones are taken.

    Reference: MEmeL (arXiv:2312.11560), section 4.1; L2E (arXiv:2503.23298).

    Args:
        model: Functional or Sequential model.
        where: As in `insert_after`.
        count: How many.

    Returns:
        Paths of layers, in the model's order.

    Raises:
        ValueError: if `where` means fewer than `count` layers, and as `insert_after`.

    Example:

    >>> blocks = [keras.layers.Dense(8, name=f"block_{i}") for i in range(12)]
    >>> model = keras.Sequential([keras.Input((8,)), *blocks])
    >>> km.middle(model, "block_*")
    ['block_4', 'block_5', 'block_6', 'block_7']
    """
    count = validation.positive_integer("count", count, "of layers")
    paths = [place.path for place in matching(model, where, None)]
    if len(paths) < count:
        raise ValueError(
            f"`where` means {len(paths)} layers of model '{model.name}', fewer than "
            f"`count`. Received: where={where!r}, count={count}. They are: {paths}."
        )
    start = (len(paths) - count) // 2
    return paths[start : start + count]
