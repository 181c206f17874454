"""From a checkpoint file to a frozen network whose every setting is stated, or listed as assumed."""

import dataclasses
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from cache.atomic import publish_bytes
from cache.errors import CheckpointError, ConfigError

from .architecture import ModelConfig, error_modes_with, visible_architecture
from .encoder import BlindspotModel1D
from .error_input import n_error_channels
from .hyper_parameters import SOURCE, WITHOUT, hyper_statements
from .model_yaml import Statement, read_yaml
from .tensor_names import PREFIX
from .weights_file import OURS, PROFILE, WeightsFile, read_weights, weights_bytes

# the YAML's own words for the fields of ModelConfig that it spells otherwise
SPELLINGS = {
    "error_channels": "error_channels (input_sigma, sigma_input_mode)",
    "error_mode": "error_mode (sigma_input_mode)",
    "norm": "norm (norm_type, use_bn)",
    "output_channels": "output_channels (output_mode)",
    "ending": "ending (output_mode, sigma_input_mode, norm_type)",
}
CONVOLUTIONS = ".conv.weight"
"""How the names of the convolutions' weights end, which are nearly all of a network's numbers."""
WEIGHTS = "weights"
"""Our own remark in files that must hold the weights with this digest: calibrated random encoders."""
ORIGIN = re.compile(r"checkpoint|random:[0-9]{1,18}")


def load_encoder(
    checkpoint: Path | str,
    config: Path | str | Mapping[str, Any] | None = None,
    *,
    error_mode: str | None = None,
    ending: str | None = None,
    dilation: int | None = None,
) -> BlindspotModel1D:
    """Load a network: float32, in eval mode, frozen.

    `config` is a YAML path or a mapping (the whole YAML or its `model` section); the three keywords state
    what cannot be seen in the tensors. Without them the architecture is read off the tensors, and `.assumed`
    of the result lists what nobody stated. What a checkpoint's `hyper_parameters` say counts like the YAML, but for
    what they leave out. An unstated error mode stays None. Half and double precision on
    disk become float32. Raises CheckpointError: no such file, not a checkpoint, unsafe content, statements
    that contradict the tensors or each other, other weights than the file says, missing, unexpected or misshapen
    tensors, NaN or infinity.
    """
    path = Path(checkpoint)
    found = read_weights(path)
    given = {"error_mode": error_mode, "ending": ending, "dilation": dilation}
    keywords: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    try:
        if error_mode is not None:
            keywords["error_channels"] = n_error_channels(error_mode)
        yaml = read_yaml(config) if config is not None else Statement({}, {})
        visible = visible_architecture(found.tensors)
        statements = {
            "the tensors": visible,
            "the checkpoint's own remarks": _own_fields(found),
            **hyper_statements(found.hyper_parameters),
            "the YAML": yaml.fields,
            "the caller": keywords,
        }
        model_config, assumptions = _settle(statements)
    except (CheckpointError, ConfigError) as error:
        raise CheckpointError(f"{path}: {error}") from error
    model = _fill(path, model_config, found.tensors)
    stated = found.ours.get(WEIGHTS)
    if stated is not None and stated != weights_digest(model):
        raise CheckpointError(
            f"{path}: its weights are {weights_digest(model)[:16]}, and it says that it was written with "
            f"{stated!s:.16}; it was altered since: take it away, or copy it again"
        )
    model.assumptions = {**assumptions, **yaml.remarks, **_wrapper(found.prefix)}
    model.unused_keys = tuple(sorted(name for name in found.others if name != PROFILE))
    model.error_profile = _profile(path, found)
    model.origin = str(found.ours.get("origin", "checkpoint"))
    if not ORIGIN.fullmatch(model.origin):
        raise CheckpointError(f"{path}: origin {model.origin!r}; expected 'checkpoint' or 'random:SEED'")
    return model.requires_grad_(requires_grad=False).eval()


def _wrapper(prefix: str) -> dict[str, str]:
    """A remark on names that a wrapper has changed."""
    if prefix in ("", PREFIX):
        return {}
    return {
        "prefix": f"the tensors under {prefix!r} are the network: that is what wrappers (DataParallel: module., "
        f"torch.compile: _orig_mod.) make of {repr(PREFIX) if PREFIX in prefix else 'bare names'}"
    }


def unused_note(checkpoint: str, names: Sequence[str]) -> str:
    """What a checkpoint holds beside the network that is used, grouped by the first part of the names."""
    groups = Counter(name.partition(".")[0] for name in names)
    listed = ", ".join(f"{group} ({n})" for group, n in sorted(groups.items()))
    return (
        f"note: {checkpoint} also holds what is not used: {listed}; the network is what stands under 'model.' (to "
        "use an average of the weights, write its tensors under that name)"
    )


def save_checkpoint(
    model: BlindspotModel1D,
    path: Path | str,
    *,
    extra: Mapping[str, Any] | None = None,
    half: bool = False,
    publish: Callable[[Path, bytes], None] = publish_bytes,
) -> None:
    """Write `model` as a Lightning-style checkpoint that `load_encoder` and the group's code read.

    The top-level key `blindspot_probes` states the configuration (what was only assumed is left out) and the
    origin, so the file needs no YAML. `extra` adds top-level keys of plain values; its own
    `blindspot_probes` is merged. The profile, if any, is written as `sigma_profile`. With `half` the weights of the
    convolutions take 16 bits each; CheckpointError when that would change one of them. `publish` puts the bytes in
    their place.
    """
    tensors = {PREFIX + name: tensor for name, tensor in model.state_dict().items()}
    if half:
        tensors |= {name: _in_half(name, t) for name, t in tensors.items() if name.endswith(CONVOLUTIONS)}
    if model.error_profile is not None:
        tensors[PROFILE] = torch.tensor(model.error_profile)
    config = {
        name: value
        for name, value in model.config.to_json().items()
        if value is not None and name not in model.assumptions
    }
    beside = dict(extra or {})
    ours = {"origin": model.origin, "config": config, **beside.pop(OURS, {})}
    publish(Path(path), weights_bytes(tensors, {**beside, OURS: ours}))


