"""`python -m probes run`: fit probes on stored features and keep their records."""

import time
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from cache.commandline import MENDABLE, Verb, say
from cache.errors import MissingLabel
from cache.progress import Told, steps
from cache.records import read_record, run_id
from cache.runlog import run_log

from .cells import ALL, arrays_of, requests
from .checks import check_choices
from .default_controls import accompanied
from .fresh import is_fresh
from .hints import hints
from .left_out import Settled
from .runner import KIND, run_probe, store_result, unfinished_folder
from .scoring import failed_outcome
from .settings import ProbeSettings
from .spec import ProbeRequest, check_request, check_val, checked_spec
from .splits import Views, check_label_names
from .stores import Arrays, StoreChoice
from .threads import blas_threads
from .titles import score, title


class RunSettings(ProbeSettings):
    """Fit probes on stored features: train on train, choose on val, score test once.

    Every combination of layers, directions, poolings, heads and labels is one probe, one record. Join with '+' what
    is to be taken together (--layers enc_last+enc_pre_latent, --labels log_g+T_eff). What has a record made from
    the same stores is not fitted again. Controls are fitted beside them unless --controls says otherwise; what some of
    them lack in stores is named with the command that makes them. For hundreds of probes see `python -m probes sweep`.
    """

    seed: int = Field(0, description="of heads that draw, shuffled labels and the choice of train stars")
    draws: int | None = Field(
        None,
        ge=1,
        description="train on this many stored noise draws (default: all of --selection; without it the first)",
    )
    train_size: int | None = Field(None, ge=1, description="fit on that many train stars only")
    check: bool = Field(
        default=False, description="check what needs no stores (names, numbers, parameters), and stop"
    )


def run(settings: RunSettings) -> int:
    """Fit what has no fresh record and print one line per probe; exit status 2 when any failed."""
    size = ALL if settings.train_size is None else settings.train_size
    check_choices(settings.choices(seeds=(settings.seed,), train_sizes=(size,)), val=settings.val)
    if settings.check:
        return 0
    stores = settings.stores(draws=settings.draws)
    asked = accompanied(settings.cells(stores, seeds=(settings.seed,), train_sizes=(size,)), stores)
    wanted = [(request, batch.stores) for batch in asked.batches for request in requests(batch.choices)]
    views_of: dict[tuple[str | None, Arrays], Views] = {}
    for request, chosen in wanted:
        arrays = arrays_of(request)
        check_request(request)
        if (chosen.family, arrays) not in views_of:
            views_of[chosen.family, arrays] = chosen.views(arrays)
        check_val(request, there="val" in views_of[chosen.family, arrays])
        for view in views_of[chosen.family, arrays]["train"]:
            check_label_names(view, request.labels)
    came_out: list[tuple[Mapping[str, Any], Mapping[str, Any]]] = []
    settled = Settled()
    for number, (asked_for, chosen) in enumerate(wanted, start=1):
        found_at = chosen.family, arrays_of(asked_for)
        views = views_of[found_at]
        request = settled.request(asked_for, views, of=found_at)
        spec = checked_spec(request, views)
        place = f"[{number}/{len(wanted)}] {title(request, control=spec['control'])}"
        with steps(place) as told:
            result, how = _scored(request, run_id(KIND, spec), views, chosen, settings, told)
        came_out.append((spec, result))
        say(f"{place}: {score(result, request.labels)} ({how})")
    for words in asked.missing:
        say(f"control not run: {words}")
    for words in hints(came_out):
        say(words)
    return MENDABLE if any(result["status"] != "ok" for _, result in came_out) else 0


def _scored(
    request: ProbeRequest, name: str, views: Views, chosen: StoreChoice, settings: RunSettings, told: Told
) -> tuple[Mapping[str, Any], str]:
    """The result of one probe, from its fresh record or fitted now, and which of the two in words."""
    if not settings.refit and is_fresh(settings.results, name, views):
        return read_record(settings.results, name).result, "on record"
    about = {**chosen.origin(views), "threads": settings.threads}
    try:
        with blas_threads(settings.threads):
            outcome = run_probe(
                request, views, about=about, unfinished=unfinished_folder(settings.results), told=told
            )
    except MissingLabel as error:  # of this label alone: the others are fitted all the same
        note = run_log(started=time.time(), about=about)[1]
        outcome = failed_outcome(request, views, str(error), run=note)
        store_result(settings.results, outcome)
        return outcome.result, "recorded as failed"
    store_result(settings.results, outcome)
    return outcome.result, f"{sum(outcome.run['seconds'].values()):.1f} s"


VERB = Verb(RunSettings, run)
