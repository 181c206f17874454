"""What one set of features leaves of a label: residuals that no fit has seen, on every split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cache.errors import ConfigError, ProbeError
from cache.progress import Advance
from cache.stars import count_stars

from .controls import star_ranks
from .registry import parameter_names
from .samples import Sample
from .together import Fit, TrainingSet, fit_together

if TYPE_CHECKING:
    from .base import Head  # imports scikit-learn

Array = np.ndarray[Any, np.dtype[Any]]
Samples = Mapping[str, Sample]


@dataclass(frozen=True, kw_only=True)
class CrossFit:
    """Predictions of labels, (n, t) by split, each of a row by a head that was not fitted to its star.

    Those of train are cross-fitted; `heads`, fitted to all of train, gave the others.
    """

    y_hat: Mapping[str, Array]
    heads: tuple["Head", ...]

    def residuals(self, samples: Samples) -> dict[str, Array]:
        """What is left of the labels, y_hat - y, (n, t) by split; as a label its sign changes no R2."""
        return {split: self.y_hat[split] - sample.y for split, sample in samples.items()}


def folds_of(stars: Array, *, n_folds: int, seed: int) -> Array:
    """Fold of each row, (n,) int64 from 0 to n_folds - 1: stars in random order, dealt out one by one.

    All rows of a star are in one fold; it depends on the set of stars and on `seed`, not on the order of rows. Raises
    ConfigError for fewer than 2 folds or fewer stars than folds.
    """
    n_stars = count_stars(stars)
    if not 2 <= n_folds <= n_stars:
        raise ConfigError(
            f"--folds is {n_folds}; expected at least 2 and at most the {n_stars} stars of train"
        )
    return star_ranks(stars, seed=seed) % n_folds


def fitted(heads: Sequence["Head"], X: Mapping[str, Array], y: Mapping[str, Array], groups: Array) -> None:
    """Fit heads to columns of y, (n, t) by split, one for each: on train, choosing on val where there is one.

    X (n, d) by split, groups (n,) the star of each train row. Raises ProbeError with the words of the first head that
    cannot be fitted.
    """
    data = TrainingSet(X=X["train"], Y=y["train"], X_val=X.get("val"), Y_val=y.get("val"), groups=groups)
    fits = [Fit(head=head, columns=(k,), n_rows=len(groups)) for k, head in enumerate(heads)]
    for failure in fit_together(fits, data):
        if failure is not None:
            raise ProbeError(failure)


def predictions(heads: Sequence["Head"], X: Array) -> Array:
    """What each head says of rows X (n, d): (n, t)."""
    return np.stack([head.predict(X) for head in heads], axis=1)


def cross_fit(
    heads: Sequence["Head"], samples: Samples, *, n_folds: int, seed: int, advance: Advance
) -> CrossFit:
    """Fit heads, one for each label of the samples, to all of train, then to all but one fold, fold by fold.

    What was chosen on val with all of train is kept in the folds where it is a parameter of the head (ridge's alpha);
    other heads choose there anew. Val, on which heads choose, is out of sample but for that choice. `advance` is called
    after every fit, n_folds + 1 times. Raises what `folds_of` and `fitted` raise.
    """
    train = samples["train"]
    folds = folds_of(train.stars, n_folds=n_folds, seed=seed)
    X = {split: sample.X for split, sample in samples.items()}
    y = {split: sample.y for split, sample in samples.items()}
    fitted(heads, X, y, train.stars)
    advance(1)
    y_hat = {split: predictions(heads, values) for split, values in X.items() if split != "train"}
    y_hat["train"] = np.full(train.y.shape, np.nan)
    for fold in range(n_folds):
        out = folds == fold
        again = [_with_its_choice(head) for head in heads]
        fitted(again, {**X, "train": train.X[~out]}, {**y, "train": train.y[~out]}, train.stars[~out])
        y_hat["train"][out] = predictions(again, train.X[out])
        advance(1)
    return CrossFit(y_hat=y_hat, heads=tuple(heads))


def _with_its_choice(head: "Head") -> "Head":
    """An unfitted head with the same settings; what was chosen replaces the wish to choose."""
    settings = head.get_params(deep=False)
    known = parameter_names(type(head))
    chosen = {
        name: value[0] if isinstance(value, list) else value
        for name, value in head.chosen_.items()
        if name in known
    }
    return type(head)(**{**settings, **chosen})
