"""Chunks at the desks of the threads: one after another, or a group that goes through time side by side.

A desk is a row of arrays of the workspace, which kernels/arrays.py lists.
"""

from ..jit import inlined, kernel, row, view
from .arrays import BLOCK, PART
from .chunks import backward_chunk, forward_chunk, keep_run, rate_penalty, slot_of
from .losses import cross_entropy, squared_error
from .tile import GROUP, product, set_part

ALL, FORWARD, LOSS, BACKWARD, CHECK = range(5)  # stages of `group`


@inlined
def bounded(a, limit):
    """Is each |a[i]| at most limit? Not so of NaN."""
    bad = False
    for i in range(a.size):
        bad |= not (abs(a[i]) <= limit)
    return not bad


@inlined
def trials_of(c, chunks, B):
    """First trial of chunk c, and number of its trials."""
    b0 = c * B // chunks
    return b0, (c + 1) * B // chunks - b0


@inlined
def block_of(largest):
    """Time steps of one weight-gradient product; `largest` is the number of trials of the largest chunk."""
    return (BLOCK + largest - 1) // largest


@kernel(late=True)
def side_by_side(ws, out, network, batch, draw, c0, c1, desk):
    """Chunks c0 .. c1-1 go through time together, so that the weights are read once for all; as `group` otherwise.

    At desks from `desk` on. Each chunk has sums of its own: that they are together changes no bit. Omega has products
    of its own: not with it.
    """
    (T, B, I), H, chunks, stride = batch.inputs.shape, network.x_start.size, ws.dw.shape[0], ws.sums.shape[1]
    lanes, O, block = 64 // ws.x.itemsize, ws.dw.shape[2] - H, block_of(ws.vecs.shape[1] // stride)
    parts = row(ws.parts, desk, (c1 - c0, PART))
    rows = view(ws.rows, 0, (ws.rows.size,))
    x, dr, errs = view(ws.x, 0, (ws.x.size,)), view(ws.dr, 0, (ws.dr.size,)), view(ws.errs, 0, (ws.errs.size,))
    for s in range(T + 1):
        for c in range(c0, c1):
            at = desk + c - c0
            group(ws, out, network, batch, draw, chunks, 1, FORWARD, s, at, c)
            m = trials_of(c, chunks, B)[1]
            set_part(parts, c - c0, at * ws.x.shape[1], at * ws.rows.shape[1] + s * m * stride, m)
        vecs = (H + O + lanes - 1) // lanes
        product(x, stride, lanes, rows, stride, 1, ws.wf, 0, 0, parts, H + I + 1, vecs)  # (F2) (F5)
    for c in range(c0, c1):
        group(ws, out, network, batch, draw, chunks, 1, LOSS, 0, desk + c - c0, c)
    if out.states.size > 0:
        return
    for s in range(T + 1, -1, -1):
        for c in range(c0, c1):
            at = desk + c - c0
            group(ws, out, network, batch, draw, chunks, 1, BACKWARD, s, at, c)
            m = trials_of(c, chunks, B)[1]
            slot = slot_of(max(s - 1, 0), T, block)
            set_part(parts, c - c0, at * ws.dr.shape[1], at * ws.errs.shape[1] + slot * m * stride, m)
        if s > 0:
            vecs = (H + lanes - 1) // lanes
            product(dr, stride, lanes, errs, stride, 1, ws.wb, 0, 0, parts, H + O, vecs)  # (B2) (B3)
    for c in range(c0, c1):
        group(ws, out, network, batch, draw, chunks, 1, CHECK, 0, desk + c - c0, c)


