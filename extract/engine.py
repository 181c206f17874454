"""Running the frozen encoder on a batch and pooling what was asked for; every engine agrees to 1e-4."""

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence

import torch

from cache.errors import ConfigError, UnknownName

from .encoder import BlindspotModel1D
from .pooling import UnevenSegments, pool

Taps = dict[tuple[str, str, str], torch.Tensor]
"""(layer, direction, pooling) -> features, (B, D) float32."""

Engine = Callable[[torch.Tensor], Taps]

ENGINES = ("plain",)
PRECISIONS = ("fp32",)


def make_engine(
    model: BlindspotModel1D,
    layers: Sequence[str],
    poolings: Sequence[str],
    *,
    directions: Sequence[str] = ("forward",),
    precision: str = "fp32",
    device: str = "cpu",
) -> Engine:
    """An engine that maps x (B, C_in, L) to pooled features of every layer, direction and pooling.

    It runs the encoder once per direction, no deeper than the deepest layer, under `torch.inference_mode`.
    Raises UnknownName for a layer, pooling, direction or precision that does not exist.
    """
    if precision not in PRECISIONS:
        raise UnknownName("precision", precision, PRECISIONS)
    for direction in directions:
        if direction not in ("forward", "backward"):
            raise UnknownName("direction", direction, ("forward", "backward"))
    unknown = [layer for layer in layers if layer not in model.layers]
    if unknown:
        raise UnknownName("layer", unknown[0], model.layers)
    module = model.to(device)

    def run(x: torch.Tensor) -> Taps:
        taps: Taps = {}
        with torch.inference_mode(), exact_float32(), warnings.catch_warnings():
            warnings.simplefilter("ignore", UnevenSegments)  # said once, when the arrays were planned
            for direction in directions:
                maps = module.encode(x.to(device), layers, direction)
                for layer, feature_map in maps.items():
                    for pooling in poolings:
                        taps[layer, direction, pooling] = pool(feature_map, pooling)
        return taps

    return run


@contextlib.contextmanager
def exact_float32() -> Iterator[None]:
    """Keep CUDA from rounding the inputs of float32 products to TF32, which torch allows in convolutions."""
    convolutions, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = convolutions.allow_tf32, products.allow_tf32
    convolutions.allow_tf32 = products.allow_tf32 = False
    try:
        yield
    finally:
        convolutions.allow_tf32, products.allow_tf32 = before


def choose_device(device: str) -> str:
    """`auto` takes CUDA when there is one; asking for CUDA without one is an error, never a silent CPU run."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(
            f"--device {device}: this machine has no usable CUDA device; use --device cpu or auto"
        )
    return device
