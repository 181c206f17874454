"""What changed between two results folders: nothing invented, nothing left out, judged by intervals."""

import csv
import dataclasses
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reports_fakes import few_records, record, write
from reports_other_fakes import audit, comparison, with_predictions

from cache.commandline import main
from reports.cli import VERBS
from reports.diff import COLUMNS, csv_of, difference, text_of
from reports.diff_comparisons import OF_PAIRS


def changed(made, **result):
    return dataclasses.replace(made, result={**made.result, **result})


def with_r2(made, r2):
    scores = {
        **made.result["scores"],
        "test": {"log_g": {**made.result["scores"]["test"]["log_g"], "r2": r2}},
    }
    return changed(made, scores=scores)


def test_equal_records_differ_in_nothing():
    records = few_records()
    later = [dataclasses.replace(made, run={"time": "2031"}) for made in records]
    assert text_of(difference(records, later[::-1])) == f"no difference: {len(records)} records in both\n"


def test_records_on_one_side_only_are_named():
    one, other = record(0.5), record(0.4, layer="enc_last")
    text = text_of(difference([one], [other]))
    assert "Only in old: 1\n" in text
    assert f"{one.run_id[:12]} log_g: enc_pre_latent / seg_mean_K8 / forward / ridge" in text
    assert f"{other.run_id[:12]} log_g: enc_last / seg_mean_K8 / forward / ridge" in text


@pytest.mark.parametrize(
    ("r2", "words"),
    [(0.51, "by +0.01, within the old 95 % interval"), (0.6, "by +0.1, BEYOND the old 95 % interval")],
)
def test_changed_scores_are_judged_by_the_old_interval(r2, words):
    made = record(0.5)
    (change,) = difference([made], [with_r2(made, r2)]).changes
    assert change["what"] == "score"
    assert (change["old"], change["new"], change["words"]) == ("0.5000", f"{r2:.4f}", words)
    assert change["about"].endswith("test R2 of log_g")


def test_scores_without_interval_and_other_results_are_told():
    made = record(0.5, half_width=None)
    (change,) = difference([made], [with_r2(made, 0.6)]).changes
    assert change["words"] == "by +0.1, no interval to judge it by"
    found = difference([record(0.5)], [changed(record(0.5), d=7, flags=["LEAK"])])
    assert [c["words"] for c in found.changes] == ["d changed", "flags changed"]
    failed = changed(record(0.5), status="failed", error="no luck", scores=None, intervals=None)
    words = {c["words"] for c in difference([record(0.5)], [failed]).changes}
    assert {"disappeared", "status changed", "error changed"} <= words


def test_intervals_alone_and_predictions_are_told():
    made = record(0.5)
    (change,) = difference([made], [changed(made, intervals={})]).changes
    assert change["words"] == "intervals changed, scores did not"
    (before,) = with_predictions(made)
    (change,) = difference([before], [dataclasses.replace(before, files={"predictions": "other"})]).changes
    assert change["words"] == "predictions beside it changed"


def test_comparisons_say_which_verdicts_turned():
    records = with_predictions(record(0.5), record(0.48, layer="enc_last"))
    before, after = comparison(*records, p=0.001), comparison(*records, p=0.5)
    found = difference([*records, before], [*records, after])
    moved = "of 1 pairs in both 1 changed (p of 1, p after Holm of 1); 0 pairs came, 0 went"
    assert [c["words"] for c in found.changes] == ["holds no more", moved]
    grown = comparison(*records, *with_predictions(record(0.1, layer="enc_0")), p=0.001)
    words = [c["words"] for c in difference([*records, before], [*records, grown]).changes]
    assert words == ["of 1 pairs in both 0 changed; 2 pairs came, 0 went"]


OF_RUNS = ("predictions", "r2", "selectivity", "seeds", "bins")


def full_comparison():
    """Three records compared, with everything that a comparison says."""
    records = with_predictions(record(0.5), record(0.48, layer="enc_last"), record(0.4, layer="enc_0"))
    runs = [made.run_id for made in records]
    control = {"run": "shuffled", "predictions": "digest", "difference": 0.4}
    spread = {"mean": 0.49, "std": 0.01, "lowest": 0.48, "highest": 0.5}
    told = {
        "version": 5,
        "n_rows": {"test": 600},
        "r2": [0.5, 0.48, 0.4],
        "selectivity": [{"run": run, "shuffled_labels": control} for run in runs],
        "seeds": [{"runs": runs[:2], **spread}],
    }
    return changed(comparison(*records), **told)


