"""Comparison records: which records are paired, what is said of them, and when they are made anew."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from commands import probes
from small_survey import N, flags, survey_store

from cache.canonical import canonical_json
from cache.errors import ProbeError
from cache.records import read_predictions, read_records, write_record
from probes.bins import quantile_bins
from probes.carried import LEAST_EFFECTIVE
from probes.comparable import comparable, without_repeats
from probes.comparison import VERSION, binned, described, n_holding, paired
from probes.metrics import r2
from probes.statistics import PAIRED_METHOD, intervals, paired_difference
from reports.comparisons import METHOD as REPORTED_METHOD
from reports.paired import LEAST_EFFECTIVE as REPORTED_AS

CHOICES = (
    "--heads", "ols,ridge,mlp_1", "--params", "mlp_1.max_epochs=3,mlp_1.hidden=[8],mlp_1.threads=1,ridge.alpha=1000",
    "--labels", "log_g,T_eff+log_g", "--controls", "default", "--seeds", "0,1",
)  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Ten trained probes: two sets of labels, OLS, Ridge, an MLP with two seeds; their controls; a random encoder."""
    root = tmp_path_factory.mktemp("compared")
    for split in N:
        survey_store(root / "f", split)
        survey_store(root / "f", split, encoder={"origin": "random:0", "weights": "77" * 32})
    own = min(
        {
            record.family
            for record in families(root / "f")
            if record.provenance["encoder"]["origin"] == "checkpoint"
        }
    )
    assert probes("sweep", *flags(root / "f", root / "r", *CHOICES), "--family", own) == 0
    return root / "r"


def families(root):
    from cache.header import read_header
    from cache.store_folders import store_paths

    return [read_header(path) for path in store_paths(root, "train")]


def read(root):
    return lambda name: read_predictions(root, name)


def of_label(results, label):
    records = read_records(results)
    (found,) = [c for c in comparable(records, read(results)) if c.rows.label == label]
    return found, records


def test_records_of_one_label_and_test_set_are_compared_those_with_shuffled_labels_never(results):
    found, records = of_label(results, "log_g")
    assert found.y_hat.shape == (N["test"], len(found.records))
    shuffled = {r.run_id for r in records if r.spec["control"] == "shuffled_labels"}
    assert shuffled
    names = [r.run_id for r in found.records]
    assert names == sorted({r.run_id for r in records} - shuffled)
    means = [r.run_id for r in found.records if r.spec["control"] == "mean_predictor"]
    assert len(means) == 2  # one fitted to log_g, one to both labels: the same of log_g
    once = without_repeats(found)
    assert [r.run_id for r in once.records] == [name for name in names if name != means[1]]
    for place, record in enumerate(once.records):
        np.testing.assert_array_equal(once.y_hat[:, place], found.y_hat[:, names.index(record.run_id)])
    assert len(of_label(results, "T_eff")[0].records) < len(names)


def test_pairs_are_those_of_the_predictions(results):
    found, _ = of_label(results, "T_eff")
    pairs = paired(found)
    columns = {r.run_id: read_predictions(results, r.run_id) for r in found.records}
    first = next(iter(columns.values()))
    test = first["split"] == "test"
    for k, (one, other) in enumerate(combinations(columns, 2)):
        a, b = (columns[name]["y_hat_T_eff"][test] for name in (one, other))
        alone = paired_difference(first["y_T_eff"][test], a, b, stars=first["star"][test])
        assert pairs["difference"][k] == pytest.approx(alone.difference, rel=1e-5)
        assert [pairs["lo"][k], pairs["hi"][k]] == pytest.approx(alone.interval.as_list(), rel=1e-4, abs=1e-7)
        assert pairs["p"][k] == pytest.approx(alone.p, rel=1e-5)
        assert pairs["p_holm"][k] >= pairs["p"][k]


