"""Random numbers as a pure function of a counter: Philox4x32-10 and Box-Muller in plain NumPy.

The readable truth beside kernels/normals.py, and equal to it to the bit. A draw depends on (seed, step, time, trial,
unit) and on nothing else: not on the number of threads, not on what was drawn before. So a checkpoint holds no state of
a generator. Sources: Salmon et al. (2011), SC'11, "Parallel random numbers: as easy as 1, 2, 3"; Box & Muller (1958).
"""

import numpy as np

from .checks import check_integer

PHILOX_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
PHILOX_WEYL = (0x9E3779B9, 0xBB67AE85)
INIT_STREAM = 0x494E4954  # "INIT": keeps the starting parameters apart from the noise of the same seed
INPUT_STREAM = 0x494E5054  # "INPT": the noise on the inputs
MASK_STREAM = 0x4D41534B  # "MASK": for random connectivity
# High words of the seeds of noise that no training has.
EVALUATION_NOISE, CHECK_NOISE = 0x4556414C, 0x43484543  # "EVAL", "CHEC"
TAKEN = frozenset(
    purpose ^ stream
    for purpose in (0, EVALUATION_NOISE, CHECK_NOISE)
    for stream in (0, INIT_STREAM, INPUT_STREAM, MASK_STREAM)
) - {0}  # fmt: skip
# Minimax polynomials, highest power first: -2 ln(1 + f) / f, sin(pi v / 2) / v and cos(pi v / 2) in v**2.
LOG_POLYNOMIAL = (
    0.30730991, -0.34222362, 0.3284025, -0.39590075, 0.50015239, -0.66675977, 0.99999876, -1.99999967,
)  # fmt: skip
SIN_POLYNOMIAL = (-0.00460166, 0.07968003, -0.64596346, 1.57079632)
COS_POLYNOMIAL = (-0.02040835, 0.25359864, -1.23369701, 1.0)
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)


def philox4x32(counter, key):
    """Four 32-bit words from a counter of four and a key of two: ten rounds of Philox.

    Parameters
    ----------
    counter : four integers or arrays of them below 2**32, which broadcast
    key : two integers below 2**32

    Returns
    -------
    four uint64 arrays, each value below 2**32
    """
    c0, c1, c2, c3 = np.broadcast_arrays(*(np.asarray(c, np.uint64) for c in counter))
    k0, k1 = key
    for _ in range(10):
        p0, p1 = np.uint64(PHILOX_MULTIPLIERS[0]) * c0, np.uint64(PHILOX_MULTIPLIERS[1]) * c2
        c0, c1, c2, c3 = (p1 >> _SHIFT) ^ c1 ^ np.uint64(k0), p1 & _LOW, (p0 >> _SHIFT) ^ c3 ^ np.uint64(k1), p0 & _LOW
        k0, k1 = (k0 + PHILOX_WEYL[0]) & 0xFFFFFFFF, (k1 + PHILOX_WEYL[1]) & 0xFFFFFFFF
    return c0, c1, c2, c3


def seed_key(seed, stream=0):
    """The two words of the key of a seed in 0 .. 2**64 - 1; ValueError for any other."""
    seed = check_integer("seed", seed, 0, 2**64 - 1)
    return seed & 0xFFFFFFFF, (seed >> 32) ^ stream


def check_training_seed(seed):
    """`seed` as an int of 0 .. 2**64 - 1 of whose numbers no evaluation, no start and no mask has any."""
    seed = check_integer("seed", seed, 0, 2**64 - 1)
    if seed >> 32 in TAKEN:
        raise ValueError(f"seed must not have {seed >> 32:#x} as its upper half, that of another use, found {seed}")
    return seed


def uniforms(seed, stream, n):
    """n float64 numbers in [0, 1) with 53 random bits each; `stream` keeps different uses apart."""
    a, b, c, d = philox4x32((np.arange((n + 1) // 2), 0, 0, 0), seed_key(seed, stream))
    five, six = np.uint64(5), np.uint64(6)
    pairs = np.stack([(a >> five) * 2.0**26 + (b >> six), (c >> five) * 2.0**26 + (d >> six)], axis=1)
    return (pairs.ravel() / 2.0**53)[:n]


def normals(seed, step, n_time, n_batch, n_unit, stream=0):
    """Standard normals (T, B, H) float32 for one training step; of a stream of its own for another use than noise.

    The counter is (16 g + lane, trial, time, step), where unit = 64 g + 16 w + lane and w is the output word: so
    sixteen lanes side by side make 64 neighbouring units.
    """
    groups = -(-n_unit // 64)
    index = np.arange(16 * groups)
    words = philox4x32(
        (index, np.arange(n_batch)[:, None], np.arange(n_time)[:, None, None], int(step) & 0xFFFFFFFF),
        seed_key(seed, stream),
    )
    pairs = [box_muller(words[0], words[1]), box_muller(words[2], words[3])]
    out = np.stack([pairs[0][0], pairs[0][1], pairs[1][0], pairs[1][1]], axis=-1)  # (T, B, 16 g + lane, w)
    out = out.reshape(n_time, n_batch, groups, 16, 4).swapaxes(3, 4)
    return np.ascontiguousarray(out.reshape(n_time, n_batch, 64 * groups)[:, :, :n_unit])


def box_muller(word_a, word_b):
    """Two float32 normals from two 32-bit words: sqrt(-2 ln u) (cos, sin)(2 pi v).

    u = (word_a + 1/2) / 2**32 and v = word_b / 2**32. Products and sums of float32 only, so that every machine gets the
    same bits: no library's log, sin or cos gives them.
    """
    radius = np.sqrt(_minus_two_log(word_a.astype(np.float32) * np.float32(2.0**-32) + np.float32(2.0**-33)))
    cosine, sine = _cos_sin_turn(word_b.astype(np.uint32))
    return radius * cosine, radius * sine


def _minus_two_log(u):
    """-2 ln u = -2 ln(1 + f) - 2 e ln 2, where u = 2**e (1 + f) and f in [-1/3, 1/3]; error 1e-7 relative."""
    bits = u.view(np.int32)
    e = (bits - np.int32(0x3F2AAAAB)) >> np.int32(23)
    f = (bits - (e << np.int32(23))).view(np.float32) - np.float32(1)
    return _polynomial(LOG_POLYNOMIAL, f) * f + e.astype(np.float32) * np.float32(-1.3862943611198906)


def _cos_sin_turn(word):
    """cos and sin of 2 pi word / 2**32: the quadrant is read off the top bits, the rest is in [-pi/4, pi/4)."""
    quadrant = (word + np.uint32(0x20000000)) >> np.uint32(30)
    v = (word - (quadrant << np.uint32(30))).view(np.int32).astype(np.float32) * np.float32(2.0**-30)
    sine, cosine = _polynomial(SIN_POLYNOMIAL, v * v) * v, _polynomial(COS_POLYNOMIAL, v * v)
    odd = (quadrant & np.uint32(1)) != 0
    x, y = np.where(odd, sine, cosine), np.where(odd, cosine, sine)
    negative_x = ((quadrant + np.uint32(1)) & np.uint32(2)) != 0
    negative_y = (quadrant & np.uint32(2)) != 0
    return np.where(negative_x, -x, x), np.where(negative_y, -y, y)


def _polynomial(coefficients, x):
    """Horner's rule in float32, highest power first."""
    total = np.float32(coefficients[0])
    for coefficient in coefficients[1:]:
        total = total * x + np.float32(coefficient)
    return total
