"""A network in its exported form, run by ONNX Runtime; no torch in here."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from calowatch.bundle.expecting import NetworkWindows
from calowatch.bundle.frame import load_frame
from calowatch.bundle.manifest import open_manifest
from calowatch.core.errors import FormatError, InputError

__all__ = ["ONNX_FILE", "exported_windows"]

ONNX_FILE = "model.onnx"

Values = npt.NDArray[np.float32]


def exported_windows(folder: Path | str, threads: int | None = None) -> NetworkWindows:
    """Return the exported network of a bundle behind the common interface.

    Parameters
    ----------
    folder
        The bundle of a network.
    threads
        As many as there are cores unless given.

    Raises
    ------
    FormatError
        When the bundle is broken.
    InputError
        When it has no exported form, or the machine no ONNX Runtime.
    """
    folder = Path(folder)
    manifest = open_manifest(folder, ("network",), 1)
    if ONNX_FILE not in manifest["sha256"]:
        raise InputError(
            folder,
            f"a bundle with {ONNX_FILE}",
            "one without",
            "export it: calowatch.bundle.export.export_onnx(folder)",
        )
    try:
        import onnxruntime  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise InputError("ONNX Runtime", "an installed one", "none", "pip install 'calowatch[ml]'") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(
            folder / ONNX_FILE, options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its errors share no class of their own
        raise FormatError(
            folder / ONNX_FILE, "an ONNX network", f"a damaged one ({error})", "export it again"
        ) from error
    taken = {entry.name for entry in session.get_inputs()}

    def run(x: Values, n_events: Values) -> Values:
        given = {name: values for name, values in (("x", x), ("n_events", n_events)) if name in taken}
        answer: Values = session.run(None, given)[0]
        return answer

    return NetworkWindows(load_frame(folder, manifest), run)
