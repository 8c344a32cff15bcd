"""Which activations of a layer are inhibited, given their Monosemantic Scale."""

from keras_mono.selectors.lookup import get as get
from keras_mono.selectors.moving_threshold import MovingThreshold as MovingThreshold
from keras_mono.selectors.random import Random as Random
from keras_mono.selectors.selector import Selector as Selector
from keras_mono.selectors.top_k import TopK as TopK
