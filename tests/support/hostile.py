"""Texts that a page could take for markup, and a report in which every text is one."""

import keras
import numpy as np

import keras_mono as km

HOSTILE = (
    "<script>alerted = true</script>",
    "</script><b>x",
    "</title></style><!-- {{ 7*7 }} ${7*7}",
    "$\\frac{$ \"double\" 'single' &amp; `",
    "שלום\u202edetcerid\u2066\x00\u2028",
    "L" * 10_000,
    "",
    "one\n中文 ",
)
SHOWN = (
    *HOSTILE[:4],
    "שלום\\u202edetcerid\\u2066\\u0000\\u2028",
    HOSTILE[5],
    '""',
    '"one\\n中文 "',
)


def hostile_report(folder):
    """A page; Keras allows no / in a layer's name."""
    each = np.arange(len(HOSTILE) * 30) % len(HOSTILE)
    n, labels = len(each), np.array(HOSTILE)[each]
    x = np.random.default_rng(0).normal(size=(n, 5)).astype("float32")
    x[:, 0] += each
    layers = {name: [name.replace("/", "|")] for name in HOSTILE[:2]}
    models = {
        name: keras.Sequential([keras.Input((5,)), keras.layers.Dense(6, name=layer)])
        for name, (layer,) in layers.items()
    }
    return km.analysis.report(
        models,
        x,
        labels,
        layers,
        folder / "a.html",
        title=HOSTILE[0] + HOSTILE[4],
        shown=[f"{HOSTILE[label]} {i}" for i, label in enumerate(each)],
        verbose=0,
    )
