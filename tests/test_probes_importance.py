"""What each wavelength segment is worth to a fitted probe: permuted, alone, left out."""

import json

import numpy as np
import pytest
from commands import probes
from probes_fakes import LAYER
from store_fakes import provenance

from cache import FeatureStore, FeatureView
from cache.arrays import ArrayName
from cache.errors import ProbeError
from cache.records import read_arrays, read_record, read_records, record_path, write_record
from cache.skeleton import RowTable
from cache.writer import Block, StoreWriter
from probes.bootstrap import Resamples
from probes.carried import FEW_FLAG
from probes.features import FeaturePart
from probes.importance import donor_rows, drops, permuted_squares
from probes.metrics import r2
from probes.segment_importance import NO_SKILL_FLAG, rests_on
from probes.segments import segment_columns
from probes.statistics import paired_difference

K, C = 4, 2
N = {"train": 300, "val": 60, "test": 240}
ARRAYS = tuple(ArrayName(LAYER, direction, f"seg_mean_K{K}") for direction in ("forward", "backward"))
PLANTED = 3


def write_store(root, split):
    """log_g lives in forward segment 3, T_eff in backward segment 1; all else is noise."""
    n = N[split]
    rng = np.random.default_rng(ord(split[1]))
    values = {array: rng.standard_normal((n, K * C)).astype(np.float32) for array in ARRAYS}
    forward, backward = (values[array] for array in ARRAYS)
    labels = {
        "log_g": forward[:, PLANTED * C] + forward[:, PLANTED * C + 1] + 0.3 * rng.standard_normal(n),
        "T_eff": 5000 + 100 * (backward[:, C] + 0.3 * rng.standard_normal(n)),
        "noise": rng.standard_normal(n),
    }
    first = 1000 * list(N).index(split)
    writer = StoreWriter.create(
        root,
        provenance(split, arrays=ARRAYS, n=n, width=K * C, input=split.encode().hex().ljust(64, "0")),
        rows=RowTable(
            np.arange(n), np.arange(first, first + n, dtype=np.uint64), [str(k) for k in range(n)], labels
        ),
        coordinates={array: coordinates(array.direction) for array in ARRAYS},
        block_rows=512,
    )
    for block in writer.pending():
        writer.commit(block, Block(arrays=values, input=""), {"engine": "made up"})
    writer.record_run("2026-01-01T00-00-00Z", {"encoder": "tiny"})
    return writer.path


def coordinates(direction):
    segment = np.arange(K * C) // C
    lo = 7000.0 + 100 * segment + (50 if direction == "backward" else 0)
    return {
        "channel": np.arange(K * C) % C,
        "segment": segment,
        "statistic": np.zeros(K * C),
        "wave_lo": lo,
        "wave_hi": lo + 90,
    }


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    root = tmp_path_factory.mktemp("features")
    for split in N:
        write_store(root, split)
    return root


def fit(features, results, *more):
    where = (
        "--features",
        features,
        "--results",
        results,
        "--poolings",
        f"seg_mean_K{K}",
        "--controls",
        "none",
    )
    assert probes("sweep", *where, "--params", "ridge.alpha=val", *more) == 0


def importance(features, results, *more):
    return probes("importance", "--features", features, "--results", results, *more)


def of_kind(results, kind="importance"):
    return [record for record in read_records(results) if record.kind == kind]


# --- one array ---


def linear(seed=0, n=150, d=6, t=2):
    """Rows of 50 stars, labels linear in X with noise, and the head that knows the weights."""
    rng = np.random.default_rng(seed)
    X, weights = rng.standard_normal((n, d)), rng.standard_normal((d, t))
    Y = X @ weights + 0.2 * rng.standard_normal((n, t))
    return X, Y, rng.integers(0, 50, n), lambda X: X @ weights


def test_permuted_squares_are_those_of_a_loop():
    X, Y, stars, predict = linear()
    groups = [np.array([0, 3]), np.array([5]), np.arange(6)]
    donors = donor_rows(stars, n_permutations=3, seed=4)
    found, before = permuted_squares(predict, X, Y, groups=groups, donors=donors), X.copy()
    np.testing.assert_array_equal(X, before)
    for g, columns in enumerate(groups):
        for i in range(len(X)):
            expected = np.zeros(2)
            for rows in donors:
                row = X[i].copy()
                for column in columns:
                    row[column] = X[rows[i], column]
                expected += (predict(row[None])[0] - Y[i]) ** 2 / len(donors)
            np.testing.assert_allclose(found[i, :, g], expected, rtol=1e-10)


