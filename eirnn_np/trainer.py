"""Trainer: one object that owns parameters, optimiser and step counter. Imports model and adam."""

import numba
import numpy as np

from .adam import Adam
from .model import loss_and_grads, recurrent_noise
from .params import check_params


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
    k : int
        Steps taken.
    """

    def __init__(self, config, params, lr=1e-3, seed=0, threads=None):
        check_params(config, params)
        most = numba.config.NUMBA_NUM_THREADS
        if threads is not None and not 1 <= threads <= most:
            raise ValueError(f"threads must be from 1 to {most} (set NUMBA_NUM_THREADS for more), found {threads!r}")
        self.config, self.params, self.seed = config, params, seed
        self.adam = Adam(lr)
        self.threads = threads or numba.get_num_threads()
        self.k = 0

    @property
    def lr(self):
        return self.adam.lr

    def step(self, inputs, labels, weights=None) -> float:
        """One training step on inputs (T, B, I) and labels (T, B); returns the loss before the update.

        `weights` (T, B) as in `loss_and_grads`.
        """
        before = numba.get_num_threads()
        numba.set_num_threads(self.threads)
        try:
            inputs = np.asarray(inputs)
            noise = recurrent_noise(self.config, self.seed, self.k, *inputs.shape[:2], self.params.dtype)
            loss, grads = loss_and_grads(self.config, self.params, inputs, labels, noise, weights)
            self.adam.update(self.params, grads)
        finally:
            numba.set_num_threads(before)
        self.k += 1
        return loss

    def compile(self, n_time, n_batch):
        """Compile what `step` needs, without changing anything."""
        inputs = np.zeros((n_time, n_batch, self.config.n_in), self.params.dtype)
        labels = np.zeros((n_time, n_batch), np.int64)
        if self.config.loss == "squared_error":
            labels = np.zeros((n_time, n_batch, self.config.n_out), self.params.dtype)
        spare = Trainer(self.config, self.params.copy(), self.lr, self.seed, self.threads)
        spare.step(inputs, labels)
