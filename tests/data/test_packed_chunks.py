"""Chunks packed here are what HDF5 unpacks, with the checksum that HDF5 forms."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from pdeflow.data.packed_chunks import create_packed, fletcher32, pack_sample, places_in


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("shape", "largest"), [((7, 5), 1 << 20), ((7, 5), 64), ((2, 5, 6, 3), 100), ((9,), 8)]
)
def test_hdf5_reads_what_was_packed(tmp_path, monkeypatch, dtype, shape, largest):
    monkeypatch.setattr("pdeflow.data.packed_chunks.LARGEST_CHUNK", largest)
    samples = np.random.default_rng(0).standard_normal((3, *shape)).astype(dtype)
    with h5py.File(tmp_path / "d.h5", "w") as file:
        data = create_packed(file, "u", 3, shape, np.dtype(dtype))
        assert np.prod(data.chunks) * data.dtype.itemsize <= max(largest, data.dtype.itemsize)
        for row, sample in enumerate(samples):
            for place, content in zip(places_in(data), pack_sample(sample)):
                data.id.write_direct_chunk((row, *place), content)
    with h5py.File(tmp_path / "d.h5") as file:
        np.testing.assert_array_equal(file["u"][()], samples)


def test_a_flipped_bit_does_not_pass(tmp_path):
    with h5py.File(tmp_path / "d.h5", "w") as file:
        data = create_packed(file, "u", 1, (64,), np.dtype("f8"))
        (content,) = pack_sample(np.random.default_rng(0).standard_normal(64))
        data.id.write_direct_chunk((0, 0), content[:20] + bytes([content[20] ^ 4]) + content[21:])
    with h5py.File(tmp_path / "d.h5") as file, pytest.raises(OSError, match="filter"):
        _ = file["u"][()]


@pytest.mark.parametrize("size", [1, 2, 7, 720, 721, 3_000_001])
@pytest.mark.parametrize("fill", ["random", "zeros", "ones"])
def test_the_checksum_is_that_of_hdf5(tmp_path, size, fill):
    values = {
        "random": np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8),
        "zeros": np.zeros(size, np.uint8),
        "ones": np.full(size, 255, np.uint8),
    }[fill]
    with h5py.File(tmp_path / "d.h5", "w") as file:
        data = file.create_dataset("u", data=values, chunks=(size,), fletcher32=True)
        stored = data.id.read_direct_chunk((0,))[1]
    assert int.from_bytes(stored[-4:], "little") == fletcher32(values.tobytes())