def test_all_rows_of_a_star_take_one_row_of_one_star():
    _, _, stars, _ = linear()
    donors = donor_rows(stars, n_permutations=5)
    first = {int(star): int(np.flatnonzero(stars == star)[0]) for star in stars}
    for rows in donors:
        given = {int(star): set(rows[stars == star].tolist()) for star in stars}
        assert all(len(taken) == 1 for taken in given.values())
        assert set.union(*given.values()) == set(first.values())  # a permutation: every star gives once
    assert len({tuple(rows) for rows in donors.tolist()}) == 5
    np.testing.assert_array_equal(donors, donor_rows(stars, n_permutations=5))


def test_drops_are_paired_differences_in_r2():
    X, Y, stars, predict = linear()
    y, y_hat = Y[:, 0], predict(X)[:, 0]
    worse = y_hat + np.random.default_rng(1).standard_normal((4, len(y)))
    squares = np.column_stack([(y_hat - y) ** 2, *((one - y) ** 2 for one in worse)])
    found = drops(Resamples(stars), y, squares)
    for k, one in enumerate(worse):
        expected = paired_difference(y, y_hat, one, stars=stars)
        assert found.value[k] == pytest.approx(r2(y, y_hat) - r2(y, one))
        np.testing.assert_allclose(found.intervals[k].as_list(), expected.interval.as_list())


# --- columns ---


def test_columns_are_told_apart_by_part_direction_and_segment(features):
    store = FeatureStore.open(next((features / "test").iterdir()))
    view = FeatureView(dict.fromkeys(store.arrays, store))
    pooling = f"seg_mean_K{K}"
    parts = [FeaturePart(layer=LAYER, pooling=pooling, direction=d) for d in ("concat", "mean", "backward")]
    found = segment_columns(view, parts)
    joined = np.concatenate([group.columns for group in found])
    assert sorted(joined.tolist()) == list(range(4 * K * C))
    X = np.concatenate([view.features(p.layer, p.pooling, p.direction) for p in parts], axis=1)
    stored = {d: view.features(LAYER, pooling, d) for d in ("forward", "backward", "mean")}
    for group in found:
        own = slice(group.segment * C, (group.segment + 1) * C)
        np.testing.assert_array_equal(X[:, group.columns], stored[group.direction][:, own])
    told = {(g.part, g.direction, g.segment): (g.wave_lo, g.wave_hi, g.context) for g in found}
    assert len(told) == 4 * K
    assert told[0, "forward", 2] == (7200, 7290, "context up to 7290 A")
    assert told[2, "backward", 1] == (7150, 7240, "context from 7150 A")
    assert told[1, "mean", 0] == (None, None, None)


# --- the command ---


def test_a_planted_segment_is_found_and_no_other(features, tmp_path, capsys):
    fit(
        features,
        tmp_path,
        "--directions",
        "concat",
        "--labels",
        "log_g,T_eff",
        "--segments",
        "all,each,all-but-each",
    )
    assert importance(features, tmp_path) == 0
    assert f"forward segment {PLANTED} (context up to 7390 A) permuted costs most" in capsys.readouterr().out
    by_label = {record.spec["labels"][0]: record for record in of_kind(tmp_path)}
    assert len(by_label) == len(of_kind(tmp_path)) == 2
    for label, direction, segment in (("log_g", "forward", PLANTED), ("T_eff", "backward", 1)):
        arrays = read_arrays(tmp_path, by_label[label].run_id)
        lo, hi = arrays[f"importance_lo/{label}"], arrays[f"importance_hi/{label}"]
        planted = (arrays["direction"] == direction) & (arrays["segment"] == segment)
        assert planted.sum() == 1
        assert lo[planted] > 1  # twice the variance that the columns explain
        assert np.all(lo[~planted] < 0.005)
        assert np.all(hi[~planted] < 0.02)
        elsewhere = arrays["segments"] != segment
        assert arrays[f"alone_lo/{label}"][segment] > 0.8
        assert np.all(arrays[f"alone_hi/{label}"][elsewhere] < 0.1)
        assert arrays[f"without_lo/{label}"][segment] > 0.8
        assert np.all(np.abs(arrays[f"without/{label}"][elsewhere]) < 0.02)
        assert np.argmax(arrays[f"whole/{label}"]) == segment


