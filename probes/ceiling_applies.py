"""Which probes a ceiling holds for: those whose features do not see the true error of the spectrum.

The ceiling counts what the noisy flux tells of a label. In simulated data the error is nearly sqrt(flux + sky) of the
noise-free star, so features that saw it may know more than any reader of the flux.
"""

from collections.abc import Mapping
from typing import Any

SEES_THE_ERROR = "sees the error: ceiling not applicable"
SEES_CLEAN_FLUX = "sees the flux without noise: ceiling not applicable"
NOT_STORED = (
    "unknown: its test store is gone, and with it the mask and what the network saw: ceiling not applicable; "
    "extract it again"
)
BLIND_INPUTS = ("zero", "constant", "shuffled", "from-noisy")
"""Error inputs that hold nothing of the star's own error: `extract.fed_error`, first word of the key."""
BLIND_MODES = ("none", "L4")
"""Error modes of a network that is fed no error at all, or one profile for all stars (REFERENCE 3)."""
NO_VARIANCE = 1
"""Output channels of a network that gives the mean alone: its denoised flux is that mean (REFERENCE 2)."""


def why_not(spec: Mapping[str, Any], test: Mapping[str, Any] | None) -> str | None:
    """Why the ceiling does not hold for a probe, in words; None where it does.

    `spec` is that of the record, `test` the provenance of the store with its test features (what is looked at: encoder
    and error input, which the spec of a finetune record has as well), None where that is gone.
    What matters is what the *test* features saw, so the error input is that of the store: with `--cross error-input`
    the spec has that of train under the same name.
    """
    if test is None:
        return NOT_STORED
    if spec["control"] == "mean_predictor":
        return None
    config = test["encoder"]["config"]
    found = [_layer(part["layer"], config, str(test["error_input"])) for part in spec["features"]["parts"]]
    return next((why for why in found if why is not None), None)


def _layer(layer: str, config: Mapping[str, Any], error_input: str) -> str | None:
    if layer == "input_flux":
        return None
    if layer == "clean_flux":
        return SEES_CLEAN_FLUX
    if layer == "input_error" or (layer == "denoised" and config.get("output_channels") != NO_VARIANCE):
        return SEES_THE_ERROR
    fed_nothing = config.get("error_mode") in BLIND_MODES or config.get("error_channels") == 0
    return None if fed_nothing or error_input.partition(":")[0] in BLIND_INPUTS else SEES_THE_ERROR
