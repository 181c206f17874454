"""Which spectra and which noise make up the batches of an epoch, and where a Trainer gets them."""

from collections.abc import Mapping

import lightning
import numpy as np
import torch

from cache.stars import count_stars

from ..prepare import Prepared
from .finetune import EveryRow, OneRowPerStar, Visits
from .finetune_data import Batches, BatchMaker, Places, SplitSpectra, in_order
from .finetune_recipe import FinetuneRecipe


class EpochBatches:
    """The batches of train, epoch by epoch, in the order of the cached heads: seed, rows and draws determine it."""

    def __init__(self, recipe: FinetuneRecipe, source: SplitSpectra) -> None:
        """With several fixed draws the order is that of cached heads with `augment="draw_per_epoch"`.

        Where a star stands in several rows of the file, theirs would leave some out: then every row is visited.
        """
        self._recipe, self._n = recipe, len(source)
        n_draws = recipe.train_draws or 1
        one_row_each = count_stars(source.stars) == self._n
        self._visits: Visits = (
            OneRowPerStar(np.tile(source.stars, n_draws))
            if n_draws > 1 and one_row_each
            else EveryRow(self._n)
        )
        self._next = 0
        self._order = torch.Generator().manual_seed(recipe.seed)

    @property
    def n_batches(self) -> int:
        """Batches of an epoch."""
        return -(-self._visits.n_visited // self._recipe.batch_size)

    def places(self, epoch: int, *, rank: int = 0, world: int = 1) -> list[Places]:
        """The batches of an epoch, those places that fall to one of `world` processes.

        A last batch with fewer rows than processes is left out, so that every process makes as many steps.
        """
        if epoch < self._next:
            self._next, self._order = 0, torch.Generator().manual_seed(self._recipe.seed)
        for earlier in range(self._next, epoch):
            self._visits.rows(earlier, self._order)
        rows = self._visits.rows(epoch, self._order).numpy()
        self._next = epoch + 1
        size, draw = self._recipe.batch_size, self._recipe.draw_of(epoch)
        batches = [rows[first : first + size] % self._n for first in range(0, len(rows), size)]
        return [(batch[rank::world], draw) for batch in batches if len(batch) >= world]


class FinetuneData(lightning.LightningDataModule):  # type: ignore[misc]  # lightning is not looked into
    """Train with the noise of the epoch, val with draw 0."""

    def __init__(
        self,
        prepared: Prepared,
        splits: Mapping[str, SplitSpectra],
        recipe: FinetuneRecipe,
        *,
        n_workers: int,
    ) -> None:
        """Nothing is read: the spectra are in memory."""
        super().__init__()
        self._recipe, self._n_workers = recipe, n_workers
        self.makers = {split: BatchMaker(prepared, source) for split, source in splits.items()}
        self._train = EpochBatches(recipe, splits["train"])

    def train_dataloader(self) -> Batches:
        """Batches of train; each pass has the order and the noise of the trainer's epoch."""
        n_skipped = self._train.n_batches - len(self._train.places(0, world=self.trainer.world_size))
        return Batches(
            self.makers["train"],
            lambda: self._train.places(
                self.trainer.current_epoch, rank=self.trainer.global_rank, world=self.trainer.world_size
            ),
            n_batches=self._train.n_batches - n_skipped,
            n_threads=self._n_workers,
        )

    def val_dataloader(self) -> Batches:
        """All of val, in every process: it is small, and its scores then need no exchange."""
        return self.in_order("val")

    def in_order(self, split: str, *, draw: int = 0) -> Batches:
        """All rows of a split in ascending order, with the noise of one draw."""
        places = in_order(len(self.makers[split].source), self._recipe.batch_size, draw=draw)
        return Batches(self.makers[split], lambda: places, n_batches=len(places), n_threads=self._n_workers)
