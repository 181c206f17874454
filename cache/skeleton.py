"""The files of an empty store: zarr v3 metadata, rows, labels and coordinates, ready to be filled."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .arrays import CHUNKS, COORDINATES, FEATURES, STATISTICS, ArrayName, safe_name
from .atomic import sync
from .canonical import seal
from .chunks import with_checksum
from .errors import Damaged
from .header import ATTRIBUTE, COMMIT_FOLDER, RUNS_FOLDER
from .npz import Array
from .provenance import SCHEMA, family, store_key
from .static import StaticFiles

Files = Iterator[tuple[str, bytes]]

COORDINATE_TYPES = {
    "channel": "int32",
    "segment": "int32",
    "statistic": "int8",
    "wave_lo": "float64",
    "wave_hi": "float64",
}
_WINDOW = {"units": "angstrom", "long_name": "window of the newest pixels of the segment"}
ATTRIBUTES: Mapping[str, Mapping[str, Any]] = {
    "statistic": {"flag_values": list(range(len(STATISTICS))), "flag_meanings": " ".join(STATISTICS)},
    "wave_lo": _WINDOW,
    "wave_hi": _WINDOW,
}
"""Attributes of the coordinates that have any (CF conventions, section 3)."""


@dataclass(frozen=True)
class RowTable:
    """The rows of a store: position in the file list, star, displayed id, and every label."""

    row: Array
    star: Array
    id: Sequence[str]
    labels: Mapping[str, Array]


Coordinates = Mapping[ArrayName, Mapping[str, Array]]


def write_skeleton(
    path: Path, provenance: Mapping[str, Any], *, rows: RowTable, coordinates: Coordinates, block_rows: int
) -> None:
    """Write and flush all files of an empty store into the existing folder `path`, the header last.

    Damaged when provenance and coordinates disagree about the arrays.
    """
    widths = dict(provenance["arrays"])
    if widths != {array.path: len(values["channel"]) for array, values in coordinates.items()}:
        raise Damaged(f"{path}: provenance and coordinates disagree about the arrays; this is a bug")
    n_rows = len(rows.row)
    for name, content in _static_files(rows, coordinates, block_rows):
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    for array in coordinates:
        (path / array.path / FEATURES / CHUNKS).mkdir()
    (path / COMMIT_FOLDER).mkdir()
    (path / RUNS_FOLDER).mkdir()
    header = {
        "schema": SCHEMA,
        "key": store_key(provenance),
        "family": family(provenance),
        "provenance": dict(provenance),
        "rows": n_rows,
        "block_rows": block_rows,
        "header": StaticFiles.of(path).digest,
    }
    (path / "zarr.json").write_bytes(_group({ATTRIBUTE: seal(header)}))
    for folder, _, files in os.walk(path):
        for name in files:
            sync(Path(folder) / name)
        sync(Path(folder))


def _static_files(rows: RowTable, coordinates: Coordinates, block_rows: int) -> Files:
    groups = {"rows", "labels"}
    yield from _column("rows/row", np.asarray(rows.row, dtype="int64"), "spectrum")
    yield from _column("rows/star", np.asarray(rows.star, dtype="uint64"), "spectrum")
    yield from _strings("rows/id", rows.id, "spectrum")
    for name, label in rows.labels.items():
        values = np.asarray(label, dtype="float64")
        yield from _column(f"labels/{safe_name('label', name)}", values, "spectrum")
    n_rows = len(rows.row)
    for array, coordinate in coordinates.items():
        groups |= {array.layer, f"{array.layer}/{array.direction}", array.path}
        for name in COORDINATES:
            values = np.asarray(coordinate[name], dtype=COORDINATE_TYPES[name])
            yield from _column(f"{array.path}/{name}", values, "feature", ATTRIBUTES.get(name, {}))
        width = len(coordinate["channel"])
        yield (
            f"{array.path}/{FEATURES}/zarr.json",
            _array(
                (n_rows, width),
                chunk=(min(block_rows, n_rows), width),
                data_type="float32",
                fill_value="NaN",
                codec=_bytes_codec("float32"),
                dimensions=("spectrum", "feature"),
                attributes={"coordinates": " ".join(COORDINATES)},
            ),
        )
    for group in groups:
        yield f"{group}/zarr.json", _group({})


def _column(path: str, values: Array, dimension: str, attributes: Mapping[str, Any] | None = None) -> Files:
    """One dimension of numbers, in one chunk."""
    kind = values.dtype.name
    fill = 0.0 if values.dtype.kind == "f" else 0
    yield (
        f"{path}/zarr.json",
        _array(
            values.shape,
            chunk=values.shape,
            data_type=kind,
            fill_value=fill,
            codec=_bytes_codec(kind),
            dimensions=(dimension,),
            attributes=attributes or {},
        ),
    )
    yield f"{path}/{CHUNKS}/0", with_checksum(values.astype(values.dtype.newbyteorder("<")).tobytes())


def _strings(path: str, values: Sequence[str], dimension: str) -> Files:
    """Strings in one chunk, as the codec `vlen-utf8` has them: their number, then length and UTF-8 of each."""
    encoded = [value.encode() for value in values]
    parts = [len(encoded).to_bytes(4, "little")]
    parts += [part for text in encoded for part in (len(text).to_bytes(4, "little"), text)]
    shape = (len(encoded),)
    codec = {"name": "vlen-utf8", "configuration": {}}
    yield (
        f"{path}/zarr.json",
        _array(shape, chunk=shape, data_type="string", fill_value="", codec=codec, dimensions=(dimension,)),
    )
    yield f"{path}/{CHUNKS}/0", with_checksum(b"".join(parts))


def _bytes_codec(data_type: str) -> dict[str, Any]:
    if np.dtype(data_type).itemsize == 1:
        return {"name": "bytes"}
    return {"name": "bytes", "configuration": {"endian": "little"}}


def _array(
    shape: tuple[int, ...],
    *,
    chunk: tuple[int, ...],
    data_type: str,
    fill_value: float | str,
    codec: Mapping[str, Any],
    dimensions: tuple[str, ...],
    attributes: Mapping[str, Any] | None = None,
) -> bytes:
    """Metadata of an array (zarr v3 specification, `zarr.json`), as zarr 3.1 writes it."""
    return _json(
        {
            "shape": shape,
            "data_type": data_type,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": fill_value,
            "codecs": [codec, {"name": "crc32c"}],
            "attributes": attributes or {},
            "dimension_names": dimensions,
            "zarr_format": 3,
            "node_type": "array",
            "storage_transformers": [],
        }
    )


def _group(attributes: Mapping[str, Any]) -> bytes:
    return _json({"attributes": attributes, "zarr_format": 3, "node_type": "group"})


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=2, allow_nan=False).encode()
