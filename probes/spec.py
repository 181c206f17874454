"""What is asked of a probe, and the complete spec that names its record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cache.errors import ConfigError, UnknownName

from .controls import CONTROLS
from .features import FeaturePart
from .registry import BASELINES, head_entry, make_probe
from .samples import DROP, FAIL, MISSING_LABELS
from .splits import Views, check_views
from .views import FeatureView, draw_of, noise_level_of

if TYPE_CHECKING:
    from .base import Head  # imports scikit-learn

MIXED_LAYERS = "mixed_layers"
"""Parameter of heads that mix layers by learned softmax weights: how many equal parts X consists of."""

RANDOM_ORIGIN = "random:"
"""How the provenance of features from an untrained encoder begins its origin."""


@dataclass(frozen=True, kw_only=True)
class ProbeRequest:
    """One fit: these features, this head, these labels.

    `params` are the head's; those not given are its defaults. `pca` is a number of principal axes of train on which
    all splits are put before the fit, `segments` the wavelength segments of the parts whose columns are used; None
    leaves the features as they are. `seed` goes to heads that take one, to the shuffling of labels and to the choice
    of `train_size` stars. `cross` names what may differ between the splits. `missing_labels` is `drop` where rows
    without a finite value of each of the labels take no part in fit and scores, else they are refused. `allow_leak`
    fits although stars stand in two splits, which is told in the spec and flagged. The control `mean_predictor`
    replaces the head by the baseline `mean`.
    """

    features: tuple[FeaturePart, ...]
    head: str
    labels: tuple[str, ...]
    params: Mapping[str, Any] = field(default_factory=dict)
    pca: int | None = None
    segments: tuple[int, ...] | None = None
    seed: int = 0
    control: str = "none"
    train_size: int | None = None
    cross: tuple[str, ...] = ()
    allow_leak: bool = False
    missing_labels: str = FAIL

    def fitted_head(self) -> str:
        """Name of the head that is fitted."""
        return "mean" if self.control == "mean_predictor" else self.head

    def make_head(self) -> "Head":
        """The estimator asked for, seeded; raises as `make_probe`."""
        if self.control == "mean_predictor":
            return make_probe("mean")
        head = make_probe(self.head, **self.params)
        if "seed" in head.get_params() and "seed" not in self.params:
            head.set_params(seed=self.seed)
        return head


def mixes_layers(request: ProbeRequest) -> bool:
    """Whether the head is to mix the parts of X, by learned weights."""
    return bool(request.params.get(MIXED_LAYERS, 1) != 1)


def check_request(request: ProbeRequest) -> None:
    """Raise ConfigError for a request that cannot be meant, whatever the features."""
    head_entry(request.head)
    if request.control not in CONTROLS:
        raise UnknownName("control", request.control, CONTROLS)
    if request.head in BASELINES and request.control != "mean_predictor":
        raise ConfigError(f"{request.head!r} is a baseline; ask for it with control 'mean_predictor'")
    if not request.labels or len(set(request.labels)) < len(request.labels):
        raise ConfigError(f"labels are {request.labels!r}; name one or several, each once")
    if request.missing_labels not in MISSING_LABELS:
        raise UnknownName("policy for missing labels", request.missing_labels, MISSING_LABELS)
    if not request.features:
        raise ConfigError("no features were asked for; name at least one layer and pooling")
    if request.train_size is not None and request.train_size < 2:
        raise ConfigError(f"train_size is {request.train_size}; expected a number of stars, at least 2")
    if request.seed < 0:
        raise ConfigError(f"the seed is {request.seed}; expected a whole number from 0 on")
    _check_choices(request)


def check_val(request: ProbeRequest, *, there: bool, flag: str = "--params") -> None:
    """Raise ConfigError for a head that chooses on val where no val split is there; `flag` sets its parameters."""
    head = request.fitted_head()
    if there or request.make_head().selection_rule() == "fixed":
        return
    fixed = head_entry(head).fixed
    raise ConfigError(
        f"{head} as it is asked for chooses on val, so it needs a val split, and there is no val split: give one "
        "(make: VAL=FILE, or val/ in DATA; extract run --val FILE)"
        + (f", or fix what is chosen: {flag} {head}.{fixed}" if fixed else "")
    )


def _check_choices(request: ProbeRequest) -> None:
    """Refuse choices among the features that cannot be meant."""
    if request.pca is not None and request.pca < 1:
        raise ConfigError(f"pca is {request.pca}; expected a number of axes, at least 1")
    chosen = request.segments
    if chosen is not None and (not chosen or sorted(set(chosen)) != list(chosen) or chosen[0] < 0):
        raise ConfigError(f"segments are {chosen!r}; expected numbers from 0 on, each once, in order")
    if not mixes_layers(request):
        return
    mixed = request.params[MIXED_LAYERS]
    if mixed != len(request.features):
        raise ConfigError(
            f"{MIXED_LAYERS} is {mixed!r}, the features have {len(request.features)} parts; join the layers to "
            "be mixed with '+' and say --mix softmax"
        )
    if request.pca is not None:
        raise ConfigError(
            "principal axes mix the columns of all layers: say --pca or --mix softmax, not both"
        )


def checked_spec(request: ProbeRequest, views: Views) -> dict[str, Any]:
    """The complete spec, as JSON, of a request on these views, both checked first (see `check_views`).

    It reads no features, so that what is done can be skipped.
    """
    check_request(request)
    check_views(views, request.features, request.cross, allow_leak=request.allow_leak)
    return spec_of(request, views)


def spec_of(request: ProbeRequest, views: Views) -> dict[str, Any]:
    """The spec of a request on views that were both checked; equal specs have equal run ids."""
    head = request.make_head()
    first = views["train"][0]
    splits = {split: members for split, members in views.items() if members}
    return {
        "head": request.fitted_head(),
        "params": head.settings(),
        "probe_version": head_entry(request.fitted_head()).version,
        "labels": list(request.labels),
        "features": {
            "parts": [p.to_json() for p in request.features],
            "pca": request.pca,
            "segments": None if request.segments is None else list(request.segments),
        },
        "family": first.family,
        "stores": {split: _store_keys(members) for split, members in splits.items()},
        "draws": {split: [draw_of(view) for view in members] for split, members in splits.items()},
        "noise_mode": first.provenance["noise"]["mode"],
        **_other_noise_seed(first),
        "noise_levels": {split: noise_level_of(members[0]) for split, members in splits.items()},
        "inputs": {
            split: sorted({str(v.provenance["input"]) for v in members}) for split, members in splits.items()
        },
        "train_size": request.train_size,
        "seed": request.seed,
        "error_input": first.provenance["error_input"],
        **_other_test_error(first, views["test"][0]),
        **_other_precision(first),
        "control": _recorded_control(request, first),
        "selection": head.selection_rule(),
        "data_kind": _data_kind(splits),
        "cross": sorted(request.cross),
        "group": None,
        **({"allow_leak": True} if request.allow_leak else {}),
        **({"missing_labels": DROP} if request.missing_labels == DROP else {}),
    }


def _store_keys(members: Sequence[FeatureView]) -> list[str]:
    return [key for view in members for key in sorted(view.stores)]


def _other_test_error(train: FeatureView, test: FeatureView) -> dict[str, str]:
    """The error input of test, told where it is another than that of train: a crossing that was asked for."""
    found = str(test.provenance["error_input"])
    return {} if found == train.provenance["error_input"] else {"test_error_input": found}


def _other_precision(view: FeatureView) -> dict[str, str]:
    """The precision class of the features, told where it is not fp32: so it was before there were others."""
    precision = view.provenance["precision"]
    return {} if precision == "fp32" else {"precision": precision}


def _other_noise_seed(view: FeatureView) -> dict[str, int]:
    """The seed of the noise, told where it is drawn and not 0: so it was before it was told at all."""
    seed = view.provenance["noise"]["seed"]
    return {"noise_seed": seed} if seed else {}


def _recorded_control(request: ProbeRequest, first: FeatureView) -> str:
    """The control asked for; features of an untrained encoder are a control by themselves."""
    origin = str(first.provenance["encoder"].get("origin", ""))
    if request.control == "none" and origin.startswith(RANDOM_ORIGIN):
        return "random_encoder"
    return request.control


def _data_kind(splits: Views) -> str:
    """`mock` as soon as one split is: a number that mock spectra took part in is no real one."""
    kinds = {str(view.provenance["data_kind"]) for members in splits.values() for view in members}
    return "mock" if "mock" in kinds else "real"
