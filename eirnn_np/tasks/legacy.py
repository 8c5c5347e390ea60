"""NumPy's legacy random numbers, to the bit: MT19937, random_sample, randint and randn as of RandomState.

Numba kernels; they check nothing. No fastmath: every operation is one that NumPy does, in NumPy's order. A stream is a
key (624,) and pos (1,) as in RandomState.get_state(), words (624,), the same block after tempering, and kept (1,), the
second value of the polar method where has (1,) is 1.
"""

import math

import numpy as np

from ..jit import BORROWED, entry, inlined, view, wide

compiled = entry(**BORROWED)

WORDS = 624  # of a block
ATTEMPTS = WORDS // 4  # of the polar method that a block has words for


@compiled
def temper(words, key):
    """words[i] = the 32 bits that MT19937 gives out for key[i]."""
    for i in range(624):
        y = key[i]
        y ^= y >> np.uint32(11)
        y ^= (y << np.uint32(7)) & np.uint32(0x9D2C5680)
        y ^= (y << np.uint32(15)) & np.uint32(0xEFC60000)
        words[i] = y ^ (y >> np.uint32(18))


@compiled
def _twist(words, key):
    """The next 624 words of MT19937."""
    upper, lower, matrix = np.uint32(0x80000000), np.uint32(0x7FFFFFFF), np.uint32(0x9908B0DF)
    for i in range(227):
        y = (key[i] & upper) | (key[i + 1] & lower)
        key[i] = key[i + 397] ^ (y >> np.uint32(1)) ^ ((y & np.uint32(1)) * matrix)
    for i in range(227, 623):
        y = (key[i] & upper) | (key[i + 1] & lower)
        key[i] = key[i - 227] ^ (y >> np.uint32(1)) ^ ((y & np.uint32(1)) * matrix)
    y = (key[623] & upper) | (key[0] & lower)
    key[623] = key[396] ^ (y >> np.uint32(1)) ^ ((y & np.uint32(1)) * matrix)
    temper(words, key)


@inlined
def _word(key, words, pos):
    if pos[0] >= 624:
        _twist(words, key)
        pos[0] = 0
    pos[0] += 1
    return np.int64(words[pos[0] - 1])


@inlined
def _join(high, low):
    """random_sample: 53 bits of two words."""
    high, low = np.int32(np.uint32(high) >> np.uint32(5)), np.int32(np.uint32(low) >> np.uint32(6))
    return (np.float64(high) * 67108864.0 + np.float64(low)) * (1.0 / 9007199254740992.0)


@inlined
def double(key, words, pos):
    """random_sample()."""
    high = _word(key, words, pos)
    return _join(high, _word(key, words, pos))


@inlined
def below(key, words, pos, n):
    """randint(0, n), n <= 2**32: one word an attempt, masked, rejected above n - 1; n = 1 takes none."""
    mask = n - 1
    for shift in (1, 2, 4, 8, 16):
        mask |= mask >> shift
    value = np.int64(0)
    if n > 1:
        value = _word(key, words, pos) & mask
        while value >= n:
            value = _word(key, words, pos) & mask
    return value


@inlined
def _attempts(x, y, r, words, n):
    """Points of the square around the unit circle and their squared radius, of four words each."""
    for i in range(n):
        x[i] = 2.0 * _join(words[4 * i], words[4 * i + 1]) - 1.0
        y[i] = 2.0 * _join(words[4 * i + 2], words[4 * i + 3]) - 1.0
        r[i] = x[i] * x[i] + y[i] * y[i]


@inlined
def _inside(x, y, r, n, most):
    """Move the first `most` points inside the circle to the front: how many there are, of how many attempts."""
    found, used, end = np.uint64(0), np.uint64(0), np.uint64(most)  # unsigned: LLVM makes branches of the other
    for i in range(n):
        used += np.uint64(found < end)
        square = r[i]
        x[found], y[found], r[found] = x[i], y[i], square
        found += np.uint64((square < 1.0) & (square != 0.0))
    return min(np.int64(found), most), np.int64(used)


@inlined
def _pairs(out, x, y, r, n):
    """Two normals of each point.

    A way out of the first loop, which is never taken, keeps LLVM from making vectors of it: where Numba has a log of
    vectors (Intel's SVML), that has other bits than NumPy's.
    """
    for i in range(n):
        if r[i] >= 1.0:
            break
        out[2 * i] = math.log(r[i])
    for i in range(n):
        f = math.sqrt(-2.0 * out[2 * i] / r[i])
        out[2 * i], out[2 * i + 1] = f * y[i], f * x[i]


@compiled
def normals(out, key, words, pos, has, kept, work):
    """out = legacy_gauss, one after another: Marsaglia's polar method, the second of each pair given out first.

    Many attempts at a time, in loops of their own. work (3, ATTEMPTS + 1).
    """
    wide()
    n, i, width = out.size, 0, work.shape[1]
    x, y, r = view(work, 0, (width,)), view(work, width, (width,)), view(work, 2 * width, (width,))
    if has[0] and n:
        out[0] = kept[0]
        has[0], kept[0] = 0, 0.0
        i = 1
    while i < n:
        pairs = (n - i + 1) // 2
        left = (WORDS - pos[0]) // 4
        if left > 0:
            m = min(left, (pairs + pairs // 4 + 19) // 16 * 16)  # enough, as a rule
            _attempts(x, y, r, view(words, pos[0], (4 * m,)), m)
            pairs, used = _inside(x, y, r, m, pairs)
            pos[0] += 4 * used
        else:  # the words of one attempt are in two blocks
            x[0] = 2.0 * double(key, words, pos) - 1.0
            y[0] = 2.0 * double(key, words, pos) - 1.0
            r[0] = x[0] * x[0] + y[0] * y[0]
            pairs, _ = _inside(x, y, r, 1, pairs)
        whole = min(pairs, (n - i) // 2)
        _pairs(view(out, i, (2 * whole,)), x, y, r, whole)
        i += 2 * whole
        if pairs > whole:
            f = math.sqrt(-2.0 * math.log(r[whole]) / r[whole])
            out[i], has[0], kept[0] = f * y[whole], 1, f * x[whole]
            i += 1
