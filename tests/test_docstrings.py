"""The examples in docstrings run and print what they say."""

import doctest
import importlib
import pkgutil

import keras
import numpy as np
import pytest

import keras_mono as km

MODULES = [
    "keras_mono",
    *(found.name for found in pkgutil.walk_packages(km.__path__, "keras_mono.")),
]
for other in {"jax", "tensorflow", "torch"} - {keras.config.backend()}:
    # They import their backend, which need not be installed.
    theirs = f"keras_mono.backend.{other}", f"keras_mono.{other}"
    MODULES = [name for name in MODULES if not name.startswith(theirs)]


def examples_of(module_name):
    module = importlib.import_module(module_name)
    names = {"np": np, "keras": keras, "km": km}
    found = doctest.DocTestFinder().find(module, extraglobs=names)
    return [test for test in found if test.examples]


def public_objects():
    """Classes and functions of the subpackages, which are what users call."""
    subpackages = [km.analysis, km.callbacks, km.layers, km.ops, km.selectors]
    subpackages.append(km.surgery)
    return [
        pytest.param(value, id=f"{subpackage.__name__}.{name}")
        for subpackage in subpackages
        for name, value in vars(subpackage).items()
        if not name.startswith("_") and callable(value)
    ]


@pytest.mark.one_backend
@pytest.mark.parametrize("module_name", MODULES)
def test_docstring_examples_print_what_they_say(module_name):
    for test in examples_of(module_name):
        report = []
        outcome = doctest.DocTestRunner().run(test, out=report.append)
        assert outcome.failed == 0, "".join(report)


def test_there_are_docstring_examples():
    assert sum(len(examples_of(name)) for name in MODULES) > 0


@pytest.mark.parametrize("value", public_objects())
def test_public_objects_have_a_docstring(value):
    assert value.__doc__
    assert value.__doc__.strip()
