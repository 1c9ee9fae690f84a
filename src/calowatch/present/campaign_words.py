"""What a campaign shows, in plain words made from its numbers alone."""

from calowatch.present.campaign_numbers import REFERENCE, Cell, Result, best, least_of, number, rate

__all__ = ["deployed", "networks", "sentences"]

_DEPLOYED = "cnn-vae-lstm+rin+dc"


def networks(result: Result) -> list[str]:
    """Return the names of the networks."""
    return [who["name"] for who in result["contestants"] if who["kind"] == "network"]


def deployed(result: Result) -> str | None:
    """Return the network that stands for the source system: its deployed configuration, where it took part."""
    for who in result["contestants"]:
        if who.get("model") == _DEPLOYED:
            return str(who["name"])
    return None


def _against(cell: Cell, model: str, other: str) -> int | None:
    """Return 1 where a model has a lower rate than another beyond both intervals, -1 where a higher one, 0 between."""
    own, theirs = best(cell, model), best(cell, other)
    if own is None or theirs is None:
        return None
    a, b = (cell["figures"][m][e]["channel"]["fpr"]["0.99"] for m, e in ((model, own), (other, theirs)))
    if a[2] < b[1]:
        return 1
    return -1 if a[1] > b[2] else 0


def sentences(result: Result) -> list[str]:
    """Return what a reader should know first, in plain words, made from the numbers alone."""
    found = [_against_reference(result, name) for name in networks(result)]
    found += _source_score(result)
    found += _fifth(result)
    left_out = [cell["name"] for cell in result["cells"] if not cell["n_faults"]]
    if left_out:
        found.append(f"Left out, since the factor saturates nearly all units: {', '.join(left_out)}.")
    return [sentence for sentence in found if sentence]


def _against_reference(result: Result, name: str) -> str:
    cells = [cell for cell in result["cells"] if _against(cell, name, REFERENCE) is not None]
    if not cells:
        return ""
    places = [_against(cell, name, REFERENCE) for cell in cells]
    better, worse = places.count(1), places.count(-1)
    text = (
        f"{name}, by its best evidence, against the per-channel reference by its own: fewer false positives at 99 % "
        f"capture in {better}, more in {worse} and no difference beyond the intervals in "
        f"{len(cells) - better - worse} of {len(cells)} cells."
    )
    lost = [cell for cell, place in zip(cells, places, strict=True) if place == -1]
    if lost:
        text += (
            " It loses to the reference in: " + "; ".join(_pair(cell, name, REFERENCE) for cell in lost) + "."
        )
    return text


def _pair(cell: Cell, model: str, other: str) -> str:
    told = []
    for name in (model, other):
        evidence = best(cell, name)
        assert evidence is not None
        told.append(number(rate(cell, name, evidence), least_of(cell, name, evidence)))
    return f"{cell['name']} ({told[0]} against {told[1]})"


def _source_score(result: Result) -> list[str]:
    base = result["cells"][0]
    worse = []
    for who in result["contestants"]:
        own, source = best(base, who["name"]), rate(base, who["name"], "source")
        value = rate(base, who["name"], own) if own else None
        if source is not None and value is not None and own is not None:
            least = least_of(base, who["name"], own)
            worse.append(f"{who['name']} {number(source, least)} against {number(value, least)}")
    if not worse:
        return []
    head = "What the source score costs at the base point (rate at 99 % capture, the same weights): "
    return [head + "; ".join(worse) + "."]


def _fifth(result: Result) -> list[str]:
    """Return how every network stands to the deployed configuration at factor 0.6, on other runs and pile-up."""
    source = deployed(result)
    cells = [
        c for c in result["cells"] if c["factor"] == 0.6 and c["unit"] == "channel" and c["duration"] == 5
    ]
    found = []
    for cell in cells:
        theirs = rate(cell, source, "source") if source else None
        if theirs is None or source is None:
            continue
        parts = []
        for name in networks(result):
            own = best(cell, name)
            value = rate(cell, name, own) if own else None
            if own is None or value is None or name == source:
                continue
            least = least_of(cell, name, own)
            ratio = max(value, least) / theirs if theirs else float("nan")
            sign = "<" if value == 0 else ""
            parts.append(f"{name} {number(value, least)} ({sign}{ratio:.2g} times)")
        if parts:
            head = f"Factor 0.6, {cell['said']}: the source score of {source} has {number(theirs)} at 99 % capture; "
            found.append(head + "by their best evidence, " + ", ".join(parts) + ".")
    return found
