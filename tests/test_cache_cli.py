import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from commands import cache
from store_fakes import (
    BACKWARD,
    FORWARD,
    MEAN,
    begin_store,
    edit_header,
    fill,
    flip_byte,
    make_store,
    provenance,
)

from cache import FeatureStore
from cache.cli import VERBS
from cache.commits import commit_path
from cache.header import chunk_path
from cache.texts import age_text, size_text, table

HEAVY = ("torch", "sklearn", "lightgbm", "h5py", "xarray", "pandas", "matplotlib", "pyarrow")


def test_ls_shows_every_store_and_its_state(tmp_path, capsys):
    done = make_store(tmp_path, provenance(arrays=(FORWARD, BACKWARD, MEAN), noise={"level": 0.5}))
    begun = fill(begin_store(tmp_path, provenance("test")), [0, 2]).path
    (tmp_path / "test/notes").mkdir()
    (tmp_path / "test/notes/zarr.json").write_text("{}")
    assert cache("ls", "--root", tmp_path) == 0
    head, first, second = capsys.readouterr().out.splitlines()
    assert " ".join(head.split()) == "path split rows MB state encoder noise draw family age arrays"
    family = FeatureStore.open(done).family[:12]
    assert first.split("  ")[0] == str(begun)
    assert "unfinished, 2 of 3 blocks" in first
    assert first.endswith(f"1: {FORWARD.path}")
    for text in ("train", "finished", "tiny", "0.5", family, f"3: {MEAN.path}, {BACKWARD.path}, ..."):
        assert text in second
    column = head.index("state")
    assert (first[column:][:10], second[column:][:8]) == ("unfinished", "finished")


def test_ls_as_json(tmp_path, capsys):
    done = FeatureStore.open(make_store(tmp_path))
    assert cache("ls", "--root", tmp_path, "--as-json") == 0
    told = json.loads(capsys.readouterr().out)
    assert 0 <= told.pop("age_seconds") < 100
    chunks = [chunk_path(done.path, FORWARD, block) for block in range(3)]
    assert told == {
        "path": str(done.path),
        "split": "train",
        "rows": 10,
        "blocks": 3,
        "blocks_committed": 3,
        "bytes": sum(chunk.stat().st_size for chunk in chunks),
        "state": "finished",
        "reason": None,
        "encoder": "tiny",
        "noise": provenance()["noise"],
        "family": done.family,
        "key": done.key,
        "arrays": [FORWARD.path],
    }


def test_ls_names_what_is_wrong_with_a_store(tmp_path, capsys):
    edit_header(make_store(tmp_path, provenance("a")), sealed=True, schema=999)
    (make_store(tmp_path, provenance("b")) / "zarr.json").write_text("{}")
    flip_byte(commit_path(make_store(tmp_path, provenance("c")), 1), 9)
    edit_header(make_store(tmp_path, provenance("d")), sealed=False, schema=999)
    (make_store(tmp_path, provenance("e")) / "zarr.json").unlink()
    make_store(tmp_path, provenance("f")).rename(tmp_path / "f" / ("0" * 16))
    make_store(tmp_path, provenance("g"))
    assert cache("ls", "--root", tmp_path, "--as-json") == 0
    told = capsys.readouterr()
    states = {row["split"]: row["state"] for row in map(json.loads, told.out.splitlines())}
    assert states == {
        "a": "outdated", "b": "damaged", "c": "damaged", "d": "damaged", "e": "damaged", "f": "misplaced",
        "g": "finished",
    }  # fmt: skip
    for text in ("outdated: ", "format 999", "header unreadable", "give it that name again"):
        assert text in told.err
    assert cache("ls", "--root", tmp_path) == 0
    assert len(capsys.readouterr().out.splitlines()) == 8


def test_ls_passes_over_links_and_folders_of_other_things(tmp_path, capsys):
    store = make_store(tmp_path / "elsewhere")
    root = tmp_path / "features"
    (root / "train").mkdir(parents=True)
    (root / "train" / store.name).symlink_to(store)
    (root / "train" / ("f" * 16)).mkdir()
    assert cache("ls", "--root", root) == 0
    assert capsys.readouterr().out == ""
    assert cache("ls", "--root", tmp_path / "nowhere") == 0
    told = f"no feature stores under {tmp_path / 'nowhere'} (there is no such folder)\n"
    assert capsys.readouterr().err == told


def test_show_for_people(tmp_path, capsys):
    path = make_store(tmp_path)
    store = FeatureStore.open(path)
    assert cache("show", path) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    for line in (
        str(path),
        "state finished",
        f"key {store.key}",
        "rows 10 in 3 blocks of 4",
        "labels log_g, mag",
        "encoder.config.num_layers 3",
        "noise.level 1.0",
        "mask none",
        f"{FORWARD.path} 4 numbers, 7000.0 to 7013.0 Angstrom",
        "command python -m extract run --made-up",
    ):
        assert line in lines


