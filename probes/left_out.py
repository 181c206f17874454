"""Which probes rows are left out of, for want of a label."""

from collections.abc import Hashable
from dataclasses import replace

import numpy as np

from .spec import ProbeRequest
from .splits import DROP, FAIL, Views


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
