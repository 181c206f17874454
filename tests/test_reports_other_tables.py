"""Tables of audits, ceilings, bins and importance: what records hold, in words, with their state."""

import pytest
from reports_fakes import documents_of, key_of, record, source_of
from reports_other_fakes import audit, ceiling, comparison, failed, importance, with_predictions

from reports.audit_tables import audit_tables, flat
from reports.bins_tables import bin_columns, bins_tables
from reports.ceiling_tables import ceiling_tables
from reports.importance_tables import importance_tables
from reports.render_markdown import markdown
from reports.standing import standing
from reports.table import Estimate


@pytest.fixture
def probes():
    return with_predictions(record(0.4, layer="input_flux", pooling="none"), record(0.5))


def test_an_audit_says_its_verdict_and_what_survives():
    rows, survival = audit_tables(source_of([record(), audit()]), "log_g")
    assert rows.lead == ("A shortcut: half survives.", "Because of this.")
    assert rows.rows[0]["r2"] == Estimate(0.4, 0.4 - 0.1, 0.4 + 0.1)
    assert [column.title for column in rows.columns][-2:] == ["RMSE [dex]", "n"]
    assert [row["share"] for row in survival.rows] == [Estimate(0.5, 0.4, 0.6), None]
    assert [row["p"] for row in survival.rows] == ["p = 0.03", "p = 0.03"]
    assert survival.tidy["difference_lo"].tolist() == [-0.4, -0.4]
    assert set(rows.tidy["part"]) | set(survival.tidy["part"]) == {"rows", "survival"}
    assert audit_tables(source_of([record(), audit()]), "T_eff") == []


def test_intervals_become_two_columns():
    assert flat({"r2": 1, "interval": [0, 2], "p": 3, "gap_interval": None, "unit": "dex"}) == {
        "r2": 1,
        "r2_lo": 0,
        "r2_hi": 2,
        "p": 3,
        "gap_lo": None,
        "gap_hi": None,
    }


def test_a_ceiling_says_where_it_applies(probes):
    figures, rows, by_mag, by_snr = ceiling_tables(source_of([*probes, ceiling(*probes)]), "log_g")
    assert [row["figure"].split(":")[0] for row in figures.rows] == [
        "ceiling",
        "median over stars of the unbiased Cramer-Rao figure (not a ceiling for a mean)",
        "for sensitivity",
    ]
    applies = {row["layer"]: (row["applies"], row["share"]) for row in rows.rows}
    assert applies == {
        "input_flux": ("applies", Estimate(0.5, 0.45, 0.55)),
        "enc_pre_latent": ("sees the error: ceiling not applicable", None),
    }
    assert by_mag.columns[-1].heading == "mag 21.50 to 21.50 mag, n 500"
    assert [row["what"] for row in by_snr.rows] == ["ceiling", "unbiased median", "share of the ceiling"]
    assert by_snr.rows[1]["bin 1"] == Estimate(0.95)
    assert not rows.lead


def test_a_score_above_the_ceiling_is_a_red_flag(probes):
    _, rows, *_ = ceiling_tables(source_of([*probes, ceiling(*probes, above=True)]), "log_g")
    assert rows.lead[0].startswith("RED FLAG: raw noisy flux (input_flux")
    assert "RED FLAG" in str(rows.rows[1]["applies"])


def test_bins_are_headed_by_edges_and_counts(probes):
    (table,) = bins_tables(source_of([*probes, comparison(*probes)]), "log_g")
    assert [column.title for column in table.columns][-2:] == [
        "snr 2.0 to 5.0, n 250",
        "snr 5.0 to 20.0, n 250",
    ]
    assert [row["bin 0"] for row in table.rows] == [Estimate(0.3, 0.2, 0.4)] * 2
    assert [row["bin 1"] for row in table.rows] == [None, None]
    assert len(table.tidy) == 4
    assert bin_columns("mag", {"edges": [21.0, 22.0], "n": [3]})[0].heading == "mag 21.00 to 22.00 mag, n 3"


def test_importance_tells_what_a_causal_segment_means(probes):
    told, arrays = importance(probes[1])
    groups, segments = importance_tables(source_of([*probes, told], {told.run_id: arrays}), "log_g")
    assert [row["context"] for row in groups.rows] == ["context up to 7200 A", "context up to 8100 A"]
    assert groups.rows[0]["importance"] == Estimate(0.3, pytest.approx(0.28), pytest.approx(0.32))
    assert [row["alone"] is None for row in segments.rows] == [False, True]
    assert [column.unit for column in groups.columns if column.key.startswith("wave")] == ["Angstrom"] * 2
    assert not any("information at" in note for table in (groups, segments) for note in table.notes)


def test_failed_records_of_any_kind_show_their_error(probes):
    told, arrays = importance(probes[1])
    records = [*probes, failed(audit()), failed(ceiling(*probes)), failed(told)]
    texts = documents_of(records, arrays={told.run_id: arrays})
    for name in ("audit_log_g.md", "ceiling_log_g.md", "importance_log_g.md"):
        assert "no luck" in texts[name]


def test_other_records_are_stale_with_their_stores_and_probes(probes):
    made = ceiling(*probes)
    assert standing(made, source_of([*probes, made])) == "fresh"
    gone = source_of([*probes, made], state=lambda key, _: "missing" if key == key_of("test") else "fresh")
    assert standing(made, gone) == "stale: 1 of 1 missing"
    anew = source_of([probes[0], record(0.5), made])
    assert standing(made, anew) == "stale: 1 of 2 records it compares are gone or were fitted anew"
    text = markdown(ceiling_tables(anew, "log_g"))
    assert "Stale (1 of 2 records" in text


def test_bins_of_records_that_are_gone_or_refitted_are_marked(probes):
    made = comparison(*probes)
    (table,) = bins_tables(source_of([probes[0], made]), "log_g")
    assert [row["state"] for row in table.rows] == ["fresh", "stale: its record is gone"]
    (table,) = bins_tables(source_of([probes[0], record(0.5), made]), "log_g")
    assert sorted(str(row["state"]) for row in table.rows) == [
        "fresh",
        "stale: fitted anew since it was compared",
    ]


def test_tables_without_records_are_not_written():
    names = set(documents_of([record()]))
    assert not [
        n for n in names if n.startswith(("audit", "ceiling", "bins", "importance", "noise", "sizes"))
    ]
