"""Whether features are of the kind that a head was fitted to, and what must be told where they are not quite."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from cache.errors import ProbeError
from cache.nearest import Difference
from cache.provenance import differences, family_fields

from .features import parts_from_json
from .persistence import SavedHead
from .splits import ERROR_INPUT, NOISE_LEVEL, check_crossings
from .views import FeatureView, noise_level_of
from .wavelengths import check_wavelengths

TRAINED_ON = "trained_on"
"""In what is kept of the use of a head: the fields that make the family of its train features."""
DRAWN = "draw"
NOISE_MODE, DATA_KIND = "noise.mode", "data_kind"
_NO_MATTER = ("noise.seed", "noise.noise_version")
"""Which noise was drawn: a head is fitted to the distribution, not to the draw."""
_OF_OBSERVED = (NOISE_MODE, DATA_KIND)
"""What sets observed spectra apart from the simulated ones of the training, by their nature."""


def check_kin(
    folder: Path, saved: SavedHead, view: FeatureView, *, cross: Collection[str] = (), observed: bool = False
) -> tuple[str, ...]:
    """Notes on applying the head saved in `folder` to a view.

    The features must be those of the training in every field of their family, but for the seed of the noise, what
    `cross` names (`noise-level`, `error-input`), and with `observed`, which says that the spectra carry noise of their
    own, the mode of the noise and the kind of data. Raises UnknownName for another crossing, ProbeError, naming the
    fields, for other features, for spectra on other wavelengths, for observed spectra onto which noise was drawn, and
    where `cross` names what does not differ.
    """
    check_crossings(cross)
    mode = str(view.provenance["noise"]["mode"])
    if observed and mode == DRAWN:
        raise ProbeError(
            f"--observed says that the spectra carry their own noise, but noise of level {noise_level_of(view)} was "
            "drawn onto these when they were extracted: they would carry noise twice; extract them with --noise none"
        )
    if TRAINED_ON in saved.use:
        _check_family(folder, saved, view, cross, observed=observed)
    elif view.family != saved.use["family"]:
        raise ProbeError(
            f"{folder}: fitted to features of family {saved.use['family'][:12]}, these are of {view.family[:12]}; the "
            "head was saved before heads kept what they were trained on, so what differs cannot be told: fit it again, "
            "with the command that made it and --refit"
        )
    _check_level(folder, saved, view, cross)
    crossed = _crossed(saved, view, cross)
    unknown = check_wavelengths(folder, saved, view, parts_from_json(saved.use["parts"]))
    return (*crossed, *_notes(saved, view, observed=observed), *(() if unknown is None else (unknown,)))


def _check_family(
    folder: Path, saved: SavedHead, view: FeatureView, cross: Collection[str], *, observed: bool
) -> None:
    allowed = {*_NO_MATTER, *(_OF_OBSERVED if observed else ())}
    differing = [
        Difference(*leaf)
        for leaf in differences(saved.use[TRAINED_ON], family_fields(view.provenance))
        if leaf[0] not in allowed and not (ERROR_INPUT in cross and _is_error_input(leaf[0]))
    ]
    if differing:
        told = "".join(f"\n  {one.text('training', 'these features')}" for one in differing)
        raise ProbeError(
            f"{folder}: fitted to features of another kind; they differ in{told}\n"
            + "; ".join(_advice({one.field for one in differing}, str(view.provenance["noise"]["mode"])))
        )


def _is_error_input(field: str) -> bool:
    return field.partition(".")[0] == "error_input"


def _advice(fields: set[str], mode: str) -> Iterator[str]:
    """What to do about features that differ in these fields, by their mode of noise."""
    if NOISE_MODE in fields and mode != DRAWN:
        yield (
            "if these spectra carry their own noise, as a telescope gives them, say --observed; spectra without noise, "
            "as simulations give them, need extract run with the --noise of the training"
        )
    elif fields & {DATA_KIND} and mode == DRAWN:
        yield (
            "simulated spectra of another kind (mock or real) need a head that was trained on that kind; spectra that "
            "carry their own noise are extracted with --noise none or stored and said by --observed"
        )
    elif fields & set(_OF_OBSERVED):
        yield (
            "simulated spectra need the --noise of the training; spectra that carry their own noise are extracted with "
            "--noise none or stored and said by --observed"
        )
    crossed = {field for field in fields if _is_error_input(field)}
    if crossed:
        yield f"say --cross {ERROR_INPUT} if another error input is meant"
    if fields - crossed - set(_OF_OBSERVED):
        yield "extract these spectra with the encoder and settings that the head was trained on"


def _check_level(folder: Path, saved: SavedHead, view: FeatureView, cross: Collection[str]) -> None:
    level = noise_level_of(view)
    if level != saved.use["noise_level"] and NOISE_LEVEL not in cross:
        raise ProbeError(
            f"{folder}: fitted at noise level {saved.use['noise_level']}, these features have {level}; "
            "say --cross noise-level if that is meant"
        )


def _crossed(saved: SavedHead, view: FeatureView, cross: Collection[str]) -> list[str]:
    """A note on each crossing that is named; ProbeError where it crosses nothing."""
    here: Any = view.provenance
    of_training = saved.use.get(TRAINED_ON, here)  # where it is not known, the families are the same
    both = {
        NOISE_LEVEL: (saved.use["noise_level"], noise_level_of(view)),
        ERROR_INPUT: (of_training["error_input"], here["error_input"]),
    }
    for name in cross:
        if both[name][0] == both[name][1]:
            raise ProbeError(
                f"--cross {name}, but the head was trained at {name.replace('-', ' ')} {both[name][0]!r} and these "
                "features have it too: nothing is crossed; leave the crossing out"
            )
    return [
        f"note: the {name.replace('-', ' ')} is crossed: {both[name][0]!r} in training, {both[name][1]!r} in these "
        "features"
        for name in sorted(set(cross))
    ]


def _notes(saved: SavedHead, view: FeatureView, *, observed: bool) -> Iterator[str]:
    """What a reader of the predictions must know."""
    here: Any = view.provenance
    mode, level = here["noise"]["mode"], saved.use["noise_level"]
    trained = saved.use.get(TRAINED_ON)
    if observed:
        of_training = "" if trained is None else f", {trained['noise']['mode']!r} in training"
        yield (
            f"note: observed spectra: they carry their own noise, none was drawn (noise mode {mode!r}{of_training}); "
            f"the head was trained at noise level {level}; nothing checks that the noise of these spectra is like that"
        )
        if mode == "none":
            yield (
                "note: --noise none takes flux below 0 as 0, and the noisy flux of the training was not cut off: where "
                "these spectra have such pixels, copy their flux to dataset/arrays/noisy/value (flat files: noisy) and "
                "extract them with --noise stored, which takes it as it is"
            )
        if trained is not None and trained[DATA_KIND] != here[DATA_KIND]:
            yield f"note: the head was trained on {trained[DATA_KIND]} spectra, these are {here[DATA_KIND]}"
    if observed and here[DATA_KIND] == "mock" and mode == "none":
        yield (
            "warning: these are mock spectra, and without drawn noise mock spectra have none: --observed is untrue of "
            "them"
        )
    if mode == DRAWN and here[DATA_KIND] != "mock":
        yield (
            f"note: noise of level {noise_level_of(view)} was drawn onto these spectra when they were extracted. That "
            "is right for simulated spectra without noise; spectra from a telescope carry noise already and now have "
            "it twice, and these predictions mean nothing for them: extract those with --noise none and say --observed"
        )
