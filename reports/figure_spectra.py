"""Example spectra noisy, denoised and clean: what the network makes of noise."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from cache.records import Record

from .drawn import Drawn, data_text
from .render_markdown import number_text
from .source import Source
from .spectral_lines import mark_lines, wavelength_note
from .style import STYLES, TWO_COLUMNS, Words, new_figure, tell
from .typesetting import NORMAL, SMALL

KIND = "examples"
N_SHOWN = 3
CLOSE = (8470.0, 8700.0)
"""Angstrom: the Ca II triplet, shown close."""
NAMES_PAD = 12
"""Points between axes and a title that names of lines stand under."""
Floats = npt.NDArray[np.float64]
Arrays = Mapping[str, npt.NDArray[Any]]


def examples(source: Source) -> list[Drawn]:
    """One figure per record of example spectra: three stars from the lowest to the highest S/N, whole and close."""
    records = records_of(source, "spectra")
    return [
        _draw_examples(
            record,
            source.arrays(record.run_id),
            encoder=source.names.encoder(record.result["weights"]),
            part=part_of(record, records),
        )
        for record in records
    ]


def records_of(source: Source, view: str) -> list[Record]:
    """Records of spectra looked at closely, of one view: 'spectra' or 'occlusion'."""
    return [r for r in source.of_kind(KIND) if r.spec.get("view") == view and r.result["status"] == "ok"]


def part_of(record: Record, records: Sequence[Record]) -> str:
    """What tells a record from others of its view in the name of a file; '' where it is alone."""
    return record.run_id[:8] if len(records) > 1 else ""


def reconstruction(clean: Floats, other: Floats) -> Floats:
    """||x|| / ||x - other|| of each spectrum x, (n,): the reconstruction S/N of the group's papers; inf where equal."""
    distance = np.sqrt(np.nansum((clean - other) ** 2, axis=1))
    with np.errstate(divide="ignore"):
        ratio: Floats = np.sqrt((clean**2).sum(axis=1)) / distance
    return ratio


def _draw_examples(record: Record, arrays: Arrays, *, encoder: str, part: str) -> Drawn:
    wave, clean, noisy, denoised = (
        np.asarray(arrays[name], dtype=np.float64) for name in ("wave", "flux", "noisy", "denoised")
    )
    before, after = (reconstruction(clean, other) for other in (noisy, denoised))
    shown = _spread_by_snr(record, len(clean))
    kind = record.spec.get("data_kind", "")
    words = Words(
        title=(
            f"Reconstruction S/N: noisy {number_text(float(np.median(before)), 1)}, denoised "
            f"{number_text(float(np.median(after)), 1)} (medians), higher in {int((after > before).sum())} of "
            f"{len(clean)} {'spectra' if len(clean) > 1 else 'spectrum'}"
        ),
        note=(
            "Reconstruction S/N: ||clean|| / ||clean - other||, of the noisy and of the denoised flux. Flux in the "
            f"unit of the file; {len(shown)} of {len(clean)} {record.spec.get('split', 'test')} spectra, "
            f"{data_text([kind])}, encoder {encoder}. {wavelength_note(kind)}"
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
