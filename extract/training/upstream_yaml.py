"""The YAML beside a pretrained checkpoint, in the sections and words of the group (REFERENCE.md, section 2)."""

from pathlib import Path
from typing import Any

import yaml

from cache.atomic import publish_bytes

from .recipe import Recipe

PROJECT = "blindspot"


def upstream_sections(recipe: Recipe) -> dict[str, dict[str, Any] | str]:
    """Sections model, train, loss, opt, data, mask, noise. A linear ending is told by `norm_type`, as in 2026."""
    newer = recipe.ending == "linear"
    model: dict[str, Any] = {
        "name": "blindspot",
        "num_layers": recipe.num_layers,
        "embed_dim": recipe.embed_dim,
        "kernel_size": recipe.kernel_size,
        "dilation": 1,
        "input_sigma": recipe.error_mode != "none",
        "blindspot": True,
        **({"norm_type": recipe.norm} if newer else {"use_bn": True}),
    }
    if newer and recipe.error_mode != "none":
        model["sigma_input_mode"] = recipe.error_mode
    if recipe.loss == "M1":
        model["output_mode"] = "mu"
    mock = f"mock survey, seed {recipe.seed}, mag {recipe.mag_lo} to {recipe.mag_hi}"
    return {
        "model": model,
        "train": {
            "batch_size": recipe.batch_size,
            "ep": 1,
            "steps": recipe.steps,
            "precision": recipe.precision,
        },
        "loss": {"name": recipe.loss, "huber_delta": recipe.huber_delta, "lam_neg": recipe.lam_neg},
        "opt": {"type": "adam", "lr": recipe.lr, "lr_sch": "cosine", "warmup_steps": recipe.warmup_steps},
        "data": {"file_path": f"{mock}, made as needed", "num_samples": recipe.steps * recipe.batch_size},
        "mask": {"mask_ratio": 1},
        "noise": {"noise_level": recipe.noise_level},
        "project": PROJECT,
    }


def write_upstream_yaml(recipe: Recipe, path: Path) -> None:
    """Write the sections, whole or not at all."""
    publish_bytes(path, yaml.safe_dump(upstream_sections(recipe), sort_keys=False).encode())