def test_order_of_rows_does_not_matter_other_rows_or_labels_do(results):
    found, records = of_label(results, "T_eff")
    first = found.records[0].run_id

    def changed(name):
        columns = read_predictions(results, name)
        order = np.arange(len(columns["row"]))[::-1]
        return {key: values[order] for key, values in columns.items()} if name == first else columns

    (turned,) = [c for c in comparable(records, changed) if c.rows.label == "T_eff"]
    np.testing.assert_array_equal(turned.y_hat, found.y_hat)

    def shifted(name):
        columns = changed(name)
        return columns | {"y_T_eff": columns["y_T_eff"] + 1} if name == first else columns

    (rest,) = [c for c in comparable(records, shifted) if c.rows.label == "T_eff"]
    assert [r.run_id for r in rest.records] == [r.run_id for r in found.records[1:]]


def test_selectivity_is_the_score_minus_those_of_the_controls(results):
    found, records = of_label(results, "log_g")
    by_run = {r.run_id: r for r in records}

    def score(name):
        return by_run[name].result["scores"]["test"]["log_g"]["r2"]

    told = described(found, records)["selectivity"]
    assert {item["run"] for item in told} == {r.run_id for r in found.records if r.spec["control"] == "none"}
    for item in told:
        for control in ("shuffled_labels", "random_encoder"):
            other = by_run[item[control]["run"]]
            own = by_run[item["run"]]
            assert other.spec["control"] == control
            assert [other.spec[k] for k in ("head", "labels", "features")] == [
                own.spec[k] for k in ("head", "labels", "features")
            ]
            expected = score(own.run_id) - score(other.run_id)
            assert item[control]["difference"] == pytest.approx(expected, rel=1e-5)
            assert item[control]["predictions"] == other.files["predictions"]


def test_a_random_encoder_of_another_shape_is_no_control_and_of_several_none_is(results):
    found, records = of_label(results, "log_g")
    own = next(r for r in found.records if r.spec["control"] == "none" and r.spec["head"] == "ols")
    twin = next(
        r for r in found.records if r.spec["control"] == "random_encoder" and r.spec["head"] == "ols"
        and r.spec["labels"] == own.spec["labels"]
    )  # fmt: skip
    assert own.result["architecture"] == twin.result["architecture"]

    def told(**changed):
        """What is told of `own` where the random encoder, or a second one beside it, has other results."""
        other = replace(twin, run_id="ff" * 32, result={**twin.result, **changed.pop("second", {})})
        first = replace(twin, result={**twin.result, **changed})
        rest = tuple(r for r in found.records if r is not twin)
        both = replace(
            found,
            records=(*rest, first, other),
            y_hat=np.zeros((len(found.rows.y), len(rest) + 2)),
        )
        (item,) = [i for i in described(both, records)["selectivity"] if i["run"] == own.run_id]
        return item.get("random_encoder", {}).get("run")

    elsewhere = {"architecture": "00" * 32}
    assert told() == twin.run_id
    assert told(second=elsewhere) == twin.run_id
    assert told(**elsewhere) == "ff" * 32
    assert told(**elsewhere, second=elsewhere) is None
    assert told(architecture=None, d=1, second=elsewhere) is None
    assert told(second={"weights": "88" * 32}) is None


def test_seeds_are_told_as_mean_and_spread(results):
    found, records = of_label(results, "log_g")
    seeds = described(found, records)["seeds"]
    assert len(seeds) == 2
    for item in seeds:
        chosen = [r for r in found.records if r.run_id in item["runs"]]
        assert {r.spec["head"] for r in chosen} == {"mlp_1"}
        assert {r.spec["seed"] for r in chosen} == {0, 1}
        scores = [r.result["scores"]["test"]["log_g"]["r2"] for r in chosen]
        assert item["mean"] == pytest.approx(np.mean(scores), rel=1e-5)
        assert item["std"] == pytest.approx(np.std(scores, ddof=1), rel=1e-4)


