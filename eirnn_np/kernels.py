"""Numba kernels: noise, forward pass, BPTT, Adam. Imports numpy and numba only; checks nothing.

Every sum has a fixed order that depends on the problem's size alone: the batch is cut into chunks of CHUNK
trials, a chunk runs alone, and partial sums are added in order. So results are the same bits for any number
of threads. No fastmath, no BLAS.
Shapes: T time steps, B trials, I inputs, H units, E excitatory units, O outputs; weights are [to, from].
"""

import numpy as np
from numba import njit, prange

CHUNK = 8
u32, u64, f32, i32 = np.uint32, np.uint64, np.float32, np.int32
_LOW = u64(0xFFFFFFFF)


@njit(cache=True)
def _philox(c0, c1, c2, c3, k0, k1):
    """Philox4x32-10 (Salmon et al. 2011); each word sits in the low half of 64 bits."""
    for _ in range(10):
        p0, p1 = u64(0xD2511F53) * c0, u64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (p1 >> u64(32)) ^ c1 ^ k0, p1 & _LOW, (p0 >> u64(32)) ^ c3 ^ k1, p0 & _LOW
        k0, k1 = (k0 + u64(0x9E3779B9)) & _LOW, (k1 + u64(0xBB67AE85)) & _LOW
    return c0, c1, c2, c3


@njit(cache=True)
def _box_muller(word_a, word_b):
    """Two normals, branch-free and in float32 products and sums only; noise.py says what each line is."""
    u = f32(u32(word_a)) * f32(2.0**-32) + f32(2.0**-33)
    bits = f32(u).view(np.int32)
    e = i32(i32(bits - i32(0x3F2AAAAB)) >> i32(23))
    f = i32(bits - i32(e << i32(23))).view(np.float32) - f32(1)
    q = f32(0.30730991)
    q = q * f + f32(-0.34222362)
    q = q * f + f32(0.3284025)
    q = q * f + f32(-0.39590075)
    q = q * f + f32(0.50015239)
    q = q * f + f32(-0.66675977)
    q = q * f + f32(0.99999876)
    q = q * f + f32(-1.99999967)
    radius = np.sqrt(q * f + f32(e) * f32(-1.3862943611198906))

    w = u32(word_b)
    quadrant = u32(u32(w + u32(0x20000000)) >> u32(30))
    v = f32(i32(w - u32(quadrant << u32(30)))) * f32(2.0**-30)
    vv = v * v
    sine = (((f32(-0.00460166) * vv + f32(0.07968003)) * vv + f32(-0.64596346)) * vv + f32(1.57079632)) * v
    cosine = ((f32(-0.02040835) * vv + f32(0.25359864)) * vv + f32(-1.23369701)) * vv + f32(1.0)
    odd = (quadrant & u32(1)) != 0
    x, y = (sine if odd else cosine), (cosine if odd else sine)
    x_sign, y_sign = u32(((quadrant + u32(1)) & u32(2)) << u32(30)), u32((quadrant & u32(2)) << u32(30))
    x = u32(f32(x).view(np.uint32) ^ x_sign).view(np.float32)
    y = u32(f32(y).view(np.uint32) ^ y_sign).view(np.float32)
    return radius * x, radius * y


