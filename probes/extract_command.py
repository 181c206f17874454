"""The extract command that makes stores which are missing, from the one that made those that are there."""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from .views import FeatureView

SHAPED_AS = "shipped"
"""The encoder whose shape a random one has where no YAML gives another (`extract run --checkpoint`)."""


def extract_command(view: FeatureView, flags: Mapping[str, str]) -> str:
    """The command that made the stores of a view, with other flags; what the stores do not tell is in capitals."""
    made_by = shlex.split(str(getattr(view, "about", {}).get("command", "")))
    if made_by[:4] != ["python", "-m", "extract", "run"]:
        made_by = ["python", "-m", "extract", "run", "--data", "DATA", "--out", "FEATURES"]
    own = _value(made_by, "--checkpoint")
    words = [*_without(_last_of_each(made_by), {*flags, "--selection"})]
    if "--checkpoint" in flags and own not in (None, SHAPED_AS) and _value(made_by, "--config-model") is None:
        words += ["--config-model", "YAML_OF_THE_ENCODER"]
    return "run " + shlex.join([*words, *(word for pair in flags.items() for word in pair)])


def _last_of_each(words: Iterable[str]) -> Iterator[str]:
    """A command line without what a later flag of the same name takes the place of."""
    parts: dict[str, list[str]] = {}
    name = ""
    for word in words:
        if word.startswith("--"):
            name = word.partition("=")[0]
            parts.pop(name, None)
        parts.setdefault(name, []).append(word)
    return (word for part in parts.values() for word in part)


def _value(words: Sequence[str], flag: str) -> str | None:
    """The value of a flag of a command line."""
    for word, following in pairwise((*words, "")):
        name, has_value, value = word.partition("=")
        if name == flag:
            return value if has_value else following
    return None


def _without(words: Iterable[str], flags: Iterable[str]) -> Iterator[str]:
    """A command line without some flags and their values."""
    dropped, skip = set(flags), False
    for word in words:
        name, has_value, _ = word.partition("=")
        if name in dropped:
            skip = not has_value
        elif skip:
            skip = False
        else:
            yield word
