"""What is said of features that are not stored: what is there in their place, and the command that extracts them."""

import contextlib
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .errors import CacheError
from .extract_command import EXTRACTS, array_flags, extracts, flag_value, with_flags
from .header import Header, rebuild_command
from .runlog import SPLIT_FOLDERS
from .store_folders import stores_of
from .want import Want

_OF_ONE_SPLIT = ("--train", "--val", "--test")
_OF_FITS = ("--draws", "--need-splits", "--need-labels", "--missing-labels")
"""Flags of extractions that probes are fitted to, which mean nothing for a file that a head is applied to."""
_OWN_NOISE = (
    "(--noise none is for spectra that carry noise of their own, as a telescope gives them; simulated ones need the "
    "--noise of the training)"
)


def absent(root: Path, split: str, want: Want, *, partial: Sequence[Header], others: Sequence[Header]) -> str:
    """`partial` are stores that are admitted and hold some of the arrays, `others` all that hold some."""
    flags = _flags(root, want)
    given = {name: value for name, value in vars(want).items() if name != "arrays" and value is not None}
    narrowed = "".join(f", {name.replace('_', ' ')} {value}" for name, value in given.items())
    held = sorted({array.path for header in partial for array in header.arrays})
    some = f" (of the arrays asked for, only some are there: {', '.join(held)})" if held else ""
    if not root.is_dir():
        some = " (there is no such folder)"
    elif not held and others:
        some = f" (what is stored of them has {_told_apart(others)})"
    return (
        f"no features of split {split!r} under {root} for layers {flags['--layers']}, poolings {flags['--poolings']}, "
        f"directions {flags['--directions']}{narrowed}{some}. Extract them "
        f"{_advice(root, split, want, flags)}"
    )


def _flags(root: Path, want: Want) -> dict[str, str]:
    return {
        **array_flags(want.arrays),
        **({} if want.noise_level is None else {"--noise-level": str(want.noise_level)}),
        **({"--draws": str(want.draw + 1)} if want.draw else {}),
        "--out": str(root),
    }


def _advice(root: Path, split: str, want: Want, flags: dict[str, str]) -> str:
    """How to extract what is missing, by the command that made stores of what is meant, if there is one such.

    A split that is none of the three is a file by itself, most often of observed spectra.
    """
    wider = replace(want, draw=None, noise_level=None)
    commands = _made_by(root, split, wider)
    if not commands and split not in SPLIT_FOLDERS:
        return f"{_OWN_NOISE} with: {_of_a_file(root, split, flags)}"
    if not commands:
        for other in sorted(path.name for path in root.glob("*") if path.name != split):
            for (of_family, _), command in _made_by(root, other, replace(wider, input=None)).items():
                if _names_a_folder(command, split):  # train as well: what is there is not computed again
                    commands[of_family, ""] = with_flags(command, {}, without=("--split", "--part", "--plan"))
    if len(commands) == 1:
        (command,) = commands.values()
        return f"with: {with_flags(command, flags)}"
    return f"with: {_placeholders(flags)}"


def _of_a_file(root: Path, split: str, flags: dict[str, str]) -> str:
    """The command for a file of spectra that is no part of a training, with the encoder of the one training there."""
    own = {"--data": "FILE", "--split": split, "--noise": "none", **flags}
    anything = Want(arrays=(), draw=None)
    without = ("--part", "--plan", *_OF_ONE_SPLIT, *_OF_FITS)
    commands = {
        with_flags(command, own, without=without)
        for other in SPLIT_FOLDERS
        for command in _made_by(root, other, anything).values()
    }
    return commands.pop() if len(commands) == 1 else _placeholders(own)


def _placeholders(flags: dict[str, str]) -> str:
    own = {"--data": "FOLDER", "--checkpoint": "X", "--config-model": "X.yaml", **flags}
    return shlex.join([*EXTRACTS, *(word for pair in own.items() for word in pair)])


def _made_by(root: Path, split: str, want: Want) -> dict[tuple[str, str], str]:
    """By family and input the command that made a store of a split, for those that `want` admits."""
    stores: Sequence[tuple[Path, Header]] = ()
    with contextlib.suppress(CacheError):  # this only helps to say what is missing
        stores = stores_of(root, split).readable
    commands = {
        (header.family, str(header.provenance["input"])): rebuild_command(path)
        for path, header in stores
        if want.admits(header)
    }
    return {key: text for key, text in commands.items() if extracts(shlex.split(text))}


def _names_a_folder(command: str, split: str) -> bool:
    """Whether a command names a folder that has one of this split, and no files."""
    words = shlex.split(command)
    data = flag_value(words, "--data")
    return (
        data is not None
        and (Path(data) / split).is_dir()
        and not any(flag_value(words, f) for f in _OF_ONE_SPLIT)
    )


def _told_apart(headers: Sequence[Header]) -> str:
    """Families, draws and noise levels of some stores: what a request may narrow them down by."""
    values = {
        "family": sorted({header.family[:12] for header in headers}),
        "draw": sorted({str(header.provenance["noise"]["draw"]) for header in headers}),
        "noise level": sorted({str(header.provenance["noise"]["level"]) for header in headers}),
    }
    return "; ".join(f"{name} {', '.join(found)}" for name, found in values.items())
