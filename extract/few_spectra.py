"""Settings and input of the verbs that look at a few spectra through the network: examples and occlusion."""

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from cache.commandline import Command, say
from cache.errors import ConfigError
from cache.provenance import without_arrays
from cache.records import record_path, run_id, unchanged, write_record
from cache.runlog import command_line, run_log

from .batches import Batch, make_batch, read_batches
from .prepare import Prepared, prepare
from .request import ExtractConfig, find_data

KIND = "examples"
"""Of the records of these verbs."""
VIEW_VERSION = 1
"""Raised by hand when the arrays of such a record would come out otherwise."""

Rows = npt.NDArray[np.int64]
Arrays = Mapping[str, npt.NDArray[Any]]


class FewSpectra(Command):
    """Flags that say which spectra, which network, and what it is fed; as those of `python -m extract run`."""

    data: str | None = Field(None, description="folder with train/ val/ test/, or file(s) a.h5,b.h5")
    split: str = Field("test", description="which split of the folder, or what the file is")
    checkpoint: str = Field("shipped", description="Lightning checkpoint, 'shipped' or 'shipped:reference'")
    config_model: Path | None = Field(None, description="the YAML that stands beside the checkpoint")
    error_mode: str | None = Field(None, description="pixel, none, L0 ... L5, when no YAML tells")
    ending: Literal["softplus", "linear"] | None = Field(None, description="when no YAML tells")
    dilation: int | None = Field(None, description="when no YAML tells")
    profile: Path | None = Field(None, description=".npy, for error modes L4 and L5")
    mask: Path | None = Field(None, description=".npy of bool, one per file pixel, True = keep")
    noise: Literal["draw", "stored", "none"] = Field("draw", description="where the noise comes from")
    noise_level: float = Field(1.0, description="noise in units of the file's error")
    seed: int = Field(0, description="of the noise")
    error_input: str = Field("true", description="true, zero, shuffled, constant, from-noisy")
    train_error: Path | None = Field(None, description="train-error-....json, for constant and from-noisy")
    on_bad_rows: Literal["fail", "drop"] = Field(
        "fail", description="refuse a file with bad rows, or leave them out"
    )
    device: str = Field("auto", description="auto, cpu, cuda")
    results: Path = Field(Path("artifacts/results"), description="folder of the records")
    encoders: Path = Field(Path("artifacts/encoders"), description="folder of calibrated random encoders")
    digests: Path = Field(Path("artifacts/digests"), description="folder of remembered file digests")


def to_request(settings: FewSpectra, **changes: Any) -> ExtractConfig:
    """The request that the settings and `changes` stand for; ConfigError when no data or several splits are named."""
    if settings.data is None:
        raise ConfigError(
            "no data: say --data FOLDER or --data FILE; python -m extract mock makes a mock survey"
        )
    if "," in settings.split:
        raise ConfigError(f"--split {settings.split}: name one split")
    if "," in settings.device:
        raise ConfigError(f"--device {settings.device}: a few spectra need one GPU; name one of them")
    taken = set(FewSpectra.model_fields) - {"config", "print_config", "data", "split", "results"}
    fields = {name: getattr(settings, name) for name in taken} | changes
    return ExtractConfig(data=find_data(settings.data, settings.split), command=command_line(), **fields)


def spread(kept: Rows, wanted: int) -> Rows:
    """`wanted` of the kept rows, or all of them, evenly spread from the first to the last."""
    places = np.unique(np.linspace(0, len(kept) - 1, min(wanted, len(kept))).round().astype(np.int64))
    return kept[places]


def batches_of(prepared: Prepared, split: str, rows: Rows) -> Iterator[Batch]:
    """The rows, ascending, as the network is fed them in draw 0 (or without drawing), in micro-batches."""
    config, fed = prepared.config, prepared.fed[split]
    for group in read_batches(prepared.spectra[split], rows, prepared.fingerprints[split], config, fed):
        yield make_batch(
            group,
            split=split,
            draw=config.draw_numbers[0],
            mask=prepared.mask,
            error_mode=str(prepared.model.config.error_mode),
            profile=prepared.model.error_profile,
            config=config,
            fed=fed,
        )


def masked_wave(prepared: Prepared, split: str) -> npt.NDArray[np.float64]:
    """Wavelengths of the pixels that the network sees."""
    wave = prepared.spectra[split].wave
    return wave if prepared.mask is None else wave[prepared.mask]


def _about_rows(prepared: Prepared, split: str, rows: Rows) -> dict[str, Any]:
    """Rows, stars (16 hex digits) and labels (None where missing) of the spectra shown, for a record's result."""
    spectra, stars = prepared.spectra[split], prepared.fingerprints[split].stars
    labels = {
        name: [float(value) if np.isfinite(value) else None for value in spectra.labels(name)[rows]]
        for name in spectra.label_names
    }
    return {
        "status": "ok",
        "n": len(rows),
        "rows": rows.tolist(),
        "stars": [f"{int(star):016x}" for star in stars[rows]],
        "labels": labels,
        "weights": prepared.plans[split][0].provenance["encoder"]["weights"],
    }


def recorded(
    request: ExtractConfig,
    results: Path,
    *,
    n_rows: int,
    view: Callable[[Prepared, str], Mapping[str, Any]],
    arrays: Callable[[Prepared, str, Rows], Arrays],
) -> str:
    """Run id of the record of some rows; left as it is where it holds the result already, else made now.

    Named by the provenance of a store of the rows without its arrays, the rows, and what `view` adds: everything that
    `arrays` are made from, so they are not computed again. Prints which it is; raises what `prepare` raises.
    """
    with prepare(request, say=say) as prepared:
        (split,) = prepared.spectra
        rows = spread(prepared.fingerprints[split].kept, n_rows)
        about = without_arrays(prepared.plans[split][0].provenance)
        spec = {**about, "view_version": VIEW_VERSION, "shown_rows": rows.tolist(), **view(prepared, split)}
        result, name = _about_rows(prepared, split, rows), run_id(KIND, spec)
        path, started = record_path(results, name), time.time()
        if unchanged(results, name, result) is not None:
            say(f"{path} is on record and unchanged; remove it to have it made again")
            return name
        made = arrays(prepared, split, rows)
        _, run = run_log(started=started, command=request.command, about={})
        write_record(results, kind=KIND, spec=spec, result=result, run=run, arrays=made)
    say(f"wrote {path}")
    return name
