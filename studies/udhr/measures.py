"""What is measured of a network trained on the Declaration."""

import numpy as np

from evidence.extra import features
from evidence.setting import Part
from manipulation.measures import dead, entries, tail
from mnist.measures import Measuring as OfImages
from mnist.measures import decorrelation


class Measuring(OfImages):
    """φ_ℓ*, K-S and the false killing rate by language, of hidden units."""

    def of_neurons(self, test: Part) -> dict[str, float]:  # noqa: ARG002
        x, labels = self.setting.labelled()
        flat = [entries(z) for z in self.reader.activations(x).values()]
        found = {
            "tail": [tail(z) for z in flat],
            "scale": [z.std(axis=0).mean() for z in flat],
            "dead": [dead(z) for z in flat],
            "decorrelation": [decorrelation(z) for z in flat],
        }
        figures = {name: float(np.mean(each)) for name, each in found.items()}
        figures |= features(self.reader.model, self.reader.units, x, labels)
        return {f"test {name}": value for name, value in figures.items()}
