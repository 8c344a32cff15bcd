"""Labelled texts from installed packages: natural and programming languages."""

import sys
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_mono._internal import validation
from keras_mono._internal.optional_imports import require

LOCALES = ("de", "en", "es", "fi", "fr", "it", "nl", "pl", "pt", "ru", "sv", "tr")
CODE = {
    "python": (".py",),
    "c": (".h", ".c", ".hpp"),
    "rst": (".rst",),
    "json": (".json",),
    "fortran": (".f", ".f90"),
    "html": (".html", ".htm"),
    "css": (".css",),
    "javascript": (".js",),
}
_FILES = 40  # per language at most


class LabelledTexts(NamedTuple):
    """Texts and their labels.

    Attributes:
        texts: A list of strings.
        labels: An array with one string per text.
    """

    texts: list[str]
    labels: np.ndarray

    def as_bytes(self, length: int) -> np.ndarray:
        """UTF-8 bytes plus 1, truncated or padded with 0: `(texts, length)`, int32."""
        rows: np.ndarray = np.zeros((len(self.texts), length), "int32")
        for row, text in zip(rows, self.texts, strict=True):
            values = np.frombuffer(text.encode("utf-8")[:length], np.uint8)
            row[: len(values)] = values.astype("int32") + 1
        return rows

    def byte_pieces(self, length: int) -> list[list[str]]:
        """What stands at each position of `as_bytes(length)`, for `report(shown=...)`.

        A character of several bytes stands at its first; the others are empty texts.
        """
        found = []
        for text in self.texts:
            each = [
                piece
                for character in text[:length]
                for piece in (character, *[""] * (len(character.encode("utf-8")) - 1))
            ]
            found.append(each[:length])
        return found

    def as_characters(
        self, length: int, vocabulary: str | None = None
    ) -> tuple[np.ndarray, str]:
        """Characters as their index in a vocabulary, counted from 1.

        Args:
            length: Characters per text: truncated, or padded with 0.
            vocabulary: The characters that are known; others become the number after
                the last. None: all that occur, in order.

        Returns:
            An array `(texts, length)`, int32, and the vocabulary.
        """
        if vocabulary is None:
            vocabulary = "".join(sorted(set().union(*self.texts)))
        places = {character: i for i, character in enumerate(vocabulary, 1)}
        rows: np.ndarray = np.zeros((len(self.texts), length), "int32")
        for row, text in zip(rows, self.texts, strict=True):
            numbers = [places.get(c, len(vocabulary) + 1) for c in text[:length]]
            row[: len(numbers)] = numbers
        return rows, vocabulary


def natural_languages(
    locales: Sequence[str] = LOCALES, most: int | None = None, seed: int = 0
) -> LabelledTexts:
    """Words and phrases of several languages, from the CLDR data in Babel.

    These are the names of territories, languages, currencies, months and days. Each
    occurs once; names that are equal in two of the languages are left out.

    Args:
        locales: CLDR locales, which are the labels.
        most: At most so many a language, drawn at random; None: all.
        seed: Of the draw, and of the order.

    Returns:
        `LabelledTexts`, in random order.

    Raises:
        ImportError: if Babel is missing, naming the extra.
        ValueError: for a locale that Babel does not know, one of which nothing is
            left, and a `most` below 1.

    Example:

    >>> found = km.analysis.natural_languages(["de", "fr"], most=50)
    >>> len(found.texts), found.as_bytes(16).shape
    (100, (100, 16))
    """
    _check_most(most)
    phrases = {name: _phrases(name) for name in locales}
    return _drawn(_of_one_only(phrases), most, seed)


def _phrases(name: str) -> set[str]:
    """Names that CLDR has in a locale's language."""
    core = require("babel.core")
    try:
        locale = core.Locale.parse(name)
    except (ValueError, core.UnknownLocaleError) as error:
        raise ValueError(
            f"`locales` must name CLDR locales such as 'de'. Received: {name!r}."
        ) from error
    tables = [locale.territories, locale.languages, locale.currencies]
    for kind in ("months", "days"):
        widths = getattr(locale, kind)
        tables += [widths[use]["wide"] for use in ("format", "stand-alone")]
    words = {str(text).strip() for table in tables for text in table.values()}
    return {text for text in words if any(c.isalpha() for c in text)}


