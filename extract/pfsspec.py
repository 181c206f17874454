"""The labels of one spectra file: pandas tables of both PyTables formats, or one data set per label, by h5py alone.

Layouts, for N rows:

* `table`: a compound array `table`; fields `values_block_k` hold several columns each, whose names are a pickled
  list in the attribute `values_block_k_kind`; with `data_columns=True` a field is a column and its name the name.
* `fixed`: `block{k}_items` (names as bytes) and `block{k}_values` (N, columns); `axis1` is the index.
* flat: data sets of shape (N,) beside `flux`.

The index is never used: appended files repeat its values. A column that is neither numeric nor boolean is left out,
but for `id`, which is shown and never a label.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from cache.errors import InputError

from .pickled_names import pickled_names
from .safe_hdf5 import find

ID = "id"
FLAT_RESERVED = frozenset({"flux", "error", "wave", "noisy", "mask", "wave_edges"})
"""Root data sets of the flat layout that are arrays, not labels."""

_NUMERIC = "fiub"
_SAFE_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_BLOCK_FIELD = re.compile(r"values_block_[0-9]+")


@dataclass(frozen=True)
class Block:
    """Some columns stored together: a data set (N,) or (N, k), or one field of a compound data set (N,)."""

    dataset: h5py.Dataset
    member: str | None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """Element type, without the shape of a compound field."""
        whole = self.dataset.dtype if self.member is None else self.dataset.dtype[self.member]
        base: np.dtype[Any] = whole.base
        return base

    @property
    def where(self) -> str:
        """File, data set and field, for messages."""
        name = f"{self.dataset.file.filename}: {self.dataset.name}"
        return name if self.member is None else f"{name} field {self.member!r}"

    def read(self, rows: slice) -> npt.NDArray[Any]:
        """The rows asked for, (n,) or (n, k), as stored."""
        source = self.dataset if self.member is None else self.dataset.fields(self.member)
        return np.asarray(source[rows])


@dataclass(frozen=True)
class Column:
    """One column: its block, and its place in it (None for a block of shape (N,))."""

    block: Block
    place: int | None = None

    def take(self, block_rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The column (n,) out of rows read from its block."""
        return block_rows if self.place is None else block_rows[:, self.place]


@dataclass(frozen=True)
class Params:
    """The columns of one file by name; `n_rows` is None for a file without labels."""

    n_rows: int | None = None
    columns: Mapping[str, Column] = field(default_factory=dict)

    @property
    def numeric_names(self) -> tuple[str, ...]:
        """Names of the numeric and boolean columns in the order of the file, `id` left out."""
        return tuple(
            name
            for name, column in self.columns.items()
            if name != ID and column.block.dtype.kind in _NUMERIC
        )

    def numeric(self, rows: slice, names: Iterable[str]) -> npt.NDArray[np.float64]:
        """Columns `names` of `rows`, (n, len(names)) float64; each block is read once. Names are not checked."""
        wanted = [self.columns[name] for name in names]
        read: dict[Block, npt.NDArray[Any]] = {}
        for column in wanted:
            if column.block not in read:
                read[column.block] = column.block.read(rows)
        taken = [column.take(read[column.block]).astype("<f8") for column in wanted]
        return np.stack(taken, axis=1) if taken else np.empty((rows.stop - rows.start, 0))

    def ids(self, rows: slice) -> list[str] | None:
        """The `id` column of `rows` as text, whole numbers without a decimal point; None without such a column."""
        column = self.columns.get(ID)
        return None if column is None else [_id_text(value) for value in column.take(column.block.read(rows))]


def read_params(group: h5py.Group) -> Params:
    """The columns of the pandas table in `group` (`dataset/params`), either format.

    Raises InputError for a layout that is neither, a pickle that is no list of strings, names that are repeated or
    could not become paths, and shapes that contradict each other.
    """
    if not isinstance(group, h5py.Group):
        raise InputError(
            f"{group.file.filename}: {group.name} is a data set, expected a group holding a pandas table"
        )
    table = find(group, "table")
    if isinstance(table, h5py.Dataset) and table.dtype.names is not None and table.ndim == 1:
        return Params(table.shape[0], _checked(table, _table_columns(table)))
    if find(group, "axis0") is not None:
        axis1 = _required(group, "axis1")
        return Params(axis1.shape[0], _checked(group, _fixed_columns(group, axis1.shape[0])))
    if len(group) == 0:
        return Params()
    raise InputError(
        f"{group.file.filename}: {group.name} holds {sorted(group)}, expected a pandas table: 'table' (PyTables "
        "`table` format) or 'axis0', 'axis1', 'block0_items', 'block0_values' (`fixed` format)"
    )


