"""Layers for adapters: of each class, and with each way of selecting."""

import keras_mono as km

LATER = {"axis": -1, "start_step": 2}
MAKERS = {
    "top-k": lambda: km.layers.MonosemanticInhibition(**LATER),
    "threshold": lambda: km.layers.MonosemanticInhibition(0.05, **LATER),
    "scale": lambda: km.layers.MonosemanticScale(axis=-1),
    "penalty": lambda: km.layers.MonosemanticPenalty(start_step=2, form="phi"),
    "relative": lambda: km.layers.MonosemanticPenalty(start_step=2),
}
ALSO_ALWAYS = MAKERS | {
    "always": lambda: km.layers.MonosemanticInhibition(active="always", **LATER),
}
ALL_WAYS = MAKERS | {
    "top-2": lambda: km.layers.MonosemanticInhibition(2, **LATER),
    "position": lambda: km.layers.MonosemanticInhibition(
        km.selectors.TopK(2, per="position"), **LATER
    ),
    "current": lambda: km.layers.MonosemanticInhibition(
        include_current_batch=True, **LATER
    ),
}
