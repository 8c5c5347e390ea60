"""A chunk of trials: forward and backward through time, and the penalty of its rates.

The arrays of a chunk are flat; every row of units in them is `stride` long.
"""

import numpy as np

from ..jit import inlined, kernel, view, wide
from .activations import activate, slopes
from .arrays import BRAINPY, RELU
from .normals import normal_rows
from .tile import panel, product, set_part, weight_product


@kernel(late=True)
def make_inputs(rows, normals, words, inputs, draw, s, b0, H):
    """u_{s+1} of trials b0 .. b0+m-1 into their places in rows_s (m stride); normals (m, stride) is work."""
    (m, stride), I = normals.shape, inputs.shape[2]
    real, zero = rows.dtype.type, rows.dtype.type(0)
    baseline, scale = real(draw.baseline_in), real(draw.scale_in)
    if draw.scale_in > 0:
        normal_rows(normals, words, draw.seed_in, draw.step, s, False, b0, m, I)
    for b in range(m):
        for i in range(I):
            u = baseline + inputs[s, b0 + b, i]
            if draw.scale_in > 0:
                u += scale * normals[b, i]
            rows[b * stride + H + i] = zero if draw.rectify_in and u <= zero else u  # (F9)


@kernel(late=True)
def keep_states(states, x, b0):
    """x_s of trials b0 .. b0+m-1 into states (B, H); x (m, stride)."""
    for b in range(x.shape[0]):
        for i in range(states.shape[1]):
            states[b0 + b, i] = x[b, i]


@kernel(late=True)
def advance_others(rates, x, normals, leak, gain, activation, dynamics):
    """r_s, and x_{s+1} without its sums, for all networks but the plain one, whose loop is in `forward_chunk`."""
    wide()
    zero = x.dtype.type(0)
    if activation == RELU:
        for i in range(x.size):
            rates[i] = zero if x[i] <= zero else x[i]  # (F4)
    else:
        activate(rates, x, activation)  # (F4)
    for i in range(x.size):
        v = rates[i] if dynamics == BRAINPY else x[i]
        x[i] = leak[i] * v + gain[i] * normals[i]  # (F3)


@kernel
def forward_chunk(
    rows, z, states, x, normals, words, wf, leak, gain, x_start, inputs, draw, dynamics, activation, b0, part, first,
    end, alone,
):  # fmt: skip
    """x_{s+1} = (1-a) x_s + noise_{s+1} + a c_{s+1}; r_s = f(x_s); z_s; for trials b0 .. b0+m-1, s = first .. end-1.

    Writes rows (T+1, m stride), z (O, T, m), the last of it excepted, and, unless it is empty, states (T, B, H); x,
    normals (m, stride) and part are work. Unless it is `alone`, the product is left to its group.
    """
    wide()
    T, I, H, O = inputs.shape[0], inputs.shape[2], x_start.size, z.shape[0]
    m, stride = x.shape
    lanes, zero = 64 // x.itemsize, x.dtype.type(0)
    flat_x, flat_normals = view(x, 0, (x.size,)), view(normals, 0, (x.size,))
    flat_rows = view(rows, 0, (rows.size,))
    if first == 0:
        flat_normals[:] = zero
        flat_x[:] = zero
        for b in range(m):
            for i in range(H):
                x[b, i] = x_start[i]
    for s in range(first, end):  # x is [x_s, z_{s-1}]
        if s > 1:
            for b in range(m):
                for o in range(O):
                    z[o, s - 2, b] = x[b, H + o]
        if s > 0 and states.size > 0:
            keep_states(states[s - 1], x, b0)
        if s < T and draw.make:
            normal_rows(normals, words, draw.seed, draw.step, s, dynamics == BRAINPY, b0, m, H)
        elif s < T:
            for b in range(m):
                for i in range(H):
                    normals[b, i] = draw.noise[s, b0 + b, i]
        if activation == RELU and dynamics != BRAINPY:
            for i in range(m * stride):
                v = flat_x[i]
                rows[s, i] = zero if v <= zero else v  # (F4)
                flat_x[i] = leak[i] * v + gain[i] * flat_normals[i]  # (F3)
        else:
            advance_others(rows[s], flat_x, flat_normals, leak, gain, activation, dynamics)
        for b in range(m):
            for i in range(I):
                rows[s, b * stride + H + i] = inputs[s, b0 + b, i] if s < T else zero
            rows[s, b * stride + H + I] = 1
            # z_{s-1}, and f(0), which is not 0 of each activation: no gradient is taken there
            for i in range(H + I + 1, H + O if activation == RELU else stride):
                rows[s, b * stride + i] = zero
        if s < T and draw.make_in:
            make_inputs(rows[s], normals, words, inputs, draw, s, b0, H)
        if alone:
            set_part(part, 0, 0, s * m * stride, m)
            vecs = (H + O + lanes - 1) // lanes
            product(flat_x, stride, lanes, flat_rows, stride, 1, wf, 0, 0, part, H + I + 1, vecs)  # (F2) (F5)


