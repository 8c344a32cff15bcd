"""Find monosemantic neurons while a Keras model trains, and inhibit them."""

from keras_mono import analysis as analysis
from keras_mono import callbacks as callbacks
from keras_mono import layers as layers
from keras_mono import ops as ops
from keras_mono import selectors as selectors
from keras_mono import surgery as surgery
from keras_mono._version import __version__ as __version__
from keras_mono.surgery import calibrate as calibrate
from keras_mono.surgery import insert_after as insert_after
from keras_mono.surgery import middle as middle
from keras_mono.surgery import status as status
from keras_mono.surgery import strip as strip
