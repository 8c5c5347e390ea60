"""The gradients of our networks against every oracle at hand, by the check of differences.py.

torch is imported only inside the one function that is its oracle, and only where it is installed.
"""

import numpy as np

from . import reference
from .algorithms import equations
from .config import EFFECTIVE_MASKS
from .differences import GradientReport, check_gradients
from .functions import ACTIVATIONS
from .model import check_inputs, check_targets, loss_and_grads
from .params import Params, effective_weights
from .weights import check_weights

EXTRA_ORACLES = ("rtrl",)
KINKED = ("relu", "retanh")  # activations

# The most that a gradient may differ from an oracle in float64, as a share of the norm of its tensor, by the
# dtype of the gradient under test. Measured over H 7 .. 300 and T 1 .. 500 (docs/verification.md), then set
# some ten times higher. A float32 gradient carries its own rounding, which grows with T.
TOLERANCE = {
    "float64": {"fd": 1e-7, "numpy": 1e-12, "torch": 1e-12, "rtrl": 1e-12},
    "float32": {"fd": 2e-5, "numpy": 2e-5, "torch": 2e-5, "rtrl": 2e-5},
}


def check_network(
    config, params, inputs, labels, noise=None, weights=None, *, input_noise=None, grads=None, oracles=(), seed=0,
    title="", **options
) -> GradientReport:  # fmt: skip
    """Check our gradients for a network and a batch against every oracle at hand.

    The gradients under test are the compiled kernels' in the dtype of `params` (or those given as `grads`,
    a Params); the oracles run in float64: finite differences of the reference's loss, the plain NumPy
    reference, torch's autograd where torch is installed, and "rtrl", real-time recurrent learning, where `oracles`
    names it (time O(T B H^4)). Further options go to `check_gradients`.

    The gradient holds that of the penalties. Omega's is the immediate one: its finite differences hold the states and
    the deltas at what they are, and so does torch.
    """
    if grads is None:
        _, grads = loss_and_grads(config, params, inputs, labels, noise, weights, input_noise=input_noise)
    exact = params.astype("float64")
    # The rounding of inputs, noise and parameters to the dtype under test is not an error of the gradient.
    inputs = check_inputs(config, inputs, params.dtype).astype(np.float64)
    labels, _ = check_targets(config, labels, weights, inputs.shape, params.dtype)
    labels = labels.astype(np.float64) if config.loss == "squared_error" else labels
    weights = check_weights(weights, inputs.shape, np.float64)
    shape = (*inputs.shape[:2], config.n_hidden)
    noise = np.zeros(shape) if noise is None else np.asarray(noise, params.dtype).astype(np.float64)
    if input_noise is not None:
        input_noise = np.asarray(input_noise, params.dtype).astype(np.float64)
    inputs = reference.effective_inputs(config, inputs, input_noise)
    batch = (inputs, labels, noise, weights)
    held = _held(config, exact, *batch) if config.penalties.omega else None

    def as_params(arrays):
        return Params.like(config, flat=np.concatenate([np.ravel(arrays.get(n, v)) for n, v in exact.items()]))

    def loss_fn(arrays):
        p = as_params(arrays)
        run = reference.forward(config, p, inputs, noise)
        loss = reference.loss_and_output_grad(config, run.outputs, labels, weights)[0]
        loss += reference.add_penalties(config, p, Params.like(config, "float64"), run.rates)
        return loss + (config.penalties.omega * _omega_held(config, p, *held) if held else 0)

    def kinks(arrays):
        p = as_params(arrays)
        thetas = [getattr(p, name) for name in _kinked_weights(config)]
        if config.activation in KINKED:
            thetas += [reference.forward(config, p, inputs, noise).states, np.zeros(0) if p.x0 is None else p.x0]
        return np.concatenate([np.zeros(0, bool), *(np.ravel(each) > 0 for each in thetas)])

    tested, notes = [name for name in exact.shapes], []
    if config.dynamics == "brainpy":
        notes.append("b_in is no parameter of these dynamics: its gradient is 0")

    def pick(p):
        return {name: getattr(p, name) for name in tested}

    tolerance = TOLERANCE[params.dtype.name]
    for oracle in oracles:
        if oracle not in EXTRA_ORACLES:
            raise ValueError(f"oracle must be one of {', '.join(EXTRA_ORACLES)}, found {oracle!r}")
    extra, oracles = oracles, {}
    oracles["numpy"] = (pick(reference.loss_and_grads(config, exact, *batch)[1]), tolerance["numpy"])
    try:
        oracles["torch"] = (pick(_torch_gradients(config, exact, *batch)), tolerance["torch"])
    except ImportError:
        notes.append("torch is not installed: its autograd was left out (pip install 'torch>=2.2')")
    if "rtrl" in extra:
        oracles["rtrl"] = (pick(equations.rtrl(config, exact, *batch)[1]), tolerance["rtrl"])
    options = {"rtol": tolerance["fd"], **options}
    report = check_gradients(
        loss_fn, pick(grads), pick(exact), kinks=kinks, oracles=oracles, seed=seed, title=title, **options
    )
    report.notes += notes
    return report


