"""Trainer: one object that owns parameters, optimiser, workspace and step counter."""

import copy
import math

import numba
import numpy as np

from . import kernels
from .adam import Adam
from .compiled import KernelModel, make_workspace
from .model import check_inputs, check_targets, check_weights
from .noise import seed_key
from .params import ModelConfig, Params, check_params
from .threads import launch, limited


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
    adam : Adam
    grads : Params
        The gradients of the last step.
    k : int
        Steps taken.
    """

    def __init__(
        self, config: ModelConfig, params: Params, lr: float = 1e-3, seed: int = 0, threads: int | None = None
    ) -> None:
        threads = check_trainer(config, params, seed, threads)
        self.config, self.params, self.seed = config, params, seed
        self.adam = Adam(lr)
        self.grads = Params.like(config, params.dtype)
        self.threads = threads
        self.k = 0
        self._model = KernelModel(config, params.dtype)
        self._shape = self._workspace = self._weights = None
        self._bits = np.int32 if params.dtype == np.float32 else np.int64
        self._none = np.zeros(0, np.int64)

    def __getstate__(self):  # for copies and pickles: the work arrays are made anew by the next step
        return self.__dict__ | {"_workspace": None, "_shape": None}

    def __copy__(self):  # two trainers of one network would spoil each other's moments
        return copy.deepcopy(self)

    @property
    def lr(self) -> float:
        return self.adam.lr

    def step(self, inputs: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> float:
        """One training step on inputs (T, B, I) and labels (T, B); returns the loss before the update.

        Where that loss is not finite there is no update: parameters and `k` stay as they were. Where a gradient
        alone is not finite, `k` stays, and the parameters are spoiled: go back to a checkpoint.

        Arguments are as in `loss_and_grads`, checked like there; nothing has changed if one is refused.
        Arrays in the dtype of the parameters (labels int64) and in C order are used as they are. After the
        first step on a shape no array is allocated and nothing is compiled.
        """
        if not self._takes(inputs, labels):
            inputs = check_inputs(self.config, inputs, self.params.dtype)
            labels = check_targets(self.config, labels, inputs.shape, self.params.dtype)
        if inputs.shape != self._shape:
            self._workspace = make_workspace(self.config, inputs.shape[0], inputs.shape[1], self.params.dtype)
            self._weights = check_weights(None, inputs.shape, self.params.dtype)
            self._shape = inputs.shape
        weights = self._weights if weights is None else check_weights(weights, inputs.shape, self.params.dtype)
        update, draw = self.adam.next_update(self.params), self._model.noise_made(self.seed, self.k)
        launch()  # refuses before anything has changed
        self.adam.k += 1  # ahead of self.k while the update is under way: what an interruption leaves is known
        with limited(self.threads):
            loss = self._model.loss_and_grads(
                self.grads, self._workspace, self.params, inputs, labels, weights, draw, update
            )
        if math.isfinite(loss) and kernels.is_clean(self.grads.flat.view(self._bits), self._none, 1):
            self.k += 1
        else:
            self.adam.k -= 1
        return loss

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
    most = numba.config.NUMBA_NUM_THREADS
    if threads is not None and (not isinstance(threads, int | np.integer) or not 1 <= threads <= most):
        raise ValueError(f"threads must be from 1 to {most} (set NUMBA_NUM_THREADS for more), found {threads!r}")
    return int(threads or numba.get_num_threads())
