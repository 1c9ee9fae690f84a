"""Transformers rewritten for export: the same numbers by fewer operators, or nearly the same by products in 8 bits.

Attention becomes one operator. And layer normalisation becomes root-mean-square normalisation: nothing in a pre-norm
network sees the mean of a token's features, so whatever writes tokens can leave it out, and what is left has mean zero
(arXiv 2401.15024).

In 8 bits, weights are rounded to 255 steps per output feature, and what is multiplied with them to 256 steps between
the extremes that were seen in calibration, the same for all images: an answer does not depend on the batch it came in.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from calowatch.core.errors import InputError
from calowatch.models.attention import Block
from calowatch.models.classifier import Classifier
from calowatch.models.experts import Mixture

__all__ = ["BATCH", "OPSET", "Ranges", "calibrate", "quantisable", "rewritten", "simplified"]

Images = npt.NDArray[np.float32]
Ranges = Mapping[str, tuple[float, float]]
OPSET = 23  # the first with Attention and RMSNormalization
_MICROSOFT = "com.microsoft"
BATCH = 64


def quantisable(network: Classifier) -> bool:
    """Return whether a network has products that 8 bits make quicker: those of transformer blocks."""
    return any(_products(network))


def _products(network: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    """Yield the layers of transformer blocks that 8 bits make quicker, with their names."""
    for name, block in network.named_modules():
        if isinstance(block, Block):
            parts: dict[str, nn.Module] = {"attention": block.attention}
            if isinstance(block.mix, nn.Sequential):
                parts["mix"] = block.mix
            for part, module in parts.items():
                for inner, layer in module.named_modules(prefix=f"{name}.{part}"):
                    if isinstance(layer, nn.Linear):
                        yield inner, layer


@torch.inference_mode()
def calibrate(network: Classifier, images: Images, scalars: Images) -> dict[str, tuple[float, float]]:
    """Return the extremes of what each product of a network's transformer blocks is given, by the layer's name.

    Parameters
    ----------
    network
        The classifier; it is not changed.
    images, scalars
        Prepared, of the training side; a few hundred are enough.

    Raises
    ------
    InputError
        Without images.
    """
    if not len(images):
        raise InputError("calibration images", "one or more", "none", "give images of the training side")
    seen: dict[str, tuple[float, float]] = {}

    def look(name: str, _: nn.Module, given: tuple[Tensor, ...]) -> None:
        least, most = seen.get(name, (0.0, 0.0))
        low, high = given[0].aminmax()
        seen[name] = (min(least, low.item()), max(most, high.item()))

    watched = simplified(network)
    for name, layer in _products(watched):
        layer.register_forward_pre_hook(partial(look, name))
    for first in range(0, len(images), BATCH):
        part = slice(first, first + BATCH)
        watched(torch.from_numpy(images[part]), torch.from_numpy(scalars[part]))
    return seen


class _Linears(nn.Module):
    """Linear layers that see the same input, in float32."""

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [layer(x) for layer in self.layers]


class _Rounded(nn.Module):
    """Linear layers that see the same input, in 8 bits: x ~ (q - zero) step, q = 0 .. 255."""

    step: Tensor
    zero: Tensor

    def __init__(self, layers: Sequence[nn.Linear], span: tuple[float, float]) -> None:
        super().__init__()
        step = max((span[1] - span[0]) / 255.0, 1e-12)
        self.outputs = [layer.out_features for layer in layers]
        self.register_buffer("step", torch.tensor(step))
        self.register_buffer(
            "zero", torch.tensor(min(255, max(0, round(-span[0] / step))), dtype=torch.uint8)
        )
        for n, layer in enumerate(layers):
            weights = layer.weight.detach().T
            steps = (weights.abs().amax(0) / 127.0).clamp_min(1e-12)
            self.register_buffer(f"weights{n}", torch.round(weights / steps).to(torch.int8).contiguous())
            self.register_buffer(f"steps{n}", steps)
            self.register_buffer(f"zeros{n}", torch.zeros(len(steps), dtype=torch.int8))
            self.register_buffer(f"bias{n}", layer.bias.detach().clone())

    def forward(self, x: Tensor) -> list[Tensor]:
        q = torch.onnx.ops.symbolic(
            "QuantizeLinear",
            (x, self.step, self.zero),
            dtype=torch.uint8,
            shape=x.shape,
            version=OPSET,
        )
        found = []
        for n, outputs in enumerate(self.outputs):
            weights, steps, zeros, bias = (
                self.get_buffer(f"{part}{n}") for part in ("weights", "steps", "zeros", "bias")
            )
            found.append(
                torch.onnx.ops.symbolic(
                    f"{_MICROSOFT}::MatMulIntegerToFloat",
                    (q, weights, self.step, steps, self.zero, zeros, bias),
                    dtype=x.dtype,
                    shape=(*x.shape[:-1], outputs),
                    version=1,
                )
            )
        return found


class _One(nn.Module):
    """One linear layer in place of itself."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layers(x)[0]
        return found


