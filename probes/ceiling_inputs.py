"""What a ceiling is made of, brought together: records on the same test rows, their stores, Fisher matrices, prior."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cache import FeatureStore
from cache.errors import ConfigError, NotExtracted, Stale
from cache.fisher import FisherMatrices, find_fisher, read_fisher
from cache.provenance import KEY_DIGITS
from cache.records import Record

from .ceiling import AMPLITUDE, Prior, label_prior
from .ceiling_applies import why_not
from .comparable import Comparable, ScoredRows
from .samples import DROP
from .splits import LEAST_ROWS

Array = np.ndarray[Any, np.dtype[Any]]


class KeptStores:
    """Feature stores by their content key, each opened and checked once."""

    def __init__(self, root: Path) -> None:
        """Name the folder of the stores; nothing is read yet."""
        self.root = root
        self._opened: dict[str, FeatureStore | None] = {}

    def get(self, split: str, key: str) -> FeatureStore | None:
        """The store, None where there is none of that key; raises what `FeatureStore.open` raises for a bad one."""
        if key not in self._opened:
            path = self.root / split / key[:KEY_DIGITS]
            there = FeatureStore.open(path) if (path / "zarr.json").exists() else None
            self._opened[key] = there if there is not None and there.key == key else None
        return self._opened[key]


@dataclass(frozen=True, kw_only=True)
class CeilingGroup:
    """Records that one ceiling is for: the same test rows, mask and train spectra.

    `why_not` tells of each record of `found` why the ceiling does not hold for it, None where it does; `stores` are
    digests by key of the test stores that told it; records without stores (finetune) tell it themselves. Records whose
    test store is gone stand in every group of their rows.
    """

    found: Comparable
    why_not: tuple[str | None, ...]
    mask: str | None
    train_inputs: tuple[str, ...]
    stores: Mapping[str, str]


def groups_of(found: Comparable, stores: KeptStores) -> Iterator[CeilingGroup]:
    """Divide records on the same test rows by mask and train spectra, which their stores and specs tell."""
    tests = [_test_store(record, stores) for record in found.records]
    seen = [_seen(record, test) for record, test in zip(found.records, tests, strict=True)]
    named = {
        (told["mask"], _train_inputs(record))
        for record, told in zip(found.records, seen, strict=True)
        if told is not None
    }
    for mask, inputs in sorted(named, key=str):
        chosen = [
            k
            for k, (record, told) in enumerate(zip(found.records, seen, strict=True))
            if told is None or (told["mask"], _train_inputs(record)) == (mask, inputs)
        ]
        kept = [tests[k] for k in chosen]
        yield CeilingGroup(
            found=Comparable(
                rows=found.rows,
                records=tuple(found.records[k] for k in chosen),
                y_hat=found.y_hat[:, chosen],
            ),
            why_not=tuple(why_not(found.records[k].spec, seen[k]) for k in chosen),
            mask=mask,
            train_inputs=inputs,
            stores={test.key: test.digest() for test in kept if test is not None},
        )


def _test_store(record: Record, stores: KeptStores) -> FeatureStore | None:
    """The store with the test features; None where it is gone, or where there never was one."""
    keys = record.spec.get("stores")
    return None if keys is None else stores.get("test", keys["test"][0])


def _seen(record: Record, test: FeatureStore | None) -> Mapping[str, Any] | None:
    """What the test features saw (encoder, error input, mask): by their store, or of a finetune record by its spec.

    None where the store is gone. A network trained end to end is fed as its error mode says, like a frozen one.
    """
    if test is not None:
        return test.provenance
    return record.spec if "stores" not in record.spec else None


def _train_inputs(record: Record) -> tuple[str, ...]:
    return tuple((record.spec.get("inputs") or {}).get("train", ()))


def fisher_of(group: CeilingGroup, fisher: Path) -> FisherMatrices:
    """The Fisher matrices of the group's test spectra, from a folder, or from one description that is named.

    Raises NotExtracted with the command that makes them, ConfigError when several fit or the file named is of others.
    """
    about = group.found.rows.about
    (test_input,) = about["input"]
    wanted = {"input": test_input, "noise_level": float(about["noise_level"]), "mask": group.mask}
    if fisher.is_dir() or fisher.suffix != ".json":
        return find_fisher(
            fisher, "test", input_digest=test_input, noise_level=wanted["noise_level"], mask=group.mask
        )
    named = read_fisher(fisher)
    differs = {
        name: named.provenance[name] for name, value in wanted.items() if named.provenance[name] != value
    }
    if differs:
        raise ConfigError(f"--fisher {fisher}: has {differs}, the test rows have {wanted}; name another file")
    return named


def on_matrices(group: CeilingGroup, fisher: FisherMatrices) -> CeilingGroup:
    """The group on the test rows that have a matrix, where stars that lack a label were left without; else as it is.

    Raises ConfigError where fewer than two rows are left.
    """
    rows = group.found.rows
    there = np.isin(rows.rows, fisher.rows)
    if fisher.provenance["rows"].get("missing_labels") != DROP or there.all():
        return group
    if there.sum() < LEAST_ROWS:
        raise ConfigError(
            f"{rows.label}: {there.sum()} of {there.size} test rows have all labels of which Fisher matrices are made, "
            f"at least {LEAST_ROWS} are needed for a ceiling; fill in the labels"
        )
    found = replace(
        group.found,
        rows=replace(
            rows,
            rows=rows.rows[there],
            stars=rows.stars[there],
            y=rows.y[there],
            stored={name: values[there] for name, values in rows.stored.items()},
        ),
        y_hat=group.found.y_hat[there],
    )
    return replace(group, found=found)


def matched(fisher: FisherMatrices, rows: ScoredRows) -> Array:
    """The matrix of every test row, (n, P, P), joined by row and star.

    Raises Stale when a test row has no matrix, or one of another star or label: then it is not of these spectra.
    """
    order = np.argsort(fisher.rows)
    place = np.searchsorted(fisher.rows, rows.rows, sorter=order)
    position = order[np.minimum(place, len(order) - 1)]
    truth = fisher.labels.get(rows.label)
    wrong = {
        "have no Fisher matrix": fisher.rows[position] != rows.rows,
        "have that of another star": fisher.stars[position] != rows.stars,
        f"have that of another {rows.label}": np.zeros(rows.y.size, dtype=bool)
        if truth is None
        else truth[position] != rows.y,
    }
    for words, bad in wrong.items():
        if bad.any():
            raise Stale(
                f"{int(bad.sum())} of {rows.y.size} test rows {words} (first rows: {rows.rows[bad][:5].tolist()}); "
                "make the matrices from the same files, with the same --on-bad-rows: python -m extract fisher --help"
            )
    return np.asarray(fisher.matrices[position])


def prior_of(
    group: CeilingGroup, stores: KeptStores, parameters: Sequence[str], *, amplitude_sd: float
) -> tuple[Prior, dict[str, str]]:
    """The prior from the labels in the train stores of the group, and the digests by key of those stores.

    All stars of the train spectra count, also where a record was fitted to some of them. Raises NotExtracted when no
    record has all of its train stores left, and what `label_prior` raises.
    """
    for record in group.found.records:
        if _train_inputs(record) != group.train_inputs:
            continue
        keys = (record.spec.get("stores") or {}).get("train", ())
        opened = [stores.get("train", key) for key in keys]
        kept = [store for store in opened if store is not None]
        if not kept or len(kept) < len(opened):
            continue
        of_input = {str(store.provenance["input"]): store for store in reversed(kept)}.values()
        names = [name for name in parameters if name != AMPLITUDE]
        there = set.intersection(*(set(store.label_names) for store in of_input))
        prior = label_prior(
            {n: np.concatenate([store.labels(n) for store in of_input]) for n in names if n in there},
            names,
            stars=np.concatenate([store.stars for store in of_input]),
            amplitude_sd=amplitude_sd,
        )
        return prior, {store.key: store.digest() for store in of_input}
    raise NotExtracted(
        f"{stores.root}/train: none of {len(group.found.records)} records has its train stores there, and with them "
        "the labels that the prior is taken from; extract train (python -m extract run) and fit a probe, or name the "
        "folder with --features"
    )
