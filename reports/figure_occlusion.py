"""What covering pixels of the input does to the features, stream by stream and segment by segment."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cache.records import Record

from .drawn import Drawn, data_text, listed
from .figure_spectra import NAMES_PAD, Arrays, Floats, part_of, records_of
from .render_markdown import number_text
from .source import Source
from .spectral_lines import holds_line, mark_lines, wavelength_note
from .style import SEQUENTIAL, STYLES, TWO_COLUMNS, Words, new_figure, tell
from .typesetting import SMALL

MOST_ARRAYS = 4


def occlusions(source: Source) -> list[Drawn]:
    """One figure per record of occlusion: change of the features by covered window, and by segment."""
    records = records_of(source, "occlusion")
    return [
        _draw_occlusion(record, source.arrays(record.run_id), part=part_of(record, records))
        for record in records
    ]


def _draw_occlusion(record: Record, arrays: Arrays, *, part: str) -> Drawn:
    names = sorted(name.removeprefix("change/") for name in arrays if name.startswith("change/"))
    names.sort(key=lambda name: "backward" in name)
    shown = names[:MOST_ARRAYS]
    low, high = (np.asarray(arrays[name], dtype=np.float64) for name in ("wave_lo", "wave_hi"))
    relative = {name: _relative(arrays, name) for name in shown}
    kind, split = record.spec.get("data_kind", ""), record.spec.get("split", "test")
    more = f" {len(shown)} of {len(names)} arrays." if len(shown) < len(names) else ""
    words = Words(
        title=_occlusion_title(relative, low, high),
        note=(
            f"The noisy flux is covered {record.spec['window']} pixels at a time with the mean of the spectrum's other "
            f"pixels; the error channel stays. Change: root mean square over {record.result['n']} {split} spectra and "
            f"over features, each in its own standard deviations (no unit); {data_text([kind])}. "
            f"{wavelength_note(kind)}{more}"
        ),
    )
    segments = {name: _by_segment(values, name) for name, values in relative.items()}
    heights = [h for name in shown for h in ((1.0, 0.9) if segments[name] is not None else (1.0,))]
    figure = new_figure(TWO_COLUMNS, words.room(TWO_COLUMNS) + 1.05 * sum(heights) + 0.45)
    grid = iter(
        figure.subplots(len(heights), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights})[
            :, 0
        ]
    )
    for place, name in enumerate(shown):
        axes = next(grid)
        _draw_change(axes, relative[name], low, high, named=place == 0)
        axes.set_title(_stream_words(name), fontsize=SMALL, pad=NAMES_PAD if place == 0 else 4)
        if (parts := segments[name]) is not None:
            axes = next(grid)
            _draw_segments(figure, axes, parts, low, high)
    axes.set_xlabel("wavelength of the covered pixels [Å]")
    tell(figure, words)
    caption = f"Change of the pooled features when pixels of the input are covered. {words.note}"
    return Drawn(title=words.title, caption=caption, figure=figure, part=part)


def _relative(arrays: Arrays, name: str) -> Floats:
    """(windows, features): change of each feature in its standard deviations; features that never vary are left out."""
    change = np.asarray(arrays[f"change/{name}"], dtype=np.float64)
    spread = np.asarray(arrays[f"std/{name}"], dtype=np.float64)
    relative = np.full(change.shape, np.nan)
    varies = spread > 0
    relative[:, varies] = change[:, varies] / spread[varies]
    return relative


def _rms(relative: Floats) -> Floats:
    """(windows,): root mean square over features."""
    good = np.isfinite(relative).any(axis=0)
    return np.sqrt((relative[:, good] ** 2).mean(axis=1)) if good.any() else np.full(len(relative), np.nan)


def _by_segment(relative: Floats, name: str) -> Floats | None:
    """(segments, windows) where the pooling cuts the spectrum into segments, features being ordered by segment."""
    pooling = name.rsplit("/", 1)[-1]
    if not pooling.startswith("seg_mean_K"):
        return None
    n_segments = int(pooling.removeprefix("seg_mean_K"))
    return np.stack([_rms(part) for part in np.split(relative, n_segments, axis=1)])


def _occlusion_title(relative: Mapping[str, Floats], low: Floats, high: Floats) -> str:
    """How much of the squared change comes from windows that hold a strong line; else where the largest change is."""
    lined = np.array([holds_line(float(a), float(b)) for a, b in zip(low, high, strict=True)])
    streams = {name: _rms(values) for name, values in relative.items()}
    if lined.any() and all(np.nansum(change) > 0 for change in streams.values()):
        shares = [
            f"{100 * float((change[lined] ** 2).sum() / (change**2).sum()):.0f} % of that of {_short(name)}"
            for name, change in streams.items()
        ]
        shares[0] = shares[0].replace("of that of", "of the squared change of")
        return f"Windows with the lines marked, {100 * lined.mean():.0f} % of all, bring {listed(shares)}"
    name, change = next(iter(streams.items()))
    if not np.nansum(change) > 0:
        return f"Covering pixels changes nothing that varies in {_short(name)}"
    place = int(np.nanargmax(change))
    return (
        f"{_short(name)} changes most, by {number_text(float(change[place]), 2)} standard deviations, when "
        f"{low[place]:.0f} to {high[place]:.0f} Å are covered"
    )


def _short(name: str) -> str:
    layer, direction, _ = name.split("/")
    return f"{layer} {direction}"


def _stream_words(name: str) -> str:
    layer, direction, pooling = name.split("/")
    context = {"forward": "runs to the red: context up to", "backward": "runs to the blue: context from"}
    return f"{layer} / {pooling}, {direction} stream ({context.get(direction, direction)} a wavelength)"


def _draw_change(axes: Axes, relative: Floats, low: Floats, high: Floats, *, named: bool) -> None:
    edges = np.append(low, high[-1])
    axes.stairs(np.nan_to_num(_rms(relative)), edges, color=STYLES[0][0], linewidth=1.1)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(bottom=0)
    axes.set_ylabel("change [st. dev.]")
    mark_lines(axes, named=named)


def _draw_segments(figure: Figure, axes: Axes, parts: Floats, low: Floats, high: Floats) -> None:
    edges = np.append(low, high[-1])
    image = axes.pcolormesh(edges, np.arange(len(parts) + 1), parts, cmap=SEQUENTIAL, rasterized=True)
    axes.set_yticks(np.arange(len(parts)) + 0.5, [str(k) for k in range(len(parts))])
    axes.tick_params(axis="y", length=0)
    axes.set_ylabel("segment")
    bar = figure.colorbar(image, ax=axes, label="change [st. dev.]", pad=0.01, aspect=10)
    bar.outline.set_visible(False)
    mark_lines(axes, named=False)
