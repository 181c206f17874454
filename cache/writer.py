"""Writing feature stores: created whole, filled block by block, never edited afterwards."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec

from .arrays import COORDINATES, STATISTICS, ArrayName, safe_name
from .atomic import publish_json, sync
from .canonical import SELF, seal, sha256
from .commits import ChunkSeal, Commit, chunk_tail, computed_with_text, publish_commit, read_commit
from .errors import Busy, CacheError, Damaged, Stale
from .header import (
    ATTRIBUTE,
    COMMIT_FOLDER,
    FEATURES,
    RUNS_FOLDER,
    Header,
    check_static,
    chunk_path,
    read_header,
    static_digest,
)
from .provenance import SCHEMA, family, store_key

Array = np.ndarray[Any, np.dtype[Any]]
COORDINATE_TYPES = {
    "channel": "int32",
    "segment": "int32",
    "statistic": "int8",
    "wave_lo": "float64",
    "wave_hi": "float64",
}


@dataclass(frozen=True)
class RowTable:
    """The rows of a store: position in the file list, star, displayed id, and every label."""

    row: Array
    star: Array
    id: Sequence[str]
    labels: Mapping[str, Array]


@dataclass(frozen=True)
class Block:
    """The computed values of one row block: per array (n, D) float32, and the digest of its input rows."""

    arrays: Mapping[ArrayName, Array]
    input: str


class StoreWriter:
    """Fills one store block by block; several processes may fill one store."""

    def __init__(self, path: Path, header: Header) -> None:
        """Use `create`."""
        self.path = path
        self.header = header

    @classmethod
    def create(
        cls,
        root: Path,
        provenance: Mapping[str, Any],
        *,
        rows: RowTable,
        coordinates: Mapping[ArrayName, Mapping[str, Array]],
        block_rows: int,
    ) -> Self:
        """Make an empty store, or open the one of the same key (which keeps its own block_rows).

        `coordinates` gives (D,) arrays per stored array. Nothing appears under the final name before it is
        complete on disk.
        """
        key = store_key(provenance)
        path = root / safe_name("split", str(provenance["split"])) / key[:16]
        if not (path / "zarr.json").exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=".creating-"))
            try:
                temporary.chmod(0o755)
                _write_skeleton(temporary, provenance, rows, coordinates, block_rows)
                _publish_folder(temporary, path)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        header = read_header(path)
        if header.key != key:
            raise Stale(f"{path}: holds key {header.key}, asked for {key}; delete one of the two")
        check_static(path, header)
        return cls(path, header)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open an existing store for writing its missing blocks."""
        return cls(path, read_header(path))

    def pending(self) -> list[int]:
        """Blocks that are not committed yet."""
        blocks = range(self.header.n_blocks)
        return [block for block in blocks if read_commit(self.path, self.header, block) is None]

    def check_computed_with(self, computed_with: dict[str, Any]) -> None:
        """Refuse to go on with a store whose committed blocks were computed otherwise (Stale)."""
        for block in range(self.header.n_blocks):
            commit = read_commit(self.path, self.header, block)
            if commit is not None and commit.computed_with != computed_with:
                raise Stale(
                    f"{self.path}: block {block} was computed with {computed_with_text(commit.computed_with)}, "
                    f"this run computes with {computed_with_text(computed_with)}; results may differ in the last "
                    "bits. Go on with the same --threads, --micro-batch and --device, or accept the mixture: --mixed"
                )

    @contextlib.contextmanager
    def claim(self, block: int) -> Iterator[bool]:
        """Hold one block against other writers; yields False when it is committed already.

        Raises Busy when another process holds it.
        """
        with _lock(self.path / COMMIT_FOLDER / f"{block:06d}.lock"):
            yield read_commit(self.path, self.header, block) is None

    def commit(self, block: int, computed: Block, computed_with: dict[str, Any]) -> None:
        """Write the chunks of a claimed block, then its record; from then on the block exists.

        Raises CacheError, and commits nothing, when the values are not finite float32 of the right shape.
        """
        self._check_values(block, computed)
        seals = {array.path: self._write_chunk(array, block, v) for array, v in computed.arrays.items()}
        commit = Commit(
            block=block,
            rows=self.header.block(block),
            input=computed.input,
            arrays=seals,
            computed_with=computed_with,
        )
        publish_commit(self.path, self.header.key, commit)

    def record_run(self, name: str, run: Mapping[str, Any]) -> None:
        """Keep who ran what and when, outside key and digest."""
        publish_json(self.path / RUNS_FOLDER / f"{safe_name('run', name)}.json", run)

    def _check_values(self, block: int, computed: Block) -> None:
        lo, hi = self.header.block(block)
        widths = dict(self.header.provenance["arrays"])
        if {array.path for array in computed.arrays} != set(widths):
            raise CacheError(f"{self.path}: block {block}: computed arrays are not those of the store")
        for array, values in computed.arrays.items():
            if values.shape != (hi - lo, widths[array.path]) or values.dtype != np.float32:
                raise CacheError(f"{self.path}: {array.path} block {block}: {values.dtype} {values.shape}")
            if not np.isfinite(values).all():
                bad = np.flatnonzero(~np.isfinite(values).all(axis=1)) + lo
                raise CacheError(
                    f"{self.path}: {array.path} block {block}: features of {len(bad)} rows are not finite "
                    f"(first positions {bad[:5].tolist()}); the network overflowed on these spectra"
                )

    def _write_chunk(self, array: ArrayName, block: int, values: Array) -> ChunkSeal:
        lo, hi = self.header.block(block)
        features = zarr.open_array(self.path / array.path / FEATURES, mode="r+")
        features[lo:hi] = values
        path = chunk_path(self.path, array, block)
        for level in (path, path.parent, path.parent.parent):
            sync(level)
        size, tail = chunk_tail(path)
        return ChunkSeal(size, tail, sha256(np.ascontiguousarray(values).tobytes()))


