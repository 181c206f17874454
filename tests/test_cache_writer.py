import errno
import fcntl
import json
import os
from dataclasses import replace

import numpy as np
import pytest
import zarr
from store_fakes import (
    BACKWARD,
    COMPUTED_WITH,
    FORWARD,
    WIDTH,
    begin_store,
    coordinates,
    fill,
    make_store,
    provenance,
    row_table,
    values_of,
)

from cache.arrays import ArrayName
from cache.atomic import sweep
from cache.chunks import write_chunk
from cache.commits import commit_path, read_commit
from cache.errors import Busy, CacheError, ConfigError, Damaged, NotExtracted, Stale
from cache.header import chunk_path, last_run, read_header, rebuild_command
from cache.locks import exclusive, own_prefix
from cache.store import FeatureStore
from cache.writer import Block, StoreWriter, leftovers


def test_a_filled_store_reads_back_what_was_written(tmp_path):
    about = provenance(arrays=(FORWARD, BACKWARD))
    store = FeatureStore.open(make_store(tmp_path, about))
    assert store.path == tmp_path / "train" / store.key[:16]
    for array in (FORWARD, BACKWARD):
        read = store.features(array.layer, array.pooling, array.direction)
        assert read.dtype == np.float32
        np.testing.assert_array_equal(read, values_of(array))
    table = row_table()
    np.testing.assert_array_equal(store.rows, table.row)
    np.testing.assert_array_equal(store.stars, table.star)
    assert store.stars.dtype == np.uint64
    assert store.ids == list(table.id)
    assert store.label_names == ("log_g", "mag")
    np.testing.assert_array_equal(store.labels("log_g"), table.labels["log_g"])
    assert np.isnan(store.labels("mag")).all()


def test_on_disk_layout_is_the_contract(tmp_path):
    path = make_store(tmp_path)
    features = json.loads((path / FORWARD.path / "features/zarr.json").read_text())
    assert features["data_type"] == "float32"
    assert features["fill_value"] == "NaN"
    assert [codec["name"] for codec in features["codecs"]] == ["bytes", "crc32c"]
    assert features["chunk_grid"]["configuration"]["chunk_shape"] == [4, WIDTH]
    assert features["dimension_names"] == ["spectrum", "feature"]
    assert features["attributes"]["coordinates"] == "channel segment statistic wave_lo wave_hi"
    statistic = json.loads((path / FORWARD.path / "statistic/zarr.json").read_text())
    assert statistic["data_type"] == "int8"
    assert statistic["attributes"]["flag_meanings"] == "mean max value"
    star = json.loads((path / "rows/star/zarr.json").read_text())
    assert (star["data_type"], star["dimension_names"]) == ("uint64", ["spectrum"])
    assert "consolidated_metadata" not in json.loads((path / "zarr.json").read_text())
    commit = json.loads((path / ".commit/000001.json").read_text())
    size, tail, sha = commit["arrays"][FORWARD.path]
    chunk = chunk_path(path, FORWARD, 1).read_bytes()
    assert (size, tail) == (len(chunk), chunk[-4:].hex())
    assert len(sha) == 64
    assert commit["rows"] == [4, 8]
    assert commit["computed_with"] == COMPUTED_WITH


def test_blocks_may_be_committed_in_any_order_and_by_several_writers(tmp_path):
    first = begin_store(tmp_path)
    assert first.pending() == [0, 1, 2]
    fill(first, [2])
    second = StoreWriter.open(first.path)
    assert second.pending() == [0, 1]
    fill(second, [0])
    fill(first)
    assert second.pending() == []
    np.testing.assert_array_equal(
        FeatureStore.open(first.path).features(FORWARD.layer, FORWARD.pooling), values_of(FORWARD)
    )


