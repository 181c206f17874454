"""Audits on record: which is nearest to a row, in what it is not of that row, and what it says."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from cache.records import Record

from .rows import SHORT, Row
from .settings import draws_text, params_of, without_seed
from .source import Source
from .standing import standing
from .table import Estimate
from .vocabulary import ERROR_ONLY, JUDGED_BESIDE

KIND = "audit"
OF_ERROR = ("A1", "A1 ridge")
"""Rows of an audit that fit the error alone: by the head audited, and by ridge beside another head."""
VERDICTS = ("yes", "unclear", "no")
"""What an audit says of a shortcut, the gravest first."""


@dataclass(frozen=True, kw_only=True)
class ErrorAlone:
    """What the error alone tells by an audit: test R2 of its row `name`."""

    audit: Record
    name: str
    r2: Estimate


def audits_of(source: Source, label: str) -> list[Record]:
    """The audits of a label that came to a verdict."""
    return [r for r in source.of_kind(KIND) if r.spec.get("label") == label and r.result["status"] == "ok"]


def current_audits(source: Source, label: str) -> list[Record]:
    """Those of `audits_of` whose stores and predictions are still the ones that they saw."""
    return [record for record in audits_of(source, label) if not standing(record, source).startswith("stale")]


def subject(record: Record) -> str:
    """What an audit is of, in words: 'enc_pre_latent / seg_mean_K8 / concat / ridge'."""
    features = record.spec["features"]
    return " / ".join([*(features[name] for name in ("layer", "pooling", "direction")), record.spec["head"]])


def audit_of(audits: Sequence[Record], row: Row) -> Record | None:
    """The audit nearest to a row; None where none is of its test set."""
    nearest = min(audits, key=lambda record: distance(record, row), default=None)
    return None if nearest is None or of_other_test(nearest, row) else nearest


def said_by(audit: Record, row: Row) -> str:
    """The headline of an audit, and what it is of where that is not the row."""
    named = ", ".join([subject(audit), *unlike_otherwise(audit, row)])
    who = "The audit of that row" if not distance(audit, row)[1] else f"The nearest audit on record ({named})"
    headline = str(audit.result["verdict"]["headline"]).rstrip(".")
    return f"{who} says: {headline}."


def error_command(label: str) -> str:
    """What fits a head to the error alone."""
    return f"make probe LAYER=input_error POOL=none LABEL={label}"


def not_run(rows: Sequence[Row], audits: Sequence[Record]) -> tuple[list[str], ErrorAlone | None]:
    """The roles of JUDGED_BESIDE that no row has; the error alone where an audit has it instead (see `error_alone`)."""
    roles = {row["role"] for row in rows}
    alone = None if ERROR_ONLY in roles else error_alone(audits, rows)
    known = roles if alone is None else {*roles, ERROR_ONLY}
    return [role for role in JUDGED_BESIDE if role not in known], alone


def error_alone(audits: Iterable[Record], rows: Sequence[Row]) -> ErrorAlone | None:
    """The highest R2 of the error alone by the audits of the test set of some of these rows; None where none has it."""
    found = [
        ErrorAlone(audit=audit, name=item["name"], r2=Estimate(item["r2"], *(item["interval"] or ())))
        for audit in audits
        if any(not of_other_test(audit, row) for row in rows)
        for item in audit.result["rows"]
        if item["name"] in OF_ERROR and item["r2"] is not None
    ]
    return max(found, key=lambda one: one.r2.value, default=None)


def distance(record: Record, best: Row | None) -> tuple[int, int, int, str]:
    """How unlike the best row an audit is: test set first, then features, then head and noise level of train."""
    if best is None:
        return (0, 0, 0, record.run_id)
    features, others = (
        unlike_features(record, best),
        [*unlike_head(record, best), *unlike_otherwise(record, best)],
    )
    caution = VERDICTS.index(record.result["verdict"]["shortcut"])  # of two as near, not the milder one
    return (len(of_other_test(record, best)), 9 * len(features) + len(others), caution, record.run_id)


def unlike_features(audit: Record, best: Row) -> list[str]:
    """The layer, pooling and direction audited, where they are not those of the best row."""
    features = audit.spec.get("features") or {}
    return [
        str(features.get(name))
        for name in ("layer", "pooling", "direction")
        if features.get(name) != best[name]
    ]


def unlike_head(audit: Record, best: Row) -> list[str]:
    """The head audited, where it is not that of the best row."""
    return [str(audit.spec.get("head"))] if audit.spec.get("head") != best["head"] else []


def unlike_otherwise(audit: Record, best: Row) -> list[str]:
    """In what else an audit is not of the best row, in words; what its record does not tell is taken for the same."""
    spec, level, own = audit.spec, _level(audit, "train"), params_of(best)
    train = "+".join(digest[:SHORT] for digest in (spec.get("inputs") or {}).get("train") or ())
    draws = "+".join(map(str, (spec.get("draws") or {}).get("train") or ()))
    params, other_head = spec.get("params", own), bool(unlike_head(audit, best))
    seed = params.get("seed", spec.get("seed", best["seed"]))
    found = (
        ("another encoder or input", spec.get("family", best["family"]) == best["family"]),
        ("other parameters", other_head or without_seed(params) == without_seed(own)),
        (f"seed {seed}", other_head or "seed" not in own or seed == own["seed"]),
        (
            "other train stars",
            (not train or f"train {train}" in best["inputs"].split(", "))
            and (draws not in ("", best["draws_train"]) or _same_train_rows(audit, best)),
        ),
        (f"trained at noise level {_number(level)}", level == best["noise_level_train"]),
        (f"trained on noise draw {draws_text(draws)}", draws in ("", best["draws_train"])),
        *_narrower(best),
    )
    return [words for words, same in found if not same]


def _same_train_rows(audit: Record, best: Row) -> bool:
    """Whether as many rows of train were fitted to, as far as both tell it: rows without a label may be left out."""
    n_rows = (audit.result.get("n_rows") or {}).get("train")
    return (
        best["train_size"] is not None
        or None in (n_rows, best["n_rows_train"])
        or n_rows == best["n_rows_train"]
    )


def _narrower(best: Row) -> Iterator[tuple[str, bool]]:
    """What every audit is of, in words, and whether the row is too: all of train, all columns, one label."""
    yield f"on all of train, not {best['train_size']} stars", best["train_size"] is None
    yield f"on all columns, not PCA {best['pca']}", not best["pca"]
    yield f"on all segments, not {best['segments']}", not best["segments"]
    others = [name for name in best["fitted_labels"].split() if name != best["label"]]
    yield f"fitted alone, not with {', '.join(others)}", not others
    yield "tested with the error input of train", "error-input" not in best["cross"].split(", ")


def of_other_test(record: Record, best: Row | None) -> tuple[str, ...]:
    """In what an audit's test set is not that of the best row, in words."""
    if best is None:
        return ()
    spec = record.spec
    level, own = _level(record, "test"), best["noise_level_test"]
    seed = spec.get("noise_seed", 0)
    # an audit, or a probe, may leave out rows that lack the label
    n_rows, own_rows = (
        str((record.result.get("n_rows") or {}).get("test", best["rows_test"])),
        best["rows_test"],
    )
    found = (
        (
            f"{spec.get('data_kind')} data, not {best['data_kind']}",
            spec.get("data_kind") == best["data_kind"],
        ),
        ("another test file", "+".join((spec.get("inputs") or {}).get("test") or ()) == best["input_test"]),
        (
            f"noise {spec.get('noise_mode')}, not {best['noise_mode']}",
            (spec.get("noise_mode") or "") == best["noise_mode"],
        ),
        (f"noise level {_number(level)}, not {_number(own)}", level == own),
        (f"{n_rows} rows of test, not {own_rows}", own_rows in ("", n_rows) or own_rows.startswith("first")),
        (f"noise seed {seed}, not {best['noise_seed']}", best["noise_seed"] in (None, seed)),
    )
    return tuple(words for words, same in found if not same)


def _level(record: Record, split: str) -> float | None:
    level: float | None = (record.spec.get("noise_levels") or {}).get(split)
    return level


def _number(level: float | None) -> str:
    return "unknown" if level is None else f"{level:g}"
