"""Measuring neurons: NumPy in, NumPy out, no backend of its own."""

from keras_mono.analysis import plots as plots
from keras_mono.analysis.activations import activations as activations
from keras_mono.analysis.summary import summary as summary
