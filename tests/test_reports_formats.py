"""The machine-readable formats, read back by those who read them: astropy, pandas, LaTeX."""

import io
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from astropy import units
from astropy.io import ascii as astropy_ascii
from astropy.table import QTable
from astropy.table import Table as AstropyTable
from hypothesis import given, settings
from hypothesis import strategies as st
from reports_fakes import record, source_of
from reports_other_fakes import of_all_kinds

from reports.everything import everything
from reports.formats import TEXTS, TIDY
from reports.generate import OF_OTHERS, build_files, build_tables
from reports.render_ecsv import ecsv_text
from reports.render_latex import latex, tex
from reports.render_mrt import mrt_text
from reports.table import Column, Estimate, Table
from reports.tidy_columns import Tidy, flat_text, tidy_of


@pytest.fixture(scope="module")
def source():
    return of_all_kinds()


@pytest.fixture(scope="module")
def documents(source):
    return build_tables(source)


@pytest.fixture(scope="module")
def files(source, documents):
    return build_files(source, documents)


def test_all_kinds_have_documents(documents):
    kinds = {name.rsplit("_log_g")[0] for name in documents if name.endswith("_log_g")}
    assert kinds >= {"layers", "grid", "heads", "controls", "sizes", "noise", *OF_OTHERS}


def test_two_runs_give_the_same_bytes(files):
    again = of_all_kinds()
    assert build_files(again, build_tables(again)) == files


def test_ecsv_is_read_by_astropy_with_units(documents, files):
    for name, tables in documents.items():
        frame = tidy_of(tables).frame
        read = AstropyTable.read(files[f"{name}.ecsv"].decode(), format="ascii.ecsv")
        assert read.colnames == list(frame.columns)
        assert len(read) == len(frame)
        for column in ("test_r2", "r2", "val_r2"):
            if column in frame:
                ours = pd.to_numeric(frame[column]).to_numpy(dtype=float, na_value=np.nan)
                np.testing.assert_array_equal(np.ma.filled(read[column].astype(float), np.nan), ours)
    read = AstropyTable.read(files["layers_log_g.ecsv"].decode(), format="ascii.ecsv")
    assert read["test_rmse"].unit == units.dex
    assert read["test_r2"].unit is None
    assert read["n_test"].dtype.kind == "i"
    assert read.meta["titles"][0].startswith("log_g: layer x pooling")
    kelvin = QTable.read(files["controls_T_eff.ecsv"].decode(), format="ascii.ecsv")
    assert kelvin["test_mae"].unit == units.K
    assert (
        AstropyTable.read(files["importance_log_g.ecsv"].decode(), format="ascii.ecsv")["wave_lo"].unit
        == units.AA
    )
    mixed = AstropyTable.read(files["labels.ecsv"].decode(), format="ascii.ecsv")
    assert mixed["test_rmse"].unit is None
    assert "in the unit that column unit names" in mixed["test_rmse"].description


def test_mrt_is_read_by_astropy_with_units(documents, files):
    for name, tables in documents.items():
        text = files[f"{name}.mrt"].decode("ascii")
        read = astropy_ascii.read(text, format="mrt")
        assert len(read) == len(tidy_of(tables).frame)
    read = astropy_ascii.read(files["layers_log_g.mrt"].decode(), format="mrt")
    frame = tidy_of(documents["layers_log_g"]).frame
    there = frame["test_r2"].notna().to_numpy()
    np.testing.assert_allclose(np.asarray(read["test_r2"])[there], frame["test_r2"][there], atol=5e-7)
    assert list(np.ma.getmaskarray(read["test_r2"])) == list(~there)
    assert read["test_rmse"].unit == units.dex(units.one)
    assert astropy_ascii.read(files["layers_T_eff.mrt"].decode(), format="mrt")["test_rmse"].unit == units.K


def test_mrt_lines_up_with_its_byte_by_byte_description(files):
    text = files["controls_log_g.mrt"].decode()
    described = re.findall(r"^ *(?:(\d+)- *)?(\d+) ([AFIE])(\d+)(?:\.\d)? ", text, flags=re.MULTILINE)
    rows = text.rsplit("-" * 80 + "\n", 1)[1].splitlines()
    ends = [int(end) for _, end, _, _ in described]
    starts = [int(start or end) for start, end, _, _ in described]
    assert [end - start + 1 for start, end in zip(starts, ends, strict=True)] == [
        int(w) for *_, w in described
    ]
    assert starts[1:] == [end + 2 for end in ends[:-1]]
    assert max(map(len, rows)) <= ends[-1]


def test_deluxetables_are_read_by_astropy(documents, files):
    for name, tables in documents.items():
        text = files[f"{name}.tex"].decode("ascii")
        parts = re.findall(r"\\begin\{deluxetable.*?\\end\{deluxetable\*?\}", text, flags=re.DOTALL)
        assert len(parts) == len(tables)
        for part, table in zip(parts, tables, strict=True):
            read = astropy_ascii.read(part, format="aastex")
            assert len(read) == len(table.rows)
            assert len(read.colnames) == len(table.columns)


