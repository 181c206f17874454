"""Spectra of one or several HDF5 files as one list of rows, read slab by slab."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import h5py
import numpy as np
import numpy.typing as npt

from cache.errors import ConfigError, InputError, UnknownName

from .layouts import Source, open_source
from .pfsspec import ID
from .safe_hdf5 import allow_open_files
from .shard_index import listed_files
from .stored_slab import Float64s, StoredSlab

LABEL_ROWS = 65536
"""Rows of a params table read at a time when one label of all rows is asked for (18 MB of a 281-byte row)."""

_STORED = ("flux", "error", "noisy")


class SpectraFile:
    """Open files seen as one list: row r is the r-th spectrum of the files end to end. A context manager.

    Attributes: `wave` (L,) float64 in Angstrom, the same in all files; `n_spectra`; `files`; `first_rows`, the row
    at which each file starts; `label_names`, the numeric columns in the order of the first file, `id` left out;
    `has_noisy`, whether every file holds a stored noise draw; `data_kind`, 'mock' as soon as one file says so.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        """Take over open sources; InputError when their wavelengths or labels differ."""
        self._sources = tuple(sources)
        _check_same(self._sources)
        self.wave: Float64s = self._sources[0].wave
        self.files: tuple[Path, ...] = tuple(source.path for source in self._sources)
        self.label_names: tuple[str, ...] = self._sources[0].params.numeric_names
        self.has_noisy: bool = all(source.noisy is not None for source in self._sources)
        self.data_kind: str = "mock" if any(source.is_mock for source in self._sources) else "real"
        ends = np.cumsum([source.n_spectra for source in self._sources])
        self.first_rows: tuple[int, ...] = (0, *(int(end) for end in ends[:-1]))
        self.n_spectra: int = int(ends[-1])

    def __enter__(self) -> Self:
        """Nothing to do: the files are open."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the files."""
        self.close()

    def close(self) -> None:
        """Close the files; reading afterwards is an error of h5py."""
        for source in self._sources:
            source.file.close()

    def status(self, path: Path) -> os.stat_result:
        """What the file system tells of the file that is open as `path`, whatever lies there by now."""
        source = next(source for source in self._sources if source.path == path)
        return os.fstat(source.file.id.get_vfd_handle())

    def stored(self, rows: slice, *, into: Float64s | None = None) -> StoredSlab:
        """The rows as they are in the files, widened to float64; `rows` is a slice without a step.

        `into` (n_stored, n or more, L) float64 is written to and returned in parts, to save fresh memory.
        """
        n_rows = len(range(*rows.indices(self.n_spectra)))
        if into is None:
            into = np.empty((self.n_stored, n_rows, self.wave.size), dtype="<f8")
        names = _STORED[: self.n_stored]
        arrays = [self._array(rows, name, out[:n_rows]) for name, out in zip(names, into, strict=True)]
        return StoredSlab(arrays[0], arrays[1], arrays[2] if self.has_noisy else None)

    @property
    def n_stored(self) -> int:
        """Arrays of a `StoredSlab`: flux, error, and noisy where every file has it."""
        return 3 if self.has_noisy else 2

    def read(self, rows: slice) -> tuple[Float64s, Float64s]:
        """Flux as stored and error with edge NaN repaired, each (n, L) float64; nothing else is checked here."""
        slab = StoredSlab(self._array(rows, "flux"), self._array(rows, "error"), None)
        return slab.flux, slab.repaired_error()

    def noisy(self, rows: slice) -> Float64s:
        """The stored noise draw (n, L) float64; InputError when a file has none."""
        without = [str(source.path) for source in self._sources if source.noisy is None]
        if without:
            raise InputError(
                f"{', '.join(without)}: no stored noise draw (dataset/arrays/noisy/value, or noisy in the flat "
                "layout); use another noise mode than 'stored'"
            )
        return self._array(rows, "noisy")

    def stored_mask(self, rows: slice) -> npt.NDArray[np.bool_] | None:
        """True where the mask kept in the files marks a bad pixel (n, L); None when no file has one."""
        if all(source.mask is None for source in self._sources):
            return None
        start, stop = self.bounds(rows)
        bad = np.zeros((stop - start, self.wave.size), dtype=bool)
        for source, here, there in self._pieces(start, stop):
            if source.mask is not None:
                bad[there] = source.mask[here] != 0
        return bad

    def labels(self, name: str) -> Float64s:
        """One numeric column of all rows (N,) float64, NaN where it was never set; also `id` when it is numeric.

        Raises UnknownName, listing the columns, when there is none of that name.
        """
        if name not in self.label_names and not self._has_numeric_id(name):
            raise UnknownName(f"label of {self.files[0]}", name, self.label_names or ("(none: no labels)",))
        column = np.empty(self.n_spectra, dtype="<f8")
        for first in range(0, self.n_spectra, LABEL_ROWS):
            for source, here, there in self._pieces(first, min(first + LABEL_ROWS, self.n_spectra)):
                column[first:][there] = source.params.numeric(here, (name,))[:, 0]
        return column

    def label_rows(self, rows: slice) -> Float64s:
        """All labels of `rows`, (n, len(label_names)) float64."""
        start, stop = self.bounds(rows)
        table = np.empty((stop - start, len(self.label_names)), dtype="<f8")
        for source, here, there in self._pieces(start, stop):
            table[there] = source.params.numeric(here, self.label_names)
        return table

    def stored_ids(self, rows: slice) -> list[str | None]:
        """The `id` column of `rows` as text, None in files without one; ids repeat across files: never join by them."""
        found: list[str | None] = []
        for source, here, _ in self._pieces(*self.bounds(rows)):
            found += source.params.ids(here) or [None] * (here.stop - here.start)
        return found

    def locate(self, row: int) -> tuple[Path, int]:
        """The file that holds a row, and the row's number in it."""
        place = int(np.searchsorted(self.first_rows, row, side="right")) - 1
        return self.files[place], row - self.first_rows[place]

    def bounds(self, rows: slice) -> tuple[int, int]:
        """First row and end of a slice, as Python's slicing has them; ConfigError for a step other than 1."""
        start, stop, step = rows.indices(self.n_spectra)
        if step != 1:
            raise ConfigError(f"rows are read in slices without a step, found {rows!r}")
        return start, max(start, stop)

    def _has_numeric_id(self, name: str) -> bool:
        columns = [source.params.columns.get(ID) for source in self._sources]
        return name == ID and all(
            column is not None and column.block.dtype.kind in "fiub" for column in columns
        )

    def _pieces(self, start: int, stop: int) -> Iterator[tuple[Source, slice, slice]]:
        """Every file that rows start..stop touch: the source, its own rows, and their place in the result."""
        for source, first in zip(self._sources, self.first_rows, strict=True):
            begin, end = max(start, first), min(stop, first + source.n_spectra)
            if begin < end:
                yield source, slice(begin - first, end - first), slice(begin - start, end - start)

    def _array(self, rows: slice, name: str, out: Float64s | None = None) -> Float64s:
        start, stop = self.bounds(rows)
        result = np.empty((stop - start, self.wave.size), dtype="<f8") if out is None else out
        for source, here, there in self._pieces(start, stop):
            _read_into(getattr(source, name), here, result[there])
        return result


