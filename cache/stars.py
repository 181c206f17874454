"""How many stars there are, and which stand in two places, by sorting.

`numpy.unique` hashes integers since numpy 2.3, which takes 0.7 s for a million of them, where sorting takes 0.02 s
(numpy issue 31969); and a probe asks several times.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Stars = npt.NDArray[Any]
"""Star of each row (n,), integers: the first 64 bits of the sha256 of its flux, as a store has them."""


def count_stars(stars: Stars) -> int:
    """Number of different stars among some rows."""
    return int(_each_once(stars).size)


def stars_in_both(one: Stars, other: Stars) -> Stars:
    """The stars that stand in both, each once, ascending."""
    together = np.sort(np.concatenate([_each_once(one), _each_once(other)]))
    shared: Stars = together[1:][together[1:] == together[:-1]]
    return shared


def _each_once(stars: Stars) -> Stars:
    ordered = np.sort(stars)
    return np.concatenate([ordered[:1], ordered[1:][ordered[1:] != ordered[:-1]]])
