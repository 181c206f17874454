"""The two ways by xarray; warnings are errors in every test."""

import warnings

import numpy as np
import pytest
import xarray as xr
from store_fakes import BACKWARD, FORWARD, coordinates, make_store, provenance, row_table, values_of

from cache import FeatureStore, open_dataset
from cache.errors import Damaged, NotExtracted
from cache.header import chunk_path

COORDINATES = {"channel", "segment", "statistic", "wave_lo", "wave_hi"}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("store"), provenance(arrays=(FORWARD, BACKWARD)))


@pytest.fixture(autouse=True)
def _warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_strict_route(store):
    found = open_dataset(store, layer=FORWARD.layer, pooling=FORWARD.pooling)
    assert found["features"].dims == ("spectrum", "feature")
    np.testing.assert_array_equal(found["features"], values_of(FORWARD))
    assert set(found.coords) == {"row", "star", "id", *COORDINATES}
    np.testing.assert_array_equal(found["star"], row_table().star)
    np.testing.assert_array_equal(found["wave_hi"], coordinates()["wave_hi"])
    np.testing.assert_array_equal(found["log_g"], row_table().labels["log_g"])
    assert found["log_g"].dims == ("spectrum",)
    assert found.attrs["digest"] == FeatureStore.open(store).digest()
    assert found.attrs["split"] == "train"


def test_strict_route_forms_directions(store):
    names = {"layer": FORWARD.layer, "pooling": FORWARD.pooling}
    both = open_dataset(str(store), direction="concat", **names)
    np.testing.assert_array_equal(both["features"], np.hstack([values_of(FORWARD), values_of(BACKWARD)]))
    mean = open_dataset(store, direction="mean", **names)
    assert not {"wave_lo", "wave_hi"} & set(mean.coords)


def test_strict_route_refuses_what_is_missing(store, tmp_path):
    with pytest.raises(NotExtracted, match="enc_0/forward/none"):
        open_dataset(store, layer="enc_0", pooling="none")
    path = make_store(tmp_path)
    chunk_path(path, FORWARD, 1).unlink()
    with pytest.raises(Damaged, match="unreadable although its block was committed"):
        open_dataset(path, layer=FORWARD.layer, pooling=FORWARD.pooling)


@pytest.mark.parametrize("array", [FORWARD, BACKWARD])
def test_plain_route(store, array):
    with xr.open_zarr(store, group=array.path, consolidated=False) as found:
        assert found["features"].dims == ("spectrum", "feature")
        assert set(found.coords) == COORDINATES
        assert all(found[name].dims == ("feature",) for name in COORDINATES)
        np.testing.assert_array_equal(found["features"], values_of(array))
        assert found["statistic"].dtype == np.int8
        assert found["statistic"].attrs["flag_meanings"] == "mean max value"
        assert found["wave_lo"].attrs["units"] == "angstrom"


@pytest.mark.parametrize("group", ["labels", "enc_pre_latent"])
def test_plain_route_opens_the_labels_and_groups(store, group):
    with xr.open_zarr(store, group=group, consolidated=False) as found:
        assert (group == "labels") == ("log_g" in found)
