"""What is fitted beside the probes asked for: controls on the same stores, on flux and error, on a random encoder."""

import shlex

import pytest
from commands import probes
from small_survey import N, flags, survey_store
from store_fakes import FORWARD

from cache.arrays import ArrayName
from cache.records import read_records
from cache.selection import select, write_selection
from probes.carried import FEW_FLAG
from probes.cells import CellChoices
from probes.default_controls import accompanied
from probes.stores import StoreChoice

FLUX = ArrayName("input_flux", "forward", "none")
ERROR = ArrayName("input_error", "forward", "none")
MADE = "python -m extract run --data d --draws 1 --draws 2 --checkpoint m.ckpt"
EXTRACT = f"{MADE} --layers all --selection=s.json --poolings a,b"


def stores(root, **changes):
    return {split: [survey_store(root, split, **changes)] for split in N}


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    """Latents, flux and error (20 pixels), and two random encoders beside them."""
    root = tmp_path_factory.mktemp("features")
    made = stores(root, about={"command": EXTRACT})
    for array in (FLUX, ERROR):
        for split, inputs in stores(root, arrays=(array,), width=20).items():
            made[split] += inputs
    for origin in ("random:10", "random:9"):
        stores(root, encoder={"origin": origin, "weights": origin.encode().hex().ljust(64, "0")})
    stores(root, encoder={"origin": "random:1", "config": {"num_layers": 4}})
    write_selection(root / "selection.json", select(root, made, encoder="tiny"))
    return root


def choices(**changes):
    plain = {"layers": ("enc_pre_latent",), "poolings": (FORWARD.pooling,), "directions": ("forward",)}
    return CellChoices(
        **(plain | {"heads": ("ridge",), "labels": ("log_g",), "controls": ("default",)} | changes)
    )


def told(found):
    """Each batch as (layers, controls, pca, family)."""
    return [(b.choices.layers, b.choices.controls, b.choices.pca, b.stores.family) for b in found.batches]


def test_controls_that_are_named_stand_alone(features):
    asked = choices(controls=("none", "shuffled_labels"))
    found = accompanied(asked, StoreChoice(root=features))
    assert [batch.choices for batch in found.batches] == [asked]
    assert found.missing == ()


def test_every_control_is_recorded_beside_the_probe(features, tmp_path, capsys):
    argv = flags(features, tmp_path, "--controls", "default", "--heads", "ols,ridge")
    assert probes("run", *argv, "--selection", features / "selection.json") == 0
    told = capsys.readouterr().out
    assert "not run" not in told
    records = read_records(tmp_path)
    for control in ("random encoder", "shuffled labels", "mean predictor"):
        recorded = [r for r in records if r.spec["control"] == control.replace(" ", "_")]
        assert told.count(f"({control})") == len(recorded) > 0
    named = [line.partition("] ")[2].partition(":")[0] for line in told.splitlines()]
    assert len(set(named)) == len(records), "no two lines have the same words"
    found = sorted(
        (
            r.spec["control"],
            r.spec["features"]["parts"][0]["layer"],
            r.spec["head"],
            r.spec["features"]["pca"] or 0,
        )
        for r in records
    )
    latent, flux = "enc_pre_latent", "input_flux"
    assert found == [
        ("mean_predictor", latent, "mean", 0),
        *[("none", latent, head, 0) for head in ("ols", "ridge")],
        *[("none", "input_error", head, 0) for head in ("ols", "ridge")],
        *[("none", flux, head, axes) for head in ("ols", "ridge") for axes in (0, 16)],
        *[("random_encoder", latent, head, 0) for head in ("ols", "ridge")],
        *[("shuffled_labels", latent, head, 0) for head in ("ols", "ridge")],
    ]
    random = [r for r in records if r.spec["control"] == "random_encoder"]
    assert {r.result["weights"] for r in random} == {b"random:9".hex().ljust(64, "0")}
    assert {flag for r in records for flag in r.result["flags"]} == {FEW_FLAG}


def test_a_sweep_makes_the_same_records_and_counts_them_once(features, tmp_path, capsys):
    where = ("--controls", "default", "--selection", features / "selection.json")
    assert probes("sweep", *flags(features, tmp_path / "sweep", *where)) == 0
    assert "7 cells (ridge 6, mean 1): 0 on record, 7 to compute" in capsys.readouterr().out
    assert probes("run", *flags(features, tmp_path / "run", *where)) == 0
    first, second = (
        [(r.run_id, r.result) for r in read_records(tmp_path / name)] for name in ("sweep", "run")
    )
    assert first == second
    argv = flags(features, tmp_path / "twice", *where, "--controls", "default,shuffled_labels")
    assert probes("sweep", *argv, "--dry-run") == 0
    assert "7 cells (ridge 6, mean 1)" in capsys.readouterr().out


