"""Whether what a record says still holds: it was fitted, to the stores of today, and its head is there."""

from pathlib import Path

from cache.records import read_record, record_path

from .persistence import has_head
from .runner import head_folder
from .splits import Views


def is_fresh(results: Path, name: str, views: Views) -> bool:
    """Whether a good record of that name, with its head, was made from stores with the digests of today."""
    if not record_path(results, name).exists() or not has_head(head_folder(results, name)):
        return False
    result = read_record(results, name).result
    return bool(result["status"] == "ok" and result["stores"] == store_digests(views))


def store_digests(views: Views) -> dict[str, str]:
    """Digest by key of every store behind the views."""
    return {
        key: digest for members in views.values() for view in members for key, digest in view.stores.items()
    }
