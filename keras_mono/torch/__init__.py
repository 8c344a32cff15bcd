"""This library's layers in models written in plain PyTorch."""

from keras_mono.torch.adapter import Adapter as Adapter
from keras_mono.torch.monitor import Monitor as Monitor
