"""The provenance panel holds what a record says, whatever its kind, and never the host."""

from page_fakes import audit_record, ceiling_record
from reports_fakes import fresh, key_of, record, source_of

from cache.records import Record, run_id
from reports.page_provenance import Provenance, provenance_of

RUN = {"command": "python -m probes run", "commit": "abc", "host": "secret-host", "versions": {"numpy": "2"}}


def fields(item: Record, state=fresh) -> dict[str, str]:
    return dict(told_of(item, state).fields)


def told_of(item: Record, state=fresh) -> Provenance:
    (told,) = provenance_of(source_of([item], state=state))
    return told


def test_a_probe_in_full():
    item = record(0.5, run=RUN, flags=("odd",))
    told = fields(item)
    assert told["record"] == item.run_id
    assert told["labels"] == "log_g"
    assert told["features"] == "enc_pre_latent / seg_mean_K8 / forward"
    assert told["head"] == "ridge"
    assert told["params"] == '{"alpha": 0.001}'
    assert told["weights"] == item.result["weights"]
    assert told["command"] == "python -m probes run"
    assert told["versions"] == '{"numpy": "2"}'
    assert told["flags"] == "odd"
    assert told["scores log_g"] == (
        "test R2 0.5000 [0.4700, 0.5300], RMSE 0.707 dex, MAE 0.566 dex; "
        "val R2 0.5100 [0.4700, 0.5300], RMSE 0.700 dex, MAE 0.560 dex; "
        "train R2 0.5500, RMSE 0.671 dex, MAE 0.537 dex"
    )


def test_the_host_is_not_shown():
    assert "secret-host" not in str(told_of(record(run=RUN)))


def test_every_store_with_its_digest_and_state():
    item = record()
    told = told_of(item, lambda key, _: "changed" if key == key_of("val") else "fresh")
    assert told.stale == "stale: 1 of 3 changed"
    stores = dict(told.fields)["stores"].split("; ")
    assert [text.split()[0] for text in stores] == ["train", "val", "test"]
    assert stores[1] == f"val {key_of('val')[:16]} = {item.result['stores'][key_of('val')][:12]}, changed"


def test_failed_records_tell_why():
    told = fields(record(failed="no luck"))
    assert told["status"] == "failed: no luck"
    assert "scores log_g" not in told


def test_other_kinds_are_shown_by_their_own_words():
    audit = fields(audit_record())
    assert audit["features"] == "enc_pre_latent / seg_mean_K8 / forward"
    assert audit["stores"].endswith(f"{'5a' * 8} = {'6b' * 6}, fresh")
    assert fields(ceiling_record([]))["test"].startswith('{"input"')
    spec = {"view": "spectra", "features": ["a", "b"]}
    examples = Record(run_id("examples", spec), "examples", spec, {}, {})
    assert fields(examples)["view"] == "spectra"
    assert told_of(examples).title == "examples"


def test_digests_inside_values_are_shortened_and_long_values_cut():
    spec = {"runs": ["ab" * 32] * 3, "long": ["x" * 9] * 200}
    told = fields(Record(run_id("examples", spec), "examples", spec, {}, {}))
    assert told["runs"] == str(["ab" * 8] * 3).replace("'", '"')
    assert told["long"].endswith("... (2600 characters)")