@njit(cache=True)
def _normals(row, k0, k1, step, t, b):
    """Standard normals for one (step, time, trial); row (64 G,) out, G = ceil(H / 64)."""
    for g in range(row.shape[0] // 64):
        for lane in range(16):
            w0, w1, w2, w3 = _philox(u64(16 * g + lane), u64(b), u64(t), step, k0, k1)
            n = 64 * g + lane
            row[n], row[n + 16] = _box_muller(w0, w1)
            row[n + 32], row[n + 48] = _box_muller(w2, w3)


@njit(parallel=True, cache=True)
def fill_noise(out, scale, k0, k1, step, shared):
    """out[t, b, i] = scale[i] N(0, 1), (T, B, H); `shared`: every trial gets the numbers of trial 0."""
    T, B, H = out.shape
    for t in prange(T):
        row = np.empty(-(-H // 64) * 64, np.float32)
        for b in range(B):
            if b == 0 or not shared:
                _normals(row, u64(k0), u64(k1), u64(step), t, b)
            for i in range(H):
                out[t, b, i] = scale[i] * row[i]


@njit(cache=True)
def _forward_trial(b, x, r, z, u, noise, a_rec, a_in, a_b, leak, w_out, b_out, x0, brainpy):
    """States, rates and outputs of trial b. a_rec[from, to], a_in[input, to] and a_b[to] carry alpha."""
    T, I = u.shape[0], u.shape[2]
    H, (O, E) = x.shape[2], w_out.shape
    for t in range(T):
        new = x[t, b]
        for i in range(H):
            if t == 0:
                before = x0[i] if not brainpy else max(x0[i], a_b.dtype.type(0))
            else:
                before = r[t - 1, b, i] if brainpy else x[t - 1, b, i]
            new[i] = leak[i] * before + noise[t, b, i] + a_b[i]
        for j in range(H):
            rate = max(x0[j], x0.dtype.type(0)) if t == 0 else r[t - 1, b, j]
            for i in range(H):
                new[i] += a_rec[j, i] * rate  # (F2) (F3)
        for j in range(I):
            for i in range(H):
                new[i] += a_in[j, i] * u[t, b, j]
        for i in range(H):
            r[t, b, i] = max(new[i], new.dtype.type(0))  # (F4)
        for o in range(O):
            total = b_out[o]
            for j in range(E):
                total += w_out[o, j] * r[t, b, j]  # (F5)
            z[t, b, o] = total


@njit(parallel=True, cache=True)
def forward(x, r, z, u, noise, a_rec, a_in, a_b, leak, w_out, b_out, x0, brainpy):
    for b in prange(u.shape[1]):
        _forward_trial(b, x, r, z, u, noise, a_rec, a_in, a_b, leak, w_out, b_out, x0, brainpy)


@njit(parallel=True, cache=True)
def backward(dx, dz, partial, dx0, x, r, u, a_rec_to, leak, w_out, x0, brainpy):
    """BPTT. a_rec_to[to, from] carries alpha. dx (T, B, H) out, dL/dx_t; dx0 (B, H) out.

    partial (C, n) out: the gradient of each chunk of trials with respect to the alpha-scaled weights, laid
    out as the flat parameters are, b_in left 0.
    """
    (T, B, I), H, (O, E) = u.shape, dx.shape[2], w_out.shape
    zero = dx.dtype.type(0)
    for c in prange(partial.shape[0]):
        g = partial[c]
        g[:] = zero
        at_w_rec = H * I + H
        at_b_rec = at_w_rec + H * H
        at_w_out = at_b_rec + H
        at_b_out = at_w_out + O * E
        dr = np.empty(H, dx.dtype)
        for b in range(c * CHUNK, min(B, (c + 1) * CHUNK)):
            for s in range(T + 1):
                t = T - 1 - s  # t = -1 is x_0
                dr[:] = zero
                if t < T - 1:
                    for i in range(H):
                        d = dx[t + 1, b, i]
                        for j in range(H):
                            dr[j] += d * a_rec_to[i, j]  # (B3)
                if t >= 0:
                    for o in range(O):
                        d = dz[t, b, o]
                        for j in range(E):
                            dr[j] += d * w_out[o, j]  # (B2)
                for i in range(H):
                    now = x[t, b, i] if t >= 0 else x0[i]
                    back = leak[i] * dx[t + 1, b, i] if t < T - 1 else zero
                    if brainpy:
                        d = dr[i] + back if now > zero else zero
                    else:
                        d = (dr[i] if now > zero else zero) + back  # (B4)
                    if t >= 0:
                        dx[t, b, i] = d
                    else:
                        dx0[b, i] = d
                if t < 0:
                    continue
                for i in range(H):
                    d = dx[t, b, i]
                    for j in range(I):
                        g[i * I + j] += d * u[t, b, j]  # (B7)
                    row = at_w_rec + i * H
                    if t > 0:
                        for j in range(H):
                            g[row + j] += d * r[t - 1, b, j]  # (B6)
                    else:
                        for j in range(H):
                            g[row + j] += d * max(x0[j], zero)
                    g[at_b_rec + i] += d  # (B8)
                for o in range(O):
                    d = dz[t, b, o]
                    for j in range(E):
                        g[at_w_out + o * E + j] += d * r[t, b, j]  # (B9)
                    g[at_b_out + o] += d  # (B10)


@njit(cache=True)
def adam(p, g, m, v, step_size, root_correction, beta1, one_beta1, beta2, one_beta2, eps):
    """One update in place on flat buffers; the coefficients are those of Adam.coefficients."""
    for i in range(p.size):
        m[i] = beta1 * m[i] + one_beta1 * g[i]
        v[i] = beta2 * v[i] + one_beta2 * (g[i] * g[i])
        p[i] -= step_size * m[i] / (np.sqrt(v[i]) * root_correction + eps)
