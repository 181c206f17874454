"""The stores that an audit compares: the same rows and noise, the network's error channel fed something else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cache import Want, find
from cache.errors import ConfigError, NotExtracted, UnknownName
from cache.extract_command import array_flags
from cache.store_folders import stores_of

from .ceiling_applies import NO_VARIANCE
from .extract_command import extract_command
from .features import FeaturePart
from .splits import ERROR_INPUT, Views, check_views, same_but_error_input
from .stores import Arrays, StoreChoice
from .views import draw_of, noise_level_of

TRUE = "true"
ERROR_INPUTS = ("zero", "shuffled", "constant", "from-noisy")
"""What may stand in the error channel in place of the star's error (docs/guide.md)."""
FROM_TRAIN = ("constant", "from-noisy")
"""Error inputs that are made from numbers of the train split."""
INPUTS = ("input_error", "input_flux")
NOT_FED: Mapping[str, str] = {
    "input_error": "the error itself, whatever the network is fed; what it tells is row A1 of any audit",
    "input_flux": "the noisy flux, which no error input changes",
    "clean_flux": "the flux without noise, which no error input changes",
}
"""Stored arrays that do not come out of the network."""
INPUT_ARRAYS: Mapping[str, Arrays] = {layer: ((layer, "forward", "none"),) for layer in INPUTS}


@dataclass(frozen=True, kw_only=True)
class AuditViews:
    """Views of one feature set by error input, `true` among them, and of the spectra, by layer of INPUTS.

    All have the same rows of the same draws, row by row.
    """

    features: Mapping[str, Views]
    inputs: Mapping[str, Views]

    @property
    def true(self) -> Views:
        """The features that saw the star's own error."""
        return self.features[TRUE]


def audit_views(stores: StoreChoice, arrays: Arrays, error_inputs: Sequence[str]) -> AuditViews:
    """Find the stores of the true error that `stores` names, and those that differ in the error input alone.

    `error_inputs` are of ERROR_INPUTS, or longer beginnings of what provenance says (`constant:3f`) where several are
    stored. Raises NotExtracted with the commands of everything that is missing, ConfigError for stores of the true
    error that are none, for features that keep the true error whatever is fed, for several that would do and for rows
    that differ, and what `check_views` raises.
    """
    check_audited([layer for layer, _, _ in arrays], error_inputs)
    true = _with_family(stores, arrays).views(arrays)
    parts = [
        FeaturePart(layer=layer, direction=direction, pooling=pooling) for layer, direction, pooling in arrays
    ]
    check_views(true, parts)
    found_input = true["train"][0].provenance["error_input"]
    if found_input != TRUE:
        raise ConfigError(
            f"the stores named have error input {found_input!r}; an audit starts from those with error input 'true': "
            "name their selection (or --family), it finds the others by itself"
        )
    _refuse_denoised(arrays, true)
    missing: list[str] = []
    inputs, features = {}, {TRUE: true}
    for layer, wanted in INPUT_ARRAYS.items():
        try:
            inputs[layer] = _beside(stores, true, wanted, true["train"][0].family)
        except NotExtracted:
            missing += _commands(true, layer, {"--layers": layer, "--poolings": "none"})
    for name in error_inputs:
        try:
            features[_plain(name)] = _beside(stores, true, arrays, _family_of(stores, true, arrays, name))
        except NotExtracted:
            flags = {**array_flags(arrays), "--error-input": _plain(name)}
            missing += _commands(true, f"error input {name}", flags)
    if missing:
        raise NotExtracted(
            "the audit needs stores that are not there (`make audit` makes them):\n" + "\n".join(missing)
        )
    for name, views in {**inputs, **features}.items():
        crossed = (ERROR_INPUT,) if views["test"][0].family != true["train"][0].family else ()
        # no parts: files that are the same lie on the same wavelengths
        check_views({**views, "train": true["train"]}, (), crossed)
        _check_rows(true, views, name)
    return AuditViews(features=features, inputs=inputs)