def flat_params(root: h5py.Group, n_rows: int) -> Params:
    """One-dimensional data sets at the root, but for the arrays; each must have `n_rows` entries.

    Groups, scalars and arrays of more dimensions are no labels and are passed over.
    """
    columns: list[tuple[str, Column]] = []
    for name in root:
        dataset = None if name in FLAT_RESERVED else find(root, name)
        if not isinstance(dataset, h5py.Dataset) or dataset.ndim != 1 or dataset.dtype.names is not None:
            continue
        if dataset.shape[0] != n_rows:
            raise InputError(
                f"{root.file.filename}: label {name!r} has {dataset.shape[0]} rows, flux has {n_rows}; "
                "expected one value per spectrum"
            )
        columns.append((name, Column(Block(dataset))))
    return Params(n_rows if columns else None, _checked(root, columns))


def _table_columns(table: h5py.Dataset) -> Iterator[tuple[str, Column]]:
    for member in table.dtype.names:
        if member == "index":
            continue
        block = Block(table, member)
        shape = table.dtype[member].shape
        if _BLOCK_FIELD.fullmatch(member):
            names = pickled_names(_kind(table, member), f"{block.where}, attribute '{member}_kind'")
            yield from _placed(block, names, shape[0] if len(shape) == 1 else -1)
        elif shape == ():
            yield member, Column(block)
        else:
            raise InputError(f"{block.where} has shape {shape} per row, expected a single value")


def _kind(table: h5py.Dataset, member: str) -> bytes:
    value = table.attrs.get(f"{member}_kind")
    if isinstance(value, str):
        return value.encode("latin-1", "replace")
    if isinstance(value, bytes):
        return value
    raise InputError(
        f"{table.file.filename}: {table.name} has the field {member!r} but no attribute '{member}_kind' that names "
        "its columns; the file is damaged or not written by pandas"
    )


def _fixed_columns(group: h5py.Group, n_rows: int) -> Iterator[tuple[str, Column]]:
    for k in range(len(group)):
        if find(group, f"block{k}_items") is None:
            return
        items, values = _required(group, f"block{k}_items"), _required(group, f"block{k}_values")
        block = Block(values)
        names = _item_names(items)
        if values.dtype.kind == "O":
            continue  # text, which pandas pickles in this format: no label, and nothing is unpickled
        if values.ndim != 2 or values.shape[0] != n_rows:
            raise InputError(f"{block.where} has shape {values.shape}, expected ({n_rows}, {len(names)})")
        yield from _placed(block, names, values.shape[1])


def _item_names(items: h5py.Dataset) -> tuple[str, ...]:
    if items.ndim == 1 and (items.dtype.kind == "S" or h5py.check_string_dtype(items.dtype) is not None):
        return tuple(str(name) for name in items.asstr()[:])
    raise InputError(
        f"{items.file.filename}: {items.name} is {items.dtype} of shape {items.shape}, "
        "expected column names as strings"
    )


def _required(group: h5py.Group, name: str) -> h5py.Dataset:
    dataset = find(group, name)
    if isinstance(dataset, h5py.Dataset) and dataset.ndim > 0:
        return dataset
    raise InputError(f"{group.file.filename}: {group.name} lacks {name!r}, which the `fixed` format has")


def _placed(block: Block, names: tuple[str, ...], width: int) -> Iterator[tuple[str, Column]]:
    if width != len(names):
        raise InputError(f"{block.where} is {width} columns wide, but {len(names)} names are given for it")
    for place, name in enumerate(names):
        yield name, Column(block, place)


def _checked(holder: Any, columns: Iterable[tuple[str, Column]]) -> dict[str, Column]:
    """Refuse repeated names, and numeric columns whose name could not become a folder of a store."""
    checked: dict[str, Column] = {}
    where = f"{holder.file.filename}: {holder.name}"
    for name, column in columns:
        if name in checked:
            raise InputError(f"{where} has the column {name!r} twice; expected each name once")
        if column.block.dtype.kind in _NUMERIC and (not _SAFE_NAME.fullmatch(name) or not name.strip(".")):
            raise InputError(
                f"{where} has the label {name!r}; names become paths, so only letters, digits, '_', '.' and '-' are "
                "admitted: rename the column"
            )
        checked[name] = column
    return checked


def _id_text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").rstrip("\0")
    if isinstance(value, np.floating) and value.is_integer():
        return str(int(value))
    return str(value)
