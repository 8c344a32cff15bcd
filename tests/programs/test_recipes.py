"""The programs in studies/recipes/ on tiny stand-ins in the published formats.

They never ran on the real data. What can be shown without: that the formats are read
right, that wrong data are refused before training, where the layers stand, what is
tried and what is reported.
"""

import csv
import json
import os
import sys
import zlib
from argparse import Namespace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from support import forked_runs, stand_ins
from support.forked_runs import Run

pytest.importorskip("keras_hub")  # needs a newer Keras than the oldest of ours
pytest.importorskip("PIL")
RECIPES = Path(__file__).resolve().parents[2] / "studies" / "recipes"
sys.path.append(str(RECIPES))

import common  # noqa: E402
import glue_data  # noqa: E402
import glue_metrics  # noqa: E402
import hko7_convgru  # noqa: E402
import hko7_data  # noqa: E402
import imagenet_data  # noqa: E402
from common import Problem  # noqa: E402

SMALL = dict.fromkeys(("train", "dev", "dev_matched", "dev_mismatched"), 12)
# A stand-in's compiled code runs for moments: making it fast is not worth the wait.
QUICK = {"XLA_FLAGS": "--xla_backend_optimization_level=0", "JAX_DISABLE_JIT": "1"}


def samples_of(task):
    return {split: SMALL[split] for split in ("train", *glue_data.TASKS[task].dev)}


@pytest.fixture(scope="module")
def start():
    """Run a recipe; its status, and what it printed."""
    with forked_runs.Forks("keras_hub", **QUICK) as forks:

        def started(recipe, folder, *arguments):
            (done,) = forks.run(Run(RECIPES / recipe, arguments, folder))
            return done

        yield started


def results_of(done, path):
    status, printed = done
    assert status == 0, printed
    found = json.loads(path.read_text("utf-8"))
    assert found["complete"] is True
    assert found["published_sizes"] is False
    assert found["versions"]["backend"] == os.environ["KERAS_BACKEND"]
    for name in ("python", "keras", "keras-hub", "keras_mono", "numpy"):
        assert found["versions"][name]
    return found


# GLUE


@pytest.mark.parametrize("task", glue_data.TASKS)
def test_glue_texts_and_labels_are_what_the_file_says(task, tmp_path):
    expected = stand_ins.glue(tmp_path, task, samples_of(task))
    splits, published = glue_data.read_task(tmp_path, task, allow_other_sizes=True)
    assert not published
    assert set(splits) == set(expected)
    labels = glue_data.TASKS[task].labels
    for name, (texts, written) in expected.items():
        assert splits[name].texts == texts
        found = splits[name].labels.tolist()
        if labels is None:
            assert found == pytest.approx([float(x) for x in written])
        else:
            assert [labels[i] for i in found] == written


def test_the_trap_in_the_glue_texts_is_one(tmp_path):
    """The usual way of reading, with quotes and Python's lines, gets them wrong."""
    expected = stand_ins.glue(tmp_path, "RTE", samples_of("RTE"))
    text = (tmp_path / "RTE" / "train.tsv").read_text("utf-8")
    rows = list(csv.reader(text.splitlines(), delimiter="\t"))[1:]
    assert [tuple(row[1:3]) for row in rows] != expected["train"][0]


def test_published_glue_sizes():
    """Of gluebenchmark.com's archives; MNLI has two dev files."""
    sizes = {k: (t.train, *t.dev.values()) for k, t in glue_data.TASKS.items()}
    assert sizes == {
        "CoLA": (8551, 1043),
        "SST-2": (67349, 872),
        "MRPC": (3668, 408),
        "STS-B": (5749, 1500),
        "QQP": ((363846, 363849), 40430),
        "MNLI": (392702, 9815, 9832),
        "QNLI": (104743, 5463),
        "RTE": (2490, 277),
    }


