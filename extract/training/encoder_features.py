"""From the network's input to pooled features, with or without gradients, in whatever way is fastest."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from cache.arrays import stored_directions

from ..choices import MICRO_BATCH
from ..encoder import BlindspotModel1D
from ..engine import Engine, make_engine
from ..layers import canonical_layer, pool_name
from ..pooling import parse_pooling, pool_quietly
from .attention import AttentionPooling, attention_heads


@dataclass(frozen=True, kw_only=True)
class FeatureChoice:
    """One layer, pooled: `direction` is forward, backward, mean or concat; `pooling` the cache's, or attention_K{K}."""

    layer: str
    pooling: str
    direction: str

    @property
    def streams(self) -> tuple[str, ...]:
        """The directions in which the encoder runs; UnknownName for a direction that there is not."""
        return stored_directions(self.direction)

    def join(self, pooled: Sequence[Tensor]) -> Tensor:
        """The pooled vectors (B, D) of the streams as one: their average, or end to end."""
        if len(pooled) == 1:
            return pooled[0]
        return (pooled[0] + pooled[1]) / 2 if self.direction == "mean" else torch.cat(list(pooled), dim=1)


class EncoderFeatures(nn.Module):
    """Encoder and pooling as one module: (B, C_in, L) -> (B, D) float32.

    Frozen, it computes no gradient of the encoder and stays in eval mode, so that nothing of the encoder ever changes;
    with engine `fast` it runs as `extract run` does, in float32 whatever the precision of the training. Otherwise the
    blocks up to the layer learn, and their norms follow the batches in training mode.
    """

    def __init__(
        self, encoder: BlindspotModel1D, choice: FeatureChoice, *, frozen: bool, engine: str, n_threads: int
    ) -> None:
        """Take over the encoder; n_threads run the fast engine side by side on the CPU."""
        super().__init__()
        self.encoder, self.choice, self.frozen = encoder, choice, frozen
        self._n_heads = attention_heads(choice.pooling)
        self._pooling = None if self._n_heads else parse_pooling(choice.pooling)
        self.attention = nn.ModuleDict()
        self._is_fast = frozen and not self._n_heads and engine == "fast"
        self._n_threads = n_threads
        self._engine: tuple[str, Engine, ThreadPoolExecutor | None] | None = None
        encoder.requires_grad_(requires_grad=False)
        if not frozen:
            for block in self.used_blocks():
                block.requires_grad_(requires_grad=True)

    def used_blocks(self) -> list[nn.Module]:
        """The encoder's blocks up to the layer; those behind it, and the decoder, are not run."""
        depth = self.encoder.config.num_layers
        names = self.encoder.layers
        before = names[: names.index(canonical_layer(self.choice.layer, depth)) + 1]
        pools = {pool_name(index, depth) for index in range(1, depth)}
        return list(self.encoder.encoders[: sum(name not in pools for name in before)])

    def make_attention(self, x: Tensor) -> None:
        """Make the attention, if any, for feature maps of the size that input like x (B, C_in, L) gives."""
        if self._n_heads:
            device = next(self.encoder.parameters()).device  # x is not yet there
            for stream, feature_map in self._maps(x[:1].to(device)).items():
                _, n_channels, n_cells = feature_map.shape
                self.attention[_attention_of(stream)] = AttentionPooling(n_channels, n_cells, self._n_heads)

    def train(self, mode: bool = True) -> "EncoderFeatures":  # noqa: FBT001, FBT002  torch's own signature
        """As every module, but a frozen encoder stays in eval mode."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Features of x (B, C_in, L)."""
        if self._is_fast:
            return self._fast(x)
        maps = self._maps(x)
        if self.attention:
            pooled = [
                self.attention[_attention_of(stream)](feature_map.float())
                for stream, feature_map in maps.items()
            ]
        else:
            assert self._pooling is not None
            pooled = [pool_quietly(feature_map.float(), self._pooling) for feature_map in maps.values()]
        return self.choice.join(pooled)

    def _maps(self, x: Tensor) -> dict[str, Tensor]:
        layer = canonical_layer(self.choice.layer, self.encoder.config.num_layers)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return {stream: self.encoder.encode(x, (layer,), stream)[layer] for stream in self.choice.streams}

    def _fast(self, x: Tensor) -> Tensor:
        engine, pool = self._engine_on(x.device)
        with torch.autocast(x.device.type, enabled=False):
            if pool is None:
                return self._join(engine(x.float()), len(x))
            size = MICRO_BATCH["cpu"]
            parts = torch.split(x.float(), size)
            padded = [functional.pad(part, (0, 0, 0, 0, 0, size - len(part))) for part in parts]
            return torch.cat([self._join(taps, size) for taps in pool.map(engine, padded)])[: len(x)]

    def _join(self, taps: dict[tuple[str, str, str], Tensor], n: int) -> Tensor:
        by_stream = {stream: values[:n] for (_, stream, _), values in taps.items()}
        return self.choice.join([by_stream[stream].clone() for stream in self.choice.streams])

    def _engine_on(self, device: torch.device) -> tuple[Engine, ThreadPoolExecutor | None]:
        """The engine on a device: made on first use, because only then the module is where it will run."""
        if self._engine is None or self._engine[0] != str(device):
            layer = canonical_layer(self.choice.layer, self.encoder.config.num_layers)
            engine = make_engine(
                self.encoder,
                (layer,),
                (self.choice.pooling,),
                directions=self.choice.streams,
                device=str(device),
            )
            pool = None
            if device.type == "cpu":  # one thread of torch each: the transforms gain nothing from more
                pool = ThreadPoolExecutor(self._n_threads, initializer=torch.set_num_threads, initargs=(1,))
            self._engine = str(device), engine, pool
        return self._engine[1:]


def _attention_of(stream: str) -> str:
    """The attention of a stream among the modules; "forward" alone is a name that torch has taken."""
    return f"of_{stream}"
