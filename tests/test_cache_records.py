import json

import numpy as np
import pytest
from store_fakes import edit_sealed, flip_byte

from cache.errors import ConfigError, Damaged, NotExtracted, SchemaVersion, UnknownName
from cache.records import (
    SIDECARS,
    read_arrays,
    read_predictions,
    read_record,
    read_records,
    record_path,
    run_id,
    sidecar_path,
    write_record,
    write_table,
)

SPEC = {"head": "ridge", "params": {"alpha": 0.001}, "labels": ["log_g"], "seed": 0}
RESULT = {"status": "ok", "scores": {"test": {"log_g": {"r2": 0.5}}}}
RUN = {"host": "here"}
PREDICTIONS = {
    "row": np.arange(3),
    "star": np.array([2**64 - 1, 0, 7], dtype=np.uint64),
    "split": np.array(["val", "test", "test"]),
    "yhat_log_g": np.array([1.0, np.nan, 3.0]),
}
READ = {"arrays": read_arrays, "predictions": read_predictions}
ARRAYS = {"alpha": np.logspace(-3, 3, 7), "val_r2": np.zeros((7, 1), dtype=np.float32)}


def write(root, **changes):
    parts = {"kind": "probe", "spec": SPEC, "result": RESULT, "run": RUN, **changes}
    return write_record(root, predictions=PREDICTIONS, arrays=ARRAYS, **parts)


def test_a_record_round_trips_with_predictions_and_arrays(tmp_path):
    name = write(tmp_path)
    record = read_record(str(tmp_path), name)
    assert (record.run_id, record.kind) == (name, "probe")
    assert (record.spec, record.result, record.run) == (SPEC, RESULT, RUN)
    predictions = read_predictions(tmp_path, name)
    assert list(predictions) == list(PREDICTIONS)
    for column, values in PREDICTIONS.items():
        np.testing.assert_array_equal(predictions[column], values)
    assert predictions["star"].dtype == np.uint64
    arrays = read_arrays(tmp_path, name)
    assert {key: value.dtype for key, value in arrays.items()} == {k: v.dtype for k, v in ARRAYS.items()}
    for key, values in ARRAYS.items():
        np.testing.assert_array_equal(arrays[key], values)


def test_run_id_is_stable_and_follows_kind_and_spec_alone(tmp_path):
    assert run_id("probe", SPEC) == "7dd92aaf6c13dd7e61ff0c980ca2d7bab0ae59ceb9f09c39ae9af873f94fc3e0"
    reordered = dict(reversed(list(SPEC.items())))
    assert write(tmp_path) == run_id("probe", SPEC) == run_id("probe", reordered)
    assert write(tmp_path, result={"status": "failed"}, run={}) == run_id("probe", SPEC)
    assert run_id("audit", SPEC) != run_id("probe", SPEC) != run_id("probe", {**SPEC, "seed": 1})
    with pytest.raises(UnknownName, match="unknown kind of record 'fit'; known: probe, finetune"):
        run_id("fit", SPEC)


def test_records_are_listed_in_order_and_without_writing_the_folder(tmp_path):
    assert read_records(tmp_path) == []
    names = [write(tmp_path, spec={**SPEC, "seed": seed}) for seed in range(3)]
    assert [record.run_id for record in read_records(tmp_path)] == sorted(names)


def test_a_record_without_predictions_or_arrays(tmp_path):
    name = write_record(tmp_path, kind="probe", spec=SPEC, result=RESULT, run=RUN)
    assert read_arrays(tmp_path, name) == {}
    with pytest.raises(NotExtracted, match="the record has no predictions"):
        read_predictions(tmp_path, name)
    with pytest.raises(NotExtracted, match="no such record"):
        read_record(tmp_path, "0" * 64)
    with pytest.raises(ConfigError, match=r"run '\.\./x' cannot be a file name"):
        read_record(tmp_path, "../x")


def test_a_replaced_record_keeps_no_predictions_of_the_old_one(tmp_path):
    name = write(tmp_path)
    assert write_record(tmp_path, kind="probe", spec=SPEC, result={"status": "failed"}, run=RUN) == name
    assert read_arrays(tmp_path, name) == {}
    with pytest.raises(NotExtracted, match="no predictions"):
        read_predictions(tmp_path, name)


