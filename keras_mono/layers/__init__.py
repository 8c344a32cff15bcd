"""Keras layers that measure and inhibit monosemantic neurons."""

from keras_mono.layers.conv_gru2d import ConvGRU2D as ConvGRU2D
from keras_mono.layers.conv_gru2d_cell import ConvGRU2DCell as ConvGRU2DCell
from keras_mono.layers.inhibited_rnn import InhibitedRNN as InhibitedRNN
from keras_mono.layers.monosemantic_inhibition import (
    MonosemanticInhibition as MonosemanticInhibition,
)
from keras_mono.layers.monosemantic_penalty import (
    MonosemanticPenalty as MonosemanticPenalty,
)
from keras_mono.layers.monosemantic_scale import MonosemanticScale as MonosemanticScale
from keras_mono.layers.running_statistics import RunningStatistics as RunningStatistics
from keras_mono.layers.selecting_layer import SelectingLayer as SelectingLayer
