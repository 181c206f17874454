"""Tables and verdicts that judge by pairs, and the red flags above every table."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reports_fakes import RANDOM_FAMILY, documents_of, fresh, record, source_of, write
from reports_other_fakes import paired_by, with_predictions

from reports.comparable import comparable_rows, names_without_seed
from reports.comparisons import METHOD, comparisons_of
from reports.contest import beats_clearly, contest
from reports.generate import red_flags
from reports.page_answers import certainty_answer, field_of
from reports.paired import p_text
from reports.pivots import heads_table
from reports.rows import frame_of, rows_of
from reports.tables import controls_table, layers_table


@pytest.fixture
def three():
    """Overlapping intervals: 0.55 beats 0.53 only in pairs, and 0.545 not at all."""
    records = with_predictions(
        record(0.55), record(0.545, layer="enc_last"), record(0.53, layer="input_flux", pooling="none")
    )
    numbers = [(0.005, -0.002, 0.012, 0.4), (0.02, 0.01, 0.03, 0.0004), (0.015, 0.008, 0.022, 0.002)]
    return records, paired_by(records, numbers)


def rows_of_first_set(records):
    return comparable_rows(frame_of(records, fresh))[0]


def test_rows_that_were_compared_are_judged_by_their_pairs(three):
    records, compared = three
    best, second, third = rows_of_first_set(records)
    paired = comparisons_of([*records, compared])
    assert not beats_clearly(best, third)
    assert beats_clearly(best, third, paired)
    assert not beats_clearly(third, best, paired)
    assert not beats_clearly(best, second, paired)
    assert (paired.between(third, best).low, paired.between(third, best).high) == (-0.03, -0.01)
    found = contest([best, second, third], paired)
    assert (found.clear, found.rival["layer"], found.n_paired) == (False, "enc_last", 2)
    assert contest([best, third], paired).clear


def test_a_small_p_does_not_hold_where_the_interval_has_0(three):
    records, _ = three
    pair = [records[0], records[2]]
    best, third = (rows_of_first_set(records)[k] for k in (0, 2))
    for low in (-0.001, None):
        paired = comparisons_of([*pair, paired_by(pair, [(0.02, low, 0.03, 0.0004)])])
        assert not beats_clearly(best, third, paired)


@pytest.mark.parametrize(
    ("low", "p", "words"),
    [
        (-0.173, 0.0004, "the interval of the difference holds 0, though p below 0.001 after Holm"),
        (None, 0.0004, "the difference has no interval, though p below 0.001 after Holm"),
        (0.001, 0.4, "p = 0.4 after Holm"),
        (-0.173, 0.4, "p = 0.4 after Holm"),
        (0.001, 0.0004, "carried by few stars, though p below 0.001 after Holm"),
    ],
)
def test_what_keeps_two_rows_from_being_told_apart_is_named(low, p, words):
    pair = with_predictions(record(0.55), record(0.53, layer="enc_last"))
    source = source_of(
        [*pair, paired_by(pair, [(0.02, low, 0.03, p)], n_eff=[11.9 if "few" in words else 12.0])]
    )
    table = controls_table(source.frame, "log_g", source.paired)
    text = " ".join((*table.lead, *table.notes))
    assert f"in pairs ({words}) it cannot be told from enc_last" in text
    assert (
        "told apart only where that p is at most 0.05, the interval leaves 0 out, and 12 stars or more"
        in text
    )
    told = certainty_answer(field_of(source.frame, "log_g"), source.paired).sentences
    assert any("Cannot be told from enc_last" in text and f", {words})" in text for text in told)


@pytest.mark.parametrize(("n_eff", "holds"), [(12.0, True), (11.9, False), (None, True)])
def test_a_difference_that_few_stars_carry_does_not_hold(n_eff, holds):
    pair = with_predictions(record(0.55), record(0.53, layer="enc_last"))
    told = {} if n_eff is None else {"n_eff": [n_eff]}
    older = paired_by(pair, [(0.02, 0.01, 0.03, 0.0004)])
    older.result.pop("n_eff")
    compared = replace(older, result={**older.result, **told})
    source = source_of([*pair, compared])
    best, other = rows_of_first_set(pair)
    assert beats_clearly(best, other, source.paired) == holds
    table = controls_table(source.frame, "log_g", source.paired)
    behind = [row["behind"] for row in table.rows if row["behind"]]
    assert any(text.endswith("carried by few stars") for text in behind) != holds
    assert any("compared by an older version" in note for note in table.notes) == (n_eff is None)


def test_the_controls_table_says_how_far_rows_are_behind_and_what_pairs_decide(three):
    records, compared = three
    table = controls_table(frame_of(records, fresh), "log_g", comparisons_of([*records, compared]))
    assert [row["behind"] for row in table.rows] == [
        None,
        "0.005 [-0.002, 0.012], p = 0.4",
        "0.020 [0.010, 0.030], p below 0.001",
    ]
    text = " ".join((*table.lead, *table.notes))
    assert "(by 0.020 [0.010, 0.030], paired: p below 0.001 after Holm over 1 planned contrast)" in text
    assert "in pairs (p = 0.4 after Holm) it cannot be told from enc_last" in text
    assert table.emphasis == frozenset()
    alone = controls_table(frame_of(records, fresh), "log_g")
    assert "behind" not in {column.key for column in alone.columns}


def test_latents_are_told_apart_from_the_one_that_val_chooses():
    flux, chosen, near, far = with_predictions(
        record(0.9, layer="input_flux", pooling="none"),
        record(0.5),
        record(0.51, layer="enc_0"),
        record(0.3, layer="enc_1"),
    )
    chosen.result["scores"]["val"]["log_g"]["r2"] = 0.8
    compared = paired_by(
        [chosen, near, far, flux],
        [
            *((-0.01, -0.02, 0.01, 0.6), (0.2, 0.1, 0.3, 0.0004), (-0.4, -0.5, -0.3, 0.0004)),
            *[(0.21, 0.1, 0.3, 0.0004)] * 3,
        ],
    )
    records = [flux, chosen, near, far]
    source = source_of([*records, compared])
    table = controls_table(source.frame, "log_g", source.paired)
    behind = {row["run_id"]: row["behind_latent"] for row in table.rows}
    assert [behind[item.run_id] for item in records] == [
        None,
        None,
        "-0.010 [-0.020, 0.010], p = 0.6",
        "0.200 [0.100, 0.300], p below 0.001",
    ]
    assert any(note.startswith("Behind the latent row of val") for note in table.notes)
    latents = [chosen, near, far, paired_by([chosen, near], [(-0.01, -0.02, 0.01, 0.6)])]
    source = source_of(latents)
    table = controls_table(source.frame, "log_g", source.paired)
    assert "behind_latent" not in {column.key for column in table.columns}


def test_the_best_by_pairs_is_bold(three):
    records, _ = three
    pair = [records[0], records[2]]
    paired = comparisons_of([*pair, paired_by(pair, [(0.02, 0.01, 0.03, 0.0004)])])
    table = controls_table(frame_of(pair, fresh), "log_g", paired)
    assert table.emphasis == {(0, "test_r2")}
    assert (
        "by the paired difference from 1 of the 1 other rows (p <= 0.05 after Holm, 0 outside the interval, and 12 "
        "stars or more carry it)"
    ) in " ".join(table.notes)
    assert controls_table(frame_of(pair, fresh), "log_g").emphasis == frozenset()


def test_heads_side_by_side_are_judged_by_pairs_too():
    pair = with_predictions(record(0.55), record(0.53, head="ols"))
    frame = frame_of(pair, fresh)
    table = heads_table(
        frame, "log_g", comparisons_of([*pair, paired_by(pair, [(0.02, 0.01, 0.03, 0.0004)])])
    )
    assert len(table.emphasis) == 1
    assert "paired difference" in table.notes[0]
    assert heads_table(frame, "log_g").emphasis == frozenset()


def test_a_comparison_of_other_predictions_says_nothing(three):
    records, compared = three
    refitted = [replace(records[0], files={"predictions": "another digest"}), *records[1:]]
    paired = comparisons_of([*refitted, compared])
    best, second, third = rows_of_first_set(records)
    assert paired.between(best, third) is None
    assert paired.between(second, third) is not None
    assert paired.between({**second, "label": "T_eff"}, third) is None


def test_of_two_comparisons_that_of_more_records_counts(three):
    records, compared = three
    some = paired_by([records[0], records[2]], [(0.02, 0.01, 0.03, 0.0001)], runs=["some"])
    for order in ([compared, some], [some, compared]):
        best, _, third = rows_of_first_set(records)
        assert comparisons_of([*records, *order]).between(best, third).n_pairs == 3


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(st.booleans(), st.none() | st.integers(2, 6), st.integers(0, 2)),
        min_size=1,
        max_size=5,
        unique=True,
    ),
    st.randoms(),
)
def test_of_several_comparisons_todays_method_counts_then_the_newest_then_that_of_most_records(made, order):
    """One that is of records since removed, too, is no reason to go on with it."""
    pair = with_predictions(record(0.55), record(0.53, layer="enc_last"))
    gone = with_predictions(record(0.2, layer="enc_0"), record(0.1, layer="enc_1"))

    def comparison_of(index, choice):
        is_today, version, more = choice
        members = [*pair, *gone[:more]]
        numbers = [(0.001 * (index + 1), 0.0, 0.1, 0.01)] * (len(members) * (len(members) - 1) // 2)
        item = paired_by(members, numbers, runs=[f"{index}"])
        result = item.result if version is None else {**item.result, "version": version}
        return replace(item, spec={**item.spec, "method": METHOD if is_today else "older"}, result=result)

    compared = [comparison_of(index, choice) for index, choice in enumerate(made)]
    last = max(range(len(made)), key=lambda k: (made[k][0], made[k][1] or 0, made[k][2]))
    order.shuffle(compared)
    best, other = rows_of_first_set(pair)
    found = comparisons_of([*pair, *compared]).between(best, other)
    assert found.difference == pytest.approx(0.001 * (last + 1))


def test_selectivity_and_seeds_are_told(three):
    records, _ = three
    shuffled = record(0.0, control="shuffled_labels")
    told = [
        {
            "run": records[0].run_id,
            "shuffled_labels": {"run": shuffled.run_id, "difference": 0.549},
            "random_encoder": {"run": "gone", "difference": 0.3},
        }
    ]
    seeds = [
        {
            "runs": [r.run_id for r in records[:2]],
            "mean": 0.5475,
            "std": 0.0035,
            "lowest": 0.545,
            "highest": 0.55,
        }
    ]
    compared = paired_by(records, [(0.005, -0.002, 0.012, 0.4)] * 3, selectivity=told, seeds=seeds)
    frame = frame_of([*records, shuffled], fresh)
    table = layers_table(frame, "log_g", comparisons_of([*records, shuffled, compared]))
    assert [row["selectivity"] for row in table.rows] == ["0.549 / -", ""]
    notes = " ".join(table.notes)
    assert "Selectivity: R2 minus that of the same probe on labels shuffled among stars" in notes
    assert notes.count("2 seeds: test R2 0.5475, standard deviation 0.0035, from 0.5450 to 0.5500.") == 1


@settings(deadline=None)
@given(
    st.floats(-2, 1),
    st.lists(st.floats(-12, 1), min_size=2, max_size=2),
)
def test_a_control_that_exploded_makes_no_row_more_selective(r2, controls):
    (item,) = with_predictions(record(r2))
    shuffled, other = (
        record(controls[0], control="shuffled_labels"),
        record(controls[1], family=RANDOM_FAMILY),
    )
    told = {
        name: {"run": run.run_id, "difference": r2 - value}
        for name, run, value in zip(
            ("shuffled_labels", "random_encoder"), (shuffled, other), controls, strict=True
        )
    }
    compared = paired_by([item], [(0.0, None, None, 1.0)], selectivity=[{"run": item.run_id, **told}])
    source = source_of([item, shuffled, other, compared])
    (row,) = [row for row in rows_of(source.frame) if row["run_id"] == item.run_id]
    found = source.paired.selectivity_of(row)
    assert list(found) == list(told)
    for name, value in zip(told, controls, strict=True):
        assert found[name].value == pytest.approx(r2 - max(value, 0.0))
        assert found[name].value <= r2


@pytest.mark.parametrize(
    ("control", "lo", "text"),
    [(0.25, 0.21, "- / 0.300 [0.210, 0.330]"), (-0.1, 0.6, "- / 0.550"), (0.25, None, "- / 0.300")],
)
def test_selectivity_has_the_paired_interval_of_a_control_that_is_not_below_0(control, lo, text):
    pair = with_predictions(record(0.55), record(control, control="random_encoder", family=RANDOM_FAMILY))
    item, other = pair
    told = {"run": other.run_id, "predictions": other.files["predictions"], "difference": 0.55 - control}
    selectivity = [{"run": item.run_id, "random_encoder": told}]
    numbers = [(0.55 - control, lo, None if lo is None else 0.33, 0.0004)]
    for order in (pair, pair[::-1]):
        ends = [(-d, h and -h, low and -low, p) for d, low, h, p in numbers] if order != pair else numbers
        source = source_of([*pair, paired_by(order, ends, selectivity=selectivity)])
        table = layers_table(source.frame, "log_g", source.paired)
        assert table.rows[0]["selectivity"] == text
        assert "In brackets the 95 % interval of that difference" in " ".join(table.notes)
        answer = certainty_answer(field_of(source.frame, "log_g"), source.paired)
        assert f"a random encoder {text.removeprefix('- / ')}." in " ".join(answer.sentences)


def test_selectivity_of_an_exploded_control_is_the_score_everywhere():
    (item,) = with_predictions(record(0.55))
    shuffled = record(-10.0, control="shuffled_labels")
    told = [{"run": item.run_id, "shuffled_labels": {"run": shuffled.run_id, "difference": 10.55}}]
    source = source_of([item, shuffled, paired_by([item], [(0.0, None, None, 1.0)], selectivity=told)])
    for build in (layers_table, controls_table):
        table = build(source.frame, "log_g", source.paired)
        assert table.rows[0]["selectivity"] == "0.550 / -"
        assert "a control below 0 counts as 0" in " ".join(table.notes)
    answer = certainty_answer(field_of(source.frame, "log_g"), source.paired)
    assert "R2 minus that of controls (0 where it is below): shuffled labels 0.550." in answer.sentences


def test_several_seeds_together_are_named_without_one():
    records = [record(0.5 + 0.01 * k, seed=k) for k in range(3)] + [record(0.4, layer="enc_last")]
    names = names_without_seed(frame_of(records, fresh))
    assert len({names[r.run_id] for r in records[:3]}) == 1
    assert not [name for name in names.values() if "seed" in name]


@pytest.mark.parametrize(("seen", "told"), [("same", "0.549 / -"), ("another", "")])
def test_selectivity_falls_when_its_control_was_fitted_anew(three, seen, told):
    records, _ = three
    shuffled = replace(record(0.0, control="shuffled_labels"), files={"predictions": "same"})
    control = {"run": shuffled.run_id, "predictions": seen, "difference": 0.549}
    items = [{"run": records[0].run_id, "shuffled_labels": control}]
    compared = paired_by(records, [(0.005, -0.002, 0.012, 0.4)] * 3, selectivity=items)
    every = [*records, shuffled]
    table = layers_table(frame_of(every, fresh), "log_g", comparisons_of([*every, compared]))
    assert table.rows[0]["selectivity"] == told


def test_red_flags_stand_above_every_table_of_their_label():
    flagged = record(
        {"log_g": 0.2, "T_eff": 0.0}, control="shuffled_labels", flags=("control scores above zero (log_g)",)
    )
    forced = record(0.9, layer="enc_last", flags=("LEAK FORCED: 10 stars stand in both train and test",))
    documents = documents_of([record({"log_g": 0.5, "T_eff": 0.9}), flagged, forced])
    for name in ("layers_log_g.md", "heads_log_g.md", "controls_log_g.md", "labels.md"):
        assert "RED FLAG, log_g: shuffled labels score above 0" in documents[name]
        assert "RED FLAG, log_g: fitted although stars stand in two splits" in documents[name]
    assert "RED FLAG" not in documents["controls_T_eff.md"]
    assert red_flags(frame_of([record(0.5)], fresh), "log_g") == ()


def test_stored_comparisons_reach_the_tables(three, tmp_path):
    from reports.generate import make_tables

    records, compared = three
    write(tmp_path, [*records, compared])
    files = {
        path.name: path.read_text()
        for path in make_tables(tmp_path, None, out=tmp_path / "out", formats=["md"]).paths
    }
    assert "Records of other kinds" not in files["labels.md"]
    # these fakes have no predictions beside them, so nothing can be said of pairs
    assert "behind the best" not in files["controls_log_g.md"]


@pytest.mark.parametrize(("p", "text"), [(1e-9, "p below 0.001"), (0.0321, "p = 0.032"), (1.0, "p = 1")])
def test_p_values_are_short(p, text):
    assert p_text(p) == text
