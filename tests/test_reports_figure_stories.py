"""Titles and choices of figures: what they say is what the records hold."""

import dataclasses

import numpy as np
import pytest
from figures_fakes import (
    AUDIT_ROWS,
    audit,
    ceiling,
    comparison,
    fitted_to,
    full_source,
    importance,
    occlusion,
    predicted,
    spectra,
    swept,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from reports_fakes import SPLITS, finetuned, history, record, source_of, written

from reports.comparable import best_on_val
from reports.drawn import data_note, file_part, in_unit, listed, main_rows, names_apart, plain
from reports.figure_audit import audits
from reports.figure_bins import by_bin
from reports.figure_ceiling import ceilings
from reports.figure_curves import learning_curves
from reports.figure_depth import depth
from reports.figure_heatmap import MOST_PANELS, heat_maps
from reports.figure_importance import importances
from reports.figure_noise import against_noise
from reports.figure_occlusion import occlusions
from reports.figure_predictions import PER_BIN, binned, frame_of_values, predicted_against_true, residuals
from reports.figure_spectra import examples, reconstruction
from reports.figure_sweeps import against_draws, against_size
from reports.predicted import best_predicted
from reports.resampling import change_of_scatter, robust_scatter, slope_of
from reports.rows import rows_of
from reports.series import DRAWS, SIZE, series_of
from reports.settings import settings_frame
from reports.spectral_lines import LINES, holds_line, lines_between, wavelength_note
from reports.style import styled


@pytest.fixture(autouse=True, scope="module")
def house_style():
    with styled():
        yield


scores = st.lists(st.floats(-1, 1), min_size=2, max_size=5, unique_by=lambda value: round(value, 2))


@settings(deadline=None, max_examples=15)
@given(scores, st.booleans())
def test_the_heat_map_names_the_highest_cell_and_whether_it_is_beyond_chance(values, sure):
    half_width = 1e-4 if sure else 5.0
    records = [record(value, layer=f"enc_{k}", half_width=half_width) for k, value in enumerate(values)]
    (drawn,) = heat_maps(source_of(records), "log_g")
    assert drawn.title.startswith(f"log_g: enc_{int(np.argmax(values))} with seg_mean_K8 scores highest")
    assert drawn.title.endswith("beyond chance" if sure else "not told apart from others")
    texts = {text.get_text() for axes in drawn.figure.axes for text in axes.texts}
    assert {f"{value:.2f}".replace("-0.00", "0.00") for value in values} <= texts | {"-0.00"}


def test_a_heat_map_has_a_panel_per_head_and_direction_and_only_the_main_test_set():
    records = [
        record(0.5),
        record(0.4, head="ols"),
        record(0.3, direction="backward"),
        record(0.9, noise_levels={"train": 0.0, "val": 0.0, "test": 0.0}),
        record(0.8, train_size=10),
    ]
    (drawn,) = heat_maps(source_of(records), "log_g")
    titles = [axes.get_title(loc="left") for axes in drawn.figure.axes if axes.get_title(loc="left")]
    assert sorted(titles) == ["ols, forward", "ridge, backward", "ridge, forward"]
    assert "R² 0.500" in drawn.title


@settings(deadline=None, max_examples=10)
@given(scores)
def test_a_colour_is_the_same_score_in_every_heat_map(values):
    records = [record(value, layer=f"enc_{k}") for k, value in enumerate(values)]
    (drawn,) = heat_maps(source_of(records), "log_g")
    scale = drawn.figure.axes[0].images[0].norm
    assert (scale.vmin, scale.vmax) == (-0.25, 1.0)


def test_too_many_panels_are_said_to_be_left_out():
    records = [record(0.1, params={"alpha": float(10**k)}) for k in range(12)]
    (drawn,) = heat_maps(source_of(records), "log_g")
    assert f"{MOST_PANELS} of 12 settings" in drawn.caption


def test_plain_rows_take_the_first_seed_and_the_fewest_draws():
    records = [
        record(0.1, draws={"train": [0, 1], "val": [0], "test": [0]}),
        record(0.2),
        record(0.3, seed=1),
        record(0.4, features={"parts": [], "pca": 16, "segments": None}),
    ]
    rows = plain(main_rows(source_of(records).frame, "log_g"))
    assert [row["test_r2"] for row in rows] == [0.2]


def test_of_heads_that_name_their_seed_too_the_first_counts():
    records = [record(0.1 * k, head="mlp_1", params={"width": 8, "seed": k}, seed=k) for k in (2, 1, 3)]
    rows = plain(main_rows(source_of(records).frame, "log_g"))
    assert [row["seed"] for row in rows] == [1]


def test_trainings_are_named_by_what_differs_alone():
    records = [
        record(0.4, head="mlp_1", params={"width": 8, "seed": 0}),
        finetuned(0.4),
        finetuned(0.6, frozen=False),
        finetuned(0.5, frozen=False, error_input="zero"),
    ]
    names = names_apart(rows_of(settings_frame(source_of(records).frame)))
    assert len(set(names)) == len(names)
    assert not [name for name in names if "freeze" in name or "seed" in name or "mlp_1" in name]
    assert sum("encoder fine-tuned" in name for name in names) == 2
    assert sum("error input zero" in name for name in names) == 1


def test_val_chooses_and_test_does_not():
    low, high = record(0.5, layer="enc_0"), record(0.4, layer="enc_1")
    for item, val in ((low, 0.3), (high, 0.6)):
        item.result["scores"]["val"]["log_g"]["r2"] = val
    rows = main_rows(source_of([low, high]).frame, "log_g")
    assert best_on_val(rows)["layer"] == "enc_1"
    assert best_on_val([]) is None


def test_depth_takes_layers_in_network_order_and_needs_two():
    records = [
        record({"log_g": 0.1 * k, "T_eff": 0.9 - 0.1 * k}, layer=layer)
        for k, layer in enumerate(("enc_0", "pool_1", "enc_10", "enc_last"))
    ]
    (drawn,) = depth(source_of(records), ["log_g", "T_eff"])
    assert drawn.title == "Test R² is highest at enc_0 for T_eff (0.90); at enc_last for log_g (0.30)"
    for item in records[1:]:
        item.result["intervals"]["test"]["T_eff"]["r2"] = [0.1, 0.95]
    (drawn,) = depth(source_of(records), ["log_g", "T_eff"])
    assert drawn.title == (
        "Test R² is highest at enc_last for log_g (0.30); the best layers are not told apart for T_eff"
    )
    assert depth(source_of(records), ["T_eff"])[0].title == (
        "Test R²: the best layers are not told apart for T_eff"
    )
    ticks = [text.get_text() for text in drawn.figure.axes[0].get_xticklabels()]
    assert ticks == ["enc_0", "pool_1", "enc_10", "enc_last"]
    assert depth(source_of(records[:1]), ["log_g"]) == []


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 1000))
def test_the_slope_is_that_of_a_straight_line(seed):
    probe, columns = written(record(0.5)), predicted(80, seed=seed)
    (drawn,) = predicted_against_true(source_of([probe], predictions={probe.run_id: columns}), "log_g")
    slope = np.polyfit(columns["y"], columns["y_hat"], 1)[0]
    assert f"slope of predicted on true {slope:.2f} [" in drawn.title


