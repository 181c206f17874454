"""What is refused of a request once its files and its encoder are open, before anything is computed."""

from collections.abc import Mapping

import numpy as np

from cache.errors import ConfigError, InputError, UnknownName

from .chosen_encoder import mask_ratio
from .encoder import BlindspotModel1D
from .error_input import channels
from .fingerprint import Fingerprint
from .layers import check_length
from .request import ExtractConfig
from .spectra import SpectraFile

DROP_THEM = (
    "; probes can leave the rows out themselves (--missing-labels drop, here as well; make: MISSING=drop)"
)


def check_labels(config: ExtractConfig, spectra: dict[str, SpectraFile]) -> None:
    """Refuse files without the labels that the request needs."""
    for split, files in spectra.items():
        for label in config.need_labels:
            if label not in files.label_names:
                known = files.label_names or ("(none: no labels)",)
                raise UnknownName(f"label of the {split} file {files.files[0]}", label, known)


def check_same_wave(spectra: dict[str, SpectraFile], first: SpectraFile) -> None:
    """Refuse splits whose wavelengths are not those of the first."""
    for split, other in spectra.items():
        if not np.array_equal(other.wave, first.wave):
            raise ConfigError(
                f"{other.files[0]}: the wavelengths of {split} are not those of {first.files[0]}; "
                "extract splits with different wavelengths in separate runs"
            )


def check_mask_stated(config: ExtractConfig) -> None:
    """Refuse a network that was trained on some of the pixels when the request does not say on which."""
    ratio = mask_ratio(config)
    if ratio < 1 and config.mask is None:
        raise ConfigError(
            f"{config.config_model}: mask_ratio is {ratio}, so the network was trained on some of the pixels only and "
            "gives garbage on all of them; give the mask file it was trained with: --mask FILE.npy (bool, True = keep)"
        )


def check_network_input(config: ExtractConfig, model: BlindspotModel1D, n_pixels: int) -> None:
    """Refuse spectra that the error mode (its profile) or the whole network cannot take, before anything is made."""
    one = np.ones((1, n_pixels), dtype=np.float32)
    channels(str(model.config.error_mode), one, one, profile=model.error_profile)
    if "denoised" in config.layers:
        check_length(n_pixels, model.config.num_layers - 1)


def check_noise(config: ExtractConfig, spectra: dict[str, SpectraFile]) -> None:
    """Refuse stored noise where the files hold none."""
    if config.noise == "stored":
        for split, files in spectra.items():
            if not files.has_noisy:
                raise ConfigError(
                    f"{files.files[0]}: --noise stored, but the {split} file holds no noisy spectra; use --noise draw"
                )


def check_label_values(
    config: ExtractConfig, spectra: Mapping[str, SpectraFile], known: Mapping[str, Fingerprint]
) -> None:
    """Refuse labels that are needed and not finite in some kept rows, before anything is computed.

    Where probes leave out rows without them, only those that are finite in no row.
    """
    for split, files in spectra.items():
        kept = known[split].kept
        for label in config.need_labels:
            bad = kept[~np.isfinite(files.labels(label)[kept])]
            empty = bad.size == len(kept)
            if bad.size and (config.missing_labels == "fail" or empty):
                raise InputError(
                    f"{files.files[0]}: label {label} is NaN or infinite in {bad.size} of {len(kept)} rows of {split} "
                    f"(first rows: {bad[:5].tolist()}), and it is needed: leave those rows out of the file, mend the "
                    f"label, or take other labels{'' if empty else DROP_THEM}"
                )
