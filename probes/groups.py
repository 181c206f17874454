"""What probes on the same features share: the samples of all splits, read once, and the columns of labels."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from cache.errors import BlindspotError, ConfigError, MissingLabel, ProbeError

from .controls import shuffled_by_star, star_ranks
from .features import part_widths
from .samples import DROP, Sample, load_labels, load_samples
from .spec import ProbeRequest, mixes_layers
from .splits import SPLITS, Views, check_enough
from .statistics import Resamples
from .together import TrainingSet
from .views import Array
from .wavelengths import windows_of

if TYPE_CHECKING:
    from .pca import PrincipalAxes  # imports scikit-learn

ByLabel = dict[str, dict[str, Array] | ProbeError]
"""By label: its values (n,) in every split, or what is wrong with it."""


@dataclass(frozen=True)
class Column:
    """A label as some fit sees it: `shuffled` is None, or the seed and training size of the shuffling."""

    label: str
    shuffled: tuple[int, int | None] | None = None


@dataclass(frozen=True)
class Basis:
    """X of every split as it goes into heads: as stored, or on `axes` of the first rows of train."""

    X: Mapping[str, Array]
    axes: "PrincipalAxes | None" = None


def columns_of(request: ProbeRequest) -> list[Column]:
    """The columns of Y that a request fits."""
    shuffled = (request.seed, request.train_size) if request.control == "shuffled_labels" else None
    return [Column(label, shuffled) for label in request.labels]


def group_key(request: ProbeRequest) -> Hashable:
    """Equal for requests of one group: the same columns of X, the same rows, and the same order of train rows."""
    seed = None if request.train_size is None else request.seed
    return request.features, request.segments, seed, with_all_of(request)


def with_all_of(request: ProbeRequest) -> tuple[str, ...]:
    """The labels without which rows take no part; none where such rows are refused."""
    return request.labels if request.missing_labels == DROP else ()


def basis_key(request: ProbeRequest) -> tuple[int, int | None] | None:
    """Equal for requests of a group that fit on the same basis: None as stored, else axes and training size."""
    return None if request.pca is None else (request.pca, request.train_size)


class Group:
    """The samples behind requests of one group, and what they ask of them.

    Train rows keep their natural order, unless requests name training sizes: then they stand in a random order of
    their stars (draws of one star in natural order), so that each size is the first rows of the larger ones.
    """

    def __init__(self, requests: Sequence[ProbeRequest], views: Views) -> None:
        """Read features and labels of checked views.

        Raises what the views and `load_features` raise; what concerns one request alone is told by `refusal`.
        """
        first = requests[0]
        self.views = views
        names = dict.fromkeys(name for r in requests for name in r.labels)
        self._labels = _load_labels(views, names, missing=first.missing_labels)
        self.windows = windows_of(views["train"][0], first.features)
        self._widths = part_widths(views["train"][0], first.features, segments=first.segments)
        self.samples = load_samples(views, first.features, labels=(), segments=first.segments)
        self._few = self._drop_missing() if with_all_of(first) else None
        self.resamples = {
            split: Resamples(sample.stars) for split, sample in self.samples.items() if split != "train"
        }
        self._columns: dict[Column, dict[str, Array]] = {}
        self._ranks: Array | None = None
        if first.train_size is not None:
            self._order_train(max(r.train_size or 0 for r in requests), seed=first.seed)

    def _drop_missing(self) -> MissingLabel | None:
        """Keep the rows whose labels are all finite; or why that leaves too few in some split, and keep all."""
        found = {name: values for name, values in self._labels.items() if not isinstance(values, ProbeError)}
        kept = {
            split: np.logical_and.reduce(
                [np.isfinite(values[split]) for values in found.values()], initial=True, axis=0
            )
            for split in (self.samples if found else ())
        }
        try:
            for split, rows in kept.items():
                check_enough(found, rows, split=split)
        except MissingLabel as error:
            return error
        for split, rows in kept.items():
            self.samples[split] = self.samples[split].where(rows)
            for values in found.values():
                values[split] = values[split][rows]
        return None

    def _order_train(self, largest: int, *, seed: int) -> None:
        ranks = star_ranks(self.samples["train"].stars, seed=seed)
        order = np.argsort(ranks, kind="stable")
        self.n_train_stars = int(ranks.max()) + 1
        order = order[: np.searchsorted(ranks[order], largest)]
        self._ranks = ranks[order]
        self.samples["train"] = self.samples["train"].where(order)
        for found in self._labels.values():
            if not isinstance(found, ProbeError):
                found["train"] = found["train"][order]

    def refusal(self, request: ProbeRequest) -> BlindspotError | None:
        """Why a request cannot be met: its labels, its training size, or layers that cannot be mixed."""
        for label in request.labels:
            found = self._labels[label]
            if isinstance(found, ProbeError):
                return found
        if self._few is not None:
            return self._few
        if self._ranks is not None and (request.train_size or 0) > self.n_train_stars:
            return ConfigError(f"train_size is {request.train_size}, train has {self.n_train_stars} stars")
        if mixes_layers(request) and len(set(self._widths)) > 1:
            return ProbeError(
                f"layers of {' and '.join(map(str, self._widths))} features cannot be mixed; mix layers of one width, "
                "or join them with '+' without --mix softmax"
            )
        return None

    def n_rows(self, request: ProbeRequest) -> int:
        """Train rows that a request uses, the first ones."""
        return self._first_rows(request.train_size)

    def basis(self, request: ProbeRequest) -> Basis:
        """X as a request wants it; principal axes are those of its own train rows."""
        X = {split: sample.X for split, sample in self.samples.items()}
        if request.pca is None:
            return Basis(X)
        from .pca import principal_axes  # noqa: PLC0415  imports scikit-learn

        X["train"] = X["train"][: self.n_rows(request)]
        axes = principal_axes(X["train"], request.pca)
        return Basis({split: axes.apply(values) for split, values in X.items()}, axes)

    def values(self, column: Column) -> dict[str, Array]:
        """A column of Y (n,) for every split; shuffled ones are NaN behind the train rows that they are for."""
        if column not in self._columns:
            found = self._labels[column.label]
            if isinstance(found, ProbeError):
                raise found
            self._columns[column] = (
                found if column.shuffled is None else self._shuffle(found, *column.shuffled)
            )
        return self._columns[column]

    def _shuffle(self, label: Mapping[str, Array], seed: int, size: int | None) -> dict[str, Array]:
        n_rows = self._first_rows(size)
        used = {split: values[:n_rows] if split == "train" else values for split, values in label.items()}
        stars = np.concatenate([self.samples[split].stars[: values.size] for split, values in used.items()])
        y = shuffled_by_star(np.concatenate(list(used.values())), stars, seed=seed)
        ends = np.cumsum([values.size for values in used.values()])[:-1]
        parts = dict(zip(used, np.split(y, ends), strict=True))
        unused = np.full(label["train"].size - n_rows, np.nan)
        return {**parts, "train": np.concatenate([parts["train"], unused])}

    def cell(self, request: ProbeRequest, basis: Basis) -> dict[str, Sample]:
        """The samples of one request: its rows on a basis, with its labels."""
        columns = [self.values(column) for column in columns_of(request)]
        n_rows = self.n_rows(request)
        cell = {}
        for split, sample in self.samples.items():
            y = np.stack([values[split] for values in columns], axis=1)
            whole = replace(sample, X=basis.X[split], y=y)
            cell[split] = whole.where(slice(n_rows)) if split == "train" else whole
        return cell

    def _first_rows(self, size: int | None) -> int:
        """Train rows of the first `size` stars."""
        if self._ranks is None or size is None:
            return len(self.samples["train"].rows)
        return int(np.searchsorted(self._ranks, size))


def training_set(group: Group, basis: Basis, columns: Iterable[Column]) -> TrainingSet:
    """What `fit_together` takes: the rows of a basis, and columns of Y in the order given."""
    values = [group.values(column) for column in columns]
    n_rows = len(basis.X["train"])
    y = {split: np.stack([column[split] for column in values], axis=1) for split in group.samples}
    return TrainingSet(
        X=basis.X["train"],
        Y=y["train"][:n_rows],
        X_val=basis.X.get("val"),
        Y_val=y.get("val"),
        groups=group.samples["train"].stars[:n_rows],
    )


def _load_labels(views: Views, names: Iterable[str], *, missing: str) -> ByLabel:
    """Every label in every split, or the first thing that is wrong with it."""
    found: ByLabel = {}
    for name in names:
        try:
            found[name] = {
                split: np.concatenate(
                    [load_labels(view, [name], missing=missing)[:, 0] for view in views[split]]
                )
                for split in SPLITS
                if views.get(split)
            }
        except ProbeError as error:
            found[name] = error
    return found
