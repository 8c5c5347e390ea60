"""Numba kernels of one training step: noise, forward, loss, backward, Adam.

Imports numpy, numba and llvmlite only; takes arrays and scalars that the caller has validated. Every result is a pure
function to the bit of its inputs: on any CPU, for any number of threads. So there is no fastmath, no BLAS, no libm;
sums
have one fixed order, and products add over k in order by explicit fused multiply-adds.

Shapes: T time steps, B trials, I inputs, H units, E excitatory units (the read-out sees units 0..E-1), O outputs.
The batch is cut into C chunks of at most N trials (a function of B and H alone); a chunk runs all of forward, loss
and
backward alone. In a chunk, row s (0..T) of trial b is
    rows_s = [r_s, u_{s+1}, 1]         (H + I + 1)      errs_s = [dx_{s+1}, dz_s]       (H + O)
so that three products are the whole of the work:
    rows_s @ wf      = [a c_{s+1}, z_s]                 wf  (H+I+1, H+O)
    errs_s @ wb      = dr_s                             wb  (H+O, H)
    sum errs^T rows  = [dW_rec dW_in db; dW_out . db_out]   (without a)
Arrays are padded with zeros to whole vectors of 64 bytes.
"""

from collections import namedtuple

import numpy as np
from llvmlite import ir
from numba import njit, prange, types
from numba.extending import intrinsic

SONG, BRAINPY = 0, 1  # dynamics
NO_NOISE, ARRAY_NOISE, MAKE_NOISE = 0, 1, 2  # where the noise comes from
BLOCK = 256  # rows of one weight-gradient product, at least

Workspace = namedtuple("Workspace", "wf wb rows x errs dr z soft words normals dw dx0 loss vecs")

# ---------------------------------------------------------------------------------------------------------------------
# The micro-kernel: the one place where LLVM IR is written


@intrinsic(prefer_literal=True)
def tile(typingctx, c, c0, ldc, a, a0, lda, ska, b, b0, ldb, n, rows, vecs, keep):
    """c[i, v] = (c[i, v] if keep else 0) + sum_k a[i, k] b[k, v], k = 0 .. n-1 in order, by FMA.

    i < rows; v runs over vecs vectors of 64 bytes; rows, vecs and keep are literals, so that the tile lives in
    registers.
    Addresses are counted in elements: c0 + i ldc + v, a0 + i lda + k ska, b0 + k ldb + v. LLVM splits the vectors
    where
    the machine has narrower ones; the order of the sums, so each bit of the result, stays.
    """
    i64 = types.int64
    sig = types.void(c, i64, i64, a, i64, i64, i64, b, i64, i64, i64, rows, vecs, keep)

    def codegen(context, bld, sig, args):
        nrow, nvec = rows.literal_value, vecs.literal_value
        c, a, b = (context.make_array(sig.args[q])(context, bld, args[q]).data for q in (0, 3, 7))
        c0, ldc, a0, lda, ska, b0, ldb, n = (args[q] for q in (1, 2, 4, 5, 6, 8, 9, 10))
        size = sig.args[0].dtype.bitwidth // 8
        lanes, scalar = 64 // size, context.get_data_type(sig.args[0].dtype)
        vec, int32, int64 = ir.VectorType(scalar, lanes), ir.IntType(32), ir.IntType(64)
        name = f"llvm.fma.v{lanes}f{8 * size}"
        fma = bld.module.globals.get(name) or ir.Function(bld.module, ir.FunctionType(vec, [vec] * 3), name)
        undef, zeros = ir.Constant(vec, ir.Undefined), ir.Constant(ir.VectorType(int32, lanes), [0] * lanes)
        cells = [(i, v) for i in range(nrow) for v in range(nvec)]

        def pointer(base, offset, v):
            return bld.bitcast(bld.gep(base, [bld.add(offset, int64(v * lanes))]), vec.as_pointer())

        crow = [bld.add(c0, bld.mul(int64(i), ldc)) for i in range(nrow)]
        arow = [bld.gep(a, [bld.add(a0, bld.mul(int64(i), lda))]) for i in range(nrow)]
        start = [
            bld.load(pointer(c, crow[i], v), align=size) if keep.literal_value else ir.Constant(vec, [0.0] * lanes)
            for i, v in cells
        ]
        before, head, body, done = [bld.block] + [bld.append_basic_block("tile." + s) for s in ("head", "body", "done")]
        bld.branch(head)
        bld.position_at_end(head)
        k = bld.phi(int64)
        k.add_incoming(int64(0), before)
        acc = [bld.phi(vec) for _ in cells]
        for phi, value in zip(acc, start):
            phi.add_incoming(value, before)
        bld.cbranch(bld.icmp_signed("<", k, n), body, done)

        bld.position_at_end(body)
        offset = bld.add(b0, bld.mul(k, ldb))
        w = [bld.load(pointer(b, offset, v), align=size) for v in range(nvec)]
        ka = bld.mul(k, ska)
        splat = [
            bld.shuffle_vector(bld.insert_element(undef, bld.load(bld.gep(row, [ka])), int32(0)), undef, zeros)
            for row in arow
        ]
        for phi, (i, v) in zip(acc, cells):
            phi.add_incoming(bld.call(fma, [splat[i], w[v], phi]), body)
        k.add_incoming(bld.add(k, int64(1)), body)
        bld.branch(head)

        bld.position_at_end(done)
        for phi, (i, v) in zip(acc, cells):
            bld.store(phi, pointer(c, crow[i], v), align=size)
        return context.get_dummy_value()

    return sig, codegen


