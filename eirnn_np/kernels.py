"""Numba kernels of one training step: noise, forward, loss, backward, Adam.

Imports numpy, numba and llvmlite only; takes arrays and scalars that the caller has validated. Every result is a pure
function to the bit of its inputs: on any CPU, for any number of threads. So there is no fastmath, no BLAS, no libm;
sums have one fixed order, and products add over k in order by explicit fused multiply-adds.

Shapes: T time steps, B trials, I inputs, H units, E excitatory units (the read-out sees units 0..E-1), O outputs.
The batch is cut into C chunks of at most N trials (a function of B and H alone); a chunk runs all of forward, loss and
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
from llvmlite import binding as llvm
from llvmlite import ir
from numba import njit, prange, types
from numba.core.registry import cpu_target
from numba.extending import intrinsic

SONG, BRAINPY = 0, 1  # dynamics
BLOCK = 128  # rows of one weight-gradient product, at least

# What a step takes. Arrays that it shall not use have no elements: labels or targets, noise, moments, states.
# params, grads and the moments m, v are flat: w_in b_in w_rec b_rec w_out b_out and x0, if it is trained.
Outputs = namedtuple("Outputs", "grads dx_start states rates outputs")  # flat, (H,), (T, B, H) twice, (T, B, O)
Network = namedtuple("Network", "params x_start mask alpha scale n_exc dynamics")  # mask (H, H), three vectors (H,)
Batch = namedtuple("Batch", "inputs labels targets weights")  # (T, B, I), (T, B) or (T, B, O), (T, B)
Draw = namedtuple("Draw", "noise make seed step")  # noise (T, B, H), or with `make` what seed and step give
# done (2,) float64: the updates that Adam has taken, and the loss of the last. The kernel that updates writes it: no
# interruption comes between the two.
Update = namedtuple("Update", "m v done lr beta1 beta2 eps")

# All other arrays of a step. N is the number of trials of the largest chunk, S (the stride) the length of a row of
# units, K the time steps of one weight-gradient product; up(n) is n rounded up to whole vectors.
#
# name     shape               holds                               written by         read by
# wf       (H+I+1) up(H+O)     weights of the forward product      pack_units         forward_chunk
# wb       (H+O) up(H)         weights of the backward product     pack_units         backward_chunk
# vecs     (2, N S)            1 - a; what scales the noise        pack_units         forward_chunk, backward_chunk
# rows     (C, (T+1) N S)      [r_s, u_{s+1}, 1]                   forward_chunk      backward_chunk, chunk
# x        (C, N S)            x_s; on the way back dx_s           forward_chunk, backward_chunk: each its own
# z        (C, O T N)          z; after the loss dz                forward_chunk, the loss; backward_chunk, chunk
# errs     (C, K N S)          [dx_{s+1}, dz_s], K steps of them   backward_chunk     backward_chunk
# dr       (C, N S)            dr_s                                backward_chunk     backward_chunk
# words    (C, N, up64(H))     random words                        normal_rows        normal_rows
# normals  (C, N S)            normals, or the noise given         forward_chunk      forward_chunk
# soft     (C, 5, T N)         softmax in float64                  cross_entropy      cross_entropy
# loss     (C, 8)              loss [c, 0], dw too large [c, 1]    chunk              step
# dw       (C, H+O, S)         [dW_rec dW_in db; dW_out . db_out]  backward_chunk     gather_units: it adds to [0]
# dx0      (C, up(H))          sum_b dx_0                          backward_chunk     gather_units
Workspace = namedtuple("Workspace", "wf wb vecs rows x z errs dr words normals soft loss dw dx0")

kernel, inlined = njit(error_model="numpy"), njit(forceinline=True, error_model="numpy")

# ---------------------------------------------------------------------------------------------------------------------
# The micro-kernel: the one place where LLVM IR is written


# What holds a vector of 64 bytes on the CPU that is compiled for, and the tile, rows x vectors, whose sums the
# registers hold beside a row of b and an element of a. A tile that spills does a third of the work; one with fewer than
# 8 sums in flight waits for the latency of the FMA.
TILES = {
    "zmm": (4, 4),  # AVX-512: 32 registers of 64 bytes; 16 sums, 4 of b
    "ymm": (6, 1),  # AVX2: 16 of 32; 12 sums, 2 of b
    "xmm": (2, 1),  # SSE: 16 of 16; 8 sums, 4 of b
    "": (4, 1),  # NEON and others: 32 of 16; 16 sums, 4 of b
}


def tile_shape():
    """The tile for the CPU that Numba compiles for, by the registers that LLVM takes there. Part of no result's bytes.

    Numba's cache is keyed by that CPU and its features, so kernels of another shape are never loaded.
    """
    triple, cpu, features = cpu_target.target_context.codegen().magic_tuple()
    machine = llvm.Target.from_triple(triple).create_target_machine(cpu=cpu, features=features)
    vector = "<16 x float>"
    lines = f"%a = load {vector}, {vector}* %p\n %b = fadd {vector} %a, %a\n store {vector} %b, {vector}* %p\n ret void"
    code = machine.emit_assembly(llvm.parse_assembly(f"define void @probe({vector}* %p) {{\n {lines}\n}}"))
    return TILES[next((name for name in TILES if name in code), "")]


ROWS, VECS = tile_shape()
DEPTH = 512 // VECS  # rows of a panel that the first-level cache holds: 32 KB


@intrinsic
def tile(typingctx, c, c0, ldc, a, a0, lda, ska, b, b0, ldb, n, rows, vecs):
    """c[i, v] += sum_k a[i, k] b[k, v], k = 0 .. n-1 in order, by FMA.

    i < rows, at most ROWS; v runs over vecs vectors of 64 bytes, at most VECS: a loop for each shape, so that its tile
    lives in registers. Addresses are counted in elements: c0 + i ldc + v, a0 + i lda + k ska, b0 + k ldb + v. LLVM
    splits the vectors where the machine has narrower ones; the order of the sums, so each bit of the result, stays.
    """
    i64 = types.int64
    sig = types.void(c, i64, i64, a, i64, i64, i64, b, i64, i64, i64, i64, i64)

    def codegen(context, bld, sig, args):
        c, a, b = (context.make_array(sig.args[q])(context, bld, args[q]).data for q in (0, 3, 7))
        c0, ldc, a0, lda, ska, b0, ldb, n, rows, vecs = (args[q] for q in (1, 2, 4, 5, 6, 8, 9, 10, 11, 12))
        size = sig.args[0].dtype.bitwidth // 8
        lanes, scalar = 64 // size, context.get_data_type(sig.args[0].dtype)
        vec, int32, int64 = ir.VectorType(scalar, lanes), ir.IntType(32), ir.IntType(64)
        name = f"llvm.fma.v{lanes}f{8 * size}"
        fma = bld.module.globals.get(name) or ir.Function(bld.module, ir.FunctionType(vec, [vec] * 3), name)
        undef, zeros = ir.Constant(vec, ir.Undefined), ir.Constant(ir.VectorType(int32, lanes), [0] * lanes)

        def pointer(base, offset, v):
            return bld.bitcast(bld.gep(base, [bld.add(offset, int64(v * lanes))]), vec.as_pointer())

        def loop(nrow, nvec, done):
            cells = [(i, v) for i in range(nrow) for v in range(nvec)]
            crow = [bld.add(c0, bld.mul(int64(i), ldc)) for i in range(nrow)]
            arow = [bld.gep(a, [bld.add(a0, bld.mul(int64(i), lda))]) for i in range(nrow)]
            start = [bld.load(pointer(c, crow[i], v), align=size) for i, v in cells]
            before, head, body, end = bld.block, *(bld.append_basic_block("tile." + s) for s in ("head", "body", "end"))
            bld.branch(head)
            bld.position_at_end(head)
            k = bld.phi(int64)
            k.add_incoming(int64(0), before)
            acc = [bld.phi(vec) for _ in cells]
            for phi, value in zip(acc, start):
                phi.add_incoming(value, before)
            bld.cbranch(bld.icmp_signed("<", k, n), body, end)

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

            bld.position_at_end(end)
            for phi, (i, v) in zip(acc, cells):
                bld.store(phi, pointer(c, crow[i], v), align=size)
            bld.branch(done)

        done = bld.append_basic_block("tile.done")
        shape = bld.switch(bld.add(bld.mul(rows, int64(VECS + 1)), vecs), done)
        for nrow in range(1, ROWS + 1):
            for nvec in range(1, VECS + 1):
                block = bld.append_basic_block(f"tile.{nrow}x{nvec}")
                shape.add_case(int64(nrow * (VECS + 1) + nvec), block)
                bld.position_at_end(block)
                loop(nrow, nvec, done)
        bld.position_at_end(done)
        return context.get_dummy_value()

    return sig, codegen


@inlined
def share(n, most):
    """The first of the fewest parts, as equal as can be, none above `most`, that make up n: of 8 by at most 6, 4."""
    parts = (n + most - 1) // most
    return (n + parts - 1) // parts


@inlined
def panel(vecs):
    """Width of the next panel when vecs vectors are left."""
    return share(vecs, VECS)


@kernel
def product(c, c0, ldc, a, a0, lda, ska, b, b0, ldb, m, n, vecs):
    """c (m, vecs) += a (m, n) b (n, vecs), addressed as in tile.

    ldb = 0 says that b is packed: panel after panel, each (n, width). A panel is taken DEPTH rows at a time, so that
    all rows of c find it in the first-level cache.
    """
    lanes = 64 // c.itemsize
    blocks = (n + DEPTH - 1) // DEPTH
    while vecs > 0:
        v = panel(vecs)
        ld = ldb if ldb else v * lanes
        for q in range(blocks):
            k = q * n // blocks
            part, ak, bk, i = (q + 1) * n // blocks - k, a0 + k * ska, b0 + k * ld, np.int64(0)
            while i < m:
                rows = share(m - i, ROWS)
                tile(c, c0 + i * ldc, ldc, a, ak + i * lda, lda, ska, b, bk, ld, part, rows, v)
                i += rows
        c0 += v * lanes
        b0 += v * lanes if ldb else v * lanes * n
        vecs -= v


# ---------------------------------------------------------------------------------------------------------------------
# Noise: Philox4x32-10 (Salmon et al. 2011) and Box-Muller, a pure function of (seed, step, t, trial, unit)

LOW = np.uint64(0xFFFFFFFF)


@inlined
def philox_round(x0, x1, x2, x3, k0, k1):
    """One round; each word sits in the low half of 64 bits."""
    p0, p1 = np.uint64(0xD2511F53) * x0, np.uint64(0xCD9E8D57) * x2
    s = np.uint64(32)
    return (p1 >> s) ^ x1 ^ k0, p1 & LOW, (p0 >> s) ^ x3 ^ k1, p0 & LOW


@inlined
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


@inlined
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


@kernel
def normal_rows(normals, words, seed, step, t, shared, b0, m, n_hidden):
    """normals[b, i] of trials b0 .. b0+m-1 (shared: each is trial 0) at time t; writes i up to a multiple of 32.

    Two loops: the latencies of one loop over both parts are more than a core can overlap.
    """
    k0, k1, s = np.uint64(seed) & LOW, np.uint64(seed) >> np.uint64(32), np.uint64(step) & LOW
    for b in range(m):
        trial = np.uint64(0 if shared else b0 + b)
        for g in range((n_hidden + 63) // 64):
            for lane in range(16):
                w0, w1, w2, w3 = philox(np.uint64(g * 16 + lane), trial, np.uint64(t), s, k0, k1)
                words[b, g * 64 + lane] = np.uint32(w0)
                words[b, g * 64 + 16 + lane] = np.uint32(w1)
                words[b, g * 64 + 32 + lane] = np.uint32(w2)
                words[b, g * 64 + 48 + lane] = np.uint32(w3)
    for b in range(m):
        for g in range((n_hidden + 31) // 32):
            for lane in range(16):
                x, y = box_muller(words[b, g * 32 + lane], words[b, g * 32 + 16 + lane])
                normals[b, g * 32 + lane] = x
                normals[b, g * 32 + 16 + lane] = y


# ---------------------------------------------------------------------------------------------------------------------
# exp and log in plain float64 arithmetic, for the loss


@inlined
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


@inlined
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
    return y if x < 1.7e308 else x  # hands on NaN and infinity


# ---------------------------------------------------------------------------------------------------------------------
# One chunk. Its arrays are rows of ws, flat; every row of units in them is `stride` long.


@kernel
def split(flat, I, H, E, O):
    """Views w_in (H, I), b_in (H,), w_rec (H, H), b_rec (H,), w_out (O, E), b_out (O,) of the flat buffer."""
    b_in = H * I
    w_rec = b_in + H
    b_rec = w_rec + H * H
    w_out = b_rec + H
    b_out = w_out + O * E
    return (
        flat[:b_in].reshape((H, I)),
        flat[b_in:w_rec],
        flat[w_rec:b_rec].reshape((H, H)),
        flat[b_rec:w_out],
        flat[w_out:b_out].reshape((O, E)),
        flat[b_out : b_out + O],
    )


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
def forward_chunk(rows, z, states, x, normals, words, wf, leak, gain, x_start, inputs, draw, dynamics, b0):
    """x_{s+1} = (1-a) x_s + noise_{s+1} + a c_{s+1}; r_s = max(x_s, 0); z_s; for trials b0 .. b0+m-1.

    Writes rows (T+1, m stride), z (O, T, m) and, unless it is empty, states (T, B, H); x, normals (m, stride) are work.
    """
    T, I, H, O = inputs.shape[0], inputs.shape[2], x_start.size, z.shape[0]
    m, stride = x.shape
    lanes, zero = 64 // x.itemsize, x.dtype.type(0)
    flat_x, flat_normals, flat_rows = x.reshape(x.size), normals.reshape(x.size), rows.reshape(rows.size)
    no, one = np.int64(0), np.int64(1)  # literals would have `product` compiled twice
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
        product(flat_x, no, stride, flat_rows, row, stride, one, wf, no, no, m, H + I + 1, vecs)  # (F2) (F5)
    for b in range(m):
        for o in range(O):
            z[o, T - 1, b] = x[b, H + o]


@kernel
def cross_entropy(z, soft, labels, weights, b0, m):
    """sum_tb w nll(softmax(z), label), returned; z (O, T m) becomes dz. soft (5, T m) is work."""
    T, O = labels.shape[0], z.shape[0]
    n = T * m
    top, total, picked, label, weight = soft[0], soft[1], soft[2], soft[3], soft[4]
    for t in range(T):
        for b in range(m):
            label[t * m + b] = labels[t, b0 + b]
            weight[t * m + b] = weights[t, b0 + b]
    for i in range(n):
        top[i] = z[0, i]
        picked[i] = z[0, i]
        total[i] = 0
    for o in range(1, O):
        for i in range(n):
            v = np.float64(z[o, i])
            top[i] = v if v > top[i] else top[i]
            picked[i] = v if label[i] == o else picked[i]
    for o in range(O):
        for i in range(n):
            e = exp_(z[o, i] - top[i])
            z[o, i] = e
            total[i] += e
    for i in range(n):
        picked[i] = weight[i] * (log_(total[i]) + (top[i] - picked[i]))  # (F6): w nll
        total[i] = weight[i] / total[i]
    dz = z  # the same array, which now holds exp(z - top)
    for o in range(O):
        for i in range(n):
            # reverses nll = log sum_k exp(z_k) - z_label  (F6) (F7)
            dz[o, i] = z[o, i] * total[i] - (weight[i] if label[i] == o else 0.0)  # (B1)
    loss = 0.0
    for i in range(n):
        loss += picked[i]  # (F7)
    return loss


@kernel
def squared_error(z, targets, weights, b0):
    """sum_tb w / O sum_o (z - y)^2, returned; z (O, T, m) becomes dz."""
    O, T, m = z.shape
    dz, loss = z, 0.0  # dz is the same array
    for t in range(T):
        for b in range(m):
            w = np.float64(weights[t, b0 + b]) / O
            for o in range(O):
                d = np.float64(z[o, t, b]) - targets[t, b0 + b, o]
                loss += w * d * d  # (F8)
                dz[o, t, b] = 2 * w * d  # (B12), reverses loss += w d^2  (F8)
    return loss


@kernel
def backward_chunk(dw, dx0, errs, dx, dr, rows, dz, wb, leak, I, H, dynamics):
    """dr_s = errs_s wb; dx_s = dr_s (x_s > 0) + (1-a) dx_{s+1}; dw += errs^T rows, a block of steps at a time.

    Writes dw (H+O, stride), without the factor a, and dx0 (H,); errs (block, m stride), dx and dr (m stride) are work.
    """
    O, T, m = dz.shape
    stride, block, n = dw.shape[1], errs.shape[0], dr.size
    lanes, zero = 64 // dr.itemsize, dr.dtype.type(0)
    flat_dw, flat_rows, flat_errs = dw.reshape(dw.size), rows.reshape(rows.size), errs.reshape(errs.size)
    no, one = np.int64(0), np.int64(1)
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
        product(dr, no, stride, flat_errs, slot * n, stride, one, wb, no, no, m, H + O, vecs)  # (B2) (B3)
        if slot == 0 or s == 0:
            steps, vecs = (block - slot) * m, (H + I + lanes) // lanes
            product(
                flat_dw, no, stride, flat_errs, slot * n, one, stride, flat_rows, s * n, stride, H + O, steps, vecs
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


# ---------------------------------------------------------------------------------------------------------------------
# Adam


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


# ---------------------------------------------------------------------------------------------------------------------
# Drivers


def chunk_count(n_batch, n_hidden):
    """Number of chunks: a function of the problem alone, so that results do not depend on the machine.

    Chunks of 8 trials, two tiles high, so that many cores find work; of 16 where H is so large that the memory traffic
    of each chunk's weight gradient counts. A small batch makes two chunks as long as each fills a tile of 4.
    """
    size = 8 if n_hidden <= 512 else 16
    return -(-n_batch // min(size, max(4, -(-n_batch // 2))))


@kernel
def total(loss):
    """The sum of the chunks' losses, in order."""
    v = 0.0
    for c in range(loss.shape[0]):
        v += loss[c, 0]
    return v


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


