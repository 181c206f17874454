import numpy as np
import pytest
from store_fakes import (
    BACKWARD,
    FORWARD,
    MEAN,
    begin_store,
    edit_header,
    fill,
    flip_byte,
    make_store,
    provenance,
    values_of,
)

from cache import Want, find
from cache.arrays import ArrayName
from cache.commits import commit_path
from cache.errors import ConfigError, Damaged, Incomplete, NotExtracted, SchemaVersion, UnknownName
from cache.layer_names import canonical_layers
from cache.provenance import differences, family, group, store_key
from cache.store_folders import store_paths

LAYER, POOLING = FORWARD.layer, FORWARD.pooling
PLAIN = ((LAYER, "forward", POOLING),)


def want(*arrays, **narrowed):
    return Want(arrays=arrays or PLAIN, **narrowed)


def test_one_store_meets_the_request(tmp_path):
    path = make_store(tmp_path)
    view = find(str(tmp_path), "train", want())
    np.testing.assert_array_equal(view.features(LAYER, POOLING), values_of(FORWARD))
    assert (view.arrays, view.layers, view.split) == ((FORWARD,), (LAYER,), "train")
    assert view.family == family(provenance())
    assert view.provenance == provenance()
    assert list(view.stores) == [store_key(provenance())]
    assert view.rows.tolist() == list(range(10))
    assert view.stars[0] == 1000
    assert view.label_names == ("log_g", "mag")
    assert view.labels("log_g")[0] == 1
    assert view.about["encoder"] == "tiny"
    assert path.name == store_key(provenance())[:16]


def test_arrays_of_several_stores_are_joined(tmp_path):
    make_store(tmp_path)
    make_store(tmp_path, provenance(arrays=(BACKWARD,)), block_rows=10)
    make_store(tmp_path, provenance(arrays=(MEAN,)), block_rows=3)
    both = find(tmp_path, "train", want((LAYER, "concat", POOLING), (MEAN.layer, "forward", MEAN.pooling)))
    joined = np.hstack([values_of(FORWARD), values_of(BACKWARD)])
    np.testing.assert_array_equal(both.features(LAYER, POOLING, "concat"), joined)
    np.testing.assert_array_equal(both.features(MEAN.layer, MEAN.pooling), values_of(MEAN))
    assert len(both.stores) == 3
    assert len(both.coordinates(LAYER, POOLING, "concat")["wave_lo"]) == 8
    assert "wave_lo" not in both.coordinates(LAYER, POOLING, "mean")
    for read in (both.features, both.coordinates):
        with pytest.raises(NotExtracted, match=r"the view holds .* not 'enc_0/forward/none'"):
            read("enc_0", "none")
        with pytest.raises(UnknownName, match="unknown direction 'left'"):
            read(LAYER, POOLING, "left")


def test_nothing_there_names_the_command(tmp_path):
    message = (
        r"no features of split 'train' under .* layers enc_pre_latent, poolings seg_mean_K2, directions "
        r"forward,backward, draw 0, noise level 2\.0.*python -m extract run --data FOLDER --checkpoint X "
        r"--config-model X\.yaml --layers enc_pre_latent --poolings seg_mean_K2 --directions forward,backward "
        r"--noise-level 2\.0 --out "
    )
    with pytest.raises(NotExtracted, match=message):
        find(tmp_path, "train", want((LAYER, "mean", POOLING), noise_level=2.0))


@pytest.mark.parametrize(
    ("layer", "pooling", "message"),
    [
        ("enc_pre_laten", POOLING, r"unknown layer 'enc_pre_laten'; known: enc_<number>, .*enc_pre_latent"),
        ("dec_inputs", POOLING, "unknown layer 'dec_inputs'"),
        (LAYER, "seg_mean_K", r"unknown pooling 'seg_mean_K'; known: none, .*seg_mean_K<number>"),
        (LAYER, "seg_mean_K8K8", "unknown pooling"),
    ],
)
def test_a_typing_error_is_no_missing_store(tmp_path, layer, pooling, message):
    make_store(tmp_path)
    with pytest.raises(UnknownName, match=message):
        find(tmp_path, "train", want((layer, "forward", pooling)))


