"""A HuggingFace BERT in a plain PyTorch loop, trained off its monosemantic neurons.

    pip install torch transformers
    KERAS_BACKEND=torch python examples/native/pytorch_transformers.py

The four middle blocks are followed by a layer each, as in MEmeL. BERT is a small random
one and the task is made up (is token 7 in the sentence?), so nothing is downloaded; for
a real one, replace `BertConfig(...)` by `from_pretrained`.
"""

import keras
import torch
import transformers

import keras_mono as km
from keras_mono.torch import Adapter

BLOCKS, WIDTH, LENGTH, STEPS = 12, 32, 16, 40


def main() -> None:
    keras.utils.set_random_seed(0)
    config = transformers.BertConfig(
        vocab_size=40,
        hidden_size=WIDTH,
        num_hidden_layers=BLOCKS,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=LENGTH,
    )
    model = transformers.BertForSequenceClassification(config)
    inhibit_middle_blocks(model)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)

    model.train()
    for step in range(STEPS):
        batch = sentences(32)
        optimizer.zero_grad()
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        if step % 10 == 9:
            print(f"step {step + 1}: loss {loss.item():.3f}")

    model.eval()
    batch = sentences(500)
    with torch.no_grad():
        right = model(**batch).logits.argmax(-1) == batch["labels"]
    print(f"accuracy {right.float().mean():.2f}")

    saved = model.state_dict()
    kept = [name for name in saved if name.endswith("inhibition.mean")]
    print(f"{len(kept)} inhibited blocks, such as {kept[0]}")
    for block in (4, 5, 6, 7):
        layer = model.bert.encoder.layer[block].inhibition.layer
        print(f"block {block}: {int(layer.step)} steps seen")


def inhibit_middle_blocks(model: torch.nn.Module) -> None:
    """Put an adapter into each block, and call it on what the block puts out."""
    padding = {}

    def remember(_: torch.nn.Module, __: tuple, arguments: dict) -> None:
        padding["mask"] = arguments.get("attention_mask")

    def inhibit(block: torch.nn.Module, _: tuple, outputs: object) -> object:
        if isinstance(outputs, tuple):
            return (block.inhibition(outputs[0], padding["mask"]), *outputs[1:])
        return block.inhibition(outputs, padding["mask"])

    model.register_forward_pre_hook(remember, with_kwargs=True)
    for block in model.bert.encoder.layer[4:8]:
        layer = km.layers.MonosemanticInhibition(axis=-1)
        block.inhibition = Adapter(layer, (None, None, WIDTH))
        block.register_forward_hook(inhibit)


def sentences(number: int) -> dict[str, torch.Tensor]:
    """Random tokens of random lengths."""
    mask = torch.arange(LENGTH) < torch.randint(4, LENGTH + 1, (number, 1))
    tokens = torch.randint(1, 40, (number, LENGTH)) * mask
    chosen = torch.rand(number) < 0.5
    tokens[chosen, 1] = 7
    labels = (tokens == 7).any(1).long()
    return {"input_ids": tokens, "attention_mask": mask.long(), "labels": labels}


if __name__ == "__main__":
    main()
