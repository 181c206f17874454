"""Result records: what was asked, what came out, and the predictions behind it."""

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .arrays import safe_name
from .atomic import publish_bytes, publish_json, replacing
from .canonical import digest_json, read_sealed
from .errors import Damaged, NotExtracted, SchemaVersion, UnknownName

RECORD_SCHEMA = 1
KINDS = ("probe", "finetune", "audit", "ceiling", "examples")

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Record:
    """One stored result: `spec` names it, `result` is deterministic, `run` is never compared."""

    run_id: str
    kind: str
    spec: dict[str, Any]
    result: dict[str, Any]
    run: dict[str, Any]


def run_id(kind: str, spec: Mapping[str, Any]) -> str:
    """The name of a result: sha256 of {schema_version, kind, spec}, 64 hex digits."""
    if kind not in KINDS:
        raise UnknownName("kind of record", kind, KINDS)
    return digest_json({"schema_version": RECORD_SCHEMA, "kind": kind, "spec": spec})


def record_path(root: Path, name: str) -> Path:
    """File of the record `name` under the results folder `root`."""
    return root / "records" / f"{safe_name('run', name)}.json"


def write_record(
    root: Path | str,
    *,
    kind: str,
    spec: Mapping[str, Any],
    result: Mapping[str, Any],
    run: Mapping[str, Any],
    predictions: Mapping[str, Array] | None = None,
    arrays: Mapping[str, Array] | None = None,
) -> str:
    """Write a record, its predictions and its array sidecar; the record last. Returns its run id.

    `predictions` are equally long columns; `arrays` are arrays of any shape. What an earlier record of the same
    name had beside it and this one has not is removed.
    """
    root = Path(root)
    name = run_id(kind, spec)
    arrays_path, predictions_path = root / "arrays" / f"{name}.npz", root / "predictions" / f"{name}.parquet"
    if arrays:
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **{key: np.asarray(value) for key, value in arrays.items()})
        publish_bytes(arrays_path, buffer.getvalue())
    else:
        arrays_path.unlink(missing_ok=True)
    if predictions:
        write_table(predictions_path, predictions)
    else:
        predictions_path.unlink(missing_ok=True)
    content = {"schema_version": RECORD_SCHEMA, "kind": kind, "run_id": name}
    publish_json(record_path(root, name), {**content, "spec": spec, "result": result, "run": run})
    return name


def read_record(root: Path | str, name: str) -> Record:
    """Read and check one record; Damaged when altered, SchemaVersion when of another format."""
    path = record_path(Path(root), name)
    try:
        content = read_sealed(path)
    except FileNotFoundError:
        raise NotExtracted(f"{path}: no such record; `python -m reports tables` lists what exists") from None
    if content["schema_version"] != RECORD_SCHEMA:
        raise SchemaVersion(
            f"{path}: record format {content['schema_version']}, this program reads {RECORD_SCHEMA}; probe again"
        )
    if content["run_id"] != path.stem or run_id(content["kind"], content["spec"]) != path.stem:
        raise Damaged(f"{path}: its name does not follow from its content; remove it and probe again")
    return Record(content["run_id"], content["kind"], content["spec"], content["result"], content["run"])


def read_records(root: Path | str) -> list[Record]:
    """All records under a results folder, in order of run id."""
    return [read_record(root, path.stem) for path in sorted((Path(root) / "records").glob("*.json"))]


def read_arrays(root: Path | str, name: str) -> dict[str, Array]:
    """The array sidecar of a record; empty when it has none."""
    path = Path(root) / "arrays" / f"{safe_name('run', name)}.npz"
    if not path.exists():
        return {}
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            return {key: stored[key] for key in stored.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise Damaged(f"{path}: {error}; remove it with its record and probe again") from error


def read_predictions(root: Path | str, name: str) -> dict[str, Array]:
    """The predictions of a record, column by column; NotExtracted when it has none."""
    import pyarrow as pa  # noqa: PLC0415  only readers of predictions need pyarrow
    from pyarrow import parquet  # noqa: PLC0415

    path = Path(root) / "predictions" / f"{safe_name('run', name)}.parquet"
    if not path.exists():
        raise NotExtracted(f"{path}: the record has no predictions")
    try:
        with path.open("rb") as stream:
            table = parquet.read_table(stream)
    except (pa.ArrowException, OSError) as error:
        raise Damaged(f"{path}: {error}; remove it with its record and probe again") from error
    return {column: table[column].to_numpy() for column in table.column_names}


def write_table(path: Path, columns: Mapping[str, Array]) -> None:
    """Write equally long columns as one Parquet file, whole or not at all."""
    import pyarrow as pa  # noqa: PLC0415  only writers of predictions need pyarrow
    from pyarrow import parquet  # noqa: PLC0415

    table = pa.table({name: pa.array(np.asarray(values)) for name, values in columns.items()})
    with replacing(path) as temporary:
        parquet.write_table(table, temporary, compression="zstd")
