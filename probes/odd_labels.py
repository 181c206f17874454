"""Labels that look as if files had different units, or one value were mistyped: told, never refused."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

OTHER_RANGE_FLAG = "labels lie outside those of train"
FAR_LABEL_FLAG = "a train label is far from all others"
CENTRE = (0.5, 99.5)
"""Percentiles between which labels are as they usually are."""
FAR_WIDTHS = 10.0
"""So many times as wide as the centre is the way from its end to a label that is far."""


def odd_labels(names: Sequence[str], y: Mapping[str, Array]) -> Iterator[str]:
    """A flag for each label (column of y by split, (n, t) finite) of which a split or a value cannot be meant.

    `OTHER_RANGE_FLAG` where the median of val or test lies outside all labels of train, as when one file is in K and
    the other in kK; `FAR_LABEL_FLAG` where the largest or smallest label of train is further from the centre than
    `FAR_WIDTHS` times its width, as with a mistyped exponent: squared errors hang on that one star.
    """
    train = y["train"]
    for k, name in enumerate(names):
        low, high = train[:, k].min(), train[:, k].max()
        for split, labels in y.items():
            median = np.median(labels[:, k])
            if split != "train" and not low <= median <= high:
                yield (
                    f"{split} {OTHER_RANGE_FLAG} ({name}): median {median:.4g}, train {low:.4g} to {high:.4g}; "
                    "another unit?"
                )
        first, last = np.percentile(train[:, k], CENTRE)
        far = low if first - low > high - last else high
        if max(first - low, high - last) > FAR_WIDTHS * (last - first) > 0:
            yield f"{FAR_LABEL_FLAG} ({name}): {far:.4g}, 99 % lie within {first:.4g} to {last:.4g}"
