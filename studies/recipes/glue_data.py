"""The GLUE files as published: what their columns, labels and sizes are."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common import Problem, check_size, expected

ENTAILMENT = ("entailment", "not_entailment")
MNLI = ("contradiction", "entailment", "neutral")


@dataclass(frozen=True)
class Task:
    """`columns` are looked for by name; numbers count from 0 in a file without names.

    `labels` is None for a score between 0 and 5. `metrics` begins with the one that the
    papers' table has. A size that is published in two versions is a tuple.
    """

    columns: tuple
    label: str | int
    labels: tuple | None
    metrics: tuple
    train: int | tuple
    dev: dict
    width: int | None = None  # of a file without column names
    broken_lines: bool = False


# The files of gluebenchmark.com. QQP's have a few records that are broken over two
# lines, which is why two sizes of it are in use.
TASKS = {
    "CoLA": Task((3,), 1, ("0", "1"), ("matthews", "accuracy"), 8551, {"dev": 1043}, 4),
    "SST-2": Task(
        ("sentence",), "label", ("0", "1"), ("accuracy",), 67349, {"dev": 872}
    ),
    "MRPC": Task(
        ("#1 String", "#2 String"),
        "Quality",
        ("0", "1"),
        ("f1", "accuracy"),
        3668,
        {"dev": 408},
    ),
    "STS-B": Task(
        ("sentence1", "sentence2"),
        "score",
        None,
        ("spearman", "pearson"),
        5749,
        {"dev": 1500},
    ),
    "QQP": Task(
        ("question1", "question2"),
        "is_duplicate",
        ("0", "1"),
        ("f1", "accuracy"),
        (363846, 363849),
        {"dev": 40430},
        broken_lines=True,
    ),
    "MNLI": Task(
        ("sentence1", "sentence2"),
        "gold_label",
        MNLI,
        ("accuracy",),
        392702,
        {"dev_matched": 9815, "dev_mismatched": 9832},
    ),
    "QNLI": Task(
        ("question", "sentence"),
        "label",
        ENTAILMENT,
        ("accuracy",),
        104743,
        {"dev": 5463},
    ),
    "RTE": Task(
        ("sentence1", "sentence2"),
        "label",
        ENTAILMENT,
        ("accuracy",),
        2490,
        {"dev": 277},
    ),
}


@dataclass
class Split:
    """Texts, a tuple of one or two a sample; labels as indices or scores."""

    texts: list
    labels: np.ndarray
    left_out: int = 0

    def counts(self, task):
        if task.labels is None:
            return {"lowest": self.labels.min(), "highest": self.labels.max()}
        found = np.bincount(self.labels, minlength=len(task.labels))
        return dict(zip(task.labels, found.tolist(), strict=True))


def rows_of(path):
    """Lines end in a newline only and quotes mean nothing.

    Python's own idea of a line would break at characters that texts contain.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise Problem(
            f"{path} is missing. Download the task from gluebenchmark.com/tasks, "
            "unpack it, and pass the folder that holds the task's folder as --data."
        ) from None
    except UnicodeDecodeError as error:
        raise Problem(f"{path} is not UTF-8 text ({error}). Unpack it again.") from None
    lines = text.split("\n")
    return [x.removesuffix("\r").split("\t") for x in lines if x.strip("\r")]


def positions(path, task, rows):
    """Where the texts and the label stand, and the rows without the names."""
    wanted = (*task.columns, task.label)
    if task.width is not None:
        width = len(rows[0]) if rows else 0
        if width != task.width or rows[0][task.label] not in task.labels:
            raise expected(
                f"{path}, line 1",
                f"{task.width} columns without names, of which the second is 0 or 1",
                f"{width} columns: {rows[0] if rows else []}",
                "Use the train.tsv and dev.tsv of the published archive as they are.",
            )
        return wanted, task.width, rows
    names = rows[0] if rows else []
    missing = [name for name in wanted if name not in names]
    if missing:
        raise expected(
            f"{path}, line 1",
            f"the columns {', '.join(wanted)} among the names",
            f"{names}, without {', '.join(missing)}",
            "Is it another task's file, or one without its line of names?",
        )
    return tuple(names.index(name) for name in wanted), len(names), rows[1:]


def read_split(path, task):
    where, width, rows = positions(path, task, rows_of(path))
    texts, labels, left_out = [], [], 0
    for number, row in enumerate(rows, 2 - (task.width is not None)):
        if len(row) != width:
            if task.broken_lines:
                left_out += 1
                continue
            raise expected(
                f"{path}, record {number}",
                f"{width} columns",
                f"{len(row)}: {row}",
                "Tabs separate columns and quotes mean nothing; was it edited?",
            )
        texts.append(tuple(row[i] for i in where[:-1]))
        labels.append(label_of(path, number, task, row[where[-1]]))
    kind = "float32" if task.labels is None else "int32"
    return Split(texts, np.array(labels, kind), left_out)


def label_of(path, number, task, text):
    if task.labels is None:
        try:
            score = float(text)
        except ValueError:
            score = -1.0
        if 0 <= score <= 5:
            return score
    elif text in task.labels:
        return task.labels.index(text)
    wanted = "a score from 0 to 5" if task.labels is None else " or ".join(task.labels)
    raise expected(
        f"{path}, record {number}, label", wanted, repr(text), "Is it a test file?"
    )


def read_task(folder, name, allow_other_sizes=False):
    """{"train": Split, "dev": Split}, for MNLI with two dev splits; all of it checked.

    The second result says whether every split has its published size.
    """
    task, folder = TASKS[name], Path(folder) / name
    sizes = {"train": task.train, **task.dev}
    splits = {s: read_split(folder / f"{s}.tsv", task) for s in sizes}
    published = True
    for split, size in sizes.items():
        what = f"{folder / split}.tsv, number of samples"
        number = len(splits[split].texts)
        published &= check_size(what, size, number, allow_other_sizes)
        counts = splits[split].counts(task)
        if task.labels is not None and not all(counts.values()):
            raise expected(
                f"{folder / split}.tsv, labels",
                f"all of {', '.join(task.labels)}",
                f"{counts}",
                "A split without one of its classes cannot be trained or scored on.",
            )
    return splits, published
