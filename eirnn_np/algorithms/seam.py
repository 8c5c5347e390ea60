"""The seam for other algorithms: each is a function with the signature of `loss_and_grads`.

`algorithm(name)` gives one of them, `GradientTrainer` trains with any of them. The main job does not come through
here: `Trainer` makes its whole step of BPTT in one compiled call.
"""

import contextlib
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import model, reference
from ..checks import check_array, check_choice, check_integer
from ..config import ModelConfig
from ..functions import ACTIVATIONS
from ..noise import uniforms
from ..optimisers import Optimiser, Rate
from ..params import Params, effective_weights
from ..threads import launch, limited
from ..trainer import (
    DEFAULT_RATE,
    Trainer,
    blank_batch,
    check_trainer,
    frozen_numbers,
    make_optimiser,
    silent,
    warn_of_refusal,
)  # fmt: skip
from . import equations, kernels
from .names import ALGORITHMS

Result = tuple[float, Params]  # the loss, and its gradient
Gradient = Callable[..., Result]  # with the signature of `loss_and_grads`

FEEDBACK_STREAM = 0x46454544  # "FEED": keeps the feedback weights apart from all that is drawn of the same seed


def algorithm(name: str = "bptt", truncation: int | None = None, seed: int = 0) -> Gradient:
    """A gradient by its name: a function ``(config, params, inputs, labels, noise=None, weights=None)``.

    Parameters
    ----------
    name : {"bptt", "tbptt", "rtrl", "eprop", "rflo"}
        Backpropagation through time; truncated; real-time recurrent learning; eligibility traces with the error
        coming back by the read-out weights, or by fixed random ones.
    truncation : int
        K of "tbptt", and of it alone: the loss of each time step reaches back through at most K steps.
    seed : int
        Of the fixed random weights of "rflo".

    Returns
    -------
    callable
        Returns (loss, grads) as `loss_and_grads` does.

    Raises
    ------
    ValueError
        For an unknown name, a missing or superfluous truncation, or one below 1.
    """
    check_choice("algorithm", name, ALGORITHMS)
    if name == "tbptt":
        return functools.partial(truncated_bptt, steps=check_truncation(truncation))
    if truncation is not None:
        raise ValueError(f"truncation belongs to the algorithm tbptt, found {truncation!r} with {name}")
    if name == "rflo":
        return functools.partial(rflo, seed=seed)
    return {"bptt": model.loss_and_grads, "rtrl": rtrl, "eprop": eprop}[name]


def check_truncation(truncation) -> int:
    """The K of tbptt as an int; ValueError for what is none."""
    return check_integer("truncation (of the algorithm tbptt)", truncation, 1)


def truncated_bptt(config: ModelConfig, params: Params, *batch: Any, steps: int, **options: Any) -> Result:
    """As `loss_and_grads`, but the loss of each time step reaches back through at most `steps` steps. (T1)

    Sliding truncation, BPTT(h) of Williams & Peng (1990): `steps` = 1 keeps what a step does to its own loss,
    `steps` >= T is BPTT. Time O(steps T B H^2). All other arguments are those of `loss_and_grads`.
    """
    steps = check_truncation(steps)
    params, found, backend = _check(config, params, *batch, **options)
    if backend == "numpy":
        loss, grads = equations.truncated_bptt(config, params, *found, steps=steps)
        return float(loss), grads
    run = _Compiled(config, params, *found)
    T, B, H = run.r.shape
    dx = np.zeros((T + 1, B, H), params.dtype)
    w_rec = effective_weights(config, params)
    with launch():
        kernels.truncated_adjoints(
            dx, np.empty((B, H), params.dtype), run.own, run.slope[1:], run.alpha, w_rec, steps, run.brainpy
        )
    dv = np.zeros((H, run.s.shape[2]), params.dtype)
    with launch():
        kernels.current_weight_grads(dv, dx[:T], run.s, run.alpha)
    dx0 = None
    if params.x0 is not None:
        kept = reference.leak(config, run.alpha, run.r0)
        dx0 = ((run.alpha * dx[0]) @ w_rec * run.slope[0] + kept * dx[0]).sum(axis=0)  # (B11)
    return run.finish(dv, dx0)