def test_residuals_say_how_the_scatter_changes_where_it_does():
    probe, columns = written(record(0.5)), predicted(2000)
    source = source_of([probe], predictions={probe.run_id: columns})
    assert "robust scatter falls by 0." in residuals(source, "log_g")[0].title
    columns["snr"] = -columns["snr"]
    assert "robust scatter rises by 0." in residuals(source, "log_g")[0].title
    residual = np.empty(2000)
    residual[np.argsort(columns["snr"])] = np.tile(np.linspace(-1, 1, 250), 8)
    columns["y_hat"] = columns["y"] + residual
    title = residuals(source, "log_g")[0].title
    assert "robust scatter 0.74 dex at" in title
    assert title.endswith("not told apart")
    del columns["snr"]
    assert "magnitude" in residuals(source, "log_g")[0].title
    del columns["mag"], columns["T_eff"]
    assert residuals(source, "log_g") == []


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 1000), st.integers(2, 5))
def test_many_rows_of_a_star_do_not_make_its_residuals_surer(seed, n_draws):
    rng = np.random.default_rng(seed)
    truth, residual = rng.uniform(1, 5, 60), rng.standard_normal(60)
    once = slope_of(np.arange(60), truth, truth + residual)
    often = [np.tile(values, n_draws) for values in (np.arange(60), truth, truth + residual)]
    assert dataclasses.astuple(slope_of(*often))[:3] == pytest.approx(dataclasses.astuple(once)[:3])
    first, last = np.arange(30), np.arange(30, 60)
    change = change_of_scatter(np.arange(60), residual, first, last)
    assert change.low <= change.value <= change.high
    assert change.value == pytest.approx(robust_scatter(residual[last]) - robust_scatter(residual[first]))


