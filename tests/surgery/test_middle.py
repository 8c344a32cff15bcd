import keras
import pytest

import keras_mono as km


def chain(n):
    blocks = [keras.layers.Dense(4, name=f"block_{i}") for i in range(n)]
    head = keras.layers.Dense(2, name="head")
    return keras.Sequential([keras.Input((4,)), *blocks, head])


@pytest.mark.parametrize(
    ("blocks", "count", "expected"),
    [
        (12, 4, [4, 5, 6, 7]),  # BERT-base in the paper
        (6, 4, [1, 2, 3, 4]),  # third stage of Swin-T: depth/2 - 2 to depth/2 + 1
        (18, 4, [7, 8, 9, 10]),  # of Swin-S and Swin-B
        (6, 2, [2, 3]),  # Pythia 70M
        (5, 2, [1, 2]),
        (3, 3, [0, 1, 2]),
    ],
)
def test_the_middle_ones(blocks, count, expected):
    found = km.middle(chain(blocks), "block_*", count)
    assert found == [f"block_{i}" for i in expected]


def test_too_few():
    with pytest.raises(ValueError, match=r"means 3 layers.*fewer than"):
        km.middle(chain(3), "block_*")
    with pytest.raises(ValueError, match="`count` must be a positive integer"):
        km.middle(chain(3), "block_*", 0)


def test_they_can_be_followed():
    model = chain(12)
    layer = km.layers.MonosemanticInhibition()
    table = km.insert_after(model, km.middle(model, "block_*"), layer, dry_run=True)
    assert [row["after"] for row in table] == [f"block_{i}" for i in (4, 5, 6, 7)]
