from collections.abc import Iterable

import keras
import numpy as np


class Snapshot:
    """The values of variables at this moment, to be restored later."""

    def __init__(self, variables: Iterable[keras.Variable]) -> None:
        self.variables = list(variables)
        self.values = [np.array(keras.ops.convert_to_numpy(v)) for v in self.variables]

    def restore(self) -> None:
        for variable, value in zip(self.variables, self.values, strict=True):
            variable.assign(value)