def test_what_has_no_score_or_no_predictions_takes_no_part(results):
    found, records = of_label(results, "T_eff")
    first = found.records[0]
    scores = {**first.result["scores"], "test": {"log_g": {"r2": 0.1}, "T_eff": {"r2": None}}}
    unscored = [replace(r, result={**r.result, "scores": scores}) if r is first else r for r in records]
    unread = [replace(r, files={}) if r.run_id == first.run_id else r for r in records]
    for changed in (unscored, unread):
        chosen = [
            replace(r, result={**r.result, "scores": scores}) if r.run_id == first.run_id else r
            for r in changed
        ]
        (rest,) = [c for c in comparable(chosen, read(results)) if c.rows.label == "T_eff"]
        assert first.run_id not in {r.run_id for r in rest.records}


def test_scores_by_bin_are_those_of_the_rows_in_it(results):
    found, _ = of_label(results, "log_g")
    told = binned(found)["bins"]
    assert set(told) == {"snr"}
    snr = read_predictions(results, found.records[0].run_id)
    snr = snr["snr"][snr["split"] == "test"]
    edges = told["snr"]["edges"]
    assert sum(told["snr"]["n"]) == N["test"]
    for k, n_stars in enumerate(told["snr"]["n"]):
        last = k == len(edges) - 2
        rows = (snr >= edges[k]) & ((snr <= edges[k + 1]) if last else (snr < edges[k + 1]))
        assert rows.sum() == n_stars
        for column, record in zip(found.y_hat.T, found.records, strict=True):
            value, lo, hi = told["snr"]["r2"][record.run_id][k]
            assert value == pytest.approx(r2(found.rows.y[rows], column[rows]), rel=1e-5)
            alone = intervals(found.rows.y[rows], column[rows], stars=found.rows.stars[rows])[0]["r2"]
            assert [lo, hi] == pytest.approx(alone.as_list(), rel=1e-5)


@pytest.mark.parametrize(
    ("values", "counts"),
    [
        (np.arange(8.0), [2, 2, 2, 2]),
        (np.ones(5), [5]),
        ([1, 1, 1, 9], [3, 1]),
        (np.repeat([21, 21.5, 22], [250, 500, 250]), [250, 500, 250]),
        ([4.0, 5.0, 6.0], [1, 1, 1]),
        ([4.0], [1]),
    ],
)
def test_bins_hold_every_row_once(values, counts):
    bins = quantile_bins(np.asarray(values))
    assert np.bincount(bins.member).tolist() == counts
    assert max(1, bins.edges.size - 1) == len(counts)
    with pytest.raises(ProbeError, match="1 of 2 values are NaN or inf"):
        quantile_bins(np.array([1.0, np.nan]))


# --- the command ---


def compared(root, label):
    (record,) = [r for r in read_records(root) if r.kind == "comparison" and r.spec["label"] == label]
    return record


def test_a_comparison_is_recorded_once_and_anew_when_records_change(tmp_path, capsys):
    for split in N:
        survey_store(tmp_path / "f", split)
    argv = flags(tmp_path / "f", tmp_path / "r")
    assert probes("run", *argv, "--heads", "ols,ridge", "--params", "ridge.alpha=100") == 0
    capsys.readouterr()
    assert probes("compare", "--results", tmp_path / "r") == 0
    assert capsys.readouterr().out.startswith(
        f"log_g, {N['test']} test stars, 2 records: 0 of 1 differences hold at 5 % for all pairs at once ("
    )
    first = compared(tmp_path / "r", "log_g")
    assert first.result["p_holm"][0] < 0.05
    assert first.result["n_eff"][0] < LEAST_EFFECTIVE
    assert first.spec["method"] == PAIRED_METHOD
    assert first.spec["runs"] == "all"
    assert canonical_json(first.result)
    assert probes("compare", "--results", tmp_path / "r") == 0
    assert "(on record)" in capsys.readouterr().out
    assert probes("run", *argv, "--heads", "ridge", "--params", "ridge.alpha=3000") == 0
    assert probes("compare", "--results", tmp_path / "r") == 0
    again = compared(tmp_path / "r", "log_g")
    assert (again.run_id, len(again.result["runs"])) == (first.run_id, 3)
    assert len(again.result["p_holm"]) == 3
    capsys.readouterr()
    assert probes("run", *argv, "--heads", "ols", "--controls", "shuffled_labels") == 0
    assert probes("compare", "--results", tmp_path / "r") == 0
    assert "(on record)" not in capsys.readouterr().out.splitlines()[-1]
    assert compared(tmp_path / "r", "log_g").result["selectivity"]


