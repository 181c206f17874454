"""Writing spectra in the HDF5 layout of pfsspec, row slab by row slab.

    /                                attributes given by the caller
    /spectrumdataset/wave            float64 (L,)     pixel centres, Angstrom, no unit attribute
    /dataset/arrays/flux/value       float64 (N, L)   uncompressed
    /dataset/arrays/error/value      float64 (N, L)
    /dataset/params/table            (N,) of {index i8, values_block_0 f8[.], values_block_1 i8[.], values_block_2 S[.]}

The table is what pandas 1 and later write with `to_hdf(..., format="table")` (PyTables table 2.7): column names of
block k are a protocol-0 pickle in the attribute `values_block_k_kind`. Pickles are only written here, never read.
"""

import contextlib
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from cache.atomic import replacing
from cache.errors import InputError

CHUNK_ROWS = 64
TABLE_CHUNK_ROWS = 256
PARAMS = "dataset/params"
_BLOCK_KINDS = (("f", "float64"), ("i", "int64"), ("S", "bytes"))  # order of values_block_0, 1, 2

_GROUP_TEXTS = {
    "CLASS": "GROUP",
    "TITLE": "",
    "VERSION": "1.0",
    "encoding": "UTF-8",
    "errors": "strict",
    "nan_rep": "nan",
    "pandas_type": "frame_table",
    "pandas_version": "0.15.2",
    "table_type": "appendable_frame",
}


@dataclass(frozen=True, kw_only=True)
class Block:
    """Columns of one type, which the table keeps side by side in one field."""

    field: str
    columns: tuple[str, ...]
    dtype: np.dtype[Any]
    kind: str


def table_blocks(params: Mapping[str, npt.NDArray[Any]]) -> tuple[Block, ...]:
    """Sort columns by type: floats, integers, byte strings (as wide as the widest); a type without columns has none.

    Raises InputError for a column that is none of these.
    """
    kinds = {name: np.asarray(column).dtype.kind.replace("u", "i") for name, column in params.items()}
    for name, kind in kinds.items():
        if kind not in "fiS":
            found = np.asarray(params[name]).dtype
            raise InputError(f"column {name!r} is {found}; expected floats, integers or byte strings")
    blocks: list[Block] = []
    for wanted, kind_name in _BLOCK_KINDS:
        columns = tuple(name for name, kind in kinds.items() if kind == wanted)
        if columns:
            width = max(np.asarray(params[name]).dtype.itemsize for name in columns) if wanted == "S" else 8
            blocks.append(
                Block(
                    field=f"values_block_{len(blocks)}",
                    columns=columns,
                    dtype=np.dtype(f"{wanted}{width}"),
                    kind=f"{kind_name}{8 * width}" if wanted == "S" else kind_name,
                )
            )
    return tuple(blocks)


class SlabWriter:
    """Appends row slabs to one open pfsspec file; made by `pfsspec_writer`."""

    def __init__(self, file: h5py.File, wave: npt.ArrayLike, n_rows: int) -> None:
        """Create the arrays for `n_rows` spectra on the grid `wave` (L,)."""
        grid = np.asarray(wave, dtype=np.float64)
        if n_rows < 1 or grid.ndim != 1:
            raise InputError(
                f"{n_rows} rows on a grid of shape {grid.shape}; expected >= 1 rows on a 1-d grid"
            )
        file["spectrumdataset/wave"] = grid
        chunks = (min(n_rows, CHUNK_ROWS), len(grid))
        self.n_rows = n_rows
        self.n_written = 0
        self._file = file
        self._arrays = {
            name: file.create_dataset(
                f"dataset/arrays/{name}/value", (n_rows, len(grid)), dtype="<f8", chunks=chunks
            )
            for name in ("flux", "error")
        }
        self._columns: tuple[str, ...] = ()
        self._blocks: tuple[Block, ...] = ()

    def append(
        self, flux: npt.ArrayLike, error: npt.ArrayLike, *, params: Mapping[str, npt.NDArray[Any]]
    ) -> None:
        """Write the next n rows: `flux` and `error` (n, L), `params` columns (n,), the same ones in every call.

        Raises InputError when shapes or columns differ from what the file was begun with.
        """
        slabs = {"flux": np.asarray(flux, np.float64), "error": np.asarray(error, np.float64)}
        n_new = len(slabs["flux"])
        rows = slice(self.n_written, self.n_written + n_new)
        wanted = (n_new, self._arrays["flux"].shape[1])
        shapes = {name: slab.shape for name, slab in slabs.items()}
        if rows.stop > self.n_rows or set(shapes.values()) != {wanted}:
            raise InputError(
                f"slab for rows {rows.start} to {rows.stop} of {self.n_rows} has {shapes}; expected {wanted}"
            )
        self._append_params(params, rows)
        for name, slab in slabs.items():
            self._arrays[name][rows] = slab
        self.n_written = rows.stop

    def _append_params(self, params: Mapping[str, npt.NDArray[Any]], rows: slice) -> None:
        if not self._columns:
            self._columns, self._blocks = tuple(params), table_blocks(params)
            _create_table(self._file, self.n_rows, self._columns, self._blocks)
        lengths = {name: len(column) for name, column in params.items()}
        if tuple(params) != self._columns or set(lengths.values()) != {rows.stop - rows.start}:
            raise InputError(
                f"columns and lengths {lengths}; expected {self._columns}, {rows.stop - rows.start} rows"
            )
        table = self._file[f"{PARAMS}/table"]
        slab = np.zeros(rows.stop - rows.start, dtype=table.dtype)
        slab["index"] = np.arange(rows.start, rows.stop)
        for block in self._blocks:
            for position, name in enumerate(block.columns):
                slab[block.field][:, position] = params[name]
        table[rows] = slab