@njit(forceinline=True)
def panel(vecs):
    """Width of the next panel, at most 4 vectors, when vecs are left: 5 is 3 + 2, not 4 + 1."""
    panels = (vecs + 3) // 4
    return (vecs + panels - 1) // panels


def _strip(vecs, keep):
    @njit
    def strip(c, c0, ldc, a, a0, lda, ska, b, b0, ldb, m, n):
        i = 0
        while i + 4 <= m:
            tile(c, c0 + i * ldc, ldc, a, a0 + i * lda, lda, ska, b, b0, ldb, n, 4, vecs, keep)
            i += 4
        if i + 2 <= m:
            tile(c, c0 + i * ldc, ldc, a, a0 + i * lda, lda, ska, b, b0, ldb, n, 2, vecs, keep)
            i += 2
        if i < m:
            tile(c, c0 + i * ldc, ldc, a, a0 + i * lda, lda, ska, b, b0, ldb, n, 1, vecs, keep)

    return strip


def _product(keep):
    strip1, strip2, strip3, strip4 = (_strip(v, keep) for v in (1, 2, 3, 4))

    @njit
    def product(c, c0, ldc, a, a0, lda, ska, b, b0, ldb, m, n, vecs):
        lanes, first = 64 // c.itemsize, 0
        while vecs > 0:
            v = panel(vecs)
            at = b0 + (first if ldb else first * n)
            ld = ldb if ldb else v * lanes
            if v == 4:
                strip4(c, c0 + first, ldc, a, a0, lda, ska, b, at, ld, m, n)
            elif v == 3:
                strip3(c, c0 + first, ldc, a, a0, lda, ska, b, at, ld, m, n)
            elif v == 2:
                strip2(c, c0 + first, ldc, a, a0, lda, ska, b, at, ld, m, n)
            else:
                strip1(c, c0 + first, ldc, a, a0, lda, ska, b, at, ld, m, n)
            first += v * lanes
            vecs -= v

    return product


# product(c, c0, ldc, a, a0, lda, ska, b, b0, ldb, m, n, vecs): c (m, vecs) = a (m, n) b (n, vecs); offsets as in
# tile.
# ldb = 0 says that b is packed: panel after panel, each (n, width).
product, product_add = _product(0), _product(1)

# ---------------------------------------------------------------------------------------------------------------------
# Noise: Philox4x32-10 (Salmon et al. 2011) and Box-Muller, a pure function of (seed, step, t, trial, unit)

LOW = np.uint64(0xFFFFFFFF)


@njit(forceinline=True)
def philox_round(x0, x1, x2, x3, k0, k1):
    """One round; each word sits in the low half of 64 bits."""
    p0, p1 = np.uint64(0xD2511F53) * x0, np.uint64(0xCD9E8D57) * x2
    s = np.uint64(32)
    return (p1 >> s) ^ x1 ^ k0, p1 & LOW, (p0 >> s) ^ x3 ^ k1, p0 & LOW