def code_languages(
    languages: Mapping[str, Sequence[str]] = CODE,
    length: int = 128,
    most: int | None = 500,
    roots: Iterable[str | Path] | None = None,
    seed: int = 0,
) -> LabelledTexts:
    """Pieces of source code of several languages, from installed files.

    They come from the files with an extension of the language below the interpreter's
    own paths (standard library, installed packages and headers): at most 40 files per
    language, spread evenly over the sorted paths, and of each the first 16 pieces or
    fewer. Pieces of blanks alone and pieces in two languages are left out.

    Args:
        languages: Label to extensions.
        length: Characters per piece.
        most: At most so many pieces a language, drawn at random; None: all.
        roots: Folders to look in instead of the interpreter's.
        seed: Of the draw, and of the order.

    Returns:
        `LabelledTexts`, in random order. What is installed differs by machine, and so
        do the texts.

    Raises:
        ValueError: if a language has no file, naming those that have, if no piece of
            it is left, and for a `most` below 1.

    Example:

    >>> found = km.analysis.code_languages({"python": [".py"], "c": [".h"]}, most=20)
    >>> sorted(set(found.labels.tolist()))
    ['c', 'python']
    """
    _check_most(most)
    folders = [Path(r) for r in (_interpreter_paths() if roots is None else roots)]
    files = _files_of(languages, folders)
    pieces = {name: _pieces(paths, length) for name, paths in files.items()}
    return _drawn(_of_one_only(pieces), most, seed)


def _files_of(
    languages: Mapping[str, Sequence[str]], folders: Sequence[Path]
) -> dict[str, list[Path]]:
    """The files below the folders by language, or an error for one without any."""
    extensions = {e for several in languages.values() for e in several}
    by_extension: dict[str, list[Path]] = {e: [] for e in extensions}
    for folder in folders:
        for path in folder.rglob("*"):
            if path.suffix in by_extension:
                by_extension[path.suffix].append(path)
    files = {
        name: sorted({p for e in several for p in by_extension[e]})
        for name, several in languages.items()
    }
    empty = [name for name, paths in files.items() if not paths]
    if empty:
        raise ValueError(
            f"No file of {empty} was found below {[str(f) for f in folders]}. There "
            f"are files of {[n for n in files if n not in empty]}: choose among these "
            "with `languages`, or name other folders with `roots`."
        )
    return files


def _interpreter_paths() -> list[str]:
    found = sysconfig.get_paths()
    below = [found[key] for key in ("stdlib", "purelib", "platlib", "include")]
    inside = {str(Path(p).resolve()) for p in [*below, sys.prefix] if Path(p).is_dir()}
    # None inside another: every file once.
    return sorted(
        p for p in inside if not any(p != q and p.startswith(q + "/") for q in inside)
    )


def _pieces(paths: list[Path], length: int) -> set[str]:
    few = np.linspace(0, len(paths) - 1, min(len(paths), _FILES)).round().astype(int)
    pieces = set()
    for path in (paths[i] for i in few):
        try:
            text = path.read_text("utf-8")[: 16 * length]
        except (OSError, UnicodeDecodeError):
            continue
        for start in range(0, len(text) - length + 1, length):
            piece = text[start : start + length]
            if not piece.isspace():
                pieces.add(piece)
    return pieces


def _of_one_only(texts: Mapping[str, set[str]]) -> dict[str, list[str]]:
    """Each language's texts that no other language has, sorted."""
    return {
        name: sorted(own - set().union(*(o for n, o in texts.items() if n != name)))
        for name, own in texts.items()
    }


def _check_most(most: int | None) -> None:
    if most is not None:
        advice = " Pass None for all of them."
        validation.positive_integer("most", most, "of texts a language", advice)


def _drawn(texts: Mapping[str, list[str]], most: int | None, seed: int) -> Any:
    empty = [name for name, own in texts.items() if not own]
    if empty:
        raise ValueError(
            f"Nothing is left of {empty}: every text of theirs is too short, or stands "
            "in another language too. Ask for shorter pieces or other languages."
        )
    rng = np.random.default_rng(seed)
    pairs = []
    for name, own in texts.items():
        few = rng.permutation(len(own))[: len(own) if most is None else most]
        pairs += [(own[i], name) for i in few]
    order = rng.permutation(len(pairs))
    return LabelledTexts(
        [pairs[i][0] for i in order], np.array([pairs[i][1] for i in order])
    )
