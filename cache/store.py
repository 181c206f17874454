"""The strict reader of one feature store: it checks before it returns anything."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from .arrays import COORDINATES, ArrayName, stored_directions
from .canonical import digest_json
from .commits import Commit, check_chunk, read_block, read_commits
from .errors import Incomplete, NotExtracted, Stale, UnknownName
from .header import Header, check_static, last_run, read_header, rebuild_command
from .npz import Array
from .provenance import differences
from .static import StaticFiles


class FeatureStore:
    """A finished feature store, opened for reading.

    Everything returned was checked against the header and the commit records: metadata, rows, labels and
    coordinates by sha256 on opening and again on reading, features by size and crc tail on opening and by crc32c
    and sha256 on reading.
    """

    def __init__(self, path: Path, header: Header, commits: tuple[Commit, ...], static: StaticFiles) -> None:
        """Use `open`."""
        self.path = path
        self.header = header
        self._commits = commits
        self._static = static

    @classmethod
    def open(cls, path: Path | str, want: Mapping[str, Any] | None = None) -> Self:
        """Open a store after checking it.

        `want` holds provenance fields that the store must have (nested mappings are compared leaf by leaf).
        Raises NotExtracted, SchemaVersion, Damaged, Stale (which field, both values) or Incomplete.
        """
        path = Path(path)
        header = read_header(path)
        differing = list(differences(_restrict(header.provenance, want or {}), want or {}))
        if differing:
            told = "; ".join(
                f"{field} is {found!r}, asked for {wanted!r}" for field, found, wanted in differing
            )
            raise Stale(
                f"{path}: {told}; extract what you need, or rebuild this one with: {rebuild_command(path)}"
            )
        static = check_static(path, header)
        commits = read_commits(path, header)
        missing = [block for block, commit in enumerate(commits) if commit is None]
        if missing:
            raise Incomplete(
                f"{path}: {len(missing)} of {header.n_blocks} blocks are not committed (first: {missing[:5]}); "
                f"finish with: {rebuild_command(path)}"
            )
        store = cls(path, header, tuple(commit for commit in commits if commit is not None), static)
        for array in store.arrays:
            store.check(array)
        return store

    def check(self, array: ArrayName) -> None:
        """Compare every chunk of one array with its commit record by size and crc tail."""
        for commit in self._commits:
            check_chunk(self.path, array, commit)

    @property
    def key(self) -> str:
        """Content key, 64 hex digits."""
        return self.header.key

    @property
    def family(self) -> str:
        """Family, 64 hex digits."""
        return self.header.family

    @property
    def provenance(self) -> dict[str, Any]:
        """What the store was made from."""
        return self.header.provenance

    @property
    def about(self) -> dict[str, Any]:
        """Display names written by the last run (encoder, files, command); not part of any digest."""
        return last_run(self.path)

    @property
    def split(self) -> str:
        """Name of the split."""
        return str(self.provenance["split"])

    @property
    def arrays(self) -> tuple[ArrayName, ...]:
        """The stored arrays."""
        return self.header.arrays

    @property
    def layers(self) -> tuple[str, ...]:
        """The stored layers."""
        return tuple(dict.fromkeys(array.layer for array in self.arrays))

    def blocks(self, array: ArrayName) -> Iterator[Array]:
        """Yield the row blocks of one array, (<= block_rows, D) float32, each checked by sha256."""
        self._check_held(array)
        width = dict(self.provenance["arrays"])[array.path]
        for commit in self._commits:
            yield read_block(self.path, array, commit, width)

    def _check_held(self, array: ArrayName) -> None:
        if array not in self.arrays:
            raise NotExtracted(
                f"{self.path}: has no {array.path!r}; it holds {', '.join(a.path for a in self.arrays)}"
            )

    def features(self, layer: str, pooling: str, direction: str = "forward") -> Array:
        """Pooled features, (N, D) float32; D doubles for `concat`; `mean` and `concat` are formed here."""
        parts = [self._whole(ArrayName(layer, stored, pooling)) for stored in stored_directions(direction)]
        return combine_directions(parts, direction)

    def _whole(self, array: ArrayName) -> Array:
        """One stored array, (N, D), filled block by block so that no more than one block is held beside it."""
        self._check_held(array)
        values = np.empty((self.header.n_rows, dict(self.provenance["arrays"])[array.path]), dtype=np.float32)
        for commit, block in zip(self._commits, self.blocks(array), strict=True):
            values[slice(*commit.rows)] = block
        return values

    def coordinates(self, layer: str, pooling: str, direction: str = "forward") -> dict[str, Array]:
        """Coordinates of the feature axis, each (D,); `mean` has no wavelengths."""
        arrays = [ArrayName(layer, stored, pooling) for stored in stored_directions(direction)]
        for array in arrays:
            self._check_held(array)
        parts = [{n: self._static.array(f"{array.path}/{n}") for n in COORDINATES} for array in arrays]
        return combine_coordinates(parts, direction)

    @property
    def label_names(self) -> tuple[str, ...]:
        """The stored labels, sorted."""
        return self._static.children("labels")

    def labels(self, name: str) -> Array:
        """One label, (N,) float64; NaN where the file had none."""
        if name not in self.label_names:
            raise UnknownName(f"label in {self.path}:", name, self.label_names)
        return self._static.array(f"labels/{name}")

    @property
    def rows(self) -> Array:
        """Position of each row in the file list, (N,) int64."""
        return self._static.array("rows/row")

    @property
    def stars(self) -> Array:
        """First 64 bits of the sha256 of each stored flux row, (N,) uint64."""
        return self._static.array("rows/star")

    @property
    def ids(self) -> list[str]:
        """The displayed identifiers; they repeat across files."""
        return [str(value) for value in self._static.array("rows/id")]

    def verify(self) -> None:
        """Read every array and compare it with its sha256; Damaged if one differs."""
        check_static(self.path, self.header)
        for array in self.arrays:
            for _ in self.blocks(array):
                pass

    def digest(self) -> str:
        """sha256 over key, array values, rows, labels and coordinates, taken from header and commit records."""
        return digest_of(self.header, self._commits)


def digest_of(header: Header, commits: tuple[Commit, ...]) -> str:
    """The digest of a store from its header and commit records alone."""
    blocks = [[c.block, {name: seal.sha256 for name, seal in c.arrays.items()}] for c in commits]
    return digest_json([header.key, header.digest, blocks])


def combine_directions(parts: list[Array], direction: str) -> Array:
    """One stored direction as it is; `mean` averages two, `concat` puts forward before backward."""
    if direction == "mean":
        return np.asarray((parts[0] + parts[1]) * np.float32(0.5))
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def combine_coordinates(parts: list[dict[str, Array]], direction: str) -> dict[str, Array]:
    """The coordinates of `combine_directions`; `mean` has no wavelengths, since its directions see other pixels."""
    if direction == "mean":
        return {name: value for name, value in parts[0].items() if not name.startswith("wave")}
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _restrict(found: Any, wanted: Any) -> Any:
    """The part of `found` that `wanted` speaks about."""
    if isinstance(found, Mapping) and isinstance(wanted, Mapping):
        return {name: _restrict(found.get(name), value) for name, value in wanted.items()}
    return found
