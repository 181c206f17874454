"""What is asked of the cache: which arrays, of which family, input, draw and noise level."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from .arrays import ArrayName, canonical_in, stored_directions
from .errors import ConfigError
from .header import Header


@dataclass(frozen=True, kw_only=True)
class Want:
    """What is asked of the cache.

    `arrays` are (layer, direction, pooling) with any reading direction; the other fields narrow the choice, and
    None accepts any value as long as only one is there. `family` and `input` may be abbreviated.
    """

    arrays: tuple[tuple[str, str, str], ...]
    family: str | None = None
    input: str | None = None
    draw: int | None = 0
    noise_level: float | None = None

    def __post_init__(self) -> None:
        """Refuse arrays that are not (layer, direction, pooling)."""
        for array in self.arrays:
            if isinstance(array, str) or len(array) != 3:
                raise ConfigError(f"Want: {array!r} is no (layer, direction, pooling)")

    def stored_arrays(self) -> tuple[ArrayName, ...]:
        """The stored arrays that the request is made of."""
        names = [
            ArrayName(layer, stored, pooling)
            for layer, direction, pooling in self.arrays
            for stored in stored_directions(direction)
        ]
        return tuple(dict.fromkeys(names))

    def of_network(self, provenance: Mapping[str, Any]) -> "Want":
        """The same request with the canonical names of its layers in the network of a store."""
        arrays = tuple(
            (canonical_in(layer, provenance), direction, pooling) for layer, direction, pooling in self.arrays
        )
        return replace(self, arrays=arrays)

    def admits(self, header: Header) -> bool:
        """Whether a store is of the family, input, draw and noise level asked for."""
        provenance = header.provenance
        noise = provenance["noise"]
        return (
            (self.family is None or header.family.startswith(self.family))
            and (self.input is None or provenance["input"].startswith(self.input))
            and (self.draw is None or noise["draw"] in (None, self.draw))
            and (self.noise_level is None or noise["level"] == self.noise_level)
        )
