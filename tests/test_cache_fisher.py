"""Fisher matrices on disk: what is written is read, found by its input, and anything altered is refused."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from cache.atomic import publish_json
from cache.errors import CacheError, ConfigError, Damaged, NotExtracted, SchemaVersion
from cache.fisher import FisherMatrices, find_fisher, fisher_key, fisher_path, read_fisher, write_fisher

PARAMETERS = ["T_eff", "log_g", "ln_A"]


def made(n=4, **changes):
    provenance = {
        "schema": 1,
        "input": "ab" * 32,
        "data_kind": "mock",
        "split": "test",
        "rows": {"n": n, "selection": "all"},
        "mask": None,
        "noise_level": 1.0,
        "parameters": PARAMETERS,
        "method": {"name": "mock"},
        **changes,
    }
    rng = np.random.default_rng(n)
    return FisherMatrices(
        provenance=provenance,
        key=fisher_key(provenance),
        matrices=rng.standard_normal((n, 3, 3)),
        rows=np.arange(n),
        stars=rng.integers(0, 2**63, n).astype(np.uint64),
        labels={"log_g": rng.uniform(1, 5, n), "snr": np.full(n, np.nan)},
    )


def find(root, **changes):
    return find_fisher(root, "test", **{"input_digest": "ab" * 32, "noise_level": 1, "mask": None, **changes})


def test_what_is_written_is_read_and_found(tmp_path):
    before = made()
    path = write_fisher(tmp_path, before, run={"command": "x"})
    assert path == fisher_path(tmp_path, before.provenance) == tmp_path / "test" / f"{before.key[:16]}.json"
    for after in (read_fisher(path), find(tmp_path)):
        assert (after.key, after.provenance, after.parameters) == (
            before.key,
            before.provenance,
            ("T_eff", "log_g", "ln_A"),
        )
        for name in ("matrices", "rows", "stars"):
            np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
        np.testing.assert_array_equal(after.labels["log_g"], before.labels["log_g"])
        assert np.isnan(after.labels["snr"]).all()


def test_the_same_matrices_are_the_same_bytes(tmp_path):
    one, other = (write_fisher(tmp_path / name, made(), run={"command": name}) for name in "ab")
    assert one.with_suffix(".npz").read_bytes() == other.with_suffix(".npz").read_bytes()


def test_the_right_ones_are_found_or_the_command_is_named(tmp_path):
    write_fisher(tmp_path, made(), run={})
    write_fisher(tmp_path, made(noise_level=0.5), run={})
    write_fisher(tmp_path, made(mask="cd" * 32), run={})
    assert find(tmp_path, noise_level=0.5).provenance["noise_level"] == 0.5
    assert find(tmp_path, mask="cd" * 32).provenance["mask"] == "cd" * 32
    with pytest.raises(NotExtracted, match=r"extract fisher .*--split test --noise-level 0\.1") as caught:
        find(tmp_path, noise_level=0.1)
    assert "{'noise_level': 0.5}" in str(caught.value)
    with pytest.raises(NotExtracted, match="no Fisher matrices of input 0000"):
        find(tmp_path, input_digest="0" * 64)
    write_fisher(tmp_path, made(method={"name": "emulator"}), run={})
    with pytest.raises(ConfigError, match="several Fisher matrices fit"):
        find(tmp_path)


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_a_flipped_byte_is_seen(tmp_path, suffix):
    path = write_fisher(tmp_path, made(), run={})
    file = path.with_suffix(suffix)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(Damaged):
        read_fisher(path)


def test_what_is_missing_renamed_or_of_another_format_is_refused(tmp_path):
    with pytest.raises(NotExtracted, match="python -m extract fisher"):
        read_fisher(tmp_path / "test/x.json")
    path = write_fisher(tmp_path, made(), run={})
    content = json.loads(path.read_text())
    path.rename(path.with_name("other.json"))
    with pytest.raises(Damaged, match="name does not follow"):
        read_fisher(path.with_name("other.json"))
    publish_json(path, {**content, "schema_version": 9})
    with pytest.raises(SchemaVersion, match="format 9"):
        read_fisher(path)
    publish_json(path, {**content, "kind": "plan"})
    with pytest.raises(Damaged, match="is a 'plan'"):
        read_fisher(path)
    publish_json(path, content)
    path.with_suffix(".npz").unlink()
    with pytest.raises(Damaged, match="is gone"):
        read_fisher(path)


def test_shapes_that_do_not_fit_are_not_written(tmp_path):
    whole = made()
    with pytest.raises(CacheError, match="stars has shape"):
        write_fisher(tmp_path, dataclasses.replace(whole, stars=whole.stars[:2]), run={})
    with pytest.raises(CacheError, match="matrices has shape"):
        write_fisher(tmp_path, dataclasses.replace(whole, matrices=whole.matrices[:, :2]), run={})
    with pytest.raises(ValueError, match="exactly the fields"):
        fisher_key({"schema": 1})
    assert not list(tmp_path.rglob("*.json"))


def test_readers_need_neither_torch_nor_h5py():
    code = "import sys, cache.fisher; assert not {'torch', 'h5py', 'sklearn'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
