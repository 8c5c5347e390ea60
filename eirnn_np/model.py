"""Public forward pass, loss and gradients, and noise: the layer that checks what a user passes.

Everything is checked here and nowhere below; then the work goes to reference.py ("numpy") or kernels.py
("numba"). Shapes: T time steps, B trials, I inputs, H units, E excitatory units, O outputs.
"""

import numpy as np

from . import kernels, reference
from .noise import seed_key
from .params import Params, check_dtype, check_params, effective_weights, real_array, sign_mask
from .reference import Trajectory

BACKENDS = ("numba", "numpy")


def forward(config, params, inputs, noise=None, backend="numba") -> Trajectory:
    """Run the network over a batch of inputs. (F1)-(F5)

    Parameters
    ----------
    config : ModelConfig
    params : Params
        Their dtype, float32 or float64, is that of the arithmetic.
    inputs : (T, B, I) array
        Any real dtype and memory order.
    noise : (T, B, H) array, optional
        Added to x at each step, already scaled; see `recurrent_noise`. None is no noise.
    backend : {"numba", "numpy"}
        The compiled kernels or the readable reference; equal to rounding.

    Returns
    -------
    Trajectory
        ``states`` x (T, B, H), ``rates`` r (T, B, H), ``outputs`` z (T, B, O).

    Raises
    ------
    ValueError
        Names the argument, what was expected and what was found.
    """
    inputs, noise = _check_run(config, params, inputs, noise, backend)
    if backend == "numpy":
        return reference.forward(config, params, inputs, noise)
    (T, B, _), H = inputs.shape, config.n_hidden
    x, r = np.empty((2, T, B, H), params.dtype)
    z = np.empty((T, B, config.n_out), params.dtype)
    kernels.forward(x, r, z, inputs, noise, *_scaled(config, params), config.dynamics == "brainpy")
    return Trajectory(x, r, z)