def test_a_glue_file_of_published_sizes_needs_no_permission(tmp_path):
    stand_ins.glue(tmp_path, "RTE", {"train": 2490, "dev": 277})
    splits, published = glue_data.read_task(tmp_path, "RTE")
    assert published
    assert splits["train"].counts(glue_data.TASKS["RTE"]) == {
        "entailment": 1245,
        "not_entailment": 1245,
    }


def break_file(path, old, new):
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))


@pytest.mark.parametrize(
    ("task", "old", "new", "message"),
    [
        ("RTE", b"sentence2", b"other", "columns sentence1, sentence2, label.*without"),
        ("RTE", b"entailment\n", b"entailment\textra\n", "expected 4 columns, rec"),
        ("RTE", b"\tnot_ent", b"\tno_ent", "record 2, label: expected entailment or"),
        ("CoLA", b"gj04\t0\t*\t", b"sentence\t", "4 columns without names"),
        ("STS-B", b"0.700", b"7", "a score from 0 to 5, received '7'"),
        ("MNLI", b"\tneutral\n", b"\t-\n", "contradiction or entailment or neutral"),
    ],
)
def test_wrong_glue_files_are_refused(task, old, new, message, tmp_path):
    stand_ins.glue(tmp_path, task, samples_of(task))
    break_file(tmp_path / task / "train.tsv", old, new)
    with pytest.raises(Problem, match=message):
        glue_data.read_task(tmp_path, task, allow_other_sizes=True)


def test_wrong_glue_sizes_and_missing_classes_are_refused(tmp_path, capsys):
    stand_ins.glue(tmp_path, "RTE", samples_of("RTE"))
    with pytest.raises(Problem, match=r"expected 2,490 as published, received 12"):
        glue_data.read_task(tmp_path, "RTE")
    glue_data.read_task(tmp_path, "RTE", allow_other_sizes=True)
    assert "expected 277 as published, received 12" in capsys.readouterr().err
    stand_ins.glue(tmp_path / "one", "RTE", {"train": 1, "dev": 12})
    with pytest.raises(Problem, match=r"all of entailment, not_entailment"):
        glue_data.read_task(tmp_path / "one", "RTE", allow_other_sizes=True)


def test_broken_lines_of_qqp_are_left_out_and_counted(tmp_path):
    expected = stand_ins.glue(tmp_path, "QQP", samples_of("QQP"))
    break_file(tmp_path / "QQP" / "train.tsv", b"\tqid23\t", b"\n\tqid23\t")
    splits, _ = glue_data.read_task(tmp_path, "QQP", allow_other_sizes=True)
    assert splits["train"].left_out == 2
    assert splits["train"].texts == expected["train"][0][:3] + expected["train"][0][4:]


def test_glue_metrics_are_those_of_other_libraries():
    metrics = pytest.importorskip("sklearn.metrics")
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    for _ in range(20):
        truth, found = rng.integers(2, size=(2, 30))
        for ours, theirs in [
            (glue_metrics.accuracy, metrics.accuracy_score),
            (glue_metrics.f1, metrics.f1_score),
            (glue_metrics.matthews, metrics.matthews_corrcoef),
        ]:
            assert ours(truth, found) == pytest.approx(theirs(truth, found), abs=1e-12)
        truth = rng.integers(6, size=30) / 2  # with ties
        found = rng.normal(size=30).round(1)
        pearson, spearman = stats.pearsonr(truth, found), stats.spearmanr(truth, found)
        assert glue_metrics.pearson(truth, found) == pytest.approx(pearson[0])
        assert glue_metrics.spearman(truth, found) == pytest.approx(spearman[0])
    nothing = np.zeros(4, int)
    assert glue_metrics.matthews(np.array([0, 1, 0, 1]), nothing) == 0
    assert glue_metrics.f1(nothing, nothing) == 0


def test_the_metrics_of_a_task_are_the_published_ones():
    wanted = {t: x.metrics[0] for t, x in glue_data.TASKS.items()}
    assert wanted == dict.fromkeys(glue_data.TASKS, "accuracy") | {
        "CoLA": "matthews",
        "STS-B": "spearman",
        "QQP": "f1",
        "MRPC": "f1",
    }
    logits = np.array([[2.0, 1], [0, 1], [0, 3], [1, 0]])
    truth = np.array([0, 1, 0, 0])
    found = glue_metrics.scores(glue_data.TASKS["MRPC"], truth, logits)
    assert found == {"f1": pytest.approx(2 / 3), "accuracy": 0.75}