@pytest.mark.skipif(
    shutil.which("pdflatex") is None
    or subprocess.run(
        ["kpsewhich", "aastex631.cls", "epsf.sty"], capture_output=True, check=False
    ).stdout.count(b"\n")
    < 2,
    reason="no pdflatex with AASTeX 6.3.1 (Debian: texlive-publishers texlive-plain-generic) here",
)
def test_deluxetables_compile(files, tmp_path):
    names = [name for name in files if name.endswith(".tex") and "T_eff" not in name]
    for name in names:
        (tmp_path / name).write_bytes(files[name])
    many = [one_table(f"table {number} of many, with brackets [x]") for number in range(60)]
    (tmp_path / "many.tex").write_text(latex(many, name="many"))
    names.append("many.tex")
    inputs = "\n".join(f"\\input{{{name}}}\\clearpage" for name in names)
    (tmp_path / "paper.tex").write_text(
        f"\\documentclass{{aastex631}}\\begin{{document}}\n{inputs}\n\\end{{document}}\n"
    )
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]


def test_parquet_holds_every_number_once(source, files):
    read = pd.read_parquet(io.BytesIO(files[TIDY]))
    frame = source.frame
    scores = read[(read["table"] == "scores") & (read["source"] == "ours")]
    for split in ("train", "val", "test"):
        for metric in ("r2", "rmse", "mae"):
            part = scores[(scores["split"] == split) & (scores["quantity"] == metric)]
            ours = frame.set_index(["run_id", "label"])[f"{split}_{metric}"].dropna()
            found = part.set_index(["run_id", "label"])["value"].dropna()
            assert found.sort_index().to_dict() == ours.sort_index().to_dict()
    of_r2 = scores[(scores["quantity"] == "r2") & (scores["split"] == "test")]
    ok = of_r2["status"] == "ok"
    assert (of_r2["low"] < of_r2["value"])[ok].all()
    assert of_r2.loc[~ok, "error"].tolist() == ["a, b | c\n& 100 % \\d"]
    assert set(scores.loc[scores["quantity"] == "rmse", "unit"]) == {"dex", "K"}
    assert set(scores.loc[scores["quantity"] == "r2", "unit"]) == {""}
    assert set(read["table"]) == {"scores", *OF_OTHERS}
    checked = read[(read["table"] == "published") & (read["label"] == "log_g")]
    assert set(checked.loc[checked["metric"] == "rmse", "unit"]) == {"dex"}
    assert set(checked.loc[checked["metric"] == "r2", "unit"]) == {""}
    assert str(read["wave_lo"].dtype) == "Float64"
    assert str(read["train_size"].dtype) == "Int64"


def test_everything_of_scores_alone():
    frame = source_of([record(0.5)]).frame
    found = everything(frame, {})
    assert found["table"].unique().tolist() == ["scores"]
    assert len(found) == 3 * 6 + 4  # 6 metrics of 3 splits, 4 published scores


def one_table(text, number=1.0):
    frame = pd.DataFrame(
        {"label": ["a", "b"], "unit": ["dex", "dex"], "name": [text, "x"], "rmse": [number, None]}
    )
    columns = (
        Column(key="name", heading=text or "empty", align="left"),
        Column(key="rmse", heading="RMSE", unit="dex"),
    )
    rows = ({"name": text, "rmse": number}, {"name": "x", "rmse": Estimate(number, None, number)})
    return Table(title=text, columns=columns, rows=rows, notes=(text,), tidy=frame)


@settings(deadline=None, max_examples=25)
@given(st.text(max_size=40), st.floats(allow_nan=False, allow_infinity=False))
def test_any_text_and_number_survive(text, number):
    table = one_table(text, number)
    columns = Tidy(table.tidy).columns
    flat = "".join(c if c.isprintable() else repr(c)[1:-1] for c in " ".join(text.split()))
    read = AstropyTable.read(ecsv_text([table], columns), format="ascii.ecsv")
    assert read["rmse"][0] == number
    assert str(np.ma.filled(read["name"], "")[0]) == flat
    machine = astropy_ascii.read(mrt_text([table], columns), format="mrt")
    assert machine["rmse"][0] == pytest.approx(number, rel=1e-5, abs=1e-6)
    assert latex([table], name="t").isascii()


@given(st.lists(st.one_of(st.none(), st.text(max_size=3), st.integers(0, 1), st.booleans(), st.floats(0, 1))))
def test_repeated_values_are_written_as_if_each_stood_alone(values):
    mixed = pd.DataFrame({"unit": ["dex"] * len(values), "name": pd.Series(values, dtype="object")})
    (_, column) = Tidy(mixed).columns
    if column.kind == "string":
        alone = [None if pd.isna(value) else flat_text(str(value)) for value in values]
        assert list(column.texts) == alone


def test_latex_escapes_what_would_break_it():
    assert tex("a_b & 50 % #1 {x} ~^\\") == (
        "a\\_b \\& 50 \\% \\#1 \\{x\\} \\textasciitilde{}\\textasciicircum{}\\textbackslash{}"
    )
    assert tex("[1] and *") == "{}[1] and *"
    assert tex("R2 -0.5, +-0.046, seg-1") == "$R^2$ $-$0.5, $\\pm$0.046, seg-1"
    assert tex("é") == "\\textbackslash{}xe9"


def test_all_text_formats_end_in_a_newline(files):
    assert all(content.endswith(b"\n") for name, content in files.items() if name.split(".")[-1] in TEXTS)
