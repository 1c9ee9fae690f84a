"""Electrons and photons as labelled data: classes, blocks, scalars on demand."""

import numpy as np
import pytest

from calowatch.core.errors import FormatError
from calowatch.core.training import ImageDataRecipe
from calowatch.data.image_sets import open_images
from calowatch.metrics.showers import SHOWER_OBSERVABLES, shower_observables
from calowatch.simulate.egamma_files import EgammaRequest, simulate_egamma


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("egamma")
    simulate_egamma(EgammaRequest(80, out, seed=2))
    return out


def test_a_folder_is_both_classes(folder):
    data = open_images([folder], ImageDataRecipe(kind="egamma"))
    assert (data.classes, data.channels, data.kind) == (("photon", "electron"), ("energy", "time"), "egamma")
    assert data.images.shape[1:] == (2, 32, 32)
    assert sorted(set(data.labels.tolist())) == [0, 1]
    assert set(data.table["block"]) == {0, 1}
    assert data.scalars.shape == (len(data), 0)


def test_scalars_are_observables(folder):
    data = open_images([folder], ImageDataRecipe(kind="egamma", scalars=("r9", "hits"), channels=("energy",)))
    whole = open_images([folder], ImageDataRecipe(kind="egamma"))
    expected = shower_observables(whole.images.read(np.arange(len(whole))))
    at = [SHOWER_OBSERVABLES.index(name) for name in ("r9", "hits")]
    np.testing.assert_array_equal(data.scalars, expected[:, at])
    assert data.images.shape[1] == 1


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(FormatError, match="none"):
        open_images([tmp_path], ImageDataRecipe(kind="egamma"))
