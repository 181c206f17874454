"""R2 by layer in the order of the network, a line per label: where in the network a label is known."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from .comparable import val_of
from .comparisons import Comparisons
from .contest import contest
from .drawn import (
    INTERVALS,
    R2,
    Drawn,
    cut_note,
    data_note,
    error_bars,
    heads_apart,
    latents_of,
    limit_r2,
    listed,
    main_rows,
    plain,
    stale_alarm,
)
from .ordering import PARTS
from .render_markdown import number_text
from .rows import Row
from .source import Source
from .style import ONE_COLUMN, TWO_COLUMNS, Words, horizontal_grid, new_figure, style_of, tell
from .typesetting import SMALL, text_width
from .vocabulary import RAW_FLUX, label_rank, layer_rank

_FEATURES = ("kind", "training", "pooling", "direction", "family", "weights")
_FIT = ("head", "params", "selection", "error_input", "inputs", "draws_train")


def depth(source: Source, labels: Sequence[str]) -> list[Drawn]:
    """One figure: test R2 by layer in the order of the network, a line per label, of one head and pooling."""
    rows = {label: plain(main_rows(source.frame, label)) for label in labels}
    choice = _most_layers(rows)
    if choice is None:
        return []
    lines = {
        label: sorted(
            (
                row
                for row in latents_of(rows[label])
                if _question(row) == choice and PARTS not in row["layer"]
            ),
            key=lambda r: layer_rank(r["layer"]),
        )
        for label in sorted(labels, key=label_rank)
    }
    lines = {label: line for label, line in lines.items() if len({row["layer"] for row in line}) > 1}
    shown = [row for line in lines.values() for row in line]
    flux = {label: _of_flux(rows[label], choice) for label in lines}
    title = _depth_title(lines, source.paired)
    first = shown[0]
    note = f"{first['pooling']}, {first['direction']}, {heads_apart([first])[0]}; bars: {INTERVALS}"
    note += f"; {data_note(shown)}."
    if any(flux.values()):
        note += f" Open markers: the same head on the {RAW_FLUX} itself."
    note += cut_note(shown)
    words = Words(
        title=title, note=note, alarm=stale_alarm(shown), key=tuple(lines) if len(lines) > 1 else ()
    )
    figure = _draw_depth(lines, flux, words)
    caption = f"Test {R2} by layer in the order of the network, for {listed(list(lines))}. {note}"
    return [Drawn(title=title, caption=caption, figure=figure)]


def _question(row: Row) -> tuple[str, ...]:
    """What is the same along a line of the figure."""
    return tuple(str(row[name]) for name in (*_FEATURES, *_FIT))


def _most_layers(rows: Mapping[str, Sequence[Row]]) -> tuple[str, ...] | None:
    """The pooling, direction and head with most labels and layers, then the best val R2; None without two layers."""
    found: dict[tuple[str, ...], dict[tuple[str, str], float]] = {}
    for label, of_label in rows.items():
        for row in latents_of(of_label):
            if PARTS in row["layer"]:
                continue
            found.setdefault(_question(row), {})[label, row["layer"]] = val_of(row)
    several = {
        question: cells
        for question, cells in found.items()
        if len(cells) > len({label for label, _ in cells})
    }
    return max(several, key=lambda q: (len(several[q]), max(several[q].values())), default=None)


def _of_flux(rows: Sequence[Row], choice: tuple[str, ...]) -> Row | None:
    """The raw flux under the same fit, whatever its pooling and direction, and the encoder stored beside it."""
    fit = choice[len(_FEATURES) :]
    alike = (r for r in rows if r["role"] == RAW_FLUX and tuple(str(r[name]) for name in _FIT) == fit)
    return next(alike, None)


def _depth_title(lines: Mapping[str, Sequence[Row]], paired: Comparisons) -> str:
    """The layer that scores highest, of labels where it beats every other layer; and where none does."""
    best: dict[str, list[str]] = {}
    even = []
    for label, line in lines.items():
        result = contest(line, paired)
        assert result is not None
        if result.clear:
            text = f"{label} ({number_text(result.best['test_r2'], 2)})"
            best.setdefault(result.best["layer"], []).append(text)
        else:
            even.append(label)
    told = [f"at {layer} for {listed(best[layer])}" for layer in sorted(best, key=layer_rank)]
    same = f"layers are not told apart for {listed(even)}" if even else ""
    if not told:
        return f"Test {R2}: the best {same}"
    return "; ".join(filter(None, [f"Test {R2} is highest {'; '.join(told)}", same and f"the best {same}"]))


def _draw_depth(lines: Mapping[str, Sequence[Row]], flux: Mapping[str, Row | None], words: Words) -> Figure:
    shown = [row for line in lines.values() for row in line]
    layers = sorted({row["layer"] for row in shown}, key=layer_rank)
    ticks = [RAW_FLUX, *layers] if any(flux.values()) else layers
    longest = max(text_width(name, size=SMALL) for name in ticks)
    needed = (longest + 0.1) * len(ticks) + 0.5
    width = ONE_COLUMN if needed <= ONE_COLUMN else TWO_COLUMNS
    upright = needed > width
    height = words.room(width) + 1.9 + (longest if upright else 0.15)
    figure = new_figure(width, height)
    axes = figure.subplots()
    handles = []
    for index, (label, line) in enumerate(lines.items()):
        color, marker = style_of(index)
        shift = 0.05 * (index - (len(lines) - 1) / 2)
        x = [ticks.index(row["layer"]) + shift for row in line]
        handles.append(
            axes.errorbar(
                x,
                [row["test_r2"] for row in line],
                yerr=error_bars(line),
                color=color,
                marker=marker,
                linestyle="-",
                elinewidth=1,
            )
        )
        if (row := flux[label]) is not None:
            axes.errorbar(
                [shift],
                [row["test_r2"]],
                yerr=error_bars([row]),
                color=color,
                marker=marker,
                markerfacecolor="white",
            )
    axes.set_xticks(range(len(ticks)), ticks, rotation=90 if upright else 0)
    axes.set_xlim(-0.4, len(ticks) - 0.6)
    axes.set_ylabel(f"test {R2} (no unit)")
    limit_r2(axes, [*shown, *(row for row in flux.values() if row is not None)])
    horizontal_grid(axes)
    tell(figure, words, handles=handles)
    return figure