@pytest.mark.parametrize(("alias", "array"), [("pool_2", FORWARD), ("enc_3", MEAN), ("dec_input", MEAN)])
def test_a_layer_is_found_by_its_other_names_in_the_stored_network(tmp_path, alias, array):
    make_store(tmp_path, provenance(arrays=(FORWARD, MEAN)))
    view = find(tmp_path, "train", want((alias, "forward", array.pooling)))
    assert view.layers == (array.layer,)
    np.testing.assert_array_equal(view.features(alias, array.pooling), values_of(array))
    assert set(view.coordinates(alias, array.pooling)) == set(view.coordinates(array.layer, array.pooling))
    wanted = want((alias, "forward", array.pooling))
    assert canonical_layers(tmp_path, "train", wanted, (alias, "enc_0")) == (array.layer, "enc_0")
    with pytest.raises(NotExtracted, match=f"for layers {alias}, "):
        find(tmp_path, "test", wanted)


def test_another_name_that_means_two_layers_is_refused(tmp_path):
    """enc_3 is the last block of 3 layers and one of many of 9."""
    enc_3 = ArrayName("enc_3", "forward", MEAN.pooling)
    deep = {"encoder": {"config": {"num_layers": 9}, "weights": "77" * 32}}
    make_store(tmp_path, provenance(arrays=(MEAN,)))
    wanted = want(("enc_3", "forward", MEAN.pooling))
    make_store(tmp_path, provenance(arrays=(MEAN,), **deep))
    assert canonical_layers(tmp_path, "train", wanted, ("enc_3",)) == ("enc_last",)
    deeper = provenance(arrays=(enc_3,), **deep)
    make_store(tmp_path, deeper)
    with pytest.raises(ConfigError, match="layer 'enc_3' is enc_3 in one and enc_last in another"):
        canonical_layers(tmp_path, "train", wanted, ("enc_3",))
    narrowed = want(("enc_3", "forward", MEAN.pooling), family=family(deeper))
    assert canonical_layers(tmp_path, "train", narrowed, ("enc_3",)) == ("enc_3",)
    assert find(tmp_path, "train", narrowed).arrays == (enc_3,)


def test_half_of_a_request_is_said_to_be_there(tmp_path):
    make_store(tmp_path)
    with pytest.raises(NotExtracted, match=r"only some are there: enc_pre_latent/forward/seg_mean_K2\)"):
        find(tmp_path, "train", want((LAYER, "concat", POOLING)))
    with pytest.raises(NotExtracted, match="no features of split 'test'"):
        find(tmp_path, "test", want())


def test_what_is_missing_is_extracted_by_the_command_that_made_its_family(tmp_path):
    data, root = tmp_path / "my data", tmp_path / "features"
    (data / "test").mkdir(parents=True)
    made = f"python -m extract run --data '{data}' --split train --layers enc_0 --seed 3 --selection s.json"
    writer = fill(begin_store(root))
    writer.record_run("2026-01-01T00-00-00Z", {"command": f"{made} --out {root}"})
    kept = f"python -m extract run --data '{data}' "
    asked = f"--layers {LAYER} --poolings {POOLING} --directions backward --out {root}"
    backward = (LAYER, "backward", POOLING)
    told = {
        ("train", ""): f"{kept}--split train --seed 3 {asked}",
        ("test", ""): f"{kept}--seed 3 {asked}",  # of all splits: some requests need train
        ("val", ""): "--data FOLDER --checkpoint X",  # the folder has none
        ("train", "zzz"): "--data FOLDER --checkpoint X",
    }
    for (split, of_family), command in told.items():
        with pytest.raises(NotExtracted) as caught:
            find(root, split, want(backward, family=of_family or None))
        assert command in str(caught.value)
    make_store(root, provenance(precision="bf16"))
    with pytest.raises(NotExtracted, match="--data FOLDER"):  # of which family is not said
        find(root, "train", want(backward))
    with pytest.raises(NotExtracted, match=r"--made-up .*--directions backward --out"):
        find(root, "train", want(backward, family=family(provenance(precision="bf16"))))
    writer.record_run("2026-01-02T00-00-00Z", {"command": f"python -m extract run --train f.h5 --out {root}"})
    with pytest.raises(NotExtracted, match="--data FOLDER"):  # the files of test are not told
        find(root, "test", want(backward, family=family(provenance())))


