"""Which stored features a command works on, and the views over them."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from cache import FeatureView, Want, find
from cache.errors import ConfigError, NotExtracted
from cache.layer_names import canonical_layers
from cache.runlog import data_name
from cache.selection import Selection, read_selection
from cache.store_folders import stores_of
from cache.view import stored_layers

from .cells import JOIN
from .fed_stores import family_fed
from .splits import SPLITS, Views

Arrays = tuple[tuple[str, str, str], ...]
DEVELOPMENT_SPLITS = ("train", "test")
"""Splits without which nothing can be scored; val is needed by heads that choose."""
ALL_LAYERS = ("all",)
FEATURES = Path("artifacts/features")
"""Folder of the stores unless flags say otherwise."""


def check_all_alone(layers: tuple[str, ...]) -> None:
    """Raise ConfigError where `all` stands beside other layers."""
    if set(ALL_LAYERS) & set(layers) and layers != ALL_LAYERS:
        raise ConfigError(
            f"--layers {','.join(layers)}: 'all' stands for every network layer that is stored, and stands alone; name "
            "the layers, or run the command a second time for the others"
        )


@dataclass(frozen=True, kw_only=True)
class StoreChoice:
    """What singles out the stores: a selection, or a folder with family and noise level where several are there.

    `draws` is the number of noise draws of train that are used; None is all that are selected. `noise_level` is that
    of train and val, and of test too unless `test_noise_level` is another; beside a selection they replace its own.
    `test_draw` is the noise draw of test; that of val is 0. `test_error_input` is the error input of test, or its first
    letters, where it is another than that of train.
    """

    root: Path
    selection: Selection | None = None
    family: str | None = None
    noise_level: float | None = None
    draws: int | None = None
    test_noise_level: float | None = None
    test_error_input: str | None = None
    test_draw: int = 0

    @classmethod
    def of_flags(
        cls,
        *,
        features: Path,
        selection: Path | None,
        family: str | None,
        noise_level: float | None,
        draws: int | None,
        test_noise_level: float | None = None,
        test_error_input: str | None = None,
        test_draw: int = 0,
    ) -> Self:
        """The choice that flags name; a selection file is read.

        Raises what reading it raises, ConfigError where `features` is another folder than that of its stores.
        """
        chosen = None if selection is None else read_selection(selection)
        root = features if chosen is None else chosen.root
        if features != FEATURES and features.resolve() != root.resolve():
            raise ConfigError(
                f"--features {features} beside --selection {selection}, whose stores lie in {root}; "
                "leave one of them away"
            )
        return cls(
            root=root,
            selection=chosen,
            family=family,
            noise_level=noise_level,
            draws=draws,
            test_noise_level=test_noise_level,
            test_error_input=test_error_input,
            test_draw=test_draw,
        )

    def absolute(self) -> Self:
        """The same choice for a process with another working folder."""
        root = self.root.absolute()
        selection = None if self.selection is None else replace(self.selection, root=root)
        return replace(self, root=root, selection=selection)

    def views(self, arrays: Arrays) -> Views:
        """The stores of all splits: every wanted draw of train, draw 0 of val, of test the draw chosen.

        Raises what `cache.find` raises, ConfigError for a draw of test where none was drawn; only val may be absent.
        """
        views: dict[str, list[FeatureView]] = {}
        for split in SPLITS:
            chosen = self if split != "test" else self._of_test(views["train"][0], arrays)
            try:
                found = chosen._found(split, arrays)  # noqa: SLF001  of the same class
            except NotExtracted:
                if split in DEVELOPMENT_SPLITS or stores_of(self.root, split).forbidden:
                    raise  # what may not be looked into may be there
                continue
            views[split] = found if split == "train" else found[:1]
        self._check_drawn(views["test"][0])
        return views

    def _check_drawn(self, test: FeatureView) -> None:
        """Refuse a draw of test where none was drawn: whichever is named, the features are the same."""
        noise = test.provenance["noise"]
        if self.test_draw and noise.get("draw") is None:
            raise ConfigError(
                f"--test-draw {self.test_draw}, but no noise was drawn onto the test features (noise mode "
                f"{noise['mode']!r}): they have no draws; leave the flag out, or name features extracted with --noise "
                "draw"
            )

    def told(self) -> str:
        """What is chosen beyond the selection, to stand behind the title of a probe; empty when nothing is."""
        words = [] if self.draws is None else [f"draws {self.draws}"]
        words += [f"test draw {self.test_draw}"] if self.test_draw else []
        return "".join(f", {text}" for text in (self.told_levels(), *words) if text)

    def told_levels(self) -> str:
        """The noise levels and the error input of test chosen, in words."""
        words = "" if self.noise_level is None else f"noise level {self.noise_level:g}"
        if self.test_noise_level not in (None, self.noise_level):
            words += f", tested at {self.test_noise_level:g}"
        if self.test_error_input is not None:
            words += f", tested on error input {self.test_error_input}"
        return words.removeprefix(", ")

    def layers(self, asked: tuple[str, ...], poolings: tuple[str, ...]) -> tuple[str, ...]:
        """The layers asked for by their canonical names, 'all' being every network layer that train stores hold."""
        check_all_alone(asked)
        arrays = tuple(("all", "forward", pooling) for pooling in poolings)
        if self.selection is None:
            want = Want(arrays=arrays, family=self.family, draw=None, noise_level=self.noise_level)
        else:
            train = self.selection.of("train")
            want = Want(arrays=arrays, family=self.selection.family, input=train.input, draw=None)
        if asked != ALL_LAYERS:
            named = (canonical_layers(self.root, "train", want, name.split(JOIN)) for name in asked)
            return tuple(dict.fromkeys(JOIN.join(parts) for parts in named))
        layers = stored_layers(self.root, "train", want)
        if not layers:
            raise NotExtracted(f"{self.root}: no network layer is stored with poolings {', '.join(poolings)}")
        return layers

    def origin(self, views: Views) -> dict[str, Any]:
        """What a record's `run` calls the encoder, and the data files of each split; no part of any digest."""
        files = {
            split: data_name(getattr(found[0], "about", {}).get("files", ()))
            for split, found in views.items()
        }
        return {"encoder": self.encoder(views), "files": {s: name for s, name in files.items() if name}}

    def encoder(self, views: Views) -> str:
        """Display name of the encoder."""
        if self.selection is not None:
            return self.selection.encoder
        return str(getattr(views["train"][0], "about", {}).get("encoder", "unknown"))

    def _of_test(self, train: FeatureView, arrays: Arrays) -> Self:
        """The choice for test: that of train, or the family that was fed another error input."""
        if self.test_error_input is None:
            return self
        of_family = family_fed(self.root, self.test_error_input, train, arrays)
        selection = None if self.selection is None else replace(self.selection, family=of_family)
        return replace(self, family=of_family, selection=selection)

    def _found(self, split: str, arrays: Arrays) -> list[FeatureView]:
        level = self.noise_level
        if split == "test" and self.test_noise_level is not None:
            level = self.test_noise_level
        if self.selection is not None:
            return self._used(self.selection, split, level).views(split, arrays)
        used = range(self.draws or 1) if split == "train" else [self.test_draw if split == "test" else 0]
        return [
            find(self.root, split, Want(arrays=arrays, family=self.family, draw=draw, noise_level=level))
            for draw in used
        ]

    def _used(self, selection: Selection, split: str, level: float | None) -> Selection:
        """The selection with the draws and the noise level that are used of a split."""
        of_split = selection.of(split)
        n_draws = self.draws if split == "train" else 1
        if n_draws is not None and n_draws > len(of_split.draws):
            raise NotExtracted(
                f"--draws {n_draws}, but {len(of_split.draws)} noise draws of {split} are selected; extract more with "
                f"--draws {n_draws}"
            )
        draws = of_split.draws[:n_draws]
        if split == "test" and self.test_draw and of_split.draws != (None,):
            if self.test_draw not in of_split.draws:
                raise NotExtracted(
                    f"--test-draw {self.test_draw}, but of test draws {', '.join(map(str, of_split.draws))} are "
                    f"selected; extract more with --draws {self.test_draw + 1}"
                )
            draws = (self.test_draw,)
        used = replace(of_split, draws=draws)
        if level is not None:
            used = replace(used, noise_level=level)
        return replace(selection, splits={**selection.splits, split: used})
