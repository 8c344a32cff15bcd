"""Importing this raises an `ImportError` where Keras does not run on PyTorch."""

import keras

if keras.config.backend() != "torch":
    raise ImportError(
        "keras_mono.torch needs Keras to run on PyTorch. It runs on "
        f"{keras.config.backend()}. Set the environment variable KERAS_BACKEND=torch "
        "before Python starts."
    )