@pytest.mark.slow
def test_glue_recipe(start, tmp_path):
    stand_ins.glue(tmp_path, "MNLI", samples_of("MNLI"))
    stand_ins.bert(tmp_path / "bert", blocks=6)
    options = ["--batch-size", 8, "--length", 12, "--epochs", 1, "--allow-other-sizes"]
    files = ["--data", ".", "--task", "MNLI", "--weights", "./bert", "--out", "r.json"]
    grid = ["--learning-rates", 5e-2, 2e-5, "--method", "memel"]
    done = start("glue_bert.py", tmp_path, *files, *options, *grid)
    found = results_of(done, tmp_path / "r.json")
    assert found["data"]["train"]["labels"] == {
        "contradiction": 4,
        "entailment": 4,
        "neutral": 4,
    }
    runs = found["runs"]
    assert [(r["seed"], r["learning_rate"]) for r in runs] == [(0, 5e-2), (0, 2e-5)]
    assert runs[0]["loss"] != runs[1]["loss"]  # both rates were used
    for one in runs:
        # The middle 4 of 6 blocks, and a layer after each that has seen both batches.
        where = [f"bert_backbone/transformer_layer_{i}" for i in (1, 2, 3, 4)]
        assert one["followed"] == where
        names = [f"transformer_layer_{i}_monosemantic_inhibition" for i in (1, 2, 3, 4)]
        assert [x["layer"] for x in one["layers"]] == names
        assert [x["steps"] for x in one["layers"]] == [2] * 4
        assert (one["k"], one["strength"], one["steps"]) == (1, 1.0, 2)
        assert set(one["metrics"]) == {"dev_matched", "dev_mismatched"}
        assert all(0 <= x["accuracy"] <= 1 for x in one["metrics"].values())
    best = max(r["metrics"]["dev_matched"]["accuracy"] for r in runs)
    assert found["best"]["mean_score"] == best
    assert found["best"]["tried"] == 2


# ImageNet


def test_imagenet_layout_and_labels(tmp_path):
    stand_ins.imagenet(tmp_path)
    synsets, published = imagenet_data.read_layout(tmp_path, allow_other_sizes=True)
    assert not published
    assert list(synsets["train"]) == ["n01440764", "n01440765", "n01440766"]
    data = imagenet_data.Images(synsets["val"], 16, batch_size=4)
    batches = [data[i] for i in range(len(data))]
    assert [x.shape for x, _ in batches] == [(4, 16, 16, 3), (2, 16, 16, 3)]
    labels = np.concatenate([y.argmax(-1) for _, y in batches])
    assert labels.tolist() == [0, 0, 1, 1, 2, 2]  # in the synsets' alphabetical order


def test_imagenet_pixels(tmp_path):
    """A grey image of one value comes out as that value, normalized."""
    from PIL import Image

    path = tmp_path / "grey.JPEG"
    Image.new("L", (40, 30), 128).save(path)
    expected = (128 / 255 - imagenet_data.MEAN) / imagenet_data.DEVIATION
    rng = np.random.default_rng(0)
    for part in (imagenet_data.middle_part, imagenet_data.random_part):
        found = imagenet_data.normalized(path, 16, part, rng)
        assert found.shape == (16, 16, 3)
        assert found[8, 8] == pytest.approx(expected, abs=1e-5)


def test_imagenet_training_batches_are_shuffled_and_mixed(tmp_path):
    stand_ins.imagenet(tmp_path)
    synsets, _ = imagenet_data.read_layout(tmp_path, allow_other_sizes=True)
    data = imagenet_data.Images(synsets["train"], 16, 12, train=True)
    x, y = data[0]
    order = data.order.copy()
    assert sorted(order) == list(range(12))
    np.testing.assert_allclose(y.sum(-1), 1, rtol=1e-6)
    assert ((y > 0).sum(-1) > 1).any()
    again = data[0]
    np.testing.assert_array_equal(x, again[0])
    data.on_epoch_end()
    assert (data.order != order).any()


