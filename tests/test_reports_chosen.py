"""What is said of rows that val or test chose: of a kind only what holds for all its rows, of test's choice less."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reports_fakes import RANDOM_FAMILY, fresh, record, source_of
from reports_other_fakes import paired_by, with_predictions

from probes import statistics as pairs
from reports.audits import not_run
from reports.comparable import best_on_val, ranked_sets
from reports.comparisons import NOT_COMPARED, comparisons_of
from reports.contest import beats_clearly
from reports.figure_overview import draw_overview
from reports.overview_layout import title_of
from reports.page_answers import certainty_answer, field_of
from reports.page_audit import shortcut_answer
from reports.planned import CONTRASTS, Family, among_latents, family_of, headline_of
from reports.rows import frame_of
from reports.tables import controls_table, layers_table

ERROR = {"layer": "input_error", "pooling": "none"}
FLUX = {"layer": "input_flux", "pooling": "none"}


def with_val(item, r2):
    """The record with that val R2; None for a record made without val."""
    if r2 is None:
        del item.result["scores"]["val"]
    else:
        item.result["scores"]["val"]["log_g"]["r2"] = r2
    return item


def first_set(records):
    return ranked_sets(frame_of(records, fresh))[0]


def all_pairs(records, holds):
    """A comparison by test R2, in which a pair is beyond chance where `holds` says so."""
    r2 = [item.result["scores"]["test"]["log_g"]["r2"] for item in records]
    numbers = []
    for k, (i, j) in enumerate(zip(*np.triu_indices(len(records), 1), strict=True)):
        by = r2[i] - r2[j]
        wide = 0.5 * abs(by) if holds[k] else 2 * abs(by) + 0.01
        numbers.append((by, by - wide, by + wide, 0.0004 if holds[k] else 0.4))
    return paired_by(records, numbers)


def said(source):
    table = controls_table(source.frame, "log_g", source.paired)
    title = title_of("log_g", ranked_sets(source.frame)[0], source.paired)
    return (
        " ".join(table.lead),
        title,
        " ".join(shortcut_answer(source, field_of(source.frame, "log_g")).sentences),
    )


def test_a_kind_is_not_beaten_while_another_row_of_it_is_ahead():
    latent, chosen, other = with_predictions(
        with_val(record(0.631), 0.6),
        with_val(record(0.560, **ERROR), 0.62),
        with_val(record(0.691, head="mlp_1", **ERROR), 0.61),
    )
    source = source_of([latent, chosen, other, all_pairs([latent, chosen, other], [True] * 3)])
    lead, title, card = said(source)
    assert "beats error only" not in lead
    assert (
        "Another row beats the only latent row: error only (input_error / none / forward / mlp_1), R2 0.691"
        in lead
    )
    assert (
        "is above the row of error only best on val, error only (input_error / none / forward / ridge)"
        in lead
    )
    assert "So what the latents know of log_g may have come through the error channel" in lead
    assert title == "log_g: error only (mlp_1) beats every latent row"
    assert "gives R2 0.691 [0.661, 0.721] by mlp_1, more than the latents: it cannot be excluded." in card


@settings(deadline=None, max_examples=25)
@given(
    st.lists(
        st.tuples(st.integers(1, 99), st.integers(1, 9)), min_size=1, max_size=4, unique_by=lambda p: p[0]
    ),
    st.integers(0, 99),
    st.data(),
)
def test_beats_is_said_of_a_kind_only_if_none_of_it_beats_the_latent_row(scores, latent_r2, data):
    records = with_predictions(
        with_val(record(latent_r2 / 100 + 0.005), 0.5),
        *(
            with_val(record(r2 / 100, params={"alpha": float(k + 1)}, **ERROR), val / 10)
            for k, (r2, val) in enumerate(scores)
        ),
    )
    n_pairs = len(records) * (len(records) - 1) // 2
    holds = data.draw(st.lists(st.booleans(), min_size=n_pairs, max_size=n_pairs))
    source = source_of([*records, all_pairs(records, holds)])
    rows = first_set(records)
    (latent,) = (row for row in rows if row["role"] == "latent")
    errors = [row for row in rows if row["role"] == "error only"]
    ahead = [row for row in errors if beats_clearly(row, latent, source.paired)]
    lead, title, card = said(source)
    if ahead:
        assert "beats error only" not in lead
        assert "beats the row of error only" not in lead
        assert "error only" in title.partition(" beats ")[0]
        assert card.endswith("it cannot be excluded.")
        assert "So what the latents know of log_g" in lead
    else:
        assert "Another row beats" not in lead
        assert "it cannot be excluded" not in card
    if len(errors) > 1:
        assert "latent row, enc_pre_latent / seg_mean_K8 / forward / ridge, beats error only" not in lead
        assert "beats error only" not in title


def test_what_stands_for_several_rows_is_named():
    records = [record(0.6), record(0.3, **ERROR), record(0.2, head="ols", **ERROR), record(0.1, **FLUX)]
    lead, title, card = said(source_of(records))
    assert "beats raw noisy flux and the row of error only best on val; the closest is error only" in lead
    assert title == "log_g: the latent row best on val beats those of raw noisy flux and error only"
    assert "(ridge, best on val of 2 rows); that does not show what the latents use" in card


def without_val(*, random_encoder=False):
    controls = [record(0.58, **FLUX), record(0.2, head="ols", **FLUX)]
    if random_encoder:
        controls = [
            record(r2, head=head, control="random_encoder", family=RANDOM_FAMILY)
            for r2, head in ((0.1, "ols"), (0.2, "ridge"))
        ]
    return with_predictions(
        *(with_val(item, None) for item in (record(0.6), record(0.5, layer="enc_0"), *controls))
    )


def test_a_row_that_test_chose_is_judged_over_all_pairs():
    """The contrast holds for itself (p = 0.02) and not after Holm over all pairs."""
    records = without_val()
    numbers = [(0.02, 0.01, 0.03, 0.12)] * 6
    source = source_of([*records, paired_by(records, numbers, p=[0.02] * 6)])
    found = headline_of(first_set(records), source.paired)
    assert found.family is source.paired
    lead, title, _ = said(source)
    assert "The latent row best on test for lack of val scores (of 2)" in lead
    assert "p = 0.12 after Holm over 6 pairs" in lead
    assert "planned" not in lead
    assert title == "log_g: raw noisy flux is not told apart from the latent row best on test"
    caption = draw_overview(source.frame, "log_g", source.paired).caption
    assert "row of that kind best on test, shaded" in caption
    planned = source_of([*kept_val(records), paired_by(records, numbers, p=[0.02] * 6)])
    assert "p = 0.02 after Holm over 1 planned contrast" in said(planned)[0]


def kept_val(records):
    """The same records as if val had been scored."""
    for item in records:
        item.result["scores"]["val"] = {"log_g": dict(item.result["scores"]["test"]["log_g"])}
    return records


def test_one_row_of_each_kind_is_no_choice():
    records = with_predictions(*(with_val(item, None) for item in (record(0.6), record(0.58, **FLUX))))
    found = headline_of(first_set(records), comparisons_of([*records, all_pairs(records, [True])]))
    assert isinstance(found.family, Family)
    assert "1 planned contrast" in found.family.between(found.latent, found.controls["raw noisy flux"]).others


def test_the_random_encoder_that_test_chose_is_named_so():
    lead, _, _ = said(source_of(without_val(random_encoder=True)))
    assert "the row of an untrained encoder best on test, random encoder" in lead
    assert "best on val" not in lead


def test_the_column_of_latent_rows_says_what_chose():
    records = with_predictions(
        *(with_val(item, None) for item in (record(0.9, **FLUX), record(0.5), record(0.45, layer="enc_0")))
    )
    compared = paired_by(records, [(0.4, 0.3, 0.5, 0.12)] * 3, p=[0.04] * 3)
    table = controls_table(source_of(records).frame, "log_g", comparisons_of([*records, compared]))
    (column,) = (c for c in table.columns if c.key == "behind_latent")
    assert column.heading == "behind the latent row best on test, paired (95 % interval)"
    (cell,) = (row["behind_latent"] for row in table.rows if row["behind_latent"])
    assert cell.endswith("p = 0.12")
    notes = " ".join(table.notes)
    assert "Behind the latent row best on test: no latent row has a val score" in notes
    assert "Behind the latent row of val" not in notes
    field = field_of(frame_of(records, fresh), "log_g")
    told = " ".join(certainty_answer(field, comparisons_of([*records, compared])).sentences)
    assert "p = 0.12 after Holm" in told
    kept_val(records)
    (column,) = (
        c
        for c in controls_table(
            frame_of(records, fresh), "log_g", comparisons_of([*records, compared])
        ).columns
        if c.key == "behind_latent"
    )
    assert column.heading == "behind the latent row of val, paired (95 % interval)"


def test_what_test_chose_errs_seldom_where_nothing_differs():
    """200 sets of 12 latent rows, as good as flux and error: false in 5 % at most, and 2.5 standard errors.

    As planned contrasts the same rows would be told apart in more than twice as many.
    """
    latents = [record(0.5, layer=f"enc_{k}") for k in range(12)]
    records = with_predictions(
        *(with_val(item, None) for item in (*latents, record(0.5, **FLUX), record(0.5, **ERROR)))
    )
    rows, n_sets, wrong = first_set(records), 200, {"all pairs": 0, "planned": 0}
    for seed in range(n_sets):
        rng = np.random.default_rng([seed, 9])
        squared = (0.8 * rng.standard_normal((60, 1)) + 0.6 * rng.standard_normal((60, len(records)))) ** 2
        p = pairs.flip_values(squared, n_flips=999)
        one, other = np.triu_indices(len(records), 1)
        by = squared.mean(axis=0)[other] - squared.mean(axis=0)[one]
        numbers = [
            (d, min(d / 2, 2 * d), max(d / 2, 2 * d), q) for d, q in zip(by, pairs.holm(p), strict=True)
        ]
        paired = comparisons_of([*records, paired_by(records, numbers, p=p.tolist())])
        score = {item.run_id: 1 - mean for item, mean in zip(records, squared.mean(axis=0), strict=True)}
        drawn = [row | {"test_r2": float(score[row["run_id"]])} for row in rows]
        found = headline_of(drawn, paired)
        family = family_of(found.latent, tuple(found.controls.values()), paired, of=CONTRASTS)
        for name, judge in (("all pairs", found.family), ("planned", family)):
            wrong[name] += any(
                beats_clearly(found.latent, row, judge) or beats_clearly(row, found.latent, judge)
                for row in found.controls.values()
            )
    assert wrong["all pairs"] / n_sets <= 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / n_sets)
    assert wrong["planned"] / n_sets > 0.1


@pytest.mark.parametrize("val", [0.5, None])
def test_latents_beside_the_chosen_one_are_judged_likewise(val):
    records = with_predictions(*(with_val(record(0.5 - k / 10, layer=f"enc_{k}"), val) for k in range(3)))
    rows = first_set(records)
    paired = comparisons_of([*records, all_pairs(records, [True] * 3)])
    assert (among_latents(rows[0], rows[1:], paired) is paired) == (val is None)


@settings(deadline=None, max_examples=15)
@given(st.lists(st.integers(1, 98), min_size=2, max_size=5, unique=True), st.booleans())
def test_clean_flux_changes_nothing_of_the_other_rows(scores, in_pairs):
    others = with_predictions(*(record(r2 / 100, layer=f"enc_{k}") for k, r2 in enumerate(scores)))
    clean = with_predictions(record(0.99, layer="clean_flux", pooling="none"))
    tables = []
    for records in (others, [*others, *clean]):
        compared = [all_pairs(records, [True] * (len(records) * (len(records) - 1) // 2))] if in_pairs else []
        made = controls_table(frame_of(records, fresh), "log_g", comparisons_of([*records, *compared]))
        bold = {made.rows[index]["run_id"] for index, _ in made.emphasis}
        cells = {row["run_id"]: (row["behind"], row["behind_latent"]) for row in made.rows}
        tables.append((made.lead, bold, cells, made.notes))
    (lead, bold, cells, notes), (lead_with, bold_with, cells_with, notes_with) = tables
    assert (lead_with, bold_with) == (lead, bold)
    assert cells_with == cells | {clean[0].run_id: (None, None)}
    assert "Clean flux is a reference without noise" in " ".join(notes_with)
    assert "Clean flux" not in " ".join(notes)


def test_what_was_not_run_is_told_of_the_test_set_that_the_page_answers_for():
    quiet = {"noise_levels": {"train": 0.5, "val": 0.5, "test": 0.5}}
    elsewhere = [
        record(0.3, **FLUX, **quiet),
        record(0.0, control="shuffled_labels", **quiet),
        record(0.4, **quiet),
    ]
    frame = frame_of([record(0.5), *elsewhere], fresh)
    (*_, last) = controls_table(frame, "log_g").lead
    absent, _ = not_run(field_of(frame, "log_g").rows, ())
    assert last.startswith(f"Not run on the first of 2 test sets: {', '.join(absent)}; without them")
    assert {"raw noisy flux", "shuffled labels"} <= set(absent)
    assert f"Not on record: {', '.join(absent)};" in " ".join(
        certainty_answer(field_of(frame, "log_g"), NOT_COMPARED).sentences
    )


levels = st.sampled_from([0.0, 0.5, 1.0, 1.5, 3.0])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(levels, st.integers(0, 5)), min_size=1, max_size=6), levels)
def test_val_scores_are_compared_at_one_noise_level(many, test):
    """The level of val nearest to that of test: a row scored on val with less noise does not win by that."""
    records = {}
    for k, (level, val) in enumerate(many):
        crossed = {"cross": [] if level == test else ["noise-level"]}
        item = record(0.1, seed=k, noise_levels={"train": level, "val": level, "test": test}, **crossed)
        records[item.run_id] = with_val(item, val / 10)
    rows = first_set(list(records.values()))
    found = best_on_val(rows)
    assert abs(found["noise_level_val"] - test) == min(abs(level - test) for level, _ in many)
    rivals = [row for row in rows if row["noise_level_val"] == found["noise_level_val"]]
    assert found["val_r2"] == max(row["val_r2"] for row in rivals)


def test_the_level_of_val_is_told_where_latents_have_several():
    crossed = {"cross": ["noise-level"]}
    records = [
        with_val(record(0.1, noise_levels={"train": level, "val": level, "test": 2.0}, **crossed), val)
        for level, val in ((0.0, 0.97), (1.0, 0.5))
    ]
    text = " ".join(
        controls_table(
            frame_of(
                [*records, record(0.0, **FLUX, noise_levels=dict.fromkeys(("train", "val", "test"), 2.0))],
                fresh,
            ),
            "log_g",
        ).lead
    )
    assert "The latent row best on val at noise level 1 (of 2)" in text


def test_bold_of_layers_names_all_that_a_difference_needs():
    records = with_predictions(record(0.6), record(0.5, layer="enc_0"))
    table = layers_table(
        frame_of(records, fresh), "log_g", comparisons_of([*records, all_pairs(records, [True])])
    )
    assert "(p <= 0.05 after Holm, 0 outside the interval, and 12 stars or more carry it)" in " ".join(
        table.notes
    )


@pytest.mark.parametrize("on", ["val", "test"])
def test_the_lines_of_an_overview_are_the_best_on_val_or_without_it_on_test(on):
    records = [
        with_val(record(0.01 * k, layer=f"enc_{k}"), 0.5 - 0.01 * k if on == "val" else None)
        for k in range(14)
    ]
    drawn = draw_overview(frame_of(records, fresh), "log_g")
    assert f"12 of 14 lines, those with the best {on} R²." in drawn.caption
    names = {text.get_text() for text in drawn.figure.axes[0].texts}
    assert ("enc_13" in names, "enc_0" in names) == (on == "test", on == "val")
