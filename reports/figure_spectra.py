"""Spectra looked at closely: noisy, clean and denoised; and what covering pixels does to the features."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cache.records import Record

from .drawn import Drawn, data_text, listed
from .render_markdown import number_text
from .source import Source
from .spectral_lines import holds_line, mark_lines, wavelength_note
from .style import NORMAL, SEQUENTIAL, SMALL, STYLES, TWO_COLUMNS, Words, new_figure, tell

KIND = "examples"
N_SHOWN = 3
CLOSE = (8470.0, 8700.0)
"""Angstrom: the Ca II triplet, shown close."""
MOST_ARRAYS = 4
NAMES_PAD = 12
"""Points between axes and a title that names of lines stand under."""
Floats = npt.NDArray[np.float64]
Arrays = Mapping[str, npt.NDArray[Any]]


def examples(source: Source) -> list[Drawn]:
    """One figure per record of example spectra: three stars from the lowest to the highest S/N, whole and close."""
    records = _records(source, "spectra")
    return [
        _draw_examples(record, source.arrays(record.run_id), part=_part(record, records))
        for record in records
    ]


def occlusions(source: Source) -> list[Drawn]:
    """One figure per record of occlusion: change of the features by covered window, and by segment."""
    records = _records(source, "occlusion")
    return [
        _draw_occlusion(record, source.arrays(record.run_id), part=_part(record, records))
        for record in records
    ]


def _records(source: Source, view: str) -> list[Record]:
    return [r for r in source.of_kind(KIND) if r.spec.get("view") == view and r.result["status"] == "ok"]


def _part(record: Record, records: Sequence[Record]) -> str:
    return record.run_id[:8] if len(records) > 1 else ""


def reconstruction(clean: Floats, other: Floats) -> Floats:
    """||x|| / ||x - other|| of each spectrum x, (n,): the reconstruction S/N of the group's papers; inf where equal."""
    distance = np.sqrt(np.nansum((clean - other) ** 2, axis=1))
    with np.errstate(divide="ignore"):
        ratio: Floats = np.sqrt((clean**2).sum(axis=1)) / distance
    return ratio


def _draw_examples(record: Record, arrays: Arrays, *, part: str) -> Drawn:
    wave, clean, noisy, denoised = (
        np.asarray(arrays[name], dtype=np.float64) for name in ("wave", "flux", "noisy", "denoised")
    )
    before, after = (float(np.median(reconstruction(clean, other))) for other in (noisy, denoised))
    verb = "lifts" if after > before else "lowers"
    shown = _spread_by_snr(record, len(clean))
    kind = record.spec.get("data_kind", "")
    words = Words(
        title=(
            f"The network {verb} the reconstruction S/N from {number_text(before, 1)} to {number_text(after, 1)} "
            f"(median of {len(clean)} {'spectra' if len(clean) > 1 else 'spectrum'})"
        ),
        note=(
            "Reconstruction S/N: ||clean|| / ||clean - other||, of the noisy and of the denoised flux. Flux in the "
            f"unit of the file; {len(shown)} of {len(clean)} {record.spec.get('split', 'test')} spectra, "
            f"{data_text([kind])}, encoder {record.result['weights'][:12]}. {wavelength_note(kind)}"
        ),
        key=("noisy", "denoised", "clean"),
    )
    figure = new_figure(TWO_COLUMNS, words.room(TWO_COLUMNS) + 1.25 * len(shown) + 0.45)
    grid = figure.subplots(len(shown), 2, sharex="col", squeeze=False, gridspec_kw={"width_ratios": (2.2, 1)})
    handles: list[Any] = []
    near = (wave >= CLOSE[0]) & (wave <= CLOSE[1])
    for (whole, close), star in zip(grid, shown, strict=True):
        for axes, pixels in (
            (whole, np.ones_like(near)),
            (close, near if near.any() else np.ones_like(near)),
        ):
            lines = (noisy[star, pixels], denoised[star, pixels], clean[star, pixels])
            handles = _draw_spectrum(axes, wave[pixels], lines)
            mark_lines(axes, named=star == shown[0])
        whole.set_title(_star_text(record, star), fontsize=SMALL, pad=NAMES_PAD if star == shown[0] else 3)
    figure.supylabel("flux [unit of the file]", fontsize=NORMAL)
    for axes in grid[-1]:
        axes.set_xlabel("wavelength [Å]")
    tell(figure, words, handles=handles)
    return Drawn(title=words.title, caption=f"Example spectra. {words.note}", figure=figure, part=part)


def _spread_by_snr(record: Record, n: int) -> list[int]:
    """Places of N_SHOWN spectra from the lowest to the highest S/N, or in stored order where it is not known."""
    snr = (record.result.get("labels") or {}).get("snr") or [None] * n
    order = sorted(range(n), key=lambda k: (snr[k] is None, snr[k] or 0.0, k))
    places = np.unique(np.linspace(0, n - 1, min(N_SHOWN, n)).round().astype(int))
    return [order[place] for place in places]


def _star_text(record: Record, star: int) -> str:
    labels = record.result.get("labels") or {}
    shown = (
        ("snr", "S/N {:.1f}"),
        ("T_eff", "T_eff {:.0f} K"),
        ("log_g", "log_g {:.2f} dex"),
        ("M_H", "M_H {:.2f} dex"),
    )
    texts = [
        text.format(value)
        for name, text in shown
        if (value := (labels.get(name) or {star: None})[star]) is not None
    ]
    return ", ".join(texts) or f"row {record.result['rows'][star]}"


def _draw_spectrum(axes: Axes, wave: Floats, lines: Sequence[Floats]) -> list[Any]:
    noisy, denoised, clean = lines
    handles = [
        *axes.plot(wave, noisy, color="#BBBBBB", linewidth=0.4, rasterized=True),
        *axes.plot(wave, denoised, color=STYLES[1][0], linewidth=1.0, rasterized=True),
        *axes.plot(wave, clean, color=STYLES[0][0], linewidth=0.6, rasterized=True),
    ]
    low, high = np.percentile(noisy[np.isfinite(noisy)], (1, 99)) if np.isfinite(noisy).any() else (0.0, 1.0)
    low, high = min(low, np.nanmin(clean)), max(high, np.nanmax(clean))
    margin = 0.08 * (high - low) or 1.0
    axes.set_ylim(low - margin, high + margin)
    axes.set_xlim(wave[0], wave[-1])
    return handles


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
