"""Compiling a rebuilt model as the original is."""

import inspect
import warnings
from typing import Any

import keras

from keras_mono._internal import keras_private

_CANNOT_COPY = (TypeError, ValueError, KeyError, AttributeError, NotImplementedError)


def compile_like(old: keras.Model, new: keras.Model) -> keras.Model:
    """`new`, compiled as `old` is, with an optimizer and metrics of its own.

    Where this cannot be done, it is left uncompiled, with a warning.
    """
    if not old.compiled:
        return new
    try:
        arguments = _compile_arguments(old, new)
    except _CANNOT_COPY as error:
        _warn(old, "is compiled with an optimizer that Keras cannot copy", error)
        return new
    try:
        new.compile(**arguments)
    except _CANNOT_COPY as error:
        new.compiled = False  # its `compile` may have come to Keras' before it failed
        reason = "has a `compile` of its own that cannot be called again"
        _warn(old, reason, error)
    return new


def _warn(old: keras.Model, reason: str, error: Exception) -> None:
    warnings.warn(
        f"Model '{old.name}' {reason}, so the new model is not compiled. Call its "
        "`compile` with your loss, optimizer and metrics. "
        f"({type(error).__name__}: {error})",
        stacklevel=4,
    )


def _compile_arguments(old: keras.Model, new: keras.Model) -> dict[str, Any]:
    """What the model was compiled with, with optimizers and metrics of its own.

    Losses and functions are the same objects: they hold no state.
    """
    arguments = _given_arguments(old)
    # Arguments that a class adds to `compile`, such as a causal model's `sampler`.
    for name in inspect.signature(new.compile).parameters:
        if name not in arguments and hasattr(old, name):
            arguments[name] = _own_optimizer(getattr(old, name))
    for name, value in arguments.items():
        kept = getattr(old, name, None)
        if isinstance(kept, keras.optimizers.Optimizer):
            keras_private.exclude_alike(_innermost(kept), _innermost(value))
    return arguments


def _given_arguments(old: keras.Model) -> dict[str, Any]:
    if type(old).get_compile_config is not keras.Model.get_compile_config:
        config = old.get_compile_config()
        return dict(keras.saving.deserialize_keras_object(config))
    given = keras_private.given_compile_arguments(old)
    given["optimizer"] = _own_optimizer(given.get("optimizer"))
    for name in ("metrics", "weighted_metrics"):
        given[name] = keras.tree.map_structure(_own_metric, given.get(name))
    return given


def _own_optimizer(value: Any) -> Any:
    if not isinstance(value, keras.optimizers.Optimizer):
        return value
    return type(value).from_config(value.get_config())


def _innermost(optimizer: Any) -> Any:
    """The optimizer inside those that scale the loss; it alone decays weights."""
    while isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = optimizer.inner_optimizer
    return optimizer


def _own_metric(metric: Any) -> Any:
    if not isinstance(metric, keras.metrics.Metric):
        return metric
    try:
        return type(metric).from_config(metric.get_config())
    except _CANNOT_COPY:
        return metric  # such as one that holds a lambda; `fit` resets it
