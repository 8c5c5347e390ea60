"""The engine of the compiled replay: NumPy's legacy random numbers, and with them trials of neurogym.

Numba kernels and their helpers; they check nothing. No fastmath: every operation is one that NumPy does, in NumPy's
order, so that the bits agree.

Shapes: B environments side by side, L steps of each, I input channels; P periods and D draws of a trial.
"""

import math

import numpy as np

from ..jit import entry

compiled = entry(error_model="python")

FIXED, MENU, UNIFORM, TRUNC_EXP = range(4)  # how a duration comes about
SHOW, SHARE_U, SHARE_REST = range(3)  # how a stimulus level comes about


# ---- NumPy's legacy generator ----------------------------------------
# One MT19937 per stream s: key (S, 624) and pos (S,) as in RandomState.get_state(), words (S, 624) the same block after
# tempering, kept (S,) the second value of the polar method where has (S,) is 1.


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


@compiled
def _word(key, words, pos):
    if pos[0] >= 624:
        _twist(words, key)
        pos[0] = 0
    pos[0] += 1
    return np.int64(words[pos[0] - 1])


@compiled
def _join(high, low):
    """random_sample: 53 bits of two words."""
    return (((np.int64(high) >> 5) << 26) | (np.int64(low) >> 6)) * (1.0 / 9007199254740992.0)


@compiled
def _double(key, words, pos):
    high = _word(key, words, pos)
    return _join(high, _word(key, words, pos))


@compiled
def _below(key, words, pos, n):
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


@compiled
def normals(out, key, words, pos, has, kept):
    """out = legacy_gauss, one after another: Marsaglia's polar method, the second of each pair given out first."""
    i = 0
    if has[0] and out.size:
        out[0] = kept[0]
        has[0], kept[0] = 0, 0.0
        i = 1
    while i < out.size:
        p = pos[0]
        while True:
            if p <= 620:
                x = 2.0 * _join(words[p], words[p + 1]) - 1.0
                y = 2.0 * _join(words[p + 2], words[p + 3]) - 1.0
                p += 4
            else:
                pos[0] = p
                x = 2.0 * _double(key, words, pos) - 1.0
                y = 2.0 * _double(key, words, pos) - 1.0
                p = pos[0]
            r = x * x + y * y
            if r < 1.0 and r != 0.0:
                break
        pos[0] = p
        f = math.sqrt(-2.0 * math.log(r) / r)
        out[i] = f * y
        if i + 1 < out.size:
            out[i + 1] = f * x
        else:
            has[0], kept[0] = 1, f * x
        i += 2


# ---- The engine ----------------------------------------


@compiled
def _duration(key, words, pos, dt, kind, a, b, c):
    """TrialEnv.sample_time of a continuous distribution."""
    if kind == UNIFORM:
        t = a + b * _double(key, words, pos)
    else:
        t = -math.log(1.0 - _double(key, words, pos)) * a
        while not b <= t < c:
            t = -math.log(1.0 - _double(key, words, pos)) * a
    div = (t - t % dt) / dt  # Python's t // dt, step by step
    whole = math.floor(div)
    if div - whole > 0.5:
        whole += 1.0
    return whole * dt


@compiled
def run(inputs, labels, n_trials, draws, bounds, rng, task):
    """Write trial after trial into inputs (L, B, I) and labels (L, B), column b from stream b.

    With n_trials = 0 until the L steps are full, the last trial cut; otherwise n_trials of them, of which draws
    (n_trials, D) and bounds (n_trials, P + 1) keep a record, and steps past L are drawn but not written. Returns the
    steps of the last column.
    """
    dt, sigma, sizes, clock_kind, clock_own, clock_par, menu, menu_at, still = task[:9]
    terms, strides, table, blend, noise = task[9:]
    keys, positions, blocks, has, kept = rng
    n_steps, n_batch, n_in = inputs.shape
    n_period = clock_kind.size
    drawn = np.empty(sizes.size)
    edge = np.zeros(n_period + 1, np.int64)
    level = np.empty((n_period, n_in), np.float32)
    z = np.empty(0)
    start = 0
    for b in range(n_batch):
        key, words, pos = keys[b], blocks[b], positions[b : b + 1]
        start = 0
        k = 0
        while k < n_trials or (n_trials == 0 and start < n_steps):
            for d in range(sizes.size):
                drawn[d] = _below(key, words, pos, sizes[d]) if sizes[d] > 0 else _double(key, words, pos)
            t = 0.0
            for p in range(n_period):
                if clock_kind[p] == FIXED:  # this and the menu are rounded to dt already
                    t += clock_par[p, 0]
                elif clock_kind[p] == MENU:
                    t += menu[menu_at[p] + _below(key, words, pos, menu_at[p + 1] - menu_at[p])]
                else:
                    s = b + n_batch * clock_own[p]
                    kind, (mean, low, high) = clock_kind[p], clock_par[p]
                    t += _duration(keys[s], blocks[s], positions[s : s + 1], dt, kind, mean, low, high)
                edge[p + 1] = int(t / dt)

            level[:] = still
            for j in range(terms.shape[0]):
                period, channel, width, row, share = terms[j]
                for d in range(sizes.size):
                    if strides[j, d] != 0:
                        row += strides[j, d] * int(drawn[d])
                gain = 0.0
                if share != SHOW:
                    u = drawn[blend[1]]
                    gain = table[blend[2] + int(drawn[blend[0]])] * (u if share == SHARE_U else 1.0 - u) / 200.0
                for c in range(width):
                    value = table[row + c]
                    level[period, channel + c] = value if share == SHOW else value * gain + 0.5

            for p in range(n_period):
                label = int(drawn[0]) + 1 if p == n_period - 1 else 0
                for i in range(start + edge[p], min(start + edge[p + 1], n_steps)):
                    labels[i, b] = label
                    for c in range(n_in):
                        inputs[i, b, c] = level[p, c]
            for j in range(noise.shape[0]):
                p, channel, width = noise[j]
                n = (edge[p + 1] - edge[p]) * width
                if n > z.size:
                    z = np.empty(2 * n)
                normals(z[:n], key, words, pos, has[b : b + 1], kept[b : b + 1])
                first = start + edge[p]
                for i in range(first, min(start + edge[p + 1], n_steps)):
                    for c in range(width):
                        x = z[(i - first) * width + c] * sigma
                        inputs[i, b, channel + c] = np.float32(np.float64(level[p, channel + c]) + x)

            if n_trials > 0:
                draws[k] = drawn
                bounds[k] = start + edge
            start += edge[n_period]
            k += 1
    return start
