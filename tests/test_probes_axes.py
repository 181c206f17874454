"""Sweeps along stored noise: levels of train and test crossed, numbers of draws; studies one by one."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from commands import make, probes
from small_survey import N, flags, survey_store
from store_fakes import FORWARD

from cache.errors import ConfigError
from cache.header import read_header
from cache.records import read_predictions, read_records, run_id
from cache.selection import select, write_selection
from probes.axes import StoreAxes, along_axes, needed
from probes.cells import CellChoices, requests
from probes.stores import StoreChoice

LEVELS = (1.0, 0.0, 0.5)


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    """Three noise levels of every split, and three more draws of train at the first."""
    root = tmp_path_factory.mktemp("features")
    made = {
        level: {split: [survey_store(root, split, noise={"level": level})] for split in N} for level in LEVELS
    }
    first = made[LEVELS[0]]
    first["train"] += [survey_store(root, "train", noise={"level": 1.0, "draw": draw}) for draw in (1, 2, 3)]
    write_selection(root / "selection.json", select(root, first, encoder="tiny"))
    return root


def choices(**changes):
    plain = {
        "layers": ("enc_pre_latent",),
        "poolings": (FORWARD.pooling,),
        "directions": ("forward",),
        "heads": ("ridge",),
        "labels": ("log_g",),
    }
    return CellChoices(**{**plain, **changes})


def batches(axes, *, combine="product", **changes):
    found = along_axes(choices(**changes), StoreChoice(root="nowhere"), axes, combine=combine)
    return [
        (b.stores.noise_level, b.stores.test_noise_level, b.stores.draws, b.choices) for b in found.batches
    ]


# --- noise levels ---


def test_every_level_is_trained_on_and_tested_on_each(features, tmp_path, capsys):
    where = flags(features, tmp_path, "--selection", features / "selection.json")
    assert probes("sweep", *where, "--noise-levels", "1,0,0.5", "--draws", "1") == 0
    best = capsys.readouterr().out.splitlines()[-2]  # of the first level: val of another is another val
    assert best.startswith("log_g  enc_pre_latent/forward/seg_mean_K2 ridge, noise level 1, draws 1  0.9")
    records = read_records(tmp_path)
    found = {
        (levels["train"], levels["test"]): record
        for record in records
        if (levels := record.spec["noise_levels"])["val"] == levels["train"]
    }
    assert set(found) == set(itertools.product(LEVELS, LEVELS))
    assert len(records) == 9
    for (train, test), record in found.items():
        assert record.spec["cross"] == ([] if train == test else ["noise-level"])
        assert record.spec["draws"] == {"train": [0], "val": [0], "test": [0]}
    chosen = {train: found[train, test].result["scores"]["val"] for train, test in found}
    for (train, _), record in found.items():  # val chooses where it is trained
        assert record.result["scores"]["val"] == chosen[train]


def test_a_cell_of_equal_levels_is_the_plain_probe(features, tmp_path):
    where = flags(features, tmp_path / "s")
    assert probes("sweep", *where, "--noise-levels", "0,0.5") == 0
    assert probes("run", *flags(features, tmp_path / "r"), "--noise-level", "0.5") == 0
    (plain,) = read_records(tmp_path / "r")
    (same,) = [r for r in read_records(tmp_path / "s") if r.run_id == plain.run_id]
    assert (same.spec, same.result) == (plain.spec, plain.result)
    crossed = ("--noise-level", "0", "--test-noise-level", "0.5", "--cross", "noise-level")
    assert probes("run", *flags(features, tmp_path / "c"), *crossed) == 0
    (cell,) = read_records(tmp_path / "c")
    assert cell.spec["noise_levels"] == {"train": 0.0, "val": 0.0, "test": 0.5}
    (same,) = [r for r in read_records(tmp_path / "s") if r.run_id == cell.run_id]
    assert same.result == cell.result
    one, other = (read_predictions(tmp_path / f, r.run_id) for f, r in (("r", plain), ("c", cell)))
    np.testing.assert_array_equal(one["row"], other["row"])


@pytest.mark.parametrize("verb", ["run", "sweep"])
def test_a_crossing_is_refused_unless_named(verb, features, tmp_path, capsys):
    where = flags(features, tmp_path, "--noise-level", "0", "--test-noise-level", "1")
    assert probes(verb, *where) == 2
    assert (
        "noise levels differ between splits (train 0.0, val 0.0, test 1.0); say --cross"
        in capsys.readouterr().err
    )
    assert read_records(tmp_path) == []
    assert probes(verb, *where, "--cross", "noise-level") == 0


def test_a_level_that_is_not_stored_is_named(features, tmp_path, capsys):
    where = flags(features, tmp_path, "--selection", features / "selection.json")
    assert probes("sweep", *where, "--noise-levels", "1,2", "--draws", "1") == 2
    assert "--noise-level 2.0 --out" in capsys.readouterr().err
    assert read_records(tmp_path) == []


def test_a_crossing_named_beside_an_axis_of_levels_is_told_only_where_it_occurs(features, tmp_path):
    argv = ("--noise-levels", "0,0.5", "--cross", "noise-level")
    assert probes("sweep", *flags(features, tmp_path, *argv)) == 0
    for record in read_records(tmp_path):
        levels = record.spec["noise_levels"]
        assert record.spec["cross"] == ([] if levels["train"] == levels["test"] else ["noise-level"])


# --- error inputs ---


FED = ("true", "zero", "shuffled:1:0")


@pytest.fixture(scope="module")
def fed(tmp_path_factory):
    """Every split fed each of three error inputs; the stores of the first are selected too."""
    root = tmp_path_factory.mktemp("fed")
    made = {name: {split: [survey_store(root, split, error_input=name)] for split in N} for name in FED}
    write_selection(root / "selection.json", select(root, made["true"], encoder="tiny"))
    return root, made


@pytest.mark.parametrize("verb", ["run", "sweep"])
@pytest.mark.parametrize("chosen", ["family", "selection"])
def test_test_is_crossed_with_another_error_input_and_the_record_tells(fed, tmp_path, verb, chosen, capsys):
    root, made = fed
    of = {
        "family": ("--family", read_header(made["true"]["train"][0]).family[:12]),
        "selection": ("--selection", root / "selection.json"),
    }[chosen]
    where = flags(root, tmp_path, *of)
    assert probes(verb, *where, "--test-error-input", "shuffled") == 2
    assert "say --cross error-input if that is meant" in capsys.readouterr().err
    assert probes(verb, *where, "--test-error-input", "shuffled", "--cross", "error-input") == 0
    (record,) = read_records(tmp_path)
    keys = {split: [read_header(path).key for path in made["true"][split]] for split in N}
    keys["test"] = [read_header(path).key for path in made["shuffled:1:0"]["test"]]
    assert record.spec["stores"] == keys
    told = (record.spec["error_input"], record.spec["test_error_input"], record.spec["cross"])
    assert told == ("true", "shuffled:1:0", ["error-input"])


def test_default_controls_of_a_crossing_are_those_on_the_same_features(fed, tmp_path):
    root, made = fed
    argv = ("--family", read_header(made["zero"]["train"][0]).family, "--controls", "default")
    argv += ("--test-error-input", "true", "--cross", "error-input")
    assert probes("run", *flags(root, tmp_path, *argv)) == 0
    found = {record.spec["control"]: record.spec for record in read_records(tmp_path)}
    assert set(found) == {"none", "shuffled_labels", "mean_predictor"}
    assert {(spec["error_input"], spec["test_error_input"]) for spec in found.values()} == {("zero", "true")}


def test_what_crosses_nothing_or_is_not_stored_is_told(fed, tmp_path, capsys):
    root, made = fed
    where = flags(root, tmp_path, "--family", read_header(made["true"]["train"][0]).family)
    for argv in (("--cross", "error-input"), ("--cross", "error-input", "--test-error-input", "true")):
        assert probes("run", *where, *argv) == 2
        assert "nothing is crossed" in capsys.readouterr().err
    assert probes("run", *where, "--cross", "error-input", "--test-error-input", "constant") == 2
    told = capsys.readouterr().err
    assert "no test features with error input 'constant'" in told
    assert (
        "--layers enc_pre_latent --poolings seg_mean_K2 --directions forward --error-input constant" in told
    )
    survey_store(tmp_path / "more", "test", error_input="shuffled:1:7")
    for split in N:
        survey_store(tmp_path / "more", split)
    survey_store(tmp_path / "more", "test", error_input="shuffled:1:0")
    where = flags(tmp_path / "more", tmp_path / "r", "--cross", "error-input", "--test-error-input")
    true = ("--family", read_header(made["true"]["train"][0]).family)
    assert probes("run", *where, "shuffled", *true) == 2
    assert "several test stores with error input 'shuffled' would do" in capsys.readouterr().err
    assert probes("run", *where, "shuffled:1:7", *true) == 0


# --- draws ---


@pytest.mark.parametrize("n", [0, -1])
@pytest.mark.parametrize("flag", ["--draws", "--train-size"])
def test_fewer_than_one_draw_or_star_is_refused(flag, n, features, tmp_path, capsys):
    assert probes("run", *flags(features, tmp_path, flag, n)) == 2
    assert f"{flag}: Input should be greater than or equal to 1 (got '{n}')" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["run", "sweep"])
def test_the_draw_of_test_may_be_stated(tmp_path, capsys, verb):
    root = tmp_path / "features"
    made = {split: [survey_store(root, split)] for split in N}
    made["test"].append(survey_store(root, "test", noise={"draw": 1}))
    write_selection(tmp_path / "s.json", select(root, made, encoder="tiny"))
    for number, of in enumerate(((), ("--selection", tmp_path / "s.json"))):
        argv = flags(root, tmp_path / f"r{number}", *of, "--test-draw")
        assert probes(verb, *argv, 1) == 0
        (record,) = read_records(tmp_path / f"r{number}")
        assert record.spec["draws"] == {"train": [0], "val": [0], "test": [1]}
        keys = {split: [read_header(path).key for path in paths[-1:]] for split, paths in made.items()}
        assert record.spec["stores"] == keys
        capsys.readouterr()
        assert probes(verb, *argv, 2) == 2
        assert "--draws 3" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["run", "sweep"])
def test_no_draw_of_test_is_stated_where_none_was_drawn(tmp_path, capsys, verb):
    root, undrawn = tmp_path / "features", {"mode": "none", "seed": None, "draw": None, "noise_version": None}
    made = {split: [survey_store(root, split, noise=undrawn)] for split in N}
    write_selection(tmp_path / "s.json", select(root, made, encoder="tiny"))
    for of in ((), ("--selection", tmp_path / "s.json")):
        argv = flags(root, tmp_path / "r", *of)
        assert probes(verb, *argv, "--test-draw", 5) == 2
        assert "--test-draw 5, but no noise was drawn onto the test features" in capsys.readouterr().err
        assert not read_records(tmp_path / "r")
    assert probes(verb, *argv) == 0


def test_draws_nest_and_stars_are_counted_once(features, tmp_path):
    where = flags(features, tmp_path, "--selection", features / "selection.json")
    assert probes("sweep", *where, "--draws", "1,2,4") == 0
    by_draws = {tuple(record.spec["draws"]["train"]): record for record in read_records(tmp_path)}
    assert set(by_draws) == {(0,), (0, 1), (0, 1, 2, 3)}
    for draws, record in by_draws.items():
        assert record.result["n"] == N
        assert record.result["n_rows"] == {**N, "train": N["train"] * len(draws)}
        assert (record.spec["draws"]["val"], record.spec["draws"]["test"]) == ([0], [0])
    keys = [by_draws[draws].spec["stores"]["train"] for draws in sorted(by_draws, key=len)]
    assert keys[0] == keys[1][:1]
    assert keys[1] == keys[2][:2]
    assert probes("run", *where[:-2], "--selection", features / "selection.json", "--draws", "2") == 0
    assert len(read_records(tmp_path)) == 3


def test_more_draws_than_there_are_are_refused(features, tmp_path, capsys):
    where = flags(features, tmp_path)
    assert probes("sweep", *where, "--selection", features / "selection.json", "--draws", "8") == 2
    assert "--draws 8, but 4 noise draws of train are selected" in capsys.readouterr().err
    assert probes("sweep", *where, "--noise-level", "1", "--draws", "8") == 2
    assert "--draws 5" in capsys.readouterr().err


# --- what is combined ---


def test_a_product_combines_levels_and_draws():
    found = batches(StoreAxes(noise_levels=(0.0, 1.0), draws=(1, 2)))
    pairs = itertools.product((0.0, 1.0), (0.0, 1.0), (1, 2))
    assert [(train, test, n) for train, test, n, _ in found] == list(pairs)


def test_without_axes_the_choices_stay_as_they_are():
    ((level, test, draws, asked),) = batches(StoreAxes(), pca=("none", 2), train_sizes=(9, "all"))
    assert (level, test, draws) == (None, None, None)
    assert asked == choices(pca=("none", 2), train_sizes=(9, "all"))


def test_one_by_one_varies_each_axis_alone():
    axes = StoreAxes(noise_levels=(1.0, 0.0), draws=(1, 8))
    found = batches(
        axes, combine="one-by-one", pca=("none", 16), train_sizes=("all", 9), segments=("all", "each"),
        heads=("ridge", "ols"),
    )  # fmt: skip
    cells = {
        (train, test, n, request.train_size, request.pca, request.segments, request.head)
        for train, test, n, asked in found
        for request in requests(asked)
    }
    base = (1.0, 1.0, 1, None, None, None)
    varied = {base, *((a, b, *base[2:]) for a, b in itertools.product((1.0, 0.0), repeat=2))}
    varied |= {(1.0, 1.0, 8, *base[3:]), (1.0, 1.0, 1, 9, None, None), (1.0, 1.0, 1, None, 16, None)}
    varied |= {(*base[:5], (segment,)) for segment in range(2)}
    assert cells == {(*cell, head) for cell in varied for head in ("ridge", "ols")}


def test_default_controls_stand_beside_one_level_with_the_most_draws(features):
    found = along_axes(
        choices(controls=("default",)),
        StoreChoice(root=features, family=None),
        StoreAxes(noise_levels=(1.0, 0.0), draws=(1,)),
    )
    shuffled = [b.stores for b in found.batches if b.choices.controls == ("shuffled_labels",)]
    assert [(s.noise_level, s.test_noise_level) for s in shuffled] == [(1.0, 1.0), (0.0, 0.0)]
    assert all("default" not in batch.choices.controls for batch in found.batches)
    assert len(found.missing) == 2  # of each control once, though both levels lack it


@pytest.mark.parametrize(
    ("axes", "stores", "message"),
    [
        (StoreAxes(noise_levels=(-1.0,)), {}, "--noise-levels -1.0: expected numbers from 0 on"),
        (StoreAxes(noise_levels=(float("nan"),)), {}, "--noise-levels nan"),
        (StoreAxes(draws=(0,)), {}, "--draws 0: expected numbers of draws, at least 1"),
        (StoreAxes(noise_levels=(1.0,)), {"noise_level": 1.0}, "were both given; the first names all levels"),
    ],
)
def test_axes_that_cannot_be_meant_are_refused(axes, stores, message):
    with pytest.raises(ConfigError, match=message):
        along_axes(choices(), StoreChoice(root="nowhere", **stores), axes)


# --- what has to be extracted ---


def test_the_extractions_that_axes_need():
    axes = StoreAxes(noise_levels=(1.0, 0.0, 0.1), draws=(1, 8))
    assert list(needed(axes, combine="one-by-one")) == [
        "--noise-level 0.1 --draws 1",
        "--noise-level 0 --draws 1",
        "--noise-level 1 --draws 8",
    ]
    assert [line.split()[-1] for line in needed(axes, combine="product")] == ["8", "8", "8"]
    assert list(needed(StoreAxes(draws=(2,)), combine="product")) == ["--draws 2"]
    assert list(needed(StoreAxes(), combine="product")) == [""]


def test_the_example_of_robustness_names_real_settings(tmp_path, capsys):
    example = Path(__file__).parents[1] / "configs/robustness.yaml"
    assert probes("sweep", "--config", example, "--print-extract") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[-1].endswith("--directions forward,backward --need-labels log_g --noise-level 1 --draws 8")
    assert probes("sweep", "--config", example, "--print-config") == 0
    own = tmp_path / "own.yaml"
    own.write_text(capsys.readouterr().out)
    assert probes("sweep", "--config", own, "--print-config") == 0
    assert capsys.readouterr().out == own.read_text()


def test_failures_say_at_which_level(features, tmp_path, capsys):
    where = flags(features, tmp_path, "--labels", "gap")
    assert probes("sweep", *where, "--noise-levels", "1,0") == 2
    assert "ridge gap, noise level 0)" in capsys.readouterr().err
    failed = read_records(tmp_path)
    assert len(failed) == 4
    assert {run_id("probe", record.spec) for record in failed} == {record.run_id for record in failed}


def test_make_robustness_extracts_what_lacks_and_takes_another_grid(tmp_path):
    shown = make("-n", "robustness", "DATA=d", f"OUT={tmp_path}", "HEAD=ols").stdout.replace("\\\n", " ")
    *_, extract, sweep, importance, compare = shown.splitlines()
    assert "--config 'configs/robustness.yaml'" in extract
    assert "while read -r flags" in extract
    assert "--heads 'ols'" in sweep
    assert f"probes importance --results {tmp_path}/results --features {tmp_path}/features" in importance
    assert "probes compare" in compare
    assert "--config 'own.yaml'" in make("-n", "robustness", "DATA=d", "GRID=own.yaml").stdout


def test_make_stops_when_an_extraction_is_refused(tmp_path):
    grid = tmp_path / "grid.yaml"
    grid.write_text("{noise-levels: [1, 0]}")
    done = make("sweep", f"DATA={tmp_path}/none", f"OUT={tmp_path}", f"GRID={grid}")
    assert done.returncode != 0
    assert "probes sweep" not in done.stdout.splitlines()[-1]
    assert str(tmp_path / "none") in done.stderr
