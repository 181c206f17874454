"""Result records: what was asked, what came out, and the predictions behind it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .arrays import safe_name
from .atomic import publish_bytes, publish_json
from .canonical import digest_json, read_sealed, sha256
from .errors import Damaged, NotExtracted, SchemaVersion, UnknownName
from .npz import Array, npz_arrays, npz_bytes

RECORD_SCHEMA = 1
KINDS = ("probe", "finetune", "audit", "ceiling", "examples", "comparison", "importance")
SIDECARS = {"arrays": ".npz", "predictions": ".parquet"}
"""What may stand beside a record, with the suffix of its file."""


@dataclass(frozen=True)
class Record:
    """One stored result: `spec` names it, `result` is deterministic, `run` is never compared.

    `files` holds the sha256 of what was written beside it: `arrays`, `predictions`.
    """

    run_id: str
    kind: str
    spec: dict[str, Any]
    result: dict[str, Any]
    run: dict[str, Any]
    files: dict[str, str] = field(default_factory=dict)


def run_id(kind: str, spec: Mapping[str, Any]) -> str:
    """The name of a result: sha256 of {schema_version, kind, spec}, 64 hex digits."""
    if kind not in KINDS:
        raise UnknownName("kind of record", kind, KINDS)
    return digest_json({"schema_version": RECORD_SCHEMA, "kind": kind, "spec": spec})


def record_path(root: Path, name: str) -> Path:
    """File of the record `name` under the results folder `root`."""
    return root / "records" / f"{safe_name('run', name)}.json"


def sidecar_path(root: Path, kind: str, name: str) -> Path:
    """File of the `arrays` or `predictions` of the record `name`."""
    return root / kind / f"{safe_name('run', name)}{SIDECARS[kind]}"


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
    contents = {
        "arrays": npz_bytes(arrays) if arrays else b"",
        "predictions": _parquet(predictions) if predictions else b"",
    }
    for sidecar, content in contents.items():
        path = sidecar_path(root, sidecar, name)
        if content:
            publish_bytes(path, content)
        else:
            path.unlink(missing_ok=True)
    publish_json(
        record_path(root, name),
        {
            "schema_version": RECORD_SCHEMA,
            "kind": kind,
            "run_id": name,
            "spec": spec,
            "result": result,
            "run": run,
            "files": {sidecar: sha256(content) for sidecar, content in contents.items() if content},
        },
    )
    return name


def read_record(root: Path | str, name: str) -> Record:
    """Read and check one record; Damaged when altered, SchemaVersion when of another format."""
    path = record_path(Path(root), name)
    try:
        content = read_sealed(path)
    except FileNotFoundError:
        raise NotExtracted(f"{path}: no such record; `python -m reports tables` lists what exists") from None
    except Damaged as error:
        raise Damaged(f"{error}; delete this record and run its probe again") from error
    if content["schema_version"] != RECORD_SCHEMA:
        raise SchemaVersion(
            f"{path}: record format {content['schema_version']}, this program reads {RECORD_SCHEMA}; probe again"
        )
    if content["run_id"] != path.stem or run_id(content["kind"], content["spec"]) != path.stem:
        raise Damaged(f"{path}: its name does not follow from its content; remove it and probe again")
    named = ("run_id", "kind", "spec", "result", "run")
    return Record(**{field_: content[field_] for field_ in named}, files=content.get("files", {}))


def read_records(root: Path | str) -> list[Record]:
    """All records under a results folder, in order of run id."""
    return [read_record(root, path.stem) for path in sorted((Path(root) / "records").glob("*.json"))]


def unchanged(root: Path, name: str, about: Mapping[str, Any]) -> Record | None:
    """The record of that name, if its result holds every field of `about`: what it rests on is what there is today.

    None too where a file beside it is gone: made again, it is mended. What is in the files is looked at by those who
    read them.
    """
    if not record_path(root, name).exists():
        return None
    record = read_record(root, name)
    if any(record.result.get(field_) != value for field_, value in about.items()):
        return None
    return record if all(sidecar_path(root, kind, name).exists() for kind in record.files) else None


def read_arrays(root: Path | str, name: str) -> dict[str, Array]:
    """The array sidecar of a record; empty when it has none. Damaged when it is not what the record names."""
    content = _read_sidecar(Path(root), read_record(root, name), "arrays")
    return {} if content is None else npz_arrays(content)


def prediction_columns(labels: Sequence[str]) -> list[tuple[str, str]]:
    """Names of the columns (truth, prediction) of each label: y, y_hat; of several y_<label>, y_hat_<label>."""
    return [("y", "y_hat")] if len(labels) == 1 else [(f"y_{label}", f"y_hat_{label}") for label in labels]


def read_predictions(root: Path | str, name: str) -> dict[str, Array]:
    """The predictions of a record, column by column; NotExtracted when it has none.

    Damaged when they are not those that the record names.
    """
    import pyarrow as pa  # noqa: PLC0415  only readers of predictions need pyarrow
    from pyarrow import parquet  # noqa: PLC0415

    content = _read_sidecar(Path(root), read_record(root, name), "predictions")
    if content is None:
        raise NotExtracted(f"{sidecar_path(Path(root), 'predictions', name)}: the record has no predictions")
    # by this thread alone: a buffer that an Arrow thread lets go of while Python exits ends the process with an abort
    with parquet.ParquetFile(pa.BufferReader(content), pre_buffer=False) as file:
        table = file.read(use_threads=False)
    return {column: table[column].to_numpy() for column in table.column_names}


def _read_sidecar(root: Path, record: Record, kind: str) -> bytes | None:
    """The bytes beside a record, if they are those that it names; None when it names none."""
    digest, path = record.files.get(kind), sidecar_path(root, kind, record.run_id)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        if digest is None:
            return None
        raise Damaged(f"{path}: is gone, though its record names it; make the record again") from None
    if sha256(content) != digest:
        raise Damaged(f"{path}: is not what its record names; remove it, and make the record again")
    return content


def _parquet(columns: Mapping[str, Array], about: Mapping[str, str] | None = None) -> bytes:
    import pyarrow as pa  # noqa: PLC0415  only writers of predictions need pyarrow
    from pyarrow import parquet  # noqa: PLC0415

    buffer = pa.BufferOutputStream()
    table = pa.table(
        {name: pa.array(np.asarray(values)) for name, values in columns.items()}, metadata=about or None
    )
    parquet.write_table(table, buffer, compression="zstd")
    return bytes(buffer.getvalue())


def write_table(path: Path, columns: Mapping[str, Array], *, about: Mapping[str, str] | None = None) -> None:
    """Write equally long columns as one Parquet file, whole or not at all; `about` goes to its metadata."""
    publish_bytes(path, _parquet(columns, about))
