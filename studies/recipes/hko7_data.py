"""HKO-7 as the Hong Kong Observatory hands it out, as batches for `fit`.

Facts from the benchmark (Shi et al. 2017, arXiv:1706.03458) and its repository.
"""

import re
import zlib
from datetime import datetime, timedelta
from pathlib import Path

import keras
import numpy as np
from common import Problem, check_size, expected
from PIL import Image

SIZE = 480
DAYS = {"train": 812, "valid": 50, "test": 131}  # rainy days of 2009-2014; of 2015
STEP = timedelta(minutes=6)
INPUTS, OUTPUTS = 5, 20
Z_R = (58.53, 1.56)  # Z = a R^b, fitted for Hong Kong
THRESHOLDS, WEIGHTS = (2, 5, 10, 30), (1, 2, 5, 10, 30)  # mm/h; of the pixels between


def rain_rate(pixel):
    """mm/h of a pixel value in [0, 1], which stands for -10 to 60 dBZ."""
    a, b = Z_R
    return 10 ** ((70 * pixel - 10 - 10 * np.log10(a)) / (10 * b))


def pixel_value(rate):
    a, b = Z_R
    return (10 * b * np.log10(rate) + 10 * np.log10(a) + 10) / 70


def days_of(folder, split, allow_other_sizes):
    """The split's days, such as "20090215", and whether their number is published."""
    path = Path(folder) / f"hko7_rainy_{split}_days.txt"
    if not path.is_file():
        raise Problem(
            f"{path} is missing. The lists of days are in the folder hko_data of "
            "github.com/sxjscience/HKO-7; put them beside radarPNG."
        )
    lines = [x for x in path.read_text("utf-8").splitlines() if x.strip()]
    for number, line in enumerate(lines, 1):
        if not re.fullmatch(r"\d{8}\s*,\s*[\d.]+\s*", line):
            raise expected(
                f"{path}, line {number}",
                "a day and its intensity, such as '20090215, 0.1'",
                repr(line),
                "Use the file as published.",
            )
    what = f"{path}, number of days"
    published = check_size(what, DAYS[split], len(lines), allow_other_sizes)
    return [line.split(",")[0].strip() for line in lines], published


def frames_of(folder, days):
    """{time: path} of the radar frames of these days, each of which needs some."""
    found = {}
    for day in days:
        parent = Path(folder) / "radarPNG" / day[:4] / day[4:6] / day[6:]
        names = sorted(parent.glob("RAD*.png")) if parent.is_dir() else []
        if not names:
            raise expected(
                f"{parent}",
                f"frames named RAD{day[2:]}HHMM00.png",
                "none" if parent.is_dir() else "no such folder",
                "Unpack radarPNG into the folder of --data.",
            )
        for path in names:
            match = re.fullmatch(r"RAD(\d{12})\.png", path.name)
            time = match and datetime.strptime(match[1], "%y%m%d%H%M%S")
            if not time or time.strftime("%Y%m%d") != day:
                raise expected(
                    f"{path}", f"RAD{day[2:]}HHMM00.png", path.name, "Take it out."
                )
            found[time] = path
    return found


def starts_of(frames, stride=1):
    """Times at which a sequence without a missing frame starts, `stride` frames apart.

    After a sequence the next begins `stride` frames later, after a gap behind it.
    """
    starts, earliest = [], None
    for time in sorted(frames):
        if earliest is not None and time < earliest:
            continue
        if all(time + i * STEP in frames for i in range(INPUTS + OUTPUTS)):
            starts.append(time)
            earliest = time + stride * STEP
    return starts


def read_frame(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("L"))


def read_mask(path, shape):
    """True where a pixel counts. A .mask file is zlib-compressed, a byte a pixel."""
    parts = list(path.parts)
    parts[len(parts) - 1 - parts[::-1].index("radarPNG")] = "radarPNG_mask"
    path = Path(*parts).with_suffix(".mask")
    try:
        found = np.frombuffer(zlib.decompress(path.read_bytes()), bool)
    except FileNotFoundError:
        raise Problem(
            f"{path} is missing. Unpack radarPNG_mask beside radarPNG."
        ) from None
    except zlib.error as error:
        raise Problem(f"{path} cannot be unpacked ({error}).") from None
    if found.size != shape[0] * shape[1]:
        raise expected(
            f"{path}", f"{shape[0] * shape[1]} pixels", found.size, "Unpack it again."
        )
    return found.reshape(shape)


def read_layout(folder, allow_other_sizes=False):
    """Frames and starts by split, the side of a frame, and if all is as published."""
    splits, published, sides = {}, True, set()
    for split in DAYS:
        days, as_published = days_of(folder, split, allow_other_sizes)
        published &= as_published
        frames = frames_of(folder, days)
        starts = starts_of(frames, 1 if split == "train" else INPUTS)
        if not starts:
            raise expected(
                f"{folder}, {split}",
                f"{INPUTS + OUTPUTS} frames in a row, 6 minutes apart",
                f"none among {len(frames)} frames",
                "Are days incomplete?",
            )
        first = frames[starts[0]]
        shape = read_frame(first).shape
        read_mask(first, shape)
        if shape[0] != shape[1] or shape[0] % 30:
            raise expected(
                f"{first}",
                f"{SIZE} x {SIZE} pixels",
                shape,
                "Use the published frames.",
            )
        what = f"{first}, rows of pixels"
        published &= check_size(what, SIZE, shape[0], allow_other_sizes)
        splits[split] = (frames, starts)
        sides.add(shape[0])
    if len(sides) > 1:
        raise expected(folder, "frames of one size", sides, "Use the published frames.")
    return splits, sides.pop(), published


def sequence(frames, start):
    """Inputs (5, rows, columns, 1); outputs with their mask, (20, rows, columns, 2)."""
    paths = [frames[start + i * STEP] for i in range(INPUTS + OUTPUTS)]
    pixels = np.stack([read_frame(path) for path in paths]).astype("float32") / 255
    masks = [read_mask(path, pixels.shape[1:]) for path in paths[INPUTS:]]
    outputs = np.stack([pixels[INPUTS:], np.stack(masks)], axis=-1)
    return pixels[:INPUTS, ..., None], outputs.astype("float32")


class Sequences(keras.utils.PyDataset):
    """As many batches as there are training steps, each drawn anew; or all in order."""

    def __init__(self, frames, starts, batch_size, steps=None, seed=0, workers=1):
        super().__init__(workers=workers)
        self.frames, self.starts = frames, starts
        self.batch_size, self.steps, self.seed = batch_size, steps, seed

    def __len__(self):
        return self.steps or -(-len(self.starts) // self.batch_size)

    def __getitem__(self, index):
        if self.steps:
            rng = np.random.default_rng((self.seed, index))
            rows = rng.integers(len(self.starts), size=self.batch_size)
        else:
            first = index * self.batch_size
            rows = range(first, min(first + self.batch_size, len(self.starts)))
        drawn = [sequence(self.frames, self.starts[row]) for row in rows]
        return tuple(np.stack(part) for part in zip(*drawn, strict=True))
