"""MEmeL's fine-tuning of Swin on ImageNet-1k, with KerasHub.

    KERAS_BACKEND=jax python studies/recipes/imagenet_hierarchical.py \\
        --data IMAGENET --method memel \\
        --weights hf://microsoft/swin-base-patch4-window7-224-in22k

Never run on the real data by the authors of this library. IMAGENET is a folder with
train/n01440764/*.JPEG and val/n01440764/*.JPEG. The layers stand in the third stage
only, after its four middle blocks. docs/recipes.md tells what the paper reports and
what was chosen here.
"""

import argparse
import itertools
import time

import keras
import keras_hub
from common import (
    Problem,
    add_common_arguments,
    best_setting,
    check_out,
    check_save_weights,
    check_weights,
    expected,
    inhibition,
    placed,
    run,
    settings_of,
    without_decay_of_small_weights,
    write_results,
)
from imagenet_data import Images, read_layout

import keras_mono as km

STAGE = 2  # the third


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder with train/ and val/")
    parser.add_argument(
        "--weights", required=True, help="preset or folder of a Swin backbone"
    )
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--warm-up-epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument(
        "--accumulate", type=int, default=8, help="batches an update; 8 * 128 = 1,024"
    )
    parser.add_argument(
        "--learning-rate", type=float, default=2e-5, help="for 512 images an update"
    )
    parser.add_argument("--drop-path", type=float, help="default: Swin's, by its size")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--save-weights", help="file NAME.weights.h5, without ours")
    add_common_arguments(parser)
    return parser.parse_args()


def backbone_of(weights, drop_path=None):
    kind = keras_hub.models.SwinTransformerBackbone
    more = {} if drop_path is None else {"drop_path": drop_path}
    try:
        backbone = kind.from_preset(weights, **more)
    except (ValueError, FileNotFoundError) as error:
        raise Problem(
            f"--weights {weights}: KerasHub loads no Swin from there. It says: {error}"
        ) from None
    published = 0.1 if tuple(backbone.depths) == (2, 2, 6, 2) else 0.2  # Tiny; others
    if drop_path is None and backbone.drop_path != published:
        return backbone_of(weights, published)
    return backbone


def with_visible_blocks(backbone):
    """The backbone with each block as a layer of the graph, on the same weights.

    KerasHub makes a stage one layer, in which nothing can be inserted from outside.
    """
    x = backbone.input
    for layer in backbone.layers[1:]:
        if layer not in backbone.stages:
            x = layer(x)
            continue
        for i, block in enumerate(layer.blocks):
            block.name = f"{layer.name}_block_{i}"  # else the same in every stage
            x = block(x)
        if layer.downsample is not None:
            rows, columns = (n // 2 for n in layer.input_resolution)
            layer.downsample.name = f"{layer.name}_downsample"
            x = layer.downsample(
                x, H=layer.input_resolution[0], W=layer.input_resolution[1]
            )
            # TensorFlow forgets the number of positions, which the statistics need.
            x = keras.layers.Reshape((rows * columns, 2 * layer.dim))(x)
    return keras.Model(backbone.input, x)


def middle_of_third_stage(backbone):
    """Blocks depth/2 - 2 to depth/2 + 1, as in the paper."""
    depth = backbone.depths[STAGE] if len(backbone.depths) > STAGE else 0
    if depth < 4:
        raise expected(
            "--weights",
            "a Swin whose third stage has 4 blocks or more",
            f"depths {tuple(backbone.depths)}",
            "The published Swin-T, -S, -B and -L have 6 or 18.",
        )
    blocks = range(depth // 2 - 2, depth // 2 + 2)
    return [f"stage_{STAGE}_block_{i}" for i in blocks]


def classifier(given, classes, setting):
    backbone = backbone_of(given.weights, given.drop_path)
    where = middle_of_third_stage(backbone)
    visible = with_visible_blocks(backbone)
    x = keras.layers.GlobalAveragePooling1D(name="pooled")(visible.output)
    outputs = keras.layers.Dense(classes, name="predictions")(x)
    model = keras.Model(visible.input, outputs)
    layer = inhibition(setting, axis=None)
    if layer is not None:
        model = km.insert_after(model, where, layer)
    return model, where, backbone


def compiled(given, model, batches, classes):
    """Swin's own fine-tuning: AdamW, warm-up, cosine, clipped gradients, smoothing."""
    # Keras counts batches here, also those that only add to an update.
    peak = given.learning_rate * given.batch_size * given.accumulate / 512
    warm_up = given.warm_up_epochs * batches
    schedule = keras.optimizers.schedules.CosineDecay(
        peak / 1000,
        decay_steps=max(1, given.epochs * batches - warm_up),
        alpha=0.01,
        warmup_target=peak,
        warmup_steps=warm_up,
    )
    optimizer = keras.optimizers.AdamW(
        schedule,
        weight_decay=1e-8,
        epsilon=1e-8,
        global_clipnorm=5.0,
        gradient_accumulation_steps=given.accumulate if given.accumulate > 1 else None,
    )
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    metrics = [
        keras.metrics.CategoricalAccuracy("top1"),
        keras.metrics.TopKCategoricalAccuracy(min(5, classes), "top5"),
    ]
    model.compile(without_decay_of_small_weights(optimizer), loss, metrics=metrics)


def trained(given, synsets, seed, setting):
    keras.utils.set_random_seed(seed)
    start = time.perf_counter()
    model, where, backbone = classifier(given, len(synsets["train"]), setting)
    size = backbone.image_shape[0]
    more = {"batch_size": given.batch_size, "workers": given.workers}
    train = Images(synsets["train"], size, train=True, seed=seed, **more)
    val = Images(synsets["val"], size, **more)
    compiled(given, model, len(train), train.classes)
    history = model.fit(train, validation_data=val, epochs=given.epochs, verbose=2)
    if given.save_weights:
        km.strip(model).save_weights(given.save_weights)
    by_epoch = {k: v for k, v in history.history.items() if k != "learning_rate"}
    return {
        "seed": seed,
        "k": setting and setting[0],
        "strength": setting and setting[1],
        "metrics": {k: by_epoch[f"val_{k}"][-1] for k in ("top1", "top5")},
        "by_epoch": by_epoch,
        "drop_path": backbone.drop_path,
        "depths": list(backbone.depths),
        "followed": where if setting else [],
        "layers": placed(model),
        "seconds": round(time.perf_counter() - start, 1),
    }


def main():
    given = arguments()
    settings = settings_of(given.method, given.k, given.strength)
    check_out(given.out)
    check_weights(given.weights)
    synsets, published = read_layout(given.data, given.allow_other_sizes)
    sizes = {s: sum(len(p) for p in x.values()) for s, x in synsets.items()}
    runs = []
    grid = list(itertools.product(given.seeds, settings))
    check_save_weights(given.save_weights, len(grid))
    for seed, setting in grid:
        runs.append(trained(given, synsets, seed, setting))
        print(f"seed {seed}, (k, Δ) {setting}: {runs[-1]['metrics']}")
        write_results(  # after every run: what is done must survive a stop
            given,
            "imagenet_hierarchical",
            complete=len(runs) == len(grid),
            published_sizes=published,
            data={"synsets": len(synsets["train"]), **sizes},
            runs=runs,
            best=best_setting(runs, ("k", "strength"), lambda r: r["metrics"]["top1"]),
        )


if __name__ == "__main__":
    run(main)
