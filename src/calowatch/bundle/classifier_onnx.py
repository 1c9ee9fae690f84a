"""Image classifiers as ONNX, and by ONNX Runtime: in float32, and with the products of transformers in 8 bits."""

import copy
import logging
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from calowatch.bundle.classifier_rewriting import BATCH, OPSET, Ranges, calibrate, quantisable, rewritten
from calowatch.core.errors import FormatError, InputError
from calowatch.core.files import atomic_file
from calowatch.models.classifier import Classifier, probabilities

__all__ = ["ExportedFile", "export_classifier", "multiplies_bytes", "open_onnx", "write_onnx"]

Images = npt.NDArray[np.float32]
_CHUNK = 8
"""Images given to ONNX Runtime at once: their tokens stay in the cache of a core.

Of 1 to 32, 4 and 8 are the quickest for the Keras original in 8 bits, measured in turns with one thread: 1 loses an
eighth to calls, 16 and 32 lose a twelfth to memory.
"""


class _Logits(nn.Module):
    """What is exported: images, and numbers beside them where there are any, to logits alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, scalars: Tensor | None = None) -> Tensor:
        found: Tensor = self.network(images, scalars).logits
        return found


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep torch's exporter from telling of a library that we do not use and of its own deprecations."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.filterwarnings(
                "ignore", "# The axis name", UserWarning
            )  # one batch axis, told of both inputs
            yield
    finally:
        logger.setLevel(level)


def write_onnx(network: Classifier, path: Path | str, ranges: Ranges | None = None) -> None:
    """Write a classifier as one ONNX file: ``images``, and ``scalars`` where there are any, to ``logits``.

    Parameters
    ----------
    network
        The classifier; it is not changed.
    path
        The file.
    ranges
        What `calibrate` returned, for products in 8 bits by operators of ONNX Runtime; None for float32 by standard
        operators.

    Raises
    ------
    InputError
        With ranges, for a network that has no products to round.
    """
    if ranges is not None and not quantisable(network):
        raise InputError(
            "int8", "a network with transformer blocks", type(network).__name__, "use float32 or onnx"
        )
    shape = network.geometry
    model = _Logits(rewritten(network, ranges)).eval()
    given = [torch.zeros(2, shape.channels, shape.rows, shape.columns), torch.zeros(2, shape.scalars)]
    names = ["images", "scalars"][: 2 if shape.scalars else 1]
    batch = torch.export.Dim("image")
    with _quietly(), atomic_file(path) as scratch:
        program = torch.onnx.export(
            model,
            tuple(given[: len(names)]),
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes={name: {0: batch} for name in names},
            input_names=names,
            output_names=["logits"],
            verbose=False,
        )
        assert program is not None
        program.save(scratch, external_data=False)


def multiplies_bytes() -> bool:
    """Return whether the processor adds up products of bytes exactly and quickly.

    Those of x86 without VNNI do so in 16 bits, which overflow.
    """
    able = torch.cpu.get_capabilities()
    return not str(able.get("architecture")).startswith("x86") or any(
        able.get(name) for name in ("avx512_vnni", "avx_vnni", "amx_int8")
    )


def open_onnx(path: Path | str, threads: int | None = None) -> Callable[[Images, Images], Images]:
    """Return what computes logits [image, output] of prepared images and scalars by ONNX Runtime.

    Images go in small parts, which stay in a core's cache, to as many threads as torch uses (or ``threads``); how they
    are shared out changes nothing in the answer.

    Raises
    ------
    FormatError
        When the file is no ONNX model.
    """
    path = Path(path).absolute()
    stamp = path.stat()
    session = _session(path, stamp.st_mtime_ns, stamp.st_size)
    names = [one.name for one in session.get_inputs()]
    outputs = session.get_outputs()[0].shape[1]
    workers = threads or torch.get_num_threads()

    def answer(images: Images, scalars: Images, first: int) -> Images:
        part = slice(first, first + _CHUNK)
        given = dict(zip(names, (images[part], scalars[part]), strict=False))
        found: Images = session.run(["logits"], given)[0]
        return found

    def engine(images: Images, scalars: Images) -> Images:
        firsts = range(0, len(images), _CHUNK)
        part = partial(answer, images, scalars)
        if workers == 1 or len(firsts) < 2:
            found = [part(first) for first in firsts]
        else:
            with ThreadPoolExecutor(workers) as pool:
                found = list(pool.map(part, firsts))
        return np.concatenate([np.zeros((0, outputs), np.float32), *found])

    return engine


@lru_cache(maxsize=8)
def _session(path: Path, _changed: int, _size: int) -> Any:
    """Open a file once; when and how large it is tells another one of the same name."""
    import onnxruntime  # noqa: PLC0415 - only who asks for it needs it

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            path.read_bytes(),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=[
                "SkipLayerNormFusion"
            ],  # its operator is seven times slower than the two it replaces
        )
    except Exception as error:  # its errors share no class of their own
        found = str(error).splitlines()[0]
        raise FormatError(path, "an ONNX model", f"a damaged one ({found})", "export it again") from error


@dataclass(frozen=True)
class ExportedFile:
    """An exported classifier and how far it is from the network that it was made of, on given images.

    Parameters
    ----------
    mode
        ``onnx`` or ``int8``.
    path
        The file.
    largest_logit_difference, largest_difference
        Of logits, of class probabilities.
    other_class
        Share of images of which it names another class.
    """

    mode: str
    path: Path
    largest_logit_difference: float
    largest_difference: float
    other_class: float


def export_classifier(
    network: Classifier, folder: Path | str, images: Images, scalars: Images
) -> list[ExportedFile]:
    """Write ``classifier.onnx``, and ``classifier-int8.onnx`` where it makes sense, and compare both with the network.

    Parameters
    ----------
    network
        The classifier.
    folder
        Where to.
    images, scalars
        Prepared, of the training side; a few hundred are enough. The first half calibrates 8 bits, all are compared.

    Raises
    ------
    InputError
        Without images.
    """
    half = slice(0, -(-len(images) // 2))
    modes: dict[str, Ranges | None] = {"onnx": None}
    if quantisable(network):
        modes["int8"] = calibrate(network, images[half], scalars[half])
    with torch.inference_mode():
        reference = copy.deepcopy(network).cpu().eval()
        expected = torch.cat(
            [
                reference(
                    torch.from_numpy(images[n : n + BATCH]), torch.from_numpy(scalars[n : n + BATCH])
                ).logits
                for n in range(0, len(images), BATCH)
            ]
        )
    files = []
    for mode, ranges in modes.items():
        path = Path(folder) / ("classifier.onnx" if mode == "onnx" else f"classifier-{mode}.onnx")
        write_onnx(network, path, ranges)
        found = torch.from_numpy(open_onnx(path)(images, scalars))
        p, q = probabilities(expected), probabilities(found)
        files.append(
            ExportedFile(
                mode,
                path,
                float((found - expected).abs().max()),
                float((p - q).abs().max()),
                float((p.argmax(1) != q.argmax(1)).float().mean()),
            )
        )
    return files
