import pytest
from store_fakes import begin_store, edit_header, fill, flip_byte, make_store, provenance

from cache import FeatureStore, state
from cache.commits import commit_path
from cache.header import chunk_path, read_header


@pytest.fixture
def store(tmp_path):
    return FeatureStore.open(make_store(tmp_path))


def test_a_store_that_is_as_it_was_is_fresh(tmp_path, store):
    assert state(tmp_path, store.key) == "fresh"
    assert state(str(tmp_path), store.key, store.digest()) == "fresh"


def test_a_store_that_is_not_there_is_missing(tmp_path, store):
    assert state(tmp_path, "0" * 64) == "missing"
    assert state(tmp_path / "nowhere", store.key) == "missing"
    (store.path / "zarr.json").unlink()
    assert state(tmp_path, store.key) == "missing"


def test_other_values_another_key_or_missing_blocks_are_changed(tmp_path, store):
    assert state(tmp_path, store.key, "0" * 64) == "changed"
    assert state(tmp_path, store.key[:16] + "0" * 48) == "changed"
    commit_path(store.path, 1).unlink()
    assert state(tmp_path, store.key) == "changed"
    begun = begin_store(tmp_path, provenance("test"))
    assert state(tmp_path, begun.header.key) == "changed"
    fill(begun)
    assert state(tmp_path, begun.header.key) == "fresh"


def test_damaged_records_and_headers_are_changed(tmp_path, store):
    flip_byte(commit_path(store.path, 1), 3)
    assert state(tmp_path, store.key) == "changed"
    edit_header(store.path, sealed=True, schema=2)
    assert state(tmp_path, store.key) == "changed"


def test_chunks_are_not_looked_at(tmp_path, store):
    flip_byte(chunk_path(store.path, store.arrays[0], 0))
    assert state(tmp_path, store.key, store.digest()) == "fresh"


def test_a_store_moved_to_another_split_is_changed(tmp_path):
    path = make_store(tmp_path)
    key = read_header(path).key
    assert state(tmp_path, key) == "fresh"
    path.parent.rename(tmp_path / "elsewhere")
    assert state(tmp_path, key) == "changed"
