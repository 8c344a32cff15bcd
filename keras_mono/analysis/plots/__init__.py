"""Pictures of what was measured. Every function returns a matplotlib `Figure`."""

from keras_mono._internal.plotting.tail_over_training import (
    tail_over_training as tail_over_training,
)
from keras_mono.analysis.plots.agreement import measure_agreement as measure_agreement
from keras_mono.analysis.plots.by_feature import (
    ablation_by_feature as ablation_by_feature,
)
from keras_mono.analysis.plots.by_feature import feature_heat_map as feature_heat_map
from keras_mono.analysis.plots.by_feature import fkr_by_fraction as fkr_by_fraction
from keras_mono.analysis.plots.by_feature import ks_by_layer as ks_by_layer
from keras_mono.analysis.plots.by_feature import neuron_response as neuron_response
from keras_mono.analysis.plots.by_feature import phi_by_layer as phi_by_layer
from keras_mono.analysis.plots.by_size import ks_by_size as ks_by_size
from keras_mono.analysis.plots.by_size import phi_by_size as phi_by_size