@kernel
def group(ws, out, network, batch, draw, groups, desks, stage, s, q, g):
    """Group g of the chunks: forward; then its loss and gradients or, if out.states is not empty, rates and outputs.

    Or one stage of that alone, forward and backward for time s, without the products: what `side_by_side` asks for.
    At the desks of worker q, of which each has `desks`.
    """
    desk, (T, B, _), H = q * desks, batch.inputs.shape, network.x_start.size
    chunks, stride, O = ws.dw.shape[0], ws.sums.shape[1], ws.dw.shape[2] - H
    c = g * chunks // groups
    if (g + 1) * chunks // groups - c > 1:
        side_by_side(ws, out, network, batch, draw, c, (g + 1) * chunks // groups, desk)
        return
    b0, m = trials_of(c, chunks, B)
    n, most, whole = m * stride, ws.vecs.shape[1], stage == ALL  # most: n of the largest chunk
    block = block_of(most // stride)
    rows, errs = row(ws.rows, desk, (T + 1, n)), row(ws.errs, desk, (block, n))
    x, dr, z = row(ws.x, desk, (n,)), row(ws.dr, desk, (n,)), row(ws.z, desk, (O, T, m))
    normals, words = row(ws.normals, desk, (m, stride)), row(ws.words, desk, (m, (stride + 63) // 64 * 64))
    leak, gain, part = row(ws.vecs, 0, (n,)), row(ws.vecs, 1, (n,)), row(ws.parts, desk, (1, PART))
    if whole or stage == FORWARD:
        forward_chunk(
            rows, z, out.states, view(x, 0, (m, stride)), normals, words, ws.wf, leak, gain, network.x_start,
            batch.inputs, draw, network.dynamics, network.activation, b0, part, 0 if whole else s,
            T + 1 if whole else s + 1, whole,
        )  # fmt: skip
    if whole or stage == LOSS:
        for b in range(m):
            for o in range(O):
                z[o, T - 1, b] = x[b * stride + H + o]
    if out.states.size > 0:
        if whole or stage == LOSS:
            keep_run(out.rates, out.outputs, rows, z, b0)
        return
    loss, factor = row(ws.loss, c, (ws.loss.shape[1],)), network.penalties[6] / (T * B * H)
    if whole or stage == LOSS:
        if batch.targets.size > 0:
            squared_error(loss, z, batch.targets, batch.weights, b0)
        else:
            soft = row(ws.soft, desk, (5, T * m))
            cross_entropy(loss, row(ws.z, desk, (O, T * m)), soft, batch.labels, batch.weights, b0, m)
        if factor > 0:
            rate_penalty(loss, row(ws.squares, desk, (H,)), rows, factor, m, H)
    slope, squares = view(normals, 0, (n,)), row(ws.squares, desk, (stride,))
    omega, with_omega = view(loss, 2, (2,)), ws.domega.size > 0
    right, e = row(ws.right, desk, (block * n,)), row(ws.flow, desk, (n,))
    back, dx0 = view(e, most, (n,)), row(ws.dx0, c, (H,))
    dw, domega = row(ws.dw, c, (ws.dw.size // chunks,)), row(ws.domega, c, (ws.domega.size // chunks,))
    packed = row(ws.packed, desk, (ws.packed.shape[1],))
    packed_parts = row(ws.packed_parts, desk, ((H + O + GROUP - 1) // GROUP, PART))
    dx, dz = x, z  # the same arrays: the last state is not needed any more, and the loss has turned z into dz
    if whole or stage == BACKWARD:
        first, end = T + 1 if whole else s, 0 if whole else s
        for again in range(2 if with_omega and factor > 0 else 1):
            now = with_omega and not again  # Omega's dx is that of the data alone: it comes first
            pull, omega_alone = 0.0 if now else 2 * factor, now and factor > 0
            backward_chunk(
                dw, dx0, errs, dx, dr, slope, rows, dz, ws.wb, leak, H, network.dynamics,
                network.activation, pull, now, omega_alone, omega, domega, right, e, back, squares,
                network.one_tau, part, packed, packed_parts, first, end, whole,
            )  # fmt: skip
    if whole or stage == CHECK:
        bad = not bounded(dx0, out.limit)
        bad |= not bounded(dw, out.limit)
        if with_omega:
            bad |= not bounded(domega, out.limit)
        loss[1] = 1.0 if bad else 0.0
