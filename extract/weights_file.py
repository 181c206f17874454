"""Reading and writing the file that holds a network's weights, without running anything stored in it."""

import dataclasses
import io
import pickle
import re
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from cache.errors import CheckpointError

from .tensor_names import bare_names, elsewhere_advice, network_prefix

OURS = "blindspot_probes"
PROFILE = "sigma_profile"
CALLBACKS, HYPER_PARAMETERS = "callbacks", "hyper_parameters"
LIGHTNING_FORMAT = "2.4.0"  # Lightning refuses to open a checkpoint without a version

RECIPE = """\
import torch
found = torch.load({source!r}, map_location="cpu", weights_only=False)  # runs code stored in the file
found = found.state_dict() if hasattr(found, "state_dict") else found.get("state_dict", found)
tensors = {{name: value for name, value in found.items() if torch.is_tensor(value)}}  # and no hyper_parameters
torch.save({{"state_dict": tensors}}, {target!r})
"""


@dataclasses.dataclass(frozen=True)
class WeightsFile:
    """The content of a checkpoint: the network's tensors without prefix, the rest, and our own remarks.

    `prefix` is what stood before the tensors' names, `hyper_parameters` what Lightning keeps of its module's settings,
    None where there are none.
    """

    tensors: Mapping[str, torch.Tensor]
    others: Mapping[str, Any]
    ours: Mapping[str, Any]
    prefix: str = ""
    hyper_parameters: Any = None


def read_weights(path: Path) -> WeightsFile:
    """Read a Lightning checkpoint or a bare state dict, its names as `network_prefix` finds them.

    Raises CheckpointError where it finds none, for a file that is missing, empty, damaged, not a checkpoint, or holds
    other objects than tensors and plain values; the message then names them and tells how to convert the file.
    """
    content = _load(path)
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"{path}: holds a {type(content).__name__}; expected a checkpoint or a state dict"
        )
    state = content.get("state_dict", content)
    if not _is_state_dict(state):
        raise CheckpointError(
            f"{path}: holds no tensors (keys: {', '.join(map(str, content)) or 'none'}); "
            "expected a state dict, or a Lightning checkpoint with one under 'state_dict'"
            + elsewhere_advice(path, (str(key) for key, value in content.items() if _is_state_dict(value)))
        )
    nested = state is not content
    prefix = network_prefix(path, state, nested=nested)
    inside, others = bare_names(state, prefix)
    others |= {name: inside.pop(name) for name in (PROFILE, OURS) if name in inside}
    if nested:
        others |= _beside(content, state)
    wrong = [
        f"{name} ({type(value).__name__})" for name, value in inside.items() if not torch.is_tensor(value)
    ]
    if wrong:
        raise CheckpointError(
            f"{path}: expected tensors only under the network's names, found {', '.join(wrong)}"
        )
    ours = content.get(OURS, {})
    if not isinstance(ours, Mapping):
        raise CheckpointError(f"{path}: {OURS!r} holds {ours!r}; expected a mapping of plain values")
    others.pop(OURS, None)
    hyper_parameters = content.get(HYPER_PARAMETERS) if nested else None
    return WeightsFile(
        tensors=inside, others=others, ours=ours, prefix=prefix, hyper_parameters=hyper_parameters
    )


def _beside(content: Mapping[str, Any], state: object) -> dict[str, Any]:
    """Tensors that stand elsewhere than in the state dict, as a copy with averaged weights does."""
    found: dict[str, Any] = {}
    for name, beside in content.items():
        if beside is not state and _is_state_dict(beside):
            found |= {f"{name}.{inner}": value for inner, value in beside.items()}
    return found | _copies(content.get(CALLBACKS), CALLBACKS)


def _copies(kept: object, place: str) -> dict[str, Any]:
    """Weights that callbacks keep, however deep, as `PLACE/OF/THEM.NAME`; single numbers (best scores) are none."""
    if not isinstance(kept, Mapping | list | tuple):
        return {}
    named = dict(kept.items() if isinstance(kept, Mapping) else enumerate(kept))
    found = {
        f"{place}.{name}": value for name, value in named.items() if torch.is_tensor(value) and value.ndim
    }
    for name, value in named.items():
        found |= _copies(value, f"{place}/{str(name).partition('{')[0]}")
    return found


def _is_state_dict(value: object) -> bool:
    return isinstance(value, Mapping) and any(isinstance(one, torch.Tensor) for one in value.values())


def weights_bytes(tensors: Mapping[str, torch.Tensor], beside: Mapping[str, Any]) -> bytes:
    """The file of a Lightning-style checkpoint; equal content gives equal bytes.

    `tensors` are all entries of `state_dict`; `beside` holds further top-level keys of plain values.
    """
    buffer = io.BytesIO()  # given a path, torch writes the file's name into the archive
    content = {
        "state_dict": {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
        "epoch": 0,
        "global_step": 0,
        "pytorch-lightning_version": LIGHTNING_FORMAT,
    }
    torch.save({**content, **beside}, buffer)
    return buffer.getvalue()


def _load(path: Path) -> Any:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint file")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from error
    if not data:
        raise CheckpointError(f"{path}: the file is empty; copy it again")
    _check_sums(path, data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about other archives before it refuses them
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:
        rejected = _rejected(data, str(error)) if isinstance(error, pickle.UnpicklingError) else []
        if not rejected:
            # torch's own text is left out: it advises loading without the safety
            raise CheckpointError(
                f"{path}: not a PyTorch checkpoint, or cut short ({len(data)} bytes, {type(error).__name__}); "
                "give the .ckpt that Lightning wrote, copied whole"
            ) from error
        recipe = RECIPE.format(source=str(path), target=str(path.with_suffix(".tensors.ckpt")))
        raise CheckpointError(
            f"{path}: refused, because it holds objects that could run code: {', '.join(rejected)}. "
            "If you trust the file, whoever can import these objects may convert it, once, with\n"
            f"{recipe}and use the new file."
        ) from error


def _check_sums(path: Path, data: bytes) -> None:
    """Raise CheckpointError when a member of the archive is not what was written; torch itself does not look.

    Files of the older format, and members written without a sum (0), have nothing to compare with.
    """
    if not zipfile.is_zipfile(io.BytesIO(data)):
        return
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.infolist():
                if member.CRC:
                    archive.read(member)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: damaged since it was written ({error}); copy it again from where it is whole"
        ) from error


def _rejected(data: bytes, message: str) -> list[str]:
    """Names of the objects that safe loading does not admit."""
    found = re.findall(r"GLOBAL ([\w.]+)", message)
    try:
        everything = torch.serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(data))
    except Exception:  # noqa: BLE001  # only a fuller list; the file may be of the older format
        everything = []
    return sorted({*found, *everything}) if found else []