def test_what_is_on_record_is_what_its_spec_says(features, tmp_path):
    fit(features, tmp_path, "--directions", "concat", "--segments", "all,each,0+1")
    assert importance(features, tmp_path) == 0
    (record,), probes_ = of_kind(tmp_path), of_kind(tmp_path, "probe")
    (full,) = [r for r in probes_ if r.spec["features"]["segments"] is None]
    alone = {
        str(*r.spec["features"]["segments"]): r
        for r in probes_
        if len(r.spec["features"]["segments"] or ()) == 1
    }
    assert record.spec["run"] == full.run_id
    result = record.result
    assert result["refits"] == {"alone": {s: r.run_id for s, r in alone.items()}, "without": {}}
    assert set(result["predictions"]) == {full.run_id, *result["refits"]["alone"].values()}
    assert result["r2"]["log_g"][0] == pytest.approx(full.result["scores"]["test"]["log_g"]["r2"], rel=1e-5)
    assert [(g["direction"], g["segment"]) for g in result["groups"]] == [
        (direction, segment) for direction in ("forward", "backward") for segment in range(K)
    ]
    assert result["n"] == result["n_rows"] == {"test": N["test"]}
    assert set(result["stores"]) == set(full.spec["stores"]["test"])
    arrays = read_arrays(tmp_path, record.run_id)
    assert np.isnan(arrays["without/log_g"]).all()
    for s, refit in alone.items():
        assert arrays["alone/log_g"][int(s)] == refit.result["scores"]["test"]["log_g"]["r2"]


@pytest.mark.parametrize(
    "more",
    [
        ("--labels", "log_g+T_eff"),
        ("--pca", "6"),
        ("--heads", "ridge,lightgbm", "--params", "lightgbm.n_trees=5"),
    ],
)
def test_any_head_and_basis(features, tmp_path, more):
    fit(features, tmp_path, *more)
    probe = min(of_kind(tmp_path, "probe"), key=lambda record: record.spec["head"])
    assert importance(features, tmp_path, "--runs", probe.run_id[:9]) == 0
    (record,) = of_kind(tmp_path)
    arrays = read_arrays(tmp_path, record.run_id)
    np.testing.assert_array_equal(
        arrays["importance/log_g"], arrays["whole/log_g"]
    )  # one part, one direction
    for label in probe.spec["labels"]:
        assert arrays[f"importance/{label}"].shape == (K,)


def test_it_is_made_once_until_its_probe_or_a_refit_changes(features, tmp_path, capsys):
    fit(features, tmp_path)
    assert importance(features, tmp_path) == 0
    (first,), path = of_kind(tmp_path), record_path(tmp_path, of_kind(tmp_path)[0].run_id)
    content = path.read_bytes()
    capsys.readouterr()
    assert importance(features, tmp_path) == 0
    assert "(on record)" in capsys.readouterr().out
    assert path.read_bytes() == content
    fit(features, tmp_path, "--segments", "all-but-each")
    assert importance(features, tmp_path) == 0
    (again,) = of_kind(tmp_path)
    assert again.run_id == first.run_id
    assert list(again.result["refits"]["without"]) == [str(s) for s in range(K)]


def test_probes_that_differ_in_a_parameter_are_told_apart(features, tmp_path, capsys):
    layer = f"enc_pre_latent/forward/seg_mean_K{K}"
    for more, expected in (
        ((), {f"{layer} ridge, noise level 1"}),  # nothing to tell it from
        (
            ("--params", "ridge.alpha=0.001"),
            {f"{layer} ridge alpha={alpha}, noise level 1" for alpha in ("val", "0.001")},
        ),
    ):
        fit(features, tmp_path, *more)
        capsys.readouterr()
        assert importance(features, tmp_path) == 0
        named = [line.partition(" ")[2].partition(":")[0] for line in capsys.readouterr().out.splitlines()]
        assert len(named) == len(expected)
        assert set(named) == expected