def test_order_of_commits_does_not_change_a_byte_or_the_digest(tmp_path):
    one = make_store(tmp_path / "one")
    writer = begin_store(tmp_path / "other")
    for block in (1, 2, 0):
        fill(writer, [block])
    other = writer.path
    for path in sorted(one.rglob("*")):
        if path.is_file() and ".runs" not in path.parts:
            assert path.read_bytes() == (other / path.relative_to(one)).read_bytes(), path
    assert FeatureStore.open(one).digest() == FeatureStore.open(other).digest()


def test_creating_again_opens_the_same_store_with_its_own_block_rows(tmp_path):
    first = fill(begin_store(tmp_path, block_rows=4), [1])
    again = begin_store(tmp_path, block_rows=2)
    assert again.path == first.path
    assert again.header.block_rows == 4
    assert again.pending() == [0, 2]
    assert [path.name for path in (tmp_path / "train").iterdir()] == [first.path.name]


def test_nothing_is_left_when_creating_fails(tmp_path):
    with pytest.raises(ConfigError, match="label 'a/b' cannot be a file name"):
        begin_store(tmp_path, rows=row_table(labels={"a/b": np.zeros(10)}))
    assert list((tmp_path / "train").iterdir()) == []


def test_provenance_and_coordinates_must_agree(tmp_path):
    with pytest.raises(Damaged, match="disagree about the arrays"):
        StoreWriter.create(
            tmp_path, provenance(), rows=row_table(), coordinates={FORWARD: coordinates(6)}, block_rows=4
        )


def test_a_label_named_like_the_features_is_pinned_as_well(tmp_path):
    path = make_store(tmp_path / "a", rows=row_table(labels={"features": np.arange(10.0)}))
    other = make_store(tmp_path / "b", rows=row_table(labels={"features": np.arange(10.0) + 1}))
    chunk = "labels/features/c/0"
    (path / chunk).write_bytes((other / chunk).read_bytes())
    with pytest.raises(Damaged, match="labels"):
        FeatureStore.open(path)


def test_rest_of_a_store_without_header_is_named(tmp_path):
    path = make_store(tmp_path)
    (path / "zarr.json").unlink()
    with pytest.raises(Damaged, match=f"{path.name}.*delete that folder .* and extract again"):
        begin_store(tmp_path)
    with pytest.raises(NotExtracted, match="no feature store there"):
        FeatureStore.open(path)


def test_a_file_is_not_a_store(tmp_path):
    (tmp_path / "x.h5").write_bytes(b"")
    with pytest.raises(NotExtracted, match=r"x\.h5: no feature store there"):
        FeatureStore.open(tmp_path / "x.h5")


def test_two_keys_with_one_folder_name_are_told_apart(tmp_path, monkeypatch):
    path = make_store(tmp_path)
    key = read_header(path).key
    clash = key[:16] + "0" * 48
    monkeypatch.setattr("cache.writer.store_key", lambda _: clash)
    with pytest.raises(Stale, match=f"holds key {key}, asked for {clash}"):
        begin_store(tmp_path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((4, WIDTH)), "float64"),
        (np.zeros((3, WIDTH), dtype=np.float32), r"\(3, 4\)"),
        (np.zeros((4, WIDTH + 1), dtype=np.float32), r"\(4, 5\)"),
        (np.full((4, WIDTH), np.inf, dtype=np.float32), r"4 rows are not finite .*\[0, 1, 2, 3\]"),
        (np.where(np.eye(4, dtype=bool), np.float32(np.nan), np.float32(0))[1:2].repeat(4, 0), "not finite"),
    ],
)
def test_values_that_cannot_be_features_are_not_committed(tmp_path, values, message):
    writer = begin_store(tmp_path)
    with pytest.raises(CacheError, match=message):
        writer.commit(0, Block(arrays={FORWARD: values}, input=""), COMPUTED_WITH)
    with pytest.raises(CacheError, match="not those of the store"):
        writer.commit(0, Block(arrays={BACKWARD: values}, input=""), COMPUTED_WITH)
    assert writer.pending() == [0, 1, 2]
    assert not chunk_path(writer.path, FORWARD, 0).exists()


