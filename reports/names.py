"""What encoders and data files are called: the names that runs noted, one for each digest."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from cache.grouping import grouped
from cache.records import Record

from .columns import SPLITS

Digest = TypeVar("Digest", str, tuple[str, ...])
NAME_DIGITS = 8
"""Digits of a digest beside a name."""
UNKNOWN = "unknown"
"""What a run calls an encoder whose stores name none."""


@dataclass(frozen=True)
class Names:
    """Names as the `run` part of some records tells them, by digest; '' where none does.

    Where runs call equal weights or equal files otherwise the name that sorts first counts, so that neither the order
    of records nor one more of them with a known name changes what the others are called.
    """

    records: Sequence[Record]

    def encoder(self, weights: str) -> str:
        """'small (80d97f2e)', 'weights 80d97f2e' where nothing names them, '' without weights."""
        name = self._encoders.get(weights)
        digest = weights[:NAME_DIGITS]
        return f"{name} ({digest})" if name else f"weights {digest}" if digest else ""

    def file(self, digests: Sequence[str]) -> str:
        """The data file of one split, 'mag215/test/dataset.h5', by the digests that a spec has of it."""
        return self._files.get(tuple(digests), "")

    def files(self, inputs: Mapping[str, Sequence[str]]) -> str:
        """The data files of a spec: 'mag215' for a folder with one of each split, else split by split, named ones."""
        named = {split: name for split in SPLITS if (name := self.file(inputs.get(split) or ()))}
        folders = {_folder(name, split) for split, name in named.items()}
        if len(named) == len(inputs) and len(folders) == 1 and "" not in folders:
            return folders.pop()
        return ", ".join(f"{split} {name}" for split, name in named.items())

    @cached_property
    def _encoders(self) -> Mapping[str, str]:
        noted = (
            (record.result.get("weights"), record.run.get("encoder"))
            for record in self.records
            if record.run.get("encoder") != UNKNOWN
        )
        return _first_names(noted)

    @cached_property
    def _files(self) -> Mapping[tuple[str, ...], str]:
        noted = (
            (tuple(digests), (record.run.get("files") or {}).get(split))
            for record in self.records
            for split, digests in (record.spec.get("inputs") or {}).items()
        )
        return _first_names(noted)


def file_texts(names: Mapping[str, str]) -> dict[str, str]:
    """By the digests of the files of each split what they are called, `names`, told apart where names are equal."""
    if len(names) == 1:
        return {inputs: f"{name} ({inputs})" if name else inputs for inputs, name in names.items()}
    alike = grouped(names, names.__getitem__)
    return {
        inputs: name
        if name and len(alike[name]) == 1
        else f"{name} ({_told_by_digest(inputs, alike[name])})"
        if name
        else inputs
        for inputs, name in names.items()
    }


def _told_by_digest(inputs: str, alike: Sequence[str]) -> str:
    """The digests that tell some files from others of the same name: of test, if that is enough."""
    every = [_by_split(each) for each in alike]
    own = _by_split(inputs)
    for split in reversed(SPLITS):
        if len({each.get(split) for each in every}) == len(every):
            return f"{split} {own.get(split, 'none')}"
    differing = (split for split in SPLITS if len({each.get(split) for each in every}) > 1)
    return ", ".join(f"{split} {own.get(split, 'none')}" for split in differing)


def _by_split(inputs: str) -> dict[str, str]:
    """Of each split the first digits of its digests."""
    parts = (part.partition(" ") for part in inputs.split(", ") if part)
    return {
        split: "+".join(digest[:NAME_DIGITS] for digest in digests.split("+")) for split, _, digests in parts
    }


def _first_names(noted: Iterable[tuple[Digest | None, Any]]) -> dict[Digest, str]:
    """By digest the name that sorts first."""
    found: dict[Digest, str] = {}
    for digest, name in noted:
        if digest and name and isinstance(name, str):
            found[digest] = min(found.get(digest, name), name)
    return found


def _folder(name: str, split: str) -> str:
    """'mag215' of 'mag215/test/dataset.h5'; '' of what is no folder of splits."""
    folder, middle, file = name.partition(f"/{split}/")
    return folder if middle and "/" not in file else ""
