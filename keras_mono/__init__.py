"""Find monosemantic neurons while a Keras model trains, and train it off them."""

from keras_mono import analysis as analysis
from keras_mono import callbacks as callbacks
from keras_mono import layers as layers
from keras_mono import ops as ops
from keras_mono import selectors as selectors
from keras_mono._version import __version__ as __version__
