"""Samples that may be compared: one family, one noise level, no star on two sides of a split."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from cache.errors import ConfigError, LeakError, MissingLabel, ProbeError, UnknownName
from cache.provenance import differences, family
from cache.stars import stars_in_both

from .features import FeaturePart
from .views import Array, FeatureView, draw_of, noise_level_of
from .wavelengths import check_same_wavelengths

SPLITS = ("train", "val", "test")
NOISE_LEVEL, ERROR_INPUT = "noise-level", "error-input"
CROSSINGS = (NOISE_LEVEL, ERROR_INPUT)
"""Differences between the splits that may be allowed by name; both are written into the spec."""

LEAST_ROWS = 2
"""Rows of a split that can be fitted to or scored."""

Views = Mapping[str, Sequence[FeatureView]]


def check_views(
    views: Views, parts: Sequence[FeaturePart], cross: Collection[str] = (), *, allow_leak: bool = False
) -> None:
    """Refuse views that must not be compared; nothing but rows, stars, coordinates of `parts` and provenance is read.

    Raises LeakError when a star stands in two splits, unless `allow_leak`, ProbeError when families or noise levels
    differ and the crossing is not named in `cross`, when one is named and nothing is crossed, when a view is of
    another split than it is used for, when a draw is given twice, or when the `parts`, the features that are to be
    used, lie at other wavelengths than in train.
    """
    check_crossings(cross)
    for split, members in views.items():
        if split not in SPLITS:
            raise UnknownName("split", split, SPLITS)
        _check_one_split(split, members)
    for needed in ("train", "test"):
        if not views.get(needed):
            raise ConfigError(
                f"no features of split {needed!r} were given; extract them or name their stores"
            )
    _check_families(views, cross)
    _check_levels(views, cross)
    check_same_wavelengths(views, parts)
    if not allow_leak:
        check_disjoint({split: np.concatenate([view.stars for view in v]) for split, v in views.items() if v})


def check_crossings(cross: Collection[str]) -> None:
    """Raise UnknownName for a crossing that does not exist."""
    for name in cross:
        if name not in CROSSINGS:
            raise UnknownName("crossing", name, CROSSINGS)


def _check_one_split(split: str, members: Sequence[FeatureView]) -> None:
    for view in members:
        if view.split != split:
            raise ProbeError(
                f"features of split {view.split!r} were given as {split!r}; use each for what it is"
            )
    seen = [(view.provenance["input"], draw_of(view)) for view in members]
    if len(set(seen)) < len(seen):
        raise ProbeError(
            f"split {split!r}: the same draw of the same files is given twice (draws {[d for _, d in seen]}); "
            "its rows would count double; name each draw once"
        )


def _check_families(views: Views, cross: Collection[str]) -> None:
    first = views["train"][0]
    for split, members in views.items():
        for view in members:
            if view.family == first.family:
                continue
            crosses = same_but_error_input(first.provenance, view.provenance)
            if crosses and ERROR_INPUT in cross:
                continue
            told = "; ".join(
                f"{field}: {found!r} / {other!r}"
                for field, found, other in differences(first.provenance, view.provenance)
                if field not in {"split", "input", "arrays", "noise.draw", "noise.level"}
                and not field.startswith("rows")
            )
            raise ProbeError(
                f"train features are of family {first.family[:12]}, {split} features of {view.family[:12]}; they "
                f"differ in {told or 'fields that are not shown'}; "
                + (
                    f"say --cross {ERROR_INPUT} if that is meant"
                    if crosses
                    else "extract both from one encoder with one setting"
                )
            )
    if ERROR_INPUT in cross and {v.family for members in views.values() for v in members} == {first.family}:
        raise ProbeError(
            f"--cross {ERROR_INPUT}, but the features of all splits have error input "
            f"{first.provenance['error_input']!r}: nothing is crossed; name that of test with --test-error-input, or "
            "leave the crossing out"
        )


def same_but_error_input(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two provenances are of families that differ in the error input alone, or not at all."""
    return family({**other, "error_input": one["error_input"]}) == family(one)


def _check_levels(views: Views, cross: Collection[str]) -> None:
    levels = {
        split: {noise_level_of(view) for view in members} for split, members in views.items() if members
    }
    for split, found in levels.items():
        if len(found) > 1:
            raise ProbeError(
                f"split {split!r} mixes noise levels {sorted(map(str, found))}; give one of them"
            )
    found_levels = set.union(*levels.values())
    if len(found_levels) == 1 and NOISE_LEVEL in cross:
        raise ProbeError(
            f"--cross {NOISE_LEVEL}, but the features of all splits have noise level {found_levels.pop()}: nothing is "
            "crossed; name that of test with --test-noise-level, or leave the crossing out"
        )
    if len(found_levels) > 1 and NOISE_LEVEL not in cross:
        told = ", ".join(f"{split} {found.copy().pop()}" for split, found in levels.items())
        raise ProbeError(
            f"noise levels differ between splits ({told}); say --cross noise-level if that is meant"
        )


def check_disjoint(stars: Mapping[str, Array]) -> None:
    """Raise LeakError when a star stands in two of the splits; `stars` are (n,) uint64 by split."""
    for one, other in combinations(stars, 2):
        shared = stars_in_both(stars[one], stars[other])
        if shared.size:
            first = ", ".join(f"{int(star):016x}" for star in shared[:3])
            rows = np.flatnonzero(np.isin(stars[other], shared))[:3].tolist()
            raise LeakError(
                f"{shared.size} stars stand in both {one!r} and {other!r} (first: {first}; rows {rows} of {other!r}), "
                "whatever their id says: their flux is the same; remove them from one of the files (--allow-leak fits "
                "all the same, to see what the leak does, and flags every record)"
            )


def check_enough(labels: Iterable[str], whole: Array, *, split: str) -> None:
    """Raise MissingLabel where fewer than LEAST_ROWS of the rows (n,) bool are whole: have each of the labels."""
    n_whole = int(np.count_nonzero(whole))
    if n_whole < LEAST_ROWS:
        raise MissingLabel(
            f"{' + '.join(labels)}: finite in {n_whole} of {whole.size} rows of split {split!r}, at least {LEAST_ROWS} "
            "are needed; take another label, or mend that of the file"
        )
