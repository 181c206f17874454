"""An audit as the command prints it."""

from collections.abc import Iterator, Mapping
from typing import Any

from cache.texts import table

from .audit_rows import A2
from .audit_verdict import percent

HEADINGS = (
    "row",
    "X",
    "error channel fed",
    "probe fitted with",
    "predicts",
    "R2 (95 %)",
    "of the score (95 %)",
    "p, Holm",
)


A2_NAME = "A2 (train, out of fold)"


def audit_lines(spec: Mapping[str, Any], result: Mapping[str, Any]) -> Iterator[str]:
    """Yield headline, table and sentences of one audit; scores are of test, but that of A2."""
    verdict = result["verdict"]
    yield f"{audit_title(spec)}"
    yield f"  shortcut: {verdict['shortcut']}. {verdict['headline']}"
    shares = {(item["how"], item["error_input"]): item for item in result["survival"]}
    for line in table(HEADINGS, [_cells(row, shares) for row in result["rows"]]).splitlines():
        yield f"    {line}"
    for sentence in verdict["words"]:
        yield f"  - {sentence}"
    for flag in result["flags"]:
        yield f"  flag: {flag}"


def audit_title(spec: Mapping[str, Any]) -> str:
    """What was audited, short."""
    features = spec["features"]
    head = f"{spec['head']}" + (" alpha=val" if spec["params"].get("alpha") == "val" else "")
    some = " (stars that have it)" if "missing_labels" in spec else ""
    return f"{spec['label']}{some} from {features['layer']}/{features['direction']}/{features['pooling']}, {head}"


def _cells(row: Mapping[str, Any], shares: Mapping[tuple[str, str], Mapping[str, Any]]) -> tuple[str, ...]:
    item = shares.get((row["name"], row["error_input"]))
    share = "" if item is None or item["share"] is None else _share(item["share"], item["share_interval"])
    left = row.get("variance_share")
    target = row["target"] if left is None else f"{row['target']} ({percent(left)} % of the variance)"
    return (
        A2_NAME if row["name"] == A2 else row["name"],
        row["source"],
        row["error_input"],
        row["trained_on_error_input"],
        target,
        _r2(row),
        share,
        "" if item is None else _p(item["p_holm"]),
    )


def _p(value: float) -> str:
    return "below 0.001" if value < 0.001 else f"{value:.3f}"


def _r2(row: Mapping[str, Any]) -> str:
    lo, hi = row["interval"]
    return f"{row['r2']:.4g}" + ("" if lo is None else f" [{lo:.3g}, {hi:.3g}]")


def _share(share: float, interval: list[float | None]) -> str:
    lo, hi = interval
    return f"{percent(share)} %" + ("" if lo is None else f" [{percent(lo)}, {percent(hi)}]")