def step_size_curve(config, params, inputs, labels, noise, steps, n_directions=8, seed=0):
    """Error of central differences against the step, for a figure: truncation on the right, round-off on the left.

    The loss is computed in the dtype of `params`; the directional derivatives come from the reference's
    gradient in float64.

    Returns
    -------
    errors : (len(steps),) array
        Median over directions of |difference - derivative| / |gradient|.
    floor : float
        The largest relative error of the kernels' gradient in the dtype of `params` against the plain NumPy
        reference in float64.
    """
    exact = params.astype("float64")
    zeros = np.zeros((*np.shape(inputs)[:2], config.n_hidden))
    batch = (inputs, labels, zeros if noise is None else noise)
    truth = loss_and_grads(config, exact, *batch, backend="numpy")[1].flat
    ours = loss_and_grads(config, params, *batch)[1].flat
    norm = np.linalg.norm(truth)
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(n_directions, truth.size))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)

    def loss_at(flat):
        # Through the compiled forward pass in the dtype of params: its rounding is what is shown.
        return loss_and_grads(config, Params.like(config, flat=flat.astype(params.dtype)), *batch)[0]

    errors = []
    for step in steps:
        found = [
            abs((loss_at(exact.flat + step * d) - loss_at(exact.flat - step * d)) / (2 * step) - truth @ d) / norm
            for d in directions
        ]
        errors.append(np.median(found))
    return np.array(errors), float(np.abs(ours - truth).max() / norm)


def _kinked_weights(config):
    """The weights whose sign matters: through a constraint, or through a penalty of their absolute value."""
    given = config.penalties
    sides = {
        "w_rec": config.constraint != "free" or given.l1_rec,
        "w_in": config.constraint_in != "free" or given.l1_in,
        "w_out": config.constraint_out != "free" or given.l1_out,
    }
    return [name for name, kinked in sides.items() if kinked]


def _held(config, params, inputs, targets, noise, weights):
    """What Omega's immediate gradient holds constant: e_k and f'(x_k), k = 1 .. T-1."""
    run = reference.forward(config, params, inputs, noise)
    dz = reference.loss_and_output_grad(config, run.outputs, targets, weights)[1]
    dx = reference.adjoints(config, params, run.rates, dz, 0)
    return (1 - config.alpha) * dx[1:], ACTIVATIONS[config.activation].slope(run.rates[:-1])


def _omega_held(config, params, e, slope):
    """Omega as a function of the recurrent weights alone. (F11) (F12)"""
    v = (1 - config.alpha) * e + ((config.alpha * e) @ effective_weights(config, params)) * slope
    ee, vv = (e**2).sum(axis=-1), (v**2).sum(axis=-1)
    counted = ee >= 1e-20
    return np.sum((vv[counted] / ee[counted] - 1) ** 2) / max(counted.sum(), 1)


def _torch_gradients(config, params, inputs, labels, noise, weights):
    """The same equations in torch, float64, differentiated by autograd; inputs are u. ImportError without torch."""
    import torch

    rates_of = {"relu": torch.relu, "softplus": torch.nn.functional.softplus, "tanh": torch.tanh,
                "retanh": lambda x: torch.relu(torch.tanh(x)), "sigmoid": torch.sigmoid}  # fmt: skip
    weight_of = {"abs": torch.abs, "rectify": torch.relu, "free": lambda theta: theta}
    leaves = {name: torch.tensor(array, requires_grad=True) for name, array in params.items()}
    alpha, f, given = torch.tensor(config.alpha), rates_of[config.activation], config.penalties
    u, n, w = (torch.tensor(a) for a in (inputs, noise, weights))
    w_in, w_rec, w_out = (
        weight_of[constraint](leaves[name]) * torch.tensor(np.array(mask(config)))
        for (name, mask), constraint in zip(
            EFFECTIVE_MASKS.items(), (config.constraint_in, config.constraint, config.constraint_out)
        )
    )
    bias = leaves["b_rec"] + leaves["b_in"] * (config.dynamics != "brainpy")
    x = torch.zeros(u.shape[1], config.n_hidden, dtype=torch.float64)
    x = x + leaves["x0"] if "x0" in leaves else x
    r, states, rates = f(x), [], []
    for t in range(len(u)):
        leaking = r if config.dynamics == "brainpy" else x
        x = leaking * (1 - alpha) + (r @ w_rec.T + u[t] @ w_in.T + bias) * alpha + n[t]
        r = f(x)
        states.append(x)
        rates.append(r)
    z = torch.stack(rates)[:, :, : config.n_read] @ w_out.T + leaves["b_out"]
    if config.loss == "squared_error":
        each = ((z - torch.tensor(labels)) ** 2).mean(dim=-1)
    else:
        each = torch.nn.functional.cross_entropy(z.flatten(0, 1), torch.tensor(labels).flatten(), reduction="none")
    loss = (w.flatten() * each.flatten()).sum()
    if given.omega and len(u) > 1:
        delta = torch.stack(torch.autograd.grad(loss, states, retain_graph=True))
        e, x = (1 - alpha) * delta[1:], torch.stack(states[:-1]).detach().requires_grad_()
        (slope,) = torch.autograd.grad(f(x).sum(), x)
        v, ee = (1 - alpha) * e + ((alpha * e) @ w_rec) * slope, (e**2).sum(-1)
        excess = (v**2).sum(-1)[ee >= 1e-20] / ee[ee >= 1e-20] - 1
        loss = loss + given.omega * (excess**2).sum() / max(len(excess), 1)
    loss = loss + given.l2_rates * (torch.stack(rates) ** 2).mean()
    for name, l1, l2 in (("w_in", given.l1_in, given.l2_in), ("w_rec", given.l1_rec, given.l2_rec),
                         ("w_out", given.l1_out, given.l2_out)):  # fmt: skip
        loss = loss + l1 * leaves[name].abs().mean() + l2 * (leaves[name] ** 2).mean()
    loss.backward()
    nothing = {name: np.zeros(leaf.shape) for name, leaf in leaves.items()}
    flat = [nothing[name].ravel() if leaf.grad is None else leaf.grad.numpy().ravel() for name, leaf in leaves.items()]
    return Params.like(config, flat=np.concatenate(flat))
