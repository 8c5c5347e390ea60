"""Public forward pass, loss and gradients, and noise: the layer that checks what a user passes.

Everything is checked here and nowhere below; then the work goes to reference.py ("numpy") or compiled.py ("numba").
Shapes: T time steps, B trials, I inputs, H units, O outputs.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import DTypeLike

from . import kernels, reference, threads
from .checks import check_array, check_choice, check_dtype, check_integer, check_unmasked
from .compiled import KernelModel, kernel_array, make_workspace
from .config import ModelConfig, Penalties, check_penalties
from .noise import INPUT_STREAM, seed_key
from .params import Params, check_params, effective_weights, weight_slope
from .reference import Trajectory
from .timestep import check_dt
from .weights import check_weights

BACKENDS = ("numba", "numpy")


def forward(
    config: ModelConfig,
    params: Params,
    inputs: np.ndarray,
    noise: np.ndarray | None = None,
    backend: str = "numba",
    *,
    input_noise: np.ndarray | None = None,
    x0: np.ndarray | None = None,
    current: np.ndarray | None = None,
) -> Trajectory:
    """Run the network over a batch of inputs. (F1)-(F5), (F9)

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
    input_noise : (T, B, I) array, optional
        Added to the inputs, already scaled; see `input_noise`. None is no noise. Baseline and rectification are the
        configuration's, with or without it.
    x0 : (H,) or (B, H) array, optional
        The state x before the first step, for all trials or for each; in place of the network's own.
    current : (H,), (T, H) or (T, B, H) array, optional
        Injected into the units: added to the current c_t of (F2), in its units.

    Returns
    -------
    Trajectory
        ``states`` x (T, B, H), ``rates`` r (T, B, H), ``outputs`` z (T, B, O).

    Raises
    ------
    ValueError
        Names the argument, what was expected and what was found.
    """
    params, inputs, noise = check_run(config, params, inputs, noise, backend, input_noise)
    if x0 is not None or current is not None:
        noise = noise.copy()
    if current is not None:
        noise += config.alpha.astype(params.dtype) * check_current(current, noise.shape, params.dtype)
    if x0 is not None:
        noise[0] += start_from(config, params, x0, noise.shape[1])
    if backend == "numpy":
        return reference.forward(config, params, inputs, noise)
    return compiled_forward(config, params, inputs, noise)


def compiled_forward(config, params, inputs, noise):
    """The forward pass by the kernels; inputs are u, and all has been checked."""
    (T, B, _), H = inputs.shape, config.n_hidden
    states, rates = np.empty((2, T, B, H), params.dtype)
    outputs = np.empty((T, B, config.n_out), params.dtype)
    model = KernelModel(config, params.dtype)
    workspace = make_workspace(config, T, B, params.dtype)
    model.forward(states, rates, outputs, workspace, params, inputs, model.noise_given(noise))
    return Trajectory(states, rates, outputs)


def loss_and_grads(
    config: ModelConfig,
    params: Params,
    inputs: np.ndarray,
    labels: np.ndarray,
    noise: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    backend: str = "numba",
    *,
    input_noise: np.ndarray | None = None,
) -> tuple[float, Params]:
    """The loss of a batch and its gradient with respect to every parameter. (F1)-(F12), (B1)-(B15)

    Parameters
    ----------
    config, params, inputs, noise, backend, input_noise
        As in `forward`.
    labels : (T, B) integers in 0 .. O-1, or (T, B, O) real targets
        The second for ``config.loss == "squared_error"``. A time step of weight 0 may hold any label.
    weights : (T, B) array, optional
        Weight of each time step of each trial, 0 or more; the loss is divided by their sum. None weighs all alike.

    Returns
    -------
    loss : float
        In nats per time step for cross-entropy; with the penalties that the configuration asks for, Omega apart.
    grads : Params
        dL/dp under the name of each parameter p; that of w_rec with the gradient of Omega.

    Raises
    ------
    ValueError
        Names the argument, what was expected and what was found.
    """
    params, inputs, noise = check_run(config, params, inputs, noise, backend, input_noise)
    labels, weights = check_targets(config, labels, weights, inputs.shape, params.dtype)
    if backend == "numpy":
        loss, grads = reference.loss_and_grads(config, params, inputs, labels, noise, weights)
        return float(loss), grads
    grads = Params.like(config, params.dtype)
    workspace = make_workspace(config, inputs.shape[0], inputs.shape[1], params.dtype)
    model = KernelModel(config, params.dtype)
    draw = model.noise_given(noise)
    return model.loss_and_grads(grads, workspace, params, inputs, labels, weights, draw), grads


def recurrent_noise(
    config: ModelConfig,
    seed: int = 0,
    step: int = 0,
    n_time: int = 100,
    n_batch: int = 16,
    dtype: DTypeLike = "float32",
) -> np.ndarray:
    """The recurrent noise of one training step, (T, B, H), scaled by sqrt(2 alpha) sigma_rec.

    A pure function of its arguments: each number depends on (seed, step, time, trial, unit) alone, so any part of a
    larger array is the same. Both dtypes scale the same float32 normals. With dynamics="brainpy" all trials share the
    numbers of trial 0. Philox4x32-10 (Salmon et al. 2011) and Box-Muller; noise.py has it in plain NumPy.

    Raises
    ------
    ValueError
        For a seed outside 0 .. 2**64 - 1, a step outside 0 .. 2**32 - 1, or sizes below 1.
    """
    scale = config.noise_scale
    return _scaled_noise(seed, 0, step, n_time, n_batch, scale, dtype, config.dynamics == "brainpy")


def input_noise(
    config: ModelConfig,
    seed: int = 0,
    step: int = 0,
    n_time: int = 100,
    n_batch: int = 16,
    dtype: DTypeLike = "float32",
) -> np.ndarray:
    """The noise on the inputs of one training step, (T, B, I), scaled by sqrt(2 tau_in / dt) sigma_in. (F9)

    As `recurrent_noise`, from a stream of its own: with one seed the two have nothing in common. Each trial has numbers
    of its own, whatever the dynamics.
    """
    scale = np.full(config.n_in, config.input_noise_scale)
    return _scaled_noise(seed, INPUT_STREAM, step, n_time, n_batch, scale, dtype, False)


def _scaled_noise(seed, stream, step, n_time, n_batch, scale, dtype, shared):
    """scale (n,) times normals of a stream, (T, B, n); shared by the trials or not."""
    for name, value, least in (("step", step, 0), ("n_time", n_time, 1), ("n_batch", n_batch, 1)):
        check_integer(name, value, least, 2**32 - 1)
    out = np.empty((int(n_time), int(n_batch), scale.size), check_dtype(dtype))
    with threads.launch():
        kernels.noise_fill(out, *_noise_work(len(out), scale, dtype), _key(seed, stream), int(step), shared)
    return out


def _noise_work(n, scale, dtype):
    """Work arrays of the kernels of noise, for n items at a time, and the scale."""
    width = -(-scale.size // 64) * 64
    return np.empty((n, width), dtype), np.empty((n, 1, width), np.uint32), scale.astype(dtype)


def _key(seed, stream):
    low, high = seed_key(seed, stream)
    return np.uint64(high << 32 | low)


def noise_of_trials(config, seed, spans, shape, dtype):
    """(recurrent noise (T, B, H), input noise (T, B, I) or None) of trials behind and beside each other, else 0.

    For each (step, b, first, n_time) of spans (K, 4), column b has from `first` on what `recurrent_noise` and
    `input_noise` give for (seed, step, n_time) and one trial.
    """
    found: list = []
    for stream, scale in ((0, config.noise_scale), (INPUT_STREAM, np.full(config.n_in, config.input_noise_scale))):
        if stream and not config.sigma_in:
            return found[0], None
        found.append(np.zeros((*shape, scale.size), dtype))
        with threads.launch():
            work = _noise_work(len(spans), scale, dtype)
            kernels.noise_of_trials(found[-1], *work, _key(seed, stream), spans)
    return tuple(found)


def omega(
    config: ModelConfig,
    params: Params,
    inputs: np.ndarray,
    labels: np.ndarray,
    noise: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    backend: str = "numba",
    *,
    input_noise: np.ndarray | None = None,
) -> tuple[float, np.ndarray]:
    """Song et al.'s (2016) regulariser against vanishing gradients. (F11) (F12) (B15)

    Whatever `config.penalties` says: nothing is multiplied by its omega, and delta is that of the data's loss.

    Parameters
    ----------
    config, params, inputs, labels, noise, weights, backend, input_noise
        As in `loss_and_grads`.

    Returns
    -------
    value : float
        Omega: 0 where no time step of no trial has a gradient that flows back.
    grad : (H, H) array
        Its immediate gradient at theta_rec, where states and deltas are held constant.

    Raises
    ------
    ValueError
        As `loss_and_grads`; and with dynamics="brainpy" or dt = tau, for which it is not defined.
    """
    check_penalties(config, Penalties(omega=1))
    params, inputs, noise = check_run(config, params, inputs, noise, backend, input_noise)
    labels, weights = check_targets(config, labels, weights, inputs.shape, params.dtype)
    if backend == "numba":
        return _omega_by_kernels(config, params, inputs, labels, noise, weights)
    run = reference.forward(config, params, inputs, noise)
    _, dz = reference.loss_and_output_grad(config, run.outputs, labels, weights)
    dx = reference.adjoints(config, params, run.rates, dz, 0)
    value, grad = reference.omega_and_grad(config, params, run.rates, dx)
    return float(value), grad


def _omega_by_kernels(config, params, inputs, labels, noise, weights):
    """Omega and its gradient, of what the kernels leave in their workspace. (F12) (B15)"""
    alone = replace(config, penalties=Penalties(omega=1))
    model, (T, B, _) = KernelModel(alone, params.dtype), inputs.shape
    workspace = make_workspace(alone, T, B, params.dtype)
    grads = Params.like(config, params.dtype)
    model.loss_and_grads(grads, workspace, params, inputs, labels, weights, model.noise_given(noise))
    total, number = workspace.loss[:, 2].sum(), max(workspace.loss[:, 3].sum(), 1)
    scale = (config.alpha * (1 - config.alpha) / number).astype(params.dtype)
    H = config.n_hidden
    outer = workspace.domega.sum(axis=0).transpose(1, 0, 2).reshape(H, -1)[:, :H]  # vector by vector
    return float(total / number), scale[:, None] * outer * weight_slope(config, params, "w_rec")


def check_current(current, shape, dtype):
    """An injected current as an array that (T, B, H) broadcasts with."""
    T, B, H = shape
    expected = {1: (H,), 2: (T, H), 3: (T, B, H)}.get(np.ndim(current), (T, B, H))
    current = check_array("current", current, expected, dtype)
    return current[:, None] if current.ndim == 2 else current


def start_from(config, params, x0, n_batch):
    """What x_1 has more if the state before it is x0 in place of the network's own, (B, H). (F2, F3)"""
    x0 = check_array("x0", x0, (None, config.n_hidden)[2 - max(np.ndim(x0), 1) :], params.dtype)
    if x0.ndim == 2 and len(x0) != n_batch:
        raise ValueError(f"x0 must have shape ({config.n_hidden},) or ({n_batch}, {config.n_hidden}), found {x0.shape}")
    own = np.zeros(config.n_hidden, params.dtype) if params.x0 is None else params.x0
    alpha, rate = config.alpha.astype(params.dtype), reference.ACTIVATIONS[config.activation].rate
    (r, x), (r_own, x_own) = ((rate(start), start) for start in (x0, own))
    carried = reference.carried(config, x, r) - reference.carried(config, x_own, r_own)
    return (1 - alpha) * carried + alpha * ((r - r_own) @ effective_weights(config, params).T)


