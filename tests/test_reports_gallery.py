"""The gallery: every figure draws from fakes, its words stand clear, its bytes repeat, gaps are named."""

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from figures_fakes import (
    audit,
    ceiling,
    full_source,
    importance,
    occlusion,
    predicted,
    spectra,
    swept,
    write_small,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from reports_fakes import finetuned, history, record, source_of, written
from reports_other_fakes import made

from cache.commandline import main
from cache.errors import ConfigError, UnknownName
from reports.cli import VERBS
from reports.figure_files import Written, captions, make_figures, missing
from reports.gallery import PER_LABEL, NamedFigure, Skipped, figures, tasks
from reports.style import rendered
from reports.typesetting import LARGE, SMALL, elided, text_width, wrapped

LONG = {
    "alpha": 0.001,
    "a_very_long_name_of_a_parameter": "a value that goes $on$ for_a_while",
    "x": [1, 2, 3],
}


def hostile_source():
    """Many layers, long names, scores far below 0, missing intervals, NaN and outliers in predictions."""
    labels = {"log_g": 0.5, "a_M": -40.0, "a_label_that_nobody_knows.v2": 0.1}
    probes = [
        record(
            {label: value - 0.03 * k for label, value in labels.items()},
            layer=f"enc_{k}",
            pooling=pooling,
            head=head,
            params=LONG if head == "ridge" else {},
            half_width=None if pooling == "mean_max" else 0.03,
            direction=direction,
        )
        for k in range(12)
        for pooling in ("mean_max", "seg_mean_K16")
        for head, direction in (("ridge", "forward"), ("mlp_1", "concat"))
    ]
    probes = [written(probe) for probe in [*probes, finetuned(), record(failed="no", layer="enc_0")]]
    columns = predicted(200)
    y, y_hat = columns.pop("y"), columns.pop("y_hat")
    y[::17], y_hat[3], columns["snr"][5] = np.nan, 1e3, np.nan
    columns |= {
        f"{name}_{label}": values for label in labels for name, values in (("y", y), ("y_hat", y_hat))
    }
    curves = history(3, len(labels))
    curves["history_train_rmse"][:] = np.nan
    harsh = audit(headline=f"Unclear: {'log_g ' * 30}survives.", layer="enc_pre_latent + enc_last")
    harsh.result["flags"].append("x" * 200)
    return source_of(
        [*probes, harsh, audit()],
        arrays={p.run_id: curves for p in probes if p.spec["head"] == "mlp_1"},
        predictions={p.run_id: columns for p in probes},
        state=lambda _key, _digest: "missing",
    )


def lone_source():
    """One row below 0 without interval; every other record with as little in it as it can have."""
    one = written(record(-0.3, half_width=None))
    columns = predicted(25)
    columns["y"][:] = 3.0
    weight, weight_arrays = importance("log_g", one, directions=("mean",))
    weight_arrays["importance/log_g"] -= 1
    weight_arrays["importance_lo/log_g"][:] = np.nan
    shown, shown_arrays = spectra(1, 50, labels=False)
    covered, covered_arrays = occlusion(("enc_last/forward/mean_max",), n_windows=1)
    covered_arrays["std/enc_last/forward/mean_max"][:] = 0
    return source_of(
        [one, weight, ceiling("log_g", [one], applicable=[False]), shown, covered],
        arrays={weight.run_id: weight_arrays, shown.run_id: shown_arrays, covered.run_id: covered_arrays},
        predictions={one.run_id: columns},
    )


def swept_source():
    return source_of([*swept(), record(-50.0, train_size=7)])


def assert_clear(item):
    """Words and axes lie inside the figure, and no line of words lies on axes or on another line."""
    figure = item.figure
    renderer = figure.canvas.get_renderer()
    page = figure.bbox
    lines = [text.get_window_extent(renderer) for text in figure.texts if text.get_text()]
    axes = [a.get_tightbbox(renderer) for a in figure.axes if a.get_visible()]
    for box in [*lines, *(box for box in axes if box is not None)]:
        assert box.x0 >= page.x0 - 2
        assert box.x1 <= page.x1 + 2
        assert box.y0 >= page.y0 - 2
        assert box.y1 <= page.y1 + 2
    for place, line in enumerate(lines):
        for box in [*lines[place + 1 :], *axes]:
            overlap = min(line.x1, box.x1) - max(line.x0, box.x0), min(line.y1, box.y1) - max(line.y0, box.y0)
            assert min(overlap) <= 2, (item.name, line, box)


def assert_ticks_clear(item):
    """No two texts at the ticks of one axis lie on one another."""
    renderer = item.figure.canvas.get_renderer()
    for axes in item.figure.axes:
        for axis, low, high in ((axes.xaxis, "x0", "x1"), (axes.yaxis, "y0", "y1")):
            texts = [t for t in axis.get_ticklabels() if t.get_visible() and t.get_text()]
            boxes = sorted((t.get_window_extent(renderer) for t in texts), key=lambda box: getattr(box, low))
            for one, two in pairwise(boxes):
                assert getattr(one, high) <= getattr(two, low) + 2, item.name


def test_every_kind_draws_and_its_words_stand_clear():
    items = [item for task in tasks(full_source()) for item in task.run()]
    drawn = [item for item in items if isinstance(item, NamedFigure)]
    assert {item.name for item in drawn} >= {f"{kind}_log_g" for kind in PER_LABEL}
    assert {"depth", "examples", "occlusion"} <= {item.name for item in drawn}
    assert len({item.name for item in items}) == len(items)
    for item in drawn:
        assert item.title
        assert item.caption
        assert "mock data (not BOSZ" in item.caption
        if not item.name.startswith("overview"):
            assert_clear(item)
            assert_ticks_clear(item)


@pytest.mark.parametrize("make", [hostile_source, lone_source, swept_source])
def test_hostile_records_draw_and_their_words_stand_clear(make):
    kinds = set()
    for item in figures(make()):
        kinds.add(item.name.split("_")[0])
        if item.name.startswith(("heatmap", "examples", "size")):
            assert rendered(item.figure, "png").startswith(b"\x89PNG")
        if not item.name.startswith("overview"):
            assert_clear(item)
            assert_ticks_clear(item)
    assert len(kinds) > 3


def test_figures_of_one_label_show_that_label_alone():
    todo = tasks(full_source(), label="T_eff")
    assert {task.label for task in todo} == {"T_eff", None}
    assert {"heatmap_T_eff", "depth_T_eff", "examples"} <= {task.stem for task in todo}
    with pytest.raises(UnknownName, match=r"unknown label 'radius'.*log_g"):
        list(figures(full_source(), label="radius"))


def test_stale_scores_and_red_flags_are_told():
    leak = record(0.3, control="shuffled_labels", flags=("control scores above zero (log_g)",))
    source = source_of([record(0.5), leak], state=lambda _key, _digest: "changed")
    (heat,) = (item for item in figures(source) if item.name == "heatmap_log_g")
    assert heat.caption.startswith("RED FLAG, log_g")
    texts = " ".join(text.get_text() for text in heat.figure.texts)
    assert "1 of 1 scores drawn are stale" in texts


def test_records_of_other_kinds_tell_stale_stores():
    stale = audit()
    stale.result["stores"]["k" * 64] = "d" * 64
    source = source_of([record(0.5), stale], state=lambda _key, _digest: "missing")
    (item,) = (item for item in figures(source) if item.name == "audit_log_g")
    assert "1 of the 1 stores behind this are missing" in " ".join(t.get_text() for t in item.figure.texts)


def test_what_has_no_data_is_named_and_never_drawn():
    outcomes = [item for task in tasks(source_of([record(0.5)])) for item in task.run()]
    gaps = [item for item in outcomes if isinstance(item, Skipped)]
    assert {"audit_log_g", "ceiling_log_g", "curves_log_g", "examples", "size_log_g"} <= {
        g.name for g in gaps
    }
    lines = list(missing(gaps))
    assert "audit of log_g: needs an audit: make audit" in lines
    assert any(line.startswith("examples: needs example spectra") for line in lines)


def test_failed_records_of_other_kinds_are_left_out():
    failed = made("audit", {"label": "log_g"}, {"status": "failed", "error": "no"})
    names = {item.name for item in figures(source_of([record(0.5), failed]))}
    assert "heatmap_log_g" in names
    assert not any(name.startswith("audit") for name in names)


SCRIPT = """
import sys
from pathlib import Path
from figures_fakes import write_small
from reports.cli import VERBS
from reports.figure_files import make_figures
if __name__ == "__main__":
    root = Path(sys.argv[1])
    write_small(root)
    make_figures(root, None, out=root / "out", jobs=int(sys.argv[2]))
    heavy = {"torch", "sklearn", "lightgbm"} & set(sys.modules)
    assert not heavy, heavy
"""


def test_files_have_equal_bytes_whatever_the_hash_seed_and_the_number_of_jobs(tmp_path):
    script = tmp_path / "draw.py"
    script.write_text(SCRIPT)
    here = Path(__file__).parent
    contents = []
    for seed, jobs in (("1", "1"), ("2", "2")):
        path = os.pathsep.join(map(str, (here, here.parent)))
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path}
        subprocess.run([sys.executable, str(script), str(tmp_path / seed), jobs], env=environment, check=True)
        contents.append(
            {path.name: path.read_bytes() for path in sorted((tmp_path / seed / "out").iterdir())}
        )
    assert contents[0] == contents[1]
    assert {"heatmap_log_g.pdf", "heatmap_log_g.png", "predicted_log_g.pdf", "captions.md"} <= set(
        contents[0]
    )
    for name, content in contents[0].items():
        assert b"CreationDate" not in content, name
        assert b"Matplotlib" not in content, name
    assert b"## Not drawn, for lack of data" in contents[0]["captions.md"]


