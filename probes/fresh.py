"""Whether what a record says still holds: it was fitted, to the stores of today, and what was written is there."""

from pathlib import Path

from cache.errors import Damaged, NotExtracted, SchemaVersion
from cache.records import unchanged

from .persistence import saved_digest
from .runner import head_folder
from .splits import Views
from .views import store_digests


def is_fresh(results: Path, name: str, views: Views) -> bool:
    """Whether a good record of that name was made from stores with the digests of today, and its files are whole.

    Its head must be the one that the record tells of, and its predictions and arrays be there: a probe that lacks one,
    or has another head in its place, is fitted again. Predictions may be large, so that who reads them compares them
    with what the record names. Raises Damaged for a record that was altered.
    """
    record = unchanged(results, name, {"status": "ok", "stores": store_digests(views)})
    if record is None:
        return False
    try:
        return bool(saved_digest(head_folder(results, name)) == record.result["model"])
    except (Damaged, NotExtracted, SchemaVersion):
        return False
