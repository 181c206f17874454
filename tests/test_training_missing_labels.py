"""End-to-end training on files in which some stars lack a label."""

import numpy as np
import pytest
from finetune_fakes import settings
from hdf5_fixtures import write_table_layout
from survey_fakes import SIZES, request, stars, write_survey

from cache.errors import MissingLabel, ProbeError
from cache.records import read_predictions, read_record, read_records
from extract.pipeline import extract_features
from extract.training.finetune_run import finetune
from probes.comparable import comparable
from probes.features import FeaturePart
from probes.runner import run_probe, store_result
from probes.spec import ProbeRequest
from probes.stores import StoreChoice
from reports.comparable import comparable_rows
from reports.rows import frame_of

LACKING = {"train": (0, 3, 39), "val": (2,), "test": (5, 15)}
DROP = {"missing_labels": "drop"}


def write_gappy(folder, lacking=None, label="log_g"):
    """The tiny survey; rows `lacking` of each split have no label, or with label `flux` no light."""
    for seed, (split, n_rows) in enumerate(SIZES.items()):
        content = stars(n_rows, seed)
        rows = list((LACKING if lacking is None else lacking).get(split, ()))
        if label == "flux":
            content.arrays["flux"][rows] = 0
        else:
            content.labels[label][rows] = np.nan
        path = folder / split / "dataset.h5"
        path.parent.mkdir(parents=True)
        write_table_layout(path, content)
    return folder


@pytest.fixture(scope="module")
def gappy(tmp_path_factory):
    return write_gappy(tmp_path_factory.mktemp("gappy"))


def without_digests(result):
    """What does not name the files: bad rows may be left out of them as well."""
    return {name: value for name, value in result.items() if name != "kept"}


def test_stars_without_the_label_are_left_out_like_bad_rows(gappy, tmp_path):
    """A row that training or scores saw would change them."""
    with pytest.raises(ProbeError, match=r"'log_g' is missing .* in 3 of 40 rows .*--missing-labels drop"):
        finetune(settings(gappy, tmp_path))
    dropped = read_record(tmp_path / "results", finetune(settings(gappy, tmp_path, **DROP)))
    dark = write_gappy(tmp_path / "dark", label="flux")
    plain = read_record(tmp_path / "results", finetune(settings(dark, tmp_path, on_bad_rows="drop")))
    assert without_digests(dropped.result) == without_digests(plain.result)
    assert dropped.result["n_rows"] == {split: n - len(LACKING[split]) for split, n in SIZES.items()}
    assert dropped.result["kept"] == {split: plain.spec["rows"][split] for split in ("val", "test")}
    assert dropped.spec["missing_labels"] == "drop"
    rows = [read_predictions(tmp_path / "results", found.run_id) for found in (dropped, plain)]
    for name in ("row", "star", "y", "y_hat"):
        np.testing.assert_array_equal(rows[0][name], rows[1][name])


def test_where_no_row_that_is_used_lacks_the_label_it_is_the_same_training(gappy, tmp_path):
    asked = settings(gappy, tmp_path, labels=("T_eff",), max_epochs=1)
    name = finetune(asked)
    assert finetune(asked.model_copy(update=DROP)) == name
    assert "missing_labels" not in read_record(tmp_path / "results", name).spec
    late = write_gappy(tmp_path / "late", {"train": (38, 39)})
    first = settings(late, tmp_path, num_samples=38, max_epochs=1)
    with pytest.raises(ProbeError, match=r"label 'log_g' is missing .NaN or inf. in 2 of 40 rows"):
        finetune(settings(late, tmp_path))
    assert finetune(first) == finetune(first.model_copy(update=DROP))


def test_the_first_so_many_are_counted_among_stars_with_the_label(gappy, tmp_path):
    asked = settings(gappy, tmp_path, num_samples=20, num_test_samples=6, max_epochs=1, **DROP)
    record = read_record(tmp_path / "results", finetune(asked))
    assert record.result["n_rows"] == {"train": 20, "val": SIZES["val"] - 1, "test": 6}
    columns = read_predictions(tmp_path / "results", record.run_id)
    assert columns["row"][columns["split"] == "test"].tolist() == [0, 1, 2, 3, 4, 6]
    (row,) = frame_of([record], lambda *_: "fresh")["rows_test"]
    assert row == "first 6"


def test_too_few_stars_with_the_label_are_refused(tmp_path):
    folder = write_gappy(tmp_path / "survey", {"val": range(1, SIZES["val"])})
    with pytest.raises(MissingLabel, match="log_g: finite in 1 of 12 rows of split 'val', at least 2"):
        finetune(settings(folder, tmp_path, **DROP))
    assert read_records(tmp_path / "results") == []


def test_it_is_compared_with_probes_on_the_same_stars_alone(gappy, tmp_path):
    name = finetune(settings(gappy, tmp_path, labels=("log_g",), max_epochs=1, **DROP))
    asked = request(gappy, tmp_path)
    extract_features(asked)
    part = FeaturePart(layer=asked.layers[0], pooling=asked.poolings[0])
    views = StoreChoice(root=asked.out).views(((part.layer, "forward", part.pooling),))
    for label, missing in (("log_g", "drop"), ("T_eff", "fail")):
        probe = ProbeRequest(features=(part,), head="ridge", labels=(label,), missing_labels=missing)
        store_result(tmp_path / "results", run_probe(probe, views))
    records = read_records(tmp_path / "results")
    (found,) = comparable(records, lambda run: read_predictions(tmp_path / "results", run))
    assert {record.kind for record in found.records} == {"probe", "finetune"}
    assert name in {record.run_id for record in found.records}
    sets = comparable_rows(frame_of(records, lambda *_: "fresh"))
    assert sorted(len(rows) for rows in sets) == [1, 2]


def test_a_whole_survey_is_as_before(tmp_path):
    folder = write_survey(tmp_path / "survey")
    record = read_record(tmp_path / "results", finetune(settings(folder, tmp_path, max_epochs=1)))
    assert "missing_labels" not in record.spec
    assert "kept" not in record.result
