"""The optimisers' updates, in place on the flat buffer."""

import numpy as np

from ..jit import BORROWED, entry, ieee, in_parallel, inlined, kernel, restore, thread_count
from .arrays import ADAM, place

# The largest entry of a gradient that Adam takes: the square of a larger one overflows in its second moment.
GRADIENT_LIMITS = {"float32": 1e15, "float64": 1e150}


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
def adam_range(p, m, v, g, coefficients, factor, lo, hi):
    """Algorithm 1 of Kingma & Ba (2015) on elements lo .. hi-1 of the parameters p, with the gradient factor g."""
    step_size, root_correction, beta1, one_beta1, beta2, one_beta2, eps = coefficients
    p, m, v, g = p[lo:hi], m[lo:hi], v[lo:hi], g[lo:hi]
    for i in range(hi - lo):
        gradient = factor * g[i]
        m[i] = beta1 * m[i] + one_beta1 * gradient
        v[i] = beta2 * v[i] + one_beta2 * (gradient * gradient)
        p[i] -= step_size * m[i] / (np.sqrt(v[i]) * root_correction + eps)


@kernel(late=True)
def sgd_range(p, g, rate, lo, hi):
    """p -= rate g on elements lo .. hi-1, by way of float64.  (S1)"""
    for i in range(lo, hi):
        p[i] = p[i] - rate * g[i]  # (S1)


@kernel
def update_range(p, update, g, coefficients, factor, lo, hi):
    """The update of elements lo .. hi-1 by what `update` says; those that are frozen keep bytes and moments."""
    first = lo
    while first < hi:
        end = hi
        if update.frozen.size > 0:  # the next run of numbers that are trained
            while first < hi and update.frozen[first] != 0:
                first += 1
            end = first
            while end < hi and update.frozen[end] == 0:
                end += 1
        if update.kind == ADAM:
            adam_range(p, update.m, update.v, g, coefficients, p.dtype.type(factor), first, end)
        else:
            sgd_range(p, g, update.lr * factor, first, end)
        first = end


@kernel(late=True)
def freeze_range(g, frozen, lo, hi):
    """A number that is frozen has the gradient 0."""
    for i in range(lo, hi):
        if frozen[i] != 0:
            g[i] = 0


@kernel
def update_units(p, update, g, coefficients, sound, lo, hi, I, H, R, O):
    """What belongs to units (from H on: outputs) lo .. hi-1 frozen and, if `sound`, updated: a range of each array."""
    for which in range(7):  # w_in, b_in, w_rec, b_rec, w_out, b_out, x0
        start, size = place(which, I, H, R, O)
        first, last = lo, min(hi, H)
        if which == 4 or which == 5:
            first, last = max(lo, H) - H, hi - H
        if first < last and start < p.size:
            a, b = start + first * size, start + last * size
            if update.frozen.size > 0:
                freeze_range(g, update.frozen, a, b)
            if sound:
                update_range(p, update, g, coefficients, 1.0, a, b)


NORM_BLOCK = 4096  # numbers of one partial sum of the norm: it depends on nothing but the flat buffer


@kernel
def norm_block(norms, g, q):
    """norms[q] = largest |g| of the q-th block of g, and the sum of the squares of g over that, in float64."""
    lo, hi = q * NORM_BLOCK, min(g.size, q * NORM_BLOCK + NORM_BLOCK)
    largest = 0.0
    for i in range(lo, hi):
        size = np.float64(abs(g[i]))
        largest = size if size > largest else largest
    total = 0.0
    if largest > 0.0:  # so that no square overflows
        for i in range(lo, hi):
            share = g[i] / largest
            total += share * share
    norms[q, 0] = largest
    norms[q, 1] = total


@kernel
def clip_factor(norms, clip, largest):
    """min(1, clip / |g|) from the blocks of `norm_block`, summed in order; 0 where |g| is above `largest`.  (S1)"""
    top, total = 0.0, 0.0
    for q in range(norms.shape[0]):
        top = norms[q, 0] if norms[q, 0] > top else top
    if top == 0.0:
        return 1.0
    for q in range(norms.shape[0]):
        share = norms[q, 0] / top
        total += norms[q, 1] * (share * share)
    norm = np.sqrt(total)  # over top
    if norm > largest / top:
        return 0.0
    return clip / top / norm if norm > clip / top else 1.0


@inlined
def finite(a):
    bad = False
    for i in range(a.size):
        bad |= a[i] - a[i] != 0
    return not bad


@kernel
def count_update(update, params, loss, factor):
    """Count an update whose parameters and second moments are finite; the others, the caller sees by the count."""
    if finite(params) and finite(update.v):
        update.done[0] += 1
        update.done[1] = loss
        if factor < 1.0:
            update.done[2] += 1


@inlined
def wants_norm(update):
    """Does the norm of the gradient decide on the update?"""
    return update.clip < np.inf or update.largest < np.inf


@kernel
def update_block(p, update, g, coefficients, factor, q):
    """The q-th block of the flat buffer updated."""
    update_range(p, update, g, coefficients, factor, q * NORM_BLOCK, min(p.size, q * NORM_BLOCK + NORM_BLOCK))


@kernel
def freeze_block(update, g, q):
    freeze_range(g, update.frozen, q * NORM_BLOCK, min(g.size, q * NORM_BLOCK + NORM_BLOCK))


norm_all, update_all, freeze_all = in_parallel(norm_block), in_parallel(update_block), in_parallel(freeze_block)


@kernel(late=True)
def norm_blocks(norms, g):
    """All blocks of the flat buffer for its norm."""
    norm_all(norms.shape[0], thread_count(), norms, g)


@kernel(late=True)
def update_blocks(p, update, g, factor):
    """The update of all numbers, with the gradient factor g."""
    blocks = (p.size + NORM_BLOCK - 1) // NORM_BLOCK
    update_all(blocks, thread_count(), p, update, g, adam_coefficients(p.dtype.type, update), factor)


@kernel(late=True)
def update_by_norm(p, update, g, norms, loss):
    """The update of all numbers by the clipped gradient, counted; none if its norm is above `largest`."""
    norm_blocks(norms, g)
    factor = clip_factor(norms, update.clip, update.largest)
    if factor > 0.0:
        update_blocks(p, update, g, factor)
        count_update(update, p, loss, factor)


@entry(**BORROWED)
def apply_update(p, update, g, norms):
    """An update of Adam or SGD, in place on the flat buffer p and the moments of `update`; g is the gradient.

    norms (blocks, 2) is work. Frozen numbers get the gradient 0. The same bits as in the training step.
    """
    mode = ieee()
    if update.frozen.size > 0:
        freeze_all(norms.shape[0], thread_count(), update, g)
    if wants_norm(update):
        update_by_norm(p, update, g, norms, 0.0)
    else:
        update_blocks(p, update, g, 1.0)
        count_update(update, p, 0.0, 1.0)
    restore(mode)
