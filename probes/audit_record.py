"""The record of an audit: its spec, its rows, what survives, and the verdict."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .audit_fits import A1, A3, A4_LABEL, A4_RESIDUAL, APPLY, REFIT
from .audit_rows import A2, Scored, full_name, leaves, row_of
from .audit_stores import TRUE, AuditViews
from .audit_verdict import Evidence, Kept, judged, score_of
from .cross_fit import Samples
from .left_out import told_kept
from .registry import head_entry
from .rounding import all_significant, significant
from .spec import ProbeRequest, spec_of
from .statistics import PAIRED_METHOD, Resamples, doubts
from .survival import Survival, survival
from .views import store_digests

Array = np.ndarray[Any, np.dtype[Any]]

KIND = "audit"
METHOD = (
    "version 2: the error is read by ridge with alpha=val beside any other head; residuals cross-fitted by star; R2 of "
    "a residual is relative to its own variance; shares and differences: "
    f"{PAIRED_METHOD} over refit and apply of one audit"
)


def audit_spec(request: ProbeRequest, views: AuditViews, *, n_folds: int) -> dict[str, Any]:
    """What names an audit; `request` asks for one head on one label of one feature set. It reads no features."""
    plain = spec_of(request, views.true)
    kept = (
        "head",
        "params",
        "family",
        "draws",
        "noise_mode",
        "noise_seed",
        "noise_levels",
        "inputs",
        "seed",
        "data_kind",
        "selection",
        "precision",
        "missing_labels",
    )
    return {
        **{name: plain[name] for name in kept if name in plain},
        "probe_version": head_entry(request.head).version,
        "label": request.labels[0],
        "features": request.features[0].to_json(),
        "folds": n_folds,
        "families": {name: of_error["train"][0].family for name, of_error in views.features.items()},
        "stores": {
            name: {
                split: sorted({key for source in sources for view in source[split] for key in view.stores})
                for split in views.true
            }
            for name, sources in _sources(views).items()
        },
        "error_inputs": [name for name in views.features if name != TRUE],
        "method": METHOD,
    }


def store_digests_of(views: AuditViews) -> dict[str, str]:
    """Digest by key of every store that an audit rests on."""
    return store_digests(*(source for sources in _sources(views).values() for source in sources))


def _sources(views: AuditViews) -> dict[str, list[Mapping[str, Any]]]:
    """By error input what is read; the spectra stand with the true error."""
    of_features: dict[str, list[Mapping[str, Any]]] = {n: [found] for n, found in views.features.items()}
    of_features[TRUE] += views.inputs.values()
    return of_features


def audit_result(
    found: Scored, views: AuditViews, *, request: ProbeRequest, samples: Samples, flags: Sequence[str]
) -> dict[str, Any]:
    """Rows, survival and verdict of one label, as the record holds them; `samples` are counted."""
    resamples = Resamples(found.stars)
    rows = [row_of(found, resamples, name) for name in found.hats]
    by_name = {full_name(row): row for row in (*rows, leaves(found))}
    rows.insert(rows.index(by_name[A3]), by_name[A2])
    true = score_of(by_name[A4_LABEL])
    compared = [name for name in found.hats if name.startswith((f"{REFIT} ", f"{APPLY} "))]
    y_hat = np.stack([found.hats[name] for name in compared], axis=1)
    kept = survival(resamples, found.y, found.hats[A4_LABEL], y_hat, with_share=true.above_zero())
    items = [_item(by_name[name], kept, k, name) for k, name in enumerate(compared)]
    by_how = {
        how: [_kept(by_name[f"{how} {item['error_input']}"], item) for item in items if item["how"] == how]
        for how in (REFIT, APPLY)
    }
    evidence = Evidence(
        label=found.label,
        true=true,
        error_alone=score_of(by_name[A1]),
        error_by_ridge=None if found.ridge_row is None else score_of(by_name[found.ridge_row]),
        left=by_name[A2]["variance_share"],
        flux_on_residual=score_of(by_name[A3]),
        latent_on_residual=score_of(by_name[A4_RESIDUAL]),
        refit=by_how[REFIT],
        apply=by_how[APPLY],
    )
    return {
        "status": "ok",
        "error": None,
        "n": {split: sample.n_stars for split, sample in samples.items()},
        "n_rows": {split: len(sample.rows) for split, sample in samples.items()},
        "rows": rows,
        "survival": items,
        "verdict": judged(evidence).to_json(),
        "flags": [*flags, *doubts_of(found)],
        "weights": views.true["train"][0].provenance["encoder"].get("weights"),
        "stores": store_digests_of(views),
        "predictions": {},
        **told_kept(request, views.true, samples),
    }


def doubts_of(found: Scored) -> Iterator[str]:
    """Flags of rows whose intervals are too short, as a probe record has them; by the name of the row."""
    names = [name for name in found.hats if name not in {A3, A4_RESIDUAL}]
    y_hat = np.stack([found.hats[name] for name in names], axis=1)
    return doubts(names, found.y[:, None], y_hat, stars=found.stars)


def audit_arrays(found: Scored, rows: Array) -> dict[str, Array]:
    """What stands beside the record: y, star, row, residual, and `y_hat: NAME` of every row of the record, on test."""
    named = {f"y_hat: {name}": values for name, values in found.hats.items()}
    return {"y": found.y, "star": found.stars, "row": rows, "residual": found.residual, **named}


def _item(row: Mapping[str, Any], kept: Survival, k: int, name: str) -> dict[str, Any]:
    return {
        "error_input": row["error_input"],
        "how": name.partition(" ")[0],
        "r2": row["r2"],
        "interval": row["interval"],
        "difference": significant(kept.difference[k]),
        "difference_interval": all_significant(kept.difference_intervals[k].as_list()),
        "p": significant(kept.p[k]),
        "p_holm": significant(kept.p_holm[k]),
        "share": None if kept.share is None else significant(kept.share[k]),
        "share_interval": None if kept.share is None else all_significant(kept.share_intervals[k].as_list()),
    }


def _kept(row: Mapping[str, Any], item: Mapping[str, Any]) -> Kept:
    lo, hi = item["share_interval"] or (None, None)
    return Kept(
        error_input=item["error_input"],
        score=score_of(row),
        difference_hi=item["difference_interval"][1],
        share=item["share"],
        share_lo=lo,
        share_hi=hi,
    )
