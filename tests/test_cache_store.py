"""What the reader refuses: every kind of damage is named, never returned."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from make_store_v1 import ABOUT, BLOCK_ROWS, N_ROWS, build, expected
from store_fakes import (
    BACKWARD,
    FORWARD,
    begin_store,
    edit_header,
    edit_sealed,
    fill,
    flip_byte,
    make_store,
    provenance,
    row_table,
    values_of,
)

from cache.arrays import ArrayName
from cache.cli import VERBS
from cache.commandline import main
from cache.commits import commit_path
from cache.errors import ConfigError, Damaged, Incomplete, NotExtracted, SchemaVersion, Stale, UnknownName
from cache.header import chunk_path, read_header, rebuild_command
from cache.inventory import look
from cache.store import FeatureStore

STORE_V1 = Path(__file__).parent / "data" / "store_v1"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("made"), provenance(arrays=(FORWARD, BACKWARD)))


@pytest.fixture
def store(tmp_path, made):
    """A copy to be damaged."""
    return Path(shutil.copytree(made, tmp_path / "train" / made.name))


def read_all(path):
    store = FeatureStore.open(path)
    return [store.features(array.layer, array.pooling, array.direction) for array in store.arrays]


# A byte of the values, of the crc behind them, of either end.
@pytest.mark.parametrize("position", [0, 37, -5, -4, -1])
def test_a_flipped_byte_in_a_chunk_is_found(store, position):
    chunk = chunk_path(store, FORWARD, 1)
    flip_byte(chunk, position)
    with pytest.raises(Damaged, match=r"seg_mean_K2.*(block 1|c/1/0)"):
        read_all(store)
    with pytest.raises(Damaged, match="seg_mean_K2"):
        FeatureStore.open(store).verify()


def test_a_deleted_chunk_is_found_on_opening(store):
    chunk_path(store, BACKWARD, 2).unlink()
    with pytest.raises(
        Damaged, match=r"backward/seg_mean_K2/features/c/2/0: unreadable although .*No such file"
    ):
        FeatureStore.open(store)


@pytest.mark.parametrize("size", [0, 3, 20, 67])
def test_a_truncated_chunk_is_found_on_opening(store, size):
    chunk = chunk_path(store, FORWARD, 0)
    assert chunk.stat().st_size == 68
    chunk.write_bytes(chunk.read_bytes()[:size])
    with pytest.raises(Damaged, match=r"c/0/0: is not the committed file \(size .*cache repair .*--made-up"):
        FeatureStore.open(store)


def test_swapped_chunks_are_found_on_opening(store):
    one, other = chunk_path(store, FORWARD, 0), chunk_path(store, FORWARD, 1)
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    with pytest.raises(Damaged, match="c/0/0: is not the committed file"):
        FeatureStore.open(store)


def test_a_chunk_that_vanishes_after_opening_is_never_read_as_nan(store):
    opened = FeatureStore.open(store)
    chunk_path(store, FORWARD, 1).unlink()
    with pytest.raises(Damaged, match="c/1/0: unreadable although its block was committed"):
        opened.features(FORWARD.layer, FORWARD.pooling)


@pytest.mark.parametrize(
    "name",
    [
        "labels/log_g/c/0",
        "labels/log_g/zarr.json",
        "rows/star/c/0",
        "rows/id/c/0",
        f"{FORWARD.path}/wave_lo/c/0",
        f"{FORWARD.path}/features/zarr.json",
        f"{FORWARD.path}/zarr.json",
    ],
)
def test_any_edited_file_beside_the_features_is_found(store, name):
    flip_byte(store / name)
    with pytest.raises(Damaged, match=rf"{store.name}: its metadata, rows, labels.*--made-up"):
        FeatureStore.open(store)


def test_a_lost_or_added_file_is_found(store):
    lost = store / "labels/log_g/c/0"
    content = lost.read_bytes()
    lost.unlink()
    with pytest.raises(Damaged, match="labels"):
        FeatureStore.open(store)
    lost.write_bytes(content)
    FeatureStore.open(store)
    (store / "labels/extra").write_text("")
    with pytest.raises(Damaged, match="labels"):
        FeatureStore.open(store)


def test_edited_headers_are_refused(store):
    original = (store / "zarr.json").read_bytes()
    edit_header(store, sealed=False, rows=9)
    with pytest.raises(Damaged, match=r"zarr\.json: content has digest .*altered"):
        FeatureStore.open(store)
    (store / "zarr.json").write_bytes(original)
    edit_header(store, sealed=True, provenance=provenance(arrays=(FORWARD, BACKWARD), precision="tf32"))
    with pytest.raises(Damaged, match="key or family does not follow from the provenance"):
        FeatureStore.open(store)
    for unreadable in (b"", b"{", b"[]", b'{"attributes": {}}', b'{"attributes": {"blindspot_cache": 3}}'):
        (store / "zarr.json").write_bytes(unreadable)
        with pytest.raises(Damaged, match=r"zarr\.json: header unreadable .*delete"):
            FeatureStore.open(store)


def test_an_edited_commit_record_is_refused(store):
    path = commit_path(store, 1)
    original = path.read_text()
    path.write_text(original.replace('"rows":[4,8]', '"rows":[4,9]'))
    with pytest.raises(Damaged, match=r"000001\.json: content has digest"):
        FeatureStore.open(store)
    path.write_text(original)
    record = json.loads(original)
    forged = {**record["arrays"], FORWARD.path: [*record["arrays"][FORWARD.path][:2], "0" * 64]}
    edit_sealed(path, arrays=forged)
    with pytest.raises(Damaged, match="c/1/0: does not hold the committed values"):
        read_all(store)


def test_missing_blocks_are_named(store):
    commit_path(store, 0).unlink()
    commit_path(store, 2).unlink()
    with pytest.raises(Incomplete, match=r"2 of 3 blocks are not committed \(first: \[0, 2\]\).*--made-up"):
        FeatureStore.open(store)


def test_damage_is_mended_as_the_message_says(store, tmp_path):
    flip_byte(chunk_path(store, FORWARD, 1), -1)
    with pytest.raises(Damaged, match="mend it with: python -m cache repair ") as refusal:
        FeatureStore.open(store)
    named = str(refusal.value).split("cache repair ")[1].split(", then")[0]
    assert main("cache", VERBS, ["repair", named]) == 0
    fill(begin_store(tmp_path, provenance(arrays=(FORWARD, BACKWARD))))
    np.testing.assert_array_equal(read_all(store)[1], values_of(FORWARD))


def test_opening_with_a_wish_names_field_and_both_values(store):
    FeatureStore.open(store, {"split": "train", "noise": {"level": 1.0}})
    with pytest.raises(Stale, match=r"noise\.level is 1\.0, asked for 2\.0; .*--made-up"):
        FeatureStore.open(store, {"noise": {"level": 2.0}})
    with pytest.raises(Stale, match="nothing_like_it is None, asked for 1"):
        FeatureStore.open(store, {"nothing_like_it": 1})


def test_directions_are_formed_on_reading(store):
    opened = FeatureStore.open(store)
    forward, backward = values_of(FORWARD), values_of(BACKWARD)
    name = FORWARD.layer, FORWARD.pooling
    np.testing.assert_array_equal(opened.features(*name, "backward"), backward)
    np.testing.assert_array_equal(opened.features(*name, "concat"), np.hstack([forward, backward]))
    mean = opened.features(*name, "mean")
    assert mean.dtype == np.float32
    np.testing.assert_allclose(mean, (forward + backward) / 2, rtol=1e-6)
    one, both = opened.coordinates(*name), opened.coordinates(*name, "concat")
    assert {key: len(value) for key, value in both.items()} == {key: 2 * len(v) for key, v in one.items()}
    assert sorted(opened.coordinates(*name, "mean")) == ["channel", "segment", "statistic"]
    assert (one["wave_hi"] > one["wave_lo"]).all()


def test_absent_names_are_refused_with_what_is_there(store):
    opened = FeatureStore.open(store)
    assert opened.layers == ("enc_pre_latent",)
    for read in (opened.features, opened.coordinates):
        with pytest.raises(
            NotExtracted, match=r"has no 'enc_last/forward/seg_mean_K2'; it holds enc_pre_latent/"
        ):
            read("enc_last", "seg_mean_K2")
        with pytest.raises(
            UnknownName, match="unknown direction 'up'; known: forward, backward, mean, concat"
        ):
            read("enc_pre_latent", "seg_mean_K2", "up")
    with pytest.raises(UnknownName, match=r"unknown label in .* 'logg'; known: log_g, mag"):
        opened.labels("logg")


def test_the_digest_depends_on_values_rows_and_labels_alone(tmp_path, store):
    digest = FeatureStore.open(store).digest()
    twin = make_store(tmp_path / "twin", provenance(arrays=(FORWARD, BACKWARD)))
    assert FeatureStore.open(twin).digest() == digest
    other = make_store(tmp_path / "other", provenance(arrays=(FORWARD, BACKWARD), noise={"draw": 1}))
    assert FeatureStore.open(other).digest() != digest


@pytest.mark.parametrize("name", ["..", "a/b", "", "é", ".hidden", "a b"])
def test_names_that_become_paths_are_checked(name):
    with pytest.raises(ConfigError, match="cannot be a file name"):
        ArrayName(name, "forward", "none")


def test_array_names_round_trip_and_formed_directions_are_not_stored():
    assert ArrayName.parse(FORWARD.path) == FORWARD
    with pytest.raises(UnknownName, match="stored direction 'mean'"):
        ArrayName("enc_0", "mean", "none")


# The fixture tests/data/store_v1 is in the format of schema 1, written by tests/make_store_v1.py. A change of
# the format must raise SCHEMA, keep this folder as the example of an old store, and add store_v2 beside it.


def test_the_stored_example_still_reads():
    store = FeatureStore.open(STORE_V1)
    store.verify()
    assert store.header.block_rows == BLOCK_ROWS
    assert store.provenance == ABOUT
    for array, values in expected().items():
        np.testing.assert_array_equal(store.features(array.layer, array.pooling, array.direction), values)
    assert store.labels("log_g").tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert store.ids == [f"s{k}" for k in range(N_ROWS)]


def test_the_stored_example_is_still_what_is_written(tmp_path):
    again = build(tmp_path)
    assert again.name == read_header(STORE_V1).key[:16]
    for path in sorted(STORE_V1.rglob("*")):
        if path.is_file():
            assert path.read_bytes() == (again / path.relative_to(STORE_V1)).read_bytes(), path


def test_another_schema_is_refused_readably(tmp_path):
    path = tmp_path / "store"
    shutil.copytree(STORE_V1, path)
    edit_header(path, sealed=True, schema=999)
    with pytest.raises(SchemaVersion, match="written in format 999, this program reads format 1"):
        FeatureStore.open(path)


@pytest.mark.parametrize("damage", ["edited", "gone"])
@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("labels/log_g/c/0", lambda s: s.labels("log_g")),
        ("labels/log_g/zarr.json", lambda s: s.labels("log_g")),
        ("rows/row/c/0", lambda s: s.rows),
        ("rows/star/c/0", lambda s: s.stars),
        ("rows/id/c/0", lambda s: s.ids),
        (f"{FORWARD.path}/wave_hi/c/0", lambda s: s.coordinates(FORWARD.layer, FORWARD.pooling)),
    ],
)
def test_what_is_altered_after_opening_is_refused_on_reading(store, name, read, damage):
    opened = FeatureStore.open(store)
    read(opened)
    flip_byte(store / name) if damage == "edited" else (store / name).unlink()
    with pytest.raises(Damaged, match=rf"{name}: (was altered|unreadable) since the store was opened"):
        read(opened)


def test_a_file_of_another_run_in_the_place_of_a_label_is_refused_after_opening(store, tmp_path):
    """Whole and with a good crc, but not what was there on opening."""
    other = make_store(tmp_path / "b", rows=row_table(labels={"log_g": np.zeros(10)}))
    opened = FeatureStore.open(store)
    shutil.copy(other / "labels/log_g/c/0", store / "labels/log_g/c/0")
    with pytest.raises(Damaged, match="was altered since"):
        opened.labels("log_g")


def test_a_label_may_have_any_safe_name_and_is_covered(tmp_path):
    path = make_store(tmp_path, rows=row_table(labels={"features": np.arange(10.0)}))
    assert FeatureStore.open(path).labels("features").tolist() == list(range(10))
    flip_byte(path / "labels/features/c/0", -1)
    with pytest.raises(Damaged, match="labels"):
        FeatureStore.open(path)


def test_files_of_the_file_system_are_no_damage(store):
    (store / ".DS_Store").write_text("")
    (store / "labels/.nfs0001").write_text("")
    FeatureStore.open(store).verify()


@pytest.mark.parametrize(
    "place", ["labels/log_g/c/0", ".commit/000001.json", f"{FORWARD.path}/features/c/1/0"]
)
def test_a_folder_in_the_place_of_a_file_is_damage(store, place):
    (store / place).unlink()
    (store / place).mkdir()
    with pytest.raises(Damaged):
        FeatureStore.open(store)


def test_a_sealed_file_of_another_kind_is_no_commit_record(store):
    note = next((store / ".runs").glob("*.json"))
    commit_path(store, 1).write_bytes(note.read_bytes())
    with pytest.raises(Damaged, match=r"000001\.json: not a commit record .*cache repair"):
        FeatureStore.open(store)


def test_a_stray_file_is_named_and_nothing_else_is_asked_for(store):
    (store / "labels/NOTES.txt").write_text("mine")
    with pytest.raises(
        Damaged, match=r"holds labels/NOTES\.txt, which no store has; remove it, the rest is whole"
    ):
        FeatureStore.open(store)


@pytest.mark.parametrize(
    "name", ["zarr.json", ".commit/000001.json", "labels/log_g/c/0", f"{FORWARD.path}/features/c/1/0"]
)
def test_a_file_that_may_not_be_read_is_no_damage(store, monkeypatch, name):
    """The advice for damage is to delete and extract again."""
    real_bytes, real_open = Path.read_bytes, Path.open

    def refuse(path):
        if path == store / name:
            raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", lambda path: refuse(path) or real_bytes(path))
    monkeypatch.setattr(Path, "open", lambda path, *a, **k: refuse(path) or real_open(path, *a, **k))
    with pytest.raises(PermissionError):
        FeatureStore.open(store)
    if name.endswith(".json"):
        assert look(store).state == "forbidden"


def test_in_a_copied_folder_the_command_names_the_folder_of_the_copy(tmp_path):
    path = make_store(tmp_path / "first")
    note = {"command": f"python -m extract run --data 'a b.h5' --out {tmp_path / 'first'}"}
    edit_sealed(next((path / ".runs").iterdir()), **note)
    assert rebuild_command(path) == note["command"]
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    copy = tmp_path / "second/train" / path.name
    assert rebuild_command(copy) == f"python -m extract run --data 'a b.h5' --out {tmp_path / 'second'}"


@pytest.mark.parametrize(
    ("told", "elsewhere"),
    [
        ("--data d.h5", "--data d.h5 --out {root}"),
        ("--out={first} --data d.h5", "--data d.h5 --out {root}"),
        ("--data d.h5 --selection s.json --out {first}", "--data d.h5 --out {root}"),
        ("--selection=s.json --data d.h5", "--data d.h5 --out {root}"),
    ],
)
def test_the_command_that_rebuilds_writes_where_the_store_is_and_no_selection(
    tmp_path, monkeypatch, told, elsewhere
):
    """Also of a store that was made without --out, in the default folder of where the command ran."""
    monkeypatch.chdir(tmp_path)
    first = tmp_path / "artifacts/features"
    path = make_store(first)
    made = f"python -m extract run {told.format(first=first)}"
    edit_sealed(next((path / ".runs").iterdir()), command=made)
    here = made.replace(" --selection s.json", "").replace(" --selection=s.json", "")
    assert rebuild_command(path) == here
    shutil.copytree(first, tmp_path / "copy")
    expected = f"python -m extract run {elsewhere.format(root=tmp_path / 'copy')}"
    assert rebuild_command(tmp_path / "copy/train" / path.name) == expected
    monkeypatch.chdir(tmp_path.parent)  # and from elsewhere the default folder is another
    if "--out" not in told:
        assert rebuild_command(path).endswith(f" --out {first}")


def test_a_header_that_is_nested_deeper_than_can_be_read_is_damaged(tmp_path):
    path = make_store(tmp_path)
    (path / "zarr.json").write_bytes(b'{"attributes":' * 200_000 + b"}" * 200_000)
    with pytest.raises(Damaged, match="header unreadable"):
        FeatureStore.open(path)
    assert look(path).state == "damaged"
