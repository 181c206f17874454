"""The noise is its definition: a function of seed, split, row, draw and pixel, and of nothing else."""

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.errors import ConfigError, UnknownName
from extract.choices import NOISE_MODES
from extract.noise import NOISE_VERSION, noise_key, noisy_flux, standard_normal

WORD = 2**64
MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)


def philox(counter, key):
    """Philox4x64-10 of Salmon et al. 2011, in whole numbers."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        high0, low0 = divmod(MULTIPLIERS[0] * c0, WORD)
        high1, low1 = divmod(MULTIPLIERS[1] * c2, WORD)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + WEYL[0]) % WORD, (k1 + WEYL[1]) % WORD
    return c0, c1, c2, c3


def slow_normal(seed, split, row, draw, pixel):
    """One pixel by the definition, with the mathematics of the standard library."""
    digest = hashlib.sha256(f"blindspot-noise/1/{seed}/{split}/{draw}".encode()).digest()
    key = (int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:16], "little"))
    k = pixel // 2
    word = philox((k // 4 + 1, row, 0, 0), key)[k % 4]
    u1, u2 = ((word >> 32) + 1) / 2**32, (word % 2**32) / 2**32
    wave = math.sin if pixel % 2 else math.cos
    return math.sqrt(-2 * math.log(u1)) * wave(2 * math.pi * u2)


def normal(rows=(0, 1, 2), *, seed=0, split="train", draw=0, n_pixels=64):
    return standard_normal(
        seed=seed, split=split, rows=np.array(rows, dtype=np.int64), draw=draw, n_pixels=n_pixels
    )


@given(
    seed=st.integers(0, 2**40),
    split=st.sampled_from(["train", "val", "test"]),
    row=st.integers(0, 2**62),
    draw=st.integers(0, 1000),
    n_pixels=st.integers(1, 40),
)
@settings(max_examples=40, deadline=None)
def test_the_fast_path_equals_a_slow_loop(seed, split, row, draw, n_pixels):
    fast = normal([row], seed=seed, split=split, draw=draw, n_pixels=n_pixels)
    slow = np.array([slow_normal(seed, split, row, draw, pixel) for pixel in range(n_pixels)])
    assert fast.dtype == np.float32
    assert fast.shape == (1, n_pixels)
    np.testing.assert_allclose(fast[0], slow, rtol=2.0**-23, atol=1e-15)


def test_the_noise_of_version_1_is_what_it_always_was():
    assert NOISE_VERSION == 1
    rows = normal([0, 7, 1_000_000], n_pixels=4096)
    assert hashlib.sha256(rows.astype("<f4").tobytes()).hexdigest() == (
        "8ada78a6e120ef36ec7dfebe44775f2717f33a08d774451721e1b642953991b4"
    )


@given(st.lists(st.integers(0, 30), min_size=1, max_size=12))
@settings(max_examples=40, deadline=None)
def test_batching_order_and_subsets_change_no_bit(rows):
    everything = normal(range(31))
    np.testing.assert_array_equal(normal(rows), everything[rows])
    one_by_one = np.concatenate([normal([row]) for row in rows])
    np.testing.assert_array_equal(one_by_one, everything[rows])


@pytest.mark.parametrize("n_pixels", [1, 2, 63, 100])
def test_a_pixel_does_not_know_how_many_there_are(n_pixels):
    np.testing.assert_array_equal(normal(n_pixels=n_pixels), normal(n_pixels=128)[:, :n_pixels])


def test_rows_draws_splits_and_seeds_differ():
    makers = [
        normal(),
        normal(seed=1),
        normal(seed=10),
        normal(draw=1),
        normal(draw=10),
        normal(split="val"),
        normal(split="test"),
        normal((3, 4, 5)),
    ]
    rows = np.concatenate(makers)
    together = np.corrcoef(rows)
    assert len({row.tobytes() for row in rows}) == len(rows)
    assert np.abs(together - np.eye(len(rows))).max() < 6 / math.sqrt(64)


def test_the_noise_is_standard_normal():
    z = normal(range(64), n_pixels=4096).astype(np.float64)
    n = z.size
    assert abs(z.mean()) < 4 / math.sqrt(n)
    assert abs(z.std() - 1) < 4 / math.sqrt(2 * n)
    assert abs((z**3).mean()) < 4 * math.sqrt(15 / n)
    assert abs((z**4).mean() - 3) < 4 * math.sqrt(96 / n)
    assert np.abs(z).max() < 6.67
    # the two of a pair, and neighbours of different pairs, are independent
    for a, b in ((z[:, 0::2], z[:, 1::2]), (z[:, 1:-1:2], z[:, 2::2])):
        assert abs((a * b).mean()) < 4 / math.sqrt(a.size)
        assert abs((a**2 * b**2).mean() - 1) < 4 * math.sqrt(8 / a.size)


def test_the_transform_is_right_where_its_pieces_meet():
    from extract.noise import _box_muller, _Work

    turns = [k * 2**29 + d for k in range(8) for d in (-2, -1, 0, 1, 2)] + [2**32 - 1]
    numerators = [0, 1, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1, int(2**31.5), int(2**31.5) - 1]
    words = np.array([[(n << 32) | (t % 2**32) for t in turns for n in numerators]], dtype=np.uint64)
    work = _Work(words.shape)
    work.words[:] = words
    found = np.empty((1, 2 * words.size), dtype=np.float32)
    _box_muller(work, found)
    for word, pair in zip(words[0].tolist(), found[0].reshape(-1, 2), strict=True):
        radius = math.sqrt(-2 * math.log(((word >> 32) + 1) / 2**32))
        angle = 2 * math.pi * ((word % 2**32) / 2**32)
        expected = (radius * math.cos(angle), radius * math.sin(angle))
        np.testing.assert_allclose(pair, expected, rtol=2.0**-22, atol=1e-14)


def test_no_rows_give_no_noise():
    assert normal([]).shape == (0, 64)


@pytest.mark.parametrize(
    "ask",
    [
        lambda: normal([-1]),
        lambda: normal([[1]]),
        lambda: normal(seed=-1),
        lambda: normal(draw=-1),
        lambda: normal(split="a/b"),
        lambda: noise_key(seed=0, split="", draw=0),
    ],
)
def test_what_could_be_read_two_ways_is_refused(ask):
    with pytest.raises(ConfigError, match="noise"):
        ask()


FLUX = np.array([[1.0, -0.5, 0.0, 0.3]])
ERROR = np.array([[0.1, 0.1, 0.2, 0.3]])


def test_flux_is_clipped_before_the_noise_and_never_after():
    z = np.array([[-30.0, -1.0, 1.0, 2.0]], dtype=np.float32)
    found = noisy_flux(FLUX, ERROR, mode="draw", level=0.5, z=z)
    expected = [
        np.float32(max(flux, 0)) + draw * np.float32(error * 0.5)
        for flux, error, draw in zip(FLUX[0], ERROR[0], z[0], strict=True)
    ]
    np.testing.assert_array_equal(found[0], np.array(expected, dtype=np.float32))
    assert found[0, 0] < 0
    assert found.dtype == np.float32


def test_the_other_modes_add_nothing():
    clean = noisy_flux(FLUX, ERROR, mode="none")
    np.testing.assert_array_equal(clean, np.array([[1, 0, 0, 0.3]], dtype=np.float32))
    z = normal([0], n_pixels=4)
    np.testing.assert_array_equal(noisy_flux(FLUX, ERROR, mode="draw", level=0.0, z=z), clean)
    stored = noisy_flux(FLUX, ERROR, mode="stored", stored=FLUX - 1)
    np.testing.assert_array_equal(stored, (FLUX - 1).astype(np.float32))
    assert clean.dtype == stored.dtype == np.float32


def test_a_stored_draw_is_a_copy():
    stored = FLUX.astype(np.float32)
    noisy_flux(FLUX, ERROR, mode="stored", stored=stored)[:] = 7
    np.testing.assert_array_equal(stored, FLUX.astype(np.float32))


def test_modes_and_levels_are_checked():
    with pytest.raises(UnknownName, match=f"'drawn'; known: {', '.join(NOISE_MODES)}"):
        noisy_flux(FLUX, ERROR, mode="drawn")
    for level in (-1.0, math.nan, math.inf):
        with pytest.raises(ConfigError, match="noise level"):
            noisy_flux(FLUX, ERROR, mode="none", level=level)
    with pytest.raises(ConfigError, match=r"drawn at level 1, found level 0\.5"):
        noisy_flux(FLUX, ERROR, mode="stored", level=0.5, stored=FLUX)
    for mode in ("draw", "stored"):
        with pytest.raises(ConfigError, match=f"'{mode}' needs an array.*found nothing"):
            noisy_flux(FLUX, ERROR, mode=mode)
    with pytest.raises(ConfigError, match=r"found shape \(1, 3\)"):
        noisy_flux(FLUX, ERROR, mode="draw", z=np.zeros((1, 3), np.float32))
