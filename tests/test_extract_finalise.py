"""Plans that are run in parts, and `extract finalise`: what is missing, who owns it, what computes it."""

import dataclasses
import itertools
import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from commands import extract
from store_fakes import edit_sealed, flip_byte
from survey_fakes import CHECKPOINT, LAYER, POOLING, YAML

from cache import FeatureStore
from cache.cli import VERBS as CACHE_VERBS
from cache.commandline import main
from cache.commits import commit_path
from cache.errors import ConfigError
from cache.header import chunk_path
from cache.plan_file import PLAN_SCHEMA, read_plan
from cache.selection import read_selection
from extract import fingerprint
from extract.planned import command_of, planned_request, request_json
from extract.run_command import RunSettings, to_request

SCRIPT = Path(__file__).parents[1] / "docs/extract_array.sbatch"


def flags(folder, data, *more):
    """The flags of a request of one split with five blocks."""
    return (
        "--data", data, "--split", "test", "--checkpoint", CHECKPOINT, "--config-model", YAML, "--poolings", POOLING,
        "--device", "cpu", "--micro-batch", 8, "--block-rows", 3, "--out", folder / "features", "--encoders",
        folder / "encoders", "--digests", folder / "digests", *more,
    )  # fmt: skip


@pytest.fixture
def data(survey, tmp_path):
    """A survey of our own, of one split of 16 spectra."""
    (tmp_path / "data").mkdir()
    shutil.copytree(survey / "test", tmp_path / "data/test")
    return tmp_path / "data"


@pytest.fixture
def plan(data, tmp_path, capsys):
    """A plan of which nothing is computed."""
    path = tmp_path / "plan.json"
    assert extract("plan", *flags(tmp_path, data), "--plan", path) == 0
    capsys.readouterr()
    return path


def test_splits_that_are_needed_are_missed_by_every_command(data, plan, tmp_path, capsys):
    stated = flags(tmp_path, data)
    for argv in (
        ("plan", *stated, "--plan", tmp_path / "other.json"),
        ("finalise", *stated),
        ("finalise", "--plan", plan),
        ("run", *stated),
        ("run", "--plan", plan),
    ):
        assert extract(*argv, "--need-splits", "train,test") == 2
        assert "no train spectra were given" in capsys.readouterr().err
    assert not (tmp_path / "other.json").exists()
    assert not stores(tmp_path)


def stores(folder):
    return [path.parent for path in sorted((folder / "features").glob("*/*/zarr.json"))]


@pytest.fixture(scope="module")
def wanted(survey, tmp_path_factory):
    """Digest of the store as one run computes it."""
    folder = tmp_path_factory.mktemp("wanted")
    assert extract("run", *flags(folder, survey)) == 0
    return FeatureStore.open(stores(folder)[0]).digest()


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))))
def test_parts_of_a_plan_in_any_order_make_the_same_store(plan, tmp_path, wanted, order, monkeypatch, capsys):
    monkeypatch.setattr(fingerprint, "scan_rows", None)  # no part reads all of the input
    for part in order:
        assert extract("run", "--plan", plan, "--part", f"{part}/3") == 0
    (store,) = stores(tmp_path)
    assert FeatureStore.open(store).digest() == wanted
    assert extract("finalise", "--plan", plan) == 0
    assert capsys.readouterr().out.endswith(f"test: {store} is finished, 6 blocks\n")


