"""magika: which type a file is of, from its first and last 1,024 bytes.

Its weights come as an ONNX graph, which is carried into a Keras model here.
"""

import json
import os
import sysconfig
from functools import partial
from pathlib import Path

import keras
import numpy as np
from keras import layers

import keras_mono as km
from gallery.experiment import Case, Done, penalty
from gallery.packages import file_of, need

MODEL = "models", "standard_v3_3"
ENDS, BLOCK, PADDING = 1024, 4096, 256
TOKENS = 2 * ENDS
# Endings of files, and what magika calls their type. The first TYPES of which a
# machine has EACH files or more are taken.
TYPES, EACH = 20, 10
ENDINGS = {
    ".py": "python",
    ".pyc": "pythonbytecode",
    ".json": "json",
    ".txt": "txt",
    ".h": "c",
    ".so": "elf",
    ".csv": "csv",
    ".png": "png",
    ".svg": "svg",
    ".pdf": "pdf",
    ".ttf": "ttf",
    ".gz": "gzip",
    ".xml": "xml",
    ".wav": "wav",
    ".npy": "npy",
    ".npz": "npz",
    ".toml": "toml",
    ".f90": "fortran",
    ".rst": "rst",
    ".css": "css",
    ".exe": "pebin",
    ".md": "markdown",
    ".pem": "pem",
    ".gif": "gif",
    ".yaml": "yaml",
    ".html": "html",
}