def loss_and_grads(config, params, inputs, labels, noise=None, weights=None, backend="numba"):
    """The loss of a batch and its gradient with respect to every parameter. (F1)-(F8), (B1)-(B12)

    Parameters
    ----------
    config, params, inputs, noise, backend
        As in `forward`.
    labels : (T, B) integers in 0 .. O-1, or (T, B, O) real targets
        The second for ``config.loss == "squared_error"``.
    weights : (T, B) array, optional
        Weight of each time step of each trial, 0 or more; the loss is divided by their sum. None weighs
        all alike.

    Returns
    -------
    loss : float
        In nats per time step for cross-entropy.
    grads : Params
        dL/dp under the name of each parameter p.

    Raises
    ------
    ValueError
        Names the argument, what was expected and what was found.
    """
    inputs, noise = _check_run(config, params, inputs, noise, backend)
    labels = check_targets(config, labels, inputs.shape, params.dtype)
    weights = check_weights(weights, inputs.shape, params.dtype)
    if backend == "numpy":
        loss, grads = reference.loss_and_grads(config, params, inputs, labels, noise, weights)
        return float(loss), grads
    (T, B, _), H = inputs.shape, config.n_hidden
    brainpy = config.dynamics == "brainpy"
    x, r, dx = np.empty((3, T, B, H), params.dtype)
    z = np.empty((T, B, config.n_out), params.dtype)
    scaled = _scaled(config, params)
    kernels.forward(x, r, z, inputs, noise, *scaled, brainpy)
    loss, dz = reference.loss_and_output_grad(config, z, labels, weights)
    a_rec, _, _, leak, w_out, _, x0 = scaled
    partial = np.empty((-(-B // kernels.CHUNK), params.flat.size), params.dtype)
    dx0 = np.empty((B, H), params.dtype)
    kernels.backward(dx, dz, partial, dx0, x, r, inputs, np.ascontiguousarray(a_rec.T), leak, w_out, x0, brainpy)
    grads = Params.like(config, params.dtype)
    for part in partial:
        grads.flat += part
    alpha = config.alpha.astype(params.dtype)
    grads.w_in *= alpha[:, None]
    grads.w_rec *= alpha[:, None] * sign_mask(config).astype(params.dtype) * np.sign(params.w_rec)
    grads.b_rec *= alpha
    if not brainpy:
        grads.b_in[...] = grads.b_rec
    if grads.x0 is not None:
        grads.x0[...] = 0
        for row in dx0:
            grads.x0 += row
    return float(loss), grads


def recurrent_noise(config, seed=0, step=0, n_time=100, n_batch=16, dtype="float32") -> np.ndarray:
    """The recurrent noise of one training step, (T, B, H), scaled by sqrt(2 alpha) sigma_rec.

    A pure function of its arguments: each number depends on (seed, step, time, trial, unit) alone, so any
    part of a larger array is the same. Both dtypes scale the same float32 normals. With
    dynamics="brainpy" all trials share the numbers of trial 0.
    Philox4x32-10 (Salmon et al. 2011) and Box-Muller; noise.py has it in plain NumPy.

    Raises
    ------
    ValueError
        For a seed outside 0 .. 2**64 - 1, a step outside 0 .. 2**32 - 1, or sizes below 1.
    """
    key = seed_key(seed)
    for name, value, low in (("step", step, 0), ("n_time", n_time, 1), ("n_batch", n_batch, 1)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or not low <= value < 2**32:
            raise ValueError(f"{name} must be an integer from {low} to 2**32 - 1, found {value!r}")
    out = np.empty((int(n_time), int(n_batch), config.n_hidden), check_dtype(dtype))
    kernels.fill_noise(out, config.noise_scale.astype(out.dtype), *key, int(step), config.dynamics == "brainpy")
    return out


def check_targets(config, labels, shape, dtype):
    """Labels (T, B) int64, or targets (T, B, O) for the squared error; ValueError if they do not fit."""
    T, B, _ = shape
    if config.loss == "squared_error":
        return np.ascontiguousarray(real_array("labels", labels, (T, B, config.n_out), dtype))
    labels = real_array("labels", labels, (T, B))
    if labels.dtype.kind not in "iub":
        raise ValueError(f"labels must be integers, found dtype {labels.dtype}")
    wrong = (labels < 0) | (labels >= config.n_out)
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(f"labels must lie in 0 .. {config.n_out - 1}, found {labels[at]} at {at}")
    return np.ascontiguousarray(labels, np.int64)


def check_weights(weights, shape, dtype):
    """Weights (T, B) that sum to 1; ValueError if they cannot."""
    T, B, _ = shape
    if weights is None:
        return np.full((T, B), 1 / (T * B), dtype)
    weights = real_array("weights", weights, (T, B), np.float64)
    if (weights < 0).any() or not 0 < weights.sum() < np.inf:
        raise ValueError("weights must be 0 or more and not all 0")
    return np.ascontiguousarray(weights / weights.sum(), dtype)


def check_inputs(config, inputs, dtype):
    """Inputs (T, B, I), T and B at least 1, C-contiguous in `dtype`."""
    inputs = np.ascontiguousarray(real_array("inputs", inputs, (None, None, config.n_in), dtype))
    if inputs.size == 0:
        raise ValueError(f"inputs must hold at least one time step and one trial, found shape {inputs.shape}")
    return inputs


def _check_run(config, params, inputs, noise, backend):
    if backend not in BACKENDS:
        raise ValueError(f"backend must be {' or '.join(BACKENDS)}, found {backend!r}")
    check_params(config, params)
    inputs = check_inputs(config, inputs, params.dtype)
    shape = (*inputs.shape[:2], config.n_hidden)
    if noise is None:
        return inputs, np.zeros(shape, params.dtype)
    return inputs, np.ascontiguousarray(real_array("noise", noise, shape, params.dtype))


def _scaled(config, params):
    """What the kernels take: weights that carry alpha, from-major, and the leak 1 - alpha."""
    alpha = config.alpha.astype(params.dtype)
    a_rec = np.ascontiguousarray((alpha[:, None] * effective_weights(config, params)).T)
    a_in = np.ascontiguousarray((alpha[:, None] * params.w_in).T)
    x0 = np.zeros_like(alpha) if params.x0 is None else params.x0
    return a_rec, a_in, alpha * (params.b_rec + params.b_in), 1 - alpha, params.w_out, params.b_out, x0
