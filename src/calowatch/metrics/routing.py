"""How a mixture of experts shares out its tokens, and how alike its experts are: pure functions.

``routing`` holds the share of each token given to each expert, shape (..., token, expert), as a router gives it; shares
that do not sum to one (k best, expert choice) are counted as they stand, so that a dropped token weighs nothing.
Entropies and information are in nats.
"""

import numpy as np
import numpy.typing as npt

from calowatch.core.errors import InputError

__all__ = [
    "balance",
    "cka",
    "cosine_similarity",
    "dead_experts",
    "load",
    "mean_entropy",
    "mutual_information",
    "token_entropy",
]

Floats = npt.NDArray[np.float64]


def _tokens(routing: npt.ArrayLike) -> Floats:
    """Return routing as (token, expert)."""
    shares = np.asarray(routing, np.float64)
    if shares.ndim < 2 or not shares.size or not np.isfinite(shares).all() or (shares < 0).any():
        raise InputError(
            "routing", "shares >= 0, shape (token, expert)", f"shape {shares.shape}", "give a router's shares"
        )
    return shares.reshape(-1, shares.shape[-1])


def load(routing: npt.ArrayLike) -> Floats:
    """Return the share of all work that each expert does, shape (expert,), sum 1.

    Raises
    ------
    InputError
        For shares that are negative, not finite, or all zero.

    Examples
    --------
    >>> load([[1.0, 0.0], [0.5, 0.5]])
    array([0.75, 0.25])
    """
    work = _tokens(routing).sum(0)
    if not work.sum():
        raise InputError("routing", "some token with an expert", "zeros", "give a router's shares")
    shares: Floats = work / work.sum()
    return shares


def balance(routing: npt.ArrayLike) -> float:
    """Return the largest load over the mean load: 1 when even, the number of experts when one does it all."""
    return float(load(routing).max() * np.shape(routing)[-1])


def dead_experts(routing: npt.ArrayLike, below: float = 0.01) -> list[int]:
    """Return experts whose load is below a share of the mean load."""
    shares = load(routing)
    return [int(expert) for expert in np.flatnonzero(shares < below / len(shares))]


def _entropy(p: Floats) -> Floats:
    """Return -sum p ln p over the last axis, of rows made to sum to one; 0 for empty rows."""
    total = p.sum(-1, keepdims=True)
    p = np.divide(p, total, out=np.zeros_like(p), where=total > 0)
    found: Floats = -(p * np.log(np.where(p > 0, p, 1.0))).sum(-1)
    return found


def token_entropy(routing: npt.ArrayLike) -> float:
    """Return the mean entropy of a token's shares: 0 when each token has one expert, ln E when all share all.

    Tokens with no expert are left out; NaN when all are.
    """
    tokens = _tokens(routing)
    tokens = tokens[tokens.sum(1) > 0]
    return float(_entropy(tokens).mean()) if len(tokens) else float("nan")


def mean_entropy(routing: npt.ArrayLike) -> float:
    """Return the entropy of the load: ln E when experts work alike, 0 when one does it all."""
    return float(_entropy(load(routing)))


def mutual_information(routing: npt.ArrayLike, group: npt.ArrayLike) -> float:
    """Return the mutual information of expert and group of a token, such as class or position.

    I = H(load) - sum_g w_g H(load within g), with w the share of the work that lies in group g. It is at most ln E,
    and the plug-in estimate: biased upwards by about (E - 1)(G - 1) / (2 tokens).

    Parameters
    ----------
    routing
        Shape (..., token, expert).
    group
        A whole number per token, broadcast to (..., token).

    Raises
    ------
    InputError
        As `load`.

    Examples
    --------
    >>> round(float(mutual_information([[1.0, 0.0], [0.0, 1.0]], [0, 1])), 4)
    0.6931
    """
    shape = np.shape(routing)[:-1]
    tokens, groups = _tokens(routing), np.broadcast_to(np.asarray(group), shape).ravel()
    whole = mean_entropy(tokens)
    names, at = np.unique(groups, return_inverse=True)
    work = np.zeros((len(names), tokens.shape[1]))
    np.add.at(work, at, tokens)
    return max(0.0, whole - float(work.sum(1) / work.sum() @ _entropy(work)))


def cosine_similarity(answers: npt.ArrayLike) -> Floats:
    """Return the mean cosine of what two experts answer to the same token.

    Parameters
    ----------
    answers
        Shape (..., token, expert, feature).

    Returns
    -------
    numpy.ndarray
        Shape (expert, expert), 1 on the diagonal; tokens that an expert answers by zero count as 0.
    """
    values = _answers(answers)
    norm = np.linalg.norm(values, axis=2, keepdims=True)
    unit = np.divide(values, norm, out=np.zeros_like(values), where=norm > 0)
    found: Floats = np.einsum("nad,nbd->ab", unit, unit) / len(values)
    np.fill_diagonal(found, 1.0)
    return found


def cka(answers: npt.ArrayLike) -> Floats:
    """Return the linear centred kernel alignment of experts (arXiv 1905.00414): 1 when alike but for a turn and scale.

    |Y^T X|_F^2 / (|X^T X|_F |Y^T Y|_F) of centred answers X, Y; 0 where an expert always answers the same.

    Parameters
    ----------
    answers
        Shape (..., token, expert, feature).

    Returns
    -------
    numpy.ndarray
        Shape (expert, expert).
    """
    values = _answers(answers)
    values = values - values.mean(0)
    n = values.shape[1]
    cross = np.einsum("nad,nbe->abde", values, values)
    square = (cross**2).sum((2, 3))
    own = np.sqrt(np.diagonal(square))
    scale = own[:, None] * own
    found: Floats = np.divide(square, scale, out=np.zeros((n, n)), where=scale > 0)
    return found


def _answers(answers: npt.ArrayLike) -> Floats:
    values = np.asarray(answers, np.float64)
    if values.ndim < 3 or not values.size or not np.isfinite(values).all():
        raise InputError(
            "answers of experts",
            "finite numbers, shape (token, expert, feature)",
            f"shape {values.shape}",
            "give what calowatch.models.moe_vit.expert_answers returns",
        )
    return values.reshape(-1, *values.shape[-2:])
