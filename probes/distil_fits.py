"""One distillation: a network that learns latents from flux, and the probes that read what it says."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cache.runlog import run_log

from .distillation import Distilled, distil
from .distillation_scores import METHOD, LatentScores, latent_scores
from .features import FeaturePart
from .groups import Group, with_all_of
from .samples import load_samples
from .scoring import ProbeOutcome, scored_outcome
from .spec import ProbeRequest
from .splits import Views
from .views import Array

if TYPE_CHECKING:
    from .student import Student  # imports scikit-learn

HEAD = "student"


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """What one network learns and who reads it.

    `flux` is what it sees, `target` what it learns; `views` hold both, of one encoder and the same noise. `probes` are
    requests on the true latents, which the students take over; all leave out the same stars or none, and so does the
    network. `network` and `network_params` are the head that learns.
    """

    flux: FeaturePart
    target: FeaturePart
    views: Views
    probes: tuple[ProbeRequest, ...]
    network: str
    network_params: Mapping[str, Any]
    device: str = "cpu"

    def student(self, probe: ProbeRequest) -> ProbeRequest:
        """The same probe on what the network says."""
        return replace(
            probe,
            features=(self.flux,),
            head=HEAD,
            params={
                "latents": self.target.path,
                "network": self.network,
                "network_params": dict(self.network_params),
                "probe": probe.head,
                "probe_params": dict(probe.params),
                "device": self.device,
            },
        )

    def on_flux(self, probe: ProbeRequest) -> ProbeRequest:
        """The same probe on the flux that the network sees."""
        return replace(probe, features=(self.flux,))


def outcomes(asked: Distillation, *, about: Mapping[str, Any]) -> Iterator[tuple[ProbeRequest, ProbeOutcome]]:
    """Let the network learn once, then fit and score the student of every probe.

    Beside what a probe's outcome holds, `result["distillation"]` has the scores of the latents on test, the arrays
    `distil_*` those of each latent (D,), NaN where it was left out, and the cosine of each test row. Raises ProbeError
    for a label that is absent or not finite, before anything is learned, and for what a head refuses. Views were
    checked before.
    """
    started = time.time()
    students = [asked.student(probe) for probe in asked.probes]
    group = Group(students, asked.views)
    for request in students:
        refused = group.refusal(request)
        if refused is not None:
            raise refused
    basis = group.basis(students[0])
    latents = load_samples(
        asked.views, [asked.target], labels=with_all_of(students[0]), missing=students[0].missing_labels
    )
    Z = {split: sample.X for split, sample in latents.items()}
    network = _made(students[0]).make_network()
    distilled = distil(network, basis.X, Z, stars=group.samples["train"].stars)
    said = distilled.latents(basis.X["test"])
    scores = latent_scores(group.resamples["test"], Z["test"][:, distilled.kept], said, distilled.scaling)
    told, arrays = _told(distilled, scores), _arrays(distilled, scores)
    for request in students:
        samples = group.cell(request, basis)
        head = _made(request).learn_from(distilled)
        train, val = samples["train"], samples.get("val")
        head.fit(
            train.X,
            train.y[:, 0] if len(request.labels) == 1 else train.y,
            X_val=None if val is None else val.X,
            y_val=None if val is None else (val.y[:, 0] if len(request.labels) == 1 else val.y),
        )
        outcome = scored_outcome(
            request, asked.views, samples, head=head, resamples=group.resamples, windows=group.windows
        )
        _, log = run_log(started=started, about=about)
        yield (
            request,
            replace(
                outcome,
                result={**outcome.result, "distillation": told},
                arrays={**outcome.arrays, **arrays},
                run=log,
            ),
        )


def _made(request: ProbeRequest) -> "Student":
    from .student import Student  # noqa: PLC0415  imports scikit-learn

    head = request.make_head()
    assert isinstance(head, Student)
    return head


def _told(distilled: Distilled, scores: LatentScores) -> dict[str, Any]:
    n_kept = int(distilled.kept.sum())
    return {
        "test": scores.to_json(),
        "n_latents": n_kept,
        "n_constant": distilled.kept.size - n_kept,
        "method": METHOD,
    }


def _arrays(distilled: Distilled, scores: LatentScores) -> dict[str, Array]:
    return {
        "distil_mse_by_latent": _spread_out(scores.mse_by_latent, distilled.kept),
        "distil_r2_by_latent": _spread_out(scores.r2_by_latent, distilled.kept),
        "distil_cosine_by_row": scores.cosine_by_row,
    }


def _spread_out(values: Array, kept: Array) -> Array:
    """Values (d,) of the kept latents among all of them, (D,)."""
    every = np.full(kept.size, np.nan)
    every[kept] = values
    return every
