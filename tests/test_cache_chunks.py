"""Chunks equal those that zarr writes, and anything else is refused."""

import numpy as np
import pytest
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec

from cache.chunks import check_tail, read_chunk, write_chunk
from cache.errors import Damaged

ROWS, WIDTH = 5, 3


def values(n=ROWS):
    return np.random.default_rng(n).standard_normal((n, WIDTH)).astype(np.float32)


def by_zarr(folder, content):
    """The plain twin: zarr writes one chunk of ROWS rows."""
    array = zarr.create_array(
        folder,
        shape=content.shape,
        chunks=(ROWS, WIDTH),
        dtype="<f4",
        filters=None,
        serializer=BytesCodec(endian="little"),
        compressors=[Crc32cCodec()],
        fill_value=float("nan"),
        config={"write_empty_chunks": True},
    )
    array[:] = content
    return folder / "c/0/0"


@pytest.mark.parametrize("n", [1, 3, ROWS])
def test_the_file_is_the_one_zarr_writes(tmp_path, n):
    path = tmp_path / "ours/0"
    seal = write_chunk(path, values(n), ROWS)
    assert path.read_bytes() == by_zarr(tmp_path / "zarr", values(n)).read_bytes()
    check_tail(path, seal)
    np.testing.assert_array_equal(read_chunk(path, (n, WIDTH), seal), values(n))


def test_strided_and_big_endian_values_are_stored_the_same(tmp_path):
    plain = write_chunk(tmp_path / "a/0", values(), ROWS)
    wide = np.repeat(values(), 2, axis=1)[:, ::2]
    assert write_chunk(tmp_path / "b/0", wide, ROWS) == plain
    assert write_chunk(tmp_path / "c/0", values().astype(">f4"), ROWS) == plain


def test_every_flipped_bit_is_found(tmp_path):
    path = tmp_path / "c/0"
    seal = write_chunk(path, values(2), ROWS)  # three rows of padding are covered as well
    whole = path.read_bytes()
    for position in range(len(whole)):
        for bit in range(8):
            altered = bytearray(whole)
            altered[position] ^= 1 << bit
            path.write_bytes(altered)
            with pytest.raises(Damaged, match=r"c/0: (its content does not match|is not the committed file)"):
                read_chunk(path, (2, WIDTH), seal)


def test_values_with_a_matching_crc_still_need_their_sha256(tmp_path):
    path = tmp_path / "c/0"
    seal = write_chunk(path, values(), ROWS)
    other = write_chunk(path, values() + 1, ROWS)
    forged = type(seal)(other.size, other.tail, seal.sha256)
    check_tail(path, forged)
    with pytest.raises(Damaged, match="does not hold the committed values"):
        read_chunk(path, (ROWS, WIDTH), forged)


@pytest.mark.parametrize("content", [b"", b"abc", b"abcd", b"x" * 1000])
def test_files_of_another_length_are_found_without_reading_them(tmp_path, content):
    path = tmp_path / "c/0"
    seal = write_chunk(path, values(), ROWS)
    path.write_bytes(content)
    for check in (lambda: check_tail(path, seal), lambda: read_chunk(path, (ROWS, WIDTH), seal)):
        with pytest.raises(Damaged, match=r"is not the committed file \(size"):
            check()
    path.unlink()
    for check in (lambda: check_tail(path, seal), lambda: read_chunk(path, (ROWS, WIDTH), seal)):
        with pytest.raises(Damaged, match="unreadable although its block was committed"):
            check()