def check_targets(config, labels, weights, shape, dtype):
    """Labels (T, B) int64, or targets (T, B, O) for the squared error, and weights (T, B) that sum to 1.

    What stands at weight 0 is not looked at, and becomes 0. ValueError if they do not fit.
    """
    T, B, _ = shape
    used = check_weights(weights, shape, dtype)
    check_unmasked("labels", labels)
    if weights is not None and not np.all(weights):
        labels = np.asarray(labels)
        if labels.shape[:2] == (T, B) and labels.dtype.kind in "fiub":
            ignored = (np.asarray(weights) == 0).reshape(T, B, *[1] * (labels.ndim - 2))
            labels = np.where(ignored, labels.dtype.type(0), labels)
    if config.loss == "squared_error":
        return kernel_array(check_array("labels", labels, (T, B, config.n_out), dtype)), used
    labels = check_array("labels", labels, (T, B))
    if labels.dtype.kind not in "iub":
        raise ValueError(f"labels must be integers, found dtype {labels.dtype}")
    wrong = (labels < 0) | (labels >= config.n_out)
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(f"labels must lie in 0 .. {config.n_out - 1}, found {labels[at]} at {at}")
    return kernel_array(labels.astype(np.int64, copy=False)), used


def check_inputs(config, inputs, dtype):
    """Inputs (T, B, I), T and B at least 1, C-contiguous in `dtype`, and not of another dt than the network's."""
    check_dt(config.dt, inputs)
    try:
        inputs = kernel_array(check_array("inputs", inputs, (None, None, config.n_in), dtype))
    except ValueError as error:
        if "must be finite" not in str(error):
            raise
        raise ValueError(f"{error}: they drive the network in ignored time steps too (weight 0); pad by 0") from None
    if inputs.size == 0:
        raise ValueError(f"inputs must hold at least one time step and one trial, found shape {inputs.shape}")
    return inputs


def check_run(config, params, inputs, noise, backend, input_noise=None):
    """params, u and noise as both backends take them; noise is zeros where there is none."""
    check_choice("backend", backend, BACKENDS)
    check_params(config, params)
    if not params.flat.flags.carray:
        params = params.copy()
    inputs = check_inputs(config, inputs, params.dtype)
    if input_noise is not None:
        input_noise = check_array("input_noise", input_noise, inputs.shape, params.dtype)
    inputs = kernel_array(reference.effective_inputs(config, inputs, input_noise))
    shape = (*inputs.shape[:2], config.n_hidden)
    if noise is None:
        return params, inputs, np.zeros(shape, params.dtype)
    return params, inputs, kernel_array(check_array("noise", noise, shape, params.dtype))
