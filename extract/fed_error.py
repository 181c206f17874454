"""What the network is fed in place of a star's error: the audits' question whether it read the star off its error."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cache.canonical import sha256
from cache.errors import UnknownName

from .choices import ERROR_INPUTS, FROM_TRAIN
from .fingerprint import Fingerprint
from .row_digests import canonical_floats
from .shuffled_error import SHUFFLE_VERSION, donors_of
from .train_error import TrainError

DIGEST_DIGITS = 16

Float32s = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class FedError:
    """What stands for the error of a spectrum in the network's input; the noise always has the true error.

    `key`: what the provenance of a store says under `error_input`; its first word is `kind`. `donors` (N,) for
    'shuffled', `train` with (L,) arrays after the mask for 'constant' and 'from-noisy'.
    """

    kind: str
    key: str
    donors: Rows | None = None
    train: TrainError | None = None

    def seen_for(
        self, *, noisy: Float32s, error: Float32s, shuffled: Float32s | None, level: float
    ) -> Float32s:
        """What is fed as error to the error mode, (B, L) float32 after the mask, times the noise level.

        'true': `error` itself. 'shuffled': `shuffled`, the donors' errors times the level. 'constant': the mean
        train error. 'from-noisy': sqrt(slope max(noisy, 0) + offset). 'zero' is `error` too: the channels are set
        to zero after the error mode, which may hold a profile.
        """
        if self.kind == "shuffled" and shuffled is not None:
            return shuffled
        if self.kind == "constant" and self.train is not None:
            return np.tile((self.train.error * level).astype(np.float32), (len(error), 1))
        if self.kind == "from-noisy" and self.train is not None:
            variance = self.train.slope * np.maximum(noisy, 0) + self.train.offset
            return np.asarray(level * np.sqrt(variance), dtype=np.float32)
        if self.kind in ("true", "zero"):
            return error
        raise ValueError(f"error input {self.kind!r} without what it is made from")


TRUE_ERROR = FedError("true", "true")
"""The error of the file."""


def fed_error(
    kind: str, *, known: Fingerprint, seed: int, split: str, train: TrainError | None = None
) -> FedError:
    """The error input `kind` for one split; `train` for those of `FROM_TRAIN`.

    The key of 'shuffled' tells version and seed, which noise that is not drawn leaves out of a store's key; that of
    'constant' and 'from-noisy' the digest of the numbers it uses, 16 hex digits. Raises UnknownName, and what
    `donors_of` raises.
    """
    if kind not in ERROR_INPUTS:
        raise UnknownName("error input", kind, ERROR_INPUTS)
    if kind == "shuffled":
        key = f"shuffled:version={SHUFFLE_VERSION},seed={seed}"
        return FedError(kind, key, donors=donors_of(known, seed=seed, split=split))
    if train is not None and kind in FROM_TRAIN:
        used = [train.error] if kind == "constant" else [train.slope, train.offset]
        digest = sha256(b"".join(canonical_floats(values).tobytes() for values in used))
        return FedError(kind, f"{kind}:{digest[:DIGEST_DIGITS]}", train=train)
    return FedError(kind, kind)
