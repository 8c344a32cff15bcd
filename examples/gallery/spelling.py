"""g2p-en: the sounds of an English word, letter by letter in and sound by sound out.

Its weights are plain arrays of an encoder and a decoder, each a GRU of 256 units.
"""

import keyword
import re
import sys
from dataclasses import dataclass
from functools import partial

import keras
import numpy as np
from keras import layers

import keras_mono as km
from gallery.experiment import Case
from gallery.packages import file_of
from gallery.panel import balanced

LETTERS = ["<pad>", "<unk>", "</s>", *"abcdefghijklmnopqrstuvwxyz"]
START, END, LONGEST = 2, 3, 20
# In the order of the checkpoint's rows; vowels carry their stress.
_SOUNDS = (
    "<pad> <unk> <s> </s> "
    "AA0 AA1 AA2 AE0 AE1 AE2 AH0 AH1 AH2 AO0 AO1 AO2 AW0 AW1 AW2 AY0 AY1 AY2 B CH D DH "
    "EH0 EH1 EH2 ER0 ER1 ER2 EY0 EY1 EY2 F G HH IH0 IH1 IH2 IY0 IY1 IY2 JH K L M N NG "
    "OW0 OW1 OW2 OY0 OY1 OY2 P R S SH T TH UH0 UH1 UH2 UW UW0 UW1 UW2 V W Y Z ZH"
)
SOUNDS = _SOUNDS.split()


def checkpoint() -> dict[str, np.ndarray]:
    return dict(np.load(file_of("g2p_en", "checkpoint20.npz")))


def network() -> keras.Model:
    """Letters and the sounds so far to the next sounds' logits; 0 is padding."""
    arrays = checkpoint()
    letters = keras.Input((None,), dtype="int32", name="letters")
    sounds = keras.Input((None,), dtype="int32", name="sounds")

    def embedded(part, x):
        table = arrays[f"{part}_emb"]
        return layers.Embedding(*table.shape, mask_zero=True, name=f"{part}_emb")(x)

    units = arrays["enc_w_hh"].shape[1]
    encoder, decoder = (
        layers.RNN(layers.GRUCell(units), return_sequences=True, name=name)
        for name in ("encoder", "decoder")
    )
    # Over padding a state stays as it is, so that the last is that of the word's end.
    last = encoder(embedded("enc", letters))[:, -1]
    states = decoder(embedded("dec", sounds), initial_state=[last])
    logits = layers.Dense(len(SOUNDS), name="sound")(states)
    model = keras.Model([letters, sounds], logits, name="g2p")
    for part, layer in {"enc": encoder, "dec": decoder}.items():
        model.get_layer(f"{part}_emb").set_weights([arrays[f"{part}_emb"]])
        layer.set_weights(_keras_gru(arrays, part))
    model.get_layer("sound").set_weights([arrays["fc_w"].T, arrays["fc_b"]])
    return model


def _keras_gru(arrays, part):
    """PyTorch's order of the gates is reset, update, new; Keras' update, reset, new."""

    def ordered(x):
        reset, update, new = np.split(x, 3)
        return np.concatenate([update, reset, new])

    kernel, recurrent, *biases = (
        ordered(arrays[f"{part}_{name}"]) for name in ("w_ih", "w_hh", "b_ih", "b_hh")
    )
    return [kernel.T, recurrent.T, np.stack(biases)]


def pronounced(arrays: dict[str, np.ndarray], word: str) -> list[int]:
    """The sounds of a word, calculated in NumPy step by step as the package does it."""

    def step(part, row, h):
        x = arrays[f"{part}_emb"][row]
        from_x = arrays[f"{part}_w_ih"] @ x + arrays[f"{part}_b_ih"]
        from_h = arrays[f"{part}_w_hh"] @ h + arrays[f"{part}_b_hh"]
        (r, z, n), (r_h, z_h, n_h) = np.split(from_x, 3), np.split(from_h, 3)
        reset, keep = 1 / (1 + np.exp(-(r + r_h))), 1 / (1 + np.exp(-(z + z_h)))
        return (1 - keep) * np.tanh(n + reset * n_h) + keep * h

    h = np.zeros(arrays["enc_w_hh"].shape[1], "float32")
    for row in letters_of(word):
        h = step("enc", row, h)
    sounds = [START]
    while sounds[-1] != END and len(sounds) <= LONGEST:
        h = step("dec", sounds[-1], h)
        sounds.append(int(np.argmax(arrays["fc_w"] @ h + arrays["fc_b"])))
    return sounds