def test_show_as_json(tmp_path, capsys):
    path = make_store(tmp_path)
    store = FeatureStore.open(path)
    assert cache("show", path, "--as-json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["key"], shown["family"], shown["provenance"]) == (store.key, store.family, provenance())
    assert shown["last_run"]["command"] == "python -m extract run --made-up"
    assert shown["arrays"][FORWARD.path] == {"width": 4, "wave": [7000.0, 7013.0]}


def test_show_of_an_unfinished_or_damaged_store_returns_no_coordinates(tmp_path, capsys):
    begun = begin_store(tmp_path / "a")
    assert cache("show", begun.path) == 0
    told = capsys.readouterr().out
    assert "unfinished, 0 of 3 blocks" in told
    assert "Angstrom" not in told
    damaged = make_store(tmp_path / "b")
    chunk_path(damaged, FORWARD, 2).unlink()
    assert cache("show", damaged, "--as-json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["state"] == "damaged"
    assert str(chunk_path(damaged, FORWARD, 2)) in shown["reason"]
    assert shown["arrays"][FORWARD.path]["wave"] is None


def test_verify_and_digest_take_several_stores(tmp_path, capsys):
    one, two = make_store(tmp_path), make_store(tmp_path, provenance("test"))
    digests = [FeatureStore.open(path).digest() for path in (one, two)]
    assert cache("verify", one) == 0
    assert capsys.readouterr().out == f"{one}: 1 arrays as they were committed\n"
    assert cache("digest", one) == 0
    assert capsys.readouterr().out == digests[0] + "\n"
    assert cache("digest", one, two) == 0
    assert capsys.readouterr().out == f"{digests[0]}  {one}\n{digests[1]}  {two}\n"
    flip_byte(chunk_path(one, FORWARD, 1), 0)
    assert cache("verify", one, two) == 2
    told = capsys.readouterr()
    assert told.out == f"{two}: 1 arrays as they were committed\n"
    assert told.err.startswith("error: ")
    assert str(one) in told.err


@pytest.mark.parametrize("verb", ["verify", "digest"])
def test_a_damaged_store_exits_with_2_and_its_name(tmp_path, capsys, verb):
    path = make_store(tmp_path)
    flip_byte(chunk_path(path, FORWARD, 1), -2)
    assert cache(verb, path) == 2
    assert f"error: {chunk_path(path, FORWARD, 1)}: is not the committed file" in capsys.readouterr().err
    commit_path(path, 1).unlink()
    assert cache(verb, path) == 2
    assert "1 of 3 blocks are not committed" in capsys.readouterr().err


def test_repair_names_the_blocks_and_the_command(tmp_path, capsys):
    path = make_store(tmp_path)
    chunk_path(path, FORWARD, 0).unlink()
    assert cache("repair", path) == 0
    told = capsys.readouterr().out
    assert "block 0 taken out: " in told
    assert "now run: python -m extract run --made-up" in told
    assert cache("repair", path) == 0
    assert capsys.readouterr().out == f"{path}: nothing to repair\n"


@pytest.mark.parametrize("verb", ["show", "verify", "digest", "repair"])
def test_a_store_must_be_named_and_exist(tmp_path, capsys, verb):
    assert cache(verb) == 2
    assert "is missing: folder" in capsys.readouterr().err
    assert cache(verb, tmp_path / "x") == 2
    assert "no feature store there" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["show", "verify", "digest", "repair", "why"])
def test_digits_of_a_store_name_those_that_begin_so(tmp_path, capsys, monkeypatch, verb):
    monkeypatch.chdir(tmp_path)
    root = Path("artifacts/features")
    one = make_store(root)
    split, key = one.parent, one.name
    for asked in (split / key[:5], Path(f"{key[:5]}")):
        assert cache(verb, asked) == 2
        assert f"; did you mean {one}?" in capsys.readouterr().err
    other = split / f"{key[:5]}{'0' * 11}"
    other.mkdir()
    (other / "zarr.json").touch()
    assert cache(verb, split / key[:5]) == 2
    told = capsys.readouterr().err
    assert "2 stores begin so: " in told
    assert str(one) in told
    assert cache(verb, split / "xyz") == 2
    assert "there; `python -m cache ls" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["verify", "digest"])
def test_digits_alone_are_a_name(capsys, verb):
    names = ("898255", "1e5", "12345678e1234567")
    assert cache(verb, *names) == 2
    told = capsys.readouterr().err
    for name in names if verb == "verify" else names[:1]:
        assert f"error: {name}: no feature store there" in told


@pytest.mark.parametrize("verb", ["show", "verify", "digest", "repair", "why"])
@pytest.mark.parametrize("name", ["a**", "a[", "**"])
def test_what_a_shell_leaves_of_a_pattern_is_a_name(capsys, verb, name):
    assert cache(verb, name) == 2
    assert f"{name}: " in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["verify", "digest"])
