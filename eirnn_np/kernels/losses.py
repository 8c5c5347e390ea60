"""The losses and their gradients; exp and log in plain float64 arithmetic."""

import numpy as np

from ..jit import inlined, kernel


@inlined
def exp_parts(x):
    """(2^k, y, q), exp(x) = 2^k (1 + q y) for x <= 0: |y| <= ln(2) / 2, q the Taylor series of (exp(y) - 1) / y."""
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
    bits = np.int64(np.int64(np.float64(shifted).view(np.int64) + np.int64(1023)) << np.int64(52))
    return np.int64(bits).view(np.float64), y, q


@inlined
def exp_(x):
    """exp(x) for x <= 0, to 1e-15 or so."""
    power, y, q = exp_parts(x)
    return (q * y + 1.0) * power


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


@kernel
def cross_entropy(loss, z, soft, labels, weights, b0, m):
    """loss[0] = sum_tb w nll(softmax(z), label); z (O, T m) becomes dz. soft (5, T m) is work."""
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
    sum_of_all = 0.0
    for i in range(n):
        sum_of_all += picked[i]  # (F7)
    loss[0] = sum_of_all


@kernel(late=True)
def squared_error(loss, z, targets, weights, b0):
    """loss[0] = sum_tb w / O sum_o (z - y)^2; z (O, T, m) becomes dz."""
    O, T, m = z.shape
    dz, total = z, 0.0  # dz is the same array
    for t in range(T):
        for b in range(m):
            w = np.float64(weights[t, b0 + b]) / O
            for o in range(O):
                d = np.float64(z[o, t, b]) - targets[t, b0 + b, o]
                total += w * d * d  # (F8)
                dz[o, t, b] = 2 * w * d  # (B12), reverses loss += w d^2  (F8)
    loss[0] = total
