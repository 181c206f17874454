"""A mask is one boolean for each pixel of the file, and nothing else."""

import numpy as np
import pytest

from cache.errors import InputError
from extract.mask import load_mask, mask_digest


def test_a_mask_is_read_as_it_was_saved(tmp_path):
    mask = np.arange(64) % 3 != 0
    np.save(tmp_path / "mask.npy", mask)
    found = load_mask(tmp_path / "mask.npy", 64)
    np.testing.assert_array_equal(found, mask)
    assert found.dtype == np.bool_
    assert type(found) is np.ndarray  # in memory, not mapped from a file that may change


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (np.ones(63, bool), r"shape \(63,\); expected a .npy file of 64 booleans"),
        (np.ones((64, 1), bool), r"shape \(64, 1\)"),
        (np.ones(64, np.uint8), r"dtype uint8.*mask.astype\(bool\)"),
        (np.ones(64), "dtype float64"),
        (np.zeros(64, bool), r"keeps no pixel.*inverted"),
    ],
)
def test_what_is_no_mask_is_refused(tmp_path, values, match):
    path = tmp_path / "mask.npy"
    np.save(path, values)
    with pytest.raises(InputError, match=match) as caught:
        load_mask(path, 64)
    assert str(caught.value).startswith(str(path))


def test_other_files_are_refused(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([True, None], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "archive.npz", np.ones(64, bool))
    (tmp_path / "text.npy").write_text("True\n" * 64)
    (tmp_path / "empty.npy").touch()
    np.save(tmp_path / "cut.npy", np.ones(64, bool))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:-1])
    for name, match in (
        ("objects.npy", "not readable as a mask"),
        ("archive.npz", "is an .npz archive"),
        ("text.npy", "not readable as a mask"),
        ("empty.npy", "not readable as a mask"),
        ("cut.npy", "not readable as a mask"),
        ("none.npy", "not readable as a mask"),
        (".", "not readable as a mask"),
    ):
        with pytest.raises(InputError, match=match):
            load_mask(tmp_path / name, 64)


def test_the_digest_tells_masks_apart():
    mask = np.ones(64, bool)
    digests = {mask_digest(mask)}
    for pixel in range(64):
        other = mask.copy()
        other[pixel] = False
        digests.add(mask_digest(other))
    digests.add(mask_digest(np.ones(65, bool)))
    assert len(digests) == 66
    assert mask_digest(mask[::1].copy()) == mask_digest(mask)
    assert mask_digest(None) is None
