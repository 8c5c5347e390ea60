"""What is done for units (and outputs): the weights are packed before the chunks, and gradients gathered after them."""

import numpy as np

from ..jit import inlined, kernel, row, view
from .arrays import ABS, BRAINPY, FREE, RECTIFY, place, split
from .tile import add, move, panel


@inlined
def weight(theta, constraint, zero):
    """g(theta).  (F1)"""
    positive = theta if theta > zero else zero
    return abs(theta) if constraint == ABS else (positive if constraint == RECTIFY else theta)


@inlined
def through(v, theta, constraint, zero):
    """v g'(theta), reverses g(theta)  (F1)."""
    below = -v if theta < zero and constraint == ABS else zero
    return v if theta > zero or constraint == FREE else below


@kernel
def weight_row(to, k, factor, theta, mask, i, j0, n, constraint):
    """to[k, :n] = factor g(theta) M, of row i from column j0 on."""
    zero = to.dtype.type(0)
    for j in range(n):
        to[k, j] = factor * (weight(theta[i, j0 + j], constraint, zero) * mask[i, j0 + j])  # (F1)


@kernel(late=True)
def penalty_units(ws, network, q, lo, hi, I, O):
    """ws.fine[q]: the penalty of the weights of units (from H on: outputs) lo .. hi-1, in float64.  (F10)"""
    H, R, penalties, params = network.mask.shape[0], network.n_read, network.penalties, network.params
    value = 0.0
    for which in range(3):  # w_in, w_rec, w_out
        start, width = place(2 * which, I, H, R, O)
        units, first, end = (O, max(lo, H) - H, hi - H) if which == 2 else (H, lo, min(hi, H))
        total, squares = 0.0, 0.0
        for k in range(start + first * width, start + end * width):
            theta = np.float64(params[k])
            total += abs(theta)
            squares += theta * theta
        value += (penalties[which] * total + penalties[3 + which] * squares) / (units * width)
    ws.fine[q] = value


