"""Fingerprinting the input while torch is imported: over a second, in which the processor has nothing else to do."""

import contextlib
import threading
from collections.abc import Iterator

from .fingerprint import fingerprint
from .mask import load_mask
from .request import ExtractConfig
from .spectra import open_spectra

MOST_BYTES = 2 << 30
"""Larger files are not begun: a pass over them outlasts the imports, and other checks come first."""
GRACE = 2.0
"""Seconds that a pass may take after the imports before it is broken off."""


@contextlib.contextmanager
def fingerprinted_ahead(config: ExtractConfig) -> Iterator[None]:
    """Begin to fingerprint the files; what is done at the end is remembered, and found by whoever asks for it again.

    Nothing is said and nothing is refused here: files that are bad are found to be so again, in their turn.
    """
    enough = threading.Event()
    scan = threading.Thread(target=_scan, args=(config, enough), name="fingerprint ahead")
    scan.start()
    try:
        yield
        scan.join(GRACE)
    finally:
        enough.set()
        scan.join()


def _scan(config: ExtractConfig, enough: threading.Event) -> None:
    def check(_rows: int) -> None:
        if enough.is_set():
            raise InterruptedError

    with contextlib.suppress(Exception):
        if sum(path.stat().st_size for files in config.data.values() for path in files) > MOST_BYTES:
            return
        for files in config.data.values():
            with open_spectra(list(files)) as spectra:
                mask = None if config.mask is None else load_mask(config.mask, len(spectra.wave))
                fingerprint(
                    spectra, remember=config.digests, policy=config.on_bad_rows, mask=mask, progress=check
                )