def test_controls_are_fitted_once_to_the_largest_size(features):
    asked = choices(
        train_sizes=(20, 40), seeds=(4, 5), pca=("none", 2), segments=("all", "each"), heads=("ols", "ridge")
    )
    found = accompanied(asked, StoreChoice(root=features, family=family_of(features)))
    first, *others = (batch.choices for batch in found.batches)
    assert (first.train_sizes, first.seeds, first.pca, first.segments) == (
        (20, 40),
        (4, 5),
        ("none", 2),
        ("all", "each"),
    )
    for chosen in others:
        assert (chosen.train_sizes, chosen.seeds, chosen.segments) == ((40,), (4,), ("all",))
        assert chosen.heads == (("mean",) if chosen.controls == ("mean_predictor",) else ("ols", "ridge"))
    assert accompanied(
        choices(train_sizes=(20, "all")), StoreChoice(root=features, family=family_of(features))
    ).batches[1].choices.train_sizes == ("all",)


def family_of(root):
    from cache.selection import read_selection

    return read_selection(root / "selection.json").family


def test_random_encoders_of_another_shape_are_no_control(features):
    own = family_of(features)
    found = accompanied(choices(), StoreChoice(root=features, family=own))
    *_, (layers, controls, _, family) = told(found)
    assert (layers, controls) == (("enc_pre_latent",), ("none",))
    assert family not in (None, own)


def test_what_has_no_stores_is_named_with_its_command(tmp_path, capsys):
    """Of a flag given twice, as make does, the one that counted is left."""
    stores(tmp_path / "f", about={"command": EXTRACT})
    argv = flags(tmp_path / "f", tmp_path / "r", "--controls", "default", "--directions", "concat")
    assert probes("run", *argv) == 0
    inputs, random = (
        line.partition("; run ")[2]
        for line in capsys.readouterr().out.splitlines()
        if "control not run" in line
    )
    common = "python -m extract run --data d --draws 2"
    assert inputs == (
        f"{common} --checkpoint m.ckpt --layers input_flux,input_error --poolings none --directions forward"
    )
    assert random == (
        f"{common} --config-model YAML_OF_THE_ENCODER --checkpoint random:0 --layers enc_pre_latent "
        f"--poolings {FORWARD.pooling} --directions forward,backward"
    )
    assert {r.spec["control"] for r in read_records(tmp_path / "r")} == {
        "none",
        "shuffled_labels",
        "mean_predictor",
    }
    assert probes("sweep", *argv, "--dry-run") == 0
    assert (
        "control not run: raw noisy flux and its PCA, error only: not stored; run python -m extract"
        in capsys.readouterr().out
    )


def test_a_store_that_does_not_tell_its_command_leaves_capitals(tmp_path):
    stores(tmp_path)
    found = accompanied(choices(), StoreChoice(root=tmp_path))
    words = shlex.split(found.missing[1].partition("; run ")[2])
    assert words[words.index("--data") + 1] == "DATA"
    assert "random:0" in words
    assert "--config-model" not in words


def test_layers_of_a_random_encoder_that_are_not_stored_are_named(tmp_path):
    stores(tmp_path)
    stores(tmp_path, arrays=(FORWARD,), encoder={"origin": "random:1", "weights": "77" * 32})
    own = next(family for family, origin in survey_families(tmp_path) if origin == "checkpoint")
    found = accompanied(choices(directions=("forward", "backward")), StoreChoice(root=tmp_path, family=own))
    assert "random encoder on enc_pre_latent: not stored" in found.missing[1]
    assert len(found.batches) == 3
    found = accompanied(choices(), StoreChoice(root=tmp_path, family=own))
    assert len(found.missing) == 1
    assert len(found.batches) == 4


def survey_families(root):
    from cache.header import read_header
    from cache.store_folders import store_paths

    for path in store_paths(root, "train"):
        header = read_header(path)
        yield header.family, header.provenance["encoder"]["origin"]