def test_mixed_labels_say_what_part_of_the_picture_is_whose():
    x = np.stack([np.zeros((8, 8, 3)), np.ones((8, 8, 3))]).astype("float32")
    y = np.eye(2, dtype="float32")
    for seed in range(20):
        pictures, labels = imagenet_data.mixed(x, y, np.random.default_rng(seed))
        np.testing.assert_allclose(pictures.mean((1, 2, 3)), labels[:, 1], atol=1e-5)


def test_wrong_imagenet_layouts_are_refused(tmp_path):
    read = imagenet_data.read_layout
    with pytest.raises(Problem, match="train is missing"):
        read(tmp_path)
    stand_ins.imagenet(tmp_path)
    with pytest.raises(Problem, match=r"synsets: expected 1,000 as published, rec.* 3"):
        read(tmp_path)
    (tmp_path / "val" / "n01440766").rename(tmp_path / "val" / "n99999999")
    with pytest.raises(Problem, match=r"same synsets.*n01440766"):
        read(tmp_path, allow_other_sizes=True)
    (tmp_path / "val" / "loose.JPEG").write_bytes(b"")
    with pytest.raises(Problem, match="lie in it directly"):
        read(tmp_path, allow_other_sizes=True)


def test_published_imagenet_counts(tmp_path, monkeypatch):
    """1,000 synsets, 1,281,167 images, 50 a synset in val: here with small numbers."""
    assert imagenet_data.SYNSETS == 1000
    assert imagenet_data.SIZES == {"train": 1_281_167, "val": 50_000}
    stand_ins.imagenet(tmp_path)
    monkeypatch.setattr(imagenet_data, "SYNSETS", 3)
    monkeypatch.setattr(imagenet_data, "SIZES", {"train": 12, "val": 6})
    counts = {"train": (4, 4), "val": (2, 2)}
    monkeypatch.setattr(imagenet_data, "A_SYNSET", counts)
    assert imagenet_data.read_layout(tmp_path)[1]
    first = tmp_path / "train" / "n01440764" / "n01440764_0.JPEG"
    first.rename(tmp_path / "train" / "n01440765" / "n01440765_9.JPEG")
    with pytest.raises(Problem, match=r"n01440764: expected 4 to 4, received 3"):
        imagenet_data.read_layout(tmp_path)


@pytest.mark.slow
def test_imagenet_recipe(start, tmp_path):
    stand_ins.imagenet(tmp_path)
    stand_ins.swin(tmp_path / "swin")
    options = ["--epochs", 1, "--warm-up-epochs", 0, "--batch-size", 4, "--workers", 1]
    files = ["--data", ".", "--weights", "./swin", "--out", "r.json"]
    more = ["--accumulate", 2, "--allow-other-sizes", "--method", "naive-b"]
    done = start("imagenet_hierarchical.py", tmp_path, *files, *options, *more)
    found = results_of(done, tmp_path / "r.json")
    assert found["data"] == {"synsets": 3, "train": 12, "val": 6}
    (one,) = found["runs"]
    assert (one["k"], one["strength"], one["drop_path"]) == (1, -1.0, 0.2)
    assert one["followed"] == [f"stage_2_block_{i}" for i in range(4)]
    names = [f"stage_2_block_{i}_monosemantic_inhibition" for i in range(4)]
    assert [x["layer"] for x in one["layers"]] == names
    assert [x["steps"] for x in one["layers"]] == [3] * 4
    assert [x["neurons"] for x in one["layers"]] == [2 * 2 * 16] * 4  # every position
    assert 0 <= one["metrics"]["top1"] <= one["metrics"]["top5"] <= 1
    assert found["best"] == {
        "k": 1,
        "strength": -1.0,
        "mean_score": one["metrics"]["top1"],
        "scores": [one["metrics"]["top1"]],
        "tried": 1,
    }


