"""Latents said from flux: what is planted is found, what is not is not, and `probes distil` from flags to records."""

import shutil

import numpy as np
import pytest
from store_fakes import WIDTH, coordinates, provenance

from cache.arrays import ArrayName
from cache.commandline import main
from cache.errors import ConfigError, ProbeError, UnknownName
from cache.records import read_predictions, read_record, read_records
from cache.skeleton import RowTable
from cache.writer import Block, StoreWriter
from probes import HEADS, make_probe
from probes.bootstrap import Resamples
from probes.cli import VERBS
from probes.distillation import distil
from probes.distillation_scores import latent_scores
from probes.metrics import r2
from probes.persistence import load_head, save_head
from probes.scaling import column_scaling
from reports.rows import frame_of

N = {"train": 300, "val": 100, "test": 150}
SMALL = {"hidden": (32,), "max_epochs": 60, "batch_size": 32, "learning_rate": 0.01, "dropout": 0.0}
TARGET = {"latents": "enc_pre_latent/forward/seg_mean_K2"}
FLUX = ArrayName("input_flux", "forward", "none")
LATENT = ArrayName("enc_pre_latent", "forward", "seg_mean_K2")
N_PIXELS, N_LATENTS = 12, 6


def flux_and_latents(*, noise=0.05, shuffled=False, seed=0):
    """By split, flux (n, L) and latents (n, D) that are linear in it, or those of other stars."""
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((N_PIXELS, N_LATENTS)) * np.logspace(-2, 2, N_LATENTS)
    X = {split: rng.standard_normal((n, N_PIXELS)) for split, n in N.items()}
    Z = {split: x @ mixing for split, x in X.items()}
    Z = {
        split: z + noise * np.abs(mixing).mean(axis=0) * rng.standard_normal(z.shape)
        for split, z in Z.items()
    }
    if shuffled:
        Z = {split: rng.permutation(z) for split, z in Z.items()}
    return X, Z


def learned(X, Z, network="mlp_1", **params):
    params = SMALL | params if network.startswith("mlp") else params
    return distil(make_probe(network, **params), X, Z, stars=np.arange(N["train"]))


def scored(distilled, X, Z, *, stars=None):
    stars = np.arange(N["test"]) if stars is None else stars
    return latent_scores(
        Resamples(stars), Z["test"][:, distilled.kept], distilled.latents(X["test"]), distilled.scaling
    )


@pytest.mark.parametrize("network", ["mlp_1", "ridge"])
def test_a_linear_map_planted_between_flux_and_latents_is_recovered(network):
    X, Z = flux_and_latents()
    scores = scored(learned(X, Z, network), X, Z)
    assert scores.r2 > 0.95
    assert scores.mse < 0.05
    assert scores.cosine > 0.97
    assert scores.r2_by_latent.min() > 0.9, "latents of all scales, four decades apart"


@pytest.mark.parametrize(("network", "params"), [("mlp_1", {}), ("ridge", {"alpha": "val"})])
def test_latents_of_other_stars_are_not_said(network, params):
    X, Z = flux_and_latents(shuffled=True)
    scores = scored(learned(X, Z, network, **params), X, Z)
    assert scores.intervals["r2"].hi < 0.03
    assert scores.r2 > -0.3
    assert scores.mse > 0.9
    assert abs(scores.cosine) < 0.15


def test_scores_are_those_of_plain_loops_and_do_not_know_units():
    rng = np.random.default_rng(1)
    Z = rng.standard_normal((60, 3)) * [1e-3, 1, 1e3]
    Z_hat = Z + 0.4 * rng.standard_normal((60, 3)) * [1e-3, 1, 1e3]
    stars = np.repeat(np.arange(20), 3)
    scores = latent_scores(Resamples(stars), Z, Z_hat, column_scaling(Z))
    by_hand = [r2(Z[:, k], Z_hat[:, k]) for k in range(3)]
    np.testing.assert_allclose(scores.r2_by_latent, by_hand)
    assert scores.r2 == pytest.approx(np.mean(by_hand))
    s, s_hat = (values / Z.std(axis=0) - Z.mean(axis=0) / Z.std(axis=0) for values in (Z, Z_hat))
    assert scores.mse == pytest.approx(np.mean([(a - b) ** 2 for a, b in zip(s, s_hat, strict=True)]))
    cosines = [a @ b / np.sqrt((a @ a) * (b @ b)) for a, b in zip(s, s_hat, strict=True)]
    np.testing.assert_allclose(scores.cosine_by_row, cosines)
    assert scores.cosine == pytest.approx(np.mean(cosines))
    for name, interval in scores.intervals.items():
        assert interval.lo < getattr(scores, name) < interval.hi
    units = np.array([7.0, 1e-5, 3.0])
    again = latent_scores(Resamples(stars), units * Z + 5, units * Z_hat + 5, column_scaling(units * Z + 5))
    assert again.to_json() == scores.to_json()


