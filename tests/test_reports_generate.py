"""A results folder becomes files: all or none, the same bytes for the same records, nothing heavy imported."""

import csv
import dataclasses
import io

import numpy as np
import pytest
from reports_fakes import documents_of, few_records, fresh, history, key_of, record, write

from cache.errors import CacheError, ConfigError, UnknownName
from reports import generate, source
from reports.generate import labels_of, make_tables
from reports.rows import frame_of
from reports.source import load_records, store_state


@pytest.fixture
def results(tmp_path):
    records = few_records()
    curves = {item.run_id: history(30, n_labels=2) for item in records if item.spec["head"] == "mlp_1"}
    write(tmp_path / "results", records, curves)
    return tmp_path / "results"


def lines_by_run(text):
    return {(row["run_id"], row["label"]): row for row in csv.DictReader(io.StringIO(text))}


def test_every_table_is_written_and_returned(results, tmp_path):
    paths = make_tables(results, None, out=tmp_path / "out").paths
    names = [path.name for path in paths]
    kinds = ("layers", "grid", "heads", "controls", "progress")
    of_labels = [f"{kind}_{label}" for label in ("log_g", "T_eff") for kind in kinds]
    of_labels.insert(5, "published_log_g")
    of_labels.insert(11, "published_T_eff")
    texts = [
        f"{name}.{end}" for name in (*of_labels, "labels") for end in ("md", "csv", "ecsv", "tex", "mrt")
    ]
    assert names == [*texts, "tidy.parquet"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(names)
    assert all(path.read_bytes().endswith(b"\n") for path in paths[:-1])


def test_tables_of_an_earlier_run_are_named(results, tmp_path):
    out = tmp_path / "out"
    paths = make_tables(results, None, out=out, formats=["csv"]).paths
    (out / "layers_gone.csv").write_text("old")
    (out / "mine.csv").write_text("not a table of ours")
    assert [path.name for path in generate.left_over(out, paths)] == ["layers_gone.csv"]


def test_only_the_formats_asked_for_are_written(results, tmp_path):
    paths = make_tables(results, None, out=tmp_path / "out", formats=["csv", "parquet"]).paths
    assert {path.suffix for path in paths} == {".csv", ".parquet"}
    with pytest.raises(UnknownName, match="unknown format 'xlsx'; known: md, csv, ecsv, tex, mrt, parquet"):
        make_tables(results, None, out=tmp_path / "none", formats=["xlsx"])
    assert not (tmp_path / "none").exists()


def test_one_label_alone(results, tmp_path):
    paths = make_tables(results, None, out=tmp_path / "out", label="T_eff").paths
    assert not [path for path in paths if "log_g" in path.name]
    assert {path.name for path in paths} >= {"layers_T_eff.md", "labels.md"}
    both = make_tables(results, None, out=tmp_path / "both", label=("log_g", "T_eff")).paths
    assert {path.name for path in both} >= {"layers_T_eff.md", "layers_log_g.md"}


def test_equal_records_give_equal_bytes(results, tmp_path):
    first = [path.read_bytes() for path in make_tables(results, None, out=tmp_path / "a").paths]
    assert [path.read_bytes() for path in make_tables(results, None, out=tmp_path / "b").paths] == first


def test_time_host_and_order_do_not_matter():
    records = few_records()
    later = [dataclasses.replace(item, run={"time": "2031", "host": "x"}) for item in records]
    assert documents_of(later[::-1]) == documents_of(records)


def test_changing_one_record_changes_exactly_its_rows():
    records = few_records()
    before = documents_of(records)
    result = {**records[3].result, "d": 7}
    after = documents_of([*records[:3], dataclasses.replace(records[3], result=result), *records[4:]])
    old, new = (lines_by_run(texts["labels.csv"]) for texts in (before, after))
    assert [key for key in old if old[key] != new[key]] == [
        (records[3].run_id, label) for label in ("log_g", "T_eff")
    ]
    for name in before:
        if name.endswith(".csv"):
            changed = [
                a for a, b in zip(before[name].splitlines(), after[name].splitlines(), strict=True) if a != b
            ]
            assert all(records[3].run_id in line for line in changed)


def test_losing_a_store_marks_exactly_its_rows():
    gone = key_of("test", "0d" * 32)
    texts = documents_of(few_records(), state=lambda key, _: "missing" if key == gone else "fresh")
    rows = lines_by_run(texts["labels.csv"]).values()
    assert {row["control"] for row in rows if row["state"] != "fresh"} == {"random_encoder"}
    assert {row["state"] for row in rows if row["control"] == "random_encoder"} == {"stale: 1 of 3 missing"}


def test_states_come_from_the_features_folder(tmp_path):
    assert store_state(None)("k", "d") == "missing"
    assert store_state(tmp_path / "absent")("k", "d") == "missing"
    assert store_state(tmp_path)("ab" * 32, None) == "missing"


def test_each_store_is_looked_up_once(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        source, "state", lambda root, key, digest: asked.append((root, key, digest)) or "fresh"
    )
    state = store_state(tmp_path)
    assert [state("k", "d"), state("k", "d"), state("k", "e")] == ["fresh"] * 3
    assert asked == [(tmp_path, "k", "d"), (tmp_path, "k", "e")]


def test_an_unknown_label_lists_the_known(results, tmp_path):
    with pytest.raises(UnknownName, match=r"unknown label 'logg'; known: log_g, T_eff"):
        make_tables(results, None, out=tmp_path / "out", label="logg")
    assert not (tmp_path / "out").exists()


def test_an_empty_folder_names_the_command(tmp_path):
    with pytest.raises(CacheError, match=r"0 records and none of a probe; run `python -m probes run` first"):
        make_tables(tmp_path, None, out=tmp_path / "out")
    write(tmp_path, [record(kind="examples")])
    with pytest.raises(CacheError, match="1 records and none of a probe"):
        load_records(tmp_path)


def test_other_kinds_are_counted(tmp_path):
    write(tmp_path, [record(), record(kind="examples")])
    paths = make_tables(tmp_path, None, out=tmp_path / "out").paths
    text = next(path for path in paths if path.name == "labels.md").read_text()
    assert "Records of other kinds, not in these tables: 1 examples." in text


def test_nothing_is_written_when_a_table_cannot_be_built(results, tmp_path, monkeypatch):
    def broken(_frame, *_more):
        raise CacheError("broken")

    monkeypatch.setattr(generate, "labels_table", broken)
    with pytest.raises(CacheError, match="broken"):
        make_tables(results, None, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_label_that_cannot_be_a_file_name_is_refused():
    with pytest.raises(ConfigError, match="cannot be a file name"):
        documents_of([record({"../evil": 0.5})])


def test_failed_records_alone_still_give_tables():
    texts = documents_of([record(failed="no luck")])
    for name in ("layers_log_g.md", "heads_log_g.md", "labels.md"):
        assert "failed |" in texts[name]
        assert "Failed, 1 of 1 rows: no luck. This is enc_pre_latent / seg_mean_K8 / forward" in texts[name]


def test_labels_stand_in_their_order():
    frame = frame_of([record({"zz": 0.1, "C_M": 0.1, "T_eff": 0.2, "log_g": 0.3})], fresh)
    assert labels_of(frame) == ["log_g", "T_eff", "C_M", "zz"]


def test_progress_appears_with_a_curve_only(tmp_path):
    plain, curved = record(head="mlp_1", seed=1), record(head="mlp_1")
    write(tmp_path, [plain, curved], {curved.run_id: history(3), plain.run_id: {"alpha": np.ones(2)}})
    paths = make_tables(tmp_path, None, out=tmp_path / "out").paths
    (text,) = [path.read_text() for path in paths if path.name == "progress_log_g.md"]
    assert text.count("training progress") == 1
    assert curved.run_id[:8] in text