@contextlib.contextmanager
def pfsspec_writer(
    path: Path, wave: npt.ArrayLike, *, n_rows: int, attributes: Mapping[str, str | int | float] | None = None
) -> Iterator[SlabWriter]:
    """Open a pfsspec file of `n_rows` spectra for appending; `path` appears only when every row was written.

    Raises InputError, and leaves nothing, when fewer rows were appended.
    """
    with replacing(Path(path)) as temporary:
        with h5py.File(temporary, "w") as file:
            for name, value in (attributes or {}).items():
                file.attrs[name] = value
            writer = SlabWriter(file, wave, n_rows)
            yield writer
        if writer.n_written != n_rows:
            raise InputError(
                f"{path}: {writer.n_written} rows were appended, {n_rows} were announced; not written"
            )


def write_pfsspec(
    path: Path,
    wave: npt.ArrayLike,
    *,
    flux: npt.ArrayLike,
    error: npt.ArrayLike,
    params: Mapping[str, npt.NDArray[Any]],
    attributes: Mapping[str, str | int | float] | None = None,
) -> Path:
    """Write spectra held in memory to `path`: `flux` and `error` (N, L) as they are, `params` columns of length N.

    pfsspec leaves the error of the first and last pixel NaN; who wants that passes it so (`edges_as_pfsspec`).
    """
    with pfsspec_writer(path, wave, n_rows=len(np.asarray(flux)), attributes=attributes) as writer:
        writer.append(flux, error, params=params)
    return Path(path)


def edges_as_pfsspec(error: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """A float64 copy of `error` (n, L) with NaN in the first and last pixel, where pfsspec's rebinning has no error."""
    copy = np.array(error, dtype=np.float64)
    copy[:, [0, -1]] = np.nan
    return copy


def _create_table(file: h5py.File, n_rows: int, columns: tuple[str, ...], blocks: tuple[Block, ...]) -> None:
    """The empty params table with the attributes by which PyTables and pandas know it."""
    group = file.create_group(PARAMS)
    fields = [("index", "<i8"), *((block.field, block.dtype, (len(block.columns),)) for block in blocks)]
    table = group.create_dataset(
        "table", (n_rows,), dtype=np.dtype(fields), maxshape=(None,), chunks=(min(n_rows, TABLE_CHUNK_ROWS),)
    )
    for name, value in _GROUP_TEXTS.items():
        _set_attribute(group, name, value)
    _set_attribute(group, "levels", 1)
    _set_attribute(group, "data_columns", [])
    _set_attribute(group, "index_cols", [(0, "index")])
    _set_attribute(group, "non_index_axes", [(1, list(columns))])
    _set_attribute(group, "values_cols", [block.field for block in blocks])
    nothing: dict[str, dict[str, str]] = {field: {} for field in table.dtype.names}
    _set_attribute(group, "info", {1: {"names": [None], "type": "Index"}, **nothing})
    _set_attribute(table, "CLASS", "TABLE")
    _set_attribute(table, "TITLE", "")
    _set_attribute(table, "VERSION", "2.7")
    _set_attribute(table, "NROWS", n_rows)
    _set_attribute(table, "index_kind", "integer")
    for position, name in enumerate(table.dtype.names):
        _set_attribute(table, f"FIELD_{position}_NAME", name)
        base = table.dtype[name].base
        table.attrs[f"FIELD_{position}_FILL"] = np.zeros((), dtype=base)[()]
    for block in blocks:
        _set_attribute(table, f"{block.field}_kind", list(block.columns))
        _set_attribute(table, f"{block.field}_dtype", block.kind)
        _set_attribute(table, f"{block.field}_meta", None)


def _set_attribute(node: h5py.Group | h5py.Dataset, name: str, value: Any) -> None:
    """Text and integers as PyTables stores them, anything else as a protocol-0 pickle in a byte string."""
    if isinstance(value, str):
        if value:
            node.attrs.create(name, value, dtype=h5py.string_dtype("utf-8", len(value)))
        else:
            node.attrs[name] = h5py.Empty("S1")
    elif isinstance(value, int):
        node.attrs[name] = np.int64(value)
    else:
        node.attrs[name] = np.bytes_(pickle.dumps(value, protocol=0))