def test_what_narrows_a_request_to_nothing_is_told_with_what_there_is(tmp_path):
    make_store(tmp_path)
    told = rf"what is stored of them has family {family(provenance())[:12]}; draw 0; noise level 1\.0"
    for narrowed in ({"family": "zzz"}, {"noise_level": 0.5}):
        with pytest.raises(NotExtracted, match=told):
            find(tmp_path, "train", want(**narrowed))
    with pytest.raises(NotExtracted, match=r"\(there is no such folder\)"):
        find(tmp_path / "featurs", "train", want())


@pytest.mark.parametrize(
    ("change", "told", "narrowed"),
    [
        ({"noise": {"level": 0.5}}, r"noise\.level: (1\.0 / 0\.5|0\.5 / 1\.0)", {"noise_level": 0.5}),
        ({"noise": {"seed": 7}}, r"noise\.seed: (0 / 7|7 / 0)", "family"),
        ({"input": "77" * 32}, "input: '", {"input": "7777"}),
        ({"encoder": {"weights": "77" * 32}}, r"encoder\.weights: '", "family"),
        ({"mask": "77" * 32}, r"mask: (None / '77|'7.* / None)", "family"),
        ({"error_input": "zero"}, r"error_input: ('true' / 'zero'|'zero' / 'true')", "family"),
        ({"rows": {"n": 10, "selection": "77"}}, r"rows\.selection: ('all' / '77'|'77' / 'all')", None),
    ],
)
def test_an_ambiguous_request_lists_what_differs_and_can_be_narrowed(tmp_path, change, told, narrowed):
    make_store(tmp_path)
    other = provenance(**change)
    make_store(tmp_path, other)
    with pytest.raises(ConfigError, match=rf"several feature stores(?s:.*)differs in {told}") as caught:
        find(tmp_path, "train", want())
    words = str(caught.value)
    assert ("--family" in words) == (narrowed == "family"), "only what helps is proposed"
    assert ("--noise-level" in words) == ("noise_level" in (narrowed or {}))
    assert ("was edited since" in words) == ("input" in (narrowed or {}))
    assert ("--selection FILE" in words) == (narrowed is not None)
    assert all(path.name in words for path in store_paths(tmp_path, "train"))
    if narrowed == "family":
        narrowed = {"family": family(other)[:12]}
    if narrowed is not None:
        assert find(tmp_path, "train", want(**narrowed)).provenance == other


def test_a_draw_is_chosen_by_number_and_noise_that_is_not_drawn_has_none(tmp_path):
    make_store(tmp_path)
    second = provenance(noise={"draw": 1})
    make_store(tmp_path, second)
    assert find(tmp_path, "train", want()).provenance["noise"]["draw"] == 0
    assert find(tmp_path, "train", want(draw=1)).provenance == second
    with pytest.raises(NotExtracted, match=r"draw 2 \(.* draw 0, 1; noise level 1\.0\)\. Extract.*--draws 3"):
        find(tmp_path, "train", want(draw=2))
    with pytest.raises(ConfigError, match=r"noise\.draw"):
        find(tmp_path, "train", want(draw=None))
    clean = provenance("test", noise={"mode": "none", "seed": None, "draw": None, "noise_version": None})
    make_store(tmp_path, clean)
    assert find(tmp_path, "test", want(draw=0)).provenance == clean


def test_a_finished_store_is_preferred_and_an_unfinished_one_is_incomplete(tmp_path):
    wide = provenance(arrays=(FORWARD, MEAN))
    fill(begin_store(tmp_path, wide), [0])
    with pytest.raises(Incomplete, match=r"2 of 3 blocks"):
        find(tmp_path, "train", want())
    make_store(tmp_path)
    view = find(tmp_path, "train", want())
    assert list(view.stores) == [store_key(provenance())]
    with pytest.raises(Incomplete, match=store_key(wide)[:16]):
        find(tmp_path, "train", want(*PLAIN, (MEAN.layer, "forward", MEAN.pooling)))


