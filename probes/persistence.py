"""Fitted heads on disk, without pickle: one folder with a sealed head.json and the head's own files."""

import contextlib
import errno
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cache.atomic import building, publish_bytes, publish_json, sync
from cache.canonical import SELF, digest_json, read_sealed, sha256
from cache.errors import Damaged, NotExtracted, SchemaVersion
from cache.npz import npz_arrays, npz_bytes

from .registry import make_probe

if TYPE_CHECKING:
    from .base import Head  # imports scikit-learn
    from .pca import PrincipalAxes

HEAD_SCHEMA = 1
HEAD_FILE = "head.json"
USE = "use"
AGAIN = "run its probe again: the head is fitted anew"
"""What to do about a head that is not whole."""
AXES_FILE = "principal_axes.npz"
"""Beside a head that was fitted to coordinates on principal axes."""

_TRIES = 20

_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class SavedHead:
    """A fitted head read back, its name in the registry, its digest, and what it was fitted to (`use`, `axes`)."""

    head: "Head"
    name: str
    digest: str
    """As `model_digest` gives it."""
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
        publish_json(new / HEAD_FILE, {**description, USE: dict(use)})
        _replace_folder(new, folder, aside=temporary)
    return digest_json(description)


def load_head(folder: Path) -> SavedHead:
    """Read a head that `save_head` wrote.

    Raises NotExtracted when there is none, SchemaVersion when it is of another format, Damaged when a file is
    missing or differs from its digest.
    """
    described, files = _read(folder)
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
    return SavedHead(head, described["head"], _digest(described), described[USE], axes)


def saved_digest(folder: Path) -> str:
    """Digest of the head saved in a folder, as `model_digest` gives it, when all of its files are whole.

    Imports no library of heads. Raises what `load_head` raises for what is not there, not whole, or of another format.
    """
    described, _ = _read(folder)
    return _digest(described)


def _digest(described: Mapping[str, Any]) -> str:
    """The digest of what `_description` gave, read back."""
    return digest_json({name: value for name, value in described.items() if name not in (SELF, USE)})


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What head.json says, and the files it names, compared with their digests."""
    try:
        described = read_sealed(folder / HEAD_FILE)
    except FileNotFoundError:
        raise NotExtracted(
            f"{folder}: no fitted head; fit one with `python -m probes run`, which prints its run id"
        ) from None
    except Damaged as error:
        raise Damaged(f"{error}; {AGAIN}") from error
    if described["schema_version"] != HEAD_SCHEMA:
        raise SchemaVersion(
            f"{folder}: head format {described['schema_version']}, this program reads {HEAD_SCHEMA}; {AGAIN}"
        )
    return described, {name: _checked_file(folder, name, sha) for name, sha in described["files"].items()}


def _files(head: "Head", axes: "PrincipalAxes | None") -> dict[str, bytes]:
    return {**head.to_files(), **({} if axes is None else {AXES_FILE: npz_bytes(vars(axes))})}


def _axes_from(folder: Path, content: bytes, head: "Head") -> "PrincipalAxes":
    from .pca import PrincipalAxes  # noqa: PLC0415  imports scikit-learn

    try:
        stored = npz_arrays(content)
        found: Any = {name: value if value.ndim else value.item() for name, value in stored.items()}
        axes = PrincipalAxes(**found)
    except (TypeError, ValueError) as error:
        raise Damaged(f"{folder / AXES_FILE}: holds no principal axes ({error}); {AGAIN}") from error
    if axes.axes.shape != (head.n_features_in_, axes.mean.size):
        raise Damaged(
            f"{folder / AXES_FILE}: axes of shape {axes.axes.shape} for a head of {head.n_features_in_} features and "
            f"{axes.mean.size} columns; {AGAIN}"
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
        raise Damaged(f"{path}: missing; {AGAIN}")
    content = path.read_bytes()
    if sha256(content) != digest:
        raise Damaged(f"{path}: differs from what was saved; {AGAIN}")
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
