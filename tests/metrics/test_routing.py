"""Routing figures against cases worked out by hand, and their bounds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from calowatch.core.errors import InputError
from calowatch.metrics import routing as r

SHARES = arrays(np.float64, st.tuples(st.integers(2, 30), st.integers(2, 5)), elements=st.floats(0.01, 1.0))


def test_load_and_dead_experts():
    shares = np.array([[0.7, 0.3, 0.0], [0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
    np.testing.assert_allclose(r.load(shares), [2.2 / 3, 0.8 / 3, 0.0])
    assert r.balance(shares) == pytest.approx(2.2)
    assert r.dead_experts(shares) == [2]
    assert r.balance(np.eye(4)) == 1.0


def test_entropies_at_their_ends():
    one_each, all_alike = np.eye(3), np.full((5, 3), 1 / 3)
    assert (r.token_entropy(one_each), r.mean_entropy(one_each)) == (0.0, pytest.approx(np.log(3)))
    assert r.token_entropy(all_alike) == r.mean_entropy(all_alike) == pytest.approx(np.log(3))
    lonely = np.tile([1.0, 0.0, 0.0], (4, 1))
    assert (r.token_entropy(lonely), r.mean_entropy(lonely)) == (0.0, 0.0)
    assert np.isnan(r.token_entropy(np.zeros((2, 3))))


def test_a_dropped_token_weighs_nothing():
    shares = np.array([[0.6, 0.0], [0.0, 0.0], [0.0, 0.6]])
    assert r.mutual_information(shares, [0, 0, 1]) == pytest.approx(np.log(2))
    assert r.token_entropy(shares) == 0.0


def test_mutual_information_with_class_and_place():
    by_class = np.zeros((4, 3, 2))
    by_class[[0, 1], :, 0] = by_class[[2, 3], :, 1] = 1.0
    assert r.mutual_information(by_class, np.array([0, 0, 1, 1])[:, None]) == pytest.approx(np.log(2))
    assert r.mutual_information(by_class, np.arange(3)) == pytest.approx(0.0, abs=1e-12)


@given(SHARES, st.integers(0, 99))
def test_information_lies_between_nothing_and_the_entropy_of_the_load(shares, seed):
    group = np.random.default_rng(seed).integers(0, 3, len(shares))
    assert 0.0 <= r.mutual_information(shares, group) <= r.mean_entropy(shares) + 1e-12
    assert 1.0 <= r.balance(shares) + 1e-12 <= shares.shape[1] + 1e-9
    assert r.token_entropy(shares) <= np.log(shares.shape[1]) + 1e-12


def test_alike_experts():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 4))
    turn, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    answers = np.stack(
        [x, -2.0 * x, 3.0 * x @ turn + 5.0, rng.normal(size=(50, 4)), np.ones((50, 4))], axis=1
    )
    cosine, alike = r.cosine_similarity(answers), r.cka(answers.reshape(5, 10, 5, 4))
    assert cosine[0, 1] == pytest.approx(-1.0)
    np.testing.assert_allclose(alike[0, :3], 1.0)
    assert alike[0, 3] < 0.3
    assert (alike[4, :4] == 0).all()
    np.testing.assert_allclose(cosine, cosine.T)


def test_linear_cka_by_gram_matrices():
    """HSIC of linear kernels, over its own: the definition, not the shortcut."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(20, 3)), rng.normal(size=(20, 3))
    y[:, 0] += x[:, 1]
    centre = np.eye(20) - 1 / 20
    k, m = centre @ x @ x.T @ centre, centre @ y @ y.T @ centre
    expected = (k * m).sum() / np.sqrt((k * k).sum() * (m * m).sum())
    assert r.cka(np.stack([x, y], axis=1))[0, 1] == pytest.approx(expected)


@pytest.mark.parametrize("shares", [[[-0.1, 1.1]], [[np.nan, 1.0]], [0.5, 0.5], np.zeros((0, 2))])
def test_what_is_no_routing_is_refused(shares):
    with pytest.raises(InputError, match="routing"):
        r.load(shares)


def test_no_work_and_no_answers_are_refused():
    with pytest.raises(InputError, match="some token"):
        r.load(np.zeros((3, 2)))
    with pytest.raises(InputError, match="answers of experts"):
        r.cka(np.zeros((3, 2)))
