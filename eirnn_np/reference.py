"""The whole algorithm in plain NumPy: forward pass, loss, and BPTT, one line per equation.

The readable truth. Equation numbers are those of docs/derivation.md. Checks nothing (model.py does) and is not meant to
be fast. What the BrainPy tutorial does otherwise is at the end: until then read `leak` as 1 - alpha, `carried` as x.
Shapes: T time steps, B trials, I inputs, H units, R units that are read out, O outputs; weights are [to, from].
"""

from typing import NamedTuple

import numpy as np

from .functions import ACTIVATIONS
from .params import Params, effective_weights, weight_slope


class Trajectory(NamedTuple):
    """What a forward pass leaves: x_t (T, B, H), r_t (T, B, H), z_t (T, B, O), for t = 1 .. T."""

    states: np.ndarray
    rates: np.ndarray
    outputs: np.ndarray


def effective_inputs(config, inputs, noise):
    """u (T, B, I) of what the task gives and of noise (T, B, I), both in one dtype."""
    if not config.changes_inputs and noise is None:
        return inputs
    u = inputs.dtype.type(config.baseline_in) + inputs
    u = u if noise is None else u + noise
    return np.maximum(u, 0) if config.rectify_inputs else u  # (F9)


def forward(config, params, inputs, noise):
    """Run the network over inputs u (T, B, I) with additive noise (T, B, H); returns a Trajectory."""
    (T, B, _), H, R = inputs.shape, config.n_hidden, config.n_read
    alpha, f = config.alpha.astype(params.dtype), ACTIVATIONS[config.activation].rate
    w_in, w_rec, w_out = (effective_weights(config, params, name) for name in ("w_in", "w_rec", "w_out"))  # (F1)
    b_in = input_bias(config, params)
    x = np.zeros((T + 1, B, H), params.dtype)  # x[0] is x_0
    if params.x0 is not None:
        x[0] = params.x0
    r = f(x)
    for t in range(1, T + 1):
        current = r[t - 1] @ w_rec.T + params.b_rec + inputs[t - 1] @ w_in.T + b_in  # (F2)
        x[t] = (1 - alpha) * carried(config, x[t - 1], r[t - 1]) + alpha * current + noise[t - 1]  # (F3)
        r[t] = f(x[t])  # (F4)
    z = r[1:, :, :R] @ w_out.T + params.b_out  # (F5)
    return Trajectory(x[1:], r[1:], z)


def loss_and_output_grad(config, outputs, targets, weights):
    """The loss of the data, and dz = dL/dz (T, B, O); weights (T, B) sum to 1."""
    if config.loss == "squared_error":
        residual = outputs - targets
        loss = (weights * (residual**2).mean(axis=-1)).sum()  # (F8)
        return loss, weights[..., None] * 2 * residual / outputs.shape[-1]  # (B12)
    shifted = outputs - outputs.max(axis=-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))  # (F6)
    onehot = targets[..., None] == np.arange(outputs.shape[-1])
    loss = -(weights * log_p[onehot].reshape(targets.shape)).sum()  # (F7)
    return loss, weights[..., None] * (np.exp(log_p) - onehot)  # (B1)


def loss_and_grads(config, params, inputs, targets, noise, weights):
    """The loss and its gradient with respect to every parameter, by backpropagation through time."""
    run = forward(config, params, inputs, noise)
    loss, dz = loss_and_output_grad(config, run.outputs, targets, weights)
    dx = adjoints(config, params, run.rates, dz, config.penalties.l2_rates)
    grads = parameter_grads(config, params, inputs, run.rates, dz, dx)
    loss += add_penalties(config, params, grads, run.rates)
    if config.penalties.omega:
        dx = adjoints(config, params, run.rates, dz, 0)  # of the data alone
        grads.w_rec += config.penalties.omega * omega_and_grad(config, params, run.rates, dx)[1]
    return loss, grads


def adjoints(config, params, r, dz, l2_rates):
    """dx_t = dL/dx_t, (T, B, H), from the rates r_t and dz = dL/dz (T, B, O)."""
    (T, B, H), R = r.shape, config.n_read
    alpha, slope = config.alpha.astype(params.dtype), ACTIVATIONS[config.activation].slope
    w_rec, w_out = (effective_weights(config, params, name) for name in ("w_rec", "w_out"))
    dx = np.zeros((T + 1, B, H), params.dtype)  # dx[t] is dL/dx_{t+1}; dx[T] = 0: nothing comes after
    for t in reversed(range(T)):
        dr = (alpha * dx[t + 1]) @ w_rec  # (B3), what flows back through the recurrent weights
        dr[:, :R] += dz[t] @ w_out  # (B2), only these units are read out
        dr += 2 * l2_rates * r[t] / r.size  # (B14)
        dx[t] = dr * slope(r[t]) + leak(config, alpha, r[t]) * dx[t + 1]  # (B4)
    return dx[:T]


