"""Compiled search for fixed points: the speed and its gradient, descent from many starts at once, exact regions.

A step without noise at constant input is F(x) = K f(x) + (1 + m) x + c, with f the activation: both dynamics have this
form (see field.py). Every start has one writer, so that nothing depends on the number of threads. Shapes: P starts, H
units.
"""

import math

import numpy as np
from numba import prange

from ..jit import entry, ieee, inlined, kernel, restore

NAMES = ("relu", "softplus", "tanh", "retanh", "sigmoid")
RELU, SOFTPLUS, TANH, RETANH, SIGMOID = range(5)


@inlined
def rate(activation, x):
    """r = f(x) of one unit."""
    if activation == RELU:
        return max(x, 0.0)
    if activation == SOFTPLUS:
        return max(x, 0.0) + math.log1p(math.exp(-abs(x)))
    if activation == TANH:
        return math.tanh(x)
    if activation == RETANH:
        return max(math.tanh(x), 0.0)
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


@inlined
def slope(activation, r):
    """f'(x) as a function of r = f(x)."""
    if activation == RELU:
        return 1.0 if r > 0 else 0.0
    if activation == SOFTPLUS:
        return -math.expm1(-r)
    if activation == TANH:
        return 1 - r * r
    if activation == RETANH:
        return 1 - r * r if r > 0 else 0.0
    return r * (1 - r)


@entry
def velocity(g, s, r, x, k, m, c, activation):
    """g (H,) = F(x) - x = K f(x) + m x + c, s (H,) = f'(x); returns the speed |g|^2 / 2.   (D1)"""
    H = len(x)
    for j in range(H):
        r[j] = rate(activation, x[j])
        s[j] = slope(activation, r[j])
    q = 0.0
    for i in range(H):
        total = m[i] * x[i] + c[i]
        for j in range(H):
            total += k[i, j] * r[j]
        g[i] = total
        q += 0.5 * total * total  # (D1)
    return q


@entry
def speed_gradient(dq, g, s, k, m):
    """dq (H,) = (J - I)^T g, with J - I = K diag(s) + diag(m).   (D2)"""
    H = len(g)
    for j in range(H):
        dq[j] = 0.0
    for i in range(H):
        for j in range(H):
            dq[j] += k[i, j] * g[i]
    for j in range(H):
        dq[j] = s[j] * dq[j] + m[j] * g[j]  # (D2)


@kernel
def solve_damped(step, n, dq, s, kk, k, m, damping):
    """step (H,) solves ((J - I)^T (J - I) + damping) step = -dq by Cholesky; False where that fails.   (D3)

    n (H, H) is work space; kk = K^T K, so that the product is made in H^2 operations.
    """
    H = len(dq)
    for i in range(H):
        for j in range(i, H):
            n[i, j] = s[i] * s[j] * kk[i, j] + s[i] * k[j, i] * m[j] + m[i] * k[i, j] * s[j]  # (D3)
        n[i, i] += m[i] * m[i] + damping
    for a in range(H):  # n = U^T U, U in the upper triangle
        if not n[a, a] > 0:
            return False
        pivot = math.sqrt(n[a, a])
        for j in range(a, H):
            n[a, j] /= pivot
        for i in range(a + 1, H):
            factor = n[a, i]
            for j in range(i, H):
                n[i, j] -= factor * n[a, j]
    for i in range(H):  # U^T y = -dq
        step[i] = -dq[i]
    for i in range(H):
        step[i] /= n[i, i]
        for j in range(i + 1, H):
            step[j] -= n[i, j] * step[i]
    for i in range(H - 1, -1, -1):  # U step = y
        total = step[i]
        for j in range(i + 1, H):
            total -= n[i, j] * step[j]
        step[i] = total / n[i, i]
    return True


@kernel
def solve_in_place(a, b):
    """b (H,) becomes a^-1 b by elimination with pivots, a (H, H) is destroyed; False where a is singular."""
    H = len(b)
    largest = 0.0
    for i in range(H):
        for j in range(H):
            largest = max(largest, abs(a[i, j]))
    for column in range(H):
        best = column
        for i in range(column + 1, H):
            if abs(a[i, column]) > abs(a[best, column]):
                best = i
        if not abs(a[best, column]) > 1e-13 * largest:
            return False
        if best != column:
            for j in range(column, H):
                a[best, j], a[column, j] = a[column, j], a[best, j]
            b[best], b[column] = b[column], b[best]
        for i in range(column + 1, H):
            factor = a[i, column] / a[column, column]
            if factor != 0:
                for j in range(column + 1, H):
                    a[i, j] -= factor * a[column, j]
                b[i] -= factor * b[column]
    for i in range(H - 1, -1, -1):
        total = b[i]
        for j in range(i + 1, H):
            total -= a[i, j] * b[j]
        b[i] = total / a[i, i]
    return True