def check_audited(layers: Sequence[str], error_inputs: Sequence[str]) -> None:
    """Raise ConfigError or UnknownName for what does not come out of the network, or cannot be fed to it."""
    if len({_plain(name) for name in error_inputs}) < len(error_inputs) or not error_inputs:
        raise ConfigError(f"--error-inputs are {', '.join(error_inputs)!r}; name one or more, each once")
    for layer in layers:
        if layer in NOT_FED:
            raise ConfigError(
                f"--layers {layer}: {NOT_FED[layer]}: there is nothing to audit; name layers of the network"
            )


def _refuse_denoised(arrays: Arrays, true: Views) -> None:
    """Refuse denoised flux into which the star's error enters behind the network."""
    n_outputs = true["train"][0].provenance["encoder"]["config"].get("output_channels")
    if n_outputs != NO_VARIANCE and any(layer == "denoised" for layer, _, _ in arrays):
        raise ConfigError(
            f"--layers denoised: this network gives a variance too (output_channels {n_outputs}), so its mean is "
            "weighed against the noisy flux by the true error, whatever the network is fed: an audit would acquit what "
            "comes in there; name layers of the network"
        )


def _with_family(stores: StoreChoice, arrays: Arrays) -> StoreChoice:
    """The same choice, narrowed to the family of the true error where only one such is stored."""
    if stores.selection is not None or stores.family is not None:
        return stores
    wanted = set(Want(arrays=arrays).stored_arrays())
    families = {
        header.family
        for _, header in stores_of(stores.root, "train").readable
        if header.provenance["error_input"] == TRUE and wanted & set(header.arrays)
    }
    return replace(stores, family=families.pop()) if len(families) == 1 else stores


def _plain(name: str) -> str:
    """Without the digest or seed that provenance adds."""
    kind = name.partition(":")[0]
    if kind not in ERROR_INPUTS:
        raise UnknownName("error input to audit", kind, ERROR_INPUTS)
    return kind


def _beside(stores: StoreChoice, true: Views, arrays: Arrays, of_family: str) -> Views:
    """The same input, draw and noise level as every true view, in another family."""
    return {
        split: [
            find(
                stores.root,
                split,
                Want(
                    arrays=arrays,
                    family=of_family,
                    input=str(view.provenance["input"]),
                    draw=draw_of(view),
                    noise_level=noise_level_of(view),
                ),
            )
            for view in members
        ]
        for split, members in true.items()
    }


def _family_of(stores: StoreChoice, true: Views, arrays: Arrays, name: str) -> str:
    """The one family that differs from the true one in an error input that begins with `name`, and has the arrays."""
    first = true["train"][0]
    held: dict[str, str] = {}
    for _, header in stores_of(stores.root, "train").readable:
        fed = str(header.provenance["error_input"])
        if fed.startswith(name) and same_but_error_input(first.provenance, header.provenance):
            held[header.family] = fed
    complete = {}
    for one, fed in held.items():
        try:
            _beside(stores, true, arrays, one)
        except NotExtracted:
            continue
        complete[one] = fed
    if not complete:
        raise NotExtracted(name)
    if len(complete) > 1:
        raise ConfigError(
            f"several stores with error input {name!r} would do: {', '.join(sorted(complete.values()))}; say which by "
            "more of its name in --error-inputs, or prune those that you no longer need"
        )
    (only,) = complete
    return only


def _commands(true: Views, what: str, flags: Mapping[str, str]) -> list[str]:
    """What makes a missing feature set, a line for each command that made the true stores."""
    lines: dict[str, None] = {}
    of_train = extract_command(true["train"][0], flags)
    for view in (members[0] for members in true.values() if members):
        command = extract_command(view, flags)
        if command != of_train and flags.get("--error-input") in FROM_TRAIN:
            command += " --train-error FILE_THAT_THE_TRAIN_SPLIT_SAVED"
        lines[f"  {what}: {command}"] = None
    return list(lines)


def _check_rows(true: Views, views: Views, name: str) -> None:
    for split, members in true.items():
        for one, other in zip(members, views[split], strict=True):
            if not (np.array_equal(one.rows, other.rows) and np.array_equal(one.stars, other.stars)):
                raise ConfigError(
                    f"{split}: the stores of {name} have {other.rows.size} rows, not the {one.rows.size} rows of the "
                    "true error's; extract both with the same files and --on-bad-rows"
                )