def letters_of(word: str) -> list[int]:
    return [*(LETTERS.index(c) for c in word), LETTERS.index("</s>")]


@dataclass(frozen=True)
class Spelled:
    """Words with their sounds, as arrays padded with 0."""

    words: list[str]
    letters: np.ndarray
    sounds: np.ndarray  # what the decoder is given: <s> and all but the last
    next_sounds: np.ndarray  # what follows each of them

    @property
    def inputs(self) -> list[np.ndarray]:
        return [self.letters, self.sounds]

    def part(self, rows) -> "Spelled":
        words = [self.words[i] for i in np.arange(len(self.words))[rows]]
        arrays = (self.letters, self.sounds, self.next_sounds)
        return Spelled(words, *(x[rows] for x in arrays))


def spelled(words: list[str], arrays: dict[str, np.ndarray]) -> Spelled:
    sounds = [pronounced(arrays, word) for word in words]
    return Spelled(
        words,
        _padded(map(letters_of, words)),
        _padded(s[:-1] for s in sounds),
        _padded(s[1:] for s in sounds),
    )


def _padded(rows):
    rows = list(rows)
    table = np.zeros((len(rows), max(map(len, rows))), "int32")
    for row, values in zip(table, rows, strict=True):
        row[: len(values)] = values
    return table


def dictionary() -> dict[str, set[str]]:
    """The words in the package's list of homographs, and their two pronunciations."""
    lines = file_of("g2p_en", "homographs.en").read_text("utf-8").splitlines()
    rows = [line.split("|") for line in lines if not line.startswith("#")]
    return {r[0].lower(): {r[1].strip(), r[2].strip()} for r in rows}


def words(most: int, seed: int = 0) -> list[str]:
    """Words of Python's own manual, its keywords and modules, in a random order."""
    from pydoc_data.topics import topics

    text = " ".join([*topics.values(), *keyword.kwlist, *sys.stdlib_module_names])
    found = sorted(set(re.findall(r"(?<![\w'.])[a-z]{3,14}(?![\w'.])", text)))
    rows = np.random.default_rng(seed).permutation(len(found))[:most]
    return [found[i] for i in rows]


WHERE = "encoder"
MEASURED, TRAINED = 500, 320
EACH, LEAST = 80, 40  # positions of a sound or letter


def case() -> tuple[Case, dict]:
    """Words of Python's manual; the states of encoder and decoder are the neurons."""
    arrays = checkpoint()
    every = spelled(words(MEASURED + TRAINED), arrays)
    measured, trained = (
        every.part(slice(0, MEASURED)),
        every.part(slice(MEASURED, None)),
    )
    model = network()
    there = every.next_sounds > 0
    y = model.predict(every.inputs, batch_size=128, verbose=0).argmax(-1)
    known = dictionary()
    said = {w: " ".join(as_text(pronounced(arrays, w)[1:-1])) for w in known}
    checks = {
        "words": len(every.words),
        "positions": int(there.sum()),
        "same answers": int((y == every.next_sounds)[there].sum()),
        "homographs": len(known),
        "right": float(np.mean([said[w] in known[w] for w in known])),
    }
    found = Case(
        model,
        measured.inputs,
        {
            "encoder": partial(_entries, measured.letters, np.array(LETTERS)),
            "decoder": partial(_entries, measured.next_sounds, np.array(SOUNDS)),
        },
        WHERE,
        trained.inputs,
        with_inhibition,
        keras.losses.CategoricalCrossentropy(from_logits=True),
        rate=5e-5,
        batch=32,
        epochs=2,
        answer=lambda y: y.argmax(-1)[measured.next_sounds > 0],
        targets=lambda y: keras.ops.convert_to_numpy(keras.ops.softmax(y)),
    )
    return found, checks


def _entries(numbers, names, z):
    there = numbers > 0
    return balanced(z[there], names[numbers[there]], EACH, LEAST)


def as_text(sounds: list[int]) -> list[str]:
    return [SOUNDS[i] for i in sounds]


def with_inhibition(model: keras.Model) -> keras.Model:
    """The same network, whose encoder is inhibited inside its recurrence."""

    def replaced(layer):
        if layer.name != WHERE:
            return layer
        inhibition = km.layers.MonosemanticInhibition(
            0.02, gradient="scale_invariant", start_step=1
        )
        config = layer.get_config()
        del config["cell"]
        return km.layers.InhibitedRNN(layer.cell, inhibition, **config)

    return keras.models.clone_model(model, clone_function=replaced)
