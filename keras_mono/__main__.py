"""`python -m keras_mono report`: the page of `keras_mono.analysis.report`."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import keras
import numpy as np

from keras_mono import analysis


def main(given: list[str] | None = None) -> int:
    """Run the command and return the exit status: 2 after a reported error."""
    arguments = _parser().parse_args(given)
    try:
        path = _report(arguments)
    except (ImportError, OSError, ValueError) as error:
        _tell(f"error: {error}", sys.stderr)
        return 2
    except Exception as error:  # what backends raise on data that do not fit
        _tell(f"error: {_on_data(error)}", sys.stderr)
        return 2
    _tell(f"wrote {path}", sys.stdout)
    return 0


def _tell(text: str, stream: TextIO) -> None:
    """Also names with bytes that are no text."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream)


def _on_data(error: Exception) -> str:
    return (
        f"the report could not be made: {type(error).__name__}: {error}\nLook whether "
        "the models can run on these data, for example whether ids lie within the "
        "vocabulary; `keras_mono.analysis.report` from Python shows where it failed."
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m keras_mono")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    report = commands.add_parser(
        "report",
        help="a page on which neurons are monosemantic, and for what",
        description="Write a page on which neurons are monosemantic, and for what. "
        "KERAS_BACKEND decides where the models run. Several models are compared with "
        "the first.",
    )
    add = report.add_argument
    add("models", nargs="+", type=Path, metavar="MODEL.keras")
    add(
        "--data",
        type=Path,
        required=True,
        metavar="DATA.npz",
        help="arrays saved by numpy.savez: `labels`, and the inputs as `x`, or by name",
    )
    add("--layers", nargs="+", required=True, help="names of layers")
    add("--out", type=Path, default=Path("report.html"), help="default: report.html")
    add("--title", default="What the neurons answer to")
    add("--batch-size", type=int, default=128, help="default: 128")
    return parser


def _report(arguments: argparse.Namespace) -> Path:
    data, labels = _loaded(arguments.data)
    paths = arguments.models
    if len({path.resolve() for path in paths}) < len(paths):
        raise ValueError(f"Name each model once. Received: {[str(p) for p in paths]}.")
    names = [path.stem for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    models = {name: _model(path) for name, path in zip(names, paths, strict=True)}
    return analysis.report(
        models,
        data,
        labels,
        arguments.layers,
        arguments.out,
        arguments.title,
        arguments.batch_size,
    )


def _model(path: Path) -> keras.Model:
    try:
        return keras.models.load_model(path)
    except Exception as error:  # Keras raises what it comes across
        raise ValueError(
            f"'{path}' is not a model that can be loaded here: {error}\nA model with "
            "layers of your own is reported on from Python, with "
            "`keras_mono.analysis.report`."
        ) from error


def _loaded(path: Path) -> tuple[Any, np.ndarray]:
    try:
        with path.open("rb") as file:
            loaded = np.load(file)
            arrays = dict(loaded) if isinstance(loaded, Mapping) else {}
    except FileNotFoundError:
        raise
    except Exception as error:  # what a zip file's parts raise when they are damaged
        raise ValueError(
            f"'{path}' is not a file of numpy.savez that is whole and unencrypted, or "
            f"it holds Python objects: {type(error).__name__}: {error}. Save labels as "
            "strings or numbers: `labels.astype(str)`."
        ) from error
    if "labels" not in arrays or len(arrays) < 2:
        raise ValueError(
            f"'{path}' must hold the array `labels` and the inputs, as `x` or by their "
            f"names. Received: {sorted(arrays)}. Save it with `numpy.savez('data.npz', "
            "x=inputs, labels=labels)`."
        )
    labels = arrays.pop("labels")
    return (arrays["x"] if list(arrays) == ["x"] else arrays), labels


if __name__ == "__main__":
    sys.exit(main())
