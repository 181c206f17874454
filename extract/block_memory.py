"""Memory that the features of row blocks take while they gather."""

import os
from pathlib import Path

from cache.texts import size_text

BLOCKS_HELD = 3
"""Blocks of a process that gather features, wait to be committed or are being committed (`extract.flow`); more of them
where a block is no larger than a few micro-batches, and small."""
_MEMINFO = Path("/proc/meminfo")


def held_bytes(block_bytes: int, *, blocks: int, processes: int) -> int:
    """Bytes at once of `blocks` blocks, whose features take `block_bytes` each, in so many processes."""
    return block_bytes * min(blocks, BLOCKS_HELD * processes)


def available_bytes() -> int:
    """Bytes of memory that programs may still take; where the system does not tell, all there is."""
    if _MEMINFO.exists():
        for line in _MEMINFO.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def memory_lines(needed: int, available: int) -> list[str]:
    """What to say of `needed` bytes where `available` are left, each line with its line feed."""
    if not needed:
        return []
    lines = [f"in memory {size_text(needed)} for features of blocks, beside the network and the spectra\n"]
    if needed > available:
        lines.append(
            f"note: {size_text(available)} of memory are left, so that the run may be killed: ask for smaller blocks "
            "(--block-rows) or fewer draws, layers or poolings at once\n"
        )
    return lines
