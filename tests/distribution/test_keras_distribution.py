"""`fit` under `keras.distribution` on PyTorch, which Keras has from 3.16 on."""

from pathlib import Path

import keras
import numpy as np
import pytest

if keras.config.backend() != "torch" or keras.__version__ < "3.16":
    pytest.skip("Keras distributes nothing here", allow_module_level=True)

from support import forks
from support.group_batches import RANKS, UNITS, knowledge_after_fit, together

PROGRAM = Path(__file__).with_name("keras_distribution.py")
ALL = range(RANKS)
# Which parts of the data make a batch of each rank.
PARTS = {
    "none": [ALL] * RANKS,
    "all": [ALL] * RANKS,
    "pairs": [(0, 1), (0, 1), (2, 3), (2, 3)],
    "mesh": [(0, 1)] * RANKS,
}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each of 4 processes found, by case."""
    return forks.results(PROGRAM, tmp_path_factory.mktemp("keras"), RANKS)


@pytest.mark.parametrize("case", PARTS)
def test_fit_knows_what_one_process_knows_of_the_global_batches(found, case):
    for rank in ALL:
        one = knowledge_after_fit(together(PARTS[case][rank], whole=True))
        assert np.abs(one["kernel"] - np.eye(UNITS)).max() > 0.05
        for name, expected in one.items():
            if "remainder" in name:  # of rounding
                continue
            value = found[rank][f"{case} {name}"]
            np.testing.assert_allclose(value, expected, 1e-4, 1e-6, err_msg=name)