def test_a_comparison_of_an_older_version_is_made_anew_in_its_place(tmp_path, capsys):
    for split in N:
        survey_store(tmp_path / "f", split)
    assert probes("run", *flags(tmp_path / "f", tmp_path / "r"), "--heads", "ols,ridge") == 0
    assert probes("compare", "--results", tmp_path / "r") == 0
    first = compared(tmp_path / "r", "log_g")
    oldest = {name: value for name, value in first.result.items() if name not in ("version", "n_eff")}
    for older in (oldest, {**first.result, "version": VERSION - 1, "lo": [-9.0], "hi": [9.0]}):
        write_record(tmp_path / "r", kind=first.kind, spec=first.spec, result=older, run=first.run)
        capsys.readouterr()
        assert probes("compare", "--results", tmp_path / "r") == 0
        assert "(on record)" not in capsys.readouterr().out
        assert compared(tmp_path / "r", "log_g").result == first.result


def test_what_holds_has_a_small_p_an_interval_on_one_side_and_many_stars_behind_it():
    assert (REPORTED_AS, LEAST_EFFECTIVE) == (LEAST_EFFECTIVE, 12)
    assert REPORTED_METHOD == PAIRED_METHOD
    numbers = {
        "lo": [0.1, -0.3, -0.1, None, 0.1, 0.1],
        "hi": [0.2, -0.1, 0.1, None, 0.2, 0.2],
        "p_holm": [0.05, 0.01, 0.01, 0.01, 0.06, 0.01],
        "n_eff": [12.0, 50.0, 50.0, 50.0, 50.0, 11.9],
    }
    assert n_holding(numbers, alpha=0.05) == 2


def test_records_can_be_named_and_too_many_are_told(results, tmp_path, capsys):
    import shutil

    shutil.copytree(results, tmp_path / "r")
    found = without_repeats(of_label(results, "log_g")[0])
    names = [r.run_id[:10] for r in found.records[:2]]
    assert probes("compare", "--results", tmp_path / "r", "--labels", "log_g", "--runs", ",".join(names)) == 0
    assert "2 records" in capsys.readouterr().out
    assert compared(tmp_path / "r", "log_g").spec["runs"] == sorted(names)
    assert probes("compare", "--results", tmp_path / "r", "--limit", "3") == 2
    assert not any(r.spec["runs"] == "all" for r in read_records(tmp_path / "r") if r.kind == "comparison")
    told = capsys.readouterr().err
    most = len(found.records)
    assert f"log_g ({most} records)" in told
    assert f"--limit {most} (make tables COMPARE='--limit {most}'" in told
    assert probes("compare", "--results", tmp_path / "r", "--limit", str(most)) == 0
    assert probes("compare", "--results", tmp_path / "r", "--limit", "3") == 0
    assert capsys.readouterr().out.count("(on record)") == 2
    assert probes("compare", "--results", tmp_path / "r", "--runs", "xyz") == 2
    assert "--runs xyz: no record of a probe begins so" in capsys.readouterr().err
    assert probes("compare", "--results", tmp_path / "r", "--labels", "logg") == 2
    assert "unknown label among the records 'logg'; known: " in capsys.readouterr().err
    assert probes("compare", "--results", tmp_path / "resluts") == 0
    assert "resluts: nothing to compare" in capsys.readouterr().out
