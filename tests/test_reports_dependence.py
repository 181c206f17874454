"""What depends on what: one changed record changes its own lines, one lost store marks its own rows, nothing else."""

import csv
import dataclasses
import io
import subprocess
import sys

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reports_fakes import few_records, key_of, record, source_of, write
from reports_other_fakes import of_all_kinds

from reports.generate import build_files, build_tables

RECORDS = of_all_kinds()
HEAVY = ("torch", "sklearn", "lightgbm", "h5py", "lightning", "matplotlib")


def files_of(records, state=lambda *_: "fresh"):
    source = dataclasses.replace(RECORDS, state=state, **derived(records, state))
    return build_files(source, build_tables(source), formats=["csv", "parquet"])


def derived(records, state):
    again = source_of(list(records), state=state)
    return {"records": tuple(records), "frame": again.frame, "paired": again.paired}


BEFORE = files_of(RECORDS.records)


def lines(content):
    return list(csv.DictReader(io.StringIO(content.decode())))


def owners(line):
    """The records that a line names."""
    return {line.get("run_id"), line.get("run")}


@settings(deadline=None, max_examples=6)
@given(st.integers(0, len(few_records()) - 1), st.floats(0.001, 0.2))
def test_a_changed_score_changes_only_what_names_its_record(index, by):
    changed = RECORDS.records[index]
    scores = {
        split: {label: {**values, "r2": values["r2"] - by} for label, values in labels.items()}
        for split, labels in changed.result["scores"].items()
    }
    new = dataclasses.replace(changed, result={**changed.result, "scores": scores})
    after = files_of([*RECORDS.records[:index], new, *RECORDS.records[index + 1 :]])
    assert after.keys() == BEFORE.keys()
    for name in BEFORE:
        if name.endswith(".csv"):
            old, fresh = (sorted(map(tuple_of, lines(texts[name]))) for texts in (BEFORE, after))
            moved = set(old) ^ set(fresh)
            assert all(changed.run_id in line for line in moved), name
            if any(changed.run_id in line for line in old) and name.startswith(
                ("layers", "heads", "controls", "labels")
            ):
                assert moved, name
    old, fresh = (pd.read_parquet(io.BytesIO(content["tidy.parquet"])) for content in (BEFORE, after))
    differing = (old["value"] != fresh["value"]).fillna(False)
    assert set(old.loc[differing, "run_id"]) == {changed.run_id}


def tuple_of(line):
    return tuple(line.values())


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_lost_store_marks_every_row_that_rests_on_it(split):
    gone = key_of(split)
    after = files_of(RECORDS.records, state=lambda key, _: "missing" if key == gone else "fresh")
    resting = {record.run_id for record in RECORDS.records if gone in (record.result.get("stores") or {})}
    seen = set()
    for name, content in after.items():
        if not name.endswith(".csv") or name.startswith(("bins", "published")):
            continue
        for line in lines(content):
            if line["run_id"] in resting:
                assert line["state"].startswith("stale"), name
                seen.add(line["run_id"])
            else:
                assert not line["state"].startswith("stale"), name
    assert seen == {run for run in resting if run}


def test_the_command_itself_imports_nothing_heavy(tmp_path):
    write(tmp_path / "results", [record(), record(0.4, layer="enc_last")])
    verb = ["tables", "--results", str(tmp_path / "results"), "--out", str(tmp_path / "out")]
    code = (
        "import sys\n"
        "from cache.commandline import main\n"
        "from reports.cli import VERBS\n"
        f"code = main('reports', VERBS, {verb!r})\n"
        f"sys.stderr.write(str([name for name in {HEAVY!r} if name in sys.modules]))\n"
        "sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]"
    assert "and beside each: .csv, .ecsv, .tex, .mrt" in done.stdout
    assert (tmp_path / "out/tidy.parquet").exists()
