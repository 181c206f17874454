"""Which stored features a command works on, and the views over them."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from cache import FeatureView, Want, find
from cache.errors import NotExtracted
from cache.selection import Selection, read_selection
from cache.view import stored_layers

from .splits import SPLITS, Views

Arrays = tuple[tuple[str, str, str], ...]
DEVELOPMENT_SPLITS = ("train", "test")
"""Splits without which nothing can be scored; val is needed by heads that choose."""
ALL_LAYERS = ("all",)


@dataclass(frozen=True, kw_only=True)
class StoreChoice:
    """What singles out the stores: a selection, or a folder with family and noise level where several are there.

    `draws` is the number of noise draws of train that are used; None is all that are selected.
    """

    root: Path
    selection: Selection | None = None
    family: str | None = None
    noise_level: float | None = None
    draws: int | None = None

    @classmethod
    def of_flags(
        cls,
        *,
        features: Path,
        selection: Path | None,
        family: str | None,
        noise_level: float | None,
        draws: int | None,
    ) -> Self:
        """The choice that flags name; a selection file is read, and its folder wins."""
        chosen = None if selection is None else read_selection(selection)
        root = features if chosen is None else chosen.root
        return cls(root=root, selection=chosen, family=family, noise_level=noise_level, draws=draws)

    def absolute(self) -> Self:
        """The same choice for a process with another working folder."""
        root = self.root.absolute()
        selection = None if self.selection is None else replace(self.selection, root=root)
        return replace(self, root=root, selection=selection)

    def views(self, arrays: Arrays) -> Views:
        """The stores of all splits: every wanted draw of train, draw 0 of val and test.

        Raises what `cache.find` raises; only val may be absent.
        """
        views: dict[str, list[FeatureView]] = {}
        for split in SPLITS:
            try:
                found = self._found(split, arrays)
            except NotExtracted:
                if split in DEVELOPMENT_SPLITS:
                    raise
                continue
            views[split] = self._first_draws(found) if split == "train" else found[:1]
        return views

    def layers(self, asked: tuple[str, ...], poolings: tuple[str, ...]) -> tuple[str, ...]:
        """The layers asked for, 'all' being every network layer that train stores hold."""
        if asked != ALL_LAYERS:
            return asked
        arrays = tuple(("all", "forward", pooling) for pooling in poolings)
        if self.selection is None:
            want = Want(arrays=arrays, family=self.family, draw=None, noise_level=self.noise_level)
        else:
            train = self.selection.of("train")
            want = Want(arrays=arrays, family=self.selection.family, input=train.input, draw=None)
        layers = stored_layers(self.root, "train", want)
        if not layers:
            raise NotExtracted(f"{self.root}: no network layer is stored with poolings {', '.join(poolings)}")
        return layers

    def encoder(self, views: Views) -> str:
        """Display name of the encoder."""
        if self.selection is not None:
            return self.selection.encoder
        return str(getattr(views["train"][0], "about", {}).get("encoder", "unknown"))

    def _found(self, split: str, arrays: Arrays) -> list[FeatureView]:
        if self.selection is not None:
            return self.selection.views(split, arrays)
        n_draws = (self.draws or 1) if split == "train" else 1
        return [
            find(
                self.root,
                split,
                Want(arrays=arrays, family=self.family, draw=draw, noise_level=self.noise_level),
            )
            for draw in range(n_draws)
        ]

    def _first_draws(self, found: list[FeatureView]) -> list[FeatureView]:
        if self.draws is not None and self.draws > len(found):
            raise NotExtracted(
                f"--draws {self.draws}, but {len(found)} noise draws of train are selected; extract more with --draws "
                f"{self.draws}"
            )
        return found[: self.draws]
