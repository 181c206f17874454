"""Which rows are left out of probes for want of a label, and what records tell of those that are kept."""

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from cache.provenance import selection_of

from .samples import DROP, FAIL, Sample
from .spec import ProbeRequest
from .splits import Views

HELD_OUT = ("val", "test")


def told_kept(request: ProbeRequest, views: Views, samples: Mapping[str, Sample]) -> dict[str, Any]:
    """What a result holds beside its counts where rows may be left out, else nothing.

    `kept`: of the rows of val and test those that have the labels, as end-to-end records tell them: number and digest.
    """
    if request.missing_labels != DROP:
        return {}
    kept = {}
    for split in HELD_OUT:
        if split in samples:
            rows = samples[split].rows
            every = sum(len(view.rows) for view in views[split])
            kept[split] = {"n": len(rows), "selection": selection_of(rows, every)}
    return {"kept": kept}


class Settled:
    """Requests that may leave out rows, settled by the labels that are stored; each label is read once."""

    def __init__(self) -> None:
        """Nothing is read yet."""
        self._lacking: dict[Hashable, bool] = {}

    def request(self, request: ProbeRequest, views: Views, *, of: Hashable) -> ProbeRequest:
        """The request, refusing missing labels where none is missing: it is the same probe, and so has the same name.

        `of` tells the views apart from others. A label that is not stored is left to the fit to refuse.
        """
        if request.missing_labels != DROP:
            return request
        lacking = [self._lacks(label, views, of) for label in request.labels]
        return request if any(lacking) else replace(request, missing_labels=FAIL)

    def _lacks(self, label: str, views: Views, of: Hashable) -> bool:
        if (of, label) not in self._lacking:
            self._lacking[of, label] = any(
                label not in view.label_names or not np.isfinite(view.labels(label)).all()
                for members in views.values()
                for view in members
            )
        return self._lacking[of, label]
