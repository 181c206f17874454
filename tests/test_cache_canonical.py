import hashlib
import json

import numpy as np
import pytest

from cache.canonical import canonical_json, check_seal, digest_json, read_sealed, seal, sha256
from cache.errors import BlindspotError, Damaged, UnknownName, did_you_mean


def test_canonical_json_is_the_same_text_for_equal_values():
    one = {"b": [1, 2.5, None, True], "a": {"é": "x", "d": ()}}
    other = {"a": {"d": [], "é": "x"}, "b": (1, 2.5, None, True)}
    assert canonical_json(one) == canonical_json(other) == '{"a":{"d":[],"é":"x"},"b":[1,2.5,null,true]}'


def test_canonical_json_refuses_what_has_no_canonical_text():
    with pytest.raises(ValueError, match="Out of range float"):
        canonical_json({"x": float("nan")})
    with pytest.raises(TypeError):
        canonical_json({"x": np.float32(1)})


def test_digest_is_sha256_of_the_utf8_text():
    assert (
        digest_json({"é": 1}) == hashlib.sha256('{"é":1}'.encode()).hexdigest() == sha256('{"é":1}'.encode())
    )


@pytest.mark.parametrize("value", [{}, {"a": 1}, {"a": {"self": 2}, "self": "old"}])
def test_a_sealed_object_passes_its_check_and_any_change_does_not(value):
    sealed = seal(value)
    assert check_seal(sealed, "here") == sealed
    assert seal(sealed) == sealed
    with pytest.raises(Damaged, match=r"here.*altered"):
        check_seal({**sealed, "new": 0}, "here")


@pytest.mark.parametrize("value", [None, [], "text", {"a": 1}])
def test_an_object_without_seal_is_damaged(value):
    with pytest.raises(Damaged, match="somewhere: carries no digest of itself"):
        check_seal(value, "somewhere")


def test_reading_a_sealed_file(tmp_path):
    path = tmp_path / "x.json"
    with pytest.raises(FileNotFoundError):
        read_sealed(path)
    path.write_text(json.dumps(seal({"a": 1}), indent=3))
    assert read_sealed(path)["a"] == 1
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(Damaged, match=r"x\.json: not readable as JSON"):
        read_sealed(path)
    path.write_bytes(b"[" * 200_000 + b"]" * 200_000)
    with pytest.raises(Damaged, match=r"x\.json: not readable as JSON"):
        read_sealed(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Damaged, match="not readable"):
        read_sealed(path)


def test_unknown_names_list_the_known_ones_and_are_one_family():
    error = UnknownName("head", "rigde", ["ridge", "ols"])
    assert str(error) == "unknown head 'rigde'; known: ridge, ols; did you mean 'ridge'?"
    assert str(UnknownName("head", "forest", ["ridge", "ols"])) == "unknown head 'forest'; known: ridge, ols"
    assert isinstance(error, BlindspotError)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("shiped", "shipped"),
        ("SHIPPED", "shipped"),
        ("shipped:refrence", "shipped:reference"),
        ("gpu", None),
    ],
)
def test_the_known_name_that_is_nearest_is_offered(name, near):
    told = "" if near is None else f"; did you mean {near!r}?"
    assert did_you_mean(name, ("shipped", "shipped:reference", "random:0", "cpu")) == told
