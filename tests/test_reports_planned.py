"""Planned contrasts: the headline does not depend on unrelated records, their order, or test; its errors are few."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reports_fakes import RANDOM_FAMILY, fresh, record, source_of
from reports_other_fakes import paired_by, with_predictions

from probes import statistics as pairs
from reports.comparable import comparable_rows
from reports.comparisons import comparisons_of
from reports.contest import beats_clearly
from reports.generate import build_tables
from reports.page_sections import sections_of
from reports.planned import headline_of, holm
from reports.rows import frame_of
from reports.tables import controls_table

N_STARS = 150


def val(item, r2):
    item.result["scores"]["val"]["log_g"]["r2"] = r2
    return item


def kinds():
    """The latent row and a row of each of four controls."""
    return with_predictions(
        val(record(0.5, layer="enc_3"), 0.9),
        record(0.6, layer="input_flux", pooling="none"),
        record(0.45, layer="input_error", pooling="none"),
        record(0.1, control="random_encoder", family=RANDOM_FAMILY),
        record(0.0, head="mean", control="mean_predictor"),
    )


def unrelated(n):
    """Latent rows that val ranks below."""
    return with_predictions(*(val(record(0.3, layer=f"enc_{4 + k}"), 0.2) for k in range(n)))


def compared(records, squared):
    """The comparison of records whose squared residuals are the columns (n_stars, m)."""
    p = pairs.flip_values(squared)
    total = squared.sum(axis=0)
    one, other = np.triu_indices(len(records), k=1)
    difference = (total[other] - total[one]) / len(squared)
    numbers = [(d, d - 0.001, d + 0.001, q) for d, q in zip(difference, pairs.holm(p), strict=True)]
    return paired_by(records, numbers, p=p.tolist())


def centred(rng, m):
    """Scatter of 0.1 about means of exactly 0."""
    values = 0.1 * rng.standard_normal((N_STARS, m))
    return values - values.mean(axis=0)


def first_set(records):
    return comparable_rows(frame_of(records, fresh))[0]


@pytest.mark.parametrize("n_others", [0, 1, 40])
def test_unrelated_records_do_not_change_the_headline(n_others):
    rng = np.random.default_rng(7)
    own = 1 + centred(rng, 5) + [0, -0.036, 0.1, 0.5, 0.7]
    others = 1.2 + centred(rng, n_others)
    alone, records = kinds(), [*kinds(), *unrelated(n_others)]
    expected = headline_of(first_set(alone), comparisons_of([*alone, compared(alone, own)]))
    paired = comparisons_of([*records, compared(records, np.concatenate([own, others], axis=1))])
    rows = first_set(records)
    found = headline_of(rows, paired)
    assert found.latent["layer"] == "enc_3"
    assert list(found.controls) == ["raw noisy flux", "error only", "random encoder", "mean predictor"]
    assert found.family.pairs.keys() == expected.family.pairs.keys()
    flux = found.controls["raw noisy flux"]
    assert beats_clearly(flux, found.latent, found.family)
    if n_others == 40:
        assert not beats_clearly(flux, found.latent, paired)
    for run, pair in found.family.pairs.items():
        other = expected.family.pairs[run]
        assert (pair.holds, pair.n_pairs, pair.difference) == (other.holds, 4, other.difference)
        if other.p_alone > 1e-4:
            assert pair.p == other.p
    text = " ".join(controls_table(frame_of(records, fresh), "log_g", paired).lead)
    assert "is beaten by raw noisy flux" in text
    assert "after Holm over 4 planned contrasts" in text


def test_headlines_err_seldom_where_nothing_differs():
    """400 sets in which all rows are alike: 4.5 % or fewer are expected, 5 % and 2.5 standard errors allowed.

    Val chooses among eight latent rows; that it knows nothing of test is what makes the contrasts planned.
    """
    wrong, n_sets = 0, 400
    records = [*kinds(), *unrelated(7)]
    rows = first_set(records)
    for seed in range(n_sets):
        rng = np.random.default_rng(seed)
        squared = rng.standard_normal((40, 1)) + rng.standard_normal((40, len(records)))
        p = pairs.flip_values(squared**2, n_flips=199)
        val_r2 = dict(zip((r.run_id for r in records), rng.random(len(records)), strict=True))
        drawn = [row | {"val_r2": val_r2[row["run_id"]]} for row in rows]
        # An interval that leaves 0 out for the one or the other leaves the judgement to p.
        signs = rng.choice([-1.0, 1.0], size=p.size)
        numbers = [(s, min(s, 2 * s), max(s, 2 * s), 1.0) for s in signs]
        found = headline_of(drawn, comparisons_of([*records, paired_by(records, numbers, p=p.tolist())]))
        wrong += any(pair.holds or pair.reversed().holds for pair in found.family.pairs.values())
    assert wrong / n_sets <= 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / n_sets)


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(9)))
def test_order_of_records_changes_nothing(order):
    rng = np.random.default_rng(3)
    records = [*kinds(), *unrelated(3)]
    for item in records:
        val(item, 0.4)  # ties everywhere
    every = [*records, compared(records, 1 + 0.1 * rng.standard_normal((N_STARS, 8)))]
    tables = [
        controls_table(frame_of(items, fresh), "log_g", comparisons_of(items))
        for items in (every, [every[k] for k in order])
    ]
    assert tables[0].lead == tables[1].lead
    behind = [{row["run_id"]: row["behind_latent"] for row in table.rows} for table in tables]
    assert behind[0] == behind[1]


@settings(deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=3, max_size=3), st.sampled_from(["latent", "raw noisy flux"]))
def test_test_does_not_choose_among_ties(scores, role):
    layers = ("enc_0", "enc_1", "enc_2")
    features = [{"layer": name} for name in layers]
    if role != "latent":
        features = [{"layer": "input_flux", "params": {"alpha": a}} for a in (1.0, 2.0, 3.0)]
    items = [val(record(score, **names), 0.5) for score, names in zip(scores, features, strict=True)]
    rows = first_set([*items, val(record(0.2, layer="enc_9"), 0.1)])
    found = headline_of(rows)
    row = found.latent if role == "latent" else found.controls[role]
    assert row["run_id"] == min(item.run_id for item in items)


def test_kinds_of_controls():
    flux = {"parts": [{"layer": "input_flux", "direction": "forward", "pooling": "none"}], "segments": None}
    pca = record(0.4, features={**flux, "pca": 16})
    rows = first_set([*kinds(), pca, record(-0.01, control="shuffled_labels")])
    found = headline_of(rows)
    assert found.controls["PCA of the raw noisy flux"]["run_id"] == pca.run_id
    assert "shuffled labels" not in found.controls
    assert headline_of([row for row in rows if row["role"] != "latent"]) is None


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), max_size=8), st.integers(0, 4))
def test_holm_of_a_part_is_that_of_all_with_the_rest_at_1(p, more):
    whole = pairs.holm(np.array([*p, *[1.0] * more]))[: len(p)]
    np.testing.assert_allclose(holm(p, n=len(p) + more), whole)


def test_rows_that_no_comparison_is_of_are_named_and_marked():
    """A comparison of the first five stays on record when three more were fitted and not compared."""
    rng = np.random.default_rng(3)
    old, new = kinds(), unrelated(3)
    about_old = compared(old, 1 + 0.1 * rng.standard_normal((N_STARS, 5)))
    source = source_of([*old, *new, about_old])
    tables = build_tables(source, label="log_g")
    for name in ("controls_log_g", "layers_log_g", "heads_log_g"):
        text = " ".join(tables[name][0].lead)
        assert "the paired comparisons on record leave out 3 of the 8 rows of log_g" in text
        assert "make tables (python -m probes compare) compares them" in text
    behind = {row["run_id"]: row["behind"] for row in tables["controls_log_g"][0].rows}
    assert {item.run_id for item in new} == {run for run, cell in behind.items() if cell == "not compared"}
    (section, *_) = sections_of(source, tables={}, figures=(), gaps=())
    assert any("leave out 3 of the 8 rows" in notice for notice in section.notices)
    whole = source_of([*old, about_old])
    text = " ".join(build_tables(whole, label="log_g")["controls_log_g"][0].lead)
    assert "leave out" not in text
    anew = replace(old[0], files={"predictions": "another digest"})
    text = " ".join(build_tables(source_of([anew, *old[1:], about_old]))["controls_log_g"][0].lead)
    assert "leave out 1 of the 5 rows" in text
