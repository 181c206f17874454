"""The verbs of `python -m probes`."""

from collections.abc import Mapping

from cache.commandline import LazyVerb

VERBS: Mapping[str, LazyVerb] = {
    "run": LazyVerb(
        "probes.run_command", "Fit probes on stored features: train on train, choose on val, score test once."
    ),
    "sweep": LazyVerb(
        "probes.sweep_command",
        "Fit every combination of features, heads, labels, sizes and seeds; go on where an earlier sweep stopped.",
    ),
    "compare": LazyVerb(
        "probes.compare_command",
        "Compare records pair by pair on the test rows that they share; tables then judge by paired differences.",
    ),
    "ceiling": LazyVerb(
        "probes.ceiling_command",
        "Tell how much of a label noisy flux can tell at best, and what share of that each probe reaches.",
    ),
    "importance": LazyVerb(
        "probes.importance_command",
        "Find the wavelength segments that fitted probes rest on; one record per probe.",
    ),
    "audit": LazyVerb(
        "probes.audit_command",
        "Ask whether a score comes through the error channel, and say so in plain words.",
    ),
    "distil": LazyVerb(
        "probes.distil_command",
        "Let a small network learn stored latents from the noisy flux alone, and probe what it says.",
    ),
    "predict": LazyVerb(
        "probes.predict_command",
        "Apply the fitted head of a record to stored features, without needing labels.",
    ),
}
