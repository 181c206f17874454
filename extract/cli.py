"""The verbs of `python -m extract`."""

from collections.abc import Mapping

from cache.commandline import LazyVerb

VERBS: Mapping[str, LazyVerb] = {
    "run": LazyVerb("extract.run_command", "Run the frozen encoder over spectra and store pooled features."),
    "plan": LazyVerb(
        "extract.plan_command",
        "Check everything, say what an extraction would write, and write the plan of it to a file.",
    ),
    "finalise": LazyVerb(
        "extract.finalise_command",
        "Say which row blocks of an extraction are missing and which commands compute them; compute nothing.",
    ),
    "mock": LazyVerb("extract.mock.command", "Write a mock survey of noisy stellar spectra as HDF5 files."),
    "fisher": LazyVerb(
        "extract.fisher.command",
        "Write per-star Fisher matrices of the labels and the flux scale: what noisy flux can tell at all.",
    ),
    "examples": LazyVerb(
        "extract.examples_command",
        "Keep a few test spectra, clean, noisy and denoised, in a record for figures.",
    ),
    "occlude": LazyVerb(
        "extract.occlude_command",
        "Cover the noisy flux window by window and keep how much every pooled feature changes.",
    ),
    "pretrain": LazyVerb(
        "extract.training.command", "Pretrain a blind-spot network to denoise mock spectra."
    ),
    "finetune": LazyVerb(
        "extract.training.finetune_command",
        "Train encoder, pooling and head end to end, the encoder frozen or fine-tuned.",
    ),
}
