"""The whole algorithm in plain NumPy: forward pass, loss, and BPTT, one line per equation.

The readable truth. Equation numbers are those of docs/derivation.md. Checks nothing (model.py does) and is not meant to
be fast. What the BrainPy tutorial does otherwise is at the end: until then read `leak` as 1 - alpha.
Shapes: T time steps, B trials, I inputs, H units, E excitatory units, O outputs; weights are [to, from].
"""

from typing import NamedTuple

import numpy as np

from .config import sign_mask
from .params import Params, effective_weights


class Trajectory(NamedTuple):
    """What a forward pass leaves: x_t (T, B, H), r_t (T, B, H), z_t (T, B, O), for t = 1 .. T."""

    states: np.ndarray
    rates: np.ndarray
    outputs: np.ndarray


def forward(config, params, inputs, noise):
    """Run the network over inputs u (T, B, I) with additive noise (T, B, H); returns a Trajectory."""
    (T, B, _), H, E = inputs.shape, config.n_hidden, config.n_exc
    alpha = config.alpha.astype(params.dtype)
    w_rec, b_in = effective_weights(config, params), input_bias(config, params)  # (F1)
    x = np.zeros((T + 1, B, H), params.dtype)  # x[0] is x_0
    if params.x0 is not None:
        x[0] = params.x0
    r = np.maximum(x, 0)
    for t in range(1, T + 1):
        current = r[t - 1] @ w_rec.T + params.b_rec + inputs[t - 1] @ params.w_in.T + b_in  # (F2)
        x[t] = leak(config, alpha, x[t - 1]) * x[t - 1] + alpha * current + noise[t - 1]  # (F3)
        r[t] = np.maximum(x[t], 0)  # (F4)
    z = r[1:, :, :E] @ params.w_out.T + params.b_out  # (F5)
    return Trajectory(x[1:], r[1:], z)


def loss_and_output_grad(config, outputs, targets, weights):
    """The loss, and dz = dL/dz (T, B, O); weights (T, B) sum to 1."""
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
    (T, B, _), H, E = inputs.shape, config.n_hidden, config.n_exc
    alpha = config.alpha.astype(params.dtype)
    w_rec = effective_weights(config, params)
    x, r, z = forward(config, params, inputs, noise)
    loss, dz = loss_and_output_grad(config, z, targets, weights)
    dx = np.zeros((T + 1, B, H), params.dtype)  # dx[t] is dL/dx_{t+1}; dx[T] = 0: nothing comes after
    for t in reversed(range(T)):
        dr = (alpha * dx[t + 1]) @ w_rec  # (B3), what flows back through the recurrent weights
        dr[:, :E] += dz[t] @ params.w_out  # (B2), excitatory units are read out
        dx[t] = dr * (x[t] > 0) + leak(config, alpha, x[t]) * dx[t + 1]  # (B4), relu'(0) = 0
    grads = parameter_grads(config, params, inputs, r, dz, dx[:T])
    return loss, grads


def parameter_grads(config, params, inputs, r, dz, dx):
    """The gradient of every parameter, once dz (T, B, O) and dx (T, B, H) are known at all times."""
    B, (H, E) = inputs.shape[1], (config.n_hidden, config.n_exc)
    alpha = config.alpha.astype(params.dtype)
    mask, w_rec = sign_mask(config).astype(params.dtype), effective_weights(config, params)
    x0 = np.zeros(H, params.dtype) if params.x0 is None else params.x0
    r_before = np.concatenate([np.broadcast_to(np.maximum(x0, 0), (1, B, H)), r[:-1]])  # r_{t-1}
    dc = alpha * dx  # (B5), gradient at the currents

    grads = Params.like(config, params.dtype)
    grads.w_rec[...] = np.einsum("tbi,tbj->ij", dc, r_before, optimize=True)
    grads.w_rec *= mask * np.sign(params.w_rec)  # (B6)
    grads.w_in[...] = np.einsum("tbi,tbj->ij", dc, inputs, optimize=True)  # (B7)
    grads.b_rec[...] = dc.sum(axis=(0, 1))  # (B8)
    grads.b_in[...] = grads.b_rec  # (B8)
    grads.w_out[...] = np.einsum("tbo,tbj->oj", dz, r[:, :, :E], optimize=True)  # (B9)
    grads.b_out[...] = dz.sum(axis=(0, 1))  # (B10)
    if grads.x0 is not None:
        dx0 = (dc[0] @ w_rec) * (x0 > 0) + leak(config, alpha, x0) * dx[0]
        grads.x0[...] = dx0.sum(axis=0)  # (B11)
    return untrain(config, grads)


# --- The BrainPy tutorial's variant (derivation, section 7): the leak acts on the rate, the input has no bias ---


def leak(config, alpha, x):
    """d x_{t+1} / d x_t of a unit by itself: 1 - alpha; in the variant, only while the unit is active."""
    return (1 - alpha) * (x > 0) if config.dynamics == "brainpy" else 1 - alpha


def input_bias(config, params):
    """b_in; in the variant, nothing, whatever its value."""
    return 0 * params.b_in if config.dynamics == "brainpy" else params.b_in


def untrain(config, grads):
    """The gradients; in the variant, that of the input's bias is 0."""
    if config.dynamics == "brainpy":
        grads.b_in[...] = 0
    return grads
