"""How the training of an MLP head went, epoch by epoch, beside the published epochs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from .comparable import name_of
from .footnotes import MOCK_NOTE, provenance_notes
from .ordering import ordered
from .published import EPOCH_COLUMNS, FINISHED, UNFINISHED, Metric, Published, Split, published
from .rows import SCORED_KINDS, Row, rows_of
from .settings import head_note, settings_frame
from .source import Source
from .table import Cell, Column, Table
from .vocabulary import error_digits, unit_of

Line = dict[str, Cell]
Arrays = Mapping[str, np.ndarray[Any, np.dtype[Any]]]
ALL_SHOWN = 25
"""Runs with more epochs than this are thinned on the page, never in the CSV."""
FIRST, EVERY = 5, 5
OURS = tuple(f"{split}_{metric}" for split, metric in EPOCH_COLUMNS)
_HEADINGS: Mapping[str, str] = {"loss": "loss", "rmse": "RMSE", "mae": "MAE", "r2": "R2"}


def has_history(arrays: Arrays) -> bool:
    """Whether a record's sidecar holds a learning curve."""
    return "history_epoch" in arrays


def progress_tables(source: Source, label: str) -> tuple[Table, ...]:
    """One table per record of the label that has a learning curve in its sidecar.

    A record fitted to several labels at once has one curve; it then appears under each of them.
    """
    curves = _curves(source, label)
    rows = ordered(source.frame[(source.frame["label"] == label) & source.frame["run_id"].isin(list(curves))])
    shown = rows_of(settings_frame(rows))
    origins = rows[["head", "params", "encoder", "weights", "family", "stores", "control"]]
    return tuple(
        _progress(origins.iloc[[index]], row, curves[row["run_id"]]) for index, row in enumerate(shown)
    )


def _curves(source: Source, label: str) -> dict[str, Arrays]:
    """The sidecars that hold a learning curve of the label, by run id."""
    records = (
        record
        for record in source.records
        if record.kind in SCORED_KINDS and label in record.spec["labels"] and "arrays" in record.files
    )
    arrays = {record.run_id: source.arrays(record.run_id) for record in records}
    return {run_id: found for run_id, found in arrays.items() if has_history(found)}


def _progress(tidy_row: pd.DataFrame, row: Row, arrays: Arrays) -> Table:
    known = published(row["label"], layer=row["layer"], pooling=row["pooling"], head=row["head"])
    comparable = row["published_val_r2"] is not None
    lines = _lines(row, arrays, [score for score in known if comparable and score.epoch is not None])
    best = _best_epoch(arrays)
    shown = tuple(line for line in lines if _is_shown(line, lines, best))
    return Table(
        title=f"{row['label']}: training progress of {name_of(row)}, run {row['run']}",
        columns=_columns(lines, row),
        rows=shown,
        notes=tuple(_notes(row, tidy_row, epochs=len(lines), left_out=len(lines) - len(shown))),
        tidy=_tidy(row, lines, arrays),
        emphasis=frozenset((index, "val_r2") for index, line in enumerate(shown) if line["epoch"] == best),
    )


def _lines(row: Row, arrays: Arrays, scores: Sequence[Published]) -> list[Line]:
    """One line per epoch of either run, ours and the published numbers under keys of their own."""
    curves = {key: _curve(arrays, f"history_{key}", row) for key in OURS}
    epochs = [int(epoch) for epoch in arrays["history_epoch"]]
    lines: dict[int, Line] = {
        epoch: {"epoch": epoch, **{key: curve[index] for key, curve in curves.items()}}
        for index, epoch in enumerate(epochs)
    }
    for score in scores:
        line = lines.setdefault(score.epoch or 0, {"epoch": score.epoch or 0})
        line[f"published_{score.split}_{score.metric}"] = score.value
    return [lines[epoch] for epoch in sorted(lines)]


def curve_of(arrays: Arrays, name: str, row: Row) -> npt.NDArray[np.float64]:
    """(epochs,), NaN where a record has none; of an array with a column per label, the column of this label."""
    n_epochs = len(arrays["history_epoch"])
    values = np.asarray(arrays.get(name, np.full(n_epochs, np.nan)), dtype=np.float64)
    return values if values.ndim == 1 else values[:, row["fitted_labels"].split().index(row["label"])]


