"""What most rows of a figure share is told once; what a line leaves unsaid is what the note says."""

from hypothesis import given, settings
from hypothesis import strategies as st
from reports_fakes import finetuned, fresh, record, source_of

from reports.drawn import heads_apart
from reports.figure_heatmap import MOST_PANELS, heat_maps
from reports.figure_overview import draw_overview
from reports.rows import frame_of, rows_of
from reports.settings import settings_frame
from reports.usual import usual_of

LAYERS = ("enc_0", "enc_1", "enc_pre_latent")


def shown(*records):
    return rows_of(settings_frame(frame_of(records, fresh)))


def panels_of(drawn):
    return [axes.get_title().replace("\n", " ") for axes in drawn.figure.axes if axes.get_images()]


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(st.sampled_from(("true", "zero")), st.sampled_from((0, 1, 2))), min_size=2, max_size=8)
)
def test_rows_told_alike_are_alike_in_every_setting(settings_of):
    rows = shown(*(record(0.5, error_input=fed, seed=seed) for fed, seed in settings_of))
    usual = usual_of(rows)
    told = {(tuple(usual.told(row)), row["error_input"], row["seed"]) for row in rows}
    assert len(told) == len({texts for texts, *_ in told})
    for column in usual.columns:
        if (value := usual.values.get(column.key)) is not None:
            assert f"{column.heading} {value}" in usual.note
            assert 2 * sum(row[column.key] == value for row in rows) > len(rows)


def test_nothing_is_usual_without_a_majority():
    rows = shown(record(0.5), record(0.5, seed=1))
    assert usual_of(rows).note == ""
    assert [usual_of(rows).told(row) for row in rows] == [["seed 0"], ["seed 1"]]


def test_one_fit_end_to_end_does_not_lengthen_the_other_lines():
    end_to_end = finetuned(layer="enc_0")
    alike = {name: end_to_end.spec[name] for name in ("inputs", "noise_mode")}
    records = [*(record(0.5, layer=layer, **alike) for layer in LAYERS), end_to_end]
    names = heads_apart(shown(*records))
    assert names[:3] == ["ridge"] * 3
    assert "training end to end, encoder frozen" in names[3]
    (drawn,) = heat_maps(
        source_of([*records, record(0.4, layer="enc_0", pooling="mean_max", **alike)]), "log_g"
    )
    assert "Unless stated: training on stored features" in drawn.caption
    overview = draw_overview(frame_of(records, fresh), "log_g")
    written = [text.get_text() for text in overview.figure.axes[0].texts]
    assert sum("training" in text for text in written) <= 1
    assert "Unless stated: " in overview.caption


def test_a_heat_map_leaves_out_panels_of_a_single_cell_and_counts_them():
    grid = [record(0.5, layer=layer) for layer in LAYERS]
    alone = [record(0.4, head="ols"), record(0.3, error_input="zero")]
    (drawn,) = heat_maps(source_of([*grid, *alone]), "log_g")
    assert panels_of(drawn) == ["ridge"]
    assert "Left out: 2 settings of a single cell." in drawn.caption
    (whole,) = heat_maps(source_of(alone), "log_g")
    assert len(panels_of(whole)) == 2
    assert "Left out" not in whole.caption


def test_a_heat_map_has_no_more_panels_than_can_be_read():
    many = [
        record(0.5, layer=layer, params={"alpha": float(k)})
        for k in range(MOST_PANELS + 2)
        for layer in LAYERS[:2]
    ]
    (drawn,) = heat_maps(source_of(many), "log_g")
    assert len(panels_of(drawn)) == MOST_PANELS
    assert f"{MOST_PANELS} of {MOST_PANELS + 2} settings" in drawn.caption