def test_inputs_are_taken_from_the_stores_of_the_encoder(tmp_path):
    stores(tmp_path)
    stores(tmp_path, arrays=(FLUX, ERROR), width=20)
    stores(tmp_path, arrays=(FLUX, ERROR), width=20, encoder={"origin": "random:1", "weights": "77" * 32})
    own = next(family for family, origin in survey_families(tmp_path) if origin == "checkpoint")
    found = accompanied(choices(), StoreChoice(root=tmp_path))
    assert told(found)[-2:] == [
        (("input_flux",), ("none",), ("none", 16), own),
        (("input_error",), ("none",), ("none",), own),
    ]
    assert "random encoder on enc_pre_latent: not stored" in found.missing[0]


@pytest.mark.parametrize(
    ("stored", "absent", "words"),
    [(FLUX, ERROR, "error only"), (ERROR, FLUX, "raw noisy flux and its PCA")],
)
def test_of_two_inputs_only_the_one_that_is_not_stored_is_named(stored, absent, words, tmp_path):
    stores(tmp_path)
    stores(tmp_path, arrays=(stored,), width=20)
    found = accompanied(choices(), StoreChoice(root=tmp_path))
    assert told(found)[-1][0] == (stored.layer,)
    assert found.missing[0].startswith(f"{words}: not stored; run ")
    assert f"--layers {absent.layer} --poolings none --directions forward" in found.missing[0]


@pytest.mark.parametrize("layer", ["input_flux", "input_error"])
def test_inputs_and_random_encoders_need_no_further_controls(layer, features):
    asked = choices(layers=(layer,), poolings=("none",))
    found = accompanied(asked, StoreChoice(root=features, family=family_of(features)))
    assert [controls for _, controls, _, _ in told(found)] == [
        ("none",),
        ("shuffled_labels",),
        ("mean_predictor",),
    ]
    random = next(f for f, origin in survey_families(features) if origin == "random:9")
    found = accompanied(choices(), StoreChoice(root=features, family=random))
    assert [controls for _, controls, _, _ in told(found)] == [
        ("none",),
        ("shuffled_labels",),
        ("mean_predictor",),
    ]
    assert "raw noisy flux and its PCA, error only" in found.missing[0]


def test_a_forced_leak_is_flagged_in_every_record(tmp_path, capsys):
    for split in N:
        survey_store(tmp_path / "f", split, shared=10 if split == "test" else 0)
    argv = flags(tmp_path / "f", tmp_path / "r", "--controls", "default")
    assert probes("sweep", *argv) == 2
    assert "--allow-leak fits all the same" in capsys.readouterr().err
    assert probes("sweep", *argv, "--allow-leak") == 0
    for record in read_records(tmp_path / "r"):
        assert record.spec["allow_leak"] is True
        assert "LEAK FORCED: 10 stars stand in both train and test" in record.result["flags"]


def flux_axes(root, **changes):
    """By labels, the principal axes of the flux that stand beside the probes asked for."""
    found = accompanied(choices(**changes), StoreChoice(root=root, family=family_of(root)))
    return {
        batch.choices.labels: batch.choices.pca[1:]
        for batch in found.batches
        if batch.choices.layers == (FLUX.layer,)
    }


@pytest.mark.parametrize(("size", "axes"), [(15, ()), (16, ()), (17, (16,)), ("all", (16,))])
def test_the_flux_is_put_on_axes_that_so_many_stars_have(size, axes, features):
    """n stars vary in n - 1 directions."""
    assert flux_axes(features, train_sizes=(size,)) == {("log_g",): axes}


def test_the_flux_is_put_on_axes_that_the_stars_with_the_label_have(tmp_path, capsys):
    root, few = tmp_path / "f", {"train": range(16, N["train"])}
    made = {
        split: [
            survey_store(root, split, lacking=few.get(split, ()), **how)
            for how in ({}, {"arrays": (FLUX,), "width": 20})
        ]
        for split in N
    }
    write_selection(root / "selection.json", select(root, made, encoder="tiny"))
    asked = {"labels": ("log_g", "T_eff", "log_g+T_eff"), "missing_labels": "drop"}
    assert flux_axes(root, **asked) == {("log_g", "log_g+T_eff"): (), ("T_eff",): (16,)}
    argv = flags(root, tmp_path / "r", "--controls", "default", "--missing-labels", "drop")
    assert probes("run", *argv, "--selection", root / "selection.json", "--labels", "log_g,T_eff") == 0
    capsys.readouterr()