def test_damage_is_never_passed_over(tmp_path):
    path = make_store(tmp_path)
    flip_byte(commit_path(path, 0), 5)
    with pytest.raises(Damaged, match=r"000000\.json"):
        find(tmp_path, "train", want())


def test_a_store_of_another_format_matters_only_when_nothing_else_will_do(tmp_path):
    old = make_store(tmp_path, provenance(arrays=(MEAN,)))
    edit_header(old, sealed=True, schema=999)
    with pytest.raises(SchemaVersion, match=r"format 999.*extract again"):
        find(tmp_path, "train", want())
    make_store(tmp_path)
    assert find(tmp_path, "train", want()).arrays == (FORWARD,)


def test_only_folders_named_by_a_key_are_stores(tmp_path):
    path = make_store(tmp_path)
    for name in (".creating-x", "notes"):
        (path.parent / name).mkdir()
        (path.parent / name / "zarr.json").write_text("{}")
    (path.parent / ("0" * 16)).mkdir()
    assert list(store_paths(tmp_path, "train")) == [path]


# Key, family and group.


def test_the_key_needs_exactly_its_fields():
    with pytest.raises(ValueError, match=r"at odds: \['batch_size'\]"):
        store_key({**provenance(), "batch_size": 3})
    short = provenance()
    del short["mask"]
    with pytest.raises(ValueError, match=r"at odds: \['mask'\]"):
        store_key(short)


OTHER_FAMILY = [
    {"numerics": 2},
    {"encoder": {"weights": "77" * 32}},
    {"encoder": {"config": {"num_layers": 4}}},
    {"encoder": {"origin": "random:0"}},
    {"encoder": {"profile": "aa"}},
    {"error_input": "zero"},
    {"mask": "aa"},
    {"noise": {"seed": 1}},
    {"noise": {"mode": "stored"}},
    {"noise": {"noise_version": 2}},
    {"precision": "tf32"},
    {"data_kind": "real"},
]
SAME_FAMILY = [
    {"split": "val"},
    {"input": "77" * 32},
    {"rows": {"n": 9}},
    {"rows": {"selection": "aa"}},
    {"noise": {"draw": 1}},
    {"noise": {"level": 0.5}},
    {"arrays": (MEAN,)},
]


@pytest.mark.parametrize("change", OTHER_FAMILY + SAME_FAMILY)
def test_every_field_changes_the_key_and_some_the_family(change):
    one, other = provenance(), provenance(**change)
    assert store_key(one) != store_key(other)
    assert (family(one) == family(other)) == (change in SAME_FAMILY)
    assert (group(one) == group(other)) == ("arrays" in change)
    assert [field.split(".")[0] for field, _, _ in differences(one, other)] == list(change)


def test_differences_are_leaf_by_leaf():
    found = {"a": {"b": 1, "c": 2}, "d": [1]}
    wanted = {"a": {"b": 1, "c": 3}, "d": [2], "e": 0}
    assert list(differences(found, wanted)) == [("a.c", 2, 3), ("d", [1], [2]), ("e", None, 0)]
    assert list(differences(found, found)) == []


@pytest.mark.parametrize(("folder", "name"), [("test", None), ("train", "0" * 16)])
def test_a_renamed_or_moved_store_is_refused(tmp_path, folder, name):
    path = make_store(tmp_path)
    moved = tmp_path / folder / (name or path.name)
    moved.parent.mkdir(exist_ok=True)
    path.rename(moved)
    with pytest.raises(Damaged, match="of split 'train', so it was renamed or moved"):
        find(tmp_path, folder, want())


@pytest.mark.parametrize("array", ["enc_0", ("enc_0", "forward")])
def test_a_want_names_layer_direction_and_pooling(array):
    with pytest.raises(ConfigError, match=r"is no \(layer, direction, pooling\)"):
        Want(arrays=(array,))
