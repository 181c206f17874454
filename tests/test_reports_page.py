"""The page shows what the tables hold, escapes everything, asks for nothing, and is the same bytes again."""

import base64
import dataclasses
import hashlib
import re

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from page_fakes import Reader, full_records, page_of
from reports_fakes import RANDOM_FAMILY, few_records, key_of, record, source_of, write

from cache.commandline import main
from cache.errors import ConfigError
from reports.cli import VERBS
from reports.figure_files import make_figures
from reports.gallery import Skipped
from reports.generate import build_tables
from reports.page import make_page, render_page
from reports.page_cells import value_text
from reports.page_figures import FigureView, drawn_figures
from reports.source import read_source
from reports.table import Column, Table

HOSTILE = """<script>alert(1)</script>"><img src=x onerror=alert(2)>'&amp;</table>"""


@pytest.fixture(scope="module")
def text():
    return page_of(full_records(), figures=2)


@pytest.fixture(scope="module")
def page(text):
    return Reader(text)


def test_equal_records_give_equal_bytes(text):
    assert page_of(full_records(), figures=2) == text


def test_every_cell_of_every_table_is_there(page):
    """The slow twin: every table by a plain loop over its rows and columns."""
    tables = build_tables(source_of(full_records()))
    for name, several in tables.items():
        for index, table in enumerate(several):
            shown = page.tables[f"table-{name}-{index}" if index else f"table-{name}"]
            columns = [column for column in table.columns if column.key != "run"]
            assert [cells[: len(columns)] for cells in shown[:1]] == [[column.title for column in columns]]
            for row, cells in zip(table.rows, shown[1:], strict=True):
                expected = []
                for column in columns:
                    cell = row.get(column.key)
                    values = cell if isinstance(cell, tuple) else (cell,)
                    expected.append("".join(value_text(value, column) for value in values) or "-")
                assert cells[: len(columns)] == expected


def test_every_number_leads_to_its_record(page):
    records = {f"r-{item.run_id[:16]}": item for item in full_records()}
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert set(records) <= set(ids)
    assert all(href[1:] in ids for href in page.values("href") if href.startswith("#"))
    linked = {href[1:] for href in page.values("href")}
    assert {name for name, item in records.items() if item.kind == "probe"} <= linked
    assert set(page.values("data-run")) <= set(records)


def test_provenance_names_head_stores_and_their_state(page):
    everything = "".join(page.texts)
    assert f"train {key_of('train')[:16]} = 0{key_of('train')[:11]}, fresh" in everything
    assert everything.count('{"alpha": 0.001}') >= 2


def test_nothing_is_asked_of_the_network(text, page):
    allowed = ("data:image/webp;base64,", "#")
    assert all(value.startswith(allowed) for name in ("src", "href") for value in page.values(name))
    assert not re.search(r"https?://|url\(|@import", text)
    assert not [tag for tag, _ in page.elements if tag in ("link", "iframe", "object", "base", "form")]


def test_the_policy_admits_this_script_and_these_styles_alone(text):
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)[1].replace("&#39;", "'")
    for tag, name in (("script", "script-src"), ("style", "style-src")):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, flags=re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{name} 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy


def test_hostile_names_stay_text():
    records = [
        record({"log_g": 0.5}, pooling=HOSTILE, flags=(HOSTILE,), run={"command": HOSTILE}),
        record({"log_g": 0.4}, failed=HOSTILE, head=HOSTILE, group=HOSTILE),
    ]
    page = Reader(page_of(records))
    tags = [tag for tag, _ in page.elements]
    assert tags.count("script") == 1
    assert "img" not in tags
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert "".join(page.texts).count(HOSTILE) >= 6


@settings(max_examples=25, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40))
def test_any_text_is_shown_as_it_is(words):
    table = Table(
        title=words,
        lead=(words,),
        columns=(Column(key="a", heading=words, align="left"),),
        rows=({"a": words},),
        notes=(words,),
        tidy=pd.DataFrame(),
    )
    page = Reader(render_page(SMALL, tables={"odd": [table]}))
    assert page.tables["table-odd"] == [[words], [words]]
    assert page.texts.count(words) >= 5


SMALL = source_of([record()])
N_FEW = len(few_records())


