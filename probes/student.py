"""The head `student`: latents said from flux alone, and a probe on them."""

from collections.abc import Mapping
from typing import Any, Self

from cache.errors import ConfigError, Damaged, ProbeError, UnknownName
from cache.npz import npz_arrays, npz_bytes

from .base import Array, Head
from .distillation import Distilled
from .registry import HEADS, head_parameters, make_probe
from .scaling import Scaling

SHARED = ("seed", "device")
"""Settings of the student that its network and its probe take over."""
NETWORK, PROBE, LEARNED = "network.", "probe.", "latents.npz"
"""Files of a saved student: those of its two heads behind a prefix, and which latents were learned."""
LEARNED_FIELDS = ("kept", "mean", "scale", "constant")
BEST_EPOCH = "student_epoch"


class Student(Head):
    """Flux to latents by a network that learned them, latents to labels by a probe fitted to what the network says.

    `latents` tells whose they are (layer/direction/pooling), `network` and `probe` are heads with their parameters. The
    network comes by `learn_from` and is not touched by `fit`; without it `fit` raises ProbeError. The probe is fitted
    to what the network says of the stars that it learned from, which is nearer to the truth than what it says of
    others. Pickles and clones of scikit-learn do not carry the network.
    """

    _distilled: Distilled | None = None
    probe_: Head

    def __init__(
        self,
        *,
        latents: str = "",
        network: str = "mlp_1",
        network_params: Mapping[str, Any] | None = None,
        probe: str = "ridge",
        probe_params: Mapping[str, Any] | None = None,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        """Settings; seed and device go to network and probe where they take them."""
        self.latents = latents
        self.network = network
        self.network_params = network_params
        self.probe = probe
        self.probe_params = probe_params
        self.seed = seed
        self.device = device

    def make_network(self) -> Head:
        """The network as it starts."""
        return self._made(self.network, self.network_params)

    def learn_from(self, distilled: Distilled) -> Self:
        """Take the network that learned the latents."""
        self._distilled = distilled
        return self

    def settings(self) -> dict[str, Any]:
        """Every setting, those of network and probe included, with device `auto` resolved."""
        network = self.make_network().settings()
        inner = {
            "network_params": _without_shared(network),
            "probe_params": _without_shared(self._made(self.probe, self.probe_params).settings()),
        }
        return {**super().settings(), **inner, "device": network.get("device", self.device)}

    def selection_rule(self) -> str:
        """`val_r2` as soon as the probe chooses."""
        return self._made(self.probe, self.probe_params).selection_rule()

    def check_settings(self) -> None:
        """Refuse a student of nothing, and what its network and its probe refuse."""
        if not self.latents:
            raise ConfigError(
                "a student learns the latents of some layer, direction and pooling, which 'latents' names; "
                "`python -m probes distil` fits it"
            )
        for name, params in ((self.network, self.network_params), (self.probe, self.probe_params)):
            if name not in HEADS:
                raise UnknownName("head of a student", name, HEADS)
            own = [setting for setting in SHARED if setting in (params or {})]
            if own:
                raise ConfigError(f"{name}: {', '.join(own)} is that of the student; set it there")
            self._made(name, params)

    def _made(self, name: str, params: Mapping[str, Any] | None) -> Head:
        known = head_parameters(name)
        shared = {setting: getattr(self, setting) for setting in SHARED if setting in known}
        return make_probe(name, **{**(params or {}), **shared})

    def _taught(self) -> Distilled:
        if self._distilled is None:
            raise ProbeError(
                f"the student of {self.latents} was given no latents to learn; `python -m probes distil` fits it"
            )
        return self._distilled

    def _fit(self, X: Array, Y: Array, X_val: Array | None, Y_val: Array | None) -> None:
        taught = self._taught()
        self.probe_ = self._made(self.probe, self.probe_params)
        single = self.single_label_
        self.probe_.fit(
            taught.latents(X),
            Y[:, 0] if single else Y,
            X_val=None if X_val is None else taught.latents(X_val),
            y_val=Y_val[:, 0] if Y_val is not None and single else Y_val,
        )
        epoch = taught.network.chosen_.get("best_epoch")
        self.chosen_ = {**self.probe_.chosen_, **({} if epoch is None else {BEST_EPOCH: epoch})}
        self.arrays_ = {**self.probe_.arrays_, **taught.curves()}
        self.flags_ = [*self.probe_.flags_, *((text, None) for text in taught.flags())]

    def _predict(self, X: Array) -> Array:
        return self.probe_.predict(self._taught().latents(X)).reshape(len(X), -1)

    def to_files(self) -> dict[str, bytes]:
        """The files of network and probe, and one npz with `kept` and the scaling of the latents."""
        taught = self._taught()
        return {
            **{NETWORK + name: content for name, content in taught.network.to_files().items()},
            **{PROBE + name: content for name, content in self.probe_.to_files().items()},
            LEARNED: npz_bytes({"kept": taught.kept, **vars(taught.scaling)}),
        }

    def from_files(self, files: Mapping[str, bytes]) -> None:
        """Read what `to_files` gave; Damaged when a file is missing or does not fit."""
        try:
            stored = npz_arrays(files[LEARNED])
            kept, mean, scale, constant = (stored[name] for name in LEARNED_FIELDS)
        except (KeyError, ValueError) as error:
            raise Damaged(f"{LEARNED} tells no latents ({error}); fit the student again") from error
        network, self.probe_ = self.make_network(), self._made(self.probe, self.probe_params)
        _read(network, files, NETWORK, n_features=self.n_features_in_, n_labels=mean.size, single=False)
        _read(
            self.probe_,
            files,
            PROBE,
            n_features=mean.size,
            n_labels=self.n_labels_,
            single=self.single_label_,
            chosen={name: value for name, value in self.chosen_.items() if name != BEST_EPOCH},
        )
        scaling = Scaling(mean=mean, scale=scale, constant=constant)
        self.learn_from(Distilled(network=network, kept=kept, scaling=scaling))


def _read(
    head: Head,
    files: Mapping[str, bytes],
    prefix: str,
    *,
    n_features: int,
    n_labels: int,
    single: bool,
    chosen: Mapping[str, Any] | None = None,
) -> None:
    """Let a head of the student take over its own files."""
    head.n_features_in_, head.n_labels_, head.single_label_ = n_features, n_labels, single
    head.chosen_, head.arrays_, head.flags_ = dict(chosen or {}), {}, []
    own = {name.removeprefix(prefix): data for name, data in files.items() if name.startswith(prefix)}
    if not own:
        raise Damaged(f"no file {prefix}* of the student is there; fit it again")
    head.from_files(own)


def _without_shared(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in SHARED}