@kernel
def descend(x, g, s, r, dq, step, trial, n, k, kk, m, c, activation, most_steps):
    """Go down the speed from x (H,), in place, by damped Gauss-Newton steps; returns (speed, steps).   (D3)

    With much damping a step follows the gradient, with none it is Newton's.
    """
    H = len(x)
    q = velocity(g, s, r, x, k, m, c, activation)
    damping, growth = 1e-3, 2.0
    for taken in range(most_steps):
        speed_gradient(dq, g, s, k, m)
        size = steep = 0.0
        for i in range(H):
            size = max(size, abs(x[i]))
            steep = max(steep, abs(dq[i]))
        if q < 1e-30 * (1 + size * size) or steep < 1e-16:
            return q, taken
        while True:
            better = q
            if solve_damped(step, n, dq, s, kk, k, m, damping):
                for i in range(H):
                    trial[i] = x[i] + step[i]
                better = velocity(g, s, r, trial, k, m, c, activation)
            if better < q:
                break
            damping *= growth
            growth *= 2
            if not damping < 1e12:  # no way down from here: a minimum, or a kink
                return velocity(g, s, r, x, k, m, c, activation), taken
        gained = (q - better) / q
        q = better
        for i in range(H):
            x[i] = trial[i]
        damping, growth = max(damping / 3, 1e-14), 2.0
        if gained < 1e-9:
            return q, taken
    return q, most_steps


@kernel
def newton(x, q, g, s, r, step, trial, n, k, m, c, activation):
    """Newton's steps x - (J - I)^-1 (F(x) - x), as long as each brings the speed down; returns the speed.   (D4)"""
    H = len(x)
    for _ in range(50):
        velocity(g, s, r, x, k, m, c, activation)
        for i in range(H):
            step[i] = -g[i]
            for j in range(H):
                n[i, j] = k[i, j] * s[j]
            n[i, i] += m[i]
        if not solve_in_place(n, step):
            return q
        for i in range(H):
            trial[i] = x[i] + step[i]  # (D4)
        better = velocity(g, s, r, trial, k, m, c, activation)
        if not better < q:
            return q
        q = better
        for i in range(H):
            x[i] = trial[i]
    return q


@entry(parallel=True)
def search(x, speeds, steps, k, kk, m, c, activation, most_steps):
    """From each start x (P, H), in place, to a minimum of the speed. Outputs: x, speeds (P,), steps (P,).

    Inputs k, kk = K^T K (H, H), m, c (H,). Each start is one thread's.
    """
    P, H = x.shape
    for p in prange(P):
        mode = ieee()
        g, s, r, dq, step, trial = (np.empty(H), np.empty(H), np.empty(H), np.empty(H), np.empty(H), np.empty(H))
        n = np.empty((H, H))
        q, taken = descend(x[p], g, s, r, dq, step, trial, n, k, kk, m, c, activation, most_steps)
        speeds[p] = newton(x[p], q, g, s, r, step, trial, n, k, m, c, activation)
        steps[p] = taken
        restore(mode)


@entry(parallel=True)
def solve_regions(x, inside, active, k, m, c):
    """The fixed point of each linear region of a ReLU network. Outputs: x (R, H), inside (R,) bool.   (D5)

    active (R, H) bool says which units are above 0; `inside` where the solution lies in its own region. Silent units
    send nothing, so the system is one of the active ones; the state of the silent ones then follows.
    """
    R, H = active.shape
    for p in prange(R):
        mode = ieee()
        units = np.flatnonzero(active[p])
        A = len(units)
        n, y = np.empty((A, A)), np.empty(A)
        for a in range(A):
            i = units[a]
            y[a] = -c[i]
            for b in range(A):
                n[a, b] = k[i, units[b]]
            n[a, a] += m[i]
        inside[p] = solve_in_place(n, y)  # (D5)
        for i in range(H):
            total = c[i]
            for b in range(A):
                total += k[i, units[b]] * y[b]
            x[p, i] = -total / m[i]  # of an active unit, the solution again
            if (x[p, i] > 0) != active[p, i]:
                inside[p] = False
        restore(mode)