@inlined
def rows_product(c, a, a0, wb, row, rows, m, H, O, part):
    """c (m, H) += a (m, rows) wb[row : row + rows], panel by panel of wb; as `product`, which takes all its rows."""
    stride, lanes, done = c.size // m, 64 // c.itemsize, np.int64(0)
    vecs = (H + lanes - 1) // lanes
    while done < vecs:
        width = panel(vecs - done)
        first = (done * (H + O) + row * width) * lanes
        set_part(part, 0, done * lanes, a0, m)
        product(c, stride, lanes, a, stride, 1, wb, first, width * lanes, part, rows, width)
        done += width


@kernel(late=True)
def omega_products(dr, e, back, dx, errs, wb, leak, m, H, O, one_tau, part):
    """dr += errs_s wb, as ever, (B2) (B3); e (m stride) is e_s, and back (m stride) is (a e_s) W_rec.

    With `one_tau` the second is 1 - a times what the rows of w_rec bring into dr: no other product is needed.
    """
    for i in range(dx.size):
        e[i] = leak[i] * dx[i]
    if one_tau:
        rows_product(dr, errs, 0, wb, 0, H, m, H, O, part)
        for i in range(dx.size):
            back[i] = leak[i] * dr[i]
        rows_product(dr, errs, H, wb, H, O, m, H, O, part)
    else:
        rows_product(dr, errs, 0, wb, 0, H + O, m, H, O, part)
        for i in range(dx.size):
            back[i] = 0
        rows_product(back, e, 0, wb, 0, H, m, H, O, part)


@kernel(late=True)
def omega_rows(omega, right, e, back, squares, slope, leak, m, H, lanes):
    """What one time step adds to Omega, for m trials: its sum omega[0] and their number omega[1]; right (m stride).

    slope is f'(x_s); e and back (m stride) come from `omega_products`. right is what dx_{s+1} meets in the outer
    product of the gradient. squares (2 lanes) is work. Lengths are sums of a vector's lanes, each in order. `lanes` is
    an argument, so that the compiler leaves the loops over them as loops, which it makes vectors of.
    """
    stride = slope.size // m
    of_e, of_v, others = view(squares, 0, (lanes,)), view(squares, lanes, (lanes,)), stride - H
    for b in range(m):
        beyond = view(slope, b * stride + H, (others,))  # inputs and outputs
        for i in range(others):
            beyond[i] = 0
    for i in range(e.size):
        back[i] = leak[i] * e[i] + back[i] * slope[i]  # (F11): v_s
    for b in range(m):
        for k in range(lanes):
            of_e[k] = of_v[k] = 0.0
        for j in range(b * stride, (b + 1) * stride, lanes):
            part_e, part_v = view(e, j, (lanes,)), view(back, j, (lanes,))
            for k in range(lanes):
                of_e[k] += np.float64(part_e[k]) * np.float64(part_e[k])
            for k in range(lanes):
                of_v[k] += np.float64(part_v[k]) * np.float64(part_v[k])
        length, grown = 0.0, 0.0
        for k in range(lanes):
            length += of_e[k]
            grown += of_v[k]
        factor = 0.0
        if length >= 1e-20:
            excess = grown / length - 1.0
            omega[0] += excess * excess  # (F12)
            omega[1] += 1.0
            factor = 4.0 * excess / length
        to, v = view(right, b * stride, (stride,)), view(back, b * stride, (stride,))
        of_x = view(slope, b * stride, (stride,))
        for i in range(stride):
            to[i] = factor * v[i] * of_x[i]  # (B15)


@inlined
def slot_of(s, T, block):
    """Where errs_s stands: it runs down with s, from block - 1 to 0 and round."""
    return block - 1 - (T - s) % block


@inlined
def take_errors(errs, dz, s, m, stride, H):
    """dz_s behind dx_{s+1}; errs (m stride)."""
    for b in range(m):
        for o in range(dz.shape[0]):
            errs[b * stride + H + o] = dz[o, s - 1, b]


@kernel(late=True)
def errors_of_others(errs, dx, dr, rates, slope, leak, activation, dynamics):
    """dx_s, of dr_s and dx_{s+1}, for all networks but the plain one, whose loop is in `backward_chunk`; dr = 0."""
    wide()
    zero = dr.dtype.type(0)
    for i in range(dx.size):
        keep = leak[i] * dx[i]  # reverses x_{s+1} = (1-a) x_s + ...  (F3)
        if activation == RELU:
            v = dr[i] + keep if rates[i] > zero else zero  # of BrainPy's dynamics
        else:
            v = (dr[i] + keep) * slope[i] if dynamics == BRAINPY else dr[i] * slope[i] + keep  # (B4)
        dx[i] = v
        errs[i] = v
        dr[i] = zero