def test_stale_rows_are_marked_and_no_others():
    gone = key_of("test", RANDOM_FAMILY)
    page = Reader(page_of(few_records(), state=lambda key, _: "missing" if key == gone else "fresh"))
    rows = [(attributes.get("class"), words) for attributes, words in page.rows if "data-run" in attributes]
    assert {"random encoder" in words for kind, words in rows if kind == "stale"} == {True}
    assert {"random encoder" in words for kind, words in rows if kind != "stale"} == {False}
    assert all("stale: 1 of 3 missing" in words for kind, words in rows if kind == "stale")
    assert (
        f"1 of {N_FEW} rows are stale: feature stores they rest on are missing, changed or unreadable."
        in page.texts
    )


def test_fresh_rows_are_not_marked():
    assert "stale" not in Reader(page_of(few_records())).values("class")


def test_failed_records_show_their_error(page):
    assert "failed" in page.texts
    assert any(": matrix <b>singular</b> & odd. This is " in words for words in page.texts)
    assert any(
        words.endswith("rows failed and have no score; notes below the tables say why.")
        for words in page.texts
    )


def test_changing_one_record_changes_exactly_its_rows():
    records = few_records()
    changed = dataclasses.replace(records[3], result={**records[3].result, "d": 7})
    old, new = (Reader(page_of(some)).rows for some in (records, [*records[:3], changed, *records[4:]]))
    differing = [before[0] for before, after in zip(old, new, strict=True) if before != after]
    anchor = f"r-{records[3].run_id[:16]}"
    assert differing
    assert all(attributes.get("data-run", anchor) == anchor for attributes in differing)


def test_a_red_flag_leads():
    page = Reader(
        page_of([record(), record(0.3, control="shuffled_labels", flags=("control scores above zero",))])
    )
    texts = [words.strip() for words in page.texts]
    flag = next(index for index, words in enumerate(texts) if words.startswith("RED FLAG, log_g"))
    assert flag < texts.index("What is the best configuration?")


def test_what_could_not_be_drawn_is_named(page):
    assert "audit_log_g needs make audit" in page.texts


def test_records_of_failed_fits_alone_still_give_a_page():
    page = Reader(page_of([record(failed="no luck")]))
    assert page.texts.count("not measured") == 4
    assert any(words.startswith("Failed, 1 of 1 rows: no luck.") for words in page.texts)


def test_every_figure_is_a_link_to_itself_at_full_width(page):
    links = [a["href"] for tag, a in page.elements if tag == "a" and a.get("class") == "enlarge"]
    assert links == [f"#{a['id']}" for tag, a in page.elements if tag == "figure"]


def test_figures_are_embedded_with_their_words(page):
    images = [attributes for tag, attributes in page.elements if tag == "img"]
    assert [(image["alt"], image["width"], image["height"]) for image in images] == [
        ("story 0", "288", "192"),
        ("story 1", "288", "192"),
    ]
    assert "drawn 1" in page.texts


def test_the_command_writes_the_page(tmp_path, capsys):
    write(tmp_path / "results", [record()])
    out = tmp_path / "deep" / "report.html"
    arguments = [
        "page",
        "--results",
        str(tmp_path / "results"),
        "--features",
        str(tmp_path),
        "--out",
        str(out),
    ]
    assert main("reports", VERBS, arguments) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert Reader(out.read_text()).inside == []


def test_the_files_of_figures_are_those_that_figures_writes_and_leave_the_page_alone(tmp_path):
    write(tmp_path / "results", [record(0.5), record(0.3, layer="enc_last")])
    alone = drawn_figures(tmp_path / "results", None)
    both = drawn_figures(tmp_path / "results", None, files=tmp_path / "both")
    make_figures(tmp_path / "results", None, out=tmp_path / "apart")
    assert both == alone
    found, expected = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("both", "apart")
    )
    assert "overview_log_g.pdf" in found
    assert found == expected


def test_jobs_do_not_change_the_page(tmp_path):
    write(tmp_path / "results", [record()])
    several, one = (drawn_figures(tmp_path / "results", None, jobs=jobs) for jobs in (2, 1))
    assert several == one
    assert {type(item) for item in one} == {FigureView, Skipped}
    source = read_source(tmp_path / "results", None)
    alone, given = (
        make_page(source, out=tmp_path / f"{name}.html", figures=figures).read_bytes()
        for name, figures in (("alone", None), ("given", several))
    )
    assert alone == given
    with pytest.raises(ConfigError, match="at least one process"):
        drawn_figures(tmp_path / "results", None, jobs=0)


def test_an_empty_folder_names_the_command(tmp_path, capsys):
    assert main("reports", VERBS, ["page", "--results", str(tmp_path)]) == 2
    assert "python -m probes run" in capsys.readouterr().err
