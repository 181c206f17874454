"""The first screen says what the records say, with their numbers, and names what would measure the rest."""

import pytest
from page_fakes import audit_record, ceiling_record, ceiling_row
from reports_fakes import demo_records, finetuned, key_of, record, source_of, written
from reports_other_fakes import paired_by

from cache.records import Record
from reports.page_answers import best_answer, certainty_answer, field_of
from reports.page_audit import shortcut_answer
from reports.page_ceiling import ceiling_alarms, ceiling_answer
from reports.source import Source


def with_val(item: Record, val_r2: float) -> Record:
    item.result["scores"]["val"]["log_g"]["r2"] = val_r2
    return item


def field(source: Source, label: str = "log_g"):
    return field_of(source.frame, label)


def compared(one: Record, other: Record, *, difference: float, p: float) -> Record:
    """A comparison record of two probes."""
    return paired_by([one, other], [(difference, difference - 0.01, difference + 0.01, p)])


def test_the_best_is_chosen_on_val_and_scored_on_test():
    lucky = with_val(record(0.7, pooling="mean_max"), 0.5)
    steady = with_val(record(0.6, pooling="seg_mean_K8"), 0.65)
    answer = best_answer(field(source_of([lucky, steady])))
    assert answer.value == "enc_pre_latent / seg_mean_K8 / forward / ridge"
    assert answer.sentences[0] == "Test R2 0.600 [0.570, 0.630], RMSE 0.632 dex, MAE 0.506 dex."
    assert answer.sentences[1] == "Chosen by val R2 (0.650) among 2 latent rows."
    assert answer.runs == (steady.run_id,)


def test_the_best_configuration_counts_those_that_test_cannot_tell_from_it():
    source = source_of([record(0.6), record(0.58, pooling="mean_max"), record(0.2, pooling="global_mean")])
    told = best_answer(field(source), source.paired).sentences
    assert told[-1] == "On test it is not told apart from 1 of the others."
    clear = source_of([record(0.6), record(0.2, pooling="global_mean")])
    assert not any("told apart" in text for text in best_answer(field(clear), clear.paired).sentences)


def test_without_val_scores_test_chooses_and_it_is_said():
    items = [record(0.7, pooling="mean_max"), record(0.6)]
    for item in items:
        del item.result["scores"]["val"]
    answer = best_answer(field(source_of(items)))
    assert "mean_max" in answer.value
    assert answer.sentences[1].startswith("Chosen by test R2, having no val score,")


def test_inputs_and_controls_are_never_the_best_configuration():
    source = source_of(demo_records())
    best = field(source).best
    assert (best["role"], best["layer"], best["head"]) == ("latent", "enc_pre_latent", "mlp_1")


def test_without_a_score_everything_is_unmeasured():
    source = source_of([record(failed="no luck")])
    answers = [
        best_answer(field(source)),
        certainty_answer(field(source), source.paired),
        shortcut_answer(source, field(source)),
        ceiling_answer(source, field(source)),
    ]
    assert {(answer.value, answer.tone) for answer in answers} == {("not measured", "missing")}
    assert "python -m probes run --labels log_g" in answers[0].sentences[0]


def test_certainty_by_intervals_alone():
    source = source_of([record(0.6), record(0.58, pooling="mean_max"), record(0.2, pooling="global_mean")])
    answer = certainty_answer(field(source), source.paired)
    assert answer.value == "R2 0.570 to 0.630"
    assert answer.tone == "unclear"
    assert answer.sentences[0] == "95 % interval of test R2: 500 stars, mock data, noise level 1."
    assert answer.sentences[1].startswith(
        "Not on record: raw noisy flux, error only, random encoder, shuffled"
    )
    assert answer.sentences[2] == (
        "Better than 1 of the 2 other latent rows beyond chance, partly by intervals alone."
    )
    assert answer.sentences[3].startswith(
        "Cannot be told from enc_pre_latent / mean_max / forward / ridge (R2 0.580)"
    )


