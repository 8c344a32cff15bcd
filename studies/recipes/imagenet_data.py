"""ImageNet-1k in its usual folders, as batches for `fit`."""

import re
from pathlib import Path

import keras
import numpy as np
from common import Problem, check_size, expected
from PIL import Image

SYNSETS = 1000
SIZES = {"train": 1_281_167, "val": 50_000}
A_SYNSET = {"train": (732, 1300), "val": (50, 50)}  # fewest and most images
MEAN = np.array([0.485, 0.456, 0.406], "float32")
DEVIATION = np.array([0.229, 0.224, 0.225], "float32")


def images_of(folder):
    """{"n01440764": [paths], ...}, in alphabetical order, as the labels are counted."""
    if not folder.is_dir():
        raise Problem(
            f"{folder} is missing. Expected train/ and val/ in the folder of --data, "
            "each with a folder a synset, such as n01440764. Unpack the archives of "
            "image-net.org so."
        )
    if any(folder.glob("*.JPEG")):
        raise expected(
            folder,
            "folders named n and 8 digits",
            "images that lie in it directly",
            "The archive of the validation images has no folders: sort the images "
            "into those of their synsets first.",
        )
    found = {}
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            if not re.fullmatch(r"n\d{8}", path.name):
                raise expected(
                    folder, "folders named n and 8 digits", path.name, "Take it out."
                )
            found[path.name] = sorted(path.glob("*.JPEG"))
    return found


def read_layout(folder, allow_other_sizes=False):
    """Images by synset for train and val, and whether all sizes are as published."""
    found = {split: images_of(Path(folder) / split) for split in SIZES}
    differing = sorted(set(found["train"]) ^ set(found["val"]))
    if differing:
        raise expected(
            folder,
            "the same synsets in train/ and val/",
            f"{len(differing)} in only one of them: {', '.join(differing[:5])} ...",
            "Is one of the archives incomplete?",
        )
    allow, published = allow_other_sizes, True
    for split, synsets in found.items():
        what = f"{Path(folder) / split}, number of"
        counts = {name: len(paths) for name, paths in synsets.items()}
        published &= check_size(f"{what} synsets", SYNSETS, len(counts), allow)
        total = sum(counts.values())
        published &= check_size(f"{what} images", SIZES[split], total, allow)
        fewest, most = (1, total) if allow else A_SYNSET[split]
        for name, number in counts.items():
            if not fewest <= number <= most:
                raise expected(
                    f"{what} images of {name}",
                    f"{fewest} to {most}",
                    number,
                    "Unpack this synset again.",
                )
    return found, published


class Images(keras.utils.PyDataset):
    """Batches of normalized images and one-hot labels; shuffled anew each epoch.

    Trained on: a random part of an image, perhaps mirrored, mixed with another by mixup
    or CutMix as Swin does. Tested on: the middle of an image, shrunk to 256/224.
    """

    def __init__(self, synsets, size, batch_size, train=False, seed=0, workers=1):
        super().__init__(workers=workers)
        self.items = [(p, i) for i, x in enumerate(synsets.values()) for p in x]
        self.classes, self.size, self.batch_size = len(synsets), size, batch_size
        self.train, self.seed, self.epoch = train, seed, 0
        self._shuffle()

    def __len__(self):
        return -(-len(self.items) // self.batch_size)

    def on_epoch_end(self):
        """Not at the begin: Keras' workers read ahead before that."""
        self.epoch += 1
        self._shuffle()

    def _shuffle(self):
        self.order = np.arange(len(self.items))
        if self.train:
            np.random.default_rng((self.seed, self.epoch)).shuffle(self.order)

    def __getitem__(self, index):
        rng = np.random.default_rng((self.seed, self.epoch, index))
        rows = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        chosen = [self.items[row] for row in rows]
        read = random_part if self.train else middle_part
        x = np.stack([normalized(path, self.size, read, rng) for path, _ in chosen])
        y = np.eye(self.classes, dtype="float32")[[label for _, label in chosen]]
        return mixed(x, y, rng) if self.train else (x, y)


def normalized(path, size, part, rng):
    with Image.open(path) as image:  # some of ImageNet are grey or CMYK
        pixels = np.asarray(part(image.convert("RGB"), size, rng), "float32")
    return (pixels / 255 - MEAN) / DEVIATION


def middle_part(image, size, rng):  # noqa: ARG001
    factor = int(size * 256 / 224) / min(image.size)
    width, height = (max(size, round(side * factor)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - size) // 2, (height - size) // 2
    return image.crop((left, top, left + size, top + size))


def random_part(image, size, rng):
    """8 to 100 % of the area, sides 3:4 to 4:3, as far as it fits; half mirrored."""
    width, height = image.size
    area = width * height * rng.uniform(0.08, 1.0)
    ratio = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
    w = min(width, max(1, round(np.sqrt(area * ratio))))
    h = min(height, max(1, round(np.sqrt(area / ratio))))
    left, top = rng.integers(width - w + 1), rng.integers(height - h + 1)
    box = (left, top, left + w, top + h)
    image = image.resize((size, size), Image.Resampling.BICUBIC, box=box)
    if rng.random() < 0.5:
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return image


def mixed(x, y, rng):
    """Each image with the one at the mirrored place of the batch; labels by share."""
    if rng.random() < 0.5:
        share = rng.beta(0.8, 0.8)
        x = share * x + (1 - share) * x[::-1]
    else:
        size = x.shape[1]
        side = round(size * np.sqrt(1 - rng.beta(1.0, 1.0)))
        top, left = rng.integers(size - side + 1, size=2)
        box = (slice(None), slice(top, top + side), slice(left, left + side))
        other, x = x[::-1].copy(), x.copy()
        x[box] = other[box]
        share = 1 - side**2 / size**2
    mixture = share * y + (1 - share) * y[::-1]
    return x.astype("float32"), mixture.astype("float32")
