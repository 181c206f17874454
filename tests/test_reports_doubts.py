"""What makes a score doubtful is told wherever it is shown, and test chooses nothing."""

from dataclasses import replace

import pytest
from figures_fakes import importance as drawn_importance
from page_fakes import ceiling_record, ceiling_row
from reports_fakes import record, source_of
from reports_other_fakes import ceiling, comparison, importance, with_predictions

from reports.bins_tables import bins_tables
from reports.ceiling_tables import ceiling_tables
from reports.comparable import best_on_val
from reports.drawn import record_flags
from reports.figure_ceiling import ceilings
from reports.figure_importance import importances
from reports.gallery import tasks
from reports.importance_tables import importance_tables
from reports.overview_layout import chosen_of
from reports.page_answers import field_of
from reports.page_ceiling import ceiling_answer
from reports.planned import chosen_latent
from reports.published_check import published_table
from reports.rows import rows_of
from reports.style import styled
from reports.vocabulary import LATENT

LEAK = "LEAK FORCED: 10 stars stand in both train and test"
EMULATOR = "Fisher matrices of an emulator"


def flagged(item, *flags):
    return replace(item, result={**item.result, "flags": list(flags)})


def with_val(item, r2):
    scores = item.result["scores"]
    val = {label: {**found, "r2": r2} for label, found in scores["val"].items()}
    return replace(item, result={**item.result, "scores": {**scores, "val": val}})


def test_flags_of_an_importance_record_stand_in_its_tables_and_figure():
    words = "no skill: test R2 not above 0 (log_g)"
    probe = record(0.0)
    item, arrays = importance(probe)
    source = source_of(
        [probe, flagged(item, words, "no skill: test R2 not above 0 (T_eff)")], {item.run_id: arrays}
    )
    for table in importance_tables(source, "log_g"):
        assert any(words in note for note in table.notes)
    item, arrays = drawn_importance("log_g", probe)
    source = source_of([probe, flagged(item, words)], {item.run_id: arrays})
    with styled():
        (drawn,) = importances(source, "log_g")
    texts = " ".join(text.get_text() for text in drawn.figure.texts).replace("\n", " ")
    assert "no skill" in texts


def test_flags_of_a_record_are_told_of_the_label_that_they_concern():
    item, _ = importance(record({"log_g": 0.5, "T_eff": 0.9}))
    item = replace(item, spec={**item.spec, "labels": ["log_g", "T_eff"]})
    both = flagged(item, "no skill (log_g)", "no skill (T_eff)")
    assert record_flags(both, "log_g") == "Flags: no skill (log_g)."
    assert record_flags(flagged(item), "log_g") == ""


def test_flags_of_a_ceiling_stand_in_its_tables_and_on_the_page():
    probe = record(0.5)
    item = flagged(ceiling(probe), EMULATOR)
    source = source_of([probe, item])
    assert ceiling_tables(source, "log_g")
    for table in ceiling_tables(source, "log_g"):
        assert any(EMULATOR in note for note in table.notes)
    item = flagged(ceiling_record([ceiling_row(probe.run_id, 0.5)]), EMULATOR)
    source = source_of([probe, item])
    assert f"Flags: {EMULATOR}." in ceiling_answer(source, field_of(source.frame, "log_g")).sentences


def test_a_red_flag_stands_by_every_figure_of_scores():
    source = source_of([record(0.9, flags=(LEAK,)), record(0.8, layer="enc_last", flags=(LEAK,))])
    of_scores = [task for task in tasks(source) if task.label is not None or task.stem == "depth"]
    assert {"depth", "heatmap_log_g"} <= {task.stem for task in of_scores}
    assert all(any("RED FLAG" in flag for flag in task.flags) for task in of_scores)


def test_a_val_score_without_noise_chooses_no_row_for_the_ceiling():
    quiet = {"train": 0.0, "val": 0.0, "test": 1.0}
    plain = with_val(record(0.52, family="c0" * 32, error_input="from-noisy:ab"), 0.52)
    crossed = with_val(
        record(
            0.10, family="c0" * 32, error_input="from-noisy:ab", cross=["noise-level"], noise_levels=quiet
        ),
        0.95,
    )
    rows = [ceiling_row(plain.run_id, 0.52), ceiling_row(crossed.run_id, 0.10)]
    item = ceiling_record(rows)
    triple = [[0.6, 0.5, 0.7]] * 2
    bins = {"snr": {
        "edges": [4, 6, 8], "n": [250, 250], "ceiling": triple, "unbiased_median": [0.7, 0.7],
        "share": {plain.run_id: triple, crossed.run_id: triple},
    }}  # fmt: skip
    item = replace(item, result={**item.result, "bins": bins})
    source = source_of([record(0.53), plain, crossed, item])
    answer = ceiling_answer(source, field_of(source.frame, "log_g"))
    assert answer.runs[-1] == plain.run_id
    with styled():
        (drawn,) = ceilings(source, "log_g")
    assert "reaches 65" in drawn.title


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (
            {"draws": {"train": list(range(8)), "val": [0], "test": [0]}},
            "8 noise draws of train, published one",
        ),
        ({"labels": True}, "fitted with log_g T_eff, published alone"),
        ({"allow_leak": True, "flags": (LEAK,)}, "a forced leak"),
    ],
)
def test_another_fit_is_not_compared_with_a_published_value(changed, why):
    scores = {"log_g": 0.55, "T_eff": 0.9} if changed.pop("labels", False) else 0.55
    item = record(scores, data_kind="real", noise_mode="draw", **changed)
    source = source_of([item])
    assert source.frame["published_test_r2"].isna().all()
    table = published_table(source, "log_g")
    assert all(why in row["why"] for row in table.rows if row["run"])
    alike = source_of([record(0.55, data_kind="real", noise_mode="draw")])
    assert alike.frame["published_test_r2"].notna().all()


def test_of_equal_val_scores_test_chooses_none():
    names = set()
    for high in (0, 1):
        pair = [
            with_val(record(0.6 if high == k else 0.5, layer=layer), 0.55)
            for k, layer in enumerate(("enc_last", "enc_pre_latent"))
        ]
        for order in (pair, pair[::-1]):
            source = source_of(order)
            rows = rows_of(source.frame)
            chosen = (
                chosen_latent(rows),
                best_on_val(rows),
                chosen_of(rows, LATENT),
                field_of(source.frame, "log_g").best,
            )
            names |= {row["layer"] for row in chosen}
    assert len(names) == 1


@pytest.mark.parametrize(("n", "told"), [(250, False), (29, True)])
def test_bins_of_few_stars_say_so(n, told):
    made = comparison(*with_predictions(record(0.5), record(0.4, layer="enc_last")))
    bins = {"snr": {**made.result["bins"]["snr"], "n": [n, 250]}}
    made = replace(made, result={**made.result, "bins": bins})
    records = with_predictions(record(0.5), record(0.4, layer="enc_last"))
    (table,) = bins_tables(source_of([*records, made]), "log_g")
    assert any("1 bins hold fewer than 30 stars" in note for note in table.notes) == told