@pytest.mark.parametrize(
    ("p", "tone", "words"), [(0.001, "good", "Better than 1"), (0.4, "unclear", "p = 0.4")]
)
def test_certainty_by_pairs(p, tone, words):
    best, other = written(record(0.6)), written(record(0.58, pooling="mean_max"))
    pair = [best, other, compared(best, other, difference=0.02, p=p)]
    controls = [
        record(0.1, layer="input_flux"),
        record(0.1, layer="input_error"),
        record(0.0, control="random_encoder"),
        record(0.0, control="shuffled_labels"),
    ]
    source = source_of([*pair, *controls])
    answer = certainty_answer(field(source), source.paired)
    assert answer.tone == tone
    assert words in " ".join(answer.sentences)
    for absent in range(len(controls)):
        source = source_of([*pair, *controls[:absent], *controls[absent + 1 :]])
        assert certainty_answer(field(source), source.paired).tone == "unclear"


def test_a_choice_that_test_contradicts_is_told():
    best = written(with_val(record(0.5), 0.7))
    other = written(with_val(record(0.6, pooling="mean_max"), 0.6))
    source = source_of([best, other, compared(best, other, difference=-0.1, p=0.001)])
    told = certainty_answer(field(source), source.paired).sentences
    assert any(text.startswith("On test it is behind enc_pre_latent / mean_max") for text in told)


def test_a_score_without_interval_is_not_sure():
    source = source_of([record(0.6, half_width=None)])
    answer = certainty_answer(field(source), source.paired)
    assert (answer.value, answer.tone, answer.bar) == ("no interval", "unclear", None)


def test_red_flags_are_bad_and_a_lone_row_is_not_sure():
    source = source_of([record(0.6)])
    assert certainty_answer(field(source), source.paired).tone == "unclear"
    answer = certainty_answer(field(source), source.paired, alarms=("RED FLAG",))
    assert answer.tone == "bad"
    assert answer.sentences[0] == "Red flags stand above: trust no score of this label."
    assert best_answer(field(source)).sentences[1] == "It is the only latent row with a score."


def test_stale_stores_of_the_best_are_bad():
    source = source_of([record(0.6)], state=lambda key, _: "missing" if key == key_of("val") else "fresh")
    answer = certainty_answer(field(source), source.paired)
    assert answer.tone == "bad"
    assert "Its feature stores are stale: 1 of 3 missing." in answer.sentences


def test_the_plain_test_set_is_answered_for():
    levels = [
        record(0.9, noise_levels={"train": level, "val": level, "test": level}, pooling=pooling)
        for level in (0.0, 1.0, 2.0)
        for pooling in ("mean_max", "global_mean")
    ]
    found = field(source_of(levels))
    assert {row["noise_level_test"] for row in found.rows} == {1.0}
    assert len(found.others) == 2


def test_real_data_come_before_mock():
    found = field(source_of([record(0.9), record(0.4, data_kind="real", pooling="mean_max")]))
    assert {row["data_kind"] for row in found.rows} == {"real"}


def test_latents_fed_another_error_do_not_answer_the_plain_question():
    found = field(source_of([record(0.5), record(0.9, error_input="zero")]))
    assert [row["error_input"] for row in found.latents] == ["true"]


def test_no_audit_names_the_command_and_what_is_known():
    answer = shortcut_answer(source := source_of(demo_records()), field(source))
    assert answer.value == "not measured"
    assert answer.sentences == (
        "Run make audit LABEL=log_g.",
        "The error alone gives R2 0.980 [0.950, 1.010], more than the latents: it cannot be excluded.",
    )


def test_no_audit_and_no_error_probe():
    answer = shortcut_answer(source := source_of([record()]), field(source))
    assert answer.sentences[1] == "Nothing was fitted to the error alone."


