"""Texts that a page could take for markup, and a report in which every text is one."""

import keras
import numpy as np

import keras_mono as km

HOSTILE = (
    "<script>alerted = true</script>",
    "</script><b>x",
    "</title></style><!-- {{ 7*7 }} ${7*7}",
    "$\\frac{$ \"double\" 'single' &amp; `",
    "\u202edetcerid\u2066\x00\u2028",
    "L" * 10_000,
)
SHOWN = (*HOSTILE[:4], "\\u202edetcerid\\u2066\\u0000\\u2028", HOSTILE[5])


def hostile_report(folder):
    """Every text that a report takes is hostile."""
    n = 6 * 30
    labels = np.array(HOSTILE)[np.arange(n) % 6]
    x = np.random.default_rng(0).normal(size=(n, 5)).astype("float32")
    x[:, 0] += np.arange(n) % 6
    models, layers = {}, {}
    for name in HOSTILE:
        models[name] = keras.Sequential(
            [keras.Input((5,)), keras.layers.Dense(6, name=name.replace("/", "|"))]
        )
        layers[name] = [name.replace("/", "|")]
    return km.analysis.report(
        dict(list(models.items())[:3]),
        x,
        labels,
        dict(list(layers.items())[:3]),
        folder / "a.html",
        title=HOSTILE[0] + HOSTILE[4],
        shown=[f"{HOSTILE[i % 6]} {i}" for i in range(n)],
        verbose=0,
    )
