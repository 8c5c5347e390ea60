"""One chunk of trials: forward, loss, backward.

Its arrays are rows of the workspace, flat; every row of units in them is `stride` long.
"""

from ..jit import inlined, kernel
from .arrays import BRAINPY
from .losses import cross_entropy, squared_error
from .normals import normal_rows
from .tile import product


@kernel
def forward_chunk(rows, z, states, x, normals, words, wf, leak, gain, x_start, inputs, draw, dynamics, b0):
    """x_{s+1} = (1-a) x_s + noise_{s+1} + a c_{s+1}; r_s = max(x_s, 0); z_s; for trials b0 .. b0+m-1.

    Writes rows (T+1, m stride), z (O, T, m) and, unless it is empty, states (T, B, H); x, normals (m, stride) are work.
    """
    T, I, H, O = inputs.shape[0], inputs.shape[2], x_start.size, z.shape[0]
    m, stride = x.shape
    lanes, zero = 64 // x.itemsize, x.dtype.type(0)
    flat_x, flat_normals, flat_rows = x.reshape(x.size), normals.reshape(x.size), rows.reshape(rows.size)
    flat_normals[:] = zero
    flat_x[:] = zero
    for b in range(m):
        for i in range(H):
            x[b, i] = x_start[i]
    for s in range(T + 1):  # x is [x_s, z_{s-1}]
        if s > 1:
            for b in range(m):
                for o in range(O):
                    z[o, s - 2, b] = x[b, H + o]
        if s > 0 and states.size > 0:
            for b in range(m):
                for i in range(H):
                    states[s - 1, b0 + b, i] = x[b, i]
        if s < T and draw.make:
            normal_rows(normals, words, draw.seed, draw.step, s, dynamics == BRAINPY, b0, m, H)
        elif s < T:
            for b in range(m):
                for i in range(H):
                    normals[b, i] = draw.noise[s, b0 + b, i]
        for i in range(m * stride):
            v = flat_x[i]
            r = zero if v <= zero else v  # (F4)
            rows[s, i] = r
            flat_x[i] = leak[i] * (r if dynamics == BRAINPY else v) + gain[i] * flat_normals[i]  # (F3)
        for b in range(m):
            for i in range(I):
                rows[s, b * stride + H + i] = inputs[s, b0 + b, i] if s < T else zero
            rows[s, b * stride + H + I] = 1
        row = s * m * stride
        vecs = (H + O + lanes - 1) // lanes
        product(flat_x, 0, stride, flat_rows, row, stride, 1, wf, 0, 0, m, H + I + 1, vecs)  # (F2) (F5)
    for b in range(m):
        for o in range(O):
            z[o, T - 1, b] = x[b, H + o]


@kernel
def backward_chunk(dw, dx0, errs, dx, dr, rows, dz, wb, leak, I, H, dynamics):
    """dr_s = errs_s wb; dx_s = dr_s (x_s > 0) + (1-a) dx_{s+1}; dw += errs^T rows, a block of steps at a time.

    Writes dw (H+O, stride), without the factor a, and dx0 (H,); errs (block, m stride), dx and dr (m stride) are work.
    """
    O, T, m = dz.shape
    stride, block, n = dw.shape[1], errs.shape[0], dr.size
    lanes, zero = 64 // dr.itemsize, dr.dtype.type(0)
    flat_dw, flat_rows, flat_errs = dw.reshape(dw.size), rows.reshape(rows.size), errs.reshape(errs.size)
    for i in range(H + O):
        for j in range(stride):
            dw[i, j] = zero
    slot = block - 1  # of errs_s; runs down with s, from block - 1 to 0 and round
    for i in range(n):
        dx[i] = zero
        dr[i] = zero
        errs[slot, i] = zero
    for s in range(T, -1, -1):  # dx is dx_{s+1}
        if s > 0:
            for b in range(m):
                for o in range(O):
                    errs[slot, b * stride + H + o] = dz[o, s - 1, b]
        # reverses a c_{s+1}, z_s = rows_s wf  (F2) (F5): first for r_s, then for the weights
        vecs = (H + lanes - 1) // lanes
        product(dr, 0, stride, flat_errs, slot * n, stride, 1, wb, 0, 0, m, H + O, vecs)  # (B2) (B3)
        if slot == 0 or s == 0:
            steps, vecs = (block - slot) * m, (H + I + lanes) // lanes
            product(
                flat_dw, 0, stride, flat_errs, slot * n, 1, stride, flat_rows, s * n, stride, H + O, steps, vecs
            )  # fmt: skip
        slot = slot - 1 if slot > 0 else block - 1
        for i in range(n):
            keep = leak[i] * dx[i]  # reverses x_{s+1} = (1-a) x_s + ...  (F3)
            if dynamics == BRAINPY:
                v = dr[i] + keep if rows[s, i] > zero else zero
            else:
                v = (dr[i] if rows[s, i] > zero else zero) + keep  # (B4), reverses r_s = max(x_s, 0)  (F4)
            dx[i] = v
            errs[slot, i] = v
            dr[i] = zero
    for i in range(H):
        v = dx[i]
        for b in range(1, m):
            v += dx[b * stride + i]  # (B11), reverses x_0 in every trial
        dx0[i] = v


