"""A network of the paper on given trials: outputs, rates if asked for, with noise that no training draws.

Shapes: T time steps, B trials, I inputs, H units, O outputs; K kept time steps.
"""

from typing import NamedTuple

import numpy as np

from ..config import ModelConfig
from ..model import forward, input_noise, recurrent_noise
from ..params import Params
from ..tasks import evaluation_noise_seed
from .trials import Trials

MOST_NUMBERS = 2**22  # states that one forward pass holds: bounds the memory
PARTS = 2**12  # forward passes that one set of trials may take: each has its own step of the noise's counter
TEST_STEP = 2**31  # the first step of test trials; validation counts from 0


class Responses(NamedTuple):
    """outputs (T, B, O), 0 behind a trial's end; rates (K, B, H) of the time steps `kept` (K,), or None."""

    outputs: np.ndarray
    rates: np.ndarray | None
    kept: np.ndarray


def respond(
    config: ModelConfig, params: Params, shown: Trials, seed: int, *, check: int | None = None,
    keep_every: float | None = None, noise: bool = True,
) -> Responses:  # fmt: skip
    """Run the network over trials.

    Parameters
    ----------
    config : ModelConfig
        Its dt is that of the trials.
    params, shown
    seed : int
        Of the noise; a pure function of (seed, check, number of trials).
    check : int, optional
        The number of a validation; None for test trials.
    keep_every : float, optional
        Keep rates every so many ms, at the ends of the intervals.
    noise : bool
        Recurrent noise and noise on the inputs.

    Raises
    ------
    ValueError
        The dt of network and trials differ.
    """
    if shown.dt != config.dt:
        raise ValueError(f"dt must be the same for network and trials, found {config.dt:g} and {shown.dt:g} ms")
    T, B = shown.weights.shape
    outputs = np.zeros((T, B, config.n_out), params.dtype)
    every = max(1, round(keep_every / config.dt)) if keep_every else None
    kept = np.arange(every - 1, T, every) if every else np.zeros(0, np.int64)
    rates = np.zeros((len(kept), B, config.n_hidden), params.dtype) if every else None
    key = evaluation_noise_seed(seed)
    first = TEST_STEP if check is None else check * PARTS
    for part, which in enumerate(_parts(shown.lengths, config.n_hidden)):
        now = int(shown.lengths[which].max())
        size = first + part, now, len(which), params.dtype
        drawn, on_inputs = (make(config, key, *size) if noise else None for make in (recurrent_noise, input_noise))
        inputs = np.ascontiguousarray(shown.inputs[:now, which], params.dtype)
        run = forward(config, params, inputs, drawn, input_noise=on_inputs)
        outputs[:now, which] = run.outputs
        if rates is not None:
            inside = kept[kept < now]
            rates[: len(inside), which] = run.rates[inside]
    outputs[np.arange(T)[:, None] >= shown.lengths] = 0
    return Responses(outputs, rates, kept)


def _parts(lengths, n_hidden):
    """Trials of like length side by side, as many as fit into one forward pass."""
    order = np.argsort(lengths, kind="stable")
    start = 0
    while start < len(order):
        size = max(1, MOST_NUMBERS // (int(lengths[order[-1]]) * n_hidden))
        yield np.sort(order[start : start + size])
        start += size
