"""Chunks as they lie in an HDF5 file: bytes sorted by their place in a number, deflated, with a checksum.

Packed here rather than inside HDF5, which works for one thread at a time, samples can be packed wherever they
are made and are put into the file as they are.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import h5py
import numpy as np
from isal import isal_zlib

# A sample a chunk, as long as the chunk can be read in one gulp.
LARGEST_CHUNK = 32 << 20
LEVEL = 1
_BLOCK = 1 << 16
_WEIGHTS = np.arange(_BLOCK, 0, -1, dtype=np.float64)
"""Of a block's words in its second sum, which stays below 2^48: exact in double precision."""


def chunk_shape(shape: Sequence[int], itemsize: int) -> tuple[int, ...]:
    """A sample's shape, cut along its leading axes until it is at most ``LARGEST_CHUNK`` bytes."""
    chunk = list(shape)
    for axis in range(len(chunk)):
        while chunk[axis] > 1 and math.prod(chunk) * itemsize > LARGEST_CHUNK:
            chunk[axis] = -(-chunk[axis] // 2)
    return tuple(chunk)


def chunk_places(shape: Sequence[int], chunk: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """The first index of every chunk of a sample, in the order of the file."""
    return itertools.product(*[range(0, n, c) for n, c in zip(shape, chunk)])


def places_in(data: h5py.Dataset) -> list[tuple[int, ...]]:
    """The first index of every chunk of a sample, in the order of the file; of an array in chunks."""
    chunks = data.chunks
    assert chunks is not None
    return list(chunk_places(data.shape[1:], chunks[1:]))


def create_packed(
    group: h5py.Group, name: str, n: int, shape: Sequence[int], dtype: np.dtype
) -> h5py.Dataset:
    """An empty array of ``n`` samples whose chunks are those of :func:`pack_sample`."""
    return group.create_dataset(
        name,
        shape=(n, *shape),
        dtype=dtype,
        chunks=(1, *chunk_shape(shape, dtype.itemsize)),
        compression="gzip",
        compression_opts=LEVEL,
        shuffle=True,
        fletcher32=True,
        fillvalue=np.nan,
    )


def pack_sample(sample: np.ndarray) -> list[bytes]:
    """The chunks of one sample; what sticks out of it is filled with NaN.

    Parameters
    ----------
    sample
        Floating-point numbers, in the dtype in which they are to be stored.
    """
    chunk = chunk_shape(sample.shape, sample.itemsize)
    packed = []
    for place in chunk_places(sample.shape, chunk):
        part = sample[tuple(slice(at, at + size) for at, size in zip(place, chunk))]
        if part.shape != chunk:
            whole = np.full(chunk, np.nan, sample.dtype)
            whole[tuple(map(slice, part.shape))] = part
            part = whole
        packed.append(pack(part))
    return packed


def pack(chunk: np.ndarray) -> bytes:
    """One chunk through the filters shuffle, deflate and Fletcher-32."""
    octets = np.ascontiguousarray(chunk).reshape(-1, 1).view(np.uint8)
    # Ten times faster than zlib's own level 1, and no larger by more than a tenth.
    packed = isal_zlib.compress(octets.T.tobytes(), LEVEL)
    return packed + fletcher32(packed).to_bytes(4, "little")


def fletcher32(content: bytes) -> int:
    """Fletcher's checksum over words of 16 bits, the first octet the high one, as HDF5 forms it.

    J. Fletcher, "An arithmetic checksum for serial transmissions", IEEE Trans. Commun. 30 (1982).
    """
    words = np.frombuffer(content + bytes(len(content) % 2), ">u2").astype(np.float64)
    first = second = 0
    for start in range(0, len(words), _BLOCK):
        block = words[start : start + _BLOCK]
        second = _folded(second + first * len(block) + int(block @ _WEIGHTS[-len(block) :]))
        first = _folded(first + int(block.sum()))
    return second << 16 | first


def _folded(total: int) -> int:
    """Modulo 2^16 - 1, where only 0 itself gives 0."""
    return (total - 1) % 0xFFFF + 1 if total else 0
