"""Trainer, which takes one training step at a time, and `train`, the loop around it."""

import copy
import time
from collections.abc import Callable, Iterator
from typing import Protocol

import numba
import numpy as np

from . import kernels
from .checks import check_integer
from .compiled import KernelModel, make_workspace
from .config import ModelConfig
from .model import check_inputs, check_targets, check_weights
from .noise import seed_key
from .optimisers import GRADIENT_LIMITS, Adam
from .params import Params, check_params
from .threads import limited


class Trainer:
    """Trains one network, one whole step at a time: noise, forward pass, loss, BPTT, Adam.

    Parameters
    ----------
    config : ModelConfig
    params : Params
        Changed in place; their dtype is that of the arithmetic.
    lr : float
        Adam's learning rate.
    seed : int
        Of the recurrent noise: step k (from 0) uses ``recurrent_noise(config, seed, k, T, B)``.
    threads : int, optional
        Numba threads of a step, all by default. The result does not depend on it.

    Attributes
    ----------
    optimiser : Adam
        Also under the name ``adam``.
    grads : Params
        The gradients of the last step.
    k : int
        Steps taken: the updates of the optimiser, which are counted in the same compiled call.
    last_loss : float
        The loss of the last step that was counted.
    """

    def __init__(
        self, config: ModelConfig, params: Params, lr: float = 1e-3, seed: int = 0, threads: int | None = None
    ) -> None:
        threads = check_trainer(config, params, seed, threads)
        self.config, self._params, self.seed = config, params, seed
        self.optimiser = Adam(lr)
        self.grads = Params.like(config, params.dtype)
        self.threads = threads
        self._model = KernelModel(config, params.dtype)
        self._shape = self._workspace = self._weights = None
        self._bits = np.int32 if params.dtype == np.float32 else np.int64

    def __getstate__(self):  # for copies and pickles: the work arrays are made anew by the next step
        return self.__dict__ | {"_workspace": None, "_shape": None}

    def __copy__(self):  # two trainers of one network would spoil each other's moments
        return copy.deepcopy(self)

    @property
    def lr(self) -> float:
        return self.optimiser.lr

    @property
    def k(self) -> int:
        return self.optimiser.k

    @property
    def last_loss(self) -> float:
        return float(self.optimiser._done[1])

    @last_loss.setter
    def last_loss(self, value: float) -> None:
        self.optimiser._done[1] = value

    @property
    def params(self) -> Params:
        return self._params

    @params.setter
    def params(self, value: Params) -> None:
        """Other numbers for the same network, such as the best of a training."""
        check_params(self.config, value)
        if value.dtype != self._params.dtype or not value.flat.flags.carray:
            raise ValueError(
                f"params must be {self._params.dtype}, writeable and in C order like the trainer's: take a copy by "
                f'params.astype("{self._params.dtype}")'
            )
        self._params = value

    @property
    def adam(self) -> Adam:
        return self.optimiser

    def step(self, inputs: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> float:
        """One training step on inputs (T, B, I) and labels (T, B); returns the loss before the update.

        A step happens or it does not. Where the loss is not finite, or an entry of the gradient is not or is too large
        for Adam, parameters, moments and `k` stay as they were. Ctrl-C finds a step done and counted, or neither.
        Where the update itself overflows (a very large lr), `k` stays, and the parameters are not finite.

        Arguments are as in `loss_and_grads`, checked like there; nothing has changed if one is refused.
        Arrays in the dtype of the parameters (labels int64) and in C order are used as they are. After the
        first step on a shape no array is allocated and nothing is compiled.
        """
        if weights is not None or not self._takes(inputs, labels):
            inputs = check_inputs(self.config, inputs, self.params.dtype)
            labels, weights = check_targets(self.config, labels, weights, inputs.shape, self.params.dtype)
        if inputs.shape != self._shape:
            self._workspace = make_workspace(self.config, inputs.shape[0], inputs.shape[1], self.params.dtype)
            self._weights = check_weights(None, inputs.shape, self.params.dtype)
            self._shape = inputs.shape
        weights = self._weights if weights is None else weights
        update, draw = self.optimiser.next_update(self.params), self._model.noise_made(self.seed, self.k)
        with limited(self.threads):
            return self._model.loss_and_grads(
                self.grads, self._workspace, self.params, inputs, labels, weights, draw, update
            )

    def _takes(self, inputs, labels):
        """Can the kernels work on these very arrays? If not, the slow way converts them or says what is wrong."""
        return (
            isinstance(inputs, np.ndarray)
            and isinstance(labels, np.ndarray)
            and inputs.dtype == self.params.dtype
            and labels.dtype == np.int64
            and not self._model.squared
            and inputs.ndim == 3
            and inputs.shape[2] == self.config.n_in
            and labels.shape == inputs.shape[:2]
            and inputs.size > 0
            and inputs.flags.carray
            and labels.flags.carray
            and kernels.is_clean(inputs.reshape(-1).view(self._bits), labels.reshape(-1), self.config.n_out)
        )

    def compile(self, n_time: int, n_batch: int) -> None:
        """Compile what `step` needs, without changing anything."""
        batch = blank_batch(self.config, n_time, n_batch, self.params.dtype)
        Trainer(self.config, self.params.copy(), self.lr, self.seed, self.threads).step(*batch)


def blank_batch(config: ModelConfig, n_time: int, n_batch: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (T, B, I) and targets of zeros: something to compile a step with."""
    squared = config.loss == "squared_error"
    targets = np.zeros((n_time, n_batch, config.n_out), dtype) if squared else np.zeros((n_time, n_batch), np.int64)
    return np.zeros((n_time, n_batch, config.n_in), dtype), targets


def check_trainer(config: ModelConfig, params: Params, seed: int, threads: int | None) -> int:
    """ValueError unless a trainer can work with these; returns the number of threads, all where none is given."""
    check_params(config, params)
    if not params.flat.flags.carray:
        raise ValueError("params.flat must be writeable and in C order: pass params.copy()")
    seed_key(seed)
    if threads is None:
        return numba.get_num_threads()
    most = numba.config.NUMBA_NUM_THREADS
    if check_integer("threads", threads, 1) > most:
        raise ValueError(f"threads must be at most {most} here (set NUMBA_NUM_THREADS for more), found {threads!r}")
    return int(threads)


class RunError(RuntimeError):
    """A run cannot go on or cannot be read; the message is one line that says what to do."""


class TakesSteps(Protocol):
    """What `train` works on: `Trainer`, `GradientTrainer`, or anything with these."""

    params: Params
    grads: Params

    @property
    def k(self) -> int: ...

    @property
    def lr(self) -> float: ...

    def step(self, inputs: np.ndarray, labels: np.ndarray) -> float: ...


def train(
    trainer: TakesSteps,
    batches: Iterator[tuple[np.ndarray, np.ndarray]],
    steps: int,
    on_step: Callable[[int, float], object] | None = None,
) -> tuple[np.ndarray, dict[str, float]]:
    """The loop: take `steps` training steps with a trainer on any iterator of (inputs, labels); no folder is involved.

    `run` and `resume` work on a run folder, and use this.

    Parameters
    ----------
    trainer : Trainer
    batches : iterator of (inputs (T, B, I), targets)
        All of one shape, or the trainer makes a new workspace when the shape changes.
    steps : int
    on_step : callable, optional
        Called as ``on_step(k, loss)`` after each step, k from 1.

    Returns
    -------
    losses : (steps,) float64
    seconds : dict
        Wall time spent on "batches" and on "training".

    Raises
    ------
    ValueError
        The batches say their dt, and it is not the network's.
    RunError
        The loss or a gradient is not finite: step and parameter are named. The parameters are as that step found
        them, unless it is the update that made one infinite.
    """
    config, dt = getattr(trainer, "config", None), getattr(batches, "dt", None)
    if config is not None and dt is not None and dt != config.dt:
        raise ValueError(f"dt must be the same for network and batches, found {config.dt:g} and {dt:g} ms")
    losses = np.full(steps, np.nan)
    seconds = {"batches": 0.0, "training": 0.0}
    clock = time.perf_counter
    for k in range(steps):
        start = clock()
        try:
            inputs, targets = next(batches)
        except StopIteration:
            raise RunError(f"the batches ended after {k} of {steps} steps") from None
        middle = clock()
        taken = trainer.k
        losses[k] = loss = trainer.step(inputs, targets)
        seconds["batches"] += middle - start
        seconds["training"] += clock() - middle
        if trainer.k == taken:
            raise RunError(_divergence(trainer, loss))
        if on_step is not None:
            on_step(k + 1, loss)
    return losses, seconds


def _divergence(trainer, loss):
    """Why the trainer did not take its next step, in one line that names the step and the parameters."""

    def names(tensors, limit):
        return ", ".join(name for name, values in tensors.items() if not (np.abs(values) <= limit).all())

    found = f"the loss is {loss}" if not np.isfinite(loss) else "the gradient is not finite"
    if bad := names(trainer.grads, GRADIENT_LIMITS[trainer.params.dtype.name]):
        where = f"gradient not finite, or too large: {bad}"
    elif bad := names(trainer.params, np.finfo(trainer.params.dtype).max):
        found, where = "a parameter is not finite", f"parameter not finite: {bad}"
    else:
        sizes = {name: float(np.abs(values).max()) for name, values in trainer.params.items()}
        name = max(sizes, key=lambda each: sizes[each])
        where = f"largest parameter: {name}, {sizes[name]:.3g}"
    return f"{found} at step {trainer.k + 1}: training diverged; try a smaller lr than {trainer.lr:g} ({where})"