@pytest.mark.parametrize(("verdict", "tone"), [("yes", "bad"), ("no", "good"), ("unclear", "unclear")])
def test_the_audit_is_told_with_its_numbers(verdict, tone):
    source = source_of([record(), audit_record(verdict)])
    answer = shortcut_answer(source, field(source))
    assert (answer.value, answer.tone) == (verdict, tone)
    assert answer.sentences == (
        "12 % [8, 16] of it survives.",
        "The error alone gives R2 0.900 [0.880, 0.920].",
    )


def test_the_audit_nearest_to_the_best_is_told():
    audits = [audit_record(head="ols"), audit_record("no"), audit_record(layer="enc_last")]
    source = source_of([record(), *audits])
    assert shortcut_answer(source, field(source)).runs == (audits[1].run_id,)
    source = source_of([record(), audits[2]])
    told = shortcut_answer(source, field(source)).sentences
    assert "Audited: enc_last / seg_mean_K8 / forward / ridge, not the best configuration." in told


def test_an_audit_of_another_label_says_nothing():
    source = source_of([record(), audit_record(label="T_eff")])
    assert shortcut_answer(source, field(source)).value == "not measured"


def test_an_outdated_audit_says_so():
    probe = written(record())
    audit = audit_record(predictions={probe.run_id: "other"})
    source = source_of([probe, audit], state=lambda key, _: "missing" if key == "5a" * 32 else "fresh")
    told = " ".join(shortcut_answer(source, field(source)).sentences)
    assert (
        "Rests on stale stores or records: 1 of 1 missing, 1 of 1 records it compares are gone or were fitted anew."
        in told
    )


def test_no_ceiling_names_the_command():
    answer = ceiling_answer(source := source_of([record()]), field(source))
    assert answer.value == "not measured"
    assert "make ceiling" in answer.sentences[0]


def test_the_share_of_the_ceiling_that_the_best_reaches():
    best = record(0.4)
    source = source_of([best, ceiling_record([ceiling_row(best.run_id, 0.4)])])
    answer = ceiling_answer(source, field(source))
    assert answer.value == "50 % [46, 54] reached"
    assert answer.sentences == (
        "The ceiling, what noisy flux allows at best (prior-aware mean): R2 0.800 [0.780, 0.820].",
        "It reaches R2 0.400 [0.370, 0.430], gap 0.400 [0.370, 0.430].",
    )


def test_where_the_best_sees_the_error_another_row_stands_in():
    best, blind = record(0.6), record(0.4, error_input="zero")
    rows = [
        ceiling_row(best.run_id, 0.6, why="sees the error: ceiling not applicable"),
        ceiling_row(blind.run_id, 0.4),
    ]
    source = source_of([best, blind, ceiling_record(rows)])
    answer = ceiling_answer(source, field(source))
    assert answer.value == "50 % [46, 54] reached (by another row)"
    assert answer.sentences[1:] == (
        "The best configuration has no share: it sees the error.",
        (
            "enc_pre_latent / seg_mean_K8 / forward / ridge, error input zero reaches R2 0.400 [0.370, 0.430], "
            "gap 0.400 [0.370, 0.430]."
        ),
    )


def test_a_fine_tuned_encoder_stands_in_for_no_frozen_one():
    best, blind = record(0.6), record(0.4, error_input="zero")
    tuned = finetuned(0.7, frozen=False, error_input="zero")
    rows = [
        ceiling_row(best.run_id, 0.6, why="sees the error: ceiling not applicable"),
        ceiling_row(blind.run_id, 0.4),
        ceiling_row(tuned.run_id, 0.7),
    ]
    source = source_of([best, blind, tuned, ceiling_record(rows)])
    assert blind.run_id in ceiling_answer(source, field(source)).runs
    source = source_of([best, tuned, ceiling_record(rows[::2])])
    told = " ".join(ceiling_answer(source, field(source)).sentences)
    assert "mlp_1, end to end, encoder fine-tuned, error input zero reaches" in told


def test_of_two_audits_as_near_the_more_cautious_answers():
    best = record(0.6)
    audits = [audit_record(shortcut, folds=5 + k) for k, shortcut in enumerate(("no", "yes", "no"))]
    source = source_of([best, *audits])
    assert shortcut_answer(source, field(source)).value == "yes"


