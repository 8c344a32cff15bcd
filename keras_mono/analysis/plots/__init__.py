"""Pictures of what was measured. Every function returns a matplotlib `Figure`."""

from keras_mono.analysis.plots.tail_over_training import (
    tail_over_training as tail_over_training,
)
