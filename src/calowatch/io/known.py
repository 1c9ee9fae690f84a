"""Lists of channels that are already known to be bad."""

import csv
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from calowatch.core.errors import FormatError
from calowatch.detector.index import channel_id
from calowatch.detector.segmentation import ERAS, SUBDETS, segmentation

__all__ = ["BAD_STATUS", "read_known"]

COLUMNS = ("subdet", "ieta", "iphi", "depth")
BAD_STATUS = sum(1 << bit for bit in (0, 1, 5, 6))
"""Bits of CMSSW's HcalChannelStatus by which a channel gives no or wrong digis: off, masked, dead, hot."""

Cell = tuple[str, int, int, int]
Numbered = tuple[int, Cell]
"""A cell and the line that names it."""


def read_known(path: Path | str) -> frozenset[int]:
    r"""Return the numbers of the known bad channels.

    Parameters
    ----------
    path
        Either CSV with the columns ``subdet,ieta,iphi,depth`` (others are passed over), or CMSSW's HcalChannelStatus
        as text: lines of ``eta phi dep det value DetId``, the value hexadecimal, or after ``(hex)`` or ``(dec)`` in
        that base; a channel is bad when a bit of `BAD_STATUS` is set. Lines beginning with ``#`` are comments.

    Raises
    ------
    FormatError
        For a file of neither format, or a line that names no channel of any era; those of another era than the run's
        do no harm.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "known.csv"
    ...     _ = path.write_text("subdet,ieta,iphi,depth\nHE,-27,33,3\n")
    ...     sorted(read_known(path))
    [2073333]
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise _not_known(path, "a binary file") from error
    except (FileNotFoundError, IsADirectoryError) as error:
        raise _not_known(path, "a folder" if path.is_dir() else "no such file") from error
    numbered = [
        (i, line) for i, line in enumerate(lines, 1) if line.strip() and not line.lstrip().startswith("#")
    ]
    if not numbered:
        if any(line.strip() for line in lines):
            return frozenset()
        raise _not_known(path, "an empty file")
    header = [name.strip() for name in numbered[0][1].split(",")]
    if set(COLUMNS) <= set(header):
        cells = _from_csv(path, header, numbered[1:])
    elif len(header) > 1:
        missing = sorted(set(COLUMNS) - set(header))
        raise _not_known(path, f"a CSV header without {', '.join(missing)}")
    else:
        cells = _from_status(path, numbered)
    return _channels(path, cells)


def _channels(path: Path, cells: Iterable[Numbered]) -> frozenset[int]:
    """Return the numbers of cells, refusing what is no channel of any era."""
    lines = {int(channel_id(*cell)): (line, cell) for line, cell in cells}
    if strangers := lines.keys() - _all_channels():
        line, cell = min(lines[channel] for channel in strangers)
        named = " ".join(map(str, cell))
        raise _not_known(path, f"line {line} with {named}, which is no channel of any era")
    return frozenset(lines)


@cache
def _all_channels() -> frozenset[int]:
    tables = [segmentation(era) for era in ERAS]
    return frozenset(
        channel
        for table in tables
        for channel in channel_id(*(table[name].to_numpy() for name in COLUMNS)).tolist()
    )


def _not_known(path: Path, found: str) -> FormatError:
    return FormatError(
        path,
        f"CSV with the columns {','.join(COLUMNS)}, or an HcalChannelStatus text",
        found,
        "check the file given as known bad channels",
    )


def _from_csv(path: Path, header: list[str], numbered: list[tuple[int, str]]) -> Iterator[Numbered]:
    places = [header.index(name) for name in COLUMNS]
    for (line, _), row in zip(numbered, csv.reader(text for _, text in numbered), strict=True):
        if len(row) != len(header):
            raise _not_known(path, f"line {line} with {len(row)} fields for {len(header)} columns")
        yield line, _cell(path, line, [row[place].strip() for place in places])


def _from_status(path: Path, numbered: list[tuple[int, str]]) -> Iterator[Numbered]:
    for line, text in numbered:
        fields = text.split()
        if len(fields) < 5:
            raise _not_known(path, f"line {line} with {len(fields)} fields: {text.strip()[:40]!r}")
        base = {"(hex)": 16, "(dec)": 10}.get(fields[4])
        value = fields[5] if base is not None and len(fields) > 5 else fields[4]
        try:
            status = int(value, base or 16)
        except ValueError as error:
            raise _not_known(path, f"line {line} with the status {value!r}") from error
        # The same list covers calibration and trigger channels, which occupancy does not show.
        if status & BAD_STATUS and fields[3] in SUBDETS:
            yield line, _cell(path, line, [fields[3], *fields[:3]])


def _cell(path: Path, line: int, words: list[str]) -> Cell:
    """Return a cell, refusing numbers that no cell has."""
    subdet, *numbers = words
    try:
        ieta, iphi, depth = (int(number) for number in numbers)
    except ValueError as error:
        raise _not_known(path, f"line {line} with {' '.join(words)}, which is no channel") from error
    if subdet not in SUBDETS or not 1 <= abs(ieta) <= 41 or not 1 <= iphi <= 72 or not 1 <= depth <= 7:
        raise _not_known(path, f"line {line} with {' '.join(words)}, which is no channel")
    return subdet, ieta, iphi, depth