def test_a_fine_tuned_encoder_is_never_the_best_configuration_of_a_frozen_one():
    frozen, tuned = finetuned(0.5), finetuned(0.9, frozen=False)
    assert field(source_of([frozen, tuned])).best["run_id"] == frozen.run_id
    assert field(source_of([tuned])).best["run_id"] == tuned.run_id


def test_a_ceiling_without_applicable_rows_still_gives_its_number():
    best = record(0.6)
    rows = [ceiling_row(best.run_id, 0.6, why="sees the error: ceiling not applicable")]
    source = source_of([best, ceiling_record(rows)])
    answer = ceiling_answer(source, field(source))
    assert answer.value == "R2 0.800 [0.780, 0.820]"
    assert answer.sentences[-1] == (
        "No latent row that sees flux alone was compared with it: extract with --error-input from-noisy, fit, and "
        "run make ceiling."
    )


def test_raw_flux_never_stands_for_the_encoder():
    best, flux = record(0.6), record(0.4, layer="input_flux", pooling="none")
    rows = [
        ceiling_row(best.run_id, 0.6, why="sees the error: ceiling not applicable"),
        ceiling_row(flux.run_id, 0.4),
    ]
    source = source_of([best, flux, ceiling_record(rows)])
    answer = ceiling_answer(source, field(source))
    assert answer.value == "R2 0.800 [0.780, 0.820]"
    assert answer.sentences[2:] == (
        (
            "No latent row that sees flux alone was compared with it: extract with --error-input from-noisy, fit, and "
            "run make ceiling."
        ),
        (
            "input_flux / none / forward / ridge reaches R2 0.400 [0.370, 0.430], 50 % [46, 54] of it, "
            "gap 0.400 [0.370, 0.430]."
        ),
    )


def test_the_ceiling_of_the_same_test_set_is_told():
    best = record(0.4)
    same, other = (
        ceiling_record([ceiling_row(best.run_id, 0.4)], noise_level=1.0),
        ceiling_record([ceiling_row(best.run_id, 0.4)], noise_level=0.5, value=0.95),
    )
    source = source_of([best, other, same])
    assert ceiling_answer(source, field(source)).runs[0] == same.run_id
    source = source_of([best, other])
    told = ceiling_answer(source, field(source)).sentences
    assert "This ceiling is of another test set (noise level 0.5)." in told


def test_a_score_above_the_ceiling_is_a_red_flag():
    best = record(0.9)
    source = source_of([best, ceiling_record([ceiling_row(best.run_id, 0.9, above=True)])])
    assert ceiling_answer(source, field(source)).tone == "bad"
    assert list(ceiling_alarms(source, "log_g")) == [
        (
            "RED FLAG, log_g: enc_pre_latent / seg_mean_K8 / forward / ridge scores above the ceiling, beyond its "
            "interval; the ceiling is right to a few hundredths, so far above it means a leak."
        )
    ]
    assert list(ceiling_alarms(source, "T_eff")) == []


def test_an_audit_of_another_test_set_does_not_answer():
    inputs = {"test": ["aa" * 32]}
    best = record(data_kind="real", inputs=inputs, noise_mode="draw")
    mock = audit_record("no", noise_levels={"train": 1.0, "test": 0.5}, noise_mode="none")
    answer = shortcut_answer(source := source_of([best, mock]), field(source))
    assert (answer.value, answer.tone) == ("not measured on this test set", "missing")
    assert answer.sentences[:2] == (
        (
            "The nearest audit on record has mock data, not real, another test file, noise none, not draw, "
            "noise level 0.5, not 1."
        ),
        "Run make audit LABEL=log_g.",
    )
    far = audit_record("yes", head="ols", data_kind="real", inputs=inputs, noise_mode="draw")
    answer = shortcut_answer(source := source_of([best, mock, far]), field(source))
    assert (answer.value, answer.runs) == ("yes (audited: ols)", (far.run_id,))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, ""),
        ({"head": "ols"}, " (audited: ols)"),
        ({"layer": "enc_0"}, " (audited: enc_0)"),
        ({"noise_levels": {"train": 0.5, "test": 1.0}}, " (audited: trained at noise level 0.5)"),
        ({"family": "ff" * 32}, " (audited: another encoder or input)"),
        ({"params": {"alpha": 1e6}}, " (audited: other parameters)"),
        ({"head": "ols", "params": {}}, " (audited: ols)"),
        ({"inputs": {"train": ["77" * 32]}}, " (audited: other train stars)"),
    ],
)
def test_only_an_audit_of_the_best_configuration_acquits_it(changed, words):
    for verdict, own in (("no", "good"), ("yes", "bad")):
        source = source_of([record(), audit_record(verdict, **changed)])
        answer = shortcut_answer(source, field(source))
        assert answer.value == verdict + words
        assert answer.tone == ("unclear" if words and own == "good" else own)


