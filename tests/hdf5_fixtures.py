"""Tiny spectra files in every layout, written by h5py alone, with faults on request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

PFSSPEC = {
    "flux": "dataset/arrays/flux/value",
    "error": "dataset/arrays/error/value",
    "noisy": "dataset/arrays/noisy/value",
    "mask": "dataset/arrays/mask/value",
    "wave": "spectrumdataset/wave",
}


@dataclass
class Example:
    """Arrays and labels of some spectra. Change or delete entries to make faulty files."""

    arrays: dict[str, np.ndarray]
    labels: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        return len(self.arrays["flux"])


def example(n_rows: int = 6, n_pixels: int = 64, *, seed: int = 0, edge_nan: bool = True) -> Example:
    """Spectra near 1 with error near 0.1, NaN at both ends of error as pfsspec writes it; labels of four types."""
    rng = np.random.default_rng(seed)
    flux = 1 + 0.1 * rng.standard_normal((n_rows, n_pixels))
    error = 0.1 + 0.01 * rng.random((n_rows, n_pixels))
    if edge_nan:
        error[:, [0, -1]] = np.nan
    labels = {
        "T_eff": rng.uniform(3750, 6000, n_rows),
        "log_g": np.where(np.arange(n_rows) == 2, np.nan, rng.uniform(1, 5, n_rows)),
        "N_He": np.full(n_rows, np.nan),
        "id": np.arange(n_rows, dtype=np.int64) + 100,
        "exp_count": rng.integers(1, 20, n_rows),
        "interp_param": np.array([b"ab"] * n_rows, dtype="S4"),
    }
    return Example({"wave": np.linspace(7100.2, 8849.8, n_pixels), "flux": flux, "error": error}, labels)


def pickled_strings(names: Sequence[str]) -> bytes:
    """The protocol-0 pickle of a list of strings, spelled out as PyTables' attributes have it."""
    items = "".join(f"V{name}\np{k}\na" for k, name in enumerate(names, start=1))
    return f"(lp0\n{items}.".encode("raw_unicode_escape")


def table_columns(
    labels: Mapping[str, np.ndarray], *, data_columns: bool
) -> tuple[np.ndarray, dict[str, bytes]]:
    """The compound array of a PyTables `table`, and the pickled `_kind` attributes."""
    n_rows = len(next(iter(labels.values())))
    groups: dict[str, list[str]] = {}
    for name, values in labels.items():
        groups.setdefault(name if data_columns else values.dtype.str, []).append(name)
    fields: list[Any] = [("index", "<i8")]
    kinds, content = {}, {"index": np.zeros(n_rows)}  # appended files repeat the index
    for k, names in enumerate(groups.values()):
        member = names[0] if data_columns else f"values_block_{k}"
        dtype = labels[names[0]].dtype
        fields.append((member, dtype) if data_columns else (member, dtype, (len(names),)))
        content[member] = labels[names[0]] if data_columns else np.stack([labels[n] for n in names], axis=1)
        kinds[f"{member}_kind"] = pickled_strings(names)
    table = np.zeros(n_rows, dtype=fields)
    for member, values in content.items():
        table[member] = values
    return table, kinds


def write_table_layout(
    path: Path,
    content: Example | None = None,
    *,
    data_columns: bool = False,
    kinds: Mapping[str, bytes] | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> Path:
    """pfsspec arrays, labels in the `table` format; `kinds` replaces pickled attributes, `attributes` the root has."""
    content = example() if content is None else content
    with h5py.File(path, "w") as file:
        _write_arrays(file, content, PFSSPEC)
        file.attrs.update(attributes or {})
        if content.labels:
            table, pickled = table_columns(content.labels, data_columns=data_columns)
            dataset = file.create_dataset("dataset/params/table", data=table)
            for name, value in {**pickled, **(kinds or {})}.items():
                dataset.attrs[name] = np.bytes_(value)
    return path


def write_fixed_layout(path: Path, content: Example | None = None) -> Path:
    """pfsspec arrays, labels in the `fixed` format; text columns become pickled objects, as pandas does."""
    content = example() if content is None else content
    with h5py.File(path, "w") as file:
        _write_arrays(file, content, PFSSPEC)
        params = file.create_group("dataset/params")
        params["axis0"] = np.array([name.encode() for name in content.labels])
        params["axis1"] = np.zeros(content.n_rows, dtype=np.int64)
        groups: dict[str, list[str]] = {}
        for name, values in content.labels.items():
            groups.setdefault(values.dtype.str, []).append(name)
        for k, names in enumerate(groups.values()):
            params[f"block{k}_items"] = np.array([name.encode() for name in names])
            if content.labels[names[0]].dtype.kind == "S":
                objects = params.create_dataset(f"block{k}_values", (1,), dtype=h5py.vlen_dtype(np.uint8))
                objects[0] = np.frombuffer(b"\x80\x05N.", dtype=np.uint8)
            else:
                params[f"block{k}_values"] = np.stack([content.labels[name] for name in names], axis=1)
    return path


def write_flat_layout(path: Path, content: Example | None = None) -> Path:
    """Data sets at the root: wave, flux, error, optional noisy, and one for each label."""
    content = example() if content is None else content
    with h5py.File(path, "w") as file:
        _write_arrays(file, content, {name: name for name in PFSSPEC})
        for name, values in content.labels.items():
            file[name] = values
    return path


WRITERS = {"table": write_table_layout, "fixed": write_fixed_layout, "flat": write_flat_layout}


def keep_outside(path: Path, key: str) -> None:
    """Move a data set into a raw file beside `path` (external storage)."""
    with h5py.File(path, "a") as file:
        values = file[key][()]
        del file[key]
        raw = path.with_suffix(".raw")
        file.create_dataset(key, data=values, external=[(str(raw), 0, values.nbytes)])


def make_virtual(path: Path, key: str) -> None:
    """Move a data set into another HDF5 file, and map it from there (virtual storage)."""
    other = path.with_suffix(".source.h5")
    with h5py.File(path, "a") as file, h5py.File(other, "w") as source:
        source["values"] = file[key][()]
        layout = h5py.VirtualLayout(shape=file[key].shape, dtype=file[key].dtype)
        layout[...] = h5py.VirtualSource(str(other), "values", shape=file[key].shape)
        del file[key]
        file.create_virtual_dataset(key, layout)


def link_outside(path: Path, key: str) -> None:
    """Move the group or data set `key` into another HDF5 file, and leave an external link."""
    other = path.with_suffix(".linked.h5")
    with h5py.File(path, "a") as file, h5py.File(other, "w") as target:
        file.copy(file[key], target, name="moved")
        del file[key]
        file[key] = h5py.ExternalLink(str(other), "/moved")


def _write_arrays(file: h5py.File, content: Example, keys: Mapping[str, str]) -> None:
    for name, values in content.arrays.items():
        file[keys[name]] = values
