"""Sweeps along what is stored more than once: noise levels of train and test, crossed, and numbers of noise draws."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

from cache.errors import ConfigError

from .cells import CellChoices
from .default_controls import Accompanied, Batch, accompanied, without_default
from .splits import NOISE_LEVEL
from .stores import StoreChoice

Combine = Literal["product", "one-by-one"]


@dataclass(frozen=True, kw_only=True)
class StoreAxes:
    """Noise levels that are trained on and tested on, each with each, and numbers of draws of train.

    An empty axis leaves what the choice of stores says.
    """

    noise_levels: tuple[float, ...] = ()
    draws: tuple[int, ...] = ()

    def check(self, stores: StoreChoice) -> None:
        """Raise ConfigError for values that cannot be meant, or a level that is said in two ways."""
        for level in self.noise_levels:
            if not 0 <= level < float("inf"):
                raise ConfigError(f"--noise-levels {level}: expected numbers from 0 on")
        for n in self.draws:
            if n < 1:
                raise ConfigError(f"--draws {n}: expected numbers of draws, at least 1")
        if self.noise_levels and (stores.noise_level, stores.test_noise_level) != (None, None):
            raise ConfigError(
                "--noise-levels and --noise-level or --test-noise-level were both given; the first names all levels"
            )


Study = tuple[CellChoices, StoreAxes]
"""One product: cells on stores."""


def along_axes(
    choices: CellChoices, stores: StoreChoice, axes: StoreAxes, *, combine: Combine = "product"
) -> Accompanied:
    """The choices on every store that the axes name, controls beside them as `accompanied` says.

    `one-by-one` varies noise levels, draws, training sizes, principal axes and segments each by itself, the others at
    their first value; everything else is combined with everything. Val has the noise level of train, since what is
    chosen is chosen where it is trained; where test has another, the crossing is added to the choices. Default
    controls stand beside cells of one noise level, with the most draws. A batch may repeat cells of another:
    `plan_batches` plans each once. Raises ConfigError for axes that cannot be meant.
    """
    axes.check(stores)
    found = [
        batch_of
        for cells, of_study in _studies(choices, axes, combine=combine)
        for batch_of in _batches(cells, of_study, stores)
    ]
    missing: dict[str, str] = {}
    for words in (words for part in found for words in part.missing):
        missing.setdefault(words.partition(";")[0], words)
    return Accompanied(
        batches=tuple(batch for part in found for batch in part.batches), missing=tuple(missing.values())
    )


def needed(axes: StoreAxes, *, combine: Combine) -> Iterator[str]:
    """Yield flags of the extractions that the axes read, one extraction each; that of the first level is the last.

    The first level is the one that the draws are of when axes vary one by one.
    """
    for level in axes.noise_levels[:0:-1]:
        yield _flags(level, axes.draws if combine == "product" else axes.draws[:1])
    yield _flags(next(iter(axes.noise_levels), None), axes.draws)


def _flags(level: float | None, draws: tuple[int, ...]) -> str:
    words = [] if level is None else [f"--noise-level {level:g}"]
    return " ".join([*words, *([f"--draws {max(draws)}"] if draws else [])])


def _studies(choices: CellChoices, axes: StoreAxes, *, combine: Combine) -> Iterator[Study]:
    """One product of everything; or the first value of all that is varied, then each of these by itself."""
    if combine == "product":
        yield choices, axes
        return
    first = replace(
        choices, train_sizes=choices.train_sizes[:1], pca=choices.pca[:1], segments=choices.segments[:1]
    )
    alone = StoreAxes(noise_levels=axes.noise_levels[:1], draws=axes.draws[:1])
    yield first, alone
    yield first, replace(alone, noise_levels=axes.noise_levels)
    yield first, replace(alone, draws=axes.draws)
    yield replace(first, train_sizes=choices.train_sizes), alone
    yield replace(first, pca=choices.pca), alone
    yield replace(first, segments=choices.segments), alone


def _batches(cells: CellChoices, axes: StoreAxes, stores: StoreChoice) -> Iterator[Accompanied]:
    """The cells of a study on every store that it names."""
    levels = axes.noise_levels
    pairs = list(product(levels, levels)) if levels else [(stores.noise_level, stores.test_noise_level)]
    for (train, test), n_draws in product(pairs, axes.draws or (stores.draws,)):
        crossed = bool(levels) and test != train
        choices, on = cells, replace(stores, draws=n_draws, noise_level=train, test_noise_level=test)
        if levels:  # the pair tells whether it crosses, whatever --cross says
            cross = {*choices.cross} - {NOISE_LEVEL} | ({NOISE_LEVEL} if crossed else set())
            choices = replace(choices, cross=tuple(sorted(cross)))
        if not crossed and n_draws == max(axes.draws, default=n_draws):
            yield accompanied(choices, on)
        else:
            yield Accompanied(batches=(Batch(choices=without_default(choices), stores=on),))