def rtrl(config: ModelConfig, params: Params, *batch: Any, **options: Any) -> Result:
    """As `loss_and_grads`, by real-time recurrent learning. (R1)-(R4)

    Exact: equal to BPTT to rounding. Plain NumPy under either name of a backend, since almost all of its time is spent
    in one matrix product. Time O(T B H^4), memory O(B H^3): for small networks. Arguments are those of
    `loss_and_grads`.
    """
    params, found, _ = _check(config, params, *batch, **options)
    loss, grads = equations.rtrl(config, params, *found)
    return float(loss), grads


def eprop(
    config: ModelConfig, params: Params, *batch: Any, feedback: np.ndarray | None = None, **options: Any
) -> Result:
    """As `loss_and_grads`, by eligibility traces: an approximation, local in space and forward in time. (L1)-(L3)

    Parameters
    ----------
    config, params, *batch, **options
        Those of `loss_and_grads`.
    feedback : (O, H) array, optional
        Fixed weights by which the error comes back. None takes the read-out weights (symmetric e-prop): then
        inhibitory units, which are not read out, get no error, and the weights onto them a gradient of 0.
    """
    params, found, backend = _check(config, params, *batch, **options)
    if feedback is not None:
        feedback = check_array("feedback", feedback, (config.n_out, config.n_hidden), params.dtype)
    if backend == "numpy":
        loss, grads = equations.eprop(config, params, *found, feedback=feedback)
        return float(loss), grads
    run = _Compiled(config, params, *found)
    signal = run.own if feedback is None else run.dz @ feedback + run.own_rates
    dv = np.zeros((config.n_hidden, run.s.shape[2]), params.dtype)
    dx0 = np.zeros(config.n_hidden, params.dtype)
    with launch():
        kernels.eligibility_grads(dv, dx0, np.empty_like(dv), signal, run.s, run.slope, run.alpha, run.brainpy)
    return run.finish(dv, dx0)


def rflo(config: ModelConfig, params: Params, *batch: Any, seed: int = 0, **options: Any) -> Result:
    """As `eprop`, with `random_feedback` to all units: RFLO (Murray 2019) for these equations."""
    return eprop(config, params, *batch, feedback=random_feedback(config, seed), **options)


def random_feedback(config: ModelConfig, seed: int = 0, inhibitory: bool = True) -> np.ndarray:
    """Fixed feedback weights (O, H), uniform on (-k, k) with the k = 1/sqrt(E) that the read-out weights start from.

    `inhibitory` = False leaves out the inhibitory units, as the read-out does.
    """
    shape = config.n_out, config.n_hidden
    feedback = (2 * uniforms(seed, FEEDBACK_STREAM, math.prod(shape)).reshape(shape) - 1) / np.sqrt(config.n_exc)
    if not inhibitory:
        feedback[:, config.n_exc :] = 0
    return feedback