def moved(value):
    """The same, but for its first number or text."""
    if value in ({}, [], None):
        return ["something"]
    if isinstance(value, dict):
        first, *rest = value
        return {first: moved(value[first]), **{key: value[key] for key in rest}}
    if isinstance(value, list):
        return [moved(value[0]), *value[1:]]
    if isinstance(value, str):
        return f"{value}, changed"
    return value + 1


@pytest.mark.parametrize("key", sorted(full_comparison().result.keys() - {"runs"}))
def test_whatever_changes_in_a_comparison_is_told_and_nothing_else(key):
    before = full_comparison()
    new = moved(before.result[key])
    if key in ("selectivity", "seeds"):
        first, *rest = before.result[key]
        inner = "mean" if key == "seeds" else "shuffled_labels"
        new = [{**first, inner: moved(first[inner])}, *rest]
    told = difference([before], [changed(before, **{key: new})]).changes
    words = [line["words"] for line in told if "hold" not in line["words"]]
    assert len(words) == 1
    called = {"lo": "interval of 1", "hi": "interval of 1", "p_holm": "p after Holm of 1"}
    if key in OF_PAIRS:
        expected = called.get(key, f"{key} of 1")
        assert words == [f"of 3 pairs in both 1 changed ({expected}); 0 pairs came, 0 went"]
    elif key in OF_RUNS:
        n = {"seeds": 2, "bins": 3}.get(key, 1)
        assert words[0].endswith(f" of {n} of 3 records in both changed")
    else:
        assert words == [f"{key} changed"]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.sampled_from(sorted(OF_PAIRS)), st.integers(0, 2)), max_size=6))
def test_pairs_are_counted_by_what_moved(places):
    before = full_comparison()
    result = {key: list(before.result[key]) for key in OF_PAIRS}
    for key, pair in set(places):
        result[key][pair] += 1e-6
    told = difference([before], [changed(before, **result)]).changes
    counts = {}
    for key, pair in set(places):
        counts.setdefault(OF_PAIRS[key], set()).add(pair)
    pairs = {pair for _, pair in places}
    words = [line["words"] for line in told if "hold" not in line["words"]]
    parts = ", ".join(
        f"{what} of {len(counts[what])}" for what in dict.fromkeys(OF_PAIRS.values()) if what in counts
    )
    expected = f"of 3 pairs in both {len(pairs)} changed ({parts}); 0 pairs came, 0 went"
    assert words == ([expected] if pairs else [])


def test_a_comparison_that_did_not_tell_how_many_stars_carry_a_pair_differs():
    after = full_comparison()
    before = changed(after)
    before.result.pop("n_eff")
    (line,) = difference([before], [after]).changes
    assert line["words"] == "of 3 pairs in both 3 changed (n_eff of 3); 0 pairs came, 0 went"


def test_other_kinds_are_compared_by_result():
    made = audit()
    (change,) = difference([made], [changed(made, survival=[])]).changes
    assert (change["about"], change["words"]) == ("log_g: audit", "survival changed")


def test_csv_has_a_line_per_change():
    made = record(0.5)
    found = difference([made, record(0.1, seed=3)], [with_r2(made, 0.6)])
    rows = list(csv.DictReader(io.StringIO(csv_of(found))))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == len(found.changes) == 2


def test_the_verb_prints_and_ends_well(tmp_path, capsys):
    write(tmp_path / "old", [record(0.5)])
    write(tmp_path / "new", [record(0.5), record(0.4, seed=1)])
    assert main("reports", VERBS, ["diff", str(tmp_path / "old"), str(tmp_path / "old")]) == 0
    assert capsys.readouterr().out == "no difference: 1 records in both\n"
    assert (
        main("reports", VERBS, ["diff", str(tmp_path / "old"), str(tmp_path / "new"), "--format", "csv"]) == 0
    )
    assert "only in new" in capsys.readouterr().out
    assert main("reports", VERBS, ["diff", str(tmp_path / "old"), str(tmp_path / "none")]) == 2
    assert "none: no such folder of results" in capsys.readouterr().err
