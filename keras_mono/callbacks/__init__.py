"""Callbacks that show and steer what happens during `model.fit`."""

from keras_mono.callbacks.inhibition_schedule import (
    InhibitionSchedule as InhibitionSchedule,
)
from keras_mono.callbacks.monosemanticity_monitor import (
    MonosemanticityMonitor as MonosemanticityMonitor,
)
