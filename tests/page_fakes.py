"""What the tests of the page share: audit and ceiling records, a page of invented records, a reader of its HTML."""

from html.parser import HTMLParser
from typing import Any

from matplotlib.figure import Figure
from reports_fakes import demo_records, record, source_of

from cache.records import Record, run_id
from reports.gallery import Skipped
from reports.generate import build_tables
from reports.page import render_page
from reports.page_figures import figure_view

VOID = {"meta", "input", "img", "br", "path"}


def audit_record(
    shortcut: str = "yes",
    *,
    label: str = "log_g",
    head: str = "ridge",
    layer: str = "enc_pre_latent",
    stores: dict[str, str] | None = None,
    predictions: dict[str, str] | None = None,
    **changed: Any,
) -> Record:
    spec = {
        "label": label,
        "features": {"layer": layer, "direction": "forward", "pooling": "seg_mean_K8"},
        "head": head,
        "data_kind": "mock",
        "error_inputs": ["true", "zero"],
        "method": "sign flips",
        "noise_levels": dict.fromkeys(("train", "val", "test"), 1.0),
        **changed,
    }
    alone = {
        "name": "A1",
        "question": "what the error tells",
        "source": "input_error/forward/none",
        "error_input": "true",
        "trained_on_error_input": "true",
        "target": label,
        "r2": 0.9,
        "interval": [0.88, 0.92],
        "rmse": 0.3,
        "unit": "dex",
        "n": 500,
    }
    result = {
        "status": "ok",
        "error": None,
        "n": {"test": 500},
        "flags": [],
        "stores": {"5a" * 32: "6b" * 32} if stores is None else stores,
        "predictions": predictions or {},
        "rows": [alone],
        "survival": [],
        "verdict": {"shortcut": shortcut, "headline": "12 % [8, 16] of it survives", "words": ["Rule 4."]},
    }
    return Record(run_id("audit", spec), "audit", spec, result, {})


def ceiling_record(
    rows: list[dict[str, Any]], *, label: str = "log_g", noise_level: float = 1.0, value: float = 0.8
) -> Record:
    spec = {
        "label": label,
        "test": {"input": [], "noise_mode": "", "noise_level": noise_level},
        "method": "exact",
    }
    result = {
        "status": "ok",
        "error": None,
        "n": {"test": 500},
        "n_rows": {"test": 500},
        "flags": [],
        "stores": {},
        "predictions": {},
        "formula": "1 - mean(V) / Var(y)",
        "prior": "covariance of train",
        "fisher_method": "mock",
        "bins": {},
        "figures": {
            "prior_aware_mean": {"value": value, "interval": [value - 0.02, value + 0.02]},
            "unbiased_median": {"value": 0.7, "interval": [0.6, 0.8]},
            "unbiased_mean": None,
        },
        "rows": rows,
    }
    return Record(run_id("ceiling", spec), "ceiling", spec, result, {})


def ceiling_row(
    run: str, r2: float, *, why: str | None = None, above: bool = False, clear: bool = True
) -> dict[str, Any]:
    """`clear`: the ceiling is clear of 0, so that it has shares."""
    applicable = why is None
    share = r2 / 0.8 if applicable and clear else None
    return {
        "run": run,
        "r2": r2,
        "interval": [r2 - 0.03, r2 + 0.03],
        "applicable": applicable,
        "why": why,
        "share": share,
        "share_interval": [share - 0.04, share + 0.04] if share is not None else None,
        "gap": 0.8 - r2 if applicable else None,
        "gap_interval": [0.8 - r2 - 0.03, 0.8 - r2 + 0.03] if applicable else None,
        "above": above,
    }


def page_of(records: list[Record], *, figures: int = 0, **changed: Any) -> str:
    source = source_of(records, **changed)
    views = [
        figure_view(
            small_figure(k), name=f"figure_{k}", label="log_g", title=f"story {k}", caption=f"drawn {k}"
        )
        for k in range(figures)
    ]
    gaps = [Skipped(name="audit_log_g", label="log_g", needs="make audit")]
    return render_page(source, tables=build_tables(source), figures=views, gaps=gaps)


def small_figure(seed: int) -> Figure:
    figure = Figure(figsize=(3.0, 2.0), dpi=100)
    figure.subplots().plot([0, 1 + seed])
    return figure


def full_records() -> list[Record]:
    """The demo's shape, a failed record, an audit that found a shortcut, a ceiling that one row reaches half."""
    records = [*demo_records(), record(failed="matrix <b>singular</b> & odd", pooling="mean_max", head="ols")]
    ridge = records[0].run_id
    return [*records, audit_record(), ceiling_record([ceiling_row(ridge, 0.4)])]


class Reader(HTMLParser):
    """Elements of a page as (tag, attributes), tables as rows of texts, and the text of everything."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.rows: list[tuple[dict[str, str | None], str]] = []
        self.texts: list[str] = []
        self.inside: list[str] = []
        self._table = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.inside.append(tag)
        if tag == "section":
            self._table = dict(attrs).get("id") or ""
        if tag == "tr":
            self.tables.setdefault(self._table, []).append([])
            self.rows.append((dict(attrs), ""))
        if tag in ("td", "th"):
            self.tables[self._table][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.inside.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.inside and self.inside[-1] in ("script", "style"):
            return
        self.texts.append(data)
        if "td" in self.inside or "th" in self.inside:
            self.tables[self._table][-1][-1] += data
            attributes, before = self.rows[-1]
            self.rows[-1] = (attributes, before + data)

    def values(self, name: str) -> list[str]:
        return [str(attributes[name]) for _, attributes in self.elements if name in attributes]
