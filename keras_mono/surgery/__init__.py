"""Inserting layers of this library into a model, inspecting and removing them."""

from keras_mono.surgery.calibrate import calibrate as calibrate
from keras_mono.surgery.insert_after import insert_after as insert_after
from keras_mono.surgery.middle import middle as middle
from keras_mono.surgery.status import status as status
from keras_mono.surgery.strip import strip as strip
