"""Other ways to a gradient, in plain NumPy, one line per equation: truncated BPTT, RTRL, e-prop and RFLO.

Beside reference.py, and as readable: equation numbers are those of docs/derivation.md, sections 10 to 12. Checks
nothing (seam.py does). `rtrl` and `eprop` run forward in time and keep no trajectory; `rtrl` shares no derivation with
BPTT, so that it can serve as its oracle.
Shapes: T time steps, B trials, I inputs, H units, R units that are read out, O outputs; S = H + I + 1, the length of
s_t = [r_{t-1}, u_t, 1]; V = [W_rec, W_in, b] is (H, S).
"""

import numpy as np

from ..functions import ACTIVATIONS
from ..params import Params, effective_weights, weight_slope
from ..reference import (
    add_penalties,
    carried,
    forward,
    input_bias,
    leak,
    loss_and_output_grad,
    parameter_grads,
    untrain,
)


def truncated_bptt(config, params, inputs, targets, noise, weights, steps):
    """BPTT in which the loss of each time step reaches back through at most `steps` steps."""
    run = forward(config, params, inputs, noise)
    loss, dz = loss_and_output_grad(config, run.outputs, targets, weights)
    dx = truncated_adjoints(config, params, run.rates, dz, steps)
    grads = parameter_grads(config, params, inputs, run.rates, dz, dx)
    return loss + add_penalties(config, params, grads, run.rates), grads


def truncated_adjoints(config, params, r, dz, steps):
    """dx_t (T, B, H) after `steps` sweeps of (T1); `steps` >= T gives the adjoints of BPTT."""
    (T, B, H), R = r.shape, config.n_read
    alpha, slope = config.alpha.astype(params.dtype), ACTIVATIONS[config.activation].slope
    w_rec, w_out = (effective_weights(config, params, name) for name in ("w_rec", "w_out"))
    own = 2 * config.penalties.l2_rates * r / r.size  # (B14)
    own[:, :, :R] += dz @ w_out  # (B2)
    dx = np.zeros((T + 1, B, H), params.dtype)  # dx[t] is dL/dx_{t+1}, as in reference.py
    for _ in range(min(steps, T)):
        dr = own + (alpha * dx[1:]) @ w_rec
        dx[:T] = dr * slope(r) + leak(config, alpha, r) * dx[1:]  # (T1), from the sweep before
    return dx[:T]


def rtrl(config, params, inputs, targets, noise, weights):
    """Real-time recurrent learning (Williams & Zipser 1989): exact, forward in time."""
    B, H, S = inputs.shape[1], config.n_hidden, config.n_hidden + config.n_in + 1
    alpha, w_rec = config.alpha.astype(params.dtype), effective_weights(config, params)
    slope = ACTIVATIONS[config.activation].slope
    unit = np.arange(H)
    influence = np.zeros((B, H, H, S), params.dtype)  # d x[i] / d V[k, l], for each trial
    influence_x0 = np.tile(np.eye(H, dtype=params.dtype), (B, 1, 1))  # d x[i] / d x_0[k]
    dv, dx0 = np.zeros((H, S), params.dtype), np.zeros(H, params.dtype)
    for now in _online(config, params, inputs, targets, noise, weights):
        jacobian = (alpha[:, None] * w_rec) * slope(now.r_before)[:, None, :]
        jacobian[:, unit, unit] += leak(config, alpha, now.r_before)  # (R1)
        influence = (jacobian @ influence.reshape(B, H, H * S)).reshape(influence.shape)
        influence[:, unit, unit] += alpha[:, None] * now.s[:, None, :]  # (R2)
        influence_x0 = jacobian @ influence_x0  # (R3)
        dx = now.dr * slope(now.r)  # the error of this time step alone
        dv += (dx.reshape(1, -1) @ influence.reshape(B * H, H * S)).reshape(H, S)  # (R4)
        dx0 += np.einsum("bi,bik->k", dx, influence_x0)  # (R4)
    return finish(config, params, now.loss, dv, dx0, now.dw_out, now.db_out)


