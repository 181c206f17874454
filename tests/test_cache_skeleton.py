"""The files of an empty store are those that zarr would write, and zarr and xarray read them."""

import errno

import numpy as np
import pytest
import zarr
from store_fakes import FORWARD, begin_store, coordinates, provenance, row_table
from zarr.codecs import BytesCodec, Crc32cCodec

from cache.errors import CacheError
from cache.skeleton import ATTRIBUTES, RowTable

IDS = ["", "é", "star 7", "☉" * 3]
N = len(IDS)
ROWS = RowTable(
    row=np.arange(N), star=np.arange(N, dtype=np.uint64), id=IDS, labels={"log_g": np.arange(N) / 3}
)


@pytest.fixture
def store(tmp_path):
    return begin_store(tmp_path, provenance(n=N), rows=ROWS, block_rows=3).path


def by_zarr(group, name, values, dimensions, *, chunks=None, **options):
    """The plain twin: one array written by zarr."""
    array = group.create_array(
        name,
        shape=values.shape,
        chunks=chunks or values.shape,
        dtype=str if values.dtype == object else values.dtype,
        compressors=[Crc32cCodec()],
        dimension_names=dimensions,
        config={"write_empty_chunks": True},
        **options,
    )
    array[...] = values


def codec(values):
    return {
        "filters": None,
        "serializer": BytesCodec(endian="little") if values.itemsize > 1 else BytesCodec(),
    }


def test_every_file_is_the_one_zarr_writes(store, tmp_path):
    twin = zarr.create_group(tmp_path / "twin")
    row, log_g = ROWS.row.astype(np.int64), ROWS.labels["log_g"]
    by_zarr(twin, "rows/row", row, ("spectrum",), **codec(row))
    by_zarr(twin, "rows/star", ROWS.star, ("spectrum",), **codec(ROWS.star))
    by_zarr(twin, "rows/id", np.array(IDS, dtype=object), ("spectrum",))
    by_zarr(twin, "labels/log_g", log_g, ("spectrum",), **codec(log_g))
    kinds = {"channel": "i4", "segment": "i4", "statistic": "i1", "wave_lo": "f8", "wave_hi": "f8"}
    for name, values in coordinates().items():
        stored = np.asarray(values).astype(kinds[name])
        path = f"{FORWARD.path}/{name}"
        by_zarr(twin, path, stored, ("feature",), attributes=dict(ATTRIBUTES.get(name, {})), **codec(stored))
    empty = np.empty((N, 4), dtype=np.float32)
    by_zarr(
        twin, f"{FORWARD.path}/features", empty, ("spectrum", "feature"), chunks=(3, 4), fill_value=float("nan"),
        attributes={"coordinates": "channel segment statistic wave_lo wave_hi"}, **codec(empty),
    )  # fmt: skip
    written = {p.relative_to(store).as_posix() for p in store.rglob("*") if p.is_file()} - {"zarr.json"}
    for name in written:
        assert (store / name).read_bytes() == (tmp_path / "twin" / name).read_bytes(), name
    by_twin = {
        p.relative_to(tmp_path / "twin").as_posix() for p in (tmp_path / "twin").rglob("*") if p.is_file()
    }
    assert {name for name in by_twin if "/features/c/" not in name} - {"zarr.json"} == written


@pytest.mark.filterwarnings("ignore:The data type")  # zarr on variable-length strings
def test_zarr_reads_what_was_written(store):
    group = zarr.open_group(store, mode="r")
    assert list(group["rows/id"][:]) == IDS
    np.testing.assert_array_equal(group["labels/log_g"][:], ROWS.labels["log_g"])
    assert np.isnan(group[f"{FORWARD.path}/features"][:]).all()
    assert group.attrs["blindspot_cache"]["rows"] == N


def test_labels_may_be_many_or_none(tmp_path):
    path = begin_store(tmp_path, rows=row_table(labels={})).path
    assert list((path / "labels").iterdir()) == [path / "labels/zarr.json"]


def test_a_disk_that_refuses_leaves_nothing_of_the_store(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("cache.writer.write_skeleton", full)
    with pytest.raises(
        CacheError,
        match=r"the empty store could not be written \(.*No space left.*run the same command again",
    ):
        begin_store(tmp_path)
    assert list((tmp_path / "train").iterdir()) == []
