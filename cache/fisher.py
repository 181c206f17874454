"""Fisher matrices on disk: one sealed description and one archive of arrays for each split of spectra.

    <root>/<split>/<key16>.json    schema_version, kind, key, provenance, arrays (sha256 of the archive), run; sealed
    <root>/<split>/<key16>.npz     matrices (N, P, P) <f8, row (N,) <i8, star (N,) <u8, label/<name> (N,) <f8

The key is the sha256 of the canonical provenance: whatever changes a matrix. Both files are written whole, the
description last, and never edited. `run` (command, host, versions, seconds) is outside the key.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .arrays import safe_name
from .atomic import publish_bytes, publish_json
from .canonical import digest_json, read_sealed, sha256
from .errors import CacheError, ConfigError, Damaged, NotExtracted, SchemaVersion
from .npz import npz_arrays, npz_bytes
from .provenance import KEY_DIGITS, Provenance

KIND = "fisher"
FISHER_SCHEMA = 1
KEY_FIELDS = (
    "schema",
    "input",
    "data_kind",
    "split",
    "rows",
    "mask",
    "noise_level",
    "parameters",
    "method",
)
_LABEL = "label/"
Float64s = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class FisherMatrices:
    """Fisher matrices of N spectra, to be joined with a feature store of the same `input` and `split` by row and star.

    `matrices` (N, P, P) float64, J' diag(1 / (error noise_level)^2) J over the pixels of the mask. `parameters`: P
    names; 'ln_A' is the logarithm of the flux scale, the others are labels in their own units. `rows` (N,) int64,
    `stars` (N,) uint64, `labels`: every stored label (N,) float64, NaN where missing. `method` in the provenance says
    how the gradient was made: 'mock' is exact, 'emulator' approximate. `missing_labels` among the `rows` there is
    'drop' where stars that lack a label have no matrix.
    """

    provenance: dict[str, Any]
    key: str
    matrices: Float64s
    rows: npt.NDArray[np.int64]
    stars: npt.NDArray[np.uint64]
    labels: dict[str, Float64s]

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the P parameters."""
        return tuple(self.provenance["parameters"])


def fisher_key(provenance: Provenance) -> str:
    """The content key; ValueError on an unknown or absent field."""
    if set(provenance) != set(KEY_FIELDS):
        raise ValueError(f"provenance of Fisher matrices must have exactly the fields {KEY_FIELDS}")
    return digest_json(provenance)


def fisher_path(root: Path | str, provenance: Provenance) -> Path:
    """Where the description of these Fisher matrices is, or will be."""
    return (
        Path(root) / safe_name("split", provenance["split"]) / f"{fisher_key(provenance)[:KEY_DIGITS]}.json"
    )


def write_fisher(root: Path | str, matrices: FisherMatrices, *, run: Mapping[str, Any]) -> Path:
    """Publish Fisher matrices, the description last; its path. CacheError when shapes do not fit together."""
    n_rows, n_parameters = len(matrices.rows), len(matrices.parameters)
    shapes = {
        "matrices": (matrices.matrices.shape, (n_rows, n_parameters, n_parameters)),
        "stars": (matrices.stars.shape, (n_rows,)),
        **{name: (values.shape, (n_rows,)) for name, values in matrices.labels.items()},
    }
    for name, (found, expected) in shapes.items():
        if found != expected:
            raise CacheError(f"Fisher matrices: {name} has shape {found}, expected {expected}")
    archive = npz_bytes(
        {
            "matrices": matrices.matrices.astype("<f8"),
            "row": matrices.rows.astype("<i8"),
            "star": matrices.stars.astype("<u8"),
            **{f"{_LABEL}{name}": values.astype("<f8") for name, values in matrices.labels.items()},
        }
    )
    path = fisher_path(root, matrices.provenance)
    publish_bytes(path.with_suffix(".npz"), archive)
    publish_json(
        path,
        {
            "schema_version": FISHER_SCHEMA,
            "kind": KIND,
            "key": fisher_key(matrices.provenance),
            "provenance": matrices.provenance,
            "arrays": sha256(archive),
            "run": run,
        },
    )
    return path


def read_fisher(path: Path | str) -> FisherMatrices:
    """Read and check Fisher matrices by the path of their description.

    Raises NotExtracted when they are not there, Damaged when either file was altered, SchemaVersion for another format.
    """
    path = Path(path)
    content = _description(path)
    again = "remove both files and run python -m extract fisher again"
    try:
        archive = path.with_suffix(".npz").read_bytes()
    except FileNotFoundError:
        raise Damaged(f"{path.with_suffix('.npz')}: is gone, though {path} names it; {again}") from None
    if sha256(archive) != content["arrays"]:
        raise Damaged(f"{path.with_suffix('.npz')}: is not what {path} names; {again}")
    stored = npz_arrays(archive)
    return FisherMatrices(
        provenance=content["provenance"],
        key=content["key"],
        matrices=stored["matrices"],
        rows=stored["row"],
        stars=stored["star"],
        labels={n.removeprefix(_LABEL): stored[n] for n in stored if n.startswith(_LABEL)},
    )


def find_fisher(
    root: Path | str, split: str, *, input_digest: str, noise_level: float, mask: str | None
) -> FisherMatrices:
    """The Fisher matrices of the spectra that a feature store with this `input`, noise level and mask was made from.

    Raises NotExtracted with the command when there are none; ConfigError when there are several (methods, dropped
    rows), naming them.
    """
    wanted = {"input": input_digest, "noise_level": float(noise_level), "mask": mask}
    folder = Path(root) / safe_name("split", split)
    found, others = [], []
    for path in sorted(folder.glob("*.json")):
        provenance = _description(path)["provenance"]
        differs = {n: provenance[n] for n, value in wanted.items() if provenance[n] != value}
        if differs:
            others.append(f"{path.name} has {differs}")
        else:
            found.append(path)
    if len(found) > 1:
        raise ConfigError(
            f"several Fisher matrices fit: {', '.join(map(str, found))}; name one of the files, or remove the others"
        )
    if not found:
        told = f" ({'; '.join(others[:3])})" if others else ""
        masked = "" if mask is None else " --mask FILE.npy"
        raise NotExtracted(
            f"{folder}: no Fisher matrices of input {input_digest[:12]}, noise level {noise_level:g}{told}; make them: "
            f"python -m extract fisher --data FOLDER --split {split} --noise-level {noise_level:g}{masked} --out {root}"
        )
    return read_fisher(found[0])


def _description(path: Path) -> dict[str, Any]:
    try:
        content = read_sealed(path)
    except FileNotFoundError:
        raise NotExtracted(f"{path}: no Fisher matrices there; python -m extract fisher makes them") from None
    if content.get("kind") != KIND:
        raise Damaged(f"{path}: is a {content.get('kind')!r}, expected a description of Fisher matrices")
    if content["schema_version"] != FISHER_SCHEMA:
        raise SchemaVersion(
            f"{path}: format {content['schema_version']} of Fisher matrices, this program reads {FISHER_SCHEMA}; "
            "run python -m extract fisher again"
        )
    if fisher_key(content["provenance"]) != content["key"] or path.stem != content["key"][:KEY_DIGITS]:
        raise Damaged(f"{path}: its name does not follow from its content; remove it and make it again")
    return content
