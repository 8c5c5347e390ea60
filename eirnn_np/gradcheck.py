"""Gradient verification: a report of errors against finite differences and other oracles.

`check_gradients` takes functions and arrays, so it checks code that has nothing to do with ours;
`check_network` applies it to the network here. torch is imported only inside the one function that is its oracle, and
only where it is installed.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from . import reference
from .algorithms import equations
from .checks import check_float, check_integer
from .config import EFFECTIVE_MASKS
from .functions import ACTIVATIONS
from .model import check_inputs, check_targets, check_weights, loss_and_grads
from .params import Params, effective_weights

EXTRA_ORACLES = ("rtrl",)
KINKED = ("relu", "retanh")  # activations
FINITE_DIFFERENCES = ("fd directions", "fd coordinates")

# The most that a gradient may differ from an oracle in float64, as a share of the norm of its tensor, by the
# dtype of the gradient under test. Measured over H 7 .. 300 and T 1 .. 500 (docs/verification.md), then set
# some ten times higher. A float32 gradient carries its own rounding, which grows with T.
TOLERANCE = {
    "float64": {"fd": 1e-7, "numpy": 1e-12, "torch": 1e-12, "rtrl": 1e-12},
    "float32": {"fd": 2e-5, "numpy": 2e-5, "torch": 2e-5, "rtrl": 2e-5},
}


# A check that would pass an error of a larger share than this says nothing.
MOST_SHARE = 1e-3


@dataclass
class Check:
    """One tensor against one oracle.

    `error` is the length of what is wrong with the gradient, as far as the oracle sees it: of analytic gradients the
    norm of the difference, of random directions an estimate of it, of single coordinates the largest entry. `norm` is
    that of the gradient, or the largest entry among the coordinates. `used` is error over tolerance, `share` tolerance
    over norm: what the check would still pass. The verdict is "pass", "FAIL", or "unverified": nothing could be
    compared, or the share is above `MOST_SHARE`. Where the norm is 0 the share is infinite, and the check passes only
    if it has been seen that the loss does not depend on the tensor at all (`idle`).
    """

    error: float
    tolerance: float
    compared: int
    skipped: int = 0
    norm: float = math.inf
    idle: bool = False

    @property
    def used(self) -> float:
        return self.error / self.tolerance if self.tolerance else (0.0 if self.error == 0 else math.inf)

    @property
    def share(self) -> float:
        return self.tolerance / self.norm if self.norm else (0.0 if self.tolerance == 0 else math.inf)

    @property
    def verdict(self) -> str:
        if self.compared and not self.used <= 1:  # NaN does not pass
            return "FAIL"
        return "pass" if self.compared and (self.share <= MOST_SHARE or self.idle) else "unverified"

    @property
    def passed(self) -> bool:
        return self.verdict == "pass"


@dataclass
class GradientReport:
    """The outcome of a check: ``rows[tensor][oracle]`` is a `Check`; print it, or take `to_dict()`.

    It passes if no check failed and each tensor was verified by one oracle at least.
    """

    norms: dict
    rows: dict
    title: str = ""
    notes: list = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return bool(self.rows) and not self.failures() and not self.unverified()

    def failures(self) -> list[tuple[str, str]]:
        """Pairs (tensor, oracle) whose error is above the tolerance."""
        return [(name, oracle) for name, row in self.rows.items() for oracle, c in row.items() if c.verdict == "FAIL"]

    def unverified(self) -> list[str]:
        """Tensors that no oracle could verify."""
        return [name for name, row in self.rows.items() if not any(c.verdict != "unverified" for c in row.values())]

    def to_dict(self) -> dict:
        return {
            "passed": self.passed,
            "title": self.title,
            "tensors": {
                name: {
                    "norm": self.norms[name],
                    "checks": {
                        oracle: {
                            "error": c.error, "tolerance": c.tolerance, "share": c.share, "used": c.used,
                            "verdict": c.verdict, "passed": c.passed, "compared": c.compared, "skipped": c.skipped,
                        }
                        for oracle, c in checks.items()
                    },
                }
                for name, checks in self.rows.items()
            },
        }  # fmt: skip

    def __str__(self) -> str:
        oracles = list(dict.fromkeys(oracle for checks in self.rows.values() for oracle in checks))
        width = max([len(name) for name in self.rows] + [6])
        lines = [self.title] if self.title else []
        lines.append(f"{'':{width}}  {'norm':>9}" + "".join(f"  {oracle:>23}" for oracle in oracles))
        lines.append(f"{'':{width}}  {'':>9}" + "".join(f"  {'error     sees   used':>23}" for _ in oracles))
        for name, checks in self.rows.items():
            cells = ""
            for oracle in oracles:
                c = checks.get(oracle)
                if c is None:
                    text = "-"
                elif c.verdict == "unverified":
                    text = "nothing compared" if not c.compared else f"no power: {_percent(c.share)}"
                else:
                    text = f"{c.error:8.1e}  {c.share:7.1e}  {_percent(c.used):>5}"
                cells += f"  {text:>23}"
            verdicts = {c.verdict for c in checks.values()}
            verdict = "FAIL" if "FAIL" in verdicts else "pass" if "pass" in verdicts else "unverified"
            lines.append(f"{name:{width}}  {self.norms[name]:9.2e}{cells}  {verdict}")
        for oracle in oracles:
            checks = [checks[oracle] for checks in self.rows.values() if oracle in checks]
            skipped = sum(c.skipped for c in checks)
            if oracle in FINITE_DIFFERENCES:
                lines.append(f"{oracle}: {sum(c.compared for c in checks)} compared, {skipped} left out next to a kink")
        lines.append("sees: the smallest error, as a share of the gradient, that would fail")
        lines += self.notes
        if self.failures():
            lines.append("FAIL: " + ", ".join(f"{name} against {oracle}" for name, oracle in self.failures()))
        elif self.passed:
            lines.append("PASS")
        else:
            what = ", ".join(self.unverified()) or "anything"
            lines.append(f"UNVERIFIED: no oracle could check {what} (too near a kink, or too small beside the loss)")
        return "\n".join(lines)


def check_gradients(
    loss_fn, grads, params, *, kinks=None, oracles=None, n_directions=6, n_coordinates=12, step=1e-5, rtol=1e-7,
    seed=0, title="",
):  # fmt: skip
    """Compare gradients with central finite differences of a loss, and with any other gradients.

    Parameters
    ----------
    loss_fn : callable
        ``loss_fn(params) -> float`` for a dict like `params`, in float64. It must be deterministic: noise
        is an input of the model, never drawn inside.
    grads : dict of arrays
        The gradients under test, under the names of `params`.
    params : dict of arrays
        Where the gradients were taken. Not changed.
    kinks : callable, optional
        ``kinks(params)`` gives an array that says on which side of each kink (ReLU, absolute value) the
        computation is. A difference across a kink means nothing: where the array changes within a step,
        the entry is left out and counted.
    oracles : dict, optional
        ``{name: (gradients, rtol)}``: analytic gradients of others to compare with.
    n_directions : int
        Random unit directions for each tensor, besides the direction of its own gradient.
    n_coordinates : int
        Coordinates of each tensor tried one by one: the largest entries of the gradient and random ones.
    step : float
        Of the central difference (L(p + step d) - L(p - step d)) / (2 step).
    rtol : float
        Tolerance as a share of the norm of the gradient, to which the rounding of the difference itself,
        64 eps |L| / step, is added. A random direction sees of an error in n numbers a part of 1 / sqrt(n) on average,
        so both are taken times sqrt(n). Where the sum is above 0.1 % of the norm (of single coordinates: of the
        largest entry) the check has no power: the tensor is unverified, and so is one of which every difference crosses
        a kink. A gradient of zeros is verified if the loss stays the same to the bit, also at a distance of 1. What is
        unverified has not passed.
    seed : int
        Of directions and coordinates.

    Returns
    -------
    GradientReport

    Raises
    ------
    ValueError
        If names or shapes of `grads` and `params` differ, the loss is not finite, or an option is out of its range.
    """
    step, rtol = check_float("step", step, above=0), check_float("rtol", rtol, above=0)
    n_directions, n_coordinates, seed = (
        check_integer(name, value, 0)
        for name, value in (("n_directions", n_directions), ("n_coordinates", n_coordinates), ("seed", seed))
    )
    params = {name: np.array(value, np.float64) for name, value in params.items()}
    grads = {name: np.asarray(value, np.float64) for name, value in grads.items()}
    _same_tensors("grads", grads, params)
    for oracle, (theirs, share) in (oracles or {}).items():
        _same_tensors(f"oracles[{oracle!r}]", theirs, params)
        check_float(f"oracles[{oracle!r}][1]", share, above=0)
    base = float(loss_fn(params))
    if not math.isfinite(base):
        raise ValueError(f"loss_fn must return a finite loss, found {base}")
    rounding = 64 * np.finfo(np.float64).eps * abs(base) / step
    side = None if kinks is None else np.array(kinks(params))
    rng = np.random.default_rng(seed)
    rows: dict[str, dict[str, Check]] = {}
    norms: dict[str, float] = {}

    def difference(name, direction):
        """The directional derivative, or None where a kink is in the way."""
        origin, losses = params[name], []
        try:
            for sign in (1, -1):
                params[name] = origin + sign * step * direction
                if side is not None and not np.array_equal(kinks(params), side):
                    return None
                losses.append(float(loss_fn(params)))
        finally:
            params[name] = origin
        return (losses[0] - losses[1]) / (2 * step)

    def idle(name, directions):
        """Is the loss the same to the bit at a distance of 1, wherever it was looked at?"""
        origin = params[name]
        try:
            for d in directions:
                params[name] = origin + d
                if float(loss_fn(params)) != base:
                    return False
        finally:
            params[name] = origin
        return True

    for name, gradient in grads.items():
        norm, size = float(np.linalg.norm(gradient)), gradient.size
        norms[name], rows[name] = norm, {}
        drawn = rng.normal(size=(n_directions, *gradient.shape))
        # (direction, what its derivative is multiplied by); of its own derivative a gradient has no part elsewhere
        directions = [(d / np.linalg.norm(d), math.sqrt(size)) for d in drawn if size]
        directions += [(gradient / norm, 1.0)] if norm else []
        largest = np.argsort(-np.abs(gradient), axis=None, kind="stable")[: n_coordinates // 2]
        chosen = list(dict.fromkeys([*largest.tolist(), *rng.permutation(size)[:n_coordinates].tolist()]))
        chosen = chosen[:n_coordinates]
        units = [(np.eye(1, size, index).reshape(gradient.shape), 1.0) for index in chosen]
        unmoved = norm == 0 and idle(name, [sign * d for d, _ in (directions + units)[:4] for sign in (1, -1)])
        entry = float(np.abs(gradient.ravel()[chosen]).max(initial=0))
        for oracle, tried, noise, of in zip(
            FINITE_DIFFERENCES, (directions, units), (rounding * math.sqrt(size), rounding), (norm, entry)
        ):
            found = [(difference(name, d), float((gradient * d).sum()), times) for d, times in tried]
            errors = [times * abs(expected - ours) for expected, ours, times in found if expected is not None]
            if tried:
                error, skipped = float(np.max(errors, initial=0)), len(found) - len(errors)
                rows[name][oracle] = Check(error, rtol * norm + noise, len(errors), skipped, of, unmoved)
        for oracle, (theirs, share) in (oracles or {}).items():
            expected = np.asarray(theirs[name], np.float64)
            error, length = float(np.linalg.norm(gradient - expected)), float(np.linalg.norm(expected))
            rows[name][oracle] = Check(error, share * length, size, norm=length)
    return GradientReport(norms, rows, title)


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


def _same_tensors(name, found, params):
    shapes = {key: np.shape(value) for key, value in found.items()}
    expected = {key: value.shape for key, value in params.items()}
    if shapes != expected:
        raise ValueError(f"{name} must have the names and shapes of params, {expected}, found {shapes}")


def _percent(share):
    return f"{100 * share:.0f} %" if share < 10 else f"{share:.0e}x"
