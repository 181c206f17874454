"""The verbs of `python -m probes`."""

from collections.abc import Callable, Mapping

from cache.commandline import Verb


def _run() -> Verb:
    from .run_command import VERB  # noqa: PLC0415  only the verb used is imported

    return VERB


def _sweep() -> Verb:
    from .sweep_command import VERB  # noqa: PLC0415

    return VERB


def _audit() -> Verb:
    from .audit_command import VERB  # noqa: PLC0415

    return VERB


def _distil() -> Verb:
    from .distil_command import VERB  # noqa: PLC0415

    return VERB


def _predict() -> Verb:
    from .predict_command import VERB  # noqa: PLC0415

    return VERB


def _compare() -> Verb:
    from .compare_command import VERB  # noqa: PLC0415

    return VERB


def _ceiling() -> Verb:
    from .ceiling_command import VERB  # noqa: PLC0415

    return VERB


def _importance() -> Verb:
    from .importance_command import VERB  # noqa: PLC0415

    return VERB


VERBS: Mapping[str, Callable[[], Verb]] = {
    "run": _run,
    "sweep": _sweep,
    "compare": _compare,
    "ceiling": _ceiling,
    "importance": _importance,
    "audit": _audit,
    "distil": _distil,
    "predict": _predict,
}