def test_saying_the_mean_scores_as_promised():
    _, Z = flux_and_latents()
    scaling = column_scaling(Z["test"])
    scores = latent_scores(
        Resamples(np.arange(N["test"])), Z["test"], np.tile(scaling.mean, (N["test"], 1)), scaling
    )
    assert scores.mse == pytest.approx(1)
    assert scores.r2 == pytest.approx(0, abs=1e-12)
    assert scores.cosine == pytest.approx(0, abs=1e-6)


def test_constant_latents_are_left_out_and_all_constant_is_refused():
    X, Z = flux_and_latents()
    Z["train"][:, 1] = 3.0
    Z["val"][:, 4] = -1.0
    distilled = learned(X, Z)
    assert np.flatnonzero(~distilled.kept).tolist() == [1, 4]
    assert distilled.latents(X["test"]).shape == (N["test"], N_LATENTS - 2)
    with pytest.raises(ProbeError, match="none of the 6 latents varies"):
        learned(X, {split: np.ones_like(z) for split, z in Z.items()})


@pytest.mark.parametrize("labels", [1, 2])
@pytest.mark.parametrize(
    ("network", "probe"), [("mlp_1", "ridge"), ("ridge", "mlp_1"), ("mlp_1", "mlp_1"), ("ols", "ols")]
)
def test_a_student_is_its_network_followed_by_its_probe_also_from_disk(tmp_path, network, probe, labels):
    X, Z = flux_and_latents()
    Z["train"][:, 1] = 3.0
    params = {name: SMALL if name.startswith("mlp") else {} for name in (network, probe)}
    distilled = learned(X, Z, network)
    y = {split: (x @ np.eye(N_PIXELS)[:, :labels]).squeeze() for split, x in X.items()}
    student = make_probe(
        "student",
        **TARGET,
        network=network,
        network_params=params[network],
        probe=probe,
        probe_params=params[probe],
    )
    student.learn_from(distilled).fit(X["train"], y["train"], X_val=X["val"], y_val=y["val"])
    latents = {split: distilled.latents(x) for split, x in X.items()}
    alone = make_probe(probe, **params[probe])
    alone.fit(latents["train"], y["train"], X_val=latents["val"], y_val=y["val"])
    said = student.predict(X["test"])
    np.testing.assert_array_equal(said, alone.predict(latents["test"]))
    assert said.shape == y["test"].shape
    save_head(tmp_path / "head", student, name="student", use={})
    loaded = load_head(tmp_path / "head")
    np.testing.assert_array_equal(loaded.head.predict(X["test"]), said)
    assert loaded.head.settings() == student.settings()


def test_a_student_without_latents_or_of_nothing_is_refused():
    X, _ = flux_and_latents()
    with pytest.raises(ConfigError, match="python -m probes distil"):
        make_probe("student")
    with pytest.raises(ProbeError, match="given no latents to learn; `python -m probes distil`"):
        make_probe("student", **TARGET).fit(X["train"], X["train"][:, 0])
    with pytest.raises(UnknownName, match="head of a student"):
        make_probe("student", **TARGET, network="student")
    with pytest.raises(ConfigError, match="seed is that of the student"):
        make_probe("student", **TARGET, network_params={"seed": 3})
    assert "student" not in HEADS, "HEAD=all fits ordinary heads"


def survey(root, arrays=(LATENT, FLUX), **changes):
    """Stores in which latents are sums of pixels, noise apart, and labels are linear in the flux."""
    for split, n in N.items():
        rng = np.random.default_rng(list(N).index(split))
        flux = rng.standard_normal((n, WIDTH)).astype(np.float32)
        latents = (flux @ np.tri(WIDTH) + 0.1 * rng.standard_normal((n, WIDTH))).astype(np.float32)
        first = 10_000 * list(N).index(split)
        labels = {"log_g": flux @ [1.0, -1.0, 0.5, 0.0], "T_eff": flux[:, 3].astype(np.float64)}
        writer = StoreWriter.create(
            root,
            provenance(split, arrays=arrays, n=n, input=split.encode().hex().ljust(64, "0"), **changes),
            rows=RowTable(
                np.arange(n),
                np.arange(first, first + n, dtype=np.uint64),
                [str(k) for k in range(n)],
                labels,
            ),
            coordinates={array: coordinates() for array in arrays},
            block_rows=n,
        )
        made = {LATENT: latents, FLUX: flux}
        writer.commit(0, Block(arrays={a: made[a] for a in arrays}, input=""), {"engine": "made up"})
        writer.record_run("2026-01-01T00-00-00Z", {"encoder": "tiny"})


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    root = tmp_path_factory.mktemp("features")
    survey(root)
    return root


def distil_command(features, results, *more):
    flags = ("--features", features, "--results", results, "--poolings", LATENT.pooling, *more)
    return main("probes", VERBS, ["distil", *(str(flag) for flag in flags)])


