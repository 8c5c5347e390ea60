"""The engine of the compiled replay: neurogym's trials, drawn and shown.

Numba kernels and their helpers; they check nothing. No fastmath: every operation is one that NumPy does, in NumPy's
order, so that the bits agree.

Shapes: B environments side by side, L steps of each, I input channels; P periods and D draws of a trial.
"""

import math
from collections import namedtuple

import numpy as np

from ..jit import entry, inlined, view
from .legacy import WORDS, below, double, normals

compiled = entry(error_model="python")

FIXED, MENU, UNIFORM, TRUNC_EXP = range(4)  # how a duration comes about
SHOW, SHARE_U, SHARE_REST = range(3)  # how a stimulus level comes about

# The trial under way in each column: its draws (B, D), the first step of each period and the end edge (B, P + 1), the
# inputs of each period level (B, P, I), and how many of its steps have been shown, at (B,).
Trial = namedtuple("Trial", "drawn edge level at")


@compiled
def _duration(key, words, pos, dt, kind, a, b, c):
    """TrialEnv.sample_time of a continuous distribution."""
    if kind == UNIFORM:
        t = a + b * double(key, words, pos)
    else:
        t = -math.log(1.0 - double(key, words, pos)) * a
        while not b <= t < c:
            t = -math.log(1.0 - double(key, words, pos)) * a
    div = (t - t % dt) / dt  # Python's t // dt, step by step
    whole = math.floor(div)
    if div - whole > 0.5:
        whole += 1.0
    return whole * dt


@inlined
def _show(inputs, labels, row, b, first, last, drawn, edge, level, z, sigma, plain, noise):
    """Write steps first .. last - 1 of a trial into column b, from `row` on, where they are not 0."""
    n_batch, (n_period, n_in) = labels.shape[1], level.shape
    x, y = view(inputs, b * n_in, (inputs.size,)), view(labels, b, (labels.size,))
    ahead = row - first
    for p in range(n_period):
        low, high = ahead + max(first, edge[p]), ahead + min(last, edge[p + 1])
        if p == n_period - 1:
            for i in range(low, high):
                y[np.uint64(i * n_batch)] = int(drawn[0]) + 1
        for c in range(n_in):
            if plain[p, c] and level[p, c] != 0:
                for i in range(low, high):
                    x[np.uint64(i * n_batch * n_in + c)] = level[p, c]
    begin = 0
    for j in range(noise.shape[0]):
        p, channel, width = noise[j]
        low, high = max(first, edge[p]), min(last, edge[p + 1])
        for c in range(width):
            mean = np.float64(level[p, channel + c])
            k = begin + (low - edge[p]) * width + c
            for i in range(ahead + low, ahead + high):
                x[np.uint64(i * n_batch * n_in + channel + c)] = np.float32(mean + z[np.uint64(k)] * sigma)
                k += width
        begin += (edge[p + 1] - edge[p]) * width


@compiled
def run(inputs, labels, n_trials, draws, bounds, z, trial, rng, task):
    """Show the next L steps of column b of stream b in inputs (L, B, I) and labels (L, B), which are 0 before.

    With n_trials = 0; otherwise so many whole trials, of which draws (n_trials, D) and bounds (n_trials, P + 1) keep a
    record, and steps past L are drawn but not shown. The normals of the trials under way are z (B, .); returns them, in
    a larger array where that was too small, and the steps of the last column.
    """
    dt, sigma, sizes, clock_kind, clock_own, clock_par, menu, menu_at, still = task[:9]
    terms, strides, table, blend, plain, noise = task[9:]
    keys, positions, blocks, has, kept, work = rng
    n_batch, n_period, n_in = trial.level.shape
    n_steps, n_draw = labels.shape[0], sizes.size
    row = 0
    for b in range(n_batch):
        # Views, as slices count references, some 10 ns each.
        key, words, pos = view(keys, WORDS * b, (WORDS,)), view(blocks, WORDS * b, (WORDS,)), view(positions, b, (1,))
        drawn, edge = view(trial.drawn, n_draw * b, (n_draw,)), view(trial.edge, (n_period + 1) * b, (n_period + 1,))
        level = view(trial.level, n_period * n_in * b, (n_period, n_in))
        row = k = 0
        while k < n_trials or (n_trials == 0 and row < n_steps):
            if trial.at[b] == edge[n_period]:
                trial.at[b] = 0
                for d in range(n_draw):
                    drawn[d] = below(key, words, pos, sizes[d]) if sizes[d] > 0 else double(key, words, pos)
                t = 0.0
                for p in range(n_period):
                    if clock_kind[p] == FIXED:  # this and the menu are rounded to dt already
                        t += clock_par[p, 0]
                    elif clock_kind[p] == MENU:
                        t += menu[menu_at[p] + below(key, words, pos, menu_at[p + 1] - menu_at[p])]
                    else:
                        s = b + n_batch * clock_own[p]
                        kind, (mean, low, high) = clock_kind[p], clock_par[p]
                        t += _duration(keys[s], blocks[s], positions[s : s + 1], dt, kind, mean, low, high)
                    edge[p + 1] = int(t / dt)

                for p in range(n_period):
                    for c in range(n_in):
                        level[p, c] = still[p, c]
                for j in range(terms.shape[0]):
                    period, channel, width, place, share = terms[j]
                    for d in range(n_draw):
                        if strides[j, d] != 0:
                            place += strides[j, d] * int(drawn[d])
                    gain = 0.0
                    if share != SHOW:
                        u = drawn[blend[1]]
                        gain = table[blend[2] + int(drawn[blend[0]])] * (u if share == SHARE_U else 1.0 - u) / 200.0
                    for c in range(width):
                        value = table[place + c]
                        level[period, channel + c] = value if share == SHOW else value * gain + 0.5

                n = 0
                for j in range(noise.shape[0]):
                    p, n_new = noise[j, 0], (edge[noise[j, 0] + 1] - edge[noise[j, 0]]) * noise[j, 2]
                    if n + n_new > z.shape[1]:
                        before, z = z, np.empty((n_batch, 2 * (n + n_new)))
                        z[:, : before.shape[1]] = before
                    out = view(z, z.shape[1] * b + n, (n_new,))
                    normals(out, key, words, pos, view(has, b, (1,)), view(kept, b, (1,)), work)
                    n += n_new
                if n_trials > 0:
                    draws[k] = drawn
                    bounds[k] = row + edge
                k += 1

            first, end = trial.at[b], edge[n_period]
            last = min(end, first + n_steps - row)
            if first < last:
                of_z = view(z, z.shape[1] * b, (z.shape[1],))
                _show(inputs, labels, row, b, first, last, drawn, edge, level, of_z, sigma, plain, noise)
            if n_trials == 0:
                end = last
            row += end - first
            trial.at[b] = end
    return z, row
