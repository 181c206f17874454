"""`python -m extract plan` and `run --dry-run`: what they promise is what the extraction then writes."""

import json
from pathlib import Path

import pytest
from commands import extract
from survey_fakes import CHECKPOINT, LAYER, POOLING, YAML

from cache.cli import VERBS as CACHE_VERBS
from cache.commandline import main
from cache.commits import commit_path
from cache.plan_file import read_plan
from cache.provenance import store_key
from extract.dry_run import computing

BACKWARD_TOO = ("--directions", "forward,backward")


def flags(folder, survey, *more):
    """The flags that every test needs."""
    return (
        "--data", survey, "--checkpoint", CHECKPOINT, "--config-model", YAML, "--poolings", POOLING, "--device",
        "cpu", "--threads", 1, "--micro-batch", 8, "--block-rows", 16, "--out", folder / "features", "--encoders",
        folder / "encoders", "--digests", folder / "digests", *more,
    )  # fmt: skip


def files(folder):
    """Bytes of every file below a folder."""
    return {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def told_json(capsys, *argv):
    capsys.readouterr()
    assert extract(*argv, "--as-json") == 0
    return json.loads(capsys.readouterr().out)


def test_a_plan_tells_to_the_file_what_will_be_written(survey, tmp_path, capsys):
    argv = flags(tmp_path, survey, "--layers", f"{LAYER},enc_0,input_error", *BACKWARD_TOO, "--draws", 2)
    told = told_json(capsys, "run", *argv, "--dry-run")
    assert not (tmp_path / "features").exists()
    assert list(told["stores"]) == ["train", "val", "test"]
    assert all(len(stores) == 2 for stores in told["stores"].values())
    assert extract("run", *argv) == 0
    written = files(tmp_path / "features")
    for split, stores in told["stores"].items():
        for store in stores:
            folder = tmp_path / "features" / split / store_key(store["provenance"])[:16]
            of_store = {path: size for path, size in written.items() if path.is_relative_to(folder)}
            of_store = {path: size for path, size in of_store.items() if path.suffix != ".lock"}
            assert len(of_store) == store["files"]
            # of a store as small as this most is metadata, of which the estimate is rough
            assert sum(of_store.values()) == pytest.approx(store["bytes"], rel=0.2)
            assert (store["state"], store["path"], store["rows"] > 0) == ("to compute", None, True)
    assert told["files"] == sum(store["files"] for stores in told["stores"].values() for store in stores)
    assert told["free"] > told["bytes"] > 0


def test_what_is_there_and_what_is_begun_costs_what_is_left(survey, tmp_path, capsys):
    argv = flags(tmp_path, survey, *BACKWARD_TOO)
    assert extract("run", *argv) == 0
    (store,) = (tmp_path / "features/train").iterdir()
    commit_path(store, 1).unlink()
    told = told_json(capsys, "plan", *argv)
    (begun,), (done,) = told["stores"]["train"], told["stores"]["val"]
    assert (begun["state"], begun["blocks_left"], begun["blocks"]) == ("to finish", 1, 3)
    assert begun["files"] == 2 + 1 + 1  # chunks, commit record, note of the run
    assert (done["state"], done["files"], done["bytes"], done["blocks_left"]) == (
        "is there and fresh", 0, 0, 0
    )  # fmt: skip
    assert Path(begun["path"]) == store
    assert extract("run", *argv, "--dry-run") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("train: 40 rows, 1 of 3 blocks left, ")
    assert f"to finish ({store}): " in lines[0]
    assert "val: 12 rows, 0 bytes in 0 files to write, is there and fresh" in lines[1]
    assert lines[-1].startswith("in all ")
    assert lines[-1].endswith(" are free")


def test_a_part_writes_its_own_blocks_only(survey, tmp_path, capsys):
    argv = flags(tmp_path, survey, "--split", "train")
    whole, one, two = (
        told_json(capsys, "plan", *argv, *part) for part in ((), ("--part", "1/2"), ("--part", "2/2"))
    )
    assert one["stores"]["train"][0]["blocks_left"] == 3
    assert (whole["files"] - one["files"], whole["files"] - two["files"]) == (2, 4)  # a chunk, a record each


def test_a_store_begun_by_another_engine_is_told_before_the_run_refuses_it(survey, tmp_path, capsys):
    argv = flags(tmp_path, survey, "--split", "train")
    assert extract("run", *argv, "--part", "1/2", "--engine", "plain") == 0
    ((store,),) = told_json(capsys, "run", *argv, "--dry-run")["stores"].values()
    expected = 'was computed with {"engine": "plain"}, this run computes with {"engine": "fast"}'
    assert expected in store["mixture"]
    assert "Go on with --engine plain, or accept the mixture: --mixed" in store["mixture"]
    assert extract("run", *argv) == 2
    assert expected in capsys.readouterr().err
    assert told_json(capsys, "run", *argv, "--dry-run", "--mixed")["stores"]["train"][0]["mixture"] is None


def test_the_nearest_store_tells_why_there_is_no_hit(survey, tmp_path, capsys):
    assert extract("run", *flags(tmp_path, survey, "--split", "test")) == 0
    capsys.readouterr()
    louder = flags(tmp_path, survey, "--split", "test,val", "--noise-level", 2)
    before = files(tmp_path)
    plan = tmp_path / "plan.json"
    assert extract("plan", *louder, "--plan", plan) == 0
    told = capsys.readouterr().out
    assert "no hit; nearest: " in told
    assert "noise.level: 2.0 in the request, 1.0 in the store" in told
    assert "no hit: no store of this split is there" in told
    new = set(files(tmp_path)) - set(before)
    assert {path.parent.name for path in new} <= {tmp_path.name, "digests"}
    assert {path.name for path in new if path.parent == tmp_path} == {"plan.json"}
    assert extract("run", *louder, "--split", "test") == 0
    capsys.readouterr()
    assert main("cache", CACHE_VERBS, ["why", str(plan), "--root", str(tmp_path / "features")]) == 0
    told = capsys.readouterr().out
    assert "test: 16 rows" in told
    assert "  hit: " in told
    assert "no store of this split is there" in told


def test_the_plan_file_holds_every_store_of_the_request(survey, tmp_path, capsys):
    plan = tmp_path / "plan.json"
    assert extract("plan", *flags(tmp_path, survey, "--draws", 2), "--plan", plan) == 0
    written = read_plan(plan)
    assert sorted(written.stores) == ["test", "train", "val"]
    assert [store.provenance["noise"]["draw"] for store in written.stores["train"]] == [0, 1]
    (first, _) = written.stores["train"]
    assert (first.rows, first.path, first.finished, first.blocks_left) == (40, None, False, 3)
    assert extract("run", *flags(tmp_path, survey)) == 0
    folders = {path.name for path in (tmp_path / "features").glob("*/*")}
    assert folders == {store_key(stores[0].provenance)[:16] for stores in written.stores.values()}


def test_too_little_room_is_told(survey, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("extract.estimate.free_bytes", lambda _: 1000)
    assert extract("plan", *flags(tmp_path, survey)) == 0
    assert "warning: that is more than the disk has room for" in capsys.readouterr().out


def test_bad_requests_are_refused_and_no_plan_is_written(tmp_path, capsys):
    plan = tmp_path / "plan.json"
    assert extract("plan", "--data", tmp_path / "absent.h5", "--plan", plan) == 2
    assert "absent.h5" in capsys.readouterr().err
    assert not plan.exists()


def test_the_command_of_a_plan_computes_it():
    assert computing("python -m extract plan --data 'a b' --plan p.json --layers all --as-json") == (
        "python -m extract run --data 'a b' --layers all"
    )
    assert computing("python -m extract run --data plan --dry-run") == "python -m extract run --data plan"
    assert computing("python -m extract plan --plan=p.json --data d") == "python -m extract run --data d"
    assert computing("python -m extract finalise --n-parts 3 --data d") == "python -m extract run --data d"


def test_help_teaches(capsys):
    assert extract("plan", "--help") == 0
    told = capsys.readouterr().out
    assert "Example: python -m extract plan" in told
    assert "--plan" in told