@inlined
def finite(a):
    bad = False
    for i in range(a.size):
        bad |= a[i] - a[i] != 0
    return not bad


@kernel
def sound(loss):
    """Is the loss finite, and no chunk's gradient too large? If not, nothing is updated."""
    bad = not np.isfinite(total(loss))
    for c in range(loss.shape[0]):
        bad |= loss[c, 1] != 0
    return not bad


@kernel
def count_update(update, params, loss):
    """Count an update whose parameters and second moments are finite; the others, the caller sees by the count."""
    if finite(params) and finite(update.v):
        update.done[0] += 1
        update.done[1] = loss


@njit(parallel=True, cache=True, error_model="numpy")
def step(out, ws, network, batch, draw, update):
    """A training step, its gradients alone, or its forward pass alone; returns the loss.

    Without moments in `update`, or where the loss is not finite or a gradient too large, there is no update. If
    out.states is not empty, the forward pass alone is done, into states, rates and outputs; else the gradients, into
    grads and dx_start.
    In parallel: vectors of units, then chunks, then vectors of units; each array has one writer. One loop over these
    phases, as each parallel loop in the source takes seconds to compile.
    """
    I, H, params, chunks = batch.inputs.shape[2], network.mask.shape[0], network.params, ws.dw.shape[0]
    O, lanes = ws.dw.shape[1] - H, 64 // params.itemsize
    groups = (H + O + lanes - 1) // lanes
    coefficients = adam_coefficients(params.dtype.type, update)
    for phase in range(2 if out.states.size > 0 else 3):
        n = chunks if phase == 1 else groups
        for index in prange(n):
            q = np.int64(index)  # unsigned in a compiled prange: all below would be compiled for both
            if phase == 0:
                pack_units(ws, network, draw.make, q, I, O)
            elif phase == 1:
                chunk(ws, out, network, batch, draw, q)
            else:
                lo, hi = q * lanes, min(q * lanes + lanes, H + O)
                gather_units(out, ws, network, lo, hi, I, O)
                if update.m.size > 0 and sound(ws.loss):
                    adam_units(params, update.m, update.v, out.grads, coefficients, lo, hi, I, H, network.n_exc, O)
    if update.m.size > 0 and sound(ws.loss):
        count_update(update, params, total(ws.loss))
    return total(ws.loss)