def test_a_statistic_that_a_resample_leaves_undefined_has_no_interval():
    assert slope_of(np.array([0, 0, 1]), np.array([1.0, 1.0, 2.0]), np.array([1.0, 1.0, 2.0])).low is None
    lone = change_of_scatter(np.array([0, 1, 1]), np.array([0.1, 0.2, 0.3]), np.array([0]), np.array([1, 2]))
    assert lone.low is None


def test_predictions_that_are_too_few_missing_or_not_finite_are_no_figure():
    probe = written(record(0.5))
    assert best_predicted(source_of([probe]), "log_g") is None
    columns = predicted(30)
    columns["y"][:15] = np.nan
    assert best_predicted(source_of([probe], predictions={probe.run_id: columns}), "log_g") is None


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 400), st.integers(0, 5))
def test_bins_hold_every_value_once_in_order(n, seed):
    values = np.random.default_rng(seed).standard_normal(n)
    parts = binned(values)
    assert np.array_equal(np.concatenate(parts), np.argsort(values, kind="stable"))
    assert min(map(len, parts)) >= min(n, PER_BIN)


def test_one_outlier_does_not_set_the_frame():
    values = np.append(np.linspace(0, 1, 1000), 1e6)
    low, high = frame_of_values(values)
    assert low == 0
    assert 1 <= high < 2


def test_bins_of_the_best_latent_row():
    best, flux = written(record(0.5)), written(record(0.4, layer="input_flux", pooling="none"))
    (drawn,) = by_bin(source_of([best, flux, comparison("log_g", [best, flux])]), "log_g")
    assert drawn.title == (
        "log_g: the latent row best on val has R² 0.00 [-0.05, 0.05] at S/N 3.0 to 7.2 "
        "and 0.30 [0.25, 0.35] at 15.8 to 20.0"
    )
    changed = dataclasses.replace(best, files={"predictions": "another"})
    (drawn,) = by_bin(source_of([changed, flux, comparison("log_g", [best, flux])]), "log_g")
    assert drawn.title.startswith("log_g: raw noisy flux has R² 0.10")
    flat = comparison("log_g", [best])
    flat.result["bins"]["snr"]["r2"][best.run_id][-1] = [0.06, 0.01, 0.11]
    (drawn,) = by_bin(source_of([best, flat]), "log_g")
    assert drawn.title.endswith("and 0.06 [0.01, 0.11] at 15.8 to 20.0, not told apart")


def lines_across(axes, edges):
    """The vertical lines of a panel that stand at these places."""
    return [line for line in axes.lines if np.ptp(line.get_xdata()) == 0 and line.get_xdata()[0] in edges]