def test_students_become_ordinary_rows_beside_latents_and_flux(features, tmp_path, capsys):
    argv = (features, tmp_path, "--student-params", "max_epochs=40,batch_size=32,learning_rate=0.01")
    assert distil_command(*argv, "--labels", "log_g,T_eff") == 0
    out = capsys.readouterr().out
    assert out.count("student minus true latents") == out.count("student minus flux") == 2
    records = read_records(tmp_path)
    assert {record.kind for record in records} == {"probe"}
    students = [record for record in records if record.spec["head"] == "student"]
    assert (len(records), len(students)) == (6, 2)
    student = next(record for record in students if record.spec["labels"] == ["log_g"])
    assert student.spec["features"]["parts"] == [
        {"layer": "input_flux", "pooling": "none", "direction": "forward"}
    ]
    assert student.spec["params"]["latents"] == LATENT.path
    assert student.spec["params"]["probe_params"]["alpha"] == "val"
    told = student.result["distillation"]
    assert told["test"]["r2"]["value"] > 0.9
    assert (told["n_latents"], told["n_constant"]) == (WIDTH, 0)
    assert student.result["scores"]["test"]["log_g"]["r2"] > 0.9
    with np.load(tmp_path / "arrays" / f"{student.run_id}.npz") as arrays:
        assert arrays["distil_r2_by_latent"].shape == (WIDTH,)
        assert arrays["distil_cosine_by_row"].mean() == pytest.approx(told["test"]["cosine"]["value"], 1e-5)
        assert arrays["distil_val_r2"].shape == arrays["distil_train_mse"].shape
    rows = [read_predictions(tmp_path, record.run_id)["row"] for record in records]
    assert all(np.array_equal(row, rows[0]) for row in rows), "so that they are compared in pairs"
    table = frame_of(records, lambda *_: "fresh")
    assert table["role"].tolist().count("raw noisy flux") == 4
    assert distil_command(*argv, "--labels", "log_g,T_eff") == 0
    assert "learning from" not in capsys.readouterr().out, "all is on record"
    assert distil_command(*argv, "--refit") == 0
    again = read_record(tmp_path, student.run_id)
    assert (again.result, again.files) == (student.result, student.files)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--labels", "gravity"), "has no label 'gravity'"),
        (("--layers", "enc_pre_latent+enc_last"), "a student learns one layer"),
        (("--layers", "enc_last"), "enc_last"),
        (("--flux-pooling", "global_mean"), "input_flux"),
        (("--student", "student"), "unknown student 'student'; known: mlp_1, mlp_2, ridge, ols"),
        (("--student-params", "depth=3"), "depth"),
    ],
)
def test_mistakes_are_told_before_anything_is_learned(features, tmp_path, capsys, flags, words):
    assert distil_command(features, tmp_path, *flags) == 2
    assert words in capsys.readouterr().err
    assert read_records(tmp_path) == []


def test_without_val_nothing_that_chooses_is_learned_and_what_is_offered_instead_is(tmp_path, capsys):
    survey(tmp_path / "f")
    shutil.rmtree(tmp_path / "f" / "val")
    assert distil_command(tmp_path / "f", tmp_path / "r") == 2
    told = capsys.readouterr().err
    assert "mlp_1 as it is asked for chooses on val, so it needs a val split" in told
    assert "--student-params mlp_1.selection=fixed" in told
    fixed = ("--student-params", "mlp_1.selection=fixed,max_epochs=2,threads=1")
    assert distil_command(tmp_path / "f", tmp_path / "r", *fixed) == 2
    assert "--params ridge.alpha=0.001" in capsys.readouterr().err
    assert read_records(tmp_path / "r") == []
    assert distil_command(tmp_path / "f", tmp_path / "r", *fixed, "--params", "ridge.alpha=0.001") == 0


@pytest.mark.parametrize("array", [LATENT, FLUX])
def test_twins_are_of_the_stores_where_flux_and_latents_are_together(array, tmp_path):
    """Another encoder and another noise level hold one of the two as well."""
    survey(tmp_path / "f")
    survey(tmp_path / "f", (array,), encoder={"origin": "random:0", "weights": "77" * 32})
    survey(tmp_path / "f", (array,), noise={"level": 0.5})
    assert distil_command(tmp_path / "f", tmp_path / "r", "--student", "ols") == 0
    records = read_records(tmp_path / "r")
    assert len(records) == 3
    assert len({record.spec["family"] for record in records}) == 1
    assert all(set(record.spec["noise_levels"].values()) == {1.0} for record in records)


def test_twins_that_could_be_of_several_stores_are_told_before_anything_is_learned(tmp_path, capsys):
    survey(tmp_path / "f")
    survey(tmp_path / "f", (LATENT,), rows={"n": N["train"], "selection": "others"})
    assert distil_command(tmp_path / "f", tmp_path / "r", "--student", "ols") == 2
    assert "several feature stores" in capsys.readouterr().err
    assert read_records(tmp_path / "r") == []


def test_probes_run_names_the_verb(features, tmp_path, capsys):
    flags = [
        "--features",
        features,
        "--results",
        tmp_path,
        "--poolings",
        LATENT.pooling,
        "--heads",
        "student",
    ]
    assert main("probes", VERBS, ["run", *(str(flag) for flag in flags)]) == 2
    assert "python -m probes distil" in capsys.readouterr().err
