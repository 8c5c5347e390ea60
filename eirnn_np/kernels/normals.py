"""Noise: Philox4x32-10 (Salmon et al. 2011) and Box-Muller, a pure function of (seed, step, t, trial, unit)."""

import numpy as np

from ..jit import BORROWED, entry, in_parallel, inlined, kernel, thread_count, view, wide

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
    wide()
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


@kernel
def noise_rows(out, normals, words, scale, seed, step, shared, t):
    """Time t of noise_fill."""
    for b in range(out.shape[1]):
        normal_rows(view(normals[t], 0, (1, normals.shape[1])), words[t], seed, step, t, shared, b, 1, scale.size)
        for i in range(scale.size):
            out[t, b, i] = scale[i] * normals[t, i]


@kernel
def noise_trial(out, normals, words, scale, seed, spans, k):
    """Trial k of noise_of_trials."""
    step, b, first, n_time = spans[k, 0], spans[k, 1], spans[k, 2], spans[k, 3]
    for t in range(n_time):
        normal_rows(view(normals[k], 0, (1, normals.shape[1])), words[k], seed, step, t, False, 0, 1, scale.size)
        for i in range(scale.size):
            out[first + t, b, i] = scale[i] * normals[k, i]


noise_all, noise_all_trials = in_parallel(noise_rows), in_parallel(noise_trial)


@entry(**BORROWED)
def noise_fill(out, normals, words, scale, seed, step, shared):
    """out[t, b, i] = scale[i] normal(seed, step, t, b or 0, i), the noise that the step makes. out (T, B, H).

    normals (T, 64 ceil(H/64)) and words (T, 1, 64 ceil(H/64)) are work. Times are split over the threads.
    """
    noise_all(out.shape[0], thread_count(), out, normals, words, scale, seed, step, shared)


@entry(**BORROWED)
def noise_of_trials(out, normals, words, scale, seed, spans):
    """out[first + t, b, i] = scale[i] normal(seed, step, t, 0, i) for t < n_time, of each (step, b, first, n_time).

    spans (K, 4); normals (K, 64 ceil(H/64)) and words (K, 1, 64 ceil(H/64)) are work, split over the threads.
    """
    noise_all_trials(len(spans), thread_count(), out, normals, words, scale, seed, spans)