def test_points_of_a_bin_stand_within_it_and_the_caption_says_that_they_are_set_apart():
    probes = [written(record(0.5)), written(record(0.4, layer="input_flux", pooling="none"))]
    source = source_of([*probes, comparison("log_g", probes), ceiling("log_g", probes)])
    for make in (by_bin, ceilings):
        (drawn,) = make(source, "log_g")
        assert "points of a bin are set apart sideways; each stands for the whole bin" in drawn.caption
        edges = np.linspace(3, 20, 5)
        left, right = drawn.figure.axes
        for axes in (left, right) if make is ceilings else (left,):
            assert len(lines_across(axes, edges)) == len(edges)
            points = [
                line.get_xdata() for line in axes.lines if line.get_marker() not in ("", "None", "|", "_")
            ]
            places = [place for place in points if len(place) == len(edges) - 1]
            assert len(places) >= len(probes)
            assert all((place > edges[:-1]).all() and (place < edges[1:]).all() for place in places)
    (steps, *_) = left.lines
    assert steps.get_drawstyle() == "steps-post"
    assert steps.get_xdata().tolist() == edges.tolist()


def test_curves_mark_the_epoch_whose_weights_are_kept():
    probe = record(0.5, head="mlp_1")
    (drawn,) = learning_curves(source_of([probe], arrays={probe.run_id: history(20)}), "log_g")
    assert "mlp_1 on enc_pre_latent keeps epoch 10 of 20, val R² 0.500" in drawn.title
    joint = record({"log_g": 0.5, "T_eff": 0.9}, head="mlp_1")
    curves = history(20, 2)
    curves["history_val_r2"][4, 1] = 9.0
    (drawn,) = learning_curves(source_of([joint], arrays={joint.run_id: curves}), "log_g")
    assert "keeps epoch 4 of 20" in drawn.title
    assert learning_curves(source_of([record(0.5)]), "log_g") == []


def test_audits_are_titled_by_their_verdict_and_show_every_row():
    source = source_of([record(0.5), audit(headline="No shortcut: 95 % survives."), audit(layer="enc_last")])
    last, pre = audits(source, "log_g")
    assert pre.title == "No shortcut: 95 % survives"
    assert last.part == "enc_last / seg_mean_K8 / concat / ridge"
    names = [text.get_text() for text in last.figure.axes[0].get_yticklabels()]
    assert len(names) == len(AUDIT_ROWS) - 2
    assert "latents fed zero, probe fitted anew" in names
    assert audits(source, "T_eff") == []


def test_two_audits_of_one_probe_are_told_apart_by_what_was_fed():
    both, one = audit(), audit(folds=5)
    one.result["rows"] = [row for row in one.result["rows"] if row["error_input"] in ("true", "zero")]
    drawn = audits(source_of([record(0.5), both, one]), "log_g")
    told = {item.caption.partition("error channel ")[2].partition(". ")[0] for item in drawn}
    assert told == {"(true, zero, constant, shuffled, from-noisy)", "(true, zero)"}
    assert len({item.part for item in drawn}) == 2


def test_ceilings_name_the_share_of_the_row_that_val_prefers_or_say_that_there_is_none():
    probes = [record(0.3, layer="enc_0"), record(0.5), record(0.0, head="mean", control="mean_predictor")]
    (drawn,) = ceilings(source_of([*probes, ceiling("log_g", probes)]), "log_g")
    assert (
        "allows R² 0.80 [0.78, 0.82]; enc_pre_latent / seg_mean_K8 / forward / ridge reaches 62 [57, 67] %"
        in drawn.title
    )
    assert not any("mean predictor" in text.get_text() for text in drawn.figure.legends[0].texts)
    none = ceiling("log_g", probes, applicable=[False] * 3)
    (drawn,) = ceilings(source_of([*probes, none]), "log_g")
    assert drawn.title.endswith("no row on record can be held against it")
    levels = [ceiling("log_g", probes, level=level) for level in (0.5, 1.0)]
    assert {d.part for d in ceilings(source_of([*probes, *levels]), "log_g")} == {"noise0.5", "noise1"}


def test_a_ceiling_that_a_row_exceeds_raises_the_alarm():
    above = ceiling("log_g", [record(0.5)])
    above.result["rows"][0]["above"] = True
    (drawn,) = ceilings(source_of([record(0.5), above]), "log_g")
    assert "Above the ceiling: enc_pre_latent" in " ".join(t.get_text() for t in drawn.figure.texts)


