"""torch.compile without a graph break, on many lengths and on an empty batch."""

import keras
import pytest

import keras_mono as km

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="torch.compile"
)
SELECT = [km.selectors.TopK(2), km.selectors.TopK(2, per="position"), 0.1]


@pytest.mark.parametrize("k", [1, 2])
def test_top_k_compiles_once_for_all_lengths(k):
    import torch

    torch._dynamo.reset()
    selector = km.selectors.TopK(k)
    compiled = torch.compile(lambda phi: selector(phi), fullgraph=True, backend="eager")
    for length in (*range(5, 17), 300):
        phi = torch.rand(3, length, 4)
        assert torch.equal(compiled(phi), selector(phi)), length


@pytest.mark.parametrize("select", SELECT)
def test_an_empty_batch(select):
    import torch

    from keras_mono.torch import Adapter

    torch._dynamo.reset()
    layer = km.layers.MonosemanticInhibition(select, axis=-1, start_step=1)
    adapter = Adapter(layer, (None, None, 4)).train()
    compiled = torch.compile(adapter, fullgraph=True, backend="eager")
    for rows in (3, 0, 2):
        assert compiled(torch.rand(rows, 6, 4)).shape == (rows, 6, 4)
    assert layer.non_finite == 0
