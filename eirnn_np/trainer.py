"""Trainer, which takes one training step at a time, and `train`, the loop around it."""

import contextlib
import copy
import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import numba
import numpy as np

from .checks import check_array, check_integer
from .compiled import KernelModel, make_workspace
from .config import ModelConfig
from .model import check_inputs, check_targets
from .noise import check_training_seed
from .optimisers import GRADIENT_LIMITS, Adam, Optimiser, Rate
from .params import Params, check_params
from .threads import all_threads, limited
from .timestep import check_dt
from .weights import check_class_weights, check_weights, weights_of_labels

DEFAULT_RATE = 1e-3
MOST_STEPS = 2**32  # the number of a step is a word of the counter that its noise is drawn by


class Trainer:
    """Trains one network, one whole step at a time: noise, forward pass, loss, BPTT, update.

    Parameters
    ----------
    config : ModelConfig
    params : Params
        Changed in place; their dtype is that of the arithmetic.
    lr : float or callable
        Adam's learning rate; a schedule is a function of k. ``trainer.lr = 1e-4`` changes it between two steps.
    seed : int
        Of the noise: step k (from 0) uses ``recurrent_noise(config, seed, k, T, B)``, and ``input_noise`` likewise.
    threads : int, optional
        Numba threads of a step, all by default. The result does not depend on it.
    optimiser : Adam or SGD, optional
        In place of Adam(lr).
    clip : float, optional
        Largest norm of the whole gradient; see Adam. With an `optimiser` it is that one's.
    freeze : dict, optional
        Name of a parameter -> True, or a bool array of its shape: numbers that are not trained. They keep their bytes,
        their moments do not move, their gradient is 0, and no norm counts it.

    Attributes
    ----------
    optimiser : Adam or SGD
    adam : Adam
        The same under an older name; AttributeError where it is an SGD.
    grads : Params
        The gradients of the last step, before clipping.
    k : int
        Steps taken: the updates of the optimiser, which are counted in the same compiled call.
    last_loss : float
        The loss of the last step that was counted.
    warns : bool
        Is there to be a RuntimeWarning where a step is refused? True until there was one. False is for a loop that
        looks at `k` itself, as `train` does.
    """

    def __init__(
        self, config: ModelConfig, params: Params, lr: Rate = DEFAULT_RATE, seed: int = 0, threads: int | None = None,
        *, optimiser: Optimiser | None = None, clip: float | None = None,
        freeze: Mapping[str, bool | np.ndarray] | None = None,
    ) -> None:  # fmt: skip
        self.threads = check_trainer(config, params, seed, threads)
        self.config, self._params, self.seed = config, params, seed
        self.optimiser = make_optimiser(lr, optimiser, clip)
        self.frozen = frozen_numbers(params, freeze)
        self.grads = Params.like(config, params.dtype)
        self._model = KernelModel(config, params.dtype)
        self._rooms: dict = {}  # workspace and weights of the last few shapes of a batch
        self.warns = True

    def __getstate__(self):  # for copies and pickles: the work arrays are made anew by the next step
        return self.__dict__ | {"_rooms": {}}

    def __copy__(self):  # two trainers of one network would spoil each other's moments
        return copy.deepcopy(self)

    @property
    def threads(self) -> int:
        """Numba threads of a step."""
        return self._threads

    @threads.setter
    def threads(self, value: int) -> None:
        self._threads = check_threads(value)

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return self.optimiser.lr

    @lr.setter
    def lr(self, value: Rate) -> None:
        self.optimiser.lr = value

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
        if not isinstance(self.optimiser, Adam):
            raise AttributeError(f"this trainer has an {type(self.optimiser).__name__}, no Adam: trainer.optimiser")
        return self.optimiser

    def step(self, inputs: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> float:
        """One training step on inputs (T, B, I) and labels (T, B); returns the loss before the update.

        A step happens or it does not. Where the loss is not finite, or an entry of the gradient is not or is too large
        for the optimiser, parameters, moments and `k` stay as they were, and the first time there is a RuntimeWarning
        (see `warns`): the loss alone does not say so. Ctrl-C finds a step done and counted, or neither.
        Where the update itself overflows (a very large lr), `k` stays too, and the parameters are not finite.

        Arguments are as in `loss_and_grads`, checked like there; nothing has changed if one is refused.
        Arrays in the dtype of the parameters (labels int64) and in C order are used as they are. After the
        first step on a shape no array is allocated and nothing is compiled.
        """
        check_dt(self.config.dt, inputs)
        taken = self.optimiser.k
        if taken >= MOST_STEPS:
            raise ValueError(
                f"k must be below {MOST_STEPS}, found {taken}: the noise of the first step would come again"
            )
        if weights is not None or not self._takes(inputs, labels):
            inputs = check_inputs(self.config, inputs, self.params.dtype)
            labels, weights = check_targets(self.config, labels, weights, inputs.shape, self.params.dtype)
        workspace, alike = self._room(inputs.shape)
        weights = alike if weights is None else weights
        moments = self.optimiser.m, self.optimiser.v
        update, draw = self.optimiser.next_update(self.params, self.frozen), self._model.noise_made(self.seed, taken)
        with limited(self.threads):
            loss = self._model.loss_and_grads(self.grads, workspace, self.params, inputs, labels, weights, draw, update)
        if self.optimiser.k == taken:
            try:
                check_inputs(self.config, inputs, self.params.dtype)
                check_targets(self.config, labels, None, inputs.shape, self.params.dtype)
            except ValueError:
                self.optimiser.m, self.optimiser.v = moments
                raise
            warn_of_refusal(self, loss)
        return loss

    def _room(self, shape):
        """Workspace and equal weights for batches (T, B) of this shape; made once while few shapes alternate."""
        key = shape, self.optimiser.by_norm, self.threads
        if key not in self._rooms:
            while len(self._rooms) >= 4:
                del self._rooms[next(iter(self._rooms))]
            self._rooms[key] = (
                make_workspace(
                    self.config, shape[0], shape[1], self.params.dtype, self.optimiser.by_norm, self.threads
                ),
                check_weights(None, shape, self.params.dtype),
            )
        return self._rooms[key]

    def _takes(self, inputs, labels):
        """Can the kernels work on these very arrays? If not, the slow way converts them or says what is wrong.

        What stands in them the step looks at itself.
        """
        return (
            type(inputs) is np.ndarray
            and type(labels) is np.ndarray
            and inputs.dtype == self.params.dtype
            and labels.dtype == np.int64
            and not self._model.squared
            and inputs.ndim == 3
            and inputs.shape[2] == self.config.n_in
            and labels.shape == inputs.shape[:2]
            and inputs.size > 0
            and inputs.flags.carray
            and labels.flags.carray
        )

    def compile(self, n_time: int, n_batch: int) -> None:
        """Compile what `step` needs, without changing anything."""
        batch = blank_batch(self.config, n_time, n_batch, self.params.dtype)
        with silent(Trainer(self.config, self.params.copy(), seed=self.seed, threads=self.threads)) as other:
            other.step(*batch)


def make_optimiser(lr: Rate, optimiser: Optimiser | None, clip: float | None) -> Optimiser:
    """The optimiser that is given, or Adam; ValueError where an argument belongs to the other."""
    if optimiser is None:
        return Adam(lr, clip=math.inf if clip is None else clip)
    if not isinstance(optimiser, Optimiser):
        raise ValueError(f"optimiser must be an Adam or SGD, found {optimiser!r}")
    if clip is not None or lr is not DEFAULT_RATE:
        name = "lr" if clip is None else "clip"
        raise ValueError(f"{name} belongs to the optimiser where one is given: {type(optimiser).__name__}({name}=...)")
    return optimiser


def frozen_numbers(params: Params, freeze: Mapping[str, bool | np.ndarray] | None) -> np.ndarray:
    """(n,) uint8, 1 where a number of the flat buffer is not trained; (0,) where all are."""
    if freeze is None or not len(freeze):
        return np.zeros(0, np.uint8)
    if not isinstance(freeze, Mapping):
        raise ValueError(f"freeze must be a dict of parameters' names, found {freeze!r}")
    if unknown := [name for name in freeze if name not in params.shapes]:
        raise ValueError(f"freeze must name parameters of this network ({', '.join(params.shapes)}), found {unknown}")
    found = []
    for name, shape in params.shapes.items():
        which = freeze.get(name, False)
        array = check_array(f"freeze[{name!r}]", which, () if np.ndim(which) == 0 else shape)
        if array.dtype != bool:
            raise ValueError(f"freeze[{name!r}] must be True, False or a bool array of shape {shape}, found {which!r}")
        found.append(np.broadcast_to(array, shape).ravel())
    frozen = np.concatenate(found).astype(np.uint8)
    return frozen if frozen.any() else np.zeros(0, np.uint8)


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
    check_training_seed(seed)
    return all_threads() if threads is None else check_threads(threads)


def check_threads(threads: int) -> int:
    """A number of threads that there can be, or ValueError."""
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

    def step(self, inputs: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> float: ...


def train(
    trainer: TakesSteps,
    batches: Iterator[tuple[np.ndarray, ...]],
    steps: int,
    on_step: Callable[[int, float], object] | None = None,
    class_weights: Sequence[float] | None = None,
) -> tuple[np.ndarray, dict[str, float]]:
    """The loop: take `steps` training steps with a trainer on any iterator of batches; no folder is involved.

    `run` and `resume` work on a run folder, and use this.

    Parameters
    ----------
    trainer : Trainer
    batches : iterator of (inputs (T, B, I), targets) or (inputs, targets, weights (T, B))
        All of one shape, or the trainer makes a new workspace when the shape changes.
    steps : int
    on_step : callable, optional
        Called as ``on_step(k, loss)`` after each step, k from 1.
    class_weights : (O,) floats, optional
        Weight of each label, times the weights that a batch has: torch's ``CrossEntropyLoss(weight=...)``.

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
    if class_weights is not None:
        if config is not None and config.loss != "cross_entropy":
            raise ValueError(f"class_weights belong to labels: the network's loss is {config.loss}")
        n_out = len(class_weights) if config is None else config.n_out
        of_class = check_class_weights(class_weights, n_out)
    losses = np.full(steps, np.nan)
    seconds = {"batches": 0.0, "training": 0.0}
    clock = time.perf_counter
    with silent(trainer):  # a step that is refused ends the training here
        for k in range(steps):
            start = clock()
            try:
                inputs, targets, *weights = next(batches)
            except StopIteration:
                raise RunError(f"the batches ended after {k} of {steps} steps") from None
            if class_weights is not None:
                weights = [weights_of_labels(of_class, targets, *weights)]
            middle = clock()
            taken = trainer.k
            losses[k] = loss = trainer.step(inputs, targets, *weights)
            seconds["batches"] += middle - start
            seconds["training"] += clock() - middle
            if trainer.k == taken:
                raise RunError(_divergence(trainer, loss))
            if on_step is not None:
                on_step(k + 1, loss)
    return losses, seconds


@contextlib.contextmanager
def silent(trainer):
    """The trainer, which in this context does not warn where it refuses a step: `k` is looked at."""
    before = getattr(trainer, "warns", None)
    if before:
        trainer.warns = False
    try:
        yield trainer
    finally:
        if before:
            trainer.warns = True


def warn_of_refusal(trainer, loss):
    """What `step` calls where it took no step: the warning, the first time."""
    if trainer.warns:
        warnings.warn(f"no update: {_divergence(trainer, loss)}", RuntimeWarning, stacklevel=3)
        trainer.warns = False


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
        if np.isfinite(loss):
            largest = getattr(getattr(trainer, "optimiser", None), "largest", math.inf)
            found = "the optimiser took no step" if largest == math.inf else f"the gradient's norm is above {largest:g}"
        sizes = {name: float(np.abs(values).max()) for name, values in trainer.params.items()}
        name = max(sizes, key=lambda each: sizes[each])
        where = f"largest parameter: {name}, {sizes[name]:.3g}"
    return f"{found} at step {trainer.k + 1}: training diverged; try a smaller lr than {trainer.lr:g} ({where})"
