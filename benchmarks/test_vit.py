"""The vision transformer of the Keras original against PyTorch's own encoder of the same shape: `make bench`.

Both compute the same kind of network (64 patches of 8 x 9, 128 features, 4 pre-norm layers of 4 heads, 556,033
parameters), in turns, so that a busy machine slows both; ratios are of medians, of CPU time with one thread and of wall
time with two. All take batches of 256, as `classify` does, and the best of several batch sizes too, since small ones
stay in the cache. What is shipped cuts a batch into small pieces by itself.
"""

import statistics
import time

import numpy as np
import pytest
import torch
from torch import nn

from calowatch.bundle.classifier_onnx import export_classifier, multiplies_bytes, open_onnx
from calowatch.models.classifiers import ImageGeometry, build_classifier

IMAGES, ROUNDS = 256, 9
BATCHES = (8, 16, 64, 256)


class Plain(nn.Module):
    """What one writes with PyTorch's own parts."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(128, 4, 256, 0.0, "gelu", batch_first=True, norm_first=True)
        self.embed = nn.Conv2d(1, 128, (8, 9), (8, 9))
        self.place = nn.Parameter(torch.zeros(1, 64, 128))
        self.encoder = nn.TransformerEncoder(layer, 4, nn.LayerNorm(128), enable_nested_tensor=False)
        self.head = nn.Sequential(nn.Linear(128, 64), nn.GELU(), nn.Linear(64, 1))

    def forward(self, x):
        tokens = self.embed(x).flatten(2).transpose(1, 2) + self.place
        return self.head(self.encoder(tokens).mean(1))


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    ours = build_classifier("vit", ImageGeometry(1, 64, 72, outputs=1), {"head": (64,)})
    plain = Plain()
    sizes = {sum(values.numel() for values in network.parameters()) for network in (ours, plain)}
    assert sizes == {556_033}
    return ours, plain, torch.rand(IMAGES, 1, 64, 72)


@pytest.fixture(params=[1, 2])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def medians(ways, rounds):
    """Return the median time of each way, taken in turns."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    seconds = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            started = clock()
            way()
            seconds[name].append(clock() - started)
    return {name: statistics.median(times) for name, times in seconds.items()}


def inference(network, x, batch):
    def run():
        with torch.inference_mode():
            for first in range(0, len(x), batch):
                network(x[first : first + batch])

    return run


def shipped(engine, images, scalars, batch):
    def run():
        for first in range(0, len(images), batch):
            engine(images[first : first + batch], scalars[first : first + batch])

    return run


def training(network, x):
    optimiser = torch.optim.AdamW(network.parameters(), 3e-4)

    def run():
        for part in x[:128].split(64):
            optimiser.zero_grad()
            found = network(part)
            logits = found if isinstance(found, torch.Tensor) else found.logits
            logits.square().mean().backward()
            optimiser.step()

    return run


def test_training_and_inference_at_equal_precision(benchmark, networks, threads, figure):
    ours, plain, x = networks
    enabled = benchmark.enabled
    batches = BATCHES if enabled else (256,)
    found = medians(
        {
            ("train", "ours"): training(ours.train(), x),
            ("train", "plain"): training(plain.train(), x),
        },
        ROUNDS if enabled else 1,
    )
    ours.eval(), plain.eval()
    ways = {
        (batch, name): inference(network, x, batch)
        for batch in batches
        for name, network in (("ours", ours), ("plain", plain))
    }
    found |= medians(ways, ROUNDS if enabled else 1)
    benchmark.pedantic(ways[256, "ours"], rounds=1)
    if enabled:
        told = f"{threads} thread{'s' * (threads > 1)}"
        ratio = found["train", "plain"] / found["train", "ours"]
        figure(f"ViT training, against PyTorch's encoder, {told}", ratio, "times", at_least=1.0)
        figure(f"ViT training, {told}", 128 / found["train", "ours"], "images/s")
        best = {name: min(found[batch, name] for batch in batches) for name in ("ours", "plain")}
        figure(
            f"ViT inference in float32, best batch of each, {told}",
            best["plain"] / best["ours"],
            "times",
            at_least=1.0,
        )
        figure(f"ViT inference in float32, {told}", IMAGES / best["ours"], "images/s")


def test_inference_as_shipped(benchmark, networks, threads, figure, tmp_path_factory):
    ours, plain, x = networks
    if not multiplies_bytes():
        pytest.skip("the processor has no VNNI, so that float32 by ONNX Runtime is shipped")
    images, scalars = x.numpy(), np.zeros((len(x), 0), np.float32)
    files = export_classifier(ours, tmp_path_factory.mktemp("onnx"), images, scalars)
    ways = {(batch, "plain"): inference(plain.eval(), x, batch) for batch in BATCHES}
    for one in files:
        engine = open_onnx(one.path, threads)
        ways |= {(batch, one.mode): shipped(engine, images, scalars, batch) for batch in BATCHES}
    found = medians(ways, ROUNDS if benchmark.enabled else 1)
    benchmark.pedantic(ways[256, "int8"], rounds=1)
    if benchmark.enabled:
        told = f"{threads} thread{'s' * (threads > 1)}"
        names = ("plain", "int8", "onnx")
        best = {name: min(found[batch, name] for batch in BATCHES) for name in names}
        for mode, at_least in (("int8", 1.8), ("onnx", 1.0)):
            figure(
                f"ViT by {mode}, against PyTorch's encoder at 256, {told}",
                found[256, "plain"] / found[256, mode],
                "times",
                at_least=at_least,
            )
            figure(
                f"ViT by {mode}, against PyTorch's encoder at its best batch, {told}",
                best["plain"] / found[256, mode],
                "times",
                at_least=at_least,
            )
            figure(
                f"ViT by {mode}, best batch of each, {told}",
                best["plain"] / best[mode],
                "times",
                at_least=at_least,
            )
        figure(f"ViT by int8, {told}", IMAGES / found[256, "int8"], "images/s")
        figure("ViT by int8: largest change of a probability", files[1].largest_difference, "", 0.01)