def test_an_edited_record_is_damaged(tmp_path):
    name = write(tmp_path)
    path = record_path(tmp_path, name)
    original = path.read_text()
    path.write_text(original.replace('"r2":0.5', '"r2":0.9'))
    with pytest.raises(Damaged, match="altered"):
        read_record(tmp_path, name)
    path.write_text(original)
    edit_sealed(path, spec={**SPEC, "seed": 1})
    with pytest.raises(Damaged, match="its name does not follow from its content; remove it and probe again"):
        read_records(tmp_path)
    path.write_text(original)
    path.rename(path.with_stem("0" * 64))
    with pytest.raises(Damaged, match="its name does not follow"):
        read_record(tmp_path, "0" * 64)


def test_another_record_format_is_refused_readably(tmp_path):
    name = write(tmp_path)
    edit_sealed(record_path(tmp_path, name), schema_version=999)
    with pytest.raises(SchemaVersion, match="record format 999, this program reads 1"):
        read_record(tmp_path, name)


@pytest.mark.parametrize("size", [0, 1, 30, 300])
def test_cut_sidecars_are_damaged(tmp_path, size):
    name = write(tmp_path)
    for path, read in (
        (f"arrays/{name}.npz", read_arrays),
        (f"predictions/{name}.parquet", read_predictions),
    ):
        content = (tmp_path / path).read_bytes()
        (tmp_path / path).write_bytes(content[:size])
        with pytest.raises(Damaged, match=rf"{name}.*remove it, and make the record again"):
            read(tmp_path, name)


@pytest.mark.parametrize("kind", SIDECARS)
def test_any_flipped_byte_beside_a_record_is_damaged(tmp_path, kind):
    name = write(tmp_path)
    path = sidecar_path(tmp_path, kind, name)
    for position in range(0, path.stat().st_size, 50):
        flip_byte(path, position)
        with pytest.raises(Damaged, match=f"{name}.* is not what its record names"):
            READ[kind](tmp_path, name)
        flip_byte(path, position)
    READ[kind](tmp_path, name)


@pytest.mark.parametrize("kind", SIDECARS)
def test_files_of_another_record_or_of_an_earlier_run_are_damaged(tmp_path, kind):
    name = write(tmp_path)
    other = write_record(
        tmp_path, kind="probe", spec={**SPEC, "seed": 1}, result=RESULT, run=RUN,
        predictions={**PREDICTIONS, "row": np.arange(3) + 1}, arrays={"alpha": np.zeros(2)},
    )  # fmt: skip
    path = sidecar_path(tmp_path, kind, name)
    path.write_bytes(sidecar_path(tmp_path, kind, other).read_bytes())
    with pytest.raises(Damaged, match="is not what its record names"):
        READ[kind](tmp_path, name)


def test_rerunning_writes_the_same_files(tmp_path):
    names = [write(tmp_path / place) for place in ("a", "b")]
    one, two = (read_record(tmp_path / place, name) for place, name in zip(("a", "b"), names, strict=True))
    assert one.files == two.files
    assert sorted(one.files) == sorted(SIDECARS)


def test_records_refuse_numbers_that_json_has_not(tmp_path):
    with pytest.raises(ValueError, match="Out of range float"):
        write(tmp_path, result={"r2": float("nan")})
    assert read_records(tmp_path) == []


def test_a_table_is_written_whole(tmp_path):
    path = tmp_path / "x" / "t.parquet"
    write_table(path, PREDICTIONS)
    assert [p.name for p in path.parent.iterdir()] == ["t.parquet"]


def test_the_record_is_written_last(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("cache.records.publish_json", stop)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path)
    assert len(list((tmp_path / "predictions").iterdir())) == 1
    assert read_records(tmp_path) == []


def test_records_hold_plain_json(tmp_path):
    content = json.loads(record_path(tmp_path, write(tmp_path)).read_text())
    assert sorted(content) == [
        "files", "kind", "result", "run", "run_id", "schema_version", "self", "spec"
    ]  # fmt: skip


def test_the_advice_for_a_damaged_record_is_to_probe_again(tmp_path):
    name = write(tmp_path)
    record_path(tmp_path, name).write_text("")
    with pytest.raises(Damaged, match="delete this record and run its probe again"):
        read_records(tmp_path)