def _publish_folder(temporary: Path, path: Path) -> None:
    """Give a complete store its name; another writer that was faster is no fault."""
    try:
        temporary.rename(path)
    except OSError as error:
        if not (path / "zarr.json").exists():
            raise Damaged(
                f"{path}: the new store cannot get this name ({error}); if the rest of a store lies there, "
                "without its zarr.json, delete that folder and extract again"
            ) from error
    sync(path.parent)


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(f"{path}: another process is computing this block; wait for it or stop it") from None
        yield
    finally:
        os.close(descriptor)


def _write_skeleton(
    path: Path,
    provenance: Mapping[str, Any],
    rows: RowTable,
    coordinates: Mapping[ArrayName, Mapping[str, Array]],
    block_rows: int,
) -> None:
    n_rows = len(rows.row)
    widths = dict(provenance["arrays"])
    if widths != {array.path: len(values["channel"]) for array, values in coordinates.items()}:
        raise Damaged(f"{path}: provenance and coordinates disagree about the arrays; this is a bug")
    root = zarr.create_group(path)
    table = root.require_group("rows")
    _write_column(table, "row", np.asarray(rows.row, dtype="int64"), "spectrum")
    _write_column(table, "star", np.asarray(rows.star, dtype="uint64"), "spectrum")
    _write_strings(table, "id", rows.id)
    labels = root.require_group("labels")
    for name, label in sorted(rows.labels.items()):
        _write_column(labels, safe_name("label", name), np.asarray(label, dtype="float64"), "spectrum")
    for array, coordinate in coordinates.items():
        group = root.require_group(array.path)
        for name in COORDINATES:
            _write_column(group, name, np.asarray(coordinate[name], dtype=COORDINATE_TYPES[name]), "feature")
        _describe(group)
        _create_features(group, n_rows, widths[array.path], block_rows)
    (path / COMMIT_FOLDER).mkdir()
    (path / RUNS_FOLDER).mkdir()
    content = {
        "schema": SCHEMA,
        "key": store_key(provenance),
        "family": family(provenance),
        "provenance": dict(provenance),
        "rows": n_rows,
        "block_rows": block_rows,
        "header": static_digest(path),
    }
    root.attrs[ATTRIBUTE] = seal({name: value for name, value in content.items() if name != SELF})
    for folder, _, files in os.walk(path):
        for file in files:
            sync(Path(folder) / file)
        sync(Path(folder))


def _write_column(group: Any, name: str, values: Array, dimension: str) -> None:
    array = group.create_array(
        name,
        shape=values.shape,
        chunks=(max(1, len(values)),),
        dtype=values.dtype,
        filters=None,
        serializer=BytesCodec(endian="little") if values.dtype.itemsize > 1 else BytesCodec(),
        compressors=[Crc32cCodec()],
        dimension_names=(dimension,),
        config={"write_empty_chunks": True},
    )
    array[:] = values


def _write_strings(group: Any, name: str, values: Sequence[str]) -> None:
    array = group.create_array(
        name,
        shape=(len(values),),
        chunks=(max(1, len(values)),),
        dtype=str,
        compressors=[Crc32cCodec()],
        dimension_names=("spectrum",),
        config={"write_empty_chunks": True},
    )
    array[:] = np.array(list(values), dtype=object)


def _describe(group: Any) -> None:
    group["statistic"].attrs.update(
        {"flag_values": list(range(len(STATISTICS))), "flag_meanings": " ".join(STATISTICS)}
    )
    for name in ("wave_lo", "wave_hi"):
        group[name].attrs.update(
            {"units": "angstrom", "long_name": "window of the newest pixels of the segment"}
        )


def _create_features(group: Any, n_rows: int, width: int, block_rows: int) -> None:
    group.create_array(
        FEATURES,
        shape=(n_rows, width),
        chunks=(min(block_rows, n_rows), width),
        dtype="<f4",
        filters=None,
        serializer=BytesCodec(endian="little"),
        compressors=[Crc32cCodec()],
        fill_value=float("nan"),
        dimension_names=("spectrum", "feature"),
        attributes={"coordinates": " ".join(COORDINATES)},
        config={"write_empty_chunks": True},
    )