@pytest.mark.parametrize(("n_stars", "few"), [(29, True), (30, False)])
def test_few_test_stars_are_flagged(features, tmp_path, n_stars, few):
    fit(features, tmp_path)
    (record,) = (record for record in read_records(tmp_path) if record.kind == "probe")
    record.result["n"]["test"] = n_stars
    _, about = rests_on(record, {})
    assert (FEW_FLAG in about["flags"]) == few


def test_a_probe_without_skill_is_flagged_and_told(features, tmp_path, capsys):
    fit(features, tmp_path, "--labels", "log_g,noise,log_g+noise")
    assert importance(features, tmp_path) == 0
    told = capsys.readouterr().out
    flag = f"{NO_SKILL_FLAG} (noise)"
    by_labels = {tuple(record.spec["labels"]): record for record in of_kind(tmp_path)}
    assert by_labels["log_g",].result["flags"] == []
    assert by_labels["noise",].result["flags"] == by_labels["log_g", "noise"].result["flags"] == [flag]
    assert by_labels["noise",].result["r2"]["noise"][1] <= 0
    assert told.count("is not clearly above 0, no importance is worth reading") == 2
    assert told.count("permuted costs most") == 2
    (old,) = (record for record in of_kind(tmp_path) if record.spec["labels"] == ["noise"])
    write_record(  # as it was before there was a flag
        tmp_path,
        kind="importance",
        spec=old.spec,
        result={**old.result, "flags": []},
        run={},
        arrays=read_arrays(tmp_path, old.run_id),
    )
    assert importance(features, tmp_path) == 0
    assert read_record(tmp_path, old.run_id).result == old.result


def test_a_store_or_a_head_that_changed_is_told_and_the_others_go_on(features, tmp_path, capsys):
    fit(features, tmp_path, "--labels", "log_g,T_eff")
    (one, other) = of_kind(tmp_path, "probe")
    for file in ("head.json", *(p.name for p in (tmp_path / "heads" / one.run_id).iterdir())):
        (tmp_path / "heads" / other.run_id / file).write_bytes(
            (tmp_path / "heads" / one.run_id / file).read_bytes()
        )
    assert importance(features, tmp_path) == 2
    assert "does not give the predictions on record" in capsys.readouterr().err
    assert [record.spec["run"] for record in of_kind(tmp_path)] == [one.run_id]
    assert importance(tmp_path / "absent", tmp_path / "none") == 2
    assert "no probe on all segments" in capsys.readouterr().err
    path = record_path(tmp_path, of_kind(tmp_path)[0].run_id)
    assert json.loads(path.read_text())["kind"] == "importance"
    path.unlink()
    assert importance(tmp_path / "absent", tmp_path) == 2
    assert "no feature store there" in capsys.readouterr().err


def test_what_is_not_cut_into_segments_is_refused(features, tmp_path, capsys):
    fit(features, tmp_path, "--segments", "2")
    assert importance(features, tmp_path) == 2
    assert "no probe on all segments of a pooling" in capsys.readouterr().err
    (some, *_) = of_kind(tmp_path, "probe")
    assert importance(features, tmp_path, "--runs", some.run_id[:12]) == 2
    assert "no record of a probe on all segments" in capsys.readouterr().err
    assert importance(features, tmp_path, "--runs", "zz") == 2
    assert "--runs zz: no record of a probe" in capsys.readouterr().err
    fit(features, tmp_path)
    capsys.readouterr()
    for flag, wrong in (("--heads", "rigde"), ("--labels", "logg")):
        assert importance(features, tmp_path, flag, wrong) == 2
        assert f"among the records '{wrong}'; known: " in capsys.readouterr().err
    with pytest.raises(ProbeError, match="not cut into wavelength segments"):
        segment_columns(_Pixels(), [FeaturePart(layer="input_flux", pooling="none")])


class _Pixels:
    def coordinates(self, *_):
        return {"channel": np.zeros(2), "segment": np.arange(2), "statistic": np.full(2, 2)}
