"""Pure functions on tensors: the papers' arithmetic, on any backend, at any rank."""

from keras_mono.ops.deactivate import deactivate as deactivate
from keras_mono.ops.kth_largest import kth_largest as kth_largest
from keras_mono.ops.merge_moments import merge_moments as merge_moments
from keras_mono.ops.monosemantic_penalty import (
    monosemantic_penalty as monosemantic_penalty,
)
from keras_mono.ops.monosemantic_scale import monosemantic_scale as monosemantic_scale
from keras_mono.ops.scale_invariant_deactivate import (
    scale_invariant_deactivate as scale_invariant_deactivate,
)
from keras_mono.ops.scale_invariant_penalty import (
    scale_invariant_penalty as scale_invariant_penalty,
)
from keras_mono.ops.scale_invariant_pull import (
    scale_invariant_pull as scale_invariant_pull,
)