def test_the_best_setting_is_the_best_over_seeds_and_not_the_luckiest_run():
    from common import best_setting

    rows = [(0, 1, 0.9), (1, 1, 0.1), (0, 5, 0.6), (1, 5, 0.7)]
    runs = [{"seed": s, "k": k, "score": x} for s, k, x in rows]
    found = best_setting(runs, ("k",), lambda run: run["score"])
    assert found["k"] == 5
    assert found["scores"] == [0.6, 0.7]
    assert found["mean_score"] == pytest.approx(0.65)


def test_the_order_of_images_changes_when_an_epoch_ends(tmp_path):
    stand_ins.imagenet(tmp_path)
    synsets, _ = imagenet_data.read_layout(tmp_path, allow_other_sizes=True)
    data = imagenet_data.Images(synsets["train"], 16, batch_size=4, train=True)
    first = data.order.copy()
    data.on_epoch_begin()
    np.testing.assert_array_equal(data.order, first)
    data.on_epoch_end()
    assert (data.order != first).any()


def test_weights_of_several_runs_do_not_go_into_one_file():
    from common import check_save_weights

    check_save_weights(None, 3)
    check_save_weights("a.weights.h5", 1)
    with pytest.raises(Problem, match="expected one run, received 3"):
        check_save_weights("a.weights.h5", 3)


def test_blocks_of_the_third_stage():
    from imagenet_hierarchical import middle_of_third_stage

    for depth, blocks in {6: (1, 2, 3, 4), 18: (7, 8, 9, 10)}.items():
        found = middle_of_third_stage(Namespace(depths=(2, 2, depth, 2)))
        assert found == [f"stage_2_block_{i}" for i in blocks]
    with pytest.raises(Problem, match="third stage has 4 blocks or more"):
        middle_of_third_stage(Namespace(depths=(2, 2, 2)))


# HKO-7


def test_hko7_frames_are_read_as_published(tmp_path):
    stand_ins.hko7(tmp_path, hours=3)
    read = hko7_data.read_layout(tmp_path, allow_other_sizes=True)
    splits, side, published = read
    assert (side, published) == (480, False)
    frames, starts = splits["train"]
    assert len(frames) == 30
    assert starts == [datetime(2009, 2, 15, 0, 6 * i) for i in range(6)]
    assert splits["test"][1] == [datetime(2015, 1, 7), datetime(2015, 1, 7, 0, 30)]
    x, y = hko7_data.sequence(frames, starts[1])
    assert x.shape == (5, 480, 480, 1)
    assert y.shape == (20, 480, 480, 2)
    from PIL import Image

    first = tmp_path / "radarPNG/2009/02/15/RAD090215000600.png"
    last = tmp_path / "radarPNG/2009/02/15/RAD090215023000.png"
    np.testing.assert_allclose(x[0, ..., 0] * 255, np.asarray(Image.open(first)))
    np.testing.assert_allclose(y[-1, ..., 0] * 255, np.asarray(Image.open(last)))
    mask = tmp_path / "radarPNG_mask/2009/02/15/RAD090215023000.mask"
    written = np.frombuffer(zlib.decompress(mask.read_bytes()), bool)
    np.testing.assert_array_equal(y[-1, ..., 1].ravel(), written)


