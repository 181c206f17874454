"""The overview figure: deterministic, complete, its labels clear of each other."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reports_fakes import demo_records, fresh, record
from reports_other_fakes import comparison, with_predictions

from cache.errors import CacheError
from reports.comparisons import comparisons_of
from reports.figure_overview import draw_overview, overview_figure
from reports.overview_layout import (
    AXES_WIDTH,
    FLOOR,
    caption_of,
    chosen_of,
    limits_of,
    lines_of,
    placed_flags,
    title_of,
    variants_of,
)
from reports.rows import frame_of, rows_of
from reports.settings import settings_frame

PNG = b"\x89PNG\r\n\x1a\n"


def rows(*records):
    return rows_of(settings_frame(frame_of(records, fresh)))


def reference(role, r2):
    return {"role": role, "head": "ridge", "test_r2": r2, "test_r2_lo": None, "test_r2_hi": None}


def test_equal_frames_give_equal_bytes(tmp_path):
    frame = frame_of(demo_records(), fresh)
    overview_figure(frame, "log_g", tmp_path / "a.png")
    later = [dataclasses.replace(item, run={"time": "2031"}) for item in demo_records()[::-1]]
    overview_figure(frame_of(later, fresh), "log_g", tmp_path / "b.png")
    first = (tmp_path / "a.png").read_bytes()
    assert first.startswith(PNG)
    assert first == (tmp_path / "b.png").read_bytes()
    assert b"Software" not in first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_sparse_and_diverged_rows_can_be_drawn(tmp_path):
    records = [record(-40.0, head="ols"), record(0.4, half_width=None), record(failed="no", head="mlp_1")]
    overview_figure(frame_of(records, fresh), "log_g", tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(PNG)


def test_nothing_to_draw_is_an_error(tmp_path):
    for records in ([record(failed="no")], [record(layer="input_flux")]):
        with pytest.raises(CacheError, match="no latent row of 'log_g' has a test R2"):
            overview_figure(frame_of(records, fresh), "log_g", tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_lines_hold_every_row_and_keep_layers_together():
    latents = rows(
        *[item for item in demo_records() if item.spec["control"] == "none"][:18], record(0.3, seed=3)
    )
    lines = lines_of([row for row in latents if row["label"] == "log_g"])
    assert sorted(row["run_id"] for line in lines for row in line.rows) == sorted(
        row["run_id"] for row in latents if row["label"] == "log_g"
    )
    layers = [line.layer for line in lines]
    assert layers == sorted(layers, key=layers.index)
    assert [line.name for line in lines if "seed 3" in line.name]


def test_limits_hold_everything_but_the_diverged():
    low, high = limits_of(rows(record(0.5), record(-40.0, seed=1)))
    assert FLOOR - 0.2 < low < FLOOR
    assert high > 0.53


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=8))
def test_no_line_runs_through_a_label_and_no_label_covers_another(values):
    flags = placed_flags([reference("random encoder", value) for value in values], (-0.3, 1.05))
    assert len(flags) == len(values)
    for flag in flags:
        assert -1e-9 <= flag.x <= AXES_WIDTH
        for other in flags:
            if other is flag:
                continue
            assert not (other.level > flag.level and flag.start < other.x < flag.x)
            if other.level == flag.level:
                assert other.x <= flag.start or flag.x <= other.start


def test_titles_tell_the_story():
    latent, flux, error = record(0.5), record(0.8, layer="input_flux"), record(0.51, layer="input_error")
    low = record(0.2, layer="input_flux")
    assert title_of("log_g", rows(latent)) == (
        "log_g: test R² by layer and pooling, with no baseline to judge it by"
    )
    assert title_of("log_g", rows(latent, flux)) == "log_g: raw noisy flux beats every latent row"
    assert (
        title_of("log_g", rows(latent, flux, error))
        == "log_g: raw noisy flux beats every latent row; error only is not told apart from the latent row best on val"
    )
    assert title_of("log_g", rows(latent, low)) == "log_g: the latent row best on val beats raw noisy flux"
    close = record(0.49, layer="input_flux")
    even = "log_g: raw noisy flux is not told apart from the latent row best on val"
    assert title_of("log_g", rows(latent, close)) == even
    assert title_of("log_g", rows(latent, low, error)).startswith("log_g: error only is not told apart from")
    pca = record(0.8, features={**low.spec["features"], "pca": 16})
    assert (
        title_of("log_g", rows(latent, low, pca)) == "log_g: PCA of the raw noisy flux beats every latent row"
    )


@pytest.mark.parametrize(("half_width", "cut"), [(0.1, False), (2.0, True)])
def test_an_interval_that_is_cut_off_has_an_arrow(half_width, cut):
    frame = frame_of([record(0.5), record(0.1, head="ols", half_width=half_width)], fresh)
    drawn = draw_overview(frame, "log_g")
    arrows = [line for line in drawn.figure.axes[0].lines if line.get_marker() == "<"]
    assert bool(arrows) == cut
    assert ("Arrows: intervals that go on below the axis." in drawn.caption) == cut


def test_val_chooses_the_rows_of_the_title_and_every_means_every():
    lucky, steady = record(0.7, pooling="mean_max"), record(0.5)
    lucky.result["scores"]["val"]["log_g"]["r2"] = 0.3
    flux = record(0.6, layer="input_flux")
    told = "log_g: raw noisy flux beats the latent row best on val"
    assert title_of("log_g", rows(lucky, steady, flux)) == told
    other = record(0.9, layer="input_flux", pooling="none")
    other.result["scores"]["val"]["log_g"]["r2"] = 0.1
    assert chosen_of(rows(flux, other), "raw noisy flux")["test_r2"] == 0.6


def test_titles_are_judged_in_pairs():
    latent, flux = with_predictions(record(0.5), record(0.51, layer="input_flux"))
    unpaired = title_of("log_g", rows(latent, flux))
    assert unpaired == "log_g: raw noisy flux is not told apart from the latent row best on val"
    paired = comparisons_of([latent, flux, comparison(flux, latent)])
    assert title_of("log_g", rows(latent, flux), paired) == "log_g: raw noisy flux beats every latent row"


def test_the_caption_says_mock_and_the_noise_level():
    told = "500 test stars, mock data (not BOSZ or PFS results), noise level 1."
    assert caption_of(rows(record()), []) == told
    assert "not BOSZ" not in caption_of(rows(record(data_kind="real")), [])


def test_all_that_is_written_lies_on_the_figure():
    records = [record(0.5), record(0.51, layer="input_flux"), record(0.51, layer="input_error")]
    figure = draw_overview(frame_of(records, fresh), "log_g").figure
    assert "\n" in figure.texts[0].get_text()
    legend, caption = figure.legends[0].get_window_extent(), figure.texts[1].get_window_extent()
    for text in figure.texts:
        extent = text.get_window_extent()
        assert figure.bbox.x0 <= extent.x0 < extent.x1 <= figure.bbox.x1
    assert caption.y1 < legend.y0


def test_heads_with_other_settings_are_told_apart():
    assert variants_of(rows(record(), record(params={"alpha": 10.0}), record(head="ols"))) == [
        "ols",
        "ridge (alpha=0.001)",
        "ridge (alpha=10.0)",
    ]
