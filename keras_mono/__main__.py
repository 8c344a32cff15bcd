"""The command `keras-mono`: `keras-mono report` is `keras_mono.analysis.report`."""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

import keras
import numpy as np

from keras_mono import analysis


def main(given: list[str] | None = None) -> int:
    """Run the command and return the exit status: 2 after a reported error."""
    arguments = _parser().parse_args(given)
    try:
        paths = _report(arguments)
    except (ImportError, OSError, ValueError) as error:
        _tell(f"error: {error}", sys.stderr)
        return 2
    except Exception as error:  # what backends raise on data that do not fit
        _tell(
            f"error: the report could not be made: {type(error).__name__}: {error}\n"
            "Look whether the models can run on these data, for example whether ids "
            "lie within the vocabulary; `keras_mono.analysis.report` from Python shows "
            "where it failed.",
            sys.stderr,
        )
        return 2
    for path in paths:
        _tell(f"wrote {path}", sys.stdout)
    return 0


def _tell(text: str, stream: TextIO) -> None:
    """Also names with bytes that are no text."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream)


def _called_as() -> str:
    """`keras-mono`, or `python -m keras_mono`."""
    name = Path(sys.argv[0]).stem
    return name if name == "keras-mono" else "python -m keras_mono"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=_called_as())
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    report = commands.add_parser(
        "report",
        help="a page on which neurons are monosemantic, and for what",
        description="Write a page on which neurons are monosemantic, and for what. "
        "KERAS_BACKEND decides where the models run. Several models are compared with "
        "the first.",
    )
    _add_arguments(report.add_argument)
    return parser


def _add_arguments(add: Callable[..., Any]) -> None:
    add("models", nargs="+", type=Path, metavar="MODEL.keras")
    add(
        "--data",
        type=Path,
        required=True,
        metavar="DATA.npz",
        help="arrays saved by numpy.savez: `labels`, and the inputs as `x`, or by name",
    )
    add("--layers", nargs="+", required=True, help="names of layers")
    add(
        "--html",
        "--out",
        type=Path,
        metavar="PAGE.html",
        help="where to write the page; default: report.html, none with --json alone",
    )
    add("--json", type=Path, metavar="REPORT.json", help="where to write it as JSON")
    add("--top", type=int, default=6, help="strongest inputs of a neuron; default: 6")
    add(
        "--shown",
        metavar="NAME",
        help="the array of DATA.npz with what to show for each sample: images, texts, "
        "or texts for each position",
    )
    add("--title", default="What the neurons answer to")
    add("--batch-size", type=int, default=128, help="default: 128")


def _report(arguments: argparse.Namespace) -> list[Path]:
    data, labels, shown = _loaded(arguments.data, arguments.shown)
    page, json = arguments.html, arguments.json
    if page is None and json is None:
        page = Path("report.html")
    paths = arguments.models
    if len({path.resolve() for path in paths}) < len(paths):
        raise ValueError(f"Name each model once. Received: {[str(p) for p in paths]}.")
    names = [path.stem for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    models = {name: _model(path) for name, path in zip(names, paths, strict=True)}
    analysis.report(
        models,
        data,
        labels,
        arguments.layers,
        page,
        arguments.title,
        arguments.batch_size,
        json=json,
        top=arguments.top,
        shown=shown,
    )
    return [path for path in (page, json) if path is not None]


def _model(path: Path) -> keras.Model:
    try:
        return keras.models.load_model(path)
    except Exception as error:  # Keras raises what it comes across
        raise ValueError(
            f"'{path}' is not a model that can be loaded here: {error}\nA model with "
            "layers of your own is reported on from Python, with "
            "`keras_mono.analysis.report`."
        ) from error


def _loaded(path: Path, shown: str | None) -> tuple[Any, np.ndarray, Any]:
    """The inputs, the labels, and what to show for the samples."""
    arrays = _arrays(path)
    apart = {"labels", shown} - {"x"}  # `x` may be shown and go into the model
    inputs = {name: x for name, x in arrays.items() if name not in apart}
    if not inputs or not {"labels", shown or "labels"} <= set(arrays):
        and_shown = "" if shown is None else f", the array `{shown}` to show"
        raise ValueError(
            f"'{path}' must hold the array `labels`{and_shown} and the inputs, as `x` "
            f"or by their names. Received: {sorted(arrays)}. Save it with "
            "`numpy.savez('data.npz', x=inputs, labels=labels)`."
        )
    looks = None if shown is None else arrays[shown]
    return inputs["x"] if list(inputs) == ["x"] else inputs, arrays["labels"], looks


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as file:
            loaded = np.load(file)
            return dict(loaded) if isinstance(loaded, Mapping) else {}
    except FileNotFoundError:
        raise
    except Exception as error:  # what a zip file's parts raise when they are damaged
        raise ValueError(
            f"'{path}' is not a file of numpy.savez that is whole and unencrypted, or "
            f"it holds Python objects: {type(error).__name__}: {error}. Save labels as "
            "strings or numbers: `labels.astype(str)`."
        ) from error


if __name__ == "__main__":
    sys.exit(main())