@inlined
def gradient_limit(a):
    """The largest entry of a gradient that is taken: Adam's second moment of larger ones overflows in this dtype."""
    return a.dtype.type(1e15 if a.itemsize == 4 else 1e150)


@inlined
def bounded(a, limit):
    """Is each |a[i]| at most limit? Not so of NaN."""
    bad = False
    for i in range(a.size):
        bad |= not (abs(a[i]) <= limit)
    return not bad


@kernel
def chunk(ws, out, network, batch, draw, c):
    """All of chunk c: forward; then its loss and gradients or, if out.states is not empty, states, rates and outputs.

    A function of its own: Numba's parfors drop stores to the arrays of a named tuple.
    """
    (T, B, I), H = batch.inputs.shape, network.x_start.size
    chunks, stride, O = ws.dw.shape[0], ws.dw.shape[2], ws.dw.shape[1] - H
    b0 = c * B // chunks
    m = (c + 1) * B // chunks - b0
    n, block = m * stride, ws.errs.shape[1] // ws.x.shape[1]
    rows, errs = ws.rows[c, : (T + 1) * n].reshape((T + 1, n)), ws.errs[c, : block * n].reshape((block, n))
    x, normals, dr, leak, gain = ws.x[c, :n], ws.normals[c, :n], ws.dr[c, :n], ws.vecs[0, :n], ws.vecs[1, :n]
    flat_z = ws.z[c, : O * T * m]
    z = flat_z.reshape((O, T, m))
    forward_chunk(
        rows, z, out.states, x.reshape((m, stride)), normals.reshape((m, stride)), ws.words[c], ws.wf, leak, gain,
        network.x_start, batch.inputs, draw, network.dynamics, b0,
    )  # fmt: skip
    if out.states.size > 0:
        for t in range(T):
            for b in range(m):
                for i in range(H):
                    out.rates[t, b0 + b, i] = rows[t + 1, b * stride + i]
                for o in range(O):
                    out.outputs[t, b0 + b, o] = z[o, t, b]
        return
    if batch.targets.size > 0:
        ws.loss[c, 0] = squared_error(z, batch.targets, batch.weights, b0)
    else:
        ws.loss[c, 0] = cross_entropy(flat_z.reshape((O, T * m)), ws.soft[c], batch.labels, batch.weights, b0, m)
    dx, dz = x, z  # the same arrays: the last state is not needed any more, and the loss has turned z into dz
    backward_chunk(ws.dw[c], ws.dx0[c], errs, dx, dr, rows, dz, ws.wb, leak, I, H, network.dynamics)
    limit, bad = gradient_limit(ws.dw), not bounded(ws.dx0[c, :H], gradient_limit(ws.dw))
    for i in range(H + O):
        bad |= not bounded(ws.dw[c, i, : H + I + 1], limit)
    ws.loss[c, 1] = 1.0 if bad else 0.0
