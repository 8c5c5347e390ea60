"""The optimisers' updates, in place on the flat buffer."""

import numpy as np
from numba import prange

from ..jit import entry, inlined, kernel


@inlined
def power(base, k):
    """base**k by squaring: products only, so the same bits everywhere (a C library's pow is not)."""
    result = 1.0
    while k > 0:
        if k & 1:
            result *= base
        base, k = base * base, k >> 1
    return result


@inlined
def adam_coefficients(real, update):
    """lr / (1 - beta1^k), 1 / sqrt(1 - beta2^k), betas, 1 - betas, eps: from float64, rounded to the type `real`."""
    beta1, beta2, k = update.beta1, update.beta2, np.int64(update.done[0]) + 1
    step_size, root_correction = update.lr / (1 - power(beta1, k)), 1 / np.sqrt(1 - power(beta2, k))
    return (
        real(step_size), real(root_correction), real(beta1), real(1 - beta1), real(beta2), real(1 - beta2),
        real(update.eps),
    )  # fmt: skip


@kernel
def adam_range(p, m, v, g, coefficients, lo, hi):
    """Algorithm 1 of Kingma & Ba (2015) on elements lo .. hi-1 of the parameters p, with the gradient g."""
    step_size, root_correction, beta1, one_beta1, beta2, one_beta2, eps = coefficients
    p, m, v, g = p[lo:hi], m[lo:hi], v[lo:hi], g[lo:hi]
    for i in range(hi - lo):
        m[i] = beta1 * m[i] + one_beta1 * g[i]
        v[i] = beta2 * v[i] + one_beta2 * (g[i] * g[i])
        p[i] -= step_size * m[i] / (np.sqrt(v[i]) * root_correction + eps)


@kernel
def adam_units(p, m, v, g, coefficients, lo, hi, I, H, E, O):
    """The update of what belongs to units (from H on: outputs) lo .. hi-1: a range of each array in the flat buffer."""
    top, end = min(hi, H), H * (I + H + 2) + O * (E + 1)
    if lo < H:
        start = 0
        for size in (I, 1, H, 1):  # w_in, b_in, w_rec, b_rec
            adam_range(p, m, v, g, coefficients, start + lo * size, start + top * size)
            start += H * size
        if p.size > end:
            adam_range(p, m, v, g, coefficients, end + lo, end + top)
    if hi > H:
        bottom, start = max(lo, H) - H, H * (I + H + 2)
        for size in (E, 1):  # w_out, b_out
            adam_range(p, m, v, g, coefficients, start + bottom * size, start + (hi - H) * size)
            start += O * size


@inlined
def finite(a):
    bad = False
    for i in range(a.size):
        bad |= a[i] - a[i] != 0
    return not bad


@kernel
def count_update(update, params, loss):
    """Count an update whose parameters and second moments are finite; the others, the caller sees by the count."""
    if finite(params) and finite(update.v):
        update.done[0] += 1
        update.done[1] = loss


@entry(parallel=True)
def adam(p, update, g):
    """An update of Adam, in place on the flat buffer p and the moments of `update`; g is the gradient."""
    m, v, coefficients = update.m, update.v, adam_coefficients(p.dtype.type, update)
    for q in prange((p.size + 8191) // 8192):
        adam_range(p, m, v, g, coefficients, q * 8192, min(p.size, q * 8192 + 8192))
    count_update(update, p, 0.0)


@entry
def sgd(p, done, g, rate, clipped):
    """p -= rate g (S1), by way of float64; done (2,) counts the updates, and those whose gradient was clipped."""
    bad = False
    for i in range(p.size):
        new = p.dtype.type(p[i] - rate * g[i])
        bad |= new - new != 0
    if not bad:
        for i in range(p.size):
            p[i] = p[i] - rate * g[i]
        done[0] += 1
        done[1] += clipped