def test_an_audit_trained_at_another_noise_level_says_so():
    audit = audit_record(noise_levels={"train": 0.5, "val": 0.5, "test": 1.0})
    told = shortcut_answer(source := source_of([record(), audit]), field(source)).sentences
    assert any(", trained at noise level 0.5, not the best configuration." in text for text in told)


def test_no_share_is_told_where_the_ceiling_is_not_clear_of_0():
    best = record(0.4)
    source = source_of([best, ceiling_record([ceiling_row(best.run_id, 0.4, clear=False)])])
    answer = ceiling_answer(source, field(source))
    assert answer.value == "R2 0.800 [0.780, 0.820]"
    assert answer.sentences[-1] == (
        "It reaches R2 0.400 [0.370, 0.430], gap 0.400 [0.370, 0.430], no share: the ceiling is not clear of 0."
    )
    flux = record(0.4, layer="input_flux", pooling="none")
    rows = [ceiling_row(flux.run_id, 0.4, clear=False)]
    told = ceiling_answer(source := source_of([best, flux, ceiling_record(rows)]), field(source)).sentences
    assert told[-1].endswith("no share: the ceiling is not clear of 0.")


def test_a_share_without_ends_is_told_alone():
    best = record(0.4)
    row = ceiling_row(best.run_id, 0.4) | {"share_interval": [None, None]}
    answer = ceiling_answer(source := source_of([best, ceiling_record([row])]), field(source))
    assert (answer.value, answer.bar) == ("50 % reached", None)


def test_the_val_score_that_chooses_below_a_ceiling_is_that_of_the_label():
    def of_both(val, **changed):
        item = record({"T_eff": 0.5, "log_g": 0.5}, error_input="zero", **changed)
        for label, score in val.items():
            item.result["scores"]["val"][label]["r2"] = score
        return item

    best = record(0.6)
    cool = of_both({"T_eff": 0.9, "log_g": 0.3})
    heavy = of_both({"T_eff": 0.2, "log_g": 0.5}, pooling="mean_max")
    unknown = of_both({"T_eff": 0.9, "log_g": None}, pooling="global_mean")
    rows = [ceiling_row(item.run_id, 0.4) for item in (unknown, cool, heavy)]
    answer = ceiling_answer(
        source := source_of([best, cool, heavy, unknown, ceiling_record(rows)]), field(source)
    )
    assert answer.runs[1] == heavy.run_id


def test_figures_are_of_the_test_set_that_the_page_answers_for():
    from reports.drawn import main_rows

    levels = [
        record(0.9, noise_levels=dict.fromkeys(("train", "val", "test"), level), pooling=pooling)
        for level, poolings in ((0.0, ("mean_max", "global_mean", "seg_mean_K8")), (1.0, ("mean_max",)))
        for pooling in poolings
    ]
    source = source_of(levels)
    drawn = main_rows(source.frame, "log_g")
    assert {row["noise_level_test"] for row in drawn} == {1.0}
    assert [row["run_id"] for row in drawn] == [row["run_id"] for row in field(source).rows]
