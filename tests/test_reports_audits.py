"""What audits on record say of a row, in tables and on the page."""

import pytest
from page_fakes import audit_record, page_of
from reports_fakes import key_of, record, source_of

from reports.audits import audit_of, current_audits, error_alone, said_by
from reports.comparable import comparable_rows
from reports.generate import build_tables
from reports.page_answers import certainty_answer, field_of
from reports.page_audit import shortcut_answer

ASKS = "make audit asks whether it did"


def lead(*records, **changed):
    """The sentences above the controls table."""
    (table,) = build_tables(source_of(records, **changed))["controls_log_g"]
    return " ".join(table.lead)


def features(**changed):
    parts = [{"layer": "enc_pre_latent", "direction": "forward", "pooling": "seg_mean_K8"}]
    return {"parts": parts, "pca": None, "segments": None, **changed}


def latent_and_error():
    return record(0.5), record(0.9, layer="input_error", pooling="none")


def test_the_verdict_says_what_the_audit_on_record_found():
    told = lead(*latent_and_error(), audit_record("no"))
    assert "through the error channel. The audit of that row says: 12 % [8, 16] of it survives." in told
    assert ASKS not in told
    assert ASKS in lead(*latent_and_error())
    assert ASKS not in page_of([*latent_and_error(), audit_record()])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"head": "ols"}, "enc_pre_latent / seg_mean_K8 / forward / ols"),
        (
            {"family": "ff" * 32},
            "enc_pre_latent / seg_mean_K8 / forward / ridge, another encoder or input",
        ),
    ],
)
def test_an_audit_of_another_row_says_of_what_it_is(changed, words):
    told = lead(*latent_and_error(), audit_record(**changed))
    assert f"The nearest audit on record ({words}) says: 12 % [8, 16] of it survives." in told


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"draws": {"train": [0, 1, 2, 3], "val": [0], "test": [0]}}, "trained on noise draw 0"),
        ({"train_size": 500}, "on all of train, not 500 stars"),
        ({"features": features(pca=64)}, "on all columns, not PCA 64"),
        ({"features": features(segments=[7])}, "on all segments, not [7]"),
        ({"labels": ["log_g", "T_eff"]}, "fitted alone, not with T_eff"),
        ({"params": {"alpha": 0.001, "seed": 5}, "seed": 5}, "seed 0"),
        ({"cross": ["error-input"]}, "tested with the error input of train"),
    ],
)
def test_a_row_that_was_never_audited_is_acquitted_by_no_other(changed, words):
    if "labels" in changed:
        row, changed = record({"log_g": 0.5, "T_eff": 0.9}), {}
    else:
        row = record(0.5, **changed)
    audit = audit_record(
        "no",
        draws={split: [0] for split in ("train", "val", "test")},
        params={"alpha": 0.001, **({"seed": 0} if "params" in changed else {})},
        seed=0,
    )
    told = lead(row, latent_and_error()[1], audit)
    assert (
        f"The nearest audit on record (enc_pre_latent / seg_mean_K8 / forward / ridge, {words}) says" in told
    )
    source = source_of([row, audit])
    answer = shortcut_answer(source, field_of(source.frame, "log_g"))
    assert (answer.value, answer.tone) == (f"no (audited: {words})", "unclear")


def test_the_seed_of_a_head_that_takes_none_parts_no_audit():
    told = lead(record(0.5, seed=5), latent_and_error()[1], audit_record("no", seed=0))
    assert "The audit of that row says" in told


@pytest.mark.parametrize(
    "changed",
    [
        {"label": "T_eff"},
        {"data_kind": "real"},
        {"noise_levels": dict.fromkeys(("train", "val", "test"), 0.5)},
        {"predictions": {"gone": "digest"}},
    ],
)
def test_audits_of_other_stars_and_stale_ones_say_nothing(changed):
    told = lead(*latent_and_error(), audit_record(**changed))
    assert ASKS in told
    assert "audit of that row" not in told
    told = lead(record(0.5), audit_record(**changed))
    assert "Not run: raw noisy flux, error only," in told


@pytest.mark.parametrize(("of_audit", "of_row"), [(499, 500), (500, 499)])
def test_an_audit_of_stars_that_have_the_label_says_nothing_of_a_row_on_all_nor_the_other_way_round(
    of_audit, of_row
):
    audit, rows = audit_record(), latent_and_error()
    for item in rows:
        item.result["n_rows"]["test"] = of_row
    audit.result["n_rows"] = {"test": of_audit}
    assert ASKS in lead(*rows, audit)
    audit.result["n_rows"] = {"test": of_row}
    assert "The audit of that row says" in lead(*rows, audit)


