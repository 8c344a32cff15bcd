"""Keras layers that measure monosemantic neurons and train networks off them."""

from keras_mono.layers.monosemantic_inhibition import (
    MonosemanticInhibition as MonosemanticInhibition,
)
from keras_mono.layers.monosemantic_penalty import (
    MonosemanticPenalty as MonosemanticPenalty,
)
from keras_mono.layers.monosemantic_scale import MonosemanticScale as MonosemanticScale
from keras_mono.layers.running_statistics import RunningStatistics as RunningStatistics
from keras_mono.layers.selecting_layer import SelectingLayer as SelectingLayer
