"""Footnotes every table carries: what the numbers are, what they are not, and what they came from."""

from collections.abc import Iterator, Sequence

import pandas as pd

from cache.grouping import grouped

from .comparable import name_of
from .rows import FRESH, SHORT, rows_of
from .settings import RUN_DIGITS, constant_note, head_note
from .table import Column

PUBLISHED_NOTE = (
    "Published columns: real BOSZ/PFS spectra at magnitude 21.5, the group's own encoder (48 channels), one "
    "direction (which one is not recorded), 1000 test stars (a 95 % interval is about +-0.046 in R2). Ridge: alpha "
    "0.001, 100k train; a second published Ridge run gives 0.2192 for log_g on enc_last + global_mean. LightGBM: "
    "15 leaves, 50 trees. MLP: trained end to end on the frozen encoder, fresh noise in every batch; val is "
    "epoch 47 of 50."
)
FAILED = "failed"
"""What stands in the place of a score that there is not."""
NOT_PUBLISHED_NOTE = "No published number answers the same question as any of these rows."
MOCK_NOTE = (
    "Our numbers on mock data are not BOSZ results: the mock survey is another, simpler set of spectra."
)


def footnotes(
    shown: pd.DataFrame, columns: Sequence[Column], *, covered: Sequence[str] = ()
) -> tuple[str, ...]:
    """Footnotes of a table of scored rows; `shown` is its settings frame, `columns` what it shows.

    `covered` are settings (keys of `settings.VARYING`) that stand along an axis of the table.
    """
    return tuple(note for note in _footnotes(shown, columns, covered) if note)


def _footnotes(shown: pd.DataFrame, columns: Sequence[Column], covered: Sequence[str]) -> Iterator[str]:
    methods = ", or ".join(sorted({method for method in shown["interval_method"] if method}))
    yield f"n counts stars. Brackets: 95 % interval ({methods or 'none stored'})."
    yield constant_note(shown, columns, covered=covered)
    yield head_note(shown)
    yield published_note(shown)
    yield mock_note(shown)
    yield from _troubles(shown)
    yield from provenance_notes(shown)


def published_note(shown: pd.DataFrame) -> str:
    """What the published columns are, or that there is nothing to put in them."""
    there = (
        shown[[name for name in shown.columns if str(name).startswith("published_")]].notna().any(axis=None)
    )
    return PUBLISHED_NOTE if there else NOT_PUBLISHED_NOTE


def mock_note(shown: pd.DataFrame) -> str:
    """The warning that mock numbers are not BOSZ results; '' when no row is mock."""
    return MOCK_NOTE if (shown["data_kind"] == "mock").any() else ""


def _troubles(shown: pd.DataFrame) -> Iterator[str]:
    yield from _failures(shown)
    if (shown["state"] == FRESH).all():
        yield "Stores: by header and records, those of every row are there and unchanged."
    stale = shown[shown["state"].str.startswith("stale")]
    if len(stale):
        yield (
            f"Stale: {len(stale)} of {len(shown)} rows rest on feature stores that are missing, changed or unreadable, "
            f"so they cannot be checked or made again as they stand. To make the stores: {extract_command(stale)}"
        )


def _failures(shown: pd.DataFrame) -> Iterator[str]:
    """One footnote for each error that failed rows ended with: how many, and the first of them in words."""
    failed = rows_of(shown[shown["status"] != "ok"])
    for reason, rows in grouped(failed, lambda row: str(row["error"] or "no reason recorded")).items():
        first = f"{name_of(rows[0])} ({rows[0]['label']}, record {rows[0]['run_id'][:RUN_DIGITS]})"
        more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
        yield f"Failed, {len(rows)} of {len(shown)} rows: {reason.rstrip('.')}. This is {first}{more}."


def extract_command(stale: pd.DataFrame) -> str:
    """The command that writes the stores of some rows again; what records do not hold is in capitals."""
    directions = {name for text in stale["direction"] for name in text.split(" + ")}
    stored = (
        ["forward", "backward"] if directions - {"forward", "backward", ""} else sorted(directions - {""})
    )
    layers, poolings = (
        ",".join(dict.fromkeys(name for text in stale[column] for name in text.split(" + ") if name))
        for column in ("layer", "pooling")
    )
    return (
        f"python -m extract run --data DATA --checkpoint CHECKPOINT --layers {layers} --poolings {poolings} "
        f"--directions {','.join(stored)} --out FEATURES, with the --noise-level, --seed, --mask and --error-mode "
        "of then; where stores of their family are left, python -m probes run names the command that made those"
    )


def provenance_notes(shown: pd.DataFrame) -> Iterator[str]:
    """One footnote per encoder and family: its name and, per split, key=digest of every store."""
    origins: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
    columns = (shown[name].tolist() for name in ("encoder", "weights", "family", "stores", "control"))
    for encoder, weights, family, stores, control in zip(*columns, strict=True):
        origins.setdefault((encoder, weights, family), []).append((stores, control))
    for (encoder, _, family), rows in sorted(origins.items()):
        stores = dict.fromkeys(store for text, _ in sorted(rows) for store in text.split())
        kind = "random encoder" if any(control == "random_encoder" for _, control in rows) else "encoder"
        yield (
            f"From {kind} {encoder or 'weights not recorded'}, family {family[:SHORT] or 'none'}; "
            f"stores (split:key=digest) {', '.join(sorted(stores, key=_split_first)) or 'none'}."
        )


def _split_first(store: str) -> tuple[int, str]:
    split = store.split(":", 1)[0]
    return ({"train": 0, "val": 1, "test": 2}.get(split, 3), store)
