"""Philox 4x32-10: the normal draws of a CUDA generator, made on the CPU (noise source "NV")."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_MASK = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_TO_UNIT = np.float32(2.3283064e-10)
_TO_TURN = np.float32(2.3283064e-10 * 6.2831855)

Words = NDArray[np.uint64]


def philox_words(seed: int, offset: int, count: int) -> tuple[Words, Words, Words, Words]:
    """The four 32-bit output words of counters (offset, 0, i, 0) for i in 0..count-1, as uint64 arrays.

    Args:
        seed: Taken modulo 2^64; its low and high halves are the key.

    Source: Salmon et al. 2011 "Parallel Random Numbers: As Easy as 1, 2, 3", section 3.3.
    """
    index = np.arange(count, dtype=np.uint64)
    zero = np.zeros(count, dtype=np.uint64)
    word0, word1, word2, word3 = zero + np.uint64(offset & 0xFFFFFFFF), zero, index & _MASK, zero
    key0, key1 = seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF
    for _ in range(_ROUNDS):
        product0, product1 = word0 * _MULTIPLIERS[0], word2 * _MULTIPLIERS[1]
        word0, word1, word2, word3 = (
            (product1 >> _HALF) ^ word1 ^ np.uint64(key0),
            product1 & _MASK,
            (product0 >> _HALF) ^ word3 ^ np.uint64(key1),
            product0 & _MASK,
        )
        key0, key1 = (key0 + _WEYL[0]) & 0xFFFFFFFF, (key1 + _WEYL[1]) & 0xFFFFFFFF
    return word0, word1, word2, word3


class PhiloxGenerator:
    """Successive normal draws of one seed; the counter's offset grows by one per draw, whatever its size.

    Source: A1111 modules/rng_philox.py. Equals a CUDA card while one thread makes one value, i.e. for latents of
    ordinary size.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.offset = 0

    def randn(self, shape: tuple[int, ...]) -> Tensor:
        """Standard normal values, float32 on the CPU.

        Box-Muller on the first two words, sine branch only; computed in float64 with float32 constants, then rounded.
        """
        count = int(np.prod(shape))
        word0, word1, _, _ = philox_words(self.seed, self.offset, count)
        self.offset += 1
        u = word0 * np.float64(_TO_UNIT) + np.float64(_TO_UNIT / np.float32(2))
        v = word1 * np.float64(_TO_TURN) + np.float64(_TO_TURN / np.float32(2))
        values = np.sqrt(-2.0 * np.log(u)) * np.sin(v)
        return torch.from_numpy(values.astype(np.float32)).reshape(shape)