def parameter_grads(config, params, inputs, r, dz, dx):
    """The gradient of every parameter, once dz (T, B, O) and dx (T, B, H) are known at all times."""
    B, H, R = inputs.shape[1], config.n_hidden, config.n_read
    alpha, (f, slope) = config.alpha.astype(params.dtype), ACTIVATIONS[config.activation]
    x0 = np.zeros(H, params.dtype) if params.x0 is None else params.x0
    r_before = np.concatenate([np.broadcast_to(f(x0), (1, B, H)), r[:-1]])  # r_{t-1}
    dc = alpha * dx  # (B5), gradient at the currents

    grads = Params.like(config, params.dtype)
    grads.w_rec[...] = np.einsum("tbi,tbj->ij", dc, r_before, optimize=True)
    grads.w_rec *= weight_slope(config, params, "w_rec")  # (B6)
    grads.w_in[...] = np.einsum("tbi,tbj->ij", dc, inputs, optimize=True)
    grads.w_in *= weight_slope(config, params, "w_in")  # (B7)
    grads.b_rec[...] = dc.sum(axis=(0, 1))  # (B8)
    grads.b_in[...] = grads.b_rec  # (B8)
    grads.w_out[...] = np.einsum("tbo,tbj->oj", dz, r[:, :, :R], optimize=True)
    grads.w_out *= weight_slope(config, params, "w_out")  # (B9)
    grads.b_out[...] = dz.sum(axis=(0, 1))  # (B10)
    if grads.x0 is not None:
        w_rec, r0 = effective_weights(config, params), f(x0)
        dx0 = (dc[0] @ w_rec) * slope(r0) + leak(config, alpha, r0) * dx[0]
        grads.x0[...] = dx0.sum(axis=0)  # (B11)
    return untrain(config, grads)


# --- Penalties, and Omega (derivation, sections 15 and 16) ---


def add_penalties(config, params, grads, r):
    """Add the gradients of the weights' penalties to `grads`; returns what the penalties add to the loss.

    Without rates r (T, B, H), those of the weights alone.
    """
    given = config.penalties
    value = 0.0 if r is None or not given.l2_rates else given.l2_rates * np.mean(r**2)  # (F10)
    for name, l1, l2 in (
        ("w_in", given.l1_in, given.l2_in), ("w_rec", given.l1_rec, given.l2_rec), ("w_out", given.l1_out, given.l2_out)
    ):  # fmt: skip
        if l1 or l2:
            theta, dtheta = getattr(params, name), getattr(grads, name)
            value += l1 * np.mean(np.abs(theta)) + l2 * np.mean(theta**2)  # (F10)
            dtheta += (l1 * np.sign(theta) + 2 * l2 * theta) / theta.size  # (B13)
    return value


def omega_and_grad(config, params, r, dx):
    """Omega and its immediate gradient at theta_rec (H, H), from the rates r_t and dx_t (T, B, H) of the data alone."""
    alpha, slope = config.alpha.astype(params.dtype), ACTIVATIONS[config.activation].slope(r[:-1])
    e = (1 - alpha) * dx[1:]  # e_k = (1 - alpha) dx_{k+1}, k = 1 .. T-1
    v = (1 - alpha) * e + ((alpha * e) @ effective_weights(config, params)) * slope  # (F11)
    ee, vv = (e**2).sum(axis=-1), (v**2).sum(axis=-1)
    counted = ee >= 1e-20
    number = max(int(counted.sum()), 1)
    ee = np.where(counted, ee, 1)
    excess = np.where(counted, vv / ee - 1, 0)
    omega = (excess**2).sum() / number  # (F12)
    dw = np.einsum("tbi,tbj->ij", alpha * e, (4 * excess / ee / number)[..., None] * v * slope, optimize=True)  # (B15)
    return omega, dw * weight_slope(config, params, "w_rec")


# --- The BrainPy tutorial's variant (derivation, section 7): the leak acts on the rate, the input has no bias ---


def carried(config, x, r):
    """What a unit keeps a share 1 - alpha of: its state; in the variant, its rate."""
    return r if config.dynamics == "brainpy" else x


def leak(config, alpha, r):
    """d x_{t+1} / d x_t of a unit by itself: 1 - alpha; in the variant times f'(x_t), a function of the rate."""
    return (1 - alpha) * ACTIVATIONS[config.activation].slope(r) if config.dynamics == "brainpy" else 1 - alpha


def input_bias(config, params):
    """b_in; in the variant, nothing, whatever its value."""
    return 0 * params.b_in if config.dynamics == "brainpy" else params.b_in


def untrain(config, grads):
    """The gradients; in the variant, that of the input's bias is 0."""
    if config.dynamics == "brainpy":
        grads.b_in[...] = 0
    return grads
