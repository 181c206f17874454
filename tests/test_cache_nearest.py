"""How two provenances differ, which store comes nearest, and `python -m cache why`."""

import json

import pytest
from commands import cache
from hypothesis import given
from hypothesis import strategies as st
from store_fakes import BACKWARD, FORWARD, MEAN, begin_store, edit_header, fill, make_store, provenance

from cache.atomic import publish_json
from cache.errors import ConfigError, Damaged, SchemaVersion
from cache.nearest import field_differences, held_by, nearest, relation
from cache.plan_file import Plan, PlannedStore, read_plan, write_plan
from cache.provenance import differences

CHANGES = {
    "numerics": 2,
    "error_input": "zero",
    "input": "ef" * 32,
    "data_kind": "real",
    "rows": {"selection": "12" * 32},
    "mask": "34" * 32,
    "noise": {"level": 2.0, "draw": 1},
    "precision": "bf16",
    "encoder": {"origin": "random:0"},
}
NOT_ONE_FAMILY = set(CHANGES) - {"input", "rows", "noise"}


def fields(one, two):
    return [difference.field for difference in field_differences(one, two)]


@given(st.sets(st.sampled_from(sorted(CHANGES))))
def test_the_fields_that_were_changed_are_the_fields_that_differ(names):
    changed = provenance(**{name: CHANGES[name] for name in names})
    expected = {
        f"{name}.{leaf}" if isinstance(CHANGES[name], dict) else name
        for name in names
        for leaf in (CHANGES[name] if isinstance(CHANGES[name], dict) else [name])
    }
    assert fields(provenance(), changed) == sorted(expected)
    assert fields(provenance(), changed) == sorted(leaf[0] for leaf in differences(provenance(), changed))
    related = relation(provenance(), changed)
    assert related.same_key == (not names)
    assert related.same_family == (not names & NOT_ONE_FAMILY)


def test_values_are_told_with_their_side_and_digests_short():
    one, two = provenance(), provenance(input="ef" * 32, noise={"level": 2.0})
    assert [d.text("A", "B") for d in field_differences(one, two)] == [
        "input: cdcdcdcdcdcd... in A, efefefefefef... in B",
        "noise.level: 1.0 in A, 2.0 in B",
    ]


def test_arrays_are_told_by_what_is_missing_or_extra():
    (difference,) = field_differences(
        provenance(arrays=(FORWARD, BACKWARD)), provenance(arrays=(FORWARD, MEAN))
    )
    assert difference.text("A", "B") == (
        "arrays: only A has enc_pre_latent/backward/seg_mean_K2 (4); only B has enc_last/forward/global_mean (4)"
    )
    (more,) = field_differences(provenance(), provenance(arrays=(FORWARD, MEAN)))
    assert more.text("A", "B") == "arrays: only B has enc_last/forward/global_mean (4)"
    (wider,) = field_differences(provenance(), provenance(width=8))
    assert wider.text("A", "B") == f"arrays: only A has {FORWARD.path} (4); only B has {FORWARD.path} (8)"


@pytest.mark.parametrize(
    ("changes", "meaning"),
    [
        ({}, "either may stand for the other"),
        ({"arrays": (MEAN,)}, "read together as one view"),
        ({"split": "test", "input": "ef" * 32}, "train, val and test of one comparison"),
        ({"noise": {"draw": 1}}, "train, val and test of one comparison"),
        ({"error_input": "zero"}, "never train on one and test on the other"),
    ],
)
def test_one_sentence_tells_what_the_two_are_good_for(changes, meaning):
    assert meaning in relation(provenance(), provenance(**changes)).meaning


def test_the_nearest_has_the_fewest_fields_then_the_first_name():
    candidates = [
        ("far", provenance(noise={"level": 2.0, "seed": 3})),
        ("z", provenance(noise={"level": 2.0})),
        ("b", provenance(precision="bf16")),
        ("a", provenance("test")),
    ]
    assert nearest(provenance(), candidates).name == "b"
    assert nearest(provenance(), candidates[:2]).name == "z"
    assert nearest(provenance("val"), candidates) is None
    same = nearest(provenance("test"), candidates)
    assert (same.name, same.differences) == ("a", ())
    wider = nearest(provenance(), [("wider", provenance(arrays=(FORWARD, BACKWARD), noise={"level": 2.0}))])
    assert [d.field for d in wider.differences] == ["noise.level"]  # more arrays than wanted do no harm


def test_a_request_is_held_by_stores_of_its_group_together():
    stores = [("b", provenance(arrays=(BACKWARD,))), ("f", provenance(arrays=(FORWARD,)))]
    other = ("m", provenance(arrays=(MEAN,), noise={"draw": 1}))
    both = held_by(provenance(arrays=(FORWARD, BACKWARD)), [*stores, other])
    assert (both.names, both.missing) == (("b", "f"), ())
    assert held_by(provenance(arrays=(FORWARD, MEAN)), [*stores, other]).missing == (MEAN.path,)


def planned(about, **changes):
    plain = {"rows": 10, "path": None, "finished": False, "blocks_left": 3}
    return PlannedStore(provenance=about, **{**plain, **changes})


