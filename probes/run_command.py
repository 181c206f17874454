"""`python -m probes run`: fit probes on stored features and keep their records."""

import sys

from pydantic import Field

from cache.commandline import Verb
from cache.records import read_record, run_id

from .cells import ALL, arrays_of, requests
from .fresh import is_fresh
from .runner import KIND, run_probe, store_result, unfinished_folder
from .scoring import ProbeOutcome
from .settings import ProbeSettings
from .spec import build_spec
from .splits import Views
from .stores import Arrays
from .threads import blas_threads
from .titles import score, title


class RunSettings(ProbeSettings):
    """Fit probes on stored features: train on train, choose on val, score test once.

    Every combination of layers, directions, poolings, heads and labels is one probe, one record. Join with '+' what
    is to be taken together (--layers enc_last+enc_pre_latent, --labels log_g+T_eff). What has a record made from
    the same stores is not fitted again. For hundreds of probes see `python -m probes sweep`.
    """

    seed: int = Field(0, description="of heads that draw, shuffled labels and the choice of train stars")
    train_size: int | None = Field(None, description="fit on that many train stars only")


def run(settings: RunSettings) -> None:
    """Fit what has no fresh record and print one line per probe."""
    stores = settings.stores()
    size = ALL if settings.train_size is None else settings.train_size
    wanted = list(requests(settings.cells(stores, seeds=(settings.seed,), train_sizes=(size,))))
    views_of: dict[Arrays, Views] = {}
    for request in wanted:
        arrays = arrays_of(request)
        if arrays not in views_of:
            views_of[arrays] = stores.views(arrays)
    for number, request in enumerate(wanted, start=1):
        views = views_of[arrays_of(request)]
        name = run_id(KIND, build_spec(request, views))
        place = f"[{number}/{len(wanted)}] {title(request)}"
        if not settings.refit and is_fresh(settings.results, name, views):
            _say(f"{place}: {score(read_record(settings.results, name).result, request.labels)} (on record)")
            continue
        about = {"encoder": stores.encoder(views), "threads": settings.threads}
        with blas_threads(settings.threads):
            outcome = run_probe(request, views, about=about, unfinished=unfinished_folder(settings.results))
        store_result(settings.results, outcome)
        _say(f"{place}: {score(outcome.result, request.labels)} ({_seconds(outcome):.1f} s)")


def _seconds(outcome: ProbeOutcome) -> float:
    return float(sum(outcome.run["seconds"].values()))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


VERB = Verb(RunSettings, run)
