from dataclasses import replace

import numpy as np
import pytest
import torch
from hdf5_fixtures import write_flat_layout
from survey_fakes import N_PIXELS, request, stars

from cache.errors import InputError
from extract.batches import make_batch, read_batches
from extract.fed_error import TRUE_ERROR, FedError
from extract.fingerprint import fingerprint
from extract.noise import standard_normal
from extract.slabs import runs_of
from extract.spectra import open_spectra

ZERO = FedError("zero", "zero")


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    path = write_flat_layout(tmp_path_factory.mktemp("b") / "x.h5", stars(20, 4))
    with open_spectra(path) as spectra:
        yield spectra, fingerprint(spectra, remember=None), path


@pytest.mark.parametrize("longest", [1, 2, 5, 100])
def test_runs_cover_rows_in_order_without_crossing_gaps(longest):
    rng = np.random.default_rng(longest)
    for share in (0.0, 0.3, 0.9, 1.0):
        rows = np.flatnonzero(rng.random(60) < share)
        runs = list(runs_of(rows, longest))
        assert [row for lo, hi in runs for row in range(lo, hi)] == rows.tolist()
        assert all(0 < hi - lo <= longest for lo, hi in runs)
    assert list(runs_of(np.array([3, 4, 5, 9]), 2)) == [(3, 5), (5, 6), (9, 10)]


@pytest.mark.parametrize("rows", [np.arange(20), np.array([0, 1, 2, 5, 6, 9, 10, 11, 12, 13, 19])])
def test_groups_do_not_depend_on_how_rows_are_read(opened, tmp_path, rows):
    spectra, known, path = opened

    def groups(slab_rows):
        asked = request(path, tmp_path, micro_batch=4, slab_rows=slab_rows, noise_level=0.5)
        return list(read_batches(spectra, rows, known, asked, TRUE_ERROR))

    one = groups(1)
    assert [len(group.rows) for group in one] == [4] * (len(rows) // 4) + (
        [len(rows) % 4] if len(rows) % 4 else []
    )
    flux, error = spectra.read(slice(None))
    for slab_rows in (3, 4, 7, 64):
        for ours, theirs in zip(groups(slab_rows), one, strict=True):
            np.testing.assert_array_equal(ours.rows, theirs.rows)
            np.testing.assert_array_equal(ours.flux, theirs.flux)
            np.testing.assert_array_equal(ours.error, theirs.error)
            assert ours.stored is None
            np.testing.assert_array_equal(ours.flux, flux[ours.rows].astype(np.float32))
            np.testing.assert_array_equal(ours.error, error[ours.rows].astype(np.float32) * np.float32(0.5))
    assert np.concatenate([group.rows for group in one]).tolist() == rows.tolist()


def batch_of(
    opened, tmp_path, *, n=3, mask=None, draw=0, mode="pixel", profile=None, fed=TRUE_ERROR, **changes
):
    spectra, known, path = opened
    asked = request(path, tmp_path, micro_batch=4, **changes)
    group = next(read_batches(spectra, np.arange(n), known, asked, fed))
    return group, make_batch(
        group, split="test", draw=draw, mask=mask, error_mode=mode, profile=profile, config=asked, fed=fed
    )


def test_a_short_batch_is_padded_with_zeros(opened, tmp_path):
    group, batch = batch_of(opened, tmp_path)
    assert batch.x.shape == (4, 2, N_PIXELS)
    assert batch.x.dtype == torch.float32
    assert not batch.x[3].any()
    assert len(batch.noisy) == len(batch.error) == len(batch.clean) == 3
    z = standard_normal(seed=0, split="test", rows=np.arange(3), draw=0, n_pixels=N_PIXELS)
    np.testing.assert_array_equal(batch.noisy, group.flux + z * group.error)
    np.testing.assert_array_equal(batch.x[:3, 0], batch.noisy)
    np.testing.assert_array_equal(batch.x[:3, 1], group.error)


def test_noise_is_that_of_seed_split_draw_row_and_file_pixel(opened, tmp_path):
    mask = np.arange(N_PIXELS) % 3 == 0
    _, plain = batch_of(opened, tmp_path)
    _, masked = batch_of(opened, tmp_path, mask=mask)
    np.testing.assert_array_equal(masked.x, plain.x[:, :, mask])
    others = [batch_of(opened, tmp_path, draw=1), batch_of(opened, tmp_path, seed=1)]
    for _, other in others:
        assert (other.noisy != plain.noisy).float().mean() > 0.99
        np.testing.assert_array_equal(other.clean, plain.clean)


def test_zero_error_input_changes_what_is_fed_and_not_the_noise(opened, tmp_path):
    group, true = batch_of(opened, tmp_path)
    _, zero = batch_of(opened, tmp_path, fed=ZERO)
    np.testing.assert_array_equal(zero.noisy, true.noisy)
    np.testing.assert_array_equal(zero.error, group.error)
    assert not zero.x[:, 1].any()


def test_a_profile_is_used_by_the_modes_that_need_it(opened, tmp_path):
    profile = np.linspace(0.1, 0.2, N_PIXELS)
    _, batch = batch_of(opened, tmp_path, mode="L4", profile=profile)
    np.testing.assert_array_equal(batch.x[0, 1], profile.astype(np.float32))


def test_rows_that_changed_since_the_fingerprint_are_refused(opened, tmp_path):
    spectra, known, path = opened
    altered = known.row_digests.copy()
    altered[6] ^= 1
    other = replace(known, row_digests=altered)
    with pytest.raises(InputError, match=r"x\.h5: row 6 .*run the command again"):
        list(read_batches(spectra, np.arange(20), other, request(path, tmp_path), TRUE_ERROR))


def test_zero_error_input_reaches_the_network_in_every_mode(opened, tmp_path):
    """A fixed profile is no way around it."""
    profile = np.full(N_PIXELS, 0.3)
    for mode in ("pixel", "L0", "L1", "L4", "L5"):
        _, batch = batch_of(opened, tmp_path, fed=ZERO, mode=mode, profile=profile)
        assert not batch.x[:, 1:].any(), mode
