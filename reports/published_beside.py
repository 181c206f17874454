"""The published scores that answer the question of a row, as columns of it."""

from collections.abc import Mapping
from typing import Any

from .columns import FINE_TUNED
from .published import SETTINGS, final_score, published


def published_beside(row: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    """Columns `published_*` of a row of the record with this spec; none where the published question is another."""
    if not _same_question(row, spec):
        return {}
    scores = published(row["label"], layer=row["layer"], pooling=row["pooling"], head=row["head"])
    return {
        "published_train_r2": final_score(scores, "train", "r2"),
        "published_val_r2": final_score(scores, "val", "r2"),
        "published_test_r2": final_score(scores, "test", "r2"),
        "published_test_rmse": final_score(scores, "test", "rmse"),
        "published_test_mae": final_score(scores, "test", "mae"),
    }


def _same_question(row: Mapping[str, Any], spec: Mapping[str, Any]) -> bool:
    """Whether a published score answers the same question: one stream and label, all of train once, true noise.

    The published features are one stream (384 = 48 x 8); which direction is not recorded.
    """
    features = spec.get("features") or {}
    return (
        row["control"] == "none"
        and row["training"] != FINE_TUNED
        and row["error_input"].lower() == "true"
        and len(features.get("parts") or []) == 1
        and row["direction"] in ("forward", "backward")
        and row["train_size"] is None
        and len((spec.get("draws") or {}).get("train") or ()) <= 1
        and len(spec["labels"]) == 1
        and not spec.get("allow_leak")
        and not features.get("pca")
        and not features.get("segments")
        and spec.get("noise_mode", "draw") == "draw"
        and _published_setting(row["head"], spec.get("params") or {})
        and all(level == 1 for level in (spec.get("noise_levels") or {}).values())
    )


def _published_setting(head: str, params: Mapping[str, Any]) -> bool:
    """Whether a head was fitted as the published one was (REFERENCE 5 and 7); MLP settings are not compared."""
    return all(name not in params or params[name] == value for name, value in SETTINGS.get(head, {}).items())