class _RootMean(nn.Module):
    """Layer normalisation of tokens whose mean is zero."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.eps = norm.eps
        self.weight = norm.weight
        self.bias = norm.bias if bool(norm.bias.any()) else None

    def forward(self, x: Tensor) -> Tensor:
        scaled: Tensor = torch.onnx.ops.symbolic(
            "RMSNormalization",
            (x, self.weight),
            {"axis": -1, "epsilon": self.eps},
            dtype=x.dtype,
            shape=x.shape,
            version=OPSET,
        )
        return scaled if self.bias is None else scaled + self.bias


class _Attention(nn.Module):
    """Attention as one operator."""

    def __init__(self, heads: int, scale: float, qkv: nn.Module, out: nn.Module) -> None:
        super().__init__()
        self.heads, self.scale, self.qkv, self.out = heads, scale, qkv, out

    def forward(self, x: Tensor, bias: Tensor | None, *, explicit: bool) -> tuple[Tensor, None]:
        assert not explicit
        q, k, v = self.qkv(x)
        attended = torch.onnx.ops.symbolic(
            "Attention",
            (q, k, v) if bias is None else (q, k, v, bias),
            {"q_num_heads": self.heads, "kv_num_heads": self.heads, "scale": self.scale},
            dtype=x.dtype,
            shape=q.shape,
            version=OPSET,
        )
        return self.out(attended), None


def simplified(network: Classifier) -> Classifier:
    """Return a copy in evaluation mode that computes the same with tokens whose features have mean zero.

    Shifts of normalisations are taken into the layers behind them, too. Networks without transformer blocks are copied
    as they are.
    """
    found = copy.deepcopy(network).cpu().eval().requires_grad_(requires_grad=False)
    blocks = [one for one in found.modules() if isinstance(one, Block)]
    if blocks:
        embed: Any = found.embed
        _centre(embed if isinstance(embed, nn.Linear) else embed[-1])
        for name in ("place", "class_token"):
            if isinstance(getattr(found, name, None), Tensor):
                _centre_rows(getattr(found, name))
    for block in blocks:
        _centre(block.attention.out)
        _shift_into(block.before_attention, block.attention.qkv)
        if isinstance(block.mix, Mixture):
            _centre_rows(block.mix.outer)
            _centre_rows(block.mix.outer_bias)
        else:
            layers = [one for one in block.mix.modules() if isinstance(one, nn.Linear)]
            _shift_into(block.before_mix, layers[0])
            _centre(layers[-1])
    return found


def _centre_rows(values: Tensor) -> None:
    values.sub_(values.mean(-1, keepdim=True))


def _centre(layer: nn.Linear) -> None:
    layer.weight.sub_(layer.weight.mean(0))
    layer.bias.sub_(layer.bias.mean())


def _shift_into(norm: nn.LayerNorm, layer: nn.Linear) -> None:
    layer.bias.add_(layer.weight @ norm.bias)
    norm.bias.zero_()


def rewritten(network: Classifier, ranges: Ranges | None) -> nn.Module:
    """Return a copy with operators of ONNX in transformer blocks; it can be exported, but not called."""
    found: Any = simplified(network)
    for name, block in found.named_modules():
        if isinstance(block, Block):
            _rewrite(name, block, ranges)
    if isinstance(getattr(found, "norm", None), nn.LayerNorm):
        found.norm = _RootMean(found.norm)
    module: nn.Module = found
    return module


def _rewrite(name: str, block: Any, ranges: Ranges | None) -> None:
    attention = block.attention
    block.attention = _Attention(
        attention.heads,
        attention.scale,
        _layers(f"{name}.attention.qkv", _thirds(attention.qkv), ranges),
        _One(_layers(f"{name}.attention.out", [attention.out], ranges)),
    )
    block.before_attention = _RootMean(block.before_attention)
    block.before_mix = _RootMean(block.before_mix)
    if isinstance(block.mix, nn.Sequential):
        layers = [
            _One(_layers(f"{name}.mix.{n}", [one], ranges)) if isinstance(one, nn.Linear) else one
            for n, one in enumerate(block.mix)
        ]
        block.mix = nn.Sequential(*layers)


def _thirds(qkv: nn.Linear) -> list[nn.Linear]:
    size, parts = qkv.in_features, []
    for rows in (slice(n * size, (n + 1) * size) for n in range(3)):
        part = nn.Linear(size, size)
        part.weight = nn.Parameter(qkv.weight[rows], requires_grad=False)
        part.bias = nn.Parameter(qkv.bias[rows], requires_grad=False)
        parts.append(part)
    return parts


def _layers(name: str, layers: Sequence[nn.Linear], ranges: Ranges | None) -> nn.Module:
    return _Linears(layers) if ranges is None else _Rounded(layers, ranges[name])
