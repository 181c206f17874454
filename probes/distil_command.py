"""`python -m probes distil`: whether a small network can say the latents from the noisy flux alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field

from cache.commandline import Verb, say
from cache.errors import ConfigError, UnknownName
from cache.grouping import grouped
from cache.records import Record, read_predictions, read_record, run_id

from .cells import JOIN, arrays_of, requests, with_alpha_on_val
from .checks import check_choices
from .comparable import comparable
from .distil_fits import Distillation, outcomes
from .features import FeaturePart
from .fresh import is_fresh
from .groups import with_all_of
from .left_out import Settled
from .paired import paired_table
from .runner import KIND, run_probe, store_result, unfinished_folder
from .spec import ProbeRequest, check_val, checked_spec
from .splits import Views
from .statistics import Resamples
from .stores import StoreChoice
from .study_settings import StudySettings
from .threads import blas_threads
from .titles import score, title
from .views import noise_level_of

FLUX = "input_flux"
STUDENTS = ("mlp_1", "mlp_2", "ridge", "ols")
"""Heads that learn hundreds of outputs at once."""


class DistilSettings(StudySettings):
    """Let a small network learn stored latents from the noisy flux alone, and probe what it says.

    The network (`--student`) learns on train to say the latents of layer, pooling and direction from the flux, stops on
    val, and is scored once on test: MSE of standardised latents, mean R2 of the latents, cosine. Then the same probe is
    fitted to what it says, to the true latents and to the flux itself, so that the three stand in the tables as rows of
    one test set; their paired differences are printed. The row of the student has head `student` and the flux as its
    features: on test that is all it sees. Its latents saw the error as well. What has a fresh record is not fitted
    again. Stores are those of `extract run --layers input_flux,enc_pre_latent --poolings none,seg_mean_K8`.
    """

    labels: tuple[str, ...] = Field(("log_g",), description="labels of the stores; '+' fits jointly")
    flux_pooling: str = Field(
        "none", description="pooling of the flux that the network sees; none is every pixel"
    )
    student: str = Field("mlp_1", description=f"the head that learns the latents: {', '.join(STUDENTS)}")
    student_params: tuple[str, ...] = Field(
        (), description="name=value of that head; where no alpha is given, ridge has alpha=val"
    )
    device: Literal["cpu", "cuda", "auto"] = Field("cpu", description="where the student's heads are trained")
    refit: bool = Field(default=False, description="learn again even what has a fresh record")


def run(settings: DistilSettings) -> None:
    """Learn what has no fresh record, fit the probes to compare with, and print what came out."""
    stores = settings.stores()
    check_choices(settings.choices())
    # everything is checked and found before anything is learned
    asked = [(one, _twins(one, stores)) for one in _distillations(settings, stores)]
    with blas_threads(settings.threads):
        for one, twins in asked:
            names = _students(one, settings, stores.origin(one.views))
            say(
                f"{one.target.path} from {one.flux.path} by {one.network}: {_latents_told(settings, names[0])}"
            )
            for probe, name, others_of in zip(one.probes, names, twins, strict=True):
                others = [_on_record(twin, views, settings, stores) for twin, views in others_of]
                for line in _probe_told(settings, probe, [name, *others]):
                    say(line)


def _distillations(settings: DistilSettings, stores: StoreChoice) -> Iterator[Distillation]:
    """Every network that is to learn, with its probes; settings and views are checked."""
    if settings.student not in STUDENTS:
        raise UnknownName("student", settings.student, STUDENTS)
    if any(JOIN in layer for layer in settings.layers):
        raise ConfigError(f"{', '.join(settings.layers)}: a student learns one layer; use commas, not '+'")
    flux = FeaturePart(layer=FLUX, pooling=settings.flux_pooling)
    asked = replace(settings.choices(), layers=stores.layers(settings.layers, settings.poolings))
    probes = grouped(requests(asked), lambda probe: probe.features[0])
    networks = requests(
        replace(
            asked,
            layers=(FLUX,),
            poolings=(settings.flux_pooling,),
            directions=("forward",),
            heads=(settings.student,),
            labels=settings.labels[:1],
            params=with_alpha_on_val((settings.student,), settings.student_params),
        )
    )
    settled = Settled()
    for network in networks:
        for target, of_target in probes.items():
            arrays = tuple((part.layer, part.direction, part.pooling) for part in (flux, target))
            views = stores.views(arrays)
            check_val(network, there=bool(views.get("val")), flag="--student-params")
            for probe in of_target:
                check_val(probe, there=bool(views.get("val")))
            known = [settled.request(probe, views, of=arrays) for probe in of_target]
            # the network learns from the stars that its probes do not leave out
            for of_rows in grouped(known, with_all_of).values():
                one = Distillation(
                    flux=flux,
                    target=target,
                    views=views,
                    probes=tuple(of_rows),
                    network=network.head,
                    network_params=network.params,
                    device=settings.device,
                )
                for probe in of_rows:
                    checked_spec(one.student(probe), one.views)
                yield one


def _twins(one: Distillation, stores: StoreChoice) -> list[list[tuple[ProbeRequest, Views]]]:
    """For every probe its twins on the true latents and on the flux, with the views that `probes run` would read.

    They are of the family and the noise level in which flux and latents were found together, though others hold one
    of the two as well. Raises what `StoreChoice.views` and `checked_spec` raise.
    """
    first = one.views["train"][0]
    stores = replace(stores, family=first.family, noise_level=noise_level_of(first))
    found = [
        [(twin, stores.views(arrays_of(twin))) for twin in (probe, one.on_flux(probe))]
        for probe in one.probes
    ]
    for twin, views in (pair for pairs in found for pair in pairs):
        checked_spec(twin, views)
    return found


def _students(one: Distillation, settings: DistilSettings, origin: Mapping[str, Any]) -> list[str]:
    """Run ids of the students of every probe, learned now where one has no fresh record."""
    names = [run_id(KIND, checked_spec(one.student(probe), one.views)) for probe in one.probes]
    if settings.refit or not all(is_fresh(settings.results, name, one.views) for name in names):
        say(f"{one.target.path}: learning from {one.flux.path} by {one.network}")
        about = {**origin, "threads": settings.threads}
        for _, outcome in outcomes(one, about=about):
            store_result(settings.results, outcome)
    return names


def _on_record(request: ProbeRequest, views: Views, settings: DistilSettings, stores: StoreChoice) -> str:
    """Run id of an ordinary probe, fitted now where it has no fresh record."""
    name = run_id(KIND, checked_spec(request, views))
    if not is_fresh(settings.results, name, views):
        about = {**stores.origin(views), "threads": settings.threads}
        outcome = run_probe(request, views, about=about, unfinished=unfinished_folder(settings.results))
        store_result(settings.results, outcome)
    return name


def _latents_told(settings: DistilSettings, name: str) -> str:
    told = read_record(settings.results, name).result["distillation"]
    parts = []
    for measure, label in (("r2", "R2"), ("mse", "MSE"), ("cosine", "cosine")):
        value, (lo, hi) = (told["test"][measure][key] for key in ("value", "interval"))
        parts.append(f"{label} not defined" if lo is None else f"{label} {value:.4f} [{lo:.3f}, {hi:.3f}]")
    left_out = f", {told['n_constant']} constant left out" if told["n_constant"] else ""
    return f"test {', '.join(parts)} ({told['n_latents']} latents{left_out})"


def _probe_told(settings: DistilSettings, probe: ProbeRequest, names: Sequence[str]) -> Iterator[str]:
    """Scores of student, true latents and flux (run ids in this order), and how far the student is from the others."""
    records = [read_record(settings.results, name) for name in names]
    yield f"  {title(probe)}"
    for what, record in zip(("student", "true latents", "flux"), records, strict=True):
        yield f"    {what}: {score(record.result, probe.labels)}"
    yield from _differences(settings, records)


def _differences(settings: DistilSettings, records: Sequence[Record]) -> Iterator[str]:
    names = [record.run_id for record in records]
    scored = [record for record in records if record.result["status"] == "ok"]
    for found in comparable(scored, lambda name: read_predictions(settings.results, name), least=3):
        order = [[record.run_id for record in found.records].index(name) for name in names]
        table = paired_table(Resamples(found.rows.stars), found.rows.y, found.y_hat[:, order])
        for k, other in enumerate(("true latents", "flux")):
            ends = table.intervals[k].as_list()
            yield (
                f"    {found.rows.label}: student minus {other} {table.difference[k]:+.4f} "
                f"[{', '.join('-' if end is None else f'{end:+.3f}' for end in ends)}], p {table.p[k]:.2g}"
            )


VERB = Verb(DistilSettings, run)