def test_importance_names_the_segment_by_its_context():
    probe = record(0.5)
    for directions, words in (
        (("forward", "backward"), "the forward segment (context up to 7975 Å) is permuted"),
        (("backward", "forward"), "the backward segment (context from 7756 Å) is permuted"),
        (("mean",), "the mean segment (number 3) is permuted"),
    ):
        item, arrays = importance("log_g", probe, directions=directions)
        (drawn,) = importances(source_of([probe, item], arrays={item.run_id: arrays}), "log_g")
        assert drawn.title == f"log_g: R² 0.50 [0.45, 0.55] drops most, by 0.20 [0.18, 0.22], when {words}"


def test_importance_claims_no_more_than_the_intervals():
    probe = record(0.5)
    item, arrays = importance("log_g", probe, directions=("forward",))
    source = source_of([probe, item], arrays={item.run_id: arrays})
    arrays["importance_hi/log_g"][5] = 0.19
    (drawn,) = importances(source, "log_g")
    assert "drops by 0.20 [0.18, 0.22], when" in drawn.title
    assert drawn.title.endswith("not told apart from others")
    # Above 0 by its own interval, but not as the largest of eight.
    arrays["importance_lo/log_g"][3] = 0.01
    (drawn,) = importances(source, "log_g")
    assert drawn.title.endswith("no segment of 8 lowers it beyond chance when it is permuted")
    arrays["importance_lo/log_g"][:] = np.nan
    (drawn,) = importances(source, "log_g")
    assert "no segment of 8 lowers it beyond chance" in drawn.title


def test_denoising_is_told_by_how_many_spectra_it_helps():
    item, arrays = spectra()
    source = source_of([record(0.5), item], arrays={item.run_id: arrays})
    clean, noisy = arrays["flux"], arrays["noisy"]
    slow = [np.linalg.norm(c) / np.linalg.norm(c - n) for c, n in zip(clean, noisy, strict=True)]
    assert reconstruction(clean, noisy) == pytest.approx(slow)
    assert f"Reconstruction S/N: noisy {np.median(slow):.1f}, denoised " in examples(source)[0].title
    assert examples(source)[0].title.endswith("higher in 5 of 5 spectra")
    arrays["noisy"], arrays["denoised"] = arrays["denoised"], arrays["noisy"]
    assert examples(source)[0].title.endswith("higher in 0 of 5 spectra")


@pytest.mark.parametrize(("where", "share"), [(8542.0, "100 %"), (7500.0, "0 %")])
def test_occlusion_says_what_the_marked_lines_bring(where, share):
    item, arrays = occlusion(where=where)
    (drawn,) = occlusions(source_of([record(0.5), item], arrays={item.run_id: arrays}))
    assert (
        f"bring {share} of the squared change of enc_pre_latent forward and {share} of that of" in drawn.title
    )


def test_lines_are_in_the_range_and_named_together_where_near():
    named = [(name, [line.wave for line in lines]) for name, lines in lines_between(7100, 8850)]
    assert [name for name, _ in named] == ["K I", "Na I", "Ca II", "Ca II", "Mg I"]
    assert sum(len(waves) for _, waves in named) == len(LINES)
    assert [name for name, _ in lines_between(8470, 8700)] == ["Ca II"] * 3
    assert holds_line(8542.09, 8543)
    assert not holds_line(8543, 8600)
    assert "in air" in wavelength_note("mock")
    assert "vacuum" in wavelength_note("real")


def test_sweeps_say_where_they_begin_and_end():
    source = source_of(swept())
    assert against_size(source, "log_g")[0].title == (
        "log_g: ridge on enc_pre_latent rises from R² 0.20 [0.17, 0.23] on 250 training stars "
        "to 0.40 [0.37, 0.43] on 1000"
    )
    assert (
        "on 1 noise draw and 0.46 [0.43, 0.49] on 8, not told apart"
        in against_draws(source, "log_g")[0].title
    )
    assert "trained at noise level 1, falls from R² 0.70" in against_noise(source, "log_g")[0].title


