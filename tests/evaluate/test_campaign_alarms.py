"""The threshold of one alarm a day against trying every threshold on all scores."""

import numpy as np
import pytest

from calowatch.evaluate.campaign.alarms import count_alarms, threshold_of_a_day
from calowatch.evaluate.campaign.data import Pool
from calowatch.metrics.timing import LS_SECONDS


def kept_of(scores, kept):
    """Return the largest scores of each window and their channels, as a campaign keeps them."""
    where = np.argsort(-scores, axis=1, kind="stable")[:, :kept]
    return np.take_along_axis(scores, where, axis=1), where


def lowest_by_trying(scores, per_run, allowed):
    """Return the lowest score above which there are no more alarms than allowed, counted on every channel."""
    good = [t for t in np.unique(scores) if count_alarms(*np.nonzero(scores > t), per_run) <= allowed]
    return min(good)


def days(n):
    """Return lumisections in which ``n`` alarms are allowed."""
    return int(np.ceil(n * 86400 / LS_SECONDS))


@pytest.mark.parametrize("seed", range(25))
def test_it_is_that_of_every_score(seed):
    draw = np.random.default_rng([seed, 1]).integers
    runs, per_run, channels = int(draw(1, 4)), int(draw(1, 13)), int(draw(6, 15))
    allowed, levels, lasting = int(draw(0, 6)), int(draw(2, 20)), int(draw(0, 3))
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, (runs * per_run, channels)).astype(np.float32)
    # Some channels are hot all along: many flags, few alarms.
    scores[:, :lasting] += levels
    top, where = kept_of(scores, 6)
    threshold, told = threshold_of_a_day(
        top, where, Pool("other", "", (None,) * runs, 0, per_run * 5, 5), days(allowed)
    )
    assert told == allowed
    assert threshold == max(lowest_by_trying(scores, per_run, allowed), top.min())


def test_one_lasting_alarm_is_not_cut_short():
    """A channel that is hot for 120 windows is one alarm, though its flags are more than fifty per alarm."""
    scores = np.random.default_rng(2).random((120, 12)).astype(np.float32)
    scores[:, 7] += np.random.default_rng(3).permutation(120) + 1
    top, where = kept_of(scores, 10)
    pool = Pool("other", "", (None,), 0, 600, 5)
    threshold, _ = threshold_of_a_day(top, where, pool, days(1))
    assert threshold == lowest_by_trying(scores, 120, 1)
    assert (scores > threshold).sum() == 120


def test_more_alarms_than_scores_kept_never_rest_on_lost_scores():
    scores = np.random.default_rng(5).random((30, 40)).astype(np.float32)
    top, where = kept_of(scores, 4)
    pool = Pool("other", "", (None,), 0, 150, 5)
    threshold, allowed = threshold_of_a_day(top, where, pool, days(20))
    assert threshold >= top.min(axis=1).max()
    assert count_alarms(*np.nonzero(scores > threshold), 30) <= allowed


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_equal_scores_are_let_by_together(value):
    top = np.full((10, 3), value, np.float32)
    where = np.tile(np.arange(3), (10, 1))
    assert threshold_of_a_day(top, where, Pool("other", "", (None,), 0, 50, 5), days(1))[0] == value