@kernel
def noise_row(out, normals, words, scale, seed, step, shared, t, b):
    normal_rows(normals.reshape((1, normals.size)), words, seed, step, t, shared, b, 1, scale.size)
    for i in range(scale.size):
        out[t, b, i] = scale[i] * normals[i]


@njit(parallel=True, cache=True, error_model="numpy")
def noise_fill(out, normals, words, scale, seed, step, shared):
    """out[t, b, i] = scale[i] normal(seed, step, t, b or 0, i), the noise that the step makes. out (T, B, H).

    normals (T, 64 ceil(H/64)) and words (T, 1, 64 ceil(H/64)) are work.
    """
    for t in prange(out.shape[0]):
        for b in range(out.shape[1]):
            noise_row(out, normals[t], words[t], scale, seed, step, shared, t, b)


@njit(parallel=True, cache=True, error_model="numpy")
def adam(p, update, g):
    """An update of Adam, in place on the flat buffer p and the moments of `update`; g is the gradient."""
    m, v, coefficients = update.m, update.v, adam_coefficients(p.dtype.type, update)
    for q in prange((p.size + 8191) // 8192):
        adam_range(p, m, v, g, coefficients, q * 8192, min(p.size, q * 8192 + 8192))
    count_update(update, p, 0.0)


@njit(cache=True, error_model="numpy")
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
