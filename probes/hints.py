"""What to try next, in one line, where the scores of a run ask for it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cache.arrays import PSEUDO_LAYERS

PUBLISHED_ALPHA = 0.001
"""Penalty of the published probes, the default of `ridge`."""


def hints(specs_and_results: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> Iterator[str]:
    """Yield what helps probes of a network's features, given by the specs and results of their records.

    A penalty that is fixed can be far too small for few stars: test R2 then lies below 0, though val could choose.
    """
    fixed = {
        float(spec["params"]["alpha"])
        for spec, result in specs_and_results
        if _is_latent_ridge(spec) and spec["params"]["alpha"] != "val" and _below_zero(result)
    }
    if fixed:
        told = " and ".join(f"alpha {alpha:g}" for alpha in sorted(fixed))
        fate = (
            "were fixed"
            if len(fixed) > 1
            else "is the published one"
            if fixed == {PUBLISHED_ALPHA}
            else "was fixed"
        )
        yield f"hint: test R2 below 0: {told} {fate}; --params ridge.alpha=val chooses it on val"


def _is_latent_ridge(spec: Mapping[str, Any]) -> bool:
    """Whether a ridge on features of a trained network, with true labels, is what the spec asks."""
    layers = {part["layer"] for part in spec["features"]["parts"]}
    return spec["head"] == "ridge" and spec["control"] == "none" and not layers & set(PSEUDO_LAYERS)


def _below_zero(result: Mapping[str, Any]) -> bool:
    """Whether a probe predicts some label of test worse than its mean does."""
    r2s = [score["r2"] for score in result.get("scores", {}).get("test", {}).values()]
    return any(r2 is not None and r2 < 0 for r2 in r2s)
