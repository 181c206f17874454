"""Which remembered scan is of which file, and when it is forgotten."""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from cache.errors import FileChanged, InputError

from .mask import Mask, mask_digest
from .sidecar import sidecar_path
from .spectra import SpectraFile


@contextlib.contextmanager
def forgotten_if_changed(
    files: Iterable[SpectraFile], remember: Path, *, mask: Mask | None
) -> Iterator[None]:
    """Within it a FileChanged has what is remembered of all the files removed, so that the next pass reads them.

    A file with other rows than those remembered may have the size, time and inode of before: its time was put back.
    Where something may not be removed the next pass would find the same: InputError says so.
    """
    try:
        yield
    except FileChanged as error:
        try:
            for path in (path for spectra in files for path in sidecars(spectra, remember, mask=mask)):
                path.unlink(missing_ok=True)
        except OSError as refused:
            raise InputError(
                f"{error}; {refused.filename} still tells of the old rows and cannot be removed ({refused.strerror}): "
                "have it removed, or name another folder with --digests"
            ) from error
        raise


def sidecars(spectra: SpectraFile, remember: Path, *, mask: Mask | None) -> list[Path]:
    """Where the digests of each file are remembered."""
    return [sidecar_path(remember, about_scan(spectra, path, mask)) for path in spectra.files]


def about_scan(spectra: SpectraFile, path: Path, mask: Mask | None) -> dict[str, Any]:
    """What tells remembered scans apart; a stored draw is looked at whatever the noise mode, so one scan serves all.

    `noisy_edges` tells scans that knew of no repair of the draw's edges, which are made again.
    """
    about = {
        "file": str(path.resolve()),
        "mask": mask_digest(mask),
        "label_names": list(spectra.label_names),
        "has_noisy": spectra.has_noisy,
    }
    return about | ({"noisy_edges": "repaired"} if spectra.has_noisy else {})