def _in_half(name: str, weight: torch.Tensor) -> torch.Tensor:
    half = weight.half()
    if not torch.equal(half.to(weight.dtype), weight) or not bool(half.isfinite().all()):
        raise CheckpointError(f"{name}: 16 bits cannot hold its values; round the network first")
    return half


def weights_digest(model: nn.Module) -> str:
    """Hex sha256 of all parameters and buffers: names in sorted order, each with shape, dtype and bytes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name}|{tuple(values.shape)}|{values.dtype}\n".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _own_fields(found: WeightsFile) -> dict[str, Any]:
    """What a file written by `save_checkpoint` states about its network."""
    stated = found.ours.get("config", {})
    known = {field.name for field in dataclasses.fields(ModelConfig)}
    if not isinstance(stated, Mapping) or not set(stated) <= known:
        raise CheckpointError(f"{OURS!r} holds the configuration {stated!r}; it was not written by this tool")
    return dict(stated)


def _settle(statements: Mapping[str, Mapping[str, Any]]) -> tuple[ModelConfig, dict[str, str]]:
    """Join what the sources say; every contradiction is named, every gap filled and listed."""
    fields: dict[str, Any] = {}
    sources: dict[str, str] = {}
    conflicts: list[str] = []
    for source, stated in statements.items():
        for name, value in stated.items():
            if name in fields and fields[name] != value:
                spelled = SPELLINGS.get(name, name)
                conflicts.append(f"{spelled} is {value!r} for {source}, {fields[name]!r} for {sources[name]}")
            fields.setdefault(name, value)
            sources.setdefault(name, source)
    if conflicts:
        told = "; ".join(conflicts)
        advice = f"; {WITHOUT}" if SOURCE in told else ""
        raise CheckpointError(f"the statements about this network differ: {told}{advice}")
    assumptions: dict[str, str] = {}
    if "dilation" not in fields:
        fields["dilation"] = 1
        assumptions["dilation"] = "dilation 1: it cannot be seen in the tensors"
    if "ending" not in fields:
        fields["ending"] = "softplus" if fields["output_channels"] == 2 else "linear"
        assumptions["ending"] = (
            f"ending {fields['ending']!r}, as usual for {fields['output_channels']} output(s): "
            "it cannot be seen in the tensors"
        )
    if "error_mode" not in fields:
        fields["error_mode"] = None if fields["error_channels"] else "none"
        if fields["error_channels"]:
            modes = ", ".join(error_modes_with(fields["error_channels"]))
            assumptions["error_mode"] = (
                f"error mode not stated: the network takes {fields['error_channels']} error channel(s), "
                f"and nothing tells which of {modes} they hold"
            )
    if fields["kernel_size"] % 2 == 0:
        assumptions["kernel_size"] = (
            f"kernel_size {fields['kernel_size']} is even: every block sees (kernel_size - 1) * dilation pixels "
            "to its left; the group's code agrees for odd kernels only"
        )
    return ModelConfig(**fields), assumptions


def _fill(path: Path, config: ModelConfig, tensors: Mapping[str, torch.Tensor]) -> BlindspotModel1D:
    """Build the network and copy the tensors in, all names and shapes checked first."""
    model = BlindspotModel1D(config)
    expected = model.state_dict()
    problems = [f"missing: {name}" for name in expected if name not in tensors]
    problems += [f"unexpected: {name}" for name in tensors if name not in expected]
    for name, tensor in tensors.items():
        if name not in expected:
            continue
        if tensor.shape != expected[name].shape:
            shapes = f"{tuple(tensor.shape)}, expected {tuple(expected[name].shape)}"
            problems.append(f"shape of {name}: {shapes}")
        elif tensor.is_floating_point() != expected[name].is_floating_point() or tensor.is_complex():
            problems.append(f"dtype of {name}: {tensor.dtype}, expected {expected[name].dtype}")
        elif not bool(tensor.isfinite().all()):
            problems.append(f"not finite: {name}")
    if problems:
        raise CheckpointError(
            f"{path}: {len(problems)} tensor(s) do not fit a blind-spot network with num_layers "
            f"{config.num_layers}, embed_dim {config.embed_dim}, norm {config.norm!r}: {'; '.join(problems)}"
        )
    model.load_state_dict(dict(tensors))
    return model


def _profile(path: Path, found: WeightsFile) -> npt.NDArray[np.float64] | None:
    stored = found.others.get(PROFILE)
    if stored is None:
        return None
    if not isinstance(stored, torch.Tensor) or stored.numel() != max(stored.shape, default=0):
        described = tuple(stored.shape) if isinstance(stored, torch.Tensor) else type(stored).__name__
        raise CheckpointError(f"{path}: {PROFILE!r} is {described}; expected one error per pixel, (L,)")
    return stored.reshape(-1).to(torch.float64).numpy()
