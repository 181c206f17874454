"""The extract command that makes stores which are missing, from one that made stores like them."""

import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from .arrays import stored_directions

SHAPED_AS = "shipped"
"""The encoder whose shape a random one has where no YAML gives another (`extract run --checkpoint`)."""
EXTRACTS = ["python", "-m", "extract", "run"]


def with_flags(command: str, flags: Mapping[str, str], *, without: Collection[str] = ()) -> str:
    """An extract command with other values of some flags and none of others; what it does not tell is in capitals.

    Without `--selection`, which names what the command itself made.
    """
    words = shlex.split(command)
    if words[:4] != EXTRACTS:
        words = [*EXTRACTS, "--data", "DATA", "--out", "FEATURES"]
    own = flag_value(words, "--checkpoint")
    changed = [*_without(_last_of_each(words), {*flags, *without, "--selection"})]
    if (
        "--checkpoint" in flags
        and own not in (None, SHAPED_AS)
        and flag_value(words, "--config-model") is None
    ):
        changed += ["--config-model", "YAML_OF_THE_ENCODER"]
    return shlex.join([*changed, *(word for pair in flags.items() for word in pair)])


def array_flags(arrays: Iterable[tuple[str, str, str]]) -> dict[str, str]:
    """The flags that extract arrays (layer, direction, pooling), of any direction of reading; order is kept."""
    arrays = list(arrays)
    directions = (stored for _, asked, _ in arrays for stored in stored_directions(asked))
    return {
        "--layers": ",".join(dict.fromkeys(layer for layer, _, _ in arrays)),
        "--poolings": ",".join(dict.fromkeys(pooling for _, _, pooling in arrays)),
        "--directions": ",".join(dict.fromkeys(directions)),
    }


def extracts(words: Sequence[str]) -> bool:
    """Whether a command line is an extraction that can be run again."""
    return words[: len(EXTRACTS)] == EXTRACTS and words[len(EXTRACTS) :] != ["--help"]


def flag_value(words: Sequence[str], flag: str) -> str | None:
    """The value of a flag of a command line; None where it is not given."""
    for word, following in pairwise((*words, "")):
        name, has_value, value = word.partition("=")
        if name == flag:
            return value if has_value else following
    return None


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
