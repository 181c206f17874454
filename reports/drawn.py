"""What drawing a figure gives, and the words and rows that several figures share."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cache.records import Record

from .comparable import name_of, ranked_sets
from .ordering import ordered
from .render_markdown import estimate_text, number_text
from .rows import FRESH, Row, flags_of
from .settings import n_draws, unseeded, variant_of, varying_columns
from .source import Source
from .table import Estimate
from .usual import Usual, usual_of
from .vocabulary import LATENT, unit_of

R2 = "R²"
FLOOR = -0.25
"""R2 below this is cut off."""
INTERVALS = "95\u00a0% intervals"
"""With a no-break space."""
SIDEWAYS = "points of a bin are set apart sideways; each stands for the whole bin"


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """One figure; `part` tells figures of one kind and label apart ('' where there is one)."""

    title: str
    caption: str
    figure: Figure
    part: str = ""


def main_rows(frame: pd.DataFrame, label: str) -> list[Row]:
    """Rows of the label on the test set that the page answers for (`ranked_sets`); failed fits are left out.

    Each carries `name` and the texts of `settings_frame`. Empty when nothing has a score.
    """
    scored = frame[(frame["label"] == label) & frame["test_r2"].notna()]
    return next(iter(ranked_sets(ordered(scored))), []) if len(scored) else []


def plain(rows: Iterable[Row]) -> list[Row]:
    """Rows of all of train, all columns and one noise level, of the lowest seed: what sweeps vary is left out.

    Of several numbers of noise draws of train the smallest counts.
    """
    kept: dict[tuple[str, ...], Row] = {}
    for row in rows:
        levels = {row[f"noise_level_{split}"] for split in ("train", "test")}
        if (
            row["train_size"] is None
            and not (row["pca"] or row["segments"] or row["cross"])
            and len(levels) == 1
        ):
            key = (str(unseeded(row)), *(str(row[name]) for name in _PLAIN))
            if key not in kept or _rank(row) < _rank(kept[key]):
                kept[key] = row
    return list(kept.values())


def _rank(row: Row) -> tuple[float, float]:
    return n_draws(row), math.inf if row["seed"] is None else row["seed"]


_PLAIN = (
    *("kind", "training", "role", "layer", "pooling", "direction", "head"),
    *("error_input", "noise_level_train", "fitted_labels", "family", "weights", "inputs", "selection"),
)


def latents_of(rows: Iterable[Row]) -> list[Row]:
    """The latent rows."""
    return [row for row in rows if row["role"] == LATENT]


def heads_apart(rows: Sequence[Row]) -> list[str]:
    """Of each row its head and whatever else is not the usual (`usual_of_heads`), but layer and pooling, in words."""
    usual = usual_of_heads(rows)
    directions = {row["direction"] for row in rows}
    names = []
    for row in rows:
        parts = [variant_of(row)]
        parts += [row["direction"]] if len(directions) > 1 else []
        parts += usual.told(row)
        names.append(", ".join(parts))
    short = [_SELECTION.sub("", name).replace(" ()", "") for name in names]
    return short if len(set(short)) == len(set(names)) else names


def usual_of_heads(rows: Sequence[Row]) -> Usual:
    """The settings that most rows have, but for those of heads and for seeds."""
    return usual_of(rows, without=("settings_text", "seed_text"))


_SELECTION = re.compile(r"(, )?selection=\w+")
"""The selection rule follows from the parameters in all but odd cases."""


def names_apart(rows: Sequence[Row]) -> list[str]:
    """A row in words, with the settings that differ, and then its run, where names would repeat.

    Where all are of the same features and head, the settings are the name.
    """
    names = [name_of(row) for row in rows]
    if len(set(names)) < len(names):
        columns = varying_columns(pd.DataFrame(rows))
        parts = [] if len(set(names)) == 1 and columns else names
        settings = [[f"{c.heading} {row[c.key]}" for c in columns if row[c.key]] for row in rows]
        names = [
            ", ".join([*parts[place : place + 1], *told]) or names[place]
            for place, told in enumerate(settings)
        ]
    if len(set(names)) < len(names):
        names = [f"{name}, run {row['run']}" for name, row in zip(names, rows, strict=True)]
    return names


def r2_text(row: Row, *, digits: int = 3) -> str:
    """'R² 0.532 [0.502, 0.559]' of a row on test."""
    return f"{R2} {estimate_text(Estimate(row['test_r2'], row['test_r2_lo'], row['test_r2_hi']), digits)}"


def with_unit(label: str) -> str:
    """'log_g [dex]'; the label alone when it has no unit."""
    unit = unit_of(label)
    return f"{label} [{unit}]" if unit else label


def in_unit(value: float, label: str) -> str:
    """A difference of a label with its unit: '0.79 dex', '112 K'."""
    unit = unit_of(label)
    return f"{number_text(value, 0 if unit == 'K' else 2)} {unit}".rstrip()


def in_unit_with_interval(estimate: Estimate, label: str) -> str:
    """The same with its interval: '0.50 [0.41, 0.60] dex'."""
    unit = unit_of(label)
    return f"{estimate_text(estimate, 0 if unit == 'K' else 2)} {unit}".rstrip()


def data_note(rows: Sequence[Row]) -> str:
    """What rows were scored on: '2000 test stars, mock data (not BOSZ or PFS results), noise level 1'."""
    counts = "/".join(str(n) for n in sorted({row["n_test"] for row in rows if row["n_test"] is not None}))
    data = data_text(row["data_kind"] for row in rows)
    return f"{counts or 'unknown number of'} test stars, {data}{noise_text(row['noise_level_test'] for row in rows)}"


def noise_text(levels: Iterable[float | None]) -> str:
    """', noise level 1', from the levels of test; '' where none is told."""
    known = [f"{level:g}" for level in sorted({level for level in levels if level is not None})]
    return f", noise level {listed(known)}" if known else ""


def data_text(kinds: Iterable[str]) -> str:
    """'mock data (not BOSZ or PFS results)'; nothing is added to real data."""
    there = sorted({kind or "unstated" for kind in kinds})
    warning = " (not BOSZ or PFS results)" if "mock" in there else ""
    return f"{' and '.join(there)} data{warning}"


def cut_note(rows: Sequence[Row]) -> str:
    """What to say where some scores lie below FLOOR; '' where none does."""
    n = sum(row["test_r2"] < FLOOR for row in rows)
    return f" Cut off below {FLOOR:g}: {n} of {len(rows)} scores." if n else ""


def limit_r2(axes: Axes, rows: Sequence[Row]) -> None:
    """Let the axis of R2 hold all scores with their intervals, but nothing below FLOOR; see `cut_note`."""
    low = min(v for row in rows for v in (row["test_r2"], row["test_r2_lo"]) if v is not None)
    high = max(v for row in rows for v in (row["test_r2"], row["test_r2_hi"]) if v is not None)
    low, high = max(low, FLOOR), max(high, FLOOR + 0.1)
    margin = 0.05 * (high - low) or 0.05
    axes.set_ylim(low - (0 if low == FLOOR else margin), high + margin)


def counted(number: float) -> str:
    """A number as titles print it: '1000000', '0.5'."""
    return str(int(number)) if float(number).is_integer() else f"{number:g}"


def stale_alarm(rows: Sequence[Row]) -> str:
    """What must stand beside scores whose stores are gone or changed; '' when all are fresh."""
    stale = sum(row["state"].startswith("stale") for row in rows)
    return (
        f"{stale} of {len(rows)} scores drawn are stale: their stores are missing, changed or unreadable."
        if stale
        else ""
    )


def record_flags(record: Record, label: str) -> str:
    """The flags of a record that is no row of the frame, as far as they concern a label; '' without any."""
    labels = record.spec.get("labels") or [label]
    flags = flags_of(record.result.get("flags") or [], label, labels)
    return f"Flags: {flags}." if flags else ""


def stale_stores(source: Source, record: Record) -> str:
    """The same for a record that is no row of the frame, by the stores that it names."""
    stores = record.result.get("stores") or {}
    stale = sum(source.state(key, digest) != FRESH for key, digest in stores.items())
    return (
        f"{stale} of the {len(stores)} stores behind this are missing, changed or unreadable."
        if stale
        else ""
    )


def error_bars(rows: Sequence[Row]) -> tuple[list[float], list[float]]:
    """Lengths of the 95 % intervals of test R2 below and above, NaN where there is none."""
    nan = float("nan")
    below = [nan if row["test_r2_lo"] is None else max(row["test_r2"] - row["test_r2_lo"], 0) for row in rows]
    above = [nan if row["test_r2_hi"] is None else max(row["test_r2_hi"] - row["test_r2"], 0) for row in rows]
    return below, above


def listed(items: Sequence[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def file_part(text: str) -> str:
    """A name as part of a file name: what is not a letter, digit, dot or underscore becomes one hyphen."""
    return re.sub(r"[^A-Za-z0-9_.]+", "-", text).strip("-")
