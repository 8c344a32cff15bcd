"""An average of the weights keeps the statistics of the model that was trained."""

import keras
import pytest

import keras_mono as km

if keras.config.backend() != "torch":
    pytest.skip("PyTorch's averages", allow_module_level=True)

import torch

from keras_mono.torch import Adapter


def test_buffers_are_copied_not_averaged():
    layer = km.layers.MonosemanticInhibition(0.1, axis=-1, start_step=2)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), Adapter(layer, (None, 8)))
    average = torch.optim.swa_utils.AveragedModel(model)
    model.train()
    for _ in range(5):
        model(torch.randn(16, 4))
        average.update_parameters(model)
    trained, averaged = model[1].state_dict(), average.module[1].state_dict()
    assert int(averaged["step"]) == int(trained["step"]) == 5
    for name, value in trained.items():
        torch.testing.assert_close(averaged[name], value, rtol=0, atol=0)
