"""How MLP heads learned: val R2 and loss by epoch, from the sidecars of their records."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .drawn import R2, Drawn, data_text, main_rows, names_apart, noise_text, plain, stale_alarm
from .progress_table import curve_of, has_history
from .render_markdown import number_text
from .rows import Row
from .source import Source
from .style import TWO_COLUMNS, Words, horizontal_grid, new_figure, style_of, tell
from .vocabulary import unit_of

MOST_CURVES = 6
FLOOR = -0.5
"""Val R2 below this is cut off: the first epochs may be far worse than the mean predictor."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """What one training kept, (epochs,) each: val R2, and RMSE of train and val in the label's unit; NaN where none."""

    row: Row
    epoch: Floats
    val_r2: Floats
    train_rmse: Floats
    val_rmse: Floats
    best: int
    """Place of the epoch whose weights are kept: the highest val R2, averaged over the labels fitted together."""


def learning_curves(source: Source, label: str) -> list[Drawn]:
    """One figure: val R2 by epoch of the heads with the best val R2, and RMSE of train and val of the best."""
    curves = _curves(source, label)
    if not curves:
        return []
    shown = curves[:MOST_CURVES]
    first = shown[0]
    rows = [curve.row for curve in shown]
    more = f", the best {len(shown)} of {len(curves)} by val {R2}" if len(curves) > len(shown) else ""
    words = Words(
        title=_title(label, first),
        note=(
            f"Left: val {R2} of each head{more}; its best epoch, whose weights are kept, is marked. Right: RMSE of the "
            f"first of them; {first.row['n_train']} train and {first.row['n_val']} val stars, "
            f"{data_text(row['data_kind'] for row in rows)}{noise_text(row['noise_level_val'] for row in rows)}."
        ),
        alarm=stale_alarm(rows),
        key=tuple(names_apart(rows)),
    )
    figure = _draw(label, shown, words)
    return [Drawn(title=words.title, caption=f"Learning curves for {label}. {words.note}", figure=figure)]


def _curves(source: Source, label: str) -> list[Curve]:
    """The curves of the label's main test set, of rows that are no part of a sweep, best val R2 first."""
    found = []
    for row in plain(main_rows(source.frame, label)):
        arrays = source.arrays(row["run_id"])
        if has_history(arrays) and row["control"] == "none":
            all_labels = np.asarray(arrays.get("history_val_r2", np.empty(0)), dtype=np.float64)
            if np.isfinite(all_labels).any():
                found.append(
                    Curve(
                        row=row,
                        epoch=np.asarray(arrays["history_epoch"], dtype=np.float64),
                        best=int(np.nanargmax(all_labels.reshape(len(all_labels), -1).mean(axis=1))),
                        **{
                            name: curve_of(arrays, f"history_{name}", row)
                            for name in ("val_r2", "train_rmse", "val_rmse")
                        },
                    )
                )
    return sorted(found, key=lambda curve: -float(curve.val_r2[curve.best]))


def _title(label: str, curve: Curve) -> str:
    epoch, n_epochs = int(curve.epoch[curve.best]), len(curve.epoch)
    name = f"{curve.row['head']} on {curve.row['layer']}"
    kept = number_text(curve.val_r2[curve.best], 3)
    text = f"{label}: {name} keeps epoch {epoch} of {n_epochs}, val {R2} {kept}"
    gap = curve.val_rmse[curve.best] / curve.train_rmse[curve.best]
    if not np.isfinite(gap):
        return text
    return f"{text}, where val RMSE is {number_text(gap, 2)} times that of train"


def _draw(label: str, curves: Sequence[Curve], words: Words) -> Figure:
    figure = new_figure(TWO_COLUMNS, words.room(TWO_COLUMNS) + 2.1)
    left, right = figure.subplots(1, 2)
    handles = []
    for index, curve in enumerate(curves):
        color, marker = style_of(index)
        (line,) = left.plot(curve.epoch, curve.val_r2, color=color, marker=marker, markevery=[curve.best])
        handles.append(line)
    lowest = min(float(np.nanmin(curve.val_r2)) for curve in curves)
    highest = max(float(np.nanmax(curve.val_r2)) for curve in curves)
    floor = max(lowest, FLOOR)
    left.set_ylim(floor - 0.05 * (highest - floor + 0.01), highest + 0.05 * (highest - floor + 0.01))
    left.set_ylabel(f"val {R2} (no unit)")
    first = curves[0]
    color, _ = style_of(0)
    right.plot(first.epoch, first.val_rmse, color=color, label="val")
    right.plot(first.epoch, first.train_rmse, color=color, linestyle=(0, (3, 1.5)), label="train")
    right.set_ylabel(f"RMSE [{unit_of(label)}]" if unit_of(label) else "RMSE (no unit)")
    right.legend(loc="best")
    for axes in (left, right):
        axes.set_xlabel("epoch (number)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        horizontal_grid(axes)
    tell(figure, words, handles=handles)
    return figure