def test_hko7_sequences_have_no_missing_frame(tmp_path):
    stand_ins.hko7(tmp_path, side=30, hours=6, gap=30)
    days = ["20090215"]
    frames = hko7_data.frames_of(tmp_path, days)
    starts = hko7_data.starts_of(frames)
    numbers = [(s.hour * 60 + s.minute) // 6 for s in starts]
    assert numbers == [*range(6), *range(31, 36)]
    stride = hko7_data.starts_of(frames, 5)
    assert [(s.hour * 60 + s.minute) // 6 for s in stride] == [0, 5, 31]


def test_rain_rates_of_hko7():
    """The benchmark: dBZ = 70 p - 10, Z = 58.53 R^1.56."""
    rates = np.array([0.5, 2, 5, 10, 30])
    dbz = 10 * np.log10(58.53 * rates**1.56)
    np.testing.assert_allclose(hko7_data.pixel_value(rates), (dbz + 10) / 70)
    np.testing.assert_allclose(hko7_data.rain_rate((dbz + 10) / 70), rates)


def test_balanced_errors_of_hko7():
    rng = np.random.default_rng(0)
    rates = rng.choice([0.1, 1.9, 2.1, 4.9, 5.1, 9.9, 10.1, 29, 31], size=(2, 3, 6, 6))
    weight_of = {0.1: 1, 1.9: 1, 2.1: 2, 4.9: 2, 5.1: 5, 9.9: 5, 10.1: 10, 29: 10}
    weights = np.vectorize(lambda r: weight_of.get(r, 30))(rates)
    target = hko7_data.pixel_value(rates)
    mask = rng.random(rates.shape) < 0.7
    found = rng.random(rates.shape).astype("float32")
    truth = np.stack([target, mask], -1).astype("float32")
    squared, absolute = hko7_convgru.balanced_errors(
        *map(hko7_convgru.ops.convert_to_tensor, (truth, found[..., None]))
    )
    error = (found - target) * mask
    ours = [
        np.asarray(hko7_convgru.ops.convert_to_numpy(e)) for e in (squared, absolute)
    ]
    np.testing.assert_allclose(ours[0], (weights * error**2).sum((-1, -2)), rtol=1e-4)
    np.testing.assert_allclose(ours[1], (weights * abs(error)).sum((-1, -2)), rtol=1e-4)


def test_wrong_hko7_folders_are_refused(tmp_path):
    read = hko7_data.read_layout
    assert hko7_data.DAYS == {"train": 812, "valid": 50, "test": 131}
    with pytest.raises(Problem, match=r"hko7_rainy_train_days.txt is missing"):
        read(tmp_path)
    stand_ins.hko7(tmp_path, side=30)
    with pytest.raises(Problem, match=r"days: expected 812 as published, received 1"):
        read(tmp_path)
    short = tmp_path / "short"
    short.mkdir()
    stand_ins.hko7(short, side=30, hours=2)
    with pytest.raises(Problem, match="6 minutes apart, received none among 20"):
        read(short, allow_other_sizes=True)
    mask = tmp_path / "radarPNG_mask/2009/02/15/RAD090215000000.mask"
    mask.write_bytes(zlib.compress(bytes(7)))
    with pytest.raises(Problem, match="expected 900 pixels, received 7"):
        read(tmp_path, allow_other_sizes=True)
    mask.unlink()
    with pytest.raises(Problem, match=r"mask is missing. Unpack radarPNG_mask"):
        read(tmp_path, allow_other_sizes=True)
    frame = tmp_path / "radarPNG/2009/02/15/RAD090215000000.png"
    frame.rename(frame.with_name("RAD090216000000.png"))
    with pytest.raises(Problem, match=r"expected RAD090215HHMM00.png, received"):
        read(tmp_path, allow_other_sizes=True)
    days = tmp_path / "hko7_rainy_train_days.txt"
    days.write_text("2009-02-15\n")
    with pytest.raises(Problem, match=r"line 1: expected a day and its intensity"):
        read(tmp_path, allow_other_sizes=True)


@pytest.mark.slow
def test_hko7_recipe(start, tmp_path):
    stand_ins.hko7(tmp_path, side=30)
    files = ["--data", ".", "--out", "r.json", "--allow-other-sizes", "--workers", 1]
    small = ["--steps", 3, "--finetune-steps", 2, "--filters", 2, 2, 3]
    more = ["--batch-size", 2, "--method", "tuned", "--k", 2, "--strength", 10]
    done = start("hko7_convgru.py", tmp_path, *files, *small, *more)
    found = results_of(done, tmp_path / "r.json")
    assert found["data"]["train"] == {"frames": 30, "sequences": 6}
    assert found["data"]["test"] == {"frames": 30, "sequences": 2}
    (one,) = found["runs"]
    before, after = one["pretraining"], one["finetuning"]
    assert (before["k"], before["steps"], before["layers"]) == (None, 3, [])
    assert (after["k"], after["strength"], after["steps"]) == (2, 10.0, 2)
    names = [f"encoder_{i}" for i in (1, 2, 3)]
    names += [f"forecaster_{i}" for i in (3, 2, 1)]
    found = [x["layer"] for x in after["layers"]]
    assert found == [f"{name}_inhibition" for name in names]
    assert [x["steps"] for x in after["layers"]] == [2] * 6
    sizes = [x["neurons"] for x in after["layers"]]
    assert sizes == [36 * 2, 4 * 2, 3, 3, 4 * 2, 36 * 2]
    for part in (before, after):
        for figures in part["metrics"].values():
            assert set(figures) == {"b_mse", "b_mae"}
            assert all(x > 0 for x in figures.values())
    # What fine-tuning starts from is what pretraining ended with, not a new network.
    assert after["loss"] == pytest.approx(before["loss"], rel=0.2)


# What they share


def test_methods():
    settings = {m: common.settings_of(m) for m in common.METHODS if m != "tuned"}
    assert settings == {
        "plain": [None],
        "memel": [(1, 1.0)],
        "naive-a": [(1, 0.0)],
        "naive-b": [(1, -1.0)],
    }
    assert len(common.settings_of("tuned")) == 25
    assert common.settings_of("tuned", [1], [5, 10]) == [(1, 5), (1, 10)]
    with pytest.raises(Problem, match="belong to --method tuned"):
        common.settings_of("memel", [5])
    layer = common.inhibition((5, -1.0), axis=-1)
    assert (layer.select.k, layer.strength, layer.axis) == (5, -1.0, -1)
    assert (layer.start_step, layer.forget_steps) == (10, 10)


def test_warm_up_and_decay():
    schedule = common.WarmUpThenLinear(2.0, 100, 10)
    rates = [float(schedule(step)) for step in (0, 5, 10, 55, 100, 120)]
    assert rates == pytest.approx([0, 1, 1.8, 0.9, 0, 0], abs=1e-6)


def test_biases_and_normalizations_are_not_decayed():
    import keras

    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(4), keras.layers.LayerNormalization()]
    )
    optimizer = keras.optimizers.AdamW(1.0, weight_decay=0.5)
    optimizer.build(model.trainable_variables)
    common.without_decay_of_small_weights(optimizer)
    before = [keras.ops.convert_to_numpy(v).copy() + 1 for v in model.variables]
    for variable, value in zip(model.variables, before, strict=True):
        variable.assign(value)
    optimizer.apply([keras.ops.zeros(v.shape) for v in model.trainable_variables])
    after = [keras.ops.convert_to_numpy(v) for v in model.variables]
    same = [np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
    assert same == [False, True, True, True]
    np.testing.assert_allclose(after[0], before[0] * 0.5, rtol=1e-5)


def test_a_problem_is_told_without_a_traceback(start, tmp_path):
    status, printed = start("hko7_convgru.py", tmp_path, "--data", "nowhere")
    assert status == 1
    assert printed.strip().endswith("put them beside radarPNG.")
    assert "error: nowhere/hko7_rainy_train_days.txt is missing." in printed
    assert "Traceback" not in printed


def test_weights_that_are_not_there_are_not_looked_for_on_the_net(tmp_path):
    for path in ("./nowhere", str(tmp_path)):
        with pytest.raises(Problem, match="expected a folder that KerasHub's"):
            common.check_weights(path)
    for name in ("bert_base_en_uncased", "hf://someone/something"):
        common.check_weights(name)


def test_no_results_file_is_found_out_before_training(tmp_path):
    with pytest.raises(Problem, match="there is no folder"):
        common.check_out(tmp_path / "nowhere" / "results.json")
