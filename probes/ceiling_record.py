"""One ceiling from its group to what its record holds: spec, result, arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cache.fisher import FisherMatrices
from cache.stars import count_stars

from .carried import few_stars
from .ceiling import (
    Prior,
    label_information,
    prior_aware_variances,
    unbiased_variances,
    van_trees_variances,
)
from .ceiling_inputs import CeilingGroup, KeptStores, fisher_of, matched, on_matrices, prior_of
from .ceiling_scores import Bounded, binned_figures, figures, row_items
from .rounding import significant

Array = np.ndarray[Any, np.dtype[Any]]

KIND = "ceiling"
CEILING_METHOD = (
    "version 2; bootstrap over stars, the wider of percentile and symmetric studentised (of a gap 4 standard errors at "
    "most; percentile alone for the median, and where one star holds a fifth of the squared error or half of a gap), "
    "95 %, 1000 resamples, seed 0"
)
"""What a record says about how it was made; the version is raised when a figure changes its meaning."""
FORMULA = (
    "R2 = 1 - mean over rows of [(G + P^-1)^-1]_kk / mean squared deviation of the test labels from their mean; G the "
    "Fisher matrix of the labels, ln A integrated out with its prior; P the covariance of the labels in train; "
    "unbiased: 1 - [F^-1]_kk / the same, ln A free"
)
EMULATOR_FLAG = (
    "gradients by an emulator: approximate, rather too high for labels that a spectrum hardly tells"
)
ABOVE_FLAG = "above the ceiling"
LEFT_OUT_FLAG = "lack a label of which Fisher matrices are made: ceiling, R2 and shares are of the others"
FREE = "free"


@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """All that a record of a ceiling is made from; nothing is computed before it is asked for.

    `matrices` (n, P, P) of the test rows of `group`, which are all of the `n_scored` rows that probes were scored on,
    or those that have a matrix; `stores` digests by key of the stores it rests on.
    """

    group: CeilingGroup
    n_scored: int
    fisher: FisherMatrices
    matrices: Array
    prior: Prior
    stores: Mapping[str, str]
    runs: Sequence[str]

    @property
    def spec(self) -> dict[str, Any]:
        """What names it; `runs` are the run ids asked for, 'all' for all on record."""
        rows, sd = self.group.found.rows, self.prior.amplitude_sd
        return {
            "label": rows.label,
            "test": dict(rows.about),
            "fisher": self.fisher.key,
            "mask": self.group.mask,
            "parameters": list(self.fisher.parameters),
            "prior": {
                "kind": "covariance of the labels in train",
                "from": list(self.group.train_inputs),
                "ln_A_sd": sd if np.isfinite(sd) else FREE,
            },
            "runs": sorted(self.runs) or "all",
            "method": CEILING_METHOD,
        }

    def about(self) -> dict[str, Any]:
        """What it rests on, cheap: a record on file with the same holds."""
        found = self.group.found
        return {
            "stores": dict(self.stores),
            "predictions": {record.run_id: record.files["predictions"] for record in found.records},
        }

    def result(self) -> dict[str, Any]:
        """The deterministic part of the record."""
        found, runs = self.group.found, [record.run_id for record in self.group.found.records]
        rows = row_items(self.bounded, runs, found.y_hat, self.group.why_not)
        holds = [k for k, why in enumerate(self.group.why_not) if why is None]
        flags = [f"{ABOVE_FLAG}: {row['run'][:12]}" for row in rows if row["above"]]
        n_left_out = self.n_scored - found.rows.y.size
        if n_left_out:
            flags.insert(0, f"{n_left_out} of {self.n_scored} test rows {LEFT_OUT_FLAG}")
        method = str(self.fisher.provenance["method"]["name"])
        n_stars = count_stars(found.rows.stars)
        return {
            "status": "ok",
            "error": None,
            "n": {"test": n_stars},
            "n_rows": {"test": found.rows.y.size},
            **self.about(),
            "figures": figures(self.bounded),
            "also": self._also(),
            "formula": FORMULA,
            "prior": self._prior_words(),
            "fisher_method": method,
            "rows": rows,
            "bins": binned_figures(
                self.bounded,
                found.rows.stored,
                runs=[runs[k] for k in holds],
                y_hat=found.y_hat[:, holds],
            ),
            "flags": [
                *([] if method == "mock" else [EMULATOR_FLAG]),
                *flags,
                *few_stars(n_stars),
            ],
        }

    def arrays(self) -> dict[str, Array]:
        """Per row what the figures are means of; sd (n,) in the label's unit, prior_sd that of the label in train."""
        rows, bounded = self.group.found.rows, self.bounded
        return {
            "row": rows.rows,
            "star": rows.stars,
            "sd_prior_aware": np.sqrt(bounded.prior_aware),
            "sd_unbiased": np.sqrt(bounded.unbiased),
            "prior_sd": np.array(self.prior.sd(rows.label)),
            "prior_covariance": self.prior.covariance,
        }

    @cached_property
    def bounded(self) -> Bounded:
        """The variances of the label."""
        rows, k = self.group.found.rows, self._place
        return Bounded(
            y=rows.y,
            stars=rows.stars,
            prior_aware=self._prior_aware(self.prior.amplitude_sd),
            unbiased=unbiased_variances(self._information(np.inf))[:, k],
        )

    @property
    def _place(self) -> int:
        return self.prior.labels.index(self.group.found.rows.label)

    def _information(self, amplitude_sd: float) -> Array:
        return label_information(self.matrices, self.fisher.parameters, amplitude_sd=amplitude_sd)

    def _prior_aware(self, amplitude_sd: float) -> Array:
        return prior_aware_variances(self._information(amplitude_sd), self.prior.covariance)[:, self._place]

    def _also(self) -> dict[str, float | None]:
        """Other answers to the headline's question: the amplitude known or free, and the bound for a normal prior."""
        information = self._information(self.prior.amplitude_sd)
        least = van_trees_variances(information, self.prior.covariance)[self._place]
        spread = float(np.var(self.group.found.rows.y))
        answers = {
            "ln_A_known": self._prior_aware(0.0).mean(),
            "ln_A_free": self._prior_aware(np.inf).mean(),
            "van_trees": least,
        }
        return {
            name: None if spread == 0 else significant(1 - variance / spread)
            for name, variance in answers.items()
        }

    def _prior_words(self) -> str:
        sd = self.prior.amplitude_sd
        amplitude = {0.0: "known", np.inf: "free"}.get(sd, f"with standard deviation {sd:g}")
        names = ", ".join(self.prior.labels)
        return f"covariance of {names} over the {self.prior.n_stars} stars of train; ln A {amplitude}"


def ceiling_of(
    group: CeilingGroup, stores: KeptStores, *, fisher: Path, amplitude_sd: float, runs: Sequence[str]
) -> Ceiling | None:
    """The ceiling of a group, read and joined; None for a label that Fisher matrices do not tell of.

    Raises what `fisher_of`, `on_matrices`, `matched`, `prior_of` raise.
    """
    found = fisher_of(group, fisher)
    if group.found.rows.label not in found.parameters:
        return None
    prior, of_train = prior_of(group, stores, found.parameters, amplitude_sd=amplitude_sd)
    bounded = on_matrices(group, found)
    return Ceiling(
        group=bounded,
        n_scored=group.found.rows.y.size,
        fisher=found,
        matrices=matched(found, bounded.found.rows),
        prior=prior,
        stores={**group.stores, **of_train},
        runs=runs,
    )