def network() -> keras.Model:
    """Bytes (256 is padding) to the probabilities of 214 types; weights of magika."""
    need("onnx")
    constant = _constants(str(file_of("magika", *MODEL, "model.onnx")))
    gelu = partial(keras.activations.gelu, approximate=True)
    tokens = keras.Input((TOKENS,), dtype="int32", name="bytes")
    table = constant("Dense_0/einsum/Einsum") + constant("Dense_0/AddV2")[0]
    x = layers.Embedding(*table.shape, name="byte")(tokens)
    x = layers.Activation(gelu, name="byte_gelu")(x)
    x = layers.Reshape((TOKENS // 4, 4 * table.shape[1]), name="fours")(x)
    # Over the places, which Keras on PyTorch can normalize as the last axis only.
    x = layers.Permute((2, 1))(x)
    x = layers.LayerNormalization(epsilon=1e-6, name="norm_places")(x)
    x = layers.Permute((2, 1))(x)
    kernel = constant("Conv_0/Conv2D")[..., 0].transpose(2, 1, 0)
    x = layers.Conv1D(kernel.shape[2], len(kernel), name="conv")(x)
    x = layers.Activation(gelu, name="patterns")(x)
    x = layers.GlobalMaxPooling1D(name="strongest")(x)
    x = layers.LayerNormalization(epsilon=1e-6, name="norm")(x)
    last = constant("Dense_1/MatMul")
    y = layers.Dense(last.shape[1], activation="softmax", name="types")(x)
    model = keras.Model(tokens, y, name="magika")
    for name, weights in {
        "byte": [table],
        "norm_places": [constant("LayerNorm_0/Mul"), constant("LayerNorm_0/AddV2_1")],
        "conv": [kernel, constant("Conv_0/AddV2")],
        "norm": [constant("LayerNorm_1/Mul"), constant("LayerNorm_1/AddV2_1")],
        "types": [last, constant("Dense_1/AddV2")],
    }.items():
        layer = model.get_layer(name)
        shapes = [w.shape for w in layer.weights]
        layer.set_weights(
            [np.reshape(w, s) for w, s in zip(weights, shapes, strict=True)]
        )
    return model


def _constants(path):
    """The array that a node of the graph takes, by the end of the node's name."""
    import onnx

    graph = onnx.load(path).graph
    arrays = {t.name: t for t in graph.initializer}

    def constant(ending):
        (node,) = (n for n in graph.node if n.name.endswith(f"/MagikaV2/{ending}"))
        (name,) = (name for name in node.input if name in arrays)
        return onnx.numpy_helper.to_array(arrays[name])

    return constant


def of_onnxruntime(tokens: np.ndarray, exact: bool) -> np.ndarray:
    """What magika's own file gives.

    Its normalizations take variances as the mean square minus the squared mean. In
    float32 that loses the digits of nearly constant channels, as padding makes them.
    `exact` calculates these steps in float64.
    """
    need("onnx", "onnxruntime")
    import onnx
    import onnxruntime

    model = onnx.load(str(file_of("magika", *MODEL, "model.onnx")))
    if exact:
        _normalize_in_float64(model.graph, onnx)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    batches = np.array_split(tokens.astype("int32"), max(len(tokens) // 50, 1))
    return np.concatenate([session.run(None, {"bytes": b})[0] for b in batches])


def _normalize_in_float64(graph, onnx):
    """Cast what the steps of the normalizations take to float64, and back after."""
    floats = {"ReduceSum": 1, "Reshape": 1, "Expand": 1, "Sqrt": 1, "Reciprocal": 1}
    floats |= dict.fromkeys(("Add", "Sub", "Mul", "Max"), 2)  # inputs that are floats
    norms = {n.name for n in graph.node if "/LayerNorm_" in n.name}
    norms = {n.name for n in graph.node if n.name in norms and n.op_type in floats}
    doubles = {name for n in graph.node if n.name in norms for name in n.output}
    kinds = {"double": onnx.TensorProto.DOUBLE, "single": onnx.TensorProto.FLOAT}
    nodes = {}
    for node in graph.node:
        inside = node.name in norms
        kind = "double" if inside else "single"
        for i, name in enumerate(
            node.input[: floats[node.op_type] if inside else None]
        ):
            if (name in doubles) != inside:
                node.input[i] = cast = f"{name}_{kind}"
                nodes[cast] = onnx.helper.make_node(
                    "Cast", [name], [cast], cast, to=kinds[kind]
                )
        nodes[node.name] = node
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes.values())


def type_names() -> list[str]:
    config = file_of("magika", *MODEL, "config.min.json")
    return json.loads(config.read_text("utf-8"))["target_labels_space"]


def as_tokens(path: Path) -> np.ndarray:
    """The first and the last bytes of a file, without white space around them."""
    with path.open("rb") as file:
        first = file.read(BLOCK).lstrip()[:ENDS]
        file.seek(max(path.stat().st_size - BLOCK, 0))
        last = file.read(BLOCK).rstrip()[-ENDS:]
    tokens = np.full(TOKENS, PADDING, "int32")
    tokens[: len(first)] = np.frombuffer(first, "uint8")
    tokens[TOKENS - len(last) :] = np.frombuffer(last, "uint8")
    return tokens


def installed(seed: int = 0) -> dict[str, list[Path]]:
    """Files of Python and of its packages by type, in a random order."""
    found: dict[str, list[Path]] = {ending: [] for ending in ENDINGS}
    paths = sysconfig.get_paths()
    for root in sorted({paths[name] for name in ("stdlib", "purelib", "include")}):
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(f for f in folders if f != "site-packages")
            for name in sorted(names):
                path = Path(folder, name)
                if path.suffix in found and path.stat().st_size >= 64:
                    found[path.suffix].append(path)
    enough = [ending for ending, files in found.items() if len(files) >= EACH]
    rng = np.random.default_rng(seed)
    return {
        ENDINGS[ending]: [found[ending][i] for i in rng.permutation(len(found[ending]))]
        for ending in enough[:TYPES]
    }


WHERE = "strongest"


def case() -> tuple[Case, dict]:
    """Ten files of each type are measured, others of the same types trained on."""
    files = installed()
    types = np.repeat(list(files), EACH)
    x = np.stack([as_tokens(p) for of_type in files.values() for p in of_type[:EACH]])
    others = [p for of_type in files.values() for p in of_type[EACH : 2 * EACH]]
    np.random.default_rng(0).shuffle(others)  # a threshold is no use on sorted data
    model = network()
    y, names = model.predict(x, batch_size=25, verbose=0), np.array(type_names())
    raw, exact = (of_onnxruntime(x, exact) for exact in (False, True))
    checks = {
        "files": len(x),
        "types": list(files),
        "difference": float(np.abs(y - exact).max()),
        "difference in float32": float(np.abs(y - raw).max()),
        "same answers": int((y.argmax(-1) == raw.argmax(-1)).sum()),
        "right": float(np.mean(names[y.argmax(-1)] == types)),
    }
    found = Case(
        model,
        x,
        {WHERE: lambda z: (z, types)},
        WHERE,
        np.stack([as_tokens(p) for p in others]),
        lambda model: km.insert_after(model, WHERE, penalty(0.1)),
        "categorical_crossentropy",
        rate=1e-3,
        batch=25,
        epochs=2,
        answer=lambda y: y.argmax(-1),
    )
    return found, checks


def describe(case: Case, done: Done) -> None:
    """Add to the table's neurons the twenty bytes at which each is strongest."""
    top = [row for row in done.figures["layers"][WHERE]["top"] if row["sign"] > 0]
    numbers = [row["neuron"] for row in top]
    files = done.before[WHERE][:, numbers].argmax(axis=0)
    x = case.x[files]
    found = km.analysis.activations(case.model, x, ["patterns"], case.batch)
    for row, tokens, z in zip(top, x, found["patterns"], strict=True):
        first = 4 * int(z[:, row["neuron"]].argmax())
        row["strongest"] = as_text(tokens[first : first + 20])
    for row in done.figures["layers"][WHERE]["top"]:
        row.setdefault("strongest", "–")


def as_text(tokens: np.ndarray) -> str:
    """Bytes as they are read; `·` for what is no letter, digit or common sign."""
    common = {*range(32, 127)} - {*b"`|\\"}
    return "".join(chr(t) if t in common else "·" for t in tokens.tolist())
