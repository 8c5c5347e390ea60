"""What is done for units (and outputs): the weights are packed before the chunks, and gradients gathered after them."""

from ..jit import kernel
from .arrays import BRAINPY, split
from .tile import panel


@kernel
def pack_units(ws, network, make_noise, q, I, O):
    """The q-th vector of units' share of both packed matrices: columns of wf, rows of wb; and of vecs.

    wf = [a W_rec^T, [W_out^T; 0]; a W_in^T, 0; a b, b_out], wb = [a W_rec; W_out 0], and vecs = [1 - a, scale or 1],
    one copy for each trial of a chunk.
    """
    mask, alpha, E = network.mask, network.alpha, network.n_exc
    H, lanes, stride = mask.shape[0], 64 // ws.wf.itemsize, ws.dw.shape[2]
    w_in, b_in, w_rec, b_rec, w_out, b_out = split(network.params, I, H, E, O)
    first, end, rows = q * lanes, min(q * lanes + lanes, H + O), H + I + 1
    vecs, p0 = (H + O + lanes - 1) // lanes, 0
    while p0 + panel(vecs) <= q:
        p0, vecs = p0 + panel(vecs), vecs - panel(vecs)
    width = panel(vecs) * lanes
    to = ws.wf[p0 * lanes * rows :][: rows * width].reshape((rows, width))[:, first - p0 * lanes :]
    vecs, j0 = (H + lanes - 1) // lanes, 0
    while vecs > 0:  # columns j0 .. j1-1: a panel of wb
        width = panel(vecs) * lanes
        j1 = min(j0 + width, H)
        by = ws.wb[j0 * (H + O) :][: (H + O) * width].reshape((H + O, width))
        for i in range(first, end):
            if i < H:
                for j in range(j1 - j0):
                    by[i, j] = alpha[i] * (abs(w_rec[i, j0 + j]) * mask[i, j0 + j])  # (F1)
            else:
                for j in range(min(j1, E) - j0):
                    by[i, j] = w_out[i - H, j0 + j]
        for j in range(j1 - j0):
            for i in range(first, end):
                to[j0 + j, i - first] = by[i, j]
        j0 += width
        vecs -= width // lanes
    for i in range(first, end):
        if i < H:
            for j in range(I):
                to[H + j, i - first] = alpha[i] * w_in[i, j]
            to[H + I, i - first] = alpha[i] * (b_rec[i] if network.dynamics == BRAINPY else b_rec[i] + b_in[i])
            for b in range(ws.vecs.shape[1] // stride):
                ws.vecs[0, b * stride + i] = 1 - alpha[i]
                ws.vecs[1, b * stride + i] = network.scale[i] if make_noise else 1
        else:
            to[H + I, i - first] = b_out[i - H]


@kernel
def gather_units(out, ws, network, lo, hi, I, O):
    """Gradients of units (from H on: outputs) lo .. hi-1: the chunks added in order, then a and M sign(theta)."""
    mask, H, E, dw, dx0 = network.mask, network.mask.shape[0], network.n_exc, ws.dw, ws.dx0
    theta, zero = split(network.params, I, H, E, O)[2], network.params.dtype.type(0)
    w_in, b_in, w_rec, b_rec, w_out, b_out = split(out.grads, I, H, E, O)
    for i in range(lo, hi):
        for c in range(1, dw.shape[0]):
            for j in range(H + I + 1):
                dw[0, i, j] += dw[c, i, j]
        if i >= H:
            for j in range(E):
                w_out[i - H, j] = dw[0, i, j]  # (B9), reverses z = W_out r + ...  (F5)
            b_out[i - H] = dw[0, i, H + I]  # (B10), reverses z = ... + b_out  (F5)
            continue
        a = network.alpha[i]  # (B5), reverses x = ... + a c  (F3)
        for j in range(H):
            v = a * dw[0, i, j] * mask[i, j]
            w_rec[i, j] = v if theta[i, j] > zero else (-v if theta[i, j] < zero else zero)  # (B6): W_rec = |theta| M
        for j in range(I):
            w_in[i, j] = a * dw[0, i, H + j]  # (B7), reverses c = ... + W_in u  (F2)
        b_rec[i] = a * dw[0, i, H + I]  # (B8), reverses c = ... + b_rec + b_in  (F2)
        b_in[i] = zero if network.dynamics == BRAINPY else b_rec[i]
        v = dx0[0, i]
        for c in range(1, dx0.shape[0]):
            v += dx0[c, i]
        out.dx_start[i] = v