@kernel
def pack_units(ws, network, make_noise, I, O, q):
    """The q-th vector of units' share of both packed matrices: columns of wf, rows of wb; and of vecs.

    wf = [a W_rec^T, [W_out^T; 0]; a W_in^T, 0; a b, b_out], wb = [a W_rec; W_out 0], and vecs = [1 - a, scale or 1],
    one copy for each trial of a chunk. Where weights are penalised, the penalty of these goes to fine.
    """
    mask, alpha, R = network.mask, network.alpha, network.n_read
    H, lanes, stride = mask.shape[0], 64 // ws.wf.itemsize, ws.sums.shape[1]
    w_in, b_in, w_rec, b_rec, w_out, b_out = split(network.params, I, H, R, O)
    one, work = network.params.dtype.type(1), row(ws.sums, q, (1, stride))
    first, end, rows = q * lanes, min(q * lanes + lanes, H + O), H + I + 1
    vecs, p0 = (H + O + lanes - 1) // lanes, 0
    while p0 + panel(vecs) <= q:
        p0, vecs = p0 + panel(vecs), vecs - panel(vecs)
    width = panel(vecs) * lanes
    left = p0 * lanes
    to = view(ws.wf, left * rows, (rows, width))
    vecs, j0 = (H + lanes - 1) // lanes, 0
    while vecs > 0:  # columns j0 .. j1-1: a panel of wb
        width = panel(vecs) * lanes
        j1 = min(j0 + width, H)
        by = view(ws.wb, j0 * (H + O), (H + O, width))
        for i in range(first, end):
            if i < H:
                weight_row(by, i, alpha[i], w_rec, mask, i, j0, j1 - j0, network.constraint)
            else:
                weight_row(by, i, one, w_out, network.mask_out, i - H, j0, min(j1, R) - j0, network.constraint_out)
        for j in range(j1 - j0):
            for i in range(first, end):
                to[j0 + j, i - left] = by[i, j]
        j0 += width
        vecs -= width // lanes
    for i in range(first, end):
        if i < H:
            weight_row(work, 0, alpha[i], w_in, network.mask_in, i, 0, I, network.constraint_in)
            for j in range(I):
                to[H + j, i - left] = work[0, j]
            to[H + I, i - left] = alpha[i] * (b_rec[i] if network.dynamics == BRAINPY else b_rec[i] + b_in[i])
            for b in range(ws.vecs.shape[1] // stride):
                ws.vecs[0, b * stride + i] = 1 - alpha[i]
                ws.vecs[1, b * stride + i] = network.scale[i] if make_noise else 1
        else:
            to[H + I, i - left] = b_out[i - H]
    if ws.fine.size > 0:
        penalty_units(ws, network, q, first, end, I, O)


@inlined
def pull(theta, l1, l2):
    """What a penalty adds to the gradient at theta; both factors are over the number of weights.  (B13)"""
    sign = 1.0 if theta > 0 else (-1.0 if theta < 0 else 0.0)
    return l1 * sign + 2.0 * l2 * theta


@kernel(late=True)
def pull_units(out, network, lo, hi, I, O):
    """Add the gradients of the weights' penalties to those of units (from H on: outputs) lo .. hi-1."""
    H, R, penalties, params, grads = (
        network.mask.shape[0], network.n_read, network.penalties, network.params, out.grads
    )  # fmt: skip
    for which in range(3):  # w_in, w_rec, w_out
        start, width = place(2 * which, I, H, R, O)
        units, first, end = (O, max(lo, H) - H, hi - H) if which == 2 else (H, lo, min(hi, H))
        l1, l2 = penalties[which] / (units * width), penalties[3 + which] / (units * width)
        for k in range(start + first * width, start + end * width):
            grads[k] += pull(np.float64(params[k]), l1, l2)  # (B13)


@inlined
def sum_row(sums, dw, i):
    """sums = those of dw[c, :, i] over the chunks, in order."""
    chunks, vecs, M, lanes = dw.shape
    for v in range(vecs):
        move(sums, v * lanes, dw, (v * M + i) * lanes)
        for c in range(1, chunks):
            add(sums, v * lanes, dw, ((c * vecs + v) * M + i) * lanes)


@kernel
def gradient_row(to, i, factor, sums, mask, theta, constraint):
    """to[i] = factor sums M g'(theta), for row i of a matrix: reverses g(theta) M  (F1) in c, z = ... + W r, W u."""
    zero = to.dtype.type(0)
    for j in range(to.shape[1]):
        to[i, j] = through(factor * sums[j] * mask[i, j], theta[i, j], constraint, zero)


@kernel
def gather_units(out, ws, network, lo, hi, I, O):
    """Gradients of units (from H on: outputs) lo .. hi-1: the chunks added in order, then a, M and g'(theta)."""
    H, R, dx0, real = network.mask.shape[0], network.n_read, ws.dx0, network.params.dtype.type
    zero, one = real(0), real(1)
    theta_in, _, theta, _, theta_out, _ = split(network.params, I, H, R, O)
    w_in, b_in, w_rec, b_rec, w_out, b_out = split(out.grads, I, H, R, O)
    sums = row(ws.sums, lo // ws.dw.shape[3], (ws.sums.shape[1],))
    for i in range(lo, hi):
        sum_row(sums, ws.dw, i)
        if i >= H:
            gradient_row(w_out, i - H, one, sums, network.mask_out, theta_out, network.constraint_out)  # (B9)
            b_out[i - H] = sums[H + I]  # (B10), reverses z = ... + b_out  (F5)
            continue
        a = network.alpha[i]  # (B5), reverses x = ... + a c  (F3)
        gradient_row(w_rec, i, a, sums, network.mask, theta, network.constraint)  # (B6)
        gradient_row(w_in, i, a, view(sums, H, (I,)), network.mask_in, theta_in, network.constraint_in)  # (B7)
        b_rec[i] = a * sums[H + I]  # (B8), reverses c = ... + b_rec + b_in  (F2)
        b_in[i] = zero if network.dynamics == BRAINPY else b_rec[i]
        v = dx0[0, i]
        for c in range(1, dx0.shape[0]):
            v += dx0[c, i]
        out.dx_start[i] = v


@kernel(late=True)
def gather_omega(out, ws, network, lo, hi, I, O):
    """Add omega dOmega to the gradient of w_rec, rows lo .. hi-1: the chunks in order, then a (1 - a), M, g'(theta)."""
    mask, H, number = network.mask, network.mask.shape[0], 0.0
    theta = split(network.params, I, H, network.n_read, O)[2]
    w_rec = split(out.grads, I, H, network.n_read, O)[2]
    for c in range(ws.loss.shape[0]):
        number += ws.loss[c, 3]
    sums = row(ws.sums, lo // ws.dw.shape[3], (ws.sums.shape[1],))
    factor, zero = network.penalties[7] / max(number, 1.0), network.params.dtype.type(0)
    for i in range(lo, min(hi, H)):
        a = np.float64(network.alpha[i])
        scale = network.params.dtype.type(factor * a * (1.0 - a))
        sum_row(sums, ws.domega, i)
        for j in range(H):
            w_rec[i, j] += through(scale * sums[j] * mask[i, j], theta[i, j], network.constraint, zero)  # (B15)


@kernel(late=True)
def gather_penalties(out, ws, network, lo, hi, I, O):
    """Add the gradients of the penalties in use, for units lo .. hi-1."""
    if ws.fine.size > 0:
        pull_units(out, network, lo, hi, I, O)
    if ws.domega.size > 0:
        gather_omega(out, ws, network, lo, hi, I, O)
