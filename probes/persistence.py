"""Fitted heads on disk, without pickle: one folder with a sealed head.json and the head's own files."""

import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cache.atomic import TEMPORARY_PREFIX, publish_bytes, publish_json, sync
from cache.canonical import digest_json, read_sealed, sha256
from cache.errors import Damaged, NotExtracted, SchemaVersion

from .registry import make_probe

if TYPE_CHECKING:
    from .base import Head  # imports scikit-learn

HEAD_SCHEMA = 1
HEAD_FILE = "head.json"

_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class SavedHead:
    """A fitted head read back, its name in the registry, and what it was fitted to (`use`)."""

    head: "Head"
    name: str
    use: dict[str, Any]


def model_digest(head: "Head", name: str) -> str:
    """sha256 over the saved bytes of a fitted head and the settings it was made with."""
    return digest_json(_description(head, name, head.to_files()))


def save_head(folder: Path, head: "Head", *, name: str, use: Mapping[str, Any]) -> str:
    """Write a fitted head into `folder`, whole or not at all, replacing an older one; returns its digest.

    `use` is what `predict` must know: labels, feature parts, family, noise level of training.
    """
    files = head.to_files()
    description = _description(head, name, files)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=TEMPORARY_PREFIX))
    try:
        for file, content in files.items():
            publish_bytes(temporary / file, content)
        publish_json(temporary / HEAD_FILE, {**description, "use": dict(use)})
        temporary.chmod(0o755)
        _replace_folder(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
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
    return SavedHead(head, described["head"], described["use"])


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


def _replace_folder(source: Path, target: Path) -> None:
    """Rename `source` to `target`; an older `target` is moved aside first, because folders cannot be replaced."""
    if target.exists():
        aside = Path(tempfile.mkdtemp(dir=target.parent, prefix=TEMPORARY_PREFIX))
        target.replace(aside / target.name)
        source.replace(target)
        shutil.rmtree(aside)
    else:
        source.replace(target)
    sync(target.parent)
