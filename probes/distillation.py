"""A network that says the latents of a star from its noisy flux alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cache.errors import ProbeError

from .scaling import Scaling, column_scaling
from .views import Array

if TYPE_CHECKING:
    from .base import Head  # imports scikit-learn


@dataclass(frozen=True, kw_only=True)
class Distilled:
    """A fitted network and the latents that it learned.

    `kept` (D,) is False for latents with one value in all of train or val, which cannot be learned or scored;
    `scaling` are mean and population std on train of the d that are kept.
    """

    network: "Head"
    kept: Array
    scaling: Scaling

    def latents(self, X: Array) -> Array:
        """What the network says of flux X (n, L): the kept latents (n, d) in their own unit, float32."""
        said: Array = self.network.predict(X).astype(np.float32)
        return said

    def curves(self) -> dict[str, Array]:
        """By epoch, where the network learns in epochs: MSE of standardised latents on train, R2 on val (means)."""
        history = self.network.arrays_
        if "history_val_r2" not in history:
            return {}
        mse = history["history_train_loss"] / self.scaling.scale**2
        return {
            "distil_train_mse": mse.mean(axis=1),
            "distil_val_r2": history["history_val_r2"].mean(axis=1),
        }

    def flags(self) -> list[str]:
        """What a reader should know of the network, each once; of flags of single latents, how many have them."""
        counted: dict[str, int] = {}
        for text, latent in self.network.flags_:
            counted[text] = counted.get(text, 0) + (latent is not None)
        n = self.scaling.mean.size
        return [
            f"student: {text}" + (f" ({count} of {n} latents)" if count else "")
            for text, count in counted.items()
        ]


def distil(network: "Head", X: Mapping[str, Array], Z: Mapping[str, Array], *, stars: Array) -> Distilled:
    """Fit `network` to latents Z (n, D) of the rows of flux X (n, L), by split; stars (n,) are those of train.

    It learns on train and chooses on val, where there is one; test is not looked at. Raises ProbeError where no latent
    varies, and what the network raises (rows that do not match, values that are not finite, no val to choose on).
    """
    kept = ~column_scaling(Z["train"]).constant
    if "val" in Z:
        kept &= np.ptp(Z["val"], axis=0) > 0
    if not kept.any():
        raise ProbeError(
            f"none of the {kept.size} latents varies in train and val; there is nothing to learn"
        )
    network.fit(
        X["train"],
        Z["train"][:, kept],
        X_val=X.get("val"),
        y_val=Z["val"][:, kept] if "val" in Z else None,
        groups=stars,
    )
    return Distilled(network=network, kept=kept, scaling=column_scaling(Z["train"][:, kept]))
