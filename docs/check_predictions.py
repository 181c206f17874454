"""Verdicts on docs/predictions.md from the records of a demo run; prints a Markdown table."""

import argparse
from pathlib import Path

import numpy as np

from cache.errors import NotExtracted
from cache.records import Record, read_predictions, read_records
from probes.statistics import paired_difference


def main() -> None:
    """Read the records under --results and print one line per prediction."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("artifacts/results"))
    results = parser.parse_args().results
    records = read_records(results)
    print("| # | measured on test | 95 % interval | verdict |\n|---|---|---|---|")
    t_eff = chosen(records, label="T_eff")
    print(
        line(
            1,
            "R2",
            t_eff.result["scores"]["test"]["T_eff"]["r2"],
            t_eff.result["intervals"]["test"]["T_eff"]["r2"],
            above=0.95,
        )
    )
    log_g = {
        pooling: chosen(records, pooling=pooling) for pooling in ("seg_mean_K8", "mean_max", "global_mean")
    }
    print(difference(2, results, log_g["seg_mean_K8"], log_g["mean_max"]))
    print(difference(3, results, log_g["mean_max"], log_g["global_mean"]))
    print(difference(4, results, log_g["seg_mean_K8"], chosen(records, control="random_encoder")))
    shuffled = chosen(records, control="shuffled_labels")
    r2, (lo, hi) = (
        shuffled.result["scores"]["test"]["log_g"]["r2"],
        shuffled.result["intervals"]["test"]["log_g"]["r2"],
    )
    print(f"| 5 | R2 {r2:.4f} | [{lo:.4f}, {hi:.4f}] | {'true' if lo <= 0 else 'false'} |")


def chosen(
    records: list[Record], *, label: str = "log_g", pooling: str = "seg_mean_K8", control: str = "none"
) -> Record:
    """The one record of enc_pre_latent, concat, ridge with alpha chosen on val, of this label, pooling, control."""
    part = {"layer": "enc_pre_latent", "pooling": pooling, "direction": "concat"}
    found = [
        record
        for record in records
        if record.kind == "probe"
        and record.spec["labels"] == [label]
        and record.spec["features"]["parts"] == [part]
        and (record.spec["head"], record.spec["selection"]) == ("ridge", "val_r2")
        and record.spec["control"] == control
        and record.spec["error_input"] == "true"
    ]
    if len(found) != 1:
        raise NotExtracted(
            f"{len(found)} records of {part}, {label}, control {control}; run make demo in a clean OUT"
        )
    return found[0]


def difference(number: int, results: Path, better: Record, worse: Record) -> str:
    """The paired difference in R2 of two records on the same test stars."""
    one, two = (test_rows(read_predictions(results, record.run_id)) for record in (better, worse))
    if not np.array_equal(one["row"], two["row"]) or not np.array_equal(one["star"], two["star"]):
        raise NotExtracted("the two records were not scored on the same test rows")
    found = paired_difference(one["y"], one["y_hat"], two["y_hat"], stars=one["star"])
    return line(number, "difference in R2", found.difference, found.interval.as_list(), above=0.0)


def test_rows(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The test split of a predictions table."""
    test = columns["split"] == "test"
    return {name: values[test] for name, values in columns.items()}


def line(number: int, what: str, value: float, interval: list[float], *, above: float) -> str:
    """One row of the table, with the verdict that the interval allows."""
    lo, hi = interval
    verdict = "true" if lo > above else "false" if hi < above else "undecided"
    return f"| {number} | {what} {value:.4f} | [{lo:.4f}, {hi:.4f}] | {verdict} |"


if __name__ == "__main__":
    main()