def test_a_plan_comes_back_as_it_was(tmp_path):
    plan = Plan(
        "python -m extract run --data d",
        {
            "train": (planned(provenance()),),
            "test": (planned(provenance("test"), path=tmp_path, finished=True),),
        },
    )
    write_plan(tmp_path / "plan.json", plan)
    assert read_plan(tmp_path / "plan.json") == plan
    assert json.loads((tmp_path / "plan.json").read_text())["kind"] == "plan"


def test_what_is_no_plan_is_refused(tmp_path):
    path = tmp_path / "plan.json"
    with pytest.raises(ConfigError, match="no store and no plan there"):
        read_plan(path)
    write_plan(path, Plan("made up", {"train": (planned(provenance(schema=99)),)}))
    with pytest.raises(SchemaVersion, match=r"format 99.*plan again: made up"):
        read_plan(path)
    path.write_text(path.read_text().replace("made up", "MADE UP"))
    with pytest.raises(Damaged, match="altered"):
        read_plan(path)
    publish_json(path, {"kind": "selection"})
    with pytest.raises(ConfigError, match="is a 'selection', expected a plan"):
        read_plan(path)


def test_why_of_two_stores(tmp_path, capsys):
    one = make_store(tmp_path, provenance())
    two = make_store(tmp_path, provenance(error_input="zero", arrays=(FORWARD, MEAN)))
    assert cache("why", one, two) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"A  {one}",
        f"B  {two}",
        f"arrays: only B has {MEAN.path} (4)",
        "error_input: 'true' in A, 'zero' in B",
        f"key different, family different: {relation(provenance(), provenance(error_input='zero')).meaning}",
    ]
    assert cache("why", one, one) == 0
    assert "key the same, family the same" in capsys.readouterr().out
    assert cache("why", one, two, "--as-json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["same_key"], told["same_family"]) == (False, False)
    assert told["differences"][1] == {"field": "error_input", "a": "true", "b": "zero"}


def test_a_plan_is_looked_up_where_it_puts_its_stores(tmp_path, capsys, monkeypatch):
    hit = make_store(tmp_path / "features", provenance(arrays=(FORWARD, BACKWARD)))
    path = tmp_path / "plan.json"
    request = {"out": str(tmp_path / "features")}
    write_plan(path, Plan("made up", {"train": (planned(provenance("train")),)}, request))
    monkeypatch.chdir(tmp_path)
    assert cache("why", path) == 0
    assert f"hit: {hit}" in capsys.readouterr().out


def test_why_of_a_plan_tells_hits_and_the_nearest(tmp_path, capsys):
    root = tmp_path / "features"
    hit = make_store(root, provenance(arrays=(FORWARD, BACKWARD)))
    loud = make_store(root, provenance("test", noise={"level": 2.0}))
    begun = begin_store(root, provenance("val"))
    fill(begun, [0])
    old = make_store(root, provenance("test", noise={"level": 3.0}))
    edit_header(old, sealed=True, schema=99)
    path = tmp_path / "plan.json"
    stores = {split: (planned(provenance(split)),) for split in ("train", "val", "test", "odd")}
    write_plan(path, Plan("made up", stores))
    assert cache("why", path, "--root", root) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"odd: 10 rows, {FORWARD.path}",
        "  no hit: no store of this split is there",
        f"test: 10 rows, {FORWARD.path}",
        f"  no hit; nearest: {loud} (finished), which differs in",
        "    noise.level: 1.0 in the request, 2.0 in the store",
        f"  not looked into: {old} (outdated)",
        f"train: 10 rows, {FORWARD.path}",
        f"  hit: {hit}",
        f"val: 10 rows, {FORWARD.path}",
        f"  no hit yet: {begun.path} is unfinished, 1 of 3 blocks",
    ]
    assert cache("why", path, "--root", root, "--as-json") == 0
    by_split = {row["split"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert by_split["train"]["hit"] == [str(hit)]
    assert by_split["test"]["nearest"]["differences"] == [
        {"field": "noise.level", "wanted": 1.0, "found": 2.0}
    ]


def test_why_of_a_plan_and_a_store_or_another_plan(tmp_path, capsys):
    store = make_store(tmp_path, provenance(noise={"level": 2.0}))
    path, other = tmp_path / "plan.json", tmp_path / "other.json"
    write_plan(path, Plan("made up", {"train": (planned(provenance()),)}))
    write_plan(
        other, Plan("made up", {"train": (planned(provenance(precision="bf16")), planned(provenance()))})
    )
    assert cache("why", path, store) == 0
    assert "noise.level: 1.0 in A, 2.0 in B" in capsys.readouterr().out
    assert cache("why", store, other) == 0
    assert "noise.level: 2.0 in A, 1.0 in B" in capsys.readouterr().out
    write_plan(path, Plan("made up", {"val": (planned(provenance("val")),)}))
    assert cache("why", path, other) == 2
    assert "nothing of split 'val' to compare it with" in capsys.readouterr().err


def test_why_says_what_it_needs(tmp_path, capsys):
    assert cache("why") == 2
    assert "A is missing: folder of a store, or a plan file" in capsys.readouterr().err
    assert cache("why", make_store(tmp_path)) == 2
    assert "name another one as B" in capsys.readouterr().err
    assert cache("why", tmp_path / "nothing") == 2
    assert "no store and no plan there" in capsys.readouterr().err
