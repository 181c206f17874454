"""Records that a command asks for: those whose run ids begin so, and the labels and heads that they know."""

from collections.abc import Sequence

from cache.errors import ConfigError, UnknownName
from cache.records import Record


def starting_with(records: Sequence[Record], runs: Sequence[str], *, what: str = "a probe") -> list[Record]:
    """The records whose run ids begin with one of `runs`, all without any; ConfigError for digits that fit none.

    `what` says in that message what the records are.
    """
    for start in runs:
        if not any(record.run_id.startswith(start) for record in records):
            raise ConfigError(
                f"--runs {start}: no record of {what} begins so; `python -m reports tables` lists them"
            )
    return [record for record in records if not runs or record.run_id.startswith(tuple(runs))]


def check_named(kind: str, names: Sequence[str], records: Sequence[Record], *, field: str) -> None:
    """Raise UnknownName for one of `names` that stands in no record: `field` of the spec is `kind`, or a list of it.

    Without any record there is nothing to know, and nothing is raised.
    """
    told = [record.spec[field] for record in records]
    known = sorted({name for value in told for name in ([value] if isinstance(value, str) else value)})
    for name in names:
        if known and name not in known:
            raise UnknownName(f"{kind} among the records", name, known)
