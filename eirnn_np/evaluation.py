"""A trained network on new trials: what it did at each time step. Measures of that are in analysis.py.

Trials and noise come from streams that no training draws from (tasks/seeds.py).
Shapes: N trials, T time steps, I inputs, H units, O outputs.
"""

from dataclasses import dataclass

import numpy as np

from . import tasks
from .checks import check_choice, check_integer
from .config import ModelConfig
from .model import forward, recurrent_noise
from .params import Params

STARTS = ("rest", "stream")
MOST_TRIALS = 2**32 - 1  # the index of a trial is a word of its noise's counter
MOST_NUMBERS = 2**22  # states that one forward pass holds: bounds the memory
COLUMN = 20  # consecutive trials that pass their state on
NO_ACTION = -1


@dataclass
class Evaluation:
    """The trials of an evaluation run and what the network did in each; see `evaluate`.

    choices, targets (N,): the action and the label of each trial's last time step. actions: one (T,) array a trial, the
    argmax of the outputs at each step; -1 where outputs tie or are not finite, which is right of no label.
    """

    trials: list
    choices: np.ndarray
    targets: np.ndarray
    rates: list  # one (T, H) array per trial, None for those that are not kept
    actions: list | None = None
    start: str = "rest"

    @property
    def correct(self) -> np.ndarray:
        return self.choices == self.targets


def evaluate(
    config: ModelConfig,
    params: Params,
    task: str = tasks.TUTORIAL_TASK,
    env_kwargs: dict | None = None,
    n_trials: int = 500,
    seed: int = 1,
    start: str = "rest",
) -> Evaluation:
    """Run `n_trials` new trials with recurrent noise.

    The choice is the argmax of the outputs at the trial's last time step, correct if it equals the label there.
    What a trial gives does not depend on how many there are, if each starts from rest.

    Parameters
    ----------
    config, params
        The network.
    task, env_kwargs
        As for `make_batches`. dt is the network's. Without `env_kwargs` the tutorial's task has 500 ms of fixation and
        500 ms of stimulus.
    n_trials : int
    seed : int
        0 to 2**32 - 1, of trials and noise. They are drawn from streams of their own: whatever the seeds, no trial of
        `make_batches` and of no run is among them.
    start : {"rest", "stream"}
        Each trial from the initial state, or from the state in which the trial before has left the network, as
        mostly in training: columns of 20 consecutive trials, each warmed up by the trial before its first.

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        An argument is wrong, the task's inputs or dt are not the network's, or the task cannot be learnt at its dt.
    """
    trials = draw_trials(config, task, env_kwargs, n_trials, seed)
    return respond(config, params, trials, seed, start)


def draw_trials(config, task, env_kwargs, n_trials, seed):
    """The trials of an evaluation, which fit the network."""
    n_trials = check_integer("n_trials", n_trials, 1, MOST_TRIALS)
    seed = check_integer("seed", seed, 0, 2**32 - 1)
    if env_kwargs is None:
        defaults = tasks.default_env_kwargs(task, None)
        env_kwargs = tasks.evaluation_env_kwargs(task, {name: v for name, v in defaults.items() if name != "dt"})
    if isinstance(env_kwargs, dict) and "dt" not in env_kwargs:
        dt = config.dt
        env_kwargs = {**env_kwargs, "dt": int(dt) if float(dt).is_integer() else dt}
    trials = tasks.make_trials(task, n_trials, (tasks.EVALUATE, seed), env_kwargs)
    if trials[0].dt != config.dt:
        raise ValueError(f"dt must be the same for network and task, found {config.dt:g} and {trials[0].dt:g} ms")
    n_in = trials[0].inputs.shape[1]
    if n_in != config.n_in:
        raise ValueError(f"task {task} has {n_in} inputs, the network {config.n_in}")
    return trials


def respond(config, params, trials, seed, start="rest", keep=None):
    """The network on these trials; rates are kept of the first `keep` of them (None: all)."""
    check_choice("start", start, STARTS)
    n = len(trials)
    keep = n if keep is None else keep
    columns = _alone(trials) if start == "rest" else _columns(n)
    key = tasks.evaluation_noise_seed(seed)
    rates: list = [None] * n
    actions: list = [None] * n
    for batch in _batches(columns, trials, config.n_hidden):
        lengths = [sum(len(trials[i].labels) for i in column) for column in batch]
        shape = max(lengths), len(batch)
        inputs = np.zeros((*shape, config.n_in), np.float32)  # 0 behind a column's end: nobody reads there
        noise = np.zeros((*shape, config.n_hidden), params.dtype)
        for b, column in enumerate(batch):
            at = 0
            for i in column:
                T = len(trials[i].labels)
                inputs[at : at + T, b] = trials[i].inputs
                # The trial's own number is the step: its noise is the same whatever it runs beside.
                noise[at : at + T, b] = recurrent_noise(config, key, i, T, 1, params.dtype)[:, 0]
                at += T
        run = forward(config, params, inputs, noise)
        chosen = _actions(run.outputs)
        for b, column in enumerate(batch):
            at = 0
            for place, i in enumerate(column):
                T = len(trials[i].labels)
                if place or start == "rest":  # the first of a column of a stream is its warm-up
                    actions[i] = chosen[at : at + T, b].copy()
                    rates[i] = run.rates[at : at + T, b].copy() if i < keep else None
                at += T
    choices = np.array([each[-1] for each in actions], np.int64)
    targets = np.array([trial.labels[-1] for trial in trials])
    return Evaluation(trials, choices, targets, rates, actions, start)


def _alone(trials):
    """Every trial a column of its own, those of one length side by side."""
    return [[int(i)] for i in np.argsort([len(trial.labels) for trial in trials], kind="stable")]


def _columns(n):
    """Columns of consecutive trials, each after the one before its first: the first after the last."""
    return [[(first - 1) % n, *range(first, min(first + COLUMN, n))] for first in range(0, n, COLUMN)]


def _batches(columns, trials, n_hidden):
    """Columns side by side, as many as fit."""
    batch: list = []
    longest = 0
    for column in columns:
        length = sum(len(trials[i].labels) for i in column)
        if batch and max(longest, length) * (len(batch) + 1) * n_hidden > MOST_NUMBERS:
            yield batch
            batch, longest = [], 0
        batch.append(column)
        longest = max(longest, length)
    yield batch


def _actions(outputs):
    """The argmax of outputs (..., O), -1 where the largest is not one finite number; int32."""
    top = outputs.max(axis=-1, keepdims=True)  # NaN where there is one
    clear = np.isfinite(outputs).all(axis=-1) & ((outputs == top).sum(axis=-1) == 1)
    return np.where(clear, outputs.argmax(axis=-1), NO_ACTION).astype(np.int32)
