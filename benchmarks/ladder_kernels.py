"""Kernels of the rows of ladder.py that are no longer in use: loops compiled as they stand, and products by np.dot.

Each is compiled once, by itself, as the package's own are (eirnn_np/jit.py).
Shapes: T time steps, B trials, I inputs, H units, E excitatory units, O outputs, C chunks of trials.
"""

import math

import numpy as np
from numba import njit, prange

from eirnn_np.jit import entry, inlined


def python_loops(c, loss, partial, x, r, z, dx, u, labels, weights, noise, w, wt, w_in, bias, leak, w_out, b_out):
    """Forward, loss and BPTT of the trials of chunk c as plain loops; the first kernels of this package.

    loss (C,), partial (C, n) out: the sums of each chunk, n as the flat parameters, without alpha, b_in left 0.
    x, r (T+1, B, H), row 0 the initial state; z (T, B, O) becomes dz; dx (T+1, B, H), row T is 0. w [to, from],
    wt [from, to], w_in (I, H) and bias (H,) carry alpha.
    """
    (T, B, I), H, (O, E), C = u.shape, x.shape[2], w_out.shape, len(loss)
    at_rec, at_b = H * I + H, H * I + H + H * H
    at_out, at_b_out = at_b + H, at_b + H + O * E
    zero, g, total, dr = x.dtype.type(0), partial[c], 0.0, np.zeros(H, x.dtype)
    g[:] = 0
    for b in range(c * B // C, (c + 1) * B // C):
        for t in range(T):
            new = x[t + 1, b]
            for i in range(H):
                new[i] = leak[i] * x[t, b, i] + noise[t, b, i] + bias[i]
            for j in range(H):
                for i in range(H):
                    new[i] += wt[j, i] * r[t, b, j]  # (F2) (F3)
            for j in range(I):
                for i in range(H):
                    new[i] += w_in[j, i] * u[t, b, j]
            for i in range(H):
                r[t + 1, b, i] = max(new[i], zero)  # (F4)
            for o in range(O):
                z[t, b, o] = b_out[o]
                for j in range(E):
                    z[t, b, o] += w_out[o, j] * r[t + 1, b, j]  # (F5)
            total += cross_entropy(z[t, b], labels[t, b], weights[t, b])
        for t in range(T - 1, -1, -1):
            dr[:] = 0
            for i in range(H):
                for j in range(H):
                    dr[j] += dx[t + 1, b, i] * w[i, j]  # (B3)
            for o in range(O):
                for j in range(E):
                    dr[j] += z[t, b, o] * w_out[o, j]  # (B2)
            for i in range(H):
                d = (dr[i] if x[t + 1, b, i] > zero else zero) + leak[i] * dx[t + 1, b, i]  # (B4)
                dx[t, b, i] = d
                for j in range(I):
                    g[i * I + j] += d * u[t, b, j]  # (B7)
                for j in range(H):
                    g[at_rec + i * H + j] += d * r[t, b, j]  # (B6)
                g[at_b + i] += d  # (B8)
            for o in range(O):
                for j in range(E):
                    g[at_out + o * E + j] += z[t, b, o] * r[t + 1, b, j]  # (B9)
                g[at_b_out + o] += z[t, b, o]  # (B10)
    loss[c] = total


compiled = njit(error_model="numpy")
loops_chunk = compiled(python_loops)


@inlined
def cross_entropy(z, label, weight):
    """w (log sum_o exp z_o - z_label); z (O,) becomes dz = w (softmax - onehot).   (F6, F7, B1)"""
    top, total, picked = z[0], 0.0, z[label]
    for o in range(1, len(z)):
        top = max(top, z[o])
    for o in range(len(z)):
        total += math.exp(z[o] - top)
    for o in range(len(z)):
        z[o] = weight * (math.exp(z[o] - top) / total - (1.0 if o == label else 0.0))
    return weight * (math.log(total) + (top - picked))


@compiled
def dot_chunk(c, loss, partial, x, r, z, dx, u, labels, weights, noise, w, wt, w_in, bias, leak, w_out, b_out):
    """As python_loops, by np.dot on all trials of the chunk at once: rows [r, u, 1], one product a time step each way.

    The read-out and the weight gradients are large products outside the time loops. x, r, z, dx are not used: a chunk
    has its own contiguous arrays, since BLAS would copy strided ones.
    """
    (T, B, I), H, (O, E), C, real = u.shape, x.shape[2], w_out.shape, len(loss), x.dtype
    b0, K, n, zero = c * B // C, H + I + 1, H * I + H, x.dtype.type(0)
    m = (c + 1) * B // C - b0
    wf, read, spread = np.zeros((K, H), real), np.zeros((K, O), real), np.zeros((O, H), real)
    wf[:H], wf[H : H + I], wf[H + I] = wt, w_in, bias
    read[:E], read[H + I], spread[:, :E] = w_out.T, b_out, w_out
    rows, current, state = np.zeros((T + 1, m, K), real), np.zeros((m, H), real), np.zeros((m, H), real)
    rows[:T, :, H : H + I] = u[:, b0 : b0 + m]
    rows[:, :, H + I] = 1
    for t in range(T):
        np.dot(rows[t], wf, current)  # (F2)
        for b in range(m):
            for i in range(H):
                state[b, i] = leak[i] * state[b, i] + current[b, i] + noise[t, b0 + b, i]  # (F3)
                rows[t + 1, b, i] = max(state[b, i], zero)  # (F4)
    after, before, total = rows[1:].reshape(T * m, K), rows[:T].reshape(T * m, K), 0.0
    dz = np.dot(after, read)  # (F5)
    for k in range(T * m):
        total += cross_entropy(dz[k], labels[k // m, b0 + k % m], weights[k // m, b0 + k % m])
    dr, err = np.dot(dz, spread).reshape(T, m, H), np.zeros((T + 1, m, H), real)  # (B2)
    for t in range(T - 1, -1, -1):
        np.dot(err[t + 1], w, current)  # (B3)
        for b in range(m):
            for i in range(H):
                back = current[b, i] + dr[t, b, i] if rows[t + 1, b, i] > zero else zero
                err[t, b, i] = back + leak[i] * err[t + 1, b, i]  # (B4)
    dw, dw_out = np.dot(err[:T].reshape(T * m, H).T, before), np.dot(dz.T, after)  # (B6-B8), (B9-B10)
    g = partial[c]
    g[: H * I] = dw[:, H : H + I].copy().reshape(-1)
    g[n : n + H * H] = dw[:, :H].copy().reshape(-1)
    g[n + H * H : n + H * H + H] = dw[:, H + I]
    g[n + H * H + H : g.size - O] = dw_out[:, :E].copy().reshape(-1)
    g[g.size - O :] = dw_out[:, H + I]
    loss[c] = total


@entry(parallel=True)
def all_chunks(dot, loss, partial, x, r, z, dx, u, labels, weights, noise, w, wt, w_in, bias, leak, w_out, b_out):
    """dot_chunk or loops_chunk on every chunk; chunk c is the one writer of loss[c], partial[c] and its trials."""
    for c in prange(len(loss)):
        if dot:
            dot_chunk(c, loss, partial, x, r, z, dx, u, labels, weights, noise, w, wt, w_in, bias, leak, w_out, b_out)
        else:
            loops_chunk(c, loss, partial, x, r, z, dx, u, labels, weights, noise, w, wt, w_in, bias, leak, w_out, b_out)
