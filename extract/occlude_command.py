"""`python -m extract occlude`: how features change when a window of the spectrum is covered, as one record."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field

from cache.arrays import PSEUDO_LAYERS, ArrayName
from cache.commandline import Verb
from cache.errors import ConfigError
from cache.progress import progress

from .batches import Batch
from .few_spectra import FewSpectra, Rows, batches_of, masked_wave, recorded, to_request
from .named_engine import NamedEngine
from .prepare import Prepared

WINDOW = 32
MOST_ROWS = 512

Float64s = npt.NDArray[np.float64]
Features = Mapping[ArrayName, Float64s]


class OccludeSettings(FewSpectra):
    """Cover the noisy flux window by window and keep how much every pooled feature changes.

    In a window of pixels (after the mask) the noisy flux is replaced by the mean of the spectrum's other pixels; the
    error channels stay. The record of kind 'examples' (view 'occlusion') has wave_lo and wave_hi (W,) and for each
    array change/LAYER/DIRECTION/POOLING (W, D), the root mean square over the spectra, and std/... (D,), the standard
    deviation of the feature over them, both in the unit of the feature. What is on record is not made again.
    Example: python -m extract occlude --data artifacts/data/mock --checkpoint shipped --layers enc_pre_latent
    """

    layers: tuple[str, ...] = Field(("enc_pre_latent",), description="layers of the network")
    poolings: tuple[str, ...] = Field(("seg_mean_K8",), description="global_mean, mean_max, seg_mean_K8, ...")
    directions: tuple[str, ...] = Field(("forward",), description="forward, backward")
    rows: int = Field(MOST_ROWS, ge=1, le=MOST_ROWS, description="how many spectra, spread over the split")
    window: int = Field(WINDOW, ge=1, description="pixels covered at a time")


def make_occlusion(settings: OccludeSettings) -> str:
    """Write the record, unless it is there and unchanged, and return its run id.

    Raises what `prepare` raises, ConfigError for pseudo-layers.
    """
    if pseudo := [layer for layer in settings.layers if layer in PSEUDO_LAYERS]:
        raise ConfigError(
            f"--layers {','.join(pseudo)}: no layer of the network, nothing to learn by covering"
        )
    chosen = {name: getattr(settings, name) for name in ("layers", "poolings", "directions")}
    return recorded(
        to_request(settings, **chosen),
        settings.results,
        n_rows=settings.rows,
        view=lambda prepared, split: {
            "view": "occlusion",
            "window": settings.window,
            "features": sorted(name.path for name in _names(prepared, split)),
        },
        arrays=partial(_arrays, window=settings.window),
    )


def _names(prepared: Prepared, split: str) -> set[ArrayName]:
    return {name for plan in prepared.plans[split] for name in plan.arrays.coordinates}


def _arrays(prepared: Prepared, split: str, rows: Rows, *, window: int) -> dict[str, npt.NDArray[Any]]:
    names, config = _names(prepared, split), prepared.config
    wave = masked_wave(prepared, split)
    starts = range(0, wave.size, window)
    engine = NamedEngine(prepared.model, names, config=config, device=prepared.device)
    squares: dict[ArrayName, Float64s] = {}
    plain: dict[ArrayName, list[Float64s]] = {name: [] for name in names}
    threads = config.n_workers if prepared.device == "cpu" else 1
    with (
        progress(len(rows) * len(starts), "occlude", unit="spectra") as advance,
        ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(config.n_threads,)) as pool,
    ):
        for batch in batches_of(prepared, split, rows):
            before = pool.submit(_features, engine, batch).result()
            for name, values in before.items():
                plain[name].append(values)
            covered = (covered_batch(batch, start, start + window) for start in starts)
            for place, after in enumerate(_mapped(pool, engine, covered, ahead=2 * threads)):
                for name, values in after.items():
                    total = squares.setdefault(name, np.zeros((len(starts), values.shape[1])))
                    total[place] += ((values - before[name]) ** 2).sum(axis=0)
                advance(len(batch.noisy))
    ends = [min(start + window, wave.size) - 1 for start in starts]
    return {
        "wave_lo": wave[list(starts)],
        "wave_hi": wave[ends],
        "row": rows,
        **{f"change/{n.path}": np.sqrt(squares[n] / len(rows)).astype(np.float32) for n in sorted(names)},
        **{f"std/{n.path}": np.concatenate(plain[n]).std(axis=0).astype(np.float32) for n in sorted(names)},
    }


def covered_batch(batch: Batch, lo: int, hi: int) -> Batch:
    """The batch with noisy flux of pixels `lo` to `hi` replaced, in each spectrum, by the mean of its other pixels.

    Where the window is the whole spectrum there are no others: zero.
    """
    x = batch.x.clone()
    flux = x[:, 0]
    others = torch.cat([flux[:, :lo], flux[:, hi:]], dim=1)
    x[:, 0, lo:hi] = others.mean(dim=1, keepdim=True) if others.shape[1] else 0.0
    return replace(batch, x=x)


def _mapped(
    pool: ThreadPoolExecutor, engine: NamedEngine, batches: Iterator[Batch], *, ahead: int
) -> Iterator[Features]:
    """Features of batches in their order, with at most `ahead` batches in memory."""
    pending = []
    for batch in batches:
        pending.append(pool.submit(_features, engine, batch))
        if len(pending) > ahead:
            yield pending.pop(0).result()
    for future in pending:
        yield future.result()


def _features(engine: NamedEngine, batch: Batch) -> Features:
    return {name: values.numpy().astype(np.float64) for name, values in engine.features(batch)}


def run(settings: OccludeSettings) -> None:
    """Write the record and print where it is."""
    make_occlusion(settings)


VERB = Verb(OccludeSettings, run)
