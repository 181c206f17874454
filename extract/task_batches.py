"""The batches of a task: rows as they were read, and the noise of each draw."""

from collections.abc import Collection, Iterator

from .batches import Batch, checked, make_batch
from .block_task import BlockTask
from .slabs import RawRows
from .spectra import SpectraFile

Draw = int | None
"""Index of a noise realisation; None where none is drawn."""


def in_order(draws: Collection[Draw]) -> tuple[Draw, ...]:
    """Each draw once, None first."""
    return tuple(sorted(set(draws), key=lambda draw: -1 if draw is None else draw))


def batches(
    task: BlockTask, spectra: SpectraFile, raw: RawRows, draws: Collection[Draw]
) -> Iterator[tuple[Draw, Batch]]:
    """Yield (draw, batch) in order, each with noise of its own; raises as `checked`, at the first."""
    group = checked(spectra, raw, task.fingerprint, task.config, task.fed)
    for draw in in_order(draws):
        batch = make_batch(
            group,
            split=task.split,
            draw=draw,
            mask=task.mask,
            error_mode=str(task.model.config.error_mode),
            profile=task.model.error_profile,
            config=task.config,
            fed=task.fed,
        )
        yield draw, batch
