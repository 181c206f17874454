"""Fitted heads on disk, without pickle: one folder with a sealed head.json and the head's own files."""

import contextlib
import errno
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cache.atomic import building, publish_bytes, publish_json, sync
from cache.canonical import digest_json, read_sealed, sha256
from cache.errors import Damaged, NotExtracted, SchemaVersion

from .registry import make_probe

if TYPE_CHECKING:
    from .base import Head  # imports scikit-learn
    from .pca import PrincipalAxes

HEAD_SCHEMA = 1
HEAD_FILE = "head.json"
AXES_FILE = "principal_axes.npz"
"""Beside a head that was fitted to coordinates on principal axes."""

_TRIES = 20

_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class SavedHead:
    """A fitted head read back, its name in the registry, and what it was fitted to (`use`, `axes`)."""

    head: "Head"
    name: str
    use: dict[str, Any]
    axes: "PrincipalAxes | None" = None


def model_digest(head: "Head", name: str, axes: "PrincipalAxes | None" = None) -> str:
    """sha256 over the saved bytes of a fitted head, its axes, and the settings it was made with."""
    return digest_json(_description(head, name, _files(head, axes)))


def save_head(
    folder: Path,
    head: "Head",
    *,
    name: str,
    use: Mapping[str, Any],
    axes: "PrincipalAxes | None" = None,
) -> str:
    """Write a fitted head into `folder`, whole or not at all, replacing an older one; returns its digest.

    `use` is what `predict` must know: labels, feature parts, segments, family and the fields that make it, noise level
    and wavelengths of training; `axes` are those on which the features were put.
    """
    files = _files(head, axes)
    description = _description(head, name, files)
    with building(folder) as temporary:
        new = temporary / "new"
        new.mkdir()
        for file, content in files.items():
            publish_bytes(new / file, content)
        publish_json(new / HEAD_FILE, {**description, "use": dict(use)})
        _replace_folder(new, folder, aside=temporary)
    return digest_json(description)


def load_head(folder: Path) -> SavedHead:
    """Read a head that `save_head` wrote.

    Raises NotExtracted when there is none, SchemaVersion when it is of another format, Damaged when a file is
    missing or differs from its digest.
    """
    try:
        described = read_sealed(folder / HEAD_FILE)
    except FileNotFoundError:
        raise NotExtracted(
            f"{folder}: no fitted head; fit one with `python -m probes run`, which prints its run id"
        ) from None
    if described["schema_version"] != HEAD_SCHEMA:
        raise SchemaVersion(
            f"{folder}: head format {described['schema_version']}, this program reads {HEAD_SCHEMA}; fit it again"
        )
    files = {name: _checked_file(folder, name, digest) for name, digest in described["files"].items()}
    settings = dict(described["settings"])
    if "device" in settings:
        settings["device"] = "cpu"  # a head fitted on a GPU predicts anywhere
    head = make_probe(described["head"], **settings)
    head.n_features_in_ = described["n_features"]
    head.n_labels_ = described["n_labels"]
    head.single_label_ = described["single_label"]
    head.chosen_, head.arrays_, head.flags_ = described["chosen"], {}, []
    head.from_files(files)
    axes = _axes_from(folder, files[AXES_FILE], head) if AXES_FILE in files else None
    return SavedHead(head, described["head"], described["use"], axes)


def has_head(folder: Path) -> bool:
    """Whether a fitted head was saved there; its files are not looked at."""
    return (folder / HEAD_FILE).is_file()


def _files(head: "Head", axes: "PrincipalAxes | None") -> dict[str, bytes]:
    files = head.to_files()
    if axes is None:
        return files
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **vars(axes))
    return {**files, AXES_FILE: buffer.getvalue()}


def _axes_from(folder: Path, content: bytes, head: "Head") -> "PrincipalAxes":
    from .pca import PrincipalAxes  # noqa: PLC0415  imports scikit-learn

    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            found = {
                name: stored[name] if stored[name].ndim else stored[name].item() for name in stored.files
            }
        axes = PrincipalAxes(**found)
    except (TypeError, ValueError) as error:
        raise Damaged(
            f"{folder / AXES_FILE}: holds no principal axes ({error}); fit the head again"
        ) from error
    if axes.axes.shape != (head.n_features_in_, axes.mean.size):
        raise Damaged(
            f"{folder / AXES_FILE}: axes of shape {axes.axes.shape} for a head of {head.n_features_in_} features and "
            f"{axes.mean.size} columns; fit the head again"
        )
    return axes


def _description(head: "Head", name: str, files: Mapping[str, bytes]) -> dict[str, Any]:
    return {
        "schema_version": HEAD_SCHEMA,
        "head": name,
        "settings": head.settings(),
        "n_features": head.n_features_in_,
        "n_labels": head.n_labels_,
        "single_label": head.single_label_,
        "chosen": head.chosen_,
        "files": {file: sha256(content) for file, content in files.items()},
    }


def _checked_file(folder: Path, name: str, digest: str) -> bytes:
    path = folder / name
    if not _SAFE_NAME.fullmatch(name):
        raise Damaged(f"{folder / HEAD_FILE}: {name!r} is not a file name of ours")
    if not path.is_file():
        raise Damaged(f"{path}: missing; fit the head again")
    content = path.read_bytes()
    if sha256(content) != digest:
        raise Damaged(f"{path}: differs from what was saved; fit the head again")
    return content


def _replace_folder(source: Path, target: Path, *, aside: Path) -> None:
    """Rename `source` to `target`; an older `target` is moved into `aside` first: folders cannot be replaced.

    Another process may do the same at the same time; the last one stays.
    """
    for attempt in range(_TRIES):
        with contextlib.suppress(FileNotFoundError):
            target.replace(aside / f"old-{attempt}")
        try:
            source.replace(target)
            break
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or attempt == _TRIES - 1:
                raise
    sync(target.parent)
