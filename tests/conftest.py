"""Settings of every test run: backend, random state, figures, amount of examples."""

import gc
import os
import re
import sys

import hypothesis
import pytest

os.environ["MPLBACKEND"] = "Agg"  # no window, here and in processes that tests start
# On a GPU JAX multiplies matrices in TF32 unless told otherwise; on a CPU it changes
# nothing.
os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")
if "KERAS_BACKEND" not in os.environ:
    pytest.exit("KERAS_BACKEND is not set: tests run on one backend at a time", 4)

import keras

hypothesis.settings.register_profile(
    "default", deadline=None, derandomize=True, max_examples=30
)
hypothesis.settings.register_profile("soak", deadline=None, max_examples=2000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_configure(config) -> None:
    """A run on another backend than the one asked for would prove nothing."""
    config.addinivalue_line(
        "markers",
        "support(row, **cells): a row of the table in docs/support.md; what it says of "
        "a backend if not 'yes', by the backend's name; None: nothing",
    )
    asked = os.environ["KERAS_BACKEND"]
    found = keras.config.backend()
    if asked != found:
        raise pytest.UsageError(
            f"KERAS_BACKEND is {asked!r}, but Keras runs on {found!r}."
        )


def pytest_collection_modifyitems(config, items) -> None:
    """Leave out what runs elsewhere, and write the cells of docs/support.md."""
    backend = keras.config.backend()
    elsewhere = set()
    if (os.environ.get("ONE_BACKEND") or backend) != backend:
        elsewhere.add("one_backend")
    if os.environ.get("HYPOTHESIS_PROFILE") != "soak":
        elsewhere.add("soak")
    out = [i for i in items if elsewhere & {mark.name for mark in i.iter_markers()}]
    config.hook.pytest_deselected(items=out)
    left_out = set(out)
    items[:] = [item for item in items if item not in left_out]
    for item in items:
        for mark in item.iter_markers("support"):
            cell = mark.kwargs.get(backend, "yes")
            if cell is not None:
                claim = ("support", f"{mark.args[0]}|{backend}|{cell}")
                item.user_properties.append(claim)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """Write into the report how many random cases a property test passed."""
    report = yield
    if report.when == "teardown" and hasattr(item, "hypothesis_statistics"):
        counts = re.findall(r"(\d+) passing", item.hypothesis_statistics)
        report.user_properties.append(("random cases", sum(map(int, counts))))
    return report


def pytest_collection_finish() -> None:
    """What was imported stays: a garbage collection need not go through it each time.

    A fifth of the time on JAX, where half a million objects are imported.
    """
    gc.collect()
    gc.freeze()


def pytest_runtest_teardown(item, nextitem) -> None:
    """What a module of tests leaves stays too, as graphs of functions do."""
    if nextitem is None or item.path != nextitem.path:
        gc.collect()
        gc.freeze()


def pytest_report_header() -> str:
    return f"keras {keras.__version__} on {keras.config.backend()}"


@pytest.fixture(autouse=True)
def same_random_state():
    """A test gives the same result alone as after all others."""
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