def _curve(arrays: Arrays, name: str, row: Row) -> list[float | None]:
    """One value per epoch, None where there is none."""
    return [float(value) if np.isfinite(value) else None for value in curve_of(arrays, name, row)]


def _best_epoch(arrays: Arrays) -> int | None:
    """First epoch with the highest val R2, averaged over the labels fitted together; None without a val split."""
    if "history_val_r2" not in arrays:
        return None
    scores = np.asarray(arrays["history_val_r2"], dtype=np.float64)
    return int(arrays["history_epoch"][np.argmax(scores.reshape(len(scores), -1).mean(axis=1))])


def _is_shown(line: Line, lines: Sequence[Line], best: int | None) -> bool:
    epoch = int(str(line["epoch"]))
    published_too = any(str(key).startswith("published_") for key in line)
    edge = line in (*lines[:FIRST], lines[-1])
    return len(lines) <= ALL_SHOWN or edge or published_too or epoch == best or epoch % EVERY == 0


def _columns(lines: Sequence[Line], row: Row) -> tuple[Column, ...]:
    unit = unit_of(row["label"])
    ours = [_column(split, metric, unit, prefix="") for split, metric in EPOCH_COLUMNS]
    theirs = [_column(split, metric, unit, prefix="published_") for split, metric in EPOCH_COLUMNS]
    return (
        Column(key="epoch", heading="epoch"),
        *ours,
        *(column for column in theirs if any(column.key in line for line in lines)),
    )


def _column(split: Split, metric: Metric, unit: str, *, prefix: str) -> Column:
    return Column(
        key=f"{prefix}{split}_{metric}",
        heading=f"{'published ' if prefix else ''}{split} {_HEADINGS[metric]}",
        unit={"r2": "", "loss": f"{unit}^2"}.get(metric, unit),
        digits=3 if metric == "r2" else error_digits(unit),
    )


def _notes(row: Row, tidy_row: pd.DataFrame, *, epochs: int, left_out: int) -> Iterator[str]:
    yield (
        f"{row['data_kind']} data, val split: {row['n_val']} stars, train: {row['n_train']} stars. Loss is the "
        "mean squared residual. Bold: the epoch with the best val R2, averaged over the labels fitted together, whose "
        "weights are kept."
    )
    if left_out:
        yield f"{epochs - left_out} of {epochs} epochs are shown; the CSV beside this file has all of them."
    if row["published_val_r2"] is not None:
        yield (
            "Published columns: real BOSZ/PFS data, train and val split, never test. Epochs 0-4: "
            f"{UNFINISHED}; epoch 47: best epoch of the {FINISHED}."
        )
    if row["data_kind"] == "mock":
        yield MOCK_NOTE
    if row["state"].startswith("stale"):
        yield f"Stale ({row['state'].removeprefix('stale: ')}): this cannot be checked or made again as it stands."
    yield head_note(tidy_row)
    yield from provenance_notes(tidy_row)


def _tidy(row: Row, lines: Sequence[Line], arrays: Arrays) -> pd.DataFrame:
    """One row per epoch, ours and published in separate columns, learning rate included."""
    rates = dict(zip(arrays["history_epoch"].tolist(), _curve(arrays, "history_lr", row), strict=True))
    known = ("run_id", "label", "layer", "pooling", "direction", "head", "data_kind", "state", "unit")
    texts = {key: np.full(len(lines), row[key], dtype=object) for key in known}
    names = (*OURS, *(f"published_{key}" for key in OURS))
    numbers = {name: np.array([line.get(name) for line in lines], dtype=np.float64) for name in names}
    epochs = pd.array([int(str(line["epoch"])) for line in lines], dtype="Int64")
    rate = np.array([rates.get(line["epoch"]) for line in lines], dtype=np.float64)
    return pd.DataFrame({**texts, "epoch": epochs, "learning_rate": rate, **numbers})