def test_captions_tell_every_figure_and_less_than_one_job_is_refused(tmp_path):
    some = [Written(name=f"f{k}", title=f"Title {k}", caption=f"Caption {k}.") for k in range(2)]
    text = captions([*some, Skipped(name="audit_log_g", label="log_g", needs="an audit: make audit")])
    assert text.startswith("# Figures\n\n## f0\n\n**Title 0**\n\nCaption 0.\n\n## f1")
    assert text.endswith("## Not drawn, for lack of data\n\n- audit of log_g: needs an audit: make audit\n")
    with pytest.raises(ConfigError, match="--jobs 0: at least one process"):
        make_figures(tmp_path, None, out=tmp_path / "out", jobs=0)


def test_the_command_names_what_it_drew_and_what_it_could_not(tmp_path, capsys):
    write_small(tmp_path)
    flags = ["--results", str(tmp_path), "--out", str(tmp_path / "out"), "--jobs", "1", "--label", "log_g"]
    assert main("reports", VERBS, ["figures", *flags]) == 0
    told = capsys.readouterr().out
    assert "heatmap_log_g: log_g: enc_pre_latent with seg_mean_K8 scores highest" in told
    assert "not drawn: audit of log_g: needs an audit: make audit" in told
    assert "4 figures as PNG and PDF, captions.md" in told
    assert main("reports", VERBS, ["figures", *flags[:-1], "radius"]) == 2
    assert "unknown label 'radius'" in capsys.readouterr().err


@settings(deadline=None, max_examples=60)
@given(
    st.text(st.characters(min_codepoint=33, max_codepoint=126) | st.just(" "), max_size=120),
    st.floats(0.3, 4),
)
def test_wrapped_lines_fit_and_lose_nothing(text, width):
    lines = wrapped(text, width, size=LARGE, bold=True)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(text_width(line, size=LARGE, bold=True) <= width + 1e-9 or len(line) == 1 for line in lines)


@settings(deadline=None, max_examples=60)
@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=80), st.floats(0.3, 4))
def test_elided_texts_fit(text, width):
    short = elided(text, width, size=SMALL)
    assert short == text if text_width(text, size=SMALL) <= width else text_width(short, size=SMALL) <= width
