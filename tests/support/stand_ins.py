"""Tiny data sets in exactly the published formats, and weights to go with them.

What the recipes in studies/recipes read. The words are ours.
"""

import zlib
from datetime import datetime, timedelta

import numpy as np

# What breaks careless readers: quotes that do not close, a quote alone, characters that
# Python takes for the end of a line, accents, another script, and an empty text.
TEXTS = [
    'the "cat sat',
    '"',
    "dogs ran \x85 home",
    "caf\u00e9 \u2028 crowd's",
    "猫 the mat",
    "a cat, a dog & \\t none",
    "the dogs' mat is 'red",
    "",
]
WORDS = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "dog", "##s"),
    *("ran", "home", "crowd", "a", "mat", "is", "red", "none", "'", '"', ",", "&"),
]
CLASSES = {
    "CoLA": ["0", "1"],
    "SST-2": ["0", "1"],
    "MRPC": ["0", "1"],
    "QQP": ["0", "1"],
    "MNLI": ["neutral", "entailment", "contradiction"],
    "QNLI": ["not_entailment", "entailment"],
    "RTE": ["not_entailment", "entailment"],
}
PARSES = ["sentence1_binary_parse", "sentence2_binary_parse"]
PARSES += ["sentence1_parse", "sentence2_parse"]
MNLI = ["index", "promptID", "pairID", "genre", *PARSES, "sentence1", "sentence2"]
NAMES = {
    "CoLA": None,
    "SST-2": ["sentence", "label"],
    "MRPC": ["Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"],
    "QQP": ["id", "qid1", "qid2", "question1", "question2", "is_duplicate"],
    "STS-B": [
        *("index", "genre", "filename", "year", "old_index", "source1", "source2"),
        *("sentence1", "sentence2", "score"),
    ],
    "MNLI": [*MNLI, "label1", "gold_label"],
    "QNLI": ["index", "question", "sentence", "label"],
    "RTE": ["index", "sentence1", "sentence2", "label"],
}
MNLI_DEV = [*MNLI, "label1", "label2", "label3", "label4", "label5", "gold_label"]


def glue_row(task, i, names):
    """Sample i: its fields as the file has them, its texts, and its label."""
    first, second = TEXTS[i % len(TEXTS)], TEXTS[(i + 3) % len(TEXTS)]
    if task == "STS-B":
        label = f"{(i * 0.7) % 5:.3f}"
    else:
        label = CLASSES[task][i % len(CLASSES[task])]
    if task == "CoLA":
        return ["gj04", label, "" if label == "1" else "*", first], (first,), label
    fields = {name: f"{name}{i}" for name in names} | {"index": str(i), "id": str(i)}
    if task == "SST-2":
        return [first, label], (first,), label
    for name in ("sentence1", "question1", "question", "#1 String"):
        fields[name] = first
    # QNLI alone has a `sentence` that is the second text.
    for name in ("sentence2", "question2", "sentence", "#2 String"):
        fields[name] = second
    for name in ("label1", "label", "gold_label", "is_duplicate", "Quality", "score"):
        fields[name] = label
    # An annotator may disagree: a reader that takes `label1` is wrong.
    if "label5" in names:
        fields["label1"] = CLASSES[task][(i + 1) % 3]
    return [fields[name] for name in names], (first, second), label


def glue(folder, task, samples):
    """`samples` by split. Writes the files; gives texts and labels by split."""
    (folder / task).mkdir(parents=True)
    expected = {}
    for split, number in samples.items():
        dev_of_mnli = task == "MNLI" and split != "train"
        names = MNLI_DEV if dev_of_mnli else NAMES[task]
        rows = [glue_row(task, i, names) for i in range(number)]
        lines = [] if names is None else [names]
        lines += [fields for fields, _, _ in rows]
        text = "\n".join("\t".join(x) for x in lines) + "\n"
        # MRPC comes from Microsoft's files, which begin with a byte order mark.
        encoding = "utf-8-sig" if task == "MRPC" else "utf-8"
        path = folder / task / f"{split}.tsv"
        path.write_bytes(text.encode(encoding))
        expected[split] = ([texts for _, texts, _ in rows], [x for _, _, x in rows])
    return expected


def bert(folder, blocks=6):
    """A preset of a random small BERT with its vocabulary, as KerasHub saves one."""
    import keras_hub

    tokenizer = keras_hub.models.BertTokenizer(vocabulary=WORDS, lowercase=True)
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=len(WORDS),
        num_layers=blocks,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=8,
        max_sequence_length=32,
        name="bert_backbone",  # whatever was made before in this process
    )
    backbone.save_to_preset(str(folder))
    tokenizer.save_to_preset(str(folder))


def swin(folder):
    """A preset of a random small Swin whose third stage has 4 blocks, 2 before it."""
    import keras_hub

    backbone = keras_hub.models.SwinTransformerBackbone(
        image_shape=(16, 16, 3),
        patch_size=2,
        embed_dim=4,
        depths=(1, 1, 4),
        num_heads=(1, 1, 2),
        window_size=2,
        name="swin_transformer_backbone",
    )
    backbone.save_to_preset(str(folder))


def imagenet(folder, synsets=3, train=4, val=2):
    """Folders of JPEGs: of colours, one grey and one CMYK, as ImageNet has them."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for split, number in {"train": train, "val": val}.items():
        for synset in range(synsets):
            parent = folder / split / f"n{1440764 + synset:08d}"
            parent.mkdir(parents=True)
            for i in range(number):
                mode = ("RGB", "L", "CMYK")[i % 3]
                shape = (20, 26, len(mode)) if mode != "L" else (20, 26)
                pixels = rng.integers(256, size=shape).astype("uint8")
                image = Image.frombytes(mode, (26, 20), pixels.tobytes())
                image.save(parent / f"{parent.name}_{i}.JPEG")


def hko7(folder, side=480, hours=3, gap=None, train=("20090215",), test=("20150107",)):
    """Radar frames every 6 minutes from midnight, masks, and the lists of days.

    `gap` is the number of a frame that is missing.
    """
    from PIL import Image

    rng = np.random.default_rng(0)
    for split, days in {"train": train, "valid": train, "test": test}.items():
        lines = "".join(f"{day}, 0.1\n" for day in days)
        (folder / f"hko7_rainy_{split}_days.txt").write_text(lines)
        for day in days:
            midnight = datetime.strptime(day, "%Y%m%d")
            for i in range(hours * 10):
                time = midnight + i * timedelta(minutes=6)
                place = time.strftime("%Y/%m/%d/RAD%y%m%d%H%M00")
                if i == gap:
                    continue
                pixels = rng.integers(256, size=(side, side)).astype("uint8")
                mask = rng.random((side, side)) < 0.8
                png = folder / "radarPNG" / f"{place}.png"
                file = folder / "radarPNG_mask" / f"{place}.mask"
                for path in (png, file):
                    path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(png)
                file.write_bytes(zlib.compress(mask.tobytes(), 2))