def open_spectra(path: str | Path | Sequence[str | Path]) -> SpectraFile:
    """Open one HDF5 file, several, or those listed in a `shard_index.txt`, as one list of rows.

    The index has one path a line, relative to its own folder; blank lines and lines that start with # are passed
    over. Everything but the values of the spectra is checked here (the values: `extract.fingerprint`).
    Raises InputError naming the file.
    """
    paths = [path] if isinstance(path, (str, Path)) else list(path)
    files = [file for each in paths for file in listed_files(Path(each))]
    named = Counter(file.resolve() for file in files)
    twice = [str(file) for file in files if named[file.resolve()] > 1]
    if twice:
        raise InputError(f"{twice[-1]}: named twice; its rows would count double: name each file once")
    if not files:
        raise InputError("no data file was named; expected at least one HDF5 file or a shard_index.txt")
    allow_open_files(len(files))
    sources: list[Source] = []
    try:
        sources += map(open_source, files)
        return SpectraFile(sources)
    except BaseException:
        for source in sources:
            source.file.close()
        raise


def _check_same(sources: tuple[Source, ...]) -> None:
    """Refuse files that differ from the first in wavelengths or in the names of their labels."""
    first = sources[0]
    for source in sources[1:]:
        if not np.array_equal(source.wave, first.wave):
            raise InputError(
                f"{source.path}: wave differs from that of {first.path} ({source.wave.size} pixels from "
                f"{source.wave[0]:g}, against {first.wave.size} from {first.wave[0]:g}); expected one grid in all files"
            )
        for one, other in ((first, source), (source, first)):
            missing = [name for name in one.params.numeric_names if name not in other.params.numeric_names]
            if missing:
                raise InputError(
                    f"{other.path}: lacks the numeric labels {', '.join(missing)}, which {one.path} has; expected "
                    "the same labels in all files: add them (NaN where unknown) or name the files in separate runs"
                )


def _read_into(dataset: h5py.Dataset, rows: slice, out: Float64s) -> None:
    try:
        dataset.read_direct(out, source_sel=np.s_[rows, :])
    except OSError as error:
        raise InputError(
            f"{dataset.file.filename}: {dataset.name} cannot be read at rows {rows.start} to {rows.stop} ({error}); "
            "the file is cut short or damaged: copy it again"
        ) from error
