"""Rounding a trained network to what a file of half the size can hold, and scoring what is left."""

import torch

from ..checkpoint import CONVOLUTIONS
from ..encoder import BlindspotModel1D
from .pretrain import Pretrained, val_scores
from .recipe import Recipe


def halved(trained: Pretrained, recipe: Recipe, val_stars: int) -> Pretrained:
    """The network with its convolutions' weights rounded to 16 bits, in place, scored on the validation stars again."""
    round_to_half(trained.model)
    scores = val_scores(trained.model, recipe.stars("pretrain-val").make(0, val_stars))
    entry = {"step": recipe.steps, "after": "rounded to 16 bits", **scores}
    return Pretrained(model=trained.model, history=[*trained.history, entry])


def round_to_half(model: BlindspotModel1D) -> None:
    """Round the convolutions' weights to the nearest float16, in place; they stay float32."""
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith(CONVOLUTIONS):
                tensor.copy_(tensor.half())