def test_a_name_may_begin_with_dashes(capsys, verb):
    assert cache(verb, "--", "--x") == 2
    assert "error: --x: no feature store there" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["show", "verify", "digest", "repair"])
def test_a_folder_of_stores_is_no_store_and_names_them(tmp_path, capsys, verb):
    made = [make_store(tmp_path, provenance(split)) for split in ("train", "test")]
    assert cache(verb, tmp_path) == 2
    told = capsys.readouterr().err
    assert "2 stores are in it: " in told
    assert all(str(path) in told for path in made)


@pytest.mark.parametrize("verb", ["ls", "prune"])
def test_a_root_that_is_not_there_is_told(tmp_path, capsys, verb):
    assert cache(verb, "--root", tmp_path / "featurs") == 0
    assert "there is no such folder" in "".join(capsys.readouterr())


def test_positional_paths_may_stand_in_the_yaml_and_flags_win(tmp_path, capsys):
    one, two = make_store(tmp_path), make_store(tmp_path, provenance("test"))
    assert cache("digest", one, two, "--print-config") == 0
    printed = capsys.readouterr().out
    assert yaml.safe_load(printed) == {"paths": [str(one), str(two)]}
    config = tmp_path / "c.yaml"
    config.write_text(printed)
    assert cache("digest", "--config", config) == 0
    assert capsys.readouterr().out.count("\n") == 2
    assert cache("digest", two, "--config", config) == 0
    assert capsys.readouterr().out == FeatureStore.open(two).digest() + "\n"
    config.write_text(yaml.safe_dump({"path": str(one)}))
    assert cache("show", "--config", config) == 0
    assert capsys.readouterr().out.startswith(str(one))
    config.write_text("path: [1]\n")
    assert cache("show", "--config", config) == 2
    assert "PATH: " in capsys.readouterr().err


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_help_teaches_with_an_example(verb, capsys):
    assert cache(verb, "--help") == 0
    assert f"Example: python -m cache {verb}" in capsys.readouterr().out


def test_sizes_ages_and_tables():
    assert [size_text(n) for n in (0, 999, 1e3, 2.5e6, 1e9, 3e12)] == [
        "0 bytes", "999 bytes", "1.0 kB", "2.5 MB", "1.0 GB", "3.0 TB"
    ]  # fmt: skip
    assert [age_text(s) for s in (1, 119, 120, 7199, 7200, 86400, 172800)] == [
        "1 s", "119 s", "2 min", "120 min", "2 h", "24 h", "2 days"
    ]  # fmt: skip
    assert table(("a", "n"), [("xx", "1"), ("y", "10")], right=("n",)) == "a    n\nxx   1\ny   10\n"


def imported_by(folder, *argv):
    """Names of the heavy modules that `python -m ...` imports."""
    found = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", *map(str, argv)],
        cwd=folder,
        env={"PYTHONPATH": str(Path(__file__).parents[1]), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stderr
    return {name for name in HEAVY if any(line.split("|")[-1].strip() == name for line in found.splitlines())}


def test_cache_imports_nothing_heavy(tmp_path):
    store = make_store(tmp_path / "artifacts/features")
    assert imported_by(tmp_path, "cache", "ls") == set()
    assert imported_by(tmp_path, "cache", "why", store, store) == set()


def test_ls_tells_what_lies_beside_the_stores(tmp_path, capsys):
    make_store(tmp_path / "features")
    sizes = {
        f"fisher/test/{'0' * 16}.json": 100,
        f"fisher/test/{'0' * 16}.npz": 2000,
        f"fisher/train/{'1' * 16}.json": 100,
        f"encoders/random-{'2' * 16}.ckpt": 3000,
        f"encoders/train-error-{'3' * 16}.json": 40,
        "fisher/test/notes.json": 7,
        "encoders/mine.ckpt": 7,
        f"encoders/.tmp-random-{'2' * 16}.ckpt": 7,
    }
    for name, size in sizes.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert cache("ls", "--root", tmp_path / "features") == 0
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("beside them, ")]
    assert told == [
        f"beside them, Fisher matrices: 2, 2.2 kB, under {tmp_path}/fisher",
        f"beside them, calibrated random encoders: 1, 3.0 kB, under {tmp_path}/encoders",
        f"beside them, errors of train: 1, 40 bytes, under {tmp_path}/encoders",
    ]
    assert cache("ls", "--root", tmp_path / "features", "--as-json") == 0
    assert all("path" in json.loads(line) for line in capsys.readouterr().out.splitlines())
    nowhere = ("--fisher", tmp_path / "x", "--encoders", tmp_path / "x")
    assert cache("ls", "--root", tmp_path / "features", *nowhere) == 0
    assert "beside them" not in capsys.readouterr().out
    kinds = ("leftovers", "outdated", "damaged", "unfinished")
    assert cache("prune", "--root", tmp_path / "features", "--what", ",".join(kinds), "--yes") == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before