@njit(forceinline=True)
def philox(x0, x1, x2, x3, k0, k1):
    """Ten rounds, written out: LLVM does not vectorise over lanes around an inner loop."""
    a, b = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
    u = np.uint64
    x0, x1, x2, x3 = philox_round(x0, x1, x2, x3, k0, k1)
    x0, x1, x2, x3 = philox_round(x0, x1, x2, x3, (k0 + a) & LOW, (k1 + b) & LOW)
    x0, x1, x2, x3 = philox_round(x0, x1, x2, x3, (k0 + u(2) * a) & LOW, (k1 + u(2) * b) & LOW)
    x0, x1, x2, x3 = philox_round(x0, x1, x2, x3, (k0 + u(3) * a) & LOW, (k1 + u(3) * b) & LOW)
    x0, x1, x2, x3 = philox_round(x0, x1, x2, x3, (k0 + u(4) * a) & LOW, (k1 + u(4) * b) & LOW)
    x0, x1, x2, x3 = philox_round(x0, x1, x2, x3, (k0 + u(5) * a) & LOW, (k1 + u(5) * b) & LOW)
    x0, x1, x2, x3 = philox_round(x0, x1, x2, x3, (k0 + u(6) * a) & LOW, (k1 + u(6) * b) & LOW)
    x0, x1, x2, x3 = philox_round(x0, x1, x2, x3, (k0 + u(7) * a) & LOW, (k1 + u(7) * b) & LOW)
    x0, x1, x2, x3 = philox_round(x0, x1, x2, x3, (k0 + u(8) * a) & LOW, (k1 + u(8) * b) & LOW)
    return philox_round(x0, x1, x2, x3, (k0 + u(9) * a) & LOW, (k1 + u(9) * b) & LOW)


@njit(forceinline=True)
def box_muller(w0, w1):
    """Two normals of two words, in float32: sqrt(-2 ln u) (cos, sin)(2 pi w1 / 2^32), u = w0 2^-32 + 2^-33."""
    f32, i32, u32 = np.float32, np.int32, np.uint32
    u = f32(w0) * f32(2.0**-32) + f32(2.0**-33)
    bits = np.float32(u).view(np.int32)
    e = i32(i32(bits - i32(0x3F2AAAAB)) >> i32(23))  # u = 2^e (1 + f), 2/3 <= 1 + f < 4/3
    f = np.int32(bits - i32(e << i32(23))).view(np.float32) - f32(1)
    q = f32(0.30730991) * f - f32(0.34222362)  # -2 ln(1 + f) / f
    q = q * f + f32(0.3284025)
    q = q * f - f32(0.39590075)
    q = q * f + f32(0.50015239)
    q = q * f - f32(0.66675977)
    q = q * f + f32(0.99999876)
    q = q * f - f32(1.99999967)
    radius = np.sqrt(q * f - f32(e) * f32(1.3862943611198906))
    quarter = u32(u32(w1 + u32(1 << 29)) >> u32(30))  # nearest quarter turn
    t = f32(i32(w1 - u32(quarter << u32(30)))) * f32(2.0**-30)  # what is left of it, |t| <= 1/2
    tt = t * t
    s = (((f32(0.07968003) - f32(0.00460166) * tt) * tt - f32(0.64596346)) * tt + f32(1.57079632)) * t
    c = ((f32(0.25359864) - f32(0.02040835) * tt) * tt - f32(1.23369701)) * tt + f32(1)
    odd = u32(quarter & u32(1)) != u32(0)
    x, y = (s, c) if odd else (c, s)
    sign_x = u32(u32(u32(quarter + u32(1)) & u32(2)) << u32(30))
    sign_y = u32(u32(quarter & u32(2)) << u32(30))
    x = np.uint32(np.float32(x).view(np.uint32) ^ sign_x).view(np.float32)
    y = np.uint32(np.float32(y).view(np.uint32) ^ sign_y).view(np.float32)
    return radius * x, radius * y