def test_an_audit_fitted_to_fewer_train_stars_is_of_other_train_stars():
    audit, rows = audit_record(), latent_and_error()
    n_rows = rows[0].result["n_rows"]
    audit.result["n_rows"] = {**n_rows, "train": n_rows["train"] - 1}
    assert "other train stars" in lead(*rows, audit)


def test_an_audit_of_another_noise_seed_says_nothing():
    drawn = {"noise_mode": "draw"}
    rows = [record(0.5, **drawn), record(0.9, layer="input_error", pooling="none", **drawn)]
    assert "The audit of that row says" in lead(*rows, audit_record(**drawn))
    assert ASKS in lead(*rows, audit_record(**drawn, noise_seed=7))


def test_the_audit_nearest_to_a_row_answers():
    far, near = audit_record("no", layer="enc_last"), audit_record("yes")
    source = source_of([record(0.5), far, near])
    ((row,),) = comparable_rows(source.frame)
    audits = current_audits(source, "log_g")
    assert audit_of(audits, row) == near
    assert audit_of([], row) is None
    assert said_by(near, row) == "The audit of that row says: 12 % [8, 16] of it survives."


def test_the_error_alone_of_an_audit_is_on_record():
    told = lead(record(0.5), audit_record())
    assert "Not run: raw noisy flux, random encoder, shuffled labels; without them" in told
    assert "LAYER=input_error" not in told
    assert (
        "The error alone is on record in the audit of enc_pre_latent / seg_mean_K8 / forward / ridge (A1): R2 0.900 "
        "[0.880, 0.920]. It says: 12 % [8, 16] of it survives."
    ) in told
    source = source_of([record(0.5), audit_record()])
    answer = certainty_answer(
        field_of(source.frame, "log_g"), source.paired, audits=current_audits(source, "log_g")
    )
    assert any(text.startswith("Not on record: raw noisy flux, random encoder,") for text in answer.sentences)
    assert "The error alone, by the audit on record (A1): R2 0.900 [0.880, 0.920]." in answer.sentences
    page = page_of([record(0.5), audit_record()])
    assert "error only" not in page


def test_without_it_the_command_that_fits_it_is_named():
    command = "make probe LAYER=input_error POOL=none LABEL=log_g"
    for records in ([record(0.5)], [record(0.5), without_error_alone(audit_record())]):
        assert f"error only by itself: {command}" in lead(*records)
        source = source_of(records)
        answer = certainty_answer(
            field_of(source.frame, "log_g"), source.paired, audits=current_audits(source, "log_g")
        )
        assert any(command in text for text in answer.sentences)
    told = lead(record(0.5), record(0.1, layer="input_error"))
    assert "Not run" in told
    assert command not in told


def without_error_alone(item):
    item.result["rows"] = [row for row in item.result["rows"] if row["name"] != "A1"]
    return item


def test_the_error_alone_is_what_any_head_found_of_it():
    """LightGBM finds nothing in the error, ridge nearly all; another audit by ridge alone finds less."""
    weak = audit_record("no", head="lightgbm")
    (row,) = weak.result["rows"]
    weak.result["rows"] = [
        {**row, "r2": -0.124, "interval": [-0.164, -0.085]},
        {**row, "name": "A1 ridge", "r2": 0.928, "interval": [0.92, 0.935]},
    ]
    for audits in ((weak, audit_record("no")), (audit_record("no"), weak)):
        told = lead(record(0.5), *audits)
        assert "forward / lightgbm (A1 ridge): R2 0.928 [0.920, 0.935]" in told
        source = source_of([record(0.5), *audits])
        answer = certainty_answer(
            field_of(source.frame, "log_g"), source.paired, audits=current_audits(source, "log_g")
        )
        assert any("on record (A1 ridge): R2 0.928" in text for text in answer.sentences)


def test_a_stale_store_makes_an_audit_no_answer():
    stale = {"5a" * 32: "missing", key_of("val"): "fresh"}
    source = source_of([record(0.5), audit_record()], state=lambda key, _: stale.get(key, "fresh"))
    assert current_audits(source, "log_g") == []
    assert error_alone([], comparable_rows(source.frame)[0]) is None
