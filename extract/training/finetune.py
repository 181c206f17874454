"""What end-to-end training shares with probes on the cache: head, order of rows, dropout, scores, intervals.

The one place where `extract` may see `probes` (DESIGN 1). With the same seed and the same features both train the
same head on the same batches with the same units dropped.
"""

from probes.metrics import scores
from probes.mlp import (
    CUT_SHORT_FLAG,
    EveryRow,
    LearningCurve,
    Masks,
    OneRowPerStar,
    Scaling,
    Visits,
    column_scaling,
    label_scaling,
    make_masks,
    make_network,
    torch_threads,
    unscaled,
)
from probes.splits import check_disjoint, check_enough
from probes.statistics import INTERVAL_METHOD, NEGATIVE_FLAG, Resamples, doubts, intervals_by_label

__all__ = [
    "CUT_SHORT_FLAG",
    "INTERVAL_METHOD",
    "NEGATIVE_FLAG",
    "EveryRow",
    "LearningCurve",
    "Masks",
    "OneRowPerStar",
    "Resamples",
    "Scaling",
    "Visits",
    "check_disjoint",
    "check_enough",
    "column_scaling",
    "doubts",
    "intervals_by_label",
    "label_scaling",
    "make_masks",
    "make_network",
    "scores",
    "torch_threads",
    "unscaled",
]
