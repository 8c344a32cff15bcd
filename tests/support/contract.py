"""Keras' own contract test of a layer. The only place that uses its private API."""

import warnings

from keras.src.testing import TestCase


def check_layer_contract(layer_class, arguments, input_shape, **expected):
    """Config round trip, build, symbolic and eager call, `fit`, mixed precision."""
    case = TestCase("run_layer_test")
    case.setUp()
    try:
        with warnings.catch_warnings():
            # Its `fit` draws from a generator and has nothing to train but our layer.
            warnings.simplefilter("ignore", UserWarning)
            case.run_layer_test(
                layer_class,
                init_kwargs=arguments,
                input_shape=input_shape,
                expected_output_shape=input_shape,
                expected_num_trainable_weights=0,
                expected_num_seed_generators=0,
                expected_num_losses=0,
                supports_masking=True,
                **expected,
            )
    finally:
        case.tearDown()
        case.doCleanups()