@njit
def normal_rows(normals, words, c, b0, m, n_hidden, seed, step, t, shared):
    """normals[c, b, :H] for trials b0 .. b0+m-1 (shared: all of them trial 0) at time t. Also writes lanes H .. 64
    ceil(H/64).

    Two loops: the latencies of one loop over both parts are twice what a core can overlap.
    """
    k0, k1 = np.uint64(seed) & LOW, np.uint64(seed) >> np.uint64(32)
    s = np.uint64(step) & LOW
    for b in range(m):
        trial = np.uint64(0 if shared else b0 + b)
        for g in range((n_hidden + 63) // 64):
            for lane in range(16):
                w0, w1, w2, w3 = philox(np.uint64(g * 16 + lane), trial, np.uint64(t), s, k0, k1)
                words[c, b, g * 64 + lane] = np.uint32(w0)
                words[c, b, g * 64 + 16 + lane] = np.uint32(w1)
                words[c, b, g * 64 + 32 + lane] = np.uint32(w2)
                words[c, b, g * 64 + 48 + lane] = np.uint32(w3)
    for b in range(m):
        for g in range((n_hidden + 31) // 32):
            for lane in range(16):
                x, y = box_muller(words[c, b, g * 32 + lane], words[c, b, g * 32 + 16 + lane])
                normals[c, b, g * 32 + lane] = x
                normals[c, b, g * 32 + 16 + lane] = y


@njit(parallel=True, cache=True)
def noise_fill(out, normals, words, scale, seed, step, shared):
    """out[t, b, i] = scale[i] normal(seed, step, t, b or 0, i): the bits that the step makes on its way. out (T, B,
    H)."""
    n_time, n_batch, n_hidden = out.shape
    for t in prange(n_time):
        for b in range(n_batch):
            normal_rows(normals, words, t, b, 1, n_hidden, seed, step, t, shared)
            for i in range(n_hidden):
                out[t, b, i] = scale[i] * normals[t, 0, i]


# ---------------------------------------------------------------------------------------------------------------------
# exp and log in plain float64 arithmetic, for the loss


@njit(forceinline=True)
def exp_(x):
    """exp(x) for x <= 0 to 1e-15 or so: 2^k exp(y), |y| <= ln(2) / 2, by its Taylor series."""
    x = -700.0 if x < -700.0 else x  # a NaN stays one
    shifted = x * 1.4426950408889634 + 6755399441055744.0  # the integer k in the low bits
    k = shifted - 6755399441055744.0
    y = (x - k * 0.693147180369123816490) - k * 1.90821492927058770002e-10
    q = 1.0 / 479001600.0
    q = q * y + 1.0 / 39916800.0
    q = q * y + 1.0 / 3628800.0
    q = q * y + 1.0 / 362880.0
    q = q * y + 1.0 / 40320.0
    q = q * y + 1.0 / 5040.0
    q = q * y + 1.0 / 720.0
    q = q * y + 1.0 / 120.0
    q = q * y + 1.0 / 24.0
    q = q * y + 1.0 / 6.0
    q = q * y + 0.5
    q = q * y + 1.0
    q = q * y + 1.0
    power = np.int64(np.int64(np.float64(shifted).view(np.int64) + np.int64(1023)) << np.int64(52))
    return q * np.int64(power).view(np.float64)


@njit(forceinline=True)
def log_(x):
    """ln(x) for normal x > 0: k ln 2 + 2 atanh(f / (2 + f)), the series of fdlibm."""
    bits = np.float64(x).view(np.int64)
    k = np.int64(np.int64(bits - np.int64(0x3FE6A09E667F3BCD)) >> np.int64(52))
    f = np.int64(bits - np.int64(k << np.int64(52))).view(np.float64) - 1.0
    s = f / (2.0 + f)
    z = s * s
    q = 1.479819860511658591e-01
    q = q * z + 1.531383769920937332e-01
    q = q * z + 1.818357216161805012e-01
    q = q * z + 2.222219843214978396e-01
    q = q * z + 2.857142874366239149e-01
    q = q * z + 3.999999999940941908e-01
    q = q * z + 6.666666666666735130e-01
    h = 0.5 * f * f
    e = np.float64(np.int32(k))
    y = e * 6.93147180369123816490e-01 - ((h - (s * (h + q * z) + e * 1.90821492927058770002e-10)) - f)
    return y if x < 1.7e308 else x  # the bits of a NaN or an infinity are no number: hand it on


# ---------------------------------------------------------------------------------------------------------------------
# One chunk


@njit
def pack_weights(ws, params, mask, alpha, scale, noise_mode, n_in, n_out, n_exc, dynamics):
    """wf = [a W_rec^T, [W_out^T; 0]; a W_in^T, 0; a b, b_out] and wb = [a W_rec; W_out 0], in panels.      (F1)"""
    H, K = mask.shape[0], mask.shape[0] + n_in + 1
    lanes, one = 64 // ws.wf.itemsize, ws.wf.dtype.type(1)
    i_bin, i_rec = H * n_in, H * n_in + H
    i_brec, i_out = i_rec + H * H, i_rec + H * H + H
    i_bout = i_out + n_out * n_exc
    vecs, first = (H + n_out + lanes - 1) // lanes, 0
    while vecs > 0:
        width = panel(vecs) * lanes
        at = first * K
        for i in range(first, min(first + width, H)):
            o = at + i - first
            for j in range(H):
                ws.wf[o + j * width] = alpha[i] * (abs(params[i_rec + i * H + j]) * mask[i, j])
            for j in range(n_in):
                ws.wf[o + (H + j) * width] = alpha[i] * params[i * n_in + j]
            bias = params[i_brec + i] if dynamics == BRAINPY else params[i_brec + i] + params[i_bin + i]
            ws.wf[o + (H + n_in) * width] = alpha[i] * bias
        for i in range(max(first, H), min(first + width, H + n_out)):
            o = at + i - first
            for j in range(n_exc):
                ws.wf[o + j * width] = params[i_out + (i - H) * n_exc + j]
            ws.wf[o + (H + n_in) * width] = params[i_bout + i - H]
        vecs -= width // lanes
        first += width
    K = H + n_out
    vecs, first = (H + lanes - 1) // lanes, 0
    while vecs > 0:
        width = panel(vecs) * lanes
        last = min(first + width, H)
        for i in range(H):
            o, p = first * K + i * width - first, i_rec + i * H
            for j in range(first, last):
                ws.wb[o + j] = alpha[i] * (abs(params[p + j]) * mask[i, j])
        for i in range(n_out):
            o, p = first * K + (H + i) * width - first, i_out + i * n_exc
            for j in range(first, min(last, n_exc)):
                ws.wb[o + j] = params[p + j]
        vecs -= width // lanes
        first += width
    for i in range(H):
        ws.vecs[0, i] = 1 - alpha[i]
        ws.vecs[1, i] = scale[i] if noise_mode == MAKE_NOISE else one


@njit
def forward_chunk(
    ws, c, b0, m, x_start, inputs, noise, noise_mode, seed, step, n_hidden, n_out, dynamics, states, keep_states
):
    """x_{s+1} = (1-a) x_s + noise_{s+1} + a c_{s+1}; r = max(x, 0); z_s, for trials b0 .. b0+m-1.  (F2-F5)

    Writes ws.rows, ws.z and, if asked to, states (T, B, H).
    """
    n_time, n_in = inputs.shape[0], inputs.shape[2]
    H, O = n_hidden, n_out
    rows, x, nrm, z, leak, gain = ws.rows, ws.x, ws.normals, ws.z, ws.vecs[0], ws.vecs[1]
    zero = x.dtype.type(0)
    lanes = 64 // x.itemsize
    vecs = (H + O + lanes - 1) // lanes
    width, stride = vecs * lanes, rows.shape[2]
    for b in range(m):
        for i in range(H):
            x[c, b, i] = x_start[i]
            nrm[c, b, i] = 0
    for s in range(n_time + 1):
        if s < n_time:
            if noise_mode == MAKE_NOISE:
                normal_rows(nrm, ws.words, c, b0, m, H, seed, step, s, dynamics == BRAINPY)
            elif noise_mode == ARRAY_NOISE:
                for b in range(m):
                    for i in range(H):
                        nrm[c, b, i] = noise[s, b0 + b, i]
        for b in range(m):
            k = s * m + b
            if s > 1:
                for o in range(O):
                    z[c, o, k - 2 * m] = x[c, b, H + o]
            if keep_states and s > 0:
                for i in range(H):
                    states[s - 1, b0 + b, i] = x[c, b, i]
            for i in range(width):
                v = x[c, b, i]
                r = zero if v <= zero else v  # (F4)
                rows[c, k, i] = r
                x[c, b, i] = leak[i] * (r if dynamics == BRAINPY else v) + gain[i] * nrm[c, b, i]
            for i in range(n_in):
                rows[c, k, H + i] = inputs[s, b0 + b, i] if s < n_time else zero
            rows[c, k, H + n_in] = 1
        product_add(
            x,
            c * x.shape[1] * x.shape[2],
            x.shape[2],
            rows,
            (c * rows.shape[1] + s * m) * stride,
            stride,
            1,
            ws.wf,
            0,
            0,
            m,
            H + n_in + 1,
            vecs,
        )
    for b in range(m):
        for o in range(O):
            z[c, o, (n_time - 1) * m + b] = x[c, b, H + o]


@njit
def cross_entropy(z, soft, c, b0, m, labels, weights):
    """L_c = sum_tb w nll(softmax(z), label), returned; z[c] becomes dz = w (softmax - onehot).  (F6, B1)"""
    n_time, n_out = labels.shape[0], z.shape[1]
    n = n_time * m
    top, total, picked, label, weight = soft[c, 0], soft[c, 1], soft[c, 2], soft[c, 3], soft[c, 4]
    for t in range(n_time):
        for b in range(m):
            label[t * m + b] = labels[t, b0 + b]
            weight[t * m + b] = weights[t, b0 + b]
    for i in range(n):
        top[i] = z[c, 0, i]
        picked[i] = z[c, 0, i]
        total[i] = 0
    for o in range(1, n_out):
        for i in range(n):
            v = np.float64(z[c, o, i])
            top[i] = v if v > top[i] else top[i]
            picked[i] = v if label[i] == o else picked[i]
    for o in range(n_out):
        for i in range(n):
            e = exp_(z[c, o, i] - top[i])
            z[c, o, i] = e
            total[i] += e
    for i in range(n):
        picked[i] = weight[i] * (log_(total[i]) + (top[i] - picked[i]))
        total[i] = weight[i] / total[i]
    for o in range(n_out):
        for i in range(n):
            z[c, o, i] = z[c, o, i] * total[i] - (weight[i] if label[i] == o else 0.0)
    loss = 0.0
    for i in range(n):
        loss += picked[i]
    return loss


@njit
def squared_error(z, c, b0, m, targets, weights):
    """L_c = sum_tb w / O sum_o (z - y)^2, returned; z[c] becomes dz = 2 w / O (z - y)."""
    n_time, n_out = weights.shape[0], z.shape[1]
    loss = 0.0
    for t in range(n_time):
        for b in range(m):
            w = weights[t, b0 + b] / n_out
            for o in range(n_out):
                d = z[c, o, t * m + b] - targets[t, b0 + b, o]
                loss += w * d * d
                z[c, o, t * m + b] = 2 * w * d
    return loss


@njit
def backward_chunk(ws, c, m, n_time, n_in, n_hidden, n_out, dynamics):
    """dr_s = errs_s wb; dx_s = dr_s (x_s > 0) + (1-a) dx_{s+1}; dw += errs^T rows every few steps.  (B2-B6)

    Writes ws.dw[c] (without a) and ws.dx0[c].
    """
    H, O = n_hidden, n_out
    rows, errs, dr, z, leak, dw = ws.rows, ws.errs, ws.dr, ws.z, ws.vecs[0], ws.dw
    lanes = 64 // dr.itemsize
    vecs, vecs_dw = (H + lanes - 1) // lanes, (H + n_in + lanes) // lanes
    width, stride, stride_e = vecs * lanes, rows.shape[2], errs.shape[2]
    block = errs.shape[1] // dr.shape[1]
    zero = dr.dtype.type(0)
    for i in range(dw.shape[1]):
        for j in range(stride):
            dw[c, i, j] = 0
    slot = block - 1
    for b in range(m):
        for i in range(H):
            errs[c, slot * m + b, i] = 0
    done = 0
    for s in range(n_time, -1, -1):
        for b in range(m):
            for o in range(O):
                errs[c, slot * m + b, H + o] = z[c, o, (s - 1) * m + b] if s > 0 else zero
        product(
            dr,
            c * dr.shape[1] * dr.shape[2],
            dr.shape[2],
            errs,
            (c * errs.shape[1] + slot * m) * stride_e,
            stride_e,
            1,
            ws.wb,
            0,
            0,
            m,
            H + O,
            vecs,
        )
        done += 1
        if done == block or s == 0:
            product_add(
                dw,
                c * dw.shape[1] * stride,
                stride,
                errs,
                (c * errs.shape[1] + slot * m) * stride_e,
                1,
                stride_e,
                rows,
                (c * rows.shape[1] + s * m) * stride,
                stride,
                H + O,
                done * m,
                vecs_dw,
            )
        into = slot - 1
        if done == block:
            into, done = block - 1, 0
        for b in range(m):
            k, p, q = s * m + b, slot * m + b, into * m + b
            if dynamics == BRAINPY:
                for i in range(width):
                    errs[c, q, i] = dr[c, b, i] + leak[i] * errs[c, p, i] if rows[c, k, i] > zero else zero
            else:
                for i in range(width):
                    errs[c, q, i] = (dr[c, b, i] if rows[c, k, i] > zero else zero) + leak[i] * errs[c, p, i]
        slot = into
    for i in range(H):
        v = errs[c, slot * m, i]
        for b in range(1, m):
            v += errs[c, slot * m + b, i]
        ws.dx0[c, i] = v


@njit
def gather(grads, dx_start, ws, params, mask, alpha, chunks, n_in, n_out, n_exc, dynamics, lo, hi):
    """Rows lo .. hi-1 of the gradients: chunks added in order, then a, M sign(theta).    (B4-B7)"""
    H, dw = mask.shape[0], ws.dw
    n = dw.shape[2]
    i_bin, i_rec = H * n_in, H * n_in + H
    i_brec, i_out = i_rec + H * H, i_rec + H * H + H
    i_bout = i_out + n_out * n_exc
    for i in range(lo, hi):
        for c in range(1, chunks):
            for j in range(n):
                dw[0, i, j] += dw[c, i, j]
        if i < H:
            p = i_rec + i * H
            for j in range(H):
                v = alpha[i] * dw[0, i, j] * mask[i, j]
                theta = params[p + j]
                grads[p + j] = v if theta > 0 else (-v if theta < 0 else 0 * v)
            for j in range(n_in):
                grads[i * n_in + j] = alpha[i] * dw[0, i, H + j]
            db = alpha[i] * dw[0, i, H + n_in]
            grads[i_brec + i] = db
            grads[i_bin + i] = 0 if dynamics == BRAINPY else db
            v = ws.dx0[0, i]
            for c in range(1, chunks):
                v += ws.dx0[c, i]
            dx_start[i] = v
        else:
            o = i - H
            for j in range(n_exc):
                grads[i_out + o * n_exc + j] = dw[0, i, j]
            grads[i_bout + o] = dw[0, i, H + n_in]


@njit
def step_chunk(
    ws, c, b0, m, x_start, inputs, labels, targets, weights, noise, noise_mode, seed, step_no, H, O, dynamics, squared
):
    """All of one chunk. A function of its own: Numba's parfors drop stores to the arrays of a named tuple."""
    forward_chunk(ws, c, b0, m, x_start, inputs, noise, noise_mode, seed, step_no, H, O, dynamics, noise, False)
    if squared:
        ws.loss[c, 0] = squared_error(ws.z, c, b0, m, targets, weights)
    else:
        ws.loss[c, 0] = cross_entropy(ws.z, ws.soft, c, b0, m, labels, weights)
    backward_chunk(ws, c, m, inputs.shape[0], inputs.shape[2], H, O, dynamics)


# ---------------------------------------------------------------------------------------------------------------------
# Drivers


def chunk_count(n_batch, n_hidden):
    """Number of chunks: a function of the problem alone, so that results do not depend on the machine."""
    return -(-n_batch // (8 if n_hidden <= 128 else 32))


def make_workspace(n_time, n_batch, n_in, n_hidden, n_out, n_exc, dtype):
    """Every array that a step needs, padded, zeroed and aligned to 64 bytes. It may be used for one step at a
    time."""
    dtype = np.dtype(dtype)
    lanes = 64 // dtype.itemsize
    chunks = chunk_count(n_batch, n_hidden)
    size = -(-n_batch // chunks)

    def up(n, to=lanes):
        return -(-n // to) * to

    def stride(n):  # not a multiple of 512 bytes: such rows would share few cache sets
        return up(n) + (lanes if up(n) * dtype.itemsize % 512 == 0 else 0)

    def zeros(*shape, kind=dtype):
        count = int(np.prod(shape))
        raw = np.zeros(count + 64, kind)
        skip = (-raw.ctypes.data % 64) // raw.itemsize
        return raw[skip : skip + count].reshape(shape)

    n_rows, n_errs = n_hidden + n_in + 1, n_hidden + n_out
    block = max(2, -(-BLOCK // size))
    row = stride(max(n_rows, n_errs))
    return Workspace(
        wf=zeros(n_rows * up(n_errs)),
        wb=zeros(n_errs * up(n_hidden)),
        rows=zeros(chunks, (n_time + 1) * size, row),
        x=zeros(chunks, size, stride(n_errs)),
        errs=zeros(chunks, block * size, stride(n_errs)),
        dr=zeros(chunks, size, stride(n_hidden)),
        z=zeros(chunks, n_out, n_time * size),
        soft=zeros(chunks, 5, n_time * size, kind=np.float64),
        words=zeros(chunks, size, up(n_hidden, 64), kind=np.uint32),
        normals=zeros(chunks, size, max(up(n_hidden, 64), up(n_errs))),
        dw=zeros(chunks, n_errs, row),
        dx0=zeros(chunks, up(n_hidden)),
        loss=zeros(chunks, 8, kind=np.float64),
        vecs=zeros(2, up(n_errs)),
    )


@njit(parallel=True, cache=True)
def step(
    grads,
    dx_start,
    ws,
    params,
    x_start,
    mask,
    alpha,
    inputs,
    labels,
    targets,
    weights,
    scale,
    noise,
    noise_mode,
    seed,
    step_no,
    n_exc,
    dynamics,
    squared,
):
    """Loss and gradients of one batch; returns the loss. grads and params are flat: w_in b_in w_rec b_rec w_out
    b_out ...

    x_start (H,) is x_0 and dx_start (H,) its gradient, out. mask (H, H), alpha (H,), inputs (T, B, I), labels (T, B)
    or targets (T, B, O), weights (T, B), scale (H,), noise (T, B, H) if noise_mode says so. In parallel: chunk c is
    the one writer of all [c] in ws.
    """
    n_batch, n_in = inputs.shape[1], inputs.shape[2]
    H, O, chunks = mask.shape[0], ws.z.shape[1], ws.z.shape[0]
    pack_weights(ws, params, mask, alpha, scale, noise_mode, n_in, O, n_exc, dynamics)
    for c in prange(chunks):
        b0 = c * n_batch // chunks
        m = (c + 1) * n_batch // chunks - b0
        step_chunk(
            ws,
            c,
            b0,
            m,
            x_start,
            inputs,
            labels,
            targets,
            weights,
            noise,
            noise_mode,
            seed,
            step_no,
            H,
            O,
            dynamics,
            squared,
        )
    gather(grads, dx_start, ws, params, mask, alpha, chunks, n_in, O, n_exc, dynamics, 0, H + O)
    loss = 0.0
    for c in range(chunks):
        loss += ws.loss[c, 0]
    return loss


@njit
def copy_run(ws, c, b0, m, rates, outputs):
    """Rates (T, B, H) and outputs (T, B, O) of a chunk, out of the workspace."""
    n_time, H, O = rates.shape[0], rates.shape[2], outputs.shape[2]
    for t in range(n_time):
        for b in range(m):
            for i in range(H):
                rates[t, b0 + b, i] = ws.rows[c, (t + 1) * m + b, i]
            for o in range(O):
                outputs[t, b0 + b, o] = ws.z[c, o, t * m + b]


@njit(parallel=True, cache=True)
def run(states, rates, outputs, ws, params, x_start, mask, alpha, inputs, scale, noise, noise_mode, n_exc, dynamics):
    """The forward pass alone: states and rates (T, B, H), outputs (T, B, O), out."""
    n_batch, n_in = inputs.shape[1], inputs.shape[2]
    H, O, chunks = mask.shape[0], ws.z.shape[1], ws.z.shape[0]
    pack_weights(ws, params, mask, alpha, scale, noise_mode, n_in, O, n_exc, dynamics)
    for c in prange(chunks):
        b0 = c * n_batch // chunks
        m = (c + 1) * n_batch // chunks - b0
        forward_chunk(ws, c, b0, m, x_start, inputs, noise, noise_mode, np.uint64(0), 0, H, O, dynamics, states, True)
        copy_run(ws, c, b0, m, rates, outputs)


@njit(cache=True)
def adam(p, g, m, v, step_size, root_correction, beta1, one_beta1, beta2, one_beta2, eps):
    """One update in place on flat buffers; the coefficients are those of Adam.coefficients."""
    for i in range(p.size):
        m[i] = beta1 * m[i] + one_beta1 * g[i]
        v[i] = beta2 * v[i] + one_beta2 * (g[i] * g[i])
        p[i] -= step_size * m[i] / (np.sqrt(v[i]) * root_correction + eps)


@njit(cache=True)
def is_clean(inputs, labels, n_out):
    """Are all inputs finite and all labels in 0 .. n_out - 1? inputs as flat integers of their bits."""
    bad = False
    exponent = inputs.dtype.type(0x7F800000) if inputs.itemsize == 4 else inputs.dtype.type(0x7FF0000000000000)
    for i in range(inputs.size):
        bad |= (inputs[i] & exponent) == exponent
    for i in range(labels.size):
        bad |= (labels[i] < 0) | (labels[i] >= n_out)
    return not bad