@pytest.mark.parametrize("error_input", ["shuffled", "constant", "from-noisy"])
def test_parts_of_a_plan_are_fed_what_the_plan_says(survey, tmp_path, monkeypatch, error_input):
    """The errors of train are found where planning saved them, by every part, without train."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    more = ("--error-input", error_input)
    if error_input != "shuffled":
        argv = [*flags(tmp_path, survey, *more, "--dry-run")]
        argv[argv.index("--split") + 1] = "train,test"
        assert extract("run", *argv) == 0
        (saved,) = (tmp_path / "encoders").iterdir()
        more = (*more, "--train-error", saved)
    assert extract("run", *flags(tmp_path / "one", survey, *more)) == 0
    assert extract("plan", *flags(tmp_path / "two", survey, *more), "--plan", tmp_path / "plan.json") == 0
    monkeypatch.chdir(tmp_path / "one")
    for part in (2, 1):
        assert extract("run", "--plan", tmp_path / "plan.json", "--part", f"{part}/2") == 0
    one, two = (FeatureStore.open(stores(tmp_path / name)[0]) for name in ("one", "two"))
    assert one.provenance["error_input"].startswith(f"{error_input}:")
    assert one.digest() == two.digest()


def test_a_plan_runs_from_another_folder(survey, tmp_path, wanted, monkeypatch):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    monkeypatch.chdir(tmp_path / "one")
    argv = flags(Path(), os.path.relpath(survey), "--plan", "plan.json")
    assert extract("plan", *argv) == 0
    monkeypatch.chdir(tmp_path / "two")
    assert extract("run", "--plan", "../one/plan.json", "--threads", 1) == 0
    assert FeatureStore.open(stores(tmp_path / "one")[0]).digest() == wanted


def test_parts_fill_the_planned_stores_whatever_others_have_written_since(data, tmp_path, capsys):
    plan = tmp_path / "plan.json"
    both = ("--layers", f"{LAYER},input_error")
    assert extract("plan", *flags(tmp_path, data, *both), "--plan", plan) == 0
    assert extract("run", "--plan", plan, "--part", "1/2") == 0
    assert extract("run", *flags(tmp_path, data, "--layers", "input_error")) == 0
    assert extract("run", "--plan", plan, "--part", "2/2") == 0
    assert extract("finalise", "--plan", plan) == 0
    (planned,) = read_plan(plan).stores["test"]
    assert len(planned.provenance["arrays"]) == 2
    assert len(stores(tmp_path)) == 2


def test_what_is_missing_is_named_with_parts_and_commands(plan, data, tmp_path, capsys):
    assert extract("finalise", "--plan", plan, "--n-parts", 2) == 2
    told = capsys.readouterr().out
    assert "test: nothing is there yet; 6 of 6 blocks are missing\n  blocks 0-5: rows 0-15\n" in told
    assert extract("run", "--plan", plan) == 0
    (store,) = stores(tmp_path)
    for block in (1, 2, 5):
        commit_path(store, block).unlink()
    capsys.readouterr()
    assert extract("finalise", "--plan", plan, "--n-parts", 3) == 2
    assert capsys.readouterr().out.splitlines() == [
        f"test: {store}; 3 of 6 blocks are missing",
        "  blocks 1-2: rows 3-8",
        "  block 5: rows 15-15",
        "  part 2/3 owns 1",
        "  part 3/3 owns 2, 5",
        "compute what is missing with:",
        f"  python -m extract run --plan {plan} --part 2/3",
        f"  python -m extract run --plan {plan} --part 3/3",
    ]
    assert extract("finalise", *flags(tmp_path, data)) == 2
    told = capsys.readouterr().out.splitlines()
    assert told[:3] == [
        f"test: {store}; 3 of 6 blocks are missing",
        "  blocks 1-2: rows 3-8",
        "  block 5: rows 15-15",
    ]
    assert extract("run", "--plan", plan, "--part", "3/3") == 0
    capsys.readouterr()
    assert extract("finalise", "--plan", plan, "--n-parts", 3) == 2
    (command,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  python")]
    assert extract(*shlex.split(command)[3:]) == 0
    selection = tmp_path / "selection.json"
    assert extract("finalise", "--plan", plan, "--n-parts", 3, "--selection", selection) == 0
    assert read_selection(selection).of("test").draws == (0,)
    assert extract("finalise", *flags(tmp_path, data)) == 0


def test_a_damaged_store_is_not_finished(plan, tmp_path, capsys):
    assert extract("run", "--plan", plan) == 0
    (store,) = stores(tmp_path)
    (array,) = FeatureStore.open(store).arrays
    flip_byte(chunk_path(store, array, 2), -1)
    assert extract("finalise", "--plan", plan) == 2
    assert "cache repair" in capsys.readouterr().err
    assert extract("finalise", "--plan", plan, "--n-parts", 0) == 2


def test_parts_that_were_computed_differently_are_told(plan, tmp_path, capsys):
    selection = tmp_path / "selection.json"
    assert extract("run", "--plan", plan, "--part", "1/2", "--threads", 1) == 0
    assert extract("run", "--plan", plan, "--part", "2/2", "--threads", 2, "--mixed") == 0
    (store,) = stores(tmp_path)
    capsys.readouterr()
    assert extract("finalise", "--plan", plan, "--selection", selection) == 2
    told = capsys.readouterr()
    assert told.out.splitlines() == [
        f"test: {store} is finished, 6 blocks",
        '  computed with {"threads": 1}: 0, 2, 4',
        '  computed with {"threads": 2}: 1, 3, 5',
    ]
    assert f"test: {store}: blocks were computed differently" in told.err
    assert "--mixed" in told.err
    assert not selection.exists()
    assert extract("finalise", "--plan", plan, "--mixed", "--selection", selection) == 0
    assert '{"threads": 2}' in capsys.readouterr().out
    assert selection.exists()


def test_splits_of_other_names_are_planned_from_one_folder_only(survey, tmp_path, capsys):
    for name, split in {"near": "test", "far": "val"}.items():
        (tmp_path / "data" / name).mkdir(parents=True)
        shutil.copyfile(survey / split / "dataset.h5", tmp_path / "data" / name / "dataset.h5")
    plan = tmp_path / "plan.json"
    argv = flags(tmp_path, tmp_path / "data", "--split", "near,far", "--plan", plan)
    assert extract("plan", *argv) == 0
    assert extract("run", "--plan", plan) == 0
    request = planned_request(plan, {})
    again = to_request(RunSettings.parse(shlex.split(command_of(request))[4:], prog="run"))
    assert again.data == request.data
    moved = {**request.data, "far": (survey / "val/dataset.h5",)}
    for data in (moved, {**request.data, "train": (survey / "val/dataset.h5",)}):
        with pytest.raises(ConfigError, match=r"no command asks for splits .* plan each split alone"):
            request_json(dataclasses.replace(request, data=data))


def change_flux(data, tmp_path):
    path = data / "test/dataset.h5"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def touch(data, tmp_path):
    os.utime(data / "test/dataset.h5", ns=(1, 1))


def replace(data, tmp_path):
    path = data / "test/dataset.h5"
    status = path.stat()
    shutil.copyfile(path, tmp_path / "copy.h5")
    (tmp_path / "copy.h5").replace(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def forget(data, tmp_path):
    for path in (tmp_path / "digests").iterdir():
        path.unlink()


def other_digests(data, tmp_path):
    """The digests of other content that passes for that of the file."""
    (path,) = (tmp_path / "digests").iterdir()
    (tmp_path / "elsewhere").mkdir()
    flip_byte(path, -1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (touch, "mtime_ns of "),
        (change_flux, "mtime_ns of "),
        (replace, "inode of "),
        (forget, "that the plan "),
        (other_digests, "that the plan "),
    ],
)
def test_files_that_are_not_as_planned_are_refused(plan, data, tmp_path, capsys, change, message):
    change(data, tmp_path)
    assert extract("run", "--plan", plan, "--part", "1/3") == 2
    told = capsys.readouterr().err
    assert message in told
    assert "plan again: " in told
    assert stores(tmp_path) == []


def test_a_network_that_is_not_as_planned_is_refused(survey, tmp_path, capsys):
    shutil.copyfile(CHECKPOINT, tmp_path / "net.ckpt")
    settings = {**yaml.safe_load(YAML.read_text())}
    (tmp_path / "net.yaml").write_text(yaml.safe_dump(settings))
    plan = tmp_path / "plan.json"
    argv = ["--checkpoint", tmp_path / "net.ckpt", "--config-model", tmp_path / "net.yaml", "--plan", plan]
    known = list(map(str, flags(tmp_path, survey)))
    place = known.index("--checkpoint")
    del known[place : place + 4]
    assert extract("plan", *known, *argv) == 0
    settings["model"] = {**settings.get("model", {}), "dilation": 2}
    (tmp_path / "net.yaml").write_text(yaml.safe_dump(settings))
    assert extract("run", "--plan", plan) == 2
    assert "encoder.config.dilation of test: 1 when the plan was made, 2 now" in capsys.readouterr().err


def test_only_how_may_be_said_beside_a_plan(plan, tmp_path, capsys):
    assert extract("run", "--plan", plan, "--layers", "all", "--noise-level", 2) == 2
    assert "--layers, --noise-level beside --plan" in capsys.readouterr().err
    how = {
        "device": "cpu",
        "threads": 2,
        "jobs": 3,
        "micro_batch": 4,
        "part": "1/2",
        "scheduler": "processes",
    }
    request = to_request(RunSettings(plan=plan, **how))
    assert {name: getattr(request, name) for name in how} == how
    assert request.out == (tmp_path / "features").absolute()
    assert request.plan == plan


def test_the_command_of_a_planned_request_asks_for_the_same(plan):
    request = planned_request(plan, {})
    words = shlex.split(command_of(request))
    again = to_request(RunSettings.parse(words[4:], prog="run"))
    assert command_of(again) == command_of(request) == request.command
    assert again.data == request.data


def test_another_form_of_plan_is_told_and_why_reads_ours(plan, tmp_path, capsys):
    assert main("cache", CACHE_VERBS, ["why", str(plan), "--root", str(tmp_path / "features")]) == 0
    assert "test: 16 rows" in capsys.readouterr().out
    assert json.loads(plan.read_text())["schema_version"] == PLAN_SCHEMA == 2
    edit_sealed(plan, schema_version=1)
    assert extract("run", "--plan", plan) == 2
    assert "plan format 1, this program reads 2; plan again: " in capsys.readouterr().err
    assert extract("finalise", "--plan", tmp_path / "absent.json") == 2


FAKE_SBATCH = """#!/bin/sh
echo "$@" >>"{folder}/submitted"
echo "$(wc -l <"{folder}/submitted");cluster"
"""
FAKE_PYTHON = """#!/bin/sh
for word; do printf '%s\\n' "$word"; done >"{folder}/words"
"""


def words_of(tmp_path, *arguments, **environment):
    """What the script does in a job: the words that it gives to Python."""
    done = subprocess.run(
        ["bash", SCRIPT, *map(str, arguments)],
        env={
            "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
            "PYTHON": f"{tmp_path}/bin/python",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, (tmp_path / "words").read_text().splitlines() if (tmp_path / "words").exists() else []


def test_the_array_script_plans_computes_and_finalises(survey, tmp_path, wanted):
    (tmp_path / "bin").mkdir()
    for name, text in {"sbatch": FAKE_SBATCH, "python": FAKE_PYTHON}.items():
        (tmp_path / "bin" / name).write_text(text.format(folder=tmp_path))
        (tmp_path / "bin" / name).chmod(0o755)
    assert subprocess.run(["bash", "-n", SCRIPT], check=False).returncode == 0
    told, _ = words_of(tmp_path, *flags(tmp_path, survey), PARTS="2")
    assert told.startswith("plan 1, parts 2, finalise 3: ")
    jobs = [shlex.split(line) for line in (tmp_path / "submitted").read_text().splitlines()]
    assert [job[job.index(str(SCRIPT)) + 1] for job in jobs] == ["plan", "part", "finalise"]
    ends = "--kill-on-invalid-dep=yes"
    assert {"--dependency=afterok:1", "--array=1-2", ends} <= set(jobs[1])
    assert {"--dependency=afterany:2", ends} <= set(jobs[2])
    job = {"PLAN": str(tmp_path / "plan.json"), "SLURM_CPUS_PER_TASK": "1"}
    steps = [(jobs[0][jobs[0].index("plan") :], {"PARTS": "2"})]
    steps += [(["part"], {"SLURM_ARRAY_TASK_ID": i, "SLURM_ARRAY_TASK_COUNT": "2"}) for i in ("2", "1")]
    for arguments, more in [*steps, (["finalise"], {"PARTS": "2"})]:
        _, words = words_of(tmp_path, *arguments, **job, **more)
        assert words[:2] == ["-m", "extract"]
        assert extract(*words[2:]) == 0
    assert FeatureStore.open(stores(tmp_path)[0]).digest() == wanted
