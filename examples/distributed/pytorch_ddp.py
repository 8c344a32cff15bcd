"""Train on several devices with PyTorch: `DistributedDataParallel`, a process each.

    KERAS_BACKEND=torch python examples/distributed/pytorch_ddp.py
    KERAS_BACKEND=torch torchrun --nproc-per-node 4 examples/distributed/pytorch_ddp.py

The first starts 2 processes itself. With GPUs each takes its own (nccl), else they
share the CPU (gloo). As soon as a process group is up, the layers add up what the ranks
see. Every rank has to make the same number of steps; a batch may be empty.
"""

import os
import tempfile

import torch
from sklearn.datasets import load_digits
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

import keras_mono as km
from keras_mono.torch import Adapter

TRAINING, BATCH, EPOCHS = 1500, 64, 10


def run(rank, ranks, **rendezvous):
    on_gpu = torch.cuda.device_count() >= ranks
    distributed.init_process_group(
        "nccl" if on_gpu else "gloo", rank=rank, world_size=ranks, **rendezvous
    )
    train(rank, ranks, torch.device(f"cuda:{rank}" if on_gpu else "cpu"))
    distributed.barrier()  # and only then, when the model is gone:
    distributed.destroy_process_group()


def train(rank, ranks, device):
    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)

    penalty = Adapter(km.layers.MonosemanticPenalty(form="phi"), (None, 128))
    inhibition = Adapter(km.layers.MonosemanticInhibition(), (None, 128))
    network = torch.nn.Sequential(
        torch.nn.Linear(64, 128),
        torch.nn.ReLU(),
        inhibition,
        penalty,
        torch.nn.Linear(128, 10),
    ).to(device)
    model = DistributedDataParallel(network)
    optimizer = torch.optim.Adam(model.parameters(), 0.002)
    model.train()
    for epoch in range(EPOCHS):
        order = torch.randperm(TRAINING, generator=torch.Generator().manual_seed(epoch))
        for batch in order.split(BATCH):
            mine = batch[rank::ranks]  # each rank its part of the same batch
            logits = model(x[mine].to(device))
            # Divided by the global batch: DDP averages over the ranks.
            loss = torch.nn.functional.cross_entropy(
                logits, y[mine].to(device), reduction="sum"
            )
            loss = loss * ranks / len(batch) + penalty.loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    network.eval()
    means = [torch.zeros_like(inhibition.mean) for _ in range(ranks)]
    distributed.all_gather(means, inhibition.mean)
    if rank == 0:
        with torch.no_grad():
            answers = network(x[TRAINING:].to(device)).argmax(1).cpu()
        accuracy = (answers == y[TRAINING:]).float().mean()
        same = all(torch.equal(means[0], mean) for mean in means)
        print(f"{ranks} ranks, the same mean on each: {same}")
        print(
            f"{int(inhibition.step)} steps, {int(inhibition.count.max())} values weigh"
        )
        print(f"accuracy {accuracy:.3f}")


def main():
    if "RANK" in os.environ:  # torchrun
        run(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
        return
    ranks = max(2, torch.cuda.device_count())
    with tempfile.TemporaryDirectory() as folder:
        meeting = {"init_method": f"file://{folder}/ranks"}
        torch.multiprocessing.spawn(_start, (ranks, meeting), ranks)


def _start(rank, ranks, meeting):
    run(rank, ranks, **meeting)


if __name__ == "__main__":
    main()