@kernel
def backward_chunk(
    dw, dx0, errs, dx, dr, slope, rows, dz, wb, leak, H, dynamics, activation, pull, with_omega, omega_alone, omega,
    domega, right, e, back, squares, one_tau, part, packed, packed_parts, first, end, alone,
):  # fmt: skip
    """dr_s = errs_s wb; dx_s = dr_s f'(x_s) + (1-a) dx_{s+1}; dw += errs^T rows, a block of steps at a time.

    For s = first .. end, downwards; T + 1 stands for what comes before T. Unless it is `alone`, the first product is
    left to its group.

    Writes dw (vectors H+O lanes), without the factor a, and dx0 (H,); errs (block, m stride), dx, dr and slope
    (m stride), packed and packed_parts are work. pull r_s is what the penalty of the rates adds to dr_s. With
    `with_omega`, Omega's sum and number go to omega (2,) and its gradient, without factors, to domega (vectors H
    lanes); right (block m stride), e and back (m stride) and squares are work. With `omega_alone`, dw is left at 0.
    """
    wide()
    O, T, m = dz.shape
    stride, block, n = dr.size // m, errs.shape[0], dr.size
    lanes, zero = 64 // dr.itemsize, dr.dtype.type(0)
    flat_rows, flat_errs = view(rows, 0, (rows.size,)), view(errs, 0, (errs.size,))
    if first > T:
        for i in range(dw.size):
            dw[i] = zero
        if with_omega:
            omega[0] = omega[1] = 0.0
            domega[:] = zero
            right[:] = zero
        for i in range(n):
            dx[i] = zero
            dr[i] = zero
            errs[block - 1, i] = zero
        take_errors(errs[block - 1], dz, T, m, stride, H)
    slot = slot_of(min(first, T), T, block)
    for s in range(min(first, T), end - 1, -1):  # dx is dx_{s+1}
        # reverses a c_{s+1}, z_s = rows_s wf  (F2) (F5): first for r_s, then for the weights
        if with_omega:
            omega_products(dr, e, back, dx, errs[slot], wb, leak, m, H, O, one_tau, part)
        elif alone:
            set_part(part, 0, 0, slot * n, m)
            vecs = (H + lanes - 1) // lanes
            product(dr, stride, lanes, flat_errs, stride, 1, wb, 0, 0, part, H + O, vecs)  # (B2) (B3)
        if activation != RELU or with_omega:
            slopes(slope, rows[s], activation)
        if with_omega and 0 < s < T:
            omega_rows(omega, view(right, slot * n, (n,)), e, back, squares, slope, leak, m, H, lanes)
        elif with_omega:
            for i in range(slot * n, (slot + 1) * n):
                right[i] = zero
        if slot == 0 or s == 0:
            e0, steps = slot * n, (block - slot) * m
            if not omega_alone:
                weight_product(dw, H + O, packed, packed_parts, flat_errs, e0, flat_rows, s * n, stride, part, steps)
            if with_omega:
                weight_product(domega, H, packed, packed_parts, flat_errs, e0, right, e0, stride, part, steps)
        if pull != 0 and s > 0:
            for b in range(m):
                for i in range(b * stride, b * stride + H):
                    dr[i] += dr.dtype.type(pull) * rows[s, i]  # (B14), reverses pull / 2 r^2  (F10)
        slot = slot - 1 if slot > 0 else block - 1
        if activation == RELU and dynamics != BRAINPY:
            for i in range(n):
                v = (dr[i] if rows[s, i] > zero else zero) + leak[i] * dx[i]  # (B4), reverses r_s = max(x_s, 0)  (F4)
                dx[i] = v
                errs[slot, i] = v
                dr[i] = zero
        else:
            errors_of_others(errs[slot], dx, dr, rows[s], slope, leak, activation, dynamics)
        if s > 1:
            take_errors(errs[slot], dz, s - 1, m, stride, H)
    if end == 0:
        for i in range(H):
            v = dx[i]
            for b in range(1, m):
                v += dx[b * stride + i]  # (B11), reverses x_0 in every trial
            dx0[i] = v


@kernel(late=True)
def keep_run(rates, outputs, rows, z, b0):
    """Rates (T, B, H) and outputs (T, B, O) of the trials of a chunk, of which b0 is the first."""
    (O, T, m), H, stride = z.shape, rates.shape[2], rows.shape[1] // z.shape[2]
    for t in range(T):
        for b in range(m):
            for i in range(H):
                rates[t, b0 + b, i] = rows[t + 1, b * stride + i]
            for o in range(O):
                outputs[t, b0 + b, o] = z[o, t, b]


@kernel(late=True)
def rate_penalty(loss, squares, rows, factor, m, H):
    """loss[0] += factor r_s^2, summed over s = 1 .. T, trials and units; squares (H,) is work."""
    stride = rows.shape[1] // m
    for i in range(H):
        squares[i] = 0.0
    for s in range(1, rows.shape[0]):
        for b in range(m):
            for i in range(H):
                r = np.float64(rows[s, b * stride + i])
                squares[i] += r * r
    total = 0.0
    for i in range(H):
        total += squares[i]
    loss[0] += factor * total  # (F10)
