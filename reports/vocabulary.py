"""The field's words as reports print them: units of labels, roles of rows, the order of names."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

DEX = "dex"
DIMENSIONLESS = ""
UNKNOWN_UNIT = "unit of the label"

# pfsspec parameter columns: logarithmic abundances and gravity in dex, T_eff in kelvin, magnitudes in mag.
UNITS: Mapping[str, str] = {
    "T_eff": "K",
    "log_g": DEX,
    "M_H": DEX,
    "a_M": DEX,
    "C_M": DEX,
    "O_M": DEX,
    "N_He": DEX,
    "Fe_H": DEX,
    "L_H": DEX,
    "mag": "mag",
    "ext": "mag",
    "v_turb": "km/s",
    "redshift": DIMENSIONLESS,
    "snr": DIMENSIONLESS,
}
LABEL_ORDER = ("log_g", "T_eff", "M_H", "a_M", "C_M")

LATENT = "latent"
RAW_FLUX = "raw noisy flux"
ERROR_ONLY = "error only"
DENOISED = "denoised flux"
CLEAN_FLUX = "clean flux (no noise)"
RANDOM_ENCODER = "random encoder"
SHUFFLED_LABELS = "shuffled labels"
MEAN_PREDICTOR = "mean predictor"

PSEUDO_LAYERS: Mapping[str, str] = {
    "input_flux": RAW_FLUX,
    "input_error": ERROR_ONLY,
    "denoised": DENOISED,
    "clean_flux": CLEAN_FLUX,
}
ROLE_ORDER = (
    LATENT,
    RAW_FLUX,
    ERROR_ONLY,
    DENOISED,
    CLEAN_FLUX,
    RANDOM_ENCODER,
    SHUFFLED_LABELS,
    MEAN_PREDICTOR,
)
CONTROLS = (RANDOM_ENCODER, SHUFFLED_LABELS)
"""Roles that are fitted to be beaten: never bold."""

JUDGED_BESIDE = (RAW_FLUX, ERROR_ONLY, *CONTROLS)
"""Roles without which the score of a latent row says little."""

HEAD_ORDER = ("mean", "ols", "ridge", "lightgbm", "mlp_1", "mlp_2")
DIRECTION_ORDER = ("forward", "backward", "mean", "concat")
POOLING_ORDER = ("none", "global_mean", "mean_max")


def unit_of(label: str) -> str:
    """Unit in which a label and its RMSE and MAE are given; UNKNOWN_UNIT for a column this tool does not know."""
    return UNITS.get(label, UNKNOWN_UNIT)


def error_digits(unit: str) -> int:
    """Digits after the point for an RMSE or MAE: a tenth of a kelvin, a thousandth of anything else."""
    return 1 if unit == "K" else 3


def role_of(control: str, layers: Sequence[str]) -> str:
    """What a record's features are: one of ROLE_ORDER, or several joined by ' + '.

    A control beats the layer, except that the noisy flux and the error do not depend on the encoder's weights.
    """
    if control == "shuffled_labels":
        return SHUFFLED_LABELS
    if control == "mean_predictor":
        return MEAN_PREDICTOR
    encoder = RANDOM_ENCODER if control == "random_encoder" else LATENT
    roles = list(dict.fromkeys(PSEUDO_LAYERS.get(layer, encoder) for layer in layers)) or [LATENT]
    if encoder == RANDOM_ENCODER and DENOISED in roles and RANDOM_ENCODER not in roles:
        roles.append(RANDOM_ENCODER)
    return " + ".join(sorted(roles, key=role_rank))


def _rank(name: str, known: Sequence[str]) -> tuple[int, str]:
    return (known.index(name), "") if name in known else (len(known), name)


def role_rank(role: str) -> tuple[int, str]:
    """Sort key of a role: the order of ROLE_ORDER, mixtures after it."""
    return _rank(role, ROLE_ORDER)


def label_rank(label: str) -> tuple[int, str]:
    """Sort key of a label: log g first, then the other stellar parameters, then the alphabet."""
    return _rank(label, LABEL_ORDER)


def head_rank(head: str) -> tuple[int, str]:
    """Sort key of a head: from the simplest to the largest."""
    return _rank(head, HEAD_ORDER)


def direction_rank(direction: str) -> tuple[int, str]:
    """Sort key of a direction: stored ones before those formed on reading."""
    return _rank(direction, DIRECTION_ORDER)


def pooling_rank(pooling: str) -> tuple[int, tuple[int, str]]:
    """Sort key of a pooling: by the number of features per channel, so that K8 comes before K16."""
    segments = re.fullmatch(r"seg_mean_K(\d+)", pooling)
    return (int(segments[1]), (0, "")) if segments else (0, _rank(pooling, POOLING_ORDER))


def layer_rank(layer: str) -> tuple[int, int, str]:
    """Sort key of a layer: by depth, a pool after the block it follows, inputs and outputs after the encoder."""
    numbered = re.fullmatch(r"(enc|pool)_(\d+)", layer)
    if numbered:
        return (0, 2 * int(numbered[2]) + (numbered[1] == "pool"), "")
    named: dict[str, Any] = {"enc_pre_latent": 0, "enc_last": 1}
    if layer in named:
        return (1, named[layer], "")
    return (2, *_rank(layer, tuple(PSEUDO_LAYERS)))
