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


def normal(seed, step, t, b, unit, stream=0):
    """One standard normal of a stream, in double precision."""
    group, word, lane = unit // 64, unit % 64 // 16, unit % 16
    words = philox4x32_10((16 * group + lane, b, t, step), (seed & 0xFFFFFFFF, (seed >> 32) ^ stream))
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


# --- The model with all its options ---

RATES = {
    "relu": lambda x: max(x, 0.0),
    "softplus": lambda x: math.log1p(math.exp(-abs(x))) + max(x, 0.0),
    "tanh": math.tanh,
    "retanh": lambda x: max(0.0, math.tanh(x)),
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
}
WEIGHTS = {"abs": abs, "rectify": lambda theta: max(theta, 0.0), "free": lambda theta: theta}


def loss_with_options(params, inputs, labels, noise, weights, input_noise, options):
    """The loss with its penalties; options as in torch_oracle.with_options."""
    f, brainpy = RATES[options["activation"]], options["dynamics"] == "brainpy"
    (n_time, n_batch, n_in), hidden, n_out = inputs.shape, len(params["b_rec"]), len(params["b_out"])
    penalties, alpha, n_read = options["penalties"], options["alpha"], params["w_out"].shape[1]

    def w(name, constraint, mask, i, j):
        return WEIGHTS[options[constraint]](float(params[name][i, j])) * float(options[mask][i, j])

    data = weight = squares = 0.0
    for b in range(n_batch):
        x = [float(params["x0"][i]) if "x0" in params else 0.0 for i in range(hidden)]
        for t in range(n_time):
            u = []
            for k in range(n_in):
                value = options["baseline_in"] + inputs[t, b, k] + (0 if input_noise is None else input_noise[t, b, k])
                u.append(max(value, 0.0) if options["rectify_inputs"] else value)
            r = [f(value) for value in x]
            new = []
            for i in range(hidden):
                current = params["b_rec"][i] + (0 if brainpy else params["b_in"][i])
                current += sum(w("w_rec", "constraint", "mask", i, j) * r[j] for j in range(hidden))
                current += sum(w("w_in", "constraint_in", "mask_in", i, k) * u[k] for k in range(n_in))
                kept = r[i] if brainpy else x[i]
                new.append((1 - alpha[i]) * kept + alpha[i] * current + noise[t, b, i])
            x = new
            r = [f(value) for value in x]
            squares += sum(value**2 for value in r)
            z = [
                params["b_out"][o] + sum(w("w_out", "constraint_out", "mask_out", o, j) * r[j] for j in range(n_read))
                for o in range(n_out)
            ]
            if options["loss"] == "squared_error":
                error = sum((z[o] - labels[t, b, o]) ** 2 for o in range(n_out)) / n_out
            else:
                error = math.log(sum(math.exp(value) for value in z)) - z[labels[t, b]]
            share = 1.0 if weights is None else weights[t, b]
            data, weight = data + share * error, weight + share
    total = data / weight + penalties["l2_rates"] * squares / (n_time * n_batch * hidden)
    for which in ("in", "rec", "out"):
        entries = [float(value) for value in params[f"w_{which}"].ravel()]
        total += penalties[f"l1_{which}"] * sum(abs(value) for value in entries) / len(entries)
        total += penalties[f"l2_{which}"] * sum(value**2 for value in entries) / len(entries)
    return total


def omega(deltas, slopes, w_rec, alpha):
    """Omega from deltas and f'(x) (T, B, H) of the steps 1 .. T, w_rec (H, H) and alpha (H,)."""
    n_time, n_batch, hidden = deltas.shape
    terms = []
    for t in range(n_time - 1):
        for b in range(n_batch):
            e = [(1 - alpha[i]) * deltas[t + 1, b, i] for i in range(hidden)]
            v = [
                (1 - alpha[j]) * e[j] + sum(alpha[i] * e[i] * w_rec[i, j] for i in range(hidden)) * slopes[t, b, j]
                for j in range(hidden)
            ]
            size = sum(value**2 for value in e)
            if size >= 1e-20:
                terms.append((sum(value**2 for value in v) / size - 1) ** 2)
    return sum(terms) / len(terms) if terms else 0.0


def clipped(tensors, limit):
    """Gradients scaled so that the norm over all of them together is at most `limit`."""
    norm = math.sqrt(sum(float(value) ** 2 for tensor in tensors for value in np.ravel(tensor)))
    return [np.asarray(tensor) * min(1.0, limit / norm) for tensor in tensors]
