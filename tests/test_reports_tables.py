"""The flat tables: every row shown, told apart, marked only where it may be, and honest about its origin."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reports_fakes import RANDOM_FAMILY, demo_records, finetuned, fresh, record

from cache.records import run_id
from reports.comparable import comparable_rows
from reports.contest import contest
from reports.footnotes import MOCK_NOTE, NOT_PUBLISHED_NOTE, PUBLISHED_NOTE, extract_command
from reports.pivots import labels_table
from reports.rows import frame_of, rows_of
from reports.table import Estimate
from reports.tables import controls_table, layers_table
from reports.verdict import verdicts


def said_of(rows):
    return verdicts(comparable_rows(rows))


def frame(*records, state=fresh):
    return frame_of(records, state)


def headings(table):
    return [column.title for column in table.columns]


def shown_keys(table):
    """What a reader sees of each row before its scores."""
    keys = list(itertools.takewhile(lambda c: c.key != "d", table.columns))
    return [tuple(row[c.key] for c in keys) for row in table.rows]


def bold_rows(table):
    return [table.rows[index] for index, key in table.emphasis if key == "test_r2"]


def test_headings_carry_units_and_splits():
    table = layers_table(frame(record({"log_g": 0.5, "T_eff": 0.9})), "T_eff")
    assert {
        "test MAE [K]",
        "test RMSE [K]",
        "val R2",
        "train R2",
        "test R2 (95 % interval)",
        "n train/val/test",
    } <= set(headings(table))
    table = layers_table(frame(record()), "log_g")
    assert {"test MAE [dex]", "test RMSE [dex]"} <= set(headings(table))
    assert table.rows[0]["n"] == "2000/500/500"


def test_rows_beyond_stars_are_counted():
    table = layers_table(frame(record(n_rows_train=6000)), "log_g")
    assert table.rows[0]["n"] == "2000/500/500 (rows 6000/500/500)"


def test_layers_and_controls_together_hold_every_row_once():
    everything = frame(*demo_records(), record(failed="broken"))
    of_label = everything[everything["label"] == "log_g"]
    controls = controls_table(everything, "log_g")
    assert sorted(row["run_id"] for row in controls.rows) == sorted(of_label["run_id"])
    layers = layers_table(everything, "log_g")
    assert {row["run_id"] for row in layers.rows} == set(of_label.loc[of_label["role"] == "latent", "run_id"])
    assert "5 further rows (inputs and controls) stand in the controls table." in layers.notes
    assert len(layers.tidy) == len(layers.rows)


changes = st.fixed_dictionaries(
    {},
    optional={
        "seed": st.sampled_from([0, 1, None]),
        "train_size": st.sampled_from([None, 100, 1000]),
        "data_kind": st.sampled_from(["mock", "real"]),
        "family": st.sampled_from([RANDOM_FAMILY, "ab" * 32]),
        "noise_levels": st.sampled_from([{"train": 1.0, "val": 1.0, "test": t} for t in (0.0, 0.5)]),
        "draws": st.sampled_from([{"train": [0, 1], "val": [0], "test": [0]}]),
        "error_input": st.sampled_from(["zero", "shuffled"]),
        "params": st.sampled_from([{"alpha": 10.0}, {"alpha": "val"}, {}]),
        "selection": st.just("val_r2"),
        "probe_version": st.just(2),
        "cross": st.just(["noise-level"]),
        "group": st.sampled_from(["a", "b"]),
        "stores": st.just({}),
    },
)


@settings(deadline=None, max_examples=20)
@given(st.lists(changes, min_size=1, max_size=6))
def test_no_two_rows_look_alike_and_none_is_lost(many):
    records = {r.run_id: r for r in (record(0.5, **changed) for changed in many)}
    table = layers_table(frame(*records.values()), "log_g")
    assert sorted(row["run_id"] for row in table.rows) == sorted(records)
    keys = shown_keys(table)
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("changed", "heading", "texts"),
    [
        ({"seed": 1}, "seed", ["0", "1"]),
        ({"train_size": 100}, "train size", ["100", "all"]),
        ({"data_kind": "real"}, "data", ["mock", "real"]),
        (
            {"noise_levels": {"train": 1.0, "val": 1.0, "test": 0.1}},
            "noise level",
            ["train 1, val 1, test 0.1", "1"],
        ),
        ({"family": "ab" * 32}, "encoder", ["weights 77777777", "weights 3e3e3e3e"]),
        ({"params": {"alpha": 10.0}}, "settings", ["alpha=0.001", "alpha=10.0"]),
        ({"error_input": "zero"}, "error input", ["true", "zero"]),
        ({"precision": "bf16"}, "precision", ["bf16", "fp32"]),
        ({"cross": ["noise-level"]}, "crossing", ["", "noise-level"]),
        ({"labels": ["log_g", "M_H"]}, "fitted", ["alone", "jointly (log_g M_H)"]),
    ],
)
def test_what_varies_is_a_column(changed, heading, texts):
    table = layers_table(frame(record(0.5), record(0.5, **changed)), "log_g")
    (column,) = [c for c in table.columns if c.heading == heading]
    assert [row[column.key] for row in table.rows] == texts
    assert heading not in [c.heading for c in layers_table(frame(record(0.5)), "log_g").columns]


def test_what_does_not_vary_is_a_footnote():
    (note,) = [note for note in layers_table(frame(record()), "log_g").notes if note.startswith("All rows")]
    assert note == (
        "All rows: data mock; noise level 1; draw 0; error input true; precision fp32; train size all; "
        "seed 0; fitted alone."
    )


def test_rows_that_still_look_alike_show_their_run():
    records = [record(0.5, group="a"), record(0.5, group="b")]
    table = layers_table(frame(*records), "log_g")
    assert {row["run"] for row in table.rows} == {r.run_id[:8] for r in records}
    assert "run" in headings(table)


def test_bold_only_beyond_the_interval_of_every_other_row():
    assert (
        bold_rows(layers_table(frame(record(0.5), record(0.4, layer="enc_last")), "log_g"))[0][
            "test_r2"
        ].value
        == 0.5
    )
    table = layers_table(frame(record(0.5), record(0.46, layer="enc_last")), "log_g")
    assert not bold_rows(table)
    assert any(
        note.startswith("Best, but not clear: enc_pre_latent / seg_mean_K8 / forward / ridge")
        for note in table.notes
    )
    wide = [record(0.5), record(0.4, layer="enc_last"), record(0.3, layer="enc_0", half_width=0.3)]
    assert not bold_rows(layers_table(frame(*wide), "log_g"))


def test_bold_needs_a_rival_and_intervals():
    assert not bold_rows(layers_table(frame(record(0.5)), "log_g"))
    blind = [record(0.5, half_width=None), record(0.1, layer="enc_last")]
    assert not bold_rows(layers_table(frame(*blind), "log_g"))


@settings(deadline=None, max_examples=25)
@given(
    st.lists(
        st.tuples(st.floats(-1, 1), st.one_of(st.none(), st.floats(0, 0.3))),
        min_size=1,
        max_size=5,
        unique_by=lambda p: p[0],
    )
)
def test_contest_equals_its_definition(scores):
    records = [record(r2, half_width=half, seed=seed) for seed, (r2, half) in enumerate(scores)]
    result = contest(rows_of(frame(*records)))
    best = max(range(len(scores)), key=lambda k: scores[k][0])
    assert result.best["test_r2"] == scores[best][0]
    clear = len(scores) > 1 and scores[best][1] is not None
    for k, (r2, half) in enumerate(scores):
        if k != best:
            clear = clear and half is not None and scores[best][0] - scores[best][1] > r2 + half
    assert result.clear == clear


def test_rows_of_other_test_sets_do_not_compete():
    quiet = {"train": 1.0, "val": 1.0, "test": 0.0}
    rows = frame(record(0.9, noise_levels=quiet), record(0.5), record(0.1, layer="enc_last"))
    assert [len(group) for group in comparable_rows(rows)] == [1, 2]
    assert [row["test_r2"].value for row in bold_rows(layers_table(rows, "log_g"))] == [0.5]


def part_of_test(r2, first, *, kept=500, noise_seed=0, selection="all", **changed):
    """An end-to-end record; `first` rows of `kept` were scored, None for all."""
    told = {
        "test_size": first,
        "rows": {"test": {"n": kept, "selection": selection}},
        "noise_seed": noise_seed,
    }
    made = finetuned(r2, **changed)
    item = replace(
        made, spec={**made.spec, **told, "inputs": {}, "noise_mode": "", "draws": record().spec["draws"]}
    )
    item.result["n_rows"]["test"] = first or kept
    return replace(item, run_id=run_id("finetune", item.spec))


def test_a_score_on_some_of_test_does_not_compete_with_scores_on_all():
    some, every = part_of_test(0.9, 50), part_of_test(0.6, None, head="mlp_2")
    rows = frame(record(0.5), some, every, part_of_test(0.4, 500), record(failed="no luck", head="ols"))
    sets = [{row["rows_test"] for row in group} for group in comparable_rows(rows)]
    assert sets == [{"500", ""}, {"first 50"}]
    table = controls_table(rows, "log_g")
    assert "test rows" in {column.heading for column in table.columns}
    assert not any(some.run_id == row["run_id"] for row in bold_rows(table))
    told = controls_table(frame(record(0.5), every), "log_g")
    assert "test rows" not in {column.heading for column in told.columns}


def test_known_noise_seeds_and_selections_part_test_sets_and_untold_ones_do_not():
    rows = frame(
        record(0.5),
        part_of_test(0.6, None),
        part_of_test(0.61, None, seed=1),
        part_of_test(0.7, None, noise_seed=7),
        part_of_test(0.8, None, selection="5e" * 32),
    )
    assert sorted(len(group) for group in comparable_rows(rows)) == [1, 1, 3]
    columns = {column.heading for column in controls_table(rows, "log_g").columns}
    assert {"noise seed", "test rows kept"} <= columns


def test_a_probe_that_names_no_seed_of_its_noise_had_seed_0():
    drawn = {"noise_mode": "draw", "inputs": {"test": ["2d" * 32]}}
    rows = frame(
        record(0.5, **drawn),
        record(0.4, layer="enc_last", **drawn),
        record(0.6, noise_seed=7, **drawn),
        replace(finetuned(0.55), spec={**finetuned().spec, "noise_seed": 0, **drawn}),
        record(0.7, noise_mode="none", inputs=drawn["inputs"]),
    )
    sets = [sorted(row["test_r2"] for row in group) for group in comparable_rows(rows)]
    assert sets == [[0.4, 0.5, 0.55], [0.6], [0.7]]
    table = controls_table(rows, "log_g")
    assert "noise seed" in {column.heading for column in table.columns}
    alike = controls_table(rows[:2], "log_g")
    assert "noise seed" not in {column.heading for column in alike.columns}


def test_rows_that_name_no_store_are_not_called_stale():
    assert "stale" not in " ".join(controls_table(frame(record(0.5), finetuned(0.6)), "log_g").lead)
    gone = frame_of([record(0.5)], lambda _key, _digest: "missing")
    assert "1 of the 1 rows compared are stale" in " ".join(controls_table(gone, "log_g").lead)


def test_controls_stand_best_first_and_failures_last():
    table = controls_table(frame(*demo_records(), record(failed="broken | pipe")), "log_g")
    values = [row["test_r2"] for row in table.rows]
    assert values[-1] == "failed"
    assert any(note.startswith("Failed, 1 of ") and "rows: broken | pipe. " in note for note in table.notes)
    numbers = [value.value for value in values[:-1]]
    assert numbers == sorted(numbers, reverse=True)
    assert table.rows[0]["role"] == "error only"


def test_what_a_score_does_not_depend_on_is_left_out_unless_rows_would_look_alike():
    latents = [record(0.5), record(0.4, error_input="zero")]
    mean = record(0.0, head="mean", control="mean_predictor")
    flux = record(0.3, layer="input_flux", pooling="none")
    rows = {row["role"]: row for row in controls_table(frame(*latents, mean, flux), "log_g").rows}
    unrelated = ("layer", "pooling", "direction", "d", "error_input_text")
    assert [rows["mean predictor"][key] for key in unrelated] == [None] * 5
    assert [rows["raw noisy flux"][key] for key in unrelated] == ["input_flux", "none", "forward", 384, None]
    assert rows["latent"]["error_input_text"] in ("true", "zero")
    means = [mean, record(0.0, head="mean", control="mean_predictor", layer="enc_last")]
    fluxes = [flux, record(0.3, layer="input_flux", pooling="none", error_input="zero")]
    table = controls_table(frame(*latents, *means, *fluxes), "log_g")
    assert {row["layer"] for row in table.rows if row["role"] == "mean predictor"} == {
        "enc_pre_latent",
        "enc_last",
    }
    assert {row["error_input_text"] for row in table.rows if row["role"] == "raw noisy flux"} == {
        "true",
        "zero",
    }
    assert len(set(shown_keys(table))) == len(table.rows)


def test_the_verdict_names_what_beats_the_latents():
    text = " ".join(controls_table(frame(*demo_records()), "log_g").lead)
    assert (
        "error only (input_error / none / forward / ridge), R2 0.980 [0.950, 1.010] wins, clear of every other"
        in text
    )
    assert (
        "The latent row best on val (of 18), enc_pre_latent / seg_mean_K8 / forward / mlp_1, R2 0.260 [0.230, 0.290], "
        "is beaten by "
        "raw noisy flux (input_flux / none / forward / ridge), R2 0.580 [0.550, 0.610] (by 0.320, beyond both 95 % "
        "intervals) and by error only"
    ) in text
    assert "what the latents know of log_g may have come through the error channel" in text
    assert "The latent row best on val (of 18) is above the row of an untrained encoder best on val" in text
    assert "Shuffled labels are compatible with 0 or below" in text


@pytest.mark.parametrize(
    ("controls", "words"),
    [
        ([{"r2": -0.12}], ""),
        (
            [{"r2": -10.0}],
            "It is far below 0: the fit is too flexible for 2000 train stars; a larger penalty (ridge",
        ),
        ([{"r2": -10.0, "selection": "val_r2"}], "train stars; more stars or a simpler head help."),
        ([{"r2": -10.0, "head": "mlp_1"}], "train stars; more stars or a simpler head help."),
        (
            [{"r2": 0.0}, {"r2": -9.0, "head": "ols"}],
            "ols), R2 -9.000 [-9.030, -8.970] is far below 0: the fit is too",
        ),
        ([{"r2": -10.0, "half_width": None}, {"r2": 0.0, "head": "ols"}], ""),
    ],
)
def test_shuffled_labels_far_below_0_are_no_sound_control(controls, words):
    told = said_of(frame(record(0.5), *(record(**item, control="shuffled_labels") for item in controls)))
    (text,) = [text for text in told if text.startswith("Shuffled labels are compatible with 0 or below")]
    assert words in text
    assert ("far below 0" in text) == bool(words)


@settings(deadline=None, max_examples=20)
@given(
    st.lists(st.floats(-2, 0.5), min_size=2, max_size=4), st.lists(st.floats(-2, 0.5), min_size=1, max_size=2)
)
def test_shuffled_labels_never_lead_rows_with_true_labels(scores, shuffled):
    """A label in another unit in test, say, puts every probe below the shuffled labels: those are other labels."""
    layers = ("enc_0", "enc_1", "enc_2", "enc_3")
    plain = [record(r2, layer=layer) for r2, layer in zip(scores, layers, strict=False)]
    controls = [
        record(r2, layer=layer, control="shuffled_labels")
        for r2, layer in zip(shuffled, layers, strict=False)
    ]
    rows = frame(*plain, *controls)
    result = contest(rows_of(rows))
    assert result.best["test_r2"] == max(scores)
    table = controls_table(rows, "log_g")
    assert all(row["role"] == "latent" for row in bold_rows(table))
    above = result.rival["test_r2"] > max(scores)
    assert ("is the best row with true labels, but not above shuffled" in table.lead[0]) == above


def test_the_verdict_when_the_latents_win():
    records = [record(0.6), record(0.5, layer="input_flux"), record(0.58, layer="input_error")]
    text = " ".join(said_of(frame(*records)))
    assert "ridge, R2 0.600 [0.570, 0.630] scores highest, but is not told apart from error only" in text
    assert "is not told apart from error only" in text
    assert "(above it by 0.020, not clear: the 95 % intervals overlap)" in text
    assert "So what the latents know of log_g may have come through the error channel" in text
    for error, said in ((record(0.3, layer="input_error"), True), (record(0.02, layer="input_error"), False)):
        text = " ".join(said_of(frame(record(0.6), error)))
        assert ("So part of what the latents know of log_g may have come through the error" in text) == said


def test_val_chooses_the_latent_row_of_the_verdict():
    lucky, steady = record(0.6, pooling="mean_max"), record(0.5)
    lucky.result["scores"]["val"]["log_g"]["r2"] = 0.1
    flux = record(0.55, layer="input_flux", half_width=0.01)
    text = " ".join(said_of(frame(lucky, steady, flux)))
    told = "The latent row best on val (of 2), enc_pre_latent / seg_mean_K8 / forward / ridge, R2 0.500"
    assert told in text
    assert "is beaten by raw noisy flux" in text
    for item in (lucky, steady):
        del item.result["scores"]["val"]
    text = " ".join(said_of(frame(lucky, steady, flux)))
    assert "The latent row best on test for lack of val scores (of 2), enc_pre_latent / mean_max" in text


def test_what_was_not_run_leads_the_table():
    (*_, last) = controls_table(frame(record(0.5)), "log_g").lead
    assert last.startswith(
        "Not run: raw noisy flux, error only, random encoder, shuffled labels; without them"
    )
    assert not any("Not run" in text for text in controls_table(frame(*demo_records()), "log_g").lead)


def test_the_verdict_names_baselines_that_failed_and_stale_rows():
    records = [record(0.6), record(failed="singular", layer="input_flux"), record(0.2, layer="input_error")]
    text = " ".join(said_of(frame(*records, state=lambda *_: "missing")))
    assert ", beats error only; the closest is error only" in text
    assert "raw noisy flux has no score here" in text
    assert "2 of the 2 rows compared are stale" in text


@pytest.mark.parametrize(
    "other", [{"inputs": {"test": ["bb" * 32]}}, {"noise_mode": "none"}, {"noise_levels": {"test": 0.5}}]
)
def test_rows_scored_on_other_test_data_are_never_ranked_together(other):
    plain = {"inputs": {"test": ["aa" * 32]}, "noise_mode": "draw", "noise_levels": {"test": 1.0}}
    table = controls_table(frame(record(0.5, **plain), record(0.9, **{**plain, **other})), "log_g")
    assert bold_rows(table) == []
    assert len(set(shown_keys(table))) == 2
    assert len([line for line in table.lead if "is the only row" in line]) == 2


def test_published_scores_stand_only_beside_their_own_settings():
    for params, shown in (({"alpha": 0.001}, True), ({"alpha": "val"}, False)):
        (row,) = rows_of(frame(record(0.5, params=params)))
        assert (row["published_test_r2"] is not None) == shown
    (row,) = rows_of(frame(record(0.5, noise_mode="stored")))
    assert row["published_test_r2"] is None


def test_the_verdict_tells_settings_apart_only_where_it_must():
    records = [record(0.5), record(0.49, params={"alpha": 10.0}), record(0.1, head="ols", seed=4)]
    (sentence, *_) = said_of(frame(*records))
    assert "ridge, settings alpha=0.001, R2 0.500" in sentence
    assert "ridge, settings alpha=10.0, R2 0.490" in sentence
    assert "seed" not in sentence


def test_the_verdict_on_bad_controls():
    leak = record(0.3, control="shuffled_labels")
    random = record(0.5, control="random_encoder", family=RANDOM_FAMILY)
    text = " ".join(said_of(frame(record(0.2), leak, random)))
    assert "Shuffled labels are above 0, which a sound set-up cannot give" in text
    assert "below the row of an untrained encoder best on val" in text
    even = record(0.21, control="random_encoder", family=RANDOM_FAMILY)
    text = " ".join(said_of(frame(record(0.2), even)))
    assert "is not told apart from the row of an untrained encoder best on val" in text
    assert "(below it by 0.010, not clear" in text


def test_the_verdict_without_intervals_or_latents():
    blind = record(0.3, control="shuffled_labels", half_width=None)
    text = " ".join(said_of(frame(record(0.2, half_width=None), blind, record(0.4, layer="input_flux"))))
    assert "has no interval to judge it by" in text
    assert "without intervals to judge it by" in text
    assert "No latent row has a score" in " ".join(said_of(frame(record(0.4, layer="input_flux"))))
    assert "is the only row with a score" in " ".join(said_of(frame(record(0.4))))
    assert said_of(frame(record(failed="x"))) == ()


def test_clean_flux_is_shown_but_does_not_compete():
    records = [record(0.99, layer="clean_flux"), record(0.2)]
    assert "R2 0.200 [0.170, 0.230] is the only row with a score" in said_of(frame(*records))[0]
    assert controls_table(frame(*records), "log_g").rows[0]["role"] == "clean flux (no noise)"


def test_published_numbers_stand_in_their_own_columns():
    table = layers_table(frame(record(0.2), record(0.3, head="mlp_1"), record(0.1, layer="enc_3")), "log_g")
    test, val = (c.key for c in table.columns if c.heading.startswith("published, real BOSZ/PFS data"))
    assert [(row[test], row[val]) for row in table.rows] == [(None, None), (0.5516, None), (0.6117, 0.5979)]
    assert [row["test_r2"] for row in table.rows][1] == Estimate(0.2, 0.2 - 0.03, 0.2 + 0.03)
    assert PUBLISHED_NOTE in table.notes


def test_without_a_published_match_there_is_no_published_column():
    table = layers_table(frame(record(layer="enc_3")), "log_g")
    assert not [h for h in headings(table) if "published" in h]
    assert NOT_PUBLISHED_NOTE in table.notes


def test_mock_numbers_are_called_mock():
    assert MOCK_NOTE in layers_table(frame(record()), "log_g").notes
    real = layers_table(frame(record(data_kind="real")), "log_g")
    assert MOCK_NOTE not in real.notes
    assert "real data" in real.title


def test_provenance_is_in_the_footnotes():
    source = record()
    notes = " ".join(layers_table(frame(source), "log_g").notes)
    assert f"encoder weights {source.result['weights'][:8]}" in notes
    assert source.spec["family"][:12] in notes
    for split, (key,) in source.spec["stores"].items():
        assert f"{split}:{key[:16]}={source.result['stores'][key][:12]}" in notes
    assert "bootstrap over stars, percentile" in notes
    assert "ridge (alpha=0.001)" in notes


def test_random_encoders_are_named_in_the_footnotes():
    notes = " ".join(controls_table(frame(*demo_records()), "log_g").notes)
    assert f"From random encoder weights {'77' * 4}" in notes


def test_stale_rows_are_marked_with_the_command_that_mends_them():
    rows = frame(record(), record(0.4, direction="concat"), state=lambda *_: "missing")
    table = layers_table(rows, "log_g")
    assert [row["state"] for row in table.rows] == ["stale: 3 of 3 missing"] * 2
    assert "stores" in headings(table)
    (note,) = [note for note in table.notes if note.startswith("Stale")]
    assert note.startswith("Stale: 2 of 2 rows")
    assert "extract run" in note
    assert "python -m probes run names the command that made those" in note
    assert "--layers enc_pre_latent --poolings seg_mean_K8 --directions forward,backward --out" in note


def test_fresh_stores_are_said_once():
    table = layers_table(frame(record()), "log_g")
    assert "stores" not in headings(table)
    assert "Stores: by header and records, those of every row are there and unchanged." in table.notes


def test_flags_are_shown():
    table = layers_table(frame(record(flags=("alpha at the edge", "a"))), "log_g")
    assert "flags" in headings(table)
    assert table.rows[0]["flags"] == "a, alpha at the edge"


def test_a_label_with_inputs_only_has_an_empty_layers_table():
    table = layers_table(frame(record(layer="input_flux")), "log_g")
    assert table.rows == ()
    assert table.notes[0] == "No rows for log_g here."


def test_the_command_for_stale_stores_names_every_joined_layer():
    parts = [
        {"layer": layer, "direction": "forward", "pooling": "seg_mean_K8"} for layer in ("enc_0", "enc_1")
    ]
    command = extract_command(frame(record(0.5, parts=parts)))
    assert "--layers enc_0,enc_1 " in command
    assert "--poolings seg_mean_K8 " in command


def test_failures_of_one_kind_share_a_footnote_and_leave_the_cells_short():
    reason = "LinAlgError: " + "matrix singular " * 10
    failures = [record(failed=reason.strip(), pooling=name) for name in ("mean_max", "global_mean")]
    made = labels_table(frame(record(0.5), *failures, record(failed="other", head="ols")))
    assert max(len(str(value)) for row in made.rows for value in row["test R2 log_g"]) < 160
    notes = [note for note in made.notes if note.startswith("Failed")]
    assert len(notes) == 2
    assert any(note.startswith(f"Failed, 2 of 4 rows: {reason.strip()}. This is ") for note in notes)
    assert any(note.endswith(" and 1 more.") for note in notes)