def test_a_block_held_by_another_process_is_busy(tmp_path):
    writer = begin_store(tmp_path)
    descriptor = os.open(writer.path / ".commit/000001.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)  # a second open file holds its lock as another process does
    try:
        with pytest.raises(Busy, match=r"000001\.lock: another process is computing"), writer.claim(1):
            pass
        with writer.claim(0) as free:
            assert free
    finally:
        os.close(descriptor)
    with writer.claim(1) as free:
        assert free


def test_claiming_a_committed_block_says_so(tmp_path):
    writer = fill(begin_store(tmp_path), [1])
    with writer.claim(1) as free:
        assert not free


def test_going_on_with_other_settings_is_refused(tmp_path):
    writer = fill(begin_store(tmp_path), [1])
    writer.check_computed_with(COMPUTED_WITH)
    with pytest.raises(Stale, match=r'block 1 was computed with .*"threads": 1.*"threads": 2.*--mixed'):
        writer.check_computed_with({**COMPUTED_WITH, "threads": 2})


def test_a_write_that_stops_before_its_record_leaves_the_block_pending(tmp_path, monkeypatch):
    writer = begin_store(tmp_path)

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("cache.writer.publish_commit", stop)
    with pytest.raises(KeyboardInterrupt):
        fill(writer, [0])
    monkeypatch.undo()
    assert not chunk_path(writer.path, FORWARD, 0).parent.exists()
    assert writer.pending() == [0, 1, 2]
    fill(writer)
    FeatureStore.open(writer.path).verify()


def test_commit_records_of_other_blocks_stores_or_arrays_are_damaged(tmp_path):
    path = make_store(tmp_path / "a", provenance(arrays=(FORWARD, BACKWARD)))
    other = make_store(tmp_path / "b", provenance(arrays=(FORWARD, BACKWARD), input="ef" * 32))
    header = read_header(path)
    commit_path(path, 0).write_bytes(commit_path(path, 1).read_bytes())
    commit_path(path, 2).write_bytes(commit_path(other, 2).read_bytes())
    for block in (0, 2):
        with pytest.raises(Damaged, match=f"00000{block}.json: the commit record of another store or block"):
            read_commit(path, header, block)
    fewer = replace(header, provenance=provenance(arrays=(FORWARD,)))
    with pytest.raises(Damaged, match=r"000001\.json: the commit record of another"):
        read_commit(path, fewer, 1)


def test_run_notes_lie_outside_key_and_digest(tmp_path):
    writer = fill(begin_store(tmp_path))
    digest = FeatureStore.open(writer.path).digest()
    assert last_run(writer.path) == {}
    assert rebuild_command(writer.path) == "python -m extract run --help"
    writer.record_run("2026-01-01T00-00-00Z", {"command": "first"})
    writer.record_run("2026-01-02T00-00-00Z", {"command": "second"})
    assert rebuild_command(writer.path) == "second"
    assert FeatureStore.open(writer.path).digest() == digest
    (writer.path / ".runs/2026-01-02T00-00-00Z.json").write_text("{}")
    assert FeatureStore.open(writer.path).about["command"] == "first"


def test_temporary_folders_of_a_crash_are_not_stores(tmp_path):
    path = make_store(tmp_path)
    (path.parent / ".creating-abc").mkdir()
    assert zarr.open_group(path, mode="r").attrs["blindspot_cache"]["key"].startswith(path.name)
    assert FeatureStore.open(path).arrays == (ArrayName.parse(FORWARD.path),)


def own(prefix):
    return own_prefix(prefix) + "0123abcd"


def test_leftovers_of_killed_writers_are_swept_and_living_ones_stay(tmp_path):
    writer = fill(begin_store(tmp_path))
    dead = [
        writer.path / name for name in (".commit/000000.lock", own(".commit/.tmp-a-"), own(".runs/.tmp-b-"))
    ]
    dead[0].write_text("")
    for path in dead[1:]:
        path.mkdir()
        (path / "file").write_text("half")
    with exclusive(writer.path / ".commit/000001.lock", what="block 1"):
        sweep(leftovers(writer.path))
        assert (writer.path / ".commit/000001.lock").exists()
    assert not any(path.exists() for path in dead)


def test_a_write_that_the_disk_refuses_leaves_nothing_of_its_block(tmp_path, monkeypatch):
    writer = fill(begin_store(tmp_path, provenance(arrays=(FORWARD, BACKWARD))), [0])
    calls = []
    real = write_chunk

    def full(path, values, rows):
        calls.append(path)
        if len(calls) == 2:
            path.parent.mkdir()
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return real(path, values, rows)

    monkeypatch.setattr("cache.writer.write_chunk", full)
    with pytest.raises(
        CacheError, match=r"block 1 could not be written \(.*No space left.*what was committed before stays"
    ):
        fill(writer, [1])
    assert not any(path.parent.exists() for path in calls)
    assert writer.pending() == [1, 2]
    monkeypatch.undo()
    FeatureStore.open(fill(writer).path).verify()


def test_parts_need_no_lock(tmp_path, monkeypatch):
    path = begin_store(tmp_path).path

    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(CacheError, match="this file system has no locks"):
        fill(StoreWriter.open(path))
    FeatureStore.open(fill(StoreWriter.open(path, claims="parts")).path).verify()


@pytest.mark.parametrize("claims", ["locks", "parts"])
def test_a_record_that_could_not_be_made_to_last_is_withdrawn_with_its_chunks(tmp_path, monkeypatch, claims):
    """The rename has happened, the flush of the folder fails: a block must be whole or absent."""
    path = begin_store(tmp_path).path

    def fails_on_the_folder_of_records(where):
        if where.name == ".commit":
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("cache.atomic.sync", fails_on_the_folder_of_records)
    with pytest.raises(CacheError, match="block 0 could not be written"):
        fill(StoreWriter.open(path, claims=claims))
    monkeypatch.undo()
    assert StoreWriter.open(path).pending() == [0, 1, 2]
    assert not chunk_path(path, FORWARD, 0).parent.exists()
    FeatureStore.open(fill(StoreWriter.open(path)).path).verify()


def test_a_part_and_a_writer_with_locks_do_not_take_the_same_block(tmp_path):
    path = begin_store(tmp_path).path
    with StoreWriter.open(path).claim(0), pytest.raises(Busy):
        fill(StoreWriter.open(path, claims="parts"), [0])


def test_a_block_committed_by_another_writer_is_left_as_it_is(tmp_path):
    writer = fill(begin_store(tmp_path))
    before = {p: p.read_bytes() for p in writer.path.rglob("*") if p.is_file()}
    other = Block(arrays={FORWARD: np.zeros((4, WIDTH), dtype=np.float32)}, input="")
    writer.commit(0, other, {"threads": 7})
    assert {p: p.read_bytes() for p in writer.path.rglob("*") if p.is_file()} == before


def test_the_second_of_two_first_blocks_computed_otherwise_is_refused(tmp_path):
    """Both checked an empty store, both computed, only one may commit."""
    writer = begin_store(tmp_path)
    fill(writer, [1], {"threads": 1})
    block = Block(arrays={FORWARD: values_of(FORWARD)[:4]}, input="")
    with writer.claim(0), pytest.raises(Stale, match="--mixed"):
        writer.commit(0, block, {"threads": 2})
    assert writer.pending() == [0, 2]
    assert not chunk_path(writer.path, FORWARD, 0).parent.exists()
    with writer.claim(0):
        writer.commit(0, block, {"threads": 2}, mixing="accepted")
    assert writer.pending() == [2]