def eprop(config, params, inputs, targets, noise, weights, feedback=None):
    """Eligibility traces: what each synapse knows of its own past, times an error sent back by fixed or own weights.

    Without `feedback` the error comes back by the read-out weights: symmetric e-prop (Bellec et al. 2020). A fixed
    `feedback` (O, H) gives its random variant, or RFLO (Murray 2019).
    """
    B, H, S = inputs.shape[1], config.n_hidden, config.n_hidden + config.n_in + 1
    alpha, slope = config.alpha.astype(params.dtype), ACTIVATIONS[config.activation].slope
    trace = np.zeros((B, H, S), params.dtype)
    trace_x0 = np.ones((B, H), params.dtype)
    dv, dx0 = np.zeros((H, S), params.dtype), np.zeros(H, params.dtype)
    for now in _online(config, params, inputs, targets, noise, weights):
        kept = leak(config, alpha, now.r_before) * np.ones((B, 1), params.dtype)
        trace = kept[..., None] * trace + alpha[:, None] * now.s[:, None, :]  # (L1)
        trace_x0 = kept * trace_x0
        signal = now.dr if feedback is None else now.dz @ feedback + now.dr_rates  # (L2)
        signal = signal * slope(now.r)
        dv += np.einsum("bi,bij->ij", signal, trace)  # (L3)
        dx0 += np.einsum("bi,bi->i", signal, trace_x0)
    return finish(config, params, now.loss, dv, dx0, now.dw_out, now.db_out)


class _Now:
    """What an online algorithm may look at in one time step, and the sums so far that need no past."""

    r_before: np.ndarray  # r_{t-1}
    r: np.ndarray  # r_t
    s: np.ndarray  # [r_{t-1}, u_t, 1]
    dz: np.ndarray  # the error at the output
    dr_rates: np.ndarray  # what the penalty of the rates adds at the rates
    dr: np.ndarray  # dz @ W_out and that, the error at the rates
    loss: float  # so far
    dw_out: np.ndarray
    db_out: np.ndarray


def _online(config, params, inputs, targets, noise, weights):
    """Run the network forward and stop after each time step; nothing of the past is kept."""
    (T, B, _), H, R, l2 = inputs.shape, config.n_hidden, config.n_read, config.penalties.l2_rates
    alpha, f = config.alpha.astype(params.dtype), ACTIVATIONS[config.activation].rate
    bias = (params.b_rec + input_bias(config, params))[:, None]
    w_in, w_rec, w_out = (effective_weights(config, params, name) for name in ("w_in", "w_rec", "w_out"))  # (F1)
    v = np.concatenate([w_rec, w_in, bias], axis=1)
    now, one = _Now(), np.ones((B, 1), params.dtype)
    x = np.zeros((B, H), params.dtype) + (0 if params.x0 is None else params.x0)
    now.r = f(x)
    now.loss, now.dw_out, now.db_out = 0.0, np.zeros_like(params.w_out), np.zeros_like(params.b_out)
    for t in range(T):
        now.r_before = now.r
        now.s = np.concatenate([now.r, inputs[t], one], axis=1)
        x = (1 - alpha) * carried(config, x, now.r) + alpha * (now.s @ v.T) + noise[t]  # (F2) (F3)
        now.r = f(x)  # (F4)
        z = now.r[:, :R] @ w_out.T + params.b_out  # (F5)
        loss, now.dz = loss_and_output_grad(config, z, targets[t], weights[t])
        now.loss += loss + l2 * (now.r**2).sum() / (T * now.r.size)  # (F10)
        now.dr_rates = 2 * l2 * now.r / (T * now.r.size)  # (B14)
        now.dr = now.dr_rates.copy()
        now.dr[:, :R] += now.dz @ w_out  # (B2)
        now.dw_out += now.dz.T @ now.r[:, :R]
        now.db_out += now.dz.sum(axis=0)  # (B10)
        yield now


def finish(config, params, loss, dv, dx0, dw_out, db_out):
    """The loss and the gradients of the parameters, from dL/dV (H, S), of x_0, of W_out (O, R) and of b_out."""
    H, grads = config.n_hidden, Params.like(config, params.dtype)
    grads.w_rec[...] = dv[:, :H] * weight_slope(config, params, "w_rec")  # (B6)
    grads.w_in[...] = dv[:, H:-1] * weight_slope(config, params, "w_in")  # (B7)
    grads.b_rec[...] = grads.b_in[...] = dv[:, -1]
    grads.w_out[...] = dw_out * weight_slope(config, params, "w_out")  # (B9)
    grads.b_out[...] = db_out
    if grads.x0 is not None:
        grads.x0[...] = dx0
    loss += add_penalties(config, params, grads, None)
    return loss, untrain(config, grads)
