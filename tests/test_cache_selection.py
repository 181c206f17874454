import numpy as np
import pytest
from store_fakes import FORWARD, MEAN, edit_header, make_store, provenance, values_of

from cache.errors import ConfigError, Damaged, NotExtracted
from cache.selection import read_selection, select, write_selection

ARRAYS = ((FORWARD.layer, FORWARD.direction, FORWARD.pooling),)


def test_a_selection_finds_its_stores_among_others(tmp_path):
    stores = {
        "train": [make_store(tmp_path, provenance("train", noise={"draw": draw})) for draw in (1, 0)],
        "test": [make_store(tmp_path, provenance("test", noise={"level": 2.0}))],
    }
    stores["train"].append(make_store(tmp_path, provenance("train", arrays=(MEAN,))))
    make_store(tmp_path, provenance("train", input="77" * 32))
    make_store(tmp_path, provenance("train", encoder={"weights": "77" * 32}))
    make_store(tmp_path, provenance("test"))
    path = tmp_path / "selections" / "one.json"
    write_selection(path, select(tmp_path, stores, encoder="tiny"))
    selection = read_selection(path)
    assert selection == select(tmp_path, stores, encoder="tiny")
    views = selection.views("train", ARRAYS)
    assert [view.provenance["noise"]["draw"] for view in views] == [0, 1]
    np.testing.assert_array_equal(views[0].features(FORWARD.layer, FORWARD.pooling), values_of(FORWARD))
    (test,) = selection.views("test", ARRAYS)
    assert test.provenance["noise"]["level"] == 2.0
    with pytest.raises(NotExtracted, match="holds test, train, not 'val'; extract that split"):
        selection.views("val", ARRAYS)


def test_noise_that_is_not_drawn(tmp_path):
    clean = {"mode": "none", "seed": None, "draw": None, "noise_version": None}
    stores = {"test": [make_store(tmp_path, provenance("test", noise=clean))]}
    make_store(tmp_path, provenance("test"))
    path = tmp_path / "s.json"
    write_selection(path, select(tmp_path, stores, encoder="tiny"))
    (view,) = read_selection(path).views("test", ARRAYS)
    assert view.provenance["noise"]["mode"] == "none"


def test_stores_of_two_families_are_no_selection(tmp_path):
    stores = {
        "train": [make_store(tmp_path)],
        "test": [make_store(tmp_path, provenance("test", precision="tf32"))],
    }
    with pytest.raises(ConfigError, match="belong to 2 families"):
        select(tmp_path, stores, encoder="tiny")


def test_an_absent_or_edited_selection_is_refused(tmp_path):
    path = tmp_path / "s.json"
    with pytest.raises(NotExtracted, match=r"no such selection; .*--selection"):
        read_selection(path)
    store = make_store(tmp_path)
    write_selection(path, select(tmp_path, {"train": [store]}, encoder="tiny"))
    path.write_text(path.read_text().replace("tiny", "huge"))
    with pytest.raises(Damaged, match="altered"):
        read_selection(path)
    edit_header(store, sealed=False, rows=1)
    with pytest.raises(Damaged):
        select(tmp_path, {"train": [store]}, encoder="tiny")
