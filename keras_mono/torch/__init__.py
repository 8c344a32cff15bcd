"""This library's layers in models written in plain PyTorch, and on many devices."""

from keras_mono.torch import _needs_torch as _needs_torch  # isort: skip
from keras_mono.torch.adapter import Adapter as Adapter
from keras_mono.torch.configure_replicas import configure_replicas as configure_replicas
from keras_mono.torch.monitor import Monitor as Monitor