@settings(deadline=None, max_examples=15)
@given(st.floats(-0.2, 0.2), st.floats(0.01, 0.3))
def test_sweeps_rise_or_fall_only_beyond_chance(gain, half_width):
    ends = [
        fitted_to(record(0.4 + step, train_size=size, half_width=half_width), size)
        for size, step in ((10, 0.0), (20, gain))
    ]
    title = against_size(source_of(ends), "log_g")[0].title
    sure = abs(gain) > 2 * half_width
    assert title.endswith(", not told apart") != sure
    assert (" rises from " in title) == (sure and gain > 0)
    assert (" falls from " in title) == (sure and gain < 0)


def test_a_series_holds_what_differs_in_one_thing_alone():
    sizes = [fitted_to(record(0.1, train_size=n), n) for n in (10, 20)]
    others = [
        fitted_to(record(0.2, train_size=30, layer="enc_0"), 30),
        record(0.0, head="mean", control="mean_predictor"),
    ]
    (series,) = series_of(main_rows(source_of([*sizes, *others]).frame, "log_g"), SIZE)
    assert series.x == (10, 20)


@pytest.mark.parametrize(
    "other",
    [{"family": "fb" * 32}, {"inputs": {"train": ["77" * 32]}}, {"selection": "val_r2"}],
)
def test_no_line_goes_from_one_encoder_to_another(other):
    eight = {"train": list(range(8)), "val": [0], "test": [0]}
    quiet = dict.fromkeys(SPLITS, 0.5)
    first = record(0.3)
    few = fitted_to(record(0.3, train_size=500), 500)
    for draw, start, changed in (
        (against_size, few, {}),
        (against_draws, first, {"draws": eight}),
        (against_noise, first, {"noise_levels": quiet}),
        (lambda source, label: depth(source, [label]), first, {"layer": "enc_last"}),
    ):
        assert draw(source_of([start, record(0.7, **changed)]), "log_g")
        assert not draw(source_of([start, record(0.7, **changed, **other)]), "log_g")


def test_crossed_noise_levels_stand_in_one_panel():
    (drawn,) = against_noise(full_source(), "log_g")
    assert len(drawn.figure.axes) == 1
    assert len(drawn.figure.legends[0].texts) == 4


def test_small_words():
    assert in_unit(123.4, "T_eff") == "123 K"
    assert in_unit(0.123, "log_g") == "0.12 dex"
    assert in_unit(0.5, "redshift") == "0.50"
    assert [listed(list("abc")[:n]) for n in (1, 2, 3)] == ["a", "a and b", "a, b and c"]
    assert file_part("enc_0 / mean, x") == "enc_0-mean-x"


def test_noise_of_another_seed_stands_in_no_panel_with_it():
    def at(level, **changed):
        return record(
            0.7 - 0.1 * level, noise_mode="draw", noise_levels=dict.fromkeys(SPLITS, level), **changed
        )

    assert against_noise(source_of([at(1.0), at(2.0)]), "log_g")
    assert not against_noise(source_of([at(1.0), at(2.0, noise_seed=7)]), "log_g")


def test_fresh_noise_is_no_number_of_draws():
    records = [
        record(0.4, head="mlp_1", draws={"train": draws, "val": [0], "test": [0]})
        for draws in (["fresh"], [0, 1], [0, 1, 2, 3])
    ]
    (series,) = series_of(main_rows(source_of(records).frame, "log_g"), DRAWS)
    assert series.x == (2.0, 4.0)
    assert [row["draws_train"] for row in plain(main_rows(source_of(records).frame, "log_g"))] == ["0+1"]


def test_the_note_states_the_noise_level():
    assert data_note(main_rows(source_of([record(0.5)]).frame, "log_g")).endswith(", noise level 1")
    levels = [record(0.5, noise_levels={"train": 1, "val": 1, "test": level}) for level in (0.5, 2.0)]
    rows = [row for item in levels for row in main_rows(source_of([item]).frame, "log_g")]
    assert data_note(rows).endswith(", noise level 0.5 and 2")
