"""The verbs of `python -m extract`."""

from collections.abc import Callable, Mapping

from cache.commandline import Verb


def _run() -> Verb:
    from .run_command import VERB  # noqa: PLC0415  torch is imported only by the verb that needs it

    return VERB


def _plan() -> Verb:
    from .plan_command import VERB  # noqa: PLC0415

    return VERB


def _finalise() -> Verb:
    from .finalise_command import VERB  # noqa: PLC0415

    return VERB


def _mock() -> Verb:
    from .mock.command import VERB  # noqa: PLC0415

    return VERB


def _fisher() -> Verb:
    from .fisher.command import VERB  # noqa: PLC0415

    return VERB


def _examples() -> Verb:
    from .examples_command import VERB  # noqa: PLC0415

    return VERB


def _occlude() -> Verb:
    from .occlude_command import VERB  # noqa: PLC0415

    return VERB


def _pretrain() -> Verb:
    from .training.command import VERB  # noqa: PLC0415

    return VERB


def _finetune() -> Verb:
    from .training.finetune_command import VERB  # noqa: PLC0415

    return VERB


VERBS: Mapping[str, Callable[[], Verb]] = {
    "run": _run,
    "plan": _plan,
    "finalise": _finalise,
    "mock": _mock,
    "fisher": _fisher,
    "examples": _examples,
    "occlude": _occlude,
    "pretrain": _pretrain,
    "finetune": _finetune,
}
