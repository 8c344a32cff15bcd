from typing import Any

import numpy as np

from keras_mono._internal.plotting.style import plain
from keras_mono.analysis.measure_agreement import measure_agreement as agreement_of
from keras_mono.analysis.measure_words import title_of
from keras_mono.analysis.plots.by_feature import panel
from keras_mono.analysis.profile import Profile


def measure_agreement(found: Profile) -> Any:
    """How alike the measures order a layer's neurons, as a table of colours.

    Args:
        found: The `Profile` of one layer.

    Returns:
        A matplotlib `Figure`: Spearman's rank correlation of every two measures. Orange
        is the same order, purple the reverse; a dash where it is not known.

    Raises:
        ImportError: if matplotlib is missing, naming the extra.
        ValueError: for a profile without measures.
    """
    agreement = agreement_of(found)
    titles = [title_of(name) for name in agreement.measures]
    figure, axes = panel(6.6, 5.2)
    axes.grid(visible=False)
    shown = np.ma.masked_invalid(agreement.correlation)
    image = axes.imshow(shown, cmap="PuOr_r", vmin=-1, vmax=1)
    for (row, column), value in np.ndenumerate(agreement.correlation):
        text = "–" if np.isnan(value) else f"{value:.2f}".replace("-", "−")
        colour = "white" if abs(value) > 0.7 else "black"
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
    places = range(len(titles))
    axes.set_xticks(places, titles, fontsize=8, rotation=35, ha="right")
    axes.set_yticks(places, titles, fontsize=8)
    neurons = f"{len(found.ks):,} neurons of {plain(found.layer, 40)}"
    axes.set_title(f"Do the measures agree on the {neurons}?", fontsize=10)
    figure.colorbar(image, ax=axes, label="rank correlation over neurons")
    return figure
