"""Mean predictors of one test set are one row, however many requests for features fitted one."""

import pytest
from commands import probes
from reports_fakes import fresh, record, source_of
from small_survey import N, flags, survey_store

from cache.records import read_records
from reports.comparable import comparable_rows
from reports.comparisons import NOT_COMPARED
from reports.contest import contest
from reports.repeats import without_repeats
from reports.rows import frame_of, rows_of
from reports.runs import runs_in_order
from reports.source import read_source


def mean(r2=-0.01, **changed):
    return record(r2, head="mean", control="mean_predictor", **changed)


def kept(*records, state=fresh, paired=NOT_COMPARED):
    rows = rows_of(without_repeats(frame_of(records, state), paired))
    return [(row["label"], row["run_id"]) for row in rows]


@pytest.fixture(scope="module")
def twice(tmp_path_factory):
    """Features and results of three requests, whose mean predictors are the same of log_g; then what compares them."""
    root = tmp_path_factory.mktemp("twice")
    for split in N:
        survey_store(root / "f", split)
    for asked in (
        ("--directions", "forward"),
        ("--directions", "backward"),
        ("--labels", "T_eff+log_g", "--seed", 1),
    ):
        assert probes("run", *flags(root / "f", root / "r", "--controls", "default", *asked)) == 0
    assert probes("compare", "--results", root / "r") == 0
    return root


def test_commands_for_other_features_give_one_mean_predictor_in_table_and_comparison(twice):
    records = read_records(twice / "r")
    means = sorted(r.run_id for r in records if r.spec.get("control") == "mean_predictor")
    assert len(means) == 3
    source = read_source(twice / "r", twice / "f")
    frame = source.frame[source.frame["role"] == "mean predictor"]
    log_g = list(frame[frame["label"] == "log_g"]["run_id"])
    assert log_g == means[:1]
    assert len(frame[frame["label"] == "T_eff"]) == 1
    (compared,) = [r for r in records if r.kind == "comparison" and r.spec["label"] == "log_g"]
    assert set(means) & set(compared.result["runs"]) == set(log_g)
    n = len(compared.result["runs"])
    assert len(compared.result["p_holm"]) == n * (n - 1) // 2
    (rows,) = comparable_rows(source.frame[source.frame["label"] == "log_g"].reset_index(drop=True))
    assert all(source.paired.takes(row) for row in rows if row["role"] != "shuffled labels")


def test_two_equal_mean_predictors_alone_are_nothing_to_compare(twice, capsys):
    records = read_records(twice / "r")
    means = [
        r.run_id for r in records if r.spec.get("control") == "mean_predictor" and len(r.spec["labels"]) == 1
    ]
    assert probes("compare", "--results", twice / "r", "--runs", ",".join(means)) == 0
    told = capsys.readouterr().out
    assert "nothing to compare: those that share their test rows are mean predictors of one constant" in told


def test_the_mean_predictor_has_no_rival_of_its_own():
    means = [mean(layer=layer) for layer in ("enc_last", "enc_pre_latent")]
    frame = without_repeats(frame_of([*means, record(-0.5)], fresh), NOT_COMPARED)
    (rows,) = comparable_rows(frame)
    assert contest(rows, NOT_COMPARED).rival["role"] == "latent"


def test_other_constants_other_test_sets_and_other_roles_stay():
    elsewhere = {"train": 1.0, "val": 1.0, "test": 2.0}
    others = [
        mean(),
        mean(-0.02, train_size=10),
        mean(noise_levels=elsewhere),
        mean({"T_eff": -0.01}),
        mean(failed="broken"),
        record(-0.01),
        record(-0.01, layer="enc_last"),
    ]
    assert len(kept(*others)) == len(others)


def test_the_order_of_records_does_not_matter_and_labels_are_merged_one_by_one():
    one, other = mean(), mean({"log_g": -0.01, "T_eff": -0.01})
    first = min(one.run_id, other.run_id)
    assert set(kept(one, other)) == {("log_g", first), ("T_eff", other.run_id)}
    assert set(kept(other, one)) == set(kept(one, other))


def test_what_was_compared_stands_before_what_was_not_and_the_fresh_before_the_stale():
    one, other = sorted((mean(), mean(family="0d" * 32)), key=lambda r: r.run_id)
    assert kept(one, other) == kept(one)
    gone = set(one.result["stores"].values())
    assert kept(one, other, state=lambda _, digest: "missing" if digest in gone else "fresh") == kept(other)

    class Held:
        def holds(self, row):
            return row["run_id"] == other.run_id

    assert kept(one, other, paired=Held()) == kept(other)


def test_a_record_that_another_stands_for_is_not_called_gone():
    one, other = sorted((mean(), mean(layer="enc_last")), key=lambda r: r.run_id)
    source = source_of([one, other])
    found = runs_in_order(source, "log_g", [one.run_id, other.run_id, "ff" * 32])
    assert list(found.cells) == [one.run_id, "ff" * 32]
