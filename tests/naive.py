"""The forward pass and the loss as scalar loops, and Philox in Python integers. Imports math and numpy only.

Shares no code with eirnn_np: what it says is read off the paper and the Philox paper alone.
"""

import math

import numpy as np


def loss(params, inputs, labels, noise, n_exc, alpha):
    """Loss of the network of Song, Yang & Wang (2016); params: dict of float arrays by our short names."""
    (n_time, n_batch, n_in), hidden = inputs.shape, len(params["b_rec"])
    total = 0.0
    for b in range(n_batch):
        x = [0.0] * hidden
        for t in range(n_time):
            r = [max(value, 0.0) for value in x]
            new = []
            for i in range(hidden):
                current = params["b_rec"][i] + params["b_in"][i]
                for j in range(hidden):
                    if j != i:
                        sign = 1.0 if j < n_exc else -1.0
                        current += sign * abs(params["w_rec"][i, j]) * r[j]
                for k in range(n_in):
                    current += params["w_in"][i, k] * inputs[t, b, k]
                new.append((1 - alpha) * x[i] + alpha * current + noise[t, b, i])
            x = new
            z = [
                params["b_out"][o] + sum(params["w_out"][o, j] * max(x[j], 0.0) for j in range(n_exc))
                for o in range(len(params["b_out"]))
            ]
            largest = max(z)
            log_sum = largest + math.log(sum(math.exp(value - largest) for value in z))
            total += log_sum - z[labels[t, b]]
    return total / (n_time * n_batch)


def philox4x32_10(counter, key):
    c, k = list(counter), list(key)
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k[0], p1 & 0xFFFFFFFF, (p0 >> 32) ^ c[3] ^ k[1], p0 & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def normal(seed, step, t, b, unit):
    """One standard normal, in double precision."""
    group, word, lane = unit // 64, unit % 64 // 16, unit % 16
    words = philox4x32_10((16 * group + lane, b, t, step), (seed & 0xFFFFFFFF, seed >> 32))
    first, second = words[:2] if word < 2 else words[2:]
    radius = math.sqrt(-2 * math.log(first * 2.0**-32 + 2.0**-33))
    angle = 2 * math.pi * second / 2**32
    return radius * (math.cos(angle) if word % 2 == 0 else math.sin(angle))


def adam(p, grads, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    """Algorithm 1 of Kingma & Ba (2015), one scalar at a time."""
    p, m, v = p.copy(), np.zeros_like(p), np.zeros_like(p)
    for k, g in enumerate(grads, 1):
        for i in range(len(p)):
            m[i] = beta1 * m[i] + (1 - beta1) * g[i]
            v[i] = beta2 * v[i] + (1 - beta2) * g[i] ** 2
            p[i] -= lr * (m[i] / (1 - beta1**k)) / (math.sqrt(v[i] / (1 - beta2**k)) + eps)
    return p