class GradientTrainer:
    """Trains one network by any function with the signature of `loss_and_grads`: what `Trainer` does, in parts.

    Noise, gradient and update are as in `Trainer`: with `loss_and_grads` itself and Adam the result is the same to
    the bit.

    Parameters
    ----------
    config, params, lr, seed, threads
        As in `Trainer`.
    gradient : callable
        See `algorithm`.
    optimiser : Adam, SGD, or an object with ``update(params, grads)``, optional
        Adam(lr) by default.
    clip, freeze
        As in `Trainer`.
    """

    def __init__(
        self, config: ModelConfig, params: Params, gradient: Gradient = model.loss_and_grads, lr: Rate = DEFAULT_RATE,
        seed: int = 0, threads: int | None = None, optimiser=None, *, clip: float | None = None,
        freeze: Mapping[str, bool | np.ndarray] | None = None,
    ) -> None:  # fmt: skip
        self.threads = check_trainer(config, params, seed, threads)
        self.config, self.params, self.seed, self.gradient = config, params, seed, gradient
        own = isinstance(optimiser, Optimiser | None)
        if not own and (clip is not None or freeze):
            raise ValueError(f"clip and freeze belong to Adam and SGD, found the optimiser {optimiser!r}")
        self.optimiser = make_optimiser(DEFAULT_RATE if optimiser else lr, optimiser, clip) if own else optimiser
        self.frozen = frozen_numbers(params, freeze)
        self.grads = Params.like(config, params.dtype)
        self.last_loss = math.nan
        self.warns = True  # see `Trainer`
        self._k = 0

    @property
    def k(self) -> int:
        """Steps taken: the updates of the optimiser where it counts them, as ours do in the call that makes them."""
        return getattr(self.optimiser, "k", self._k)

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return self.optimiser.lr

    @lr.setter
    def lr(self, value: Rate) -> None:
        self.optimiser.lr = value

    def step(self, inputs: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> float:
        """One training step; returns the loss before the update.

        Where loss or gradient are not finite there is no update, `k` stays, and the first time there is a
        RuntimeWarning. Arguments are checked as in `loss_and_grads`; nothing has changed if one is refused.
        """
        taken = self.k
        inputs, noise, more = model.check_inputs(self.config, inputs, self.params.dtype), None, {}
        with limited(self.threads):
            draw = self.config, self.seed, self.k, *inputs.shape[:2], self.params.dtype
            if self.config.sigma_in:
                more["input_noise"] = model.input_noise(*draw)
            if self.config.sigma_rec:
                noise = model.recurrent_noise(*draw)
            with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is seen to here
                loss, self.grads = self.gradient(self.config, self.params, inputs, labels, noise, weights, **more)
            if math.isfinite(loss):
                self.last_loss = loss
                with contextlib.suppress(FloatingPointError):  # k stays, by which the loop sees it
                    frozen = (self.frozen,) if self.frozen.size else ()
                    self.optimiser.update(self.params, self.grads, *frozen)
                    self._k += 1
        if self.k == taken:
            warn_of_refusal(self, loss)
        return loss

    def compile(self, n_time: int, n_batch: int) -> None:
        """Compile what `step` needs, without changing anything."""
        batch = blank_batch(self.config, 2, 1, self.params.dtype)  # kernels are compiled for any size
        with silent(GradientTrainer(self.config, self.params.copy(), self.gradient, 1e-3, 0, self.threads)) as other:
            other.step(*batch)


def make_trainer(config: ModelConfig, params: Params, gradient: Gradient | None = None, **options):
    """A `GradientTrainer` of `gradient`, or, without one, the `Trainer` of BPTT; `options` as they take them."""
    return (
        Trainer(config, params, **options) if gradient is None else GradientTrainer(config, params, gradient, **options)
    )


class _Compiled:
    """The forward pass by the compiled kernels, and what both compiled algorithms take from it."""

    def __init__(self, config, params, inputs, targets, noise, weights):
        self.config, self.params = config, params
        self.alpha, self.brainpy = config.alpha.astype(params.dtype), config.dynamics == "brainpy"
        _, self.r, z = model.compiled_forward(config, params, inputs, noise)
        loss, self.dz = reference.loss_and_output_grad(config, z, targets, weights)
        l2 = config.penalties.l2_rates
        self.loss = loss + (l2 * np.mean(self.r**2) if l2 else 0)  # (F10)
        self.own_rates = 2 * l2 * self.r / self.r.size  # (B14)
        self.own = self.own_rates.copy()
        self.own[:, :, : config.n_read] += self.dz @ effective_weights(config, params, "w_out")  # (B2)
        f, slope = ACTIVATIONS[config.activation]
        self.r0 = f(np.zeros(config.n_hidden, params.dtype) if params.x0 is None else params.x0)
        r = np.concatenate([np.broadcast_to(self.r0, (1, *self.r.shape[1:])), self.r])
        self.slope = slope(r).astype(params.dtype)
        self.s = kernels.extended_rows(self.r, inputs, self.r0)

    def finish(self, dv, dx0):
        """The loss, and dL/dV (H, S) as gradients; those of the read-out are exact in every algorithm."""
        rates = self.r[:, :, : self.config.n_read].reshape(-1, self.config.n_read)
        dz = self.dz.reshape(-1, self.config.n_out)
        loss, grads = equations.finish(self.config, self.params, self.loss, dv, dx0, dz.T @ rates, dz.sum(axis=0))
        return float(loss), grads


Batch = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _check(
    config, params, inputs, labels, noise=None, weights=None, backend="numba", *, input_noise=None
) -> tuple[Params, Batch, str]:
    """The arguments of `loss_and_grads`, by its own checks: params, (u, targets, noise, weights), backend."""
    if config.penalties.omega:
        raise ValueError(
            "penalties.omega belongs to backpropagation through time alone: Omega is made of its deltas, which no "
            "other algorithm computes"
        )
    params, inputs, noise = model.check_run(config, params, inputs, noise, backend, input_noise)
    labels, weights = model.check_targets(config, labels, weights, inputs.shape, params.dtype)
    return params, (inputs, labels, noise, weights), backend
