"""This library's layers in models written in plain PyTorch."""

from keras_mono.torch.adapter import Adapter as Adapter
