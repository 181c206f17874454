"""Rows that no comparison on record sets against those that lead are told, whatever else they were compared with."""

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reports_fakes import RANDOM_FAMILY, record, source_of
from reports_other_fakes import paired_by, with_predictions

from reports.comparable import comparable_rows
from reports.generate import build_tables
from reports.page_sections import sections_of
from reports.tables import controls_table
from reports.uncompared import MARK, gaps

LEFT_OUT, OVER_FEWER = "leave out", "are corrected over"


def five():
    """The best row, which val chooses too, three more latents and a random encoder."""
    latents = [
        record(0.7 - 0.1 * k, layer=layer) for k, layer in enumerate(("enc_1", "enc_last", "enc_2", "enc_0"))
    ]
    return with_predictions(*latents, record(0.1, control="random_encoder", family=RANDOM_FAMILY))


def compared(records, *, runs):
    """Every pair of some records, each better than the next."""
    numbers = [(0.1, 0.05, 0.15, 0.0004)] * (len(records) * (len(records) - 1) // 2)
    return paired_by(records, numbers, runs=runs)


def sentences(source):
    return list(gaps(comparable_rows(source.frame), source.paired))


groups = st.lists(st.sets(st.integers(0, 4), min_size=2).map(sorted), max_size=4)


@settings(deadline=None, max_examples=60)
@given(groups)
def test_it_is_silent_only_where_all_pairs_with_the_leading_row_are_on_record_and_corrected_together(chosen):
    records = five()
    about = [compared([records[k] for k in group], runs=[f"{n}"]) for n, group in enumerate(chosen)]
    source = source_of([*records, *about])
    told = sentences(source)
    pairs = {pair for group in chosen for pair in combinations(group, 2)}
    with_best = {other for one, other in pairs if one == 0}
    held = {k for group in chosen for k in group}
    left_out = {1, 2, 3, 4} - with_best if with_best else {0}
    left_out |= {0, 1, 2, 3, 4} - held
    assert [LEFT_OUT in text for text in told].count(True) == bool(left_out)
    if left_out:
        assert f"leave out {len(left_out)} of the 5 rows of log_g" in told[0]
    most = {other: max(len(g) for g in chosen if {0, other} <= set(g)) for other in with_best}
    fewer = [n * (n - 1) // 2 for n in most.values() if n < 5]
    assert [OVER_FEWER in text for text in told].count(True) == bool(fewer)
    if fewer:
        noun = "pair" if min(fewer) == 1 else "pairs"
        assert f"corrected over {min(fewer)} {noun}, not over all 10 pairs of 5 rows" in told[-1]
    behind = {
        row["run_id"]: row.get("behind") for row in controls_table(source.frame, "log_g", source.paired).rows
    }
    marked = {k for k, item in enumerate(records) if behind[item.run_id] == MARK}
    assert marked == ({1, 2, 3, 4} - with_best if held else set())
    assert not marked or any(LEFT_OUT in text for text in told)


def test_a_comparison_of_the_two_best_does_not_hide_that_the_others_are_in_an_older_one():
    """`probes compare --limit 4` leaves the fifth out; `--runs` on the two best then compares one pair."""
    best, *others = five()
    source = source_of(
        [best, *others, compared(others, runs="all"), compared([best, others[0]], runs=["two"])]
    )
    tables = build_tables(source)
    (section, *_) = sections_of(source, tables={}, figures=(), gaps=())
    for text in (" ".join(tables["controls_log_g"][0].lead), " ".join(section.notices)):
        assert "leave out 3 of the 5 rows of log_g" in text
        assert "corrected over 1 pair, not over all 10 pairs of 5 rows" in text


@pytest.mark.parametrize("val", [0.9, 0.1])
def test_the_latent_row_of_val_leads_as_well(val):
    """The best row has all its pairs; the row that val chooses lacks that with another latent."""
    best, *others = five()
    others[0].result["scores"]["val"]["log_g"]["r2"] = val
    about = [compared([best, others[k], others[j]], runs=[f"{k}{j}"]) for k, j in ((0, 1), (2, 3))]
    told = sentences(source_of([best, *others, *about]))
    assert [text for text in told if LEFT_OUT in text] == ([] if val < 0.5 else told[:1])
    if val > 0.5:
        assert "leave out 2 of the 5 rows" in told[0]


def test_rows_without_predictions_are_no_gap():
    records = five()
    bare = [record(0.9, layer="enc_9")]
    source = source_of([*records, *bare, compared(records, runs="all")])
    assert sentences(source) == []
    assert sentences(source_of([*bare, record(0.3)])) == []
