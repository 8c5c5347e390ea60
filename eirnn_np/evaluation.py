"""A trained network on new trials: what it did at each time step. Measures of that are in analysis.

Trials and noise come from streams that no training draws from (tasks/seeds.py).
Shapes: N trials, T time steps, I inputs, H units, O outputs.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from . import tasks
from .checks import check_array, check_bool, check_choice, check_integer
from .config import ModelConfig
from .model import check_current, forward, noise_of_trials
from .params import Params, check_params

STARTS = ("rest", "stream")
KINDS = ("rates", "states", "outputs")
MOST_TRIALS = 2**32 - 1  # the index of a trial is a word of its noise's counter
MOST_NUMBERS = 2**22  # states that one forward pass holds: bounds the memory
MANY_NUMBERS = 2**18  # more of them fall out of the caches: that is worth it for no more columns than ENOUGH
ENOUGH = 8
MOST_KEPT = 2**27  # numbers that are kept of all trials together: 512 MB in float32
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
    states: list | None = None  # (T, H) each, where asked for
    outputs: list | None = None  # (T, O) each, where asked for

    def __repr__(self) -> str:
        """In a line: how many trials, how many right, what was kept of each."""
        kept = [kind for kind in KINDS if any(value is not None for value in getattr(self, kind) or ())]
        share = f"{self.correct.mean():.4f} right" if len(self.choices) else "none"
        return f"Evaluation({len(self.choices)} trials from {self.start}, {share}; {', '.join(kept) or 'nothing'} kept)"

    @property
    def correct(self) -> np.ndarray:
        """(N,) bool: the choice is the last label."""
        return self.choices == self.targets

    @property
    def no_choice(self) -> np.ndarray:
        """(N,) bool: a choice was due, and the network still says 0, "fixate", or nothing clear."""
        return (self.targets != 0) & (self.choices <= 0)

    def kept(self, kind: str) -> list:
        """One array a trial of "rates", "states" or "outputs"; ValueError where they were not kept."""
        values = getattr(self, check_choice("kind", kind, KINDS))
        if values is None or not any(value is not None for value in values):
            raise ValueError(f'the evaluation has no {kind}: evaluate(..., keep=("{kind}",))')
        return values


def evaluate(
    config: ModelConfig,
    params: Params,
    task: str | type | Callable | object = tasks.TUTORIAL_TASK,
    env_kwargs: dict | None = None,
    n_trials: int = 500,
    seed: int = 1,
    start: str = "rest",
    *,
    trials: Sequence[tasks.Trial] | None = None,
    silence: Sequence[int] | np.ndarray | None = None,
    current: np.ndarray | Callable[[tasks.Trial], np.ndarray] | None = None,
    noise: bool = True,
    dt: float | None = None,
    keep: Sequence[str] = ("rates",),
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
    trials : list of Trial, optional
        These, in place of drawn ones: your own, or those of another evaluation, to compare on the same trials.
    silence : units or (H,) bool, optional
        A lesion: these units send nothing; their rates are 0.
    current : (H,) or (T, H) array, or a function trial -> such an array, optional
        Injected into the units, in the units of the current c_t of (F2): see `pulse`.
    noise : bool
        False leaves out the network's own noise; that of the task's stimuli stays.
    dt : float, optional
        Time step of network and task, ms, in place of the one it was trained with.
    keep : "rates", "states", "outputs"
        What is kept of each time step, as far as memory allows (2**27 numbers): of the trials after that, None.

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        An argument is wrong, the task's inputs or dt are not the network's, or the task cannot be learnt at its dt.
    """
    if dt is not None:
        config = dataclasses.replace(config, dt=dt)
        if trials is None and env_kwargs is not None:
            env_kwargs = {**env_kwargs, "dt": _whole(config.dt)}
    if trials is None:
        trials = draw_trials(config, task, env_kwargs, n_trials, seed)
    else:
        trials, seed = check_trials(config, trials), check_integer("seed", seed, 0, 2**32 - 1)
    return respond(config, params, trials, seed, start, keep=keep, silence=silence, current=current, noise=noise)


def silenced(config: ModelConfig, params: Params, units) -> Params:
    """The network with a lesion: a copy in which these units, integers or (H,) bool, send nothing."""
    check_params(config, params)
    units, lesioned = check_units("units", units, config.n_hidden), params.copy()
    lesioned.w_rec[:, units] = 0
    lesioned.w_out[:, units[units < config.n_read]] = 0
    return lesioned


def pulse(trial: tasks.Trial, period: str, units, amplitude: float, n_hidden: int) -> np.ndarray:
    """A current (T, H) of one `amplitude` into these units during a period of the trial, 0 otherwise."""
    if period not in trial.periods:
        raise ValueError(f"period must be one of {', '.join(trial.periods) or 'none'}, found {period!r}")
    tasks.check_periods("trial", trial)
    current = np.zeros((len(trial.labels), n_hidden))
    current[slice(*trial.periods[period]), check_units("units", units, n_hidden)] = amplitude
    return current


def check_units(name, units, n_hidden):
    """Units as integers in increasing order, from integers or (H,) bool."""
    found = np.asarray(units)
    if found.dtype == bool:
        return np.flatnonzero(check_array(name, found, (n_hidden,)))
    found = np.atleast_1d(found)
    if found.size == 0:
        return np.zeros(0, np.int64)
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise ValueError(f"{name} must be integers or an array of {n_hidden} bools, found {units!r}")
    if found.min() < 0 or found.max() >= n_hidden:
        raise ValueError(f"{name} must lie in 0 .. {n_hidden - 1}, found {found.min()} .. {found.max()}")
    return np.unique(found)


def check_trials(config, trials):
    """A list of trials that fit the network; ValueError names the first that does not."""
    try:
        trials = list(trials)
    except TypeError:
        raise ValueError(f"trials must be a list of Trial, found {type(trials).__name__}") from None
    if not 1 <= len(trials) <= MOST_TRIALS:
        raise ValueError("trials must hold at least one trial, found none")
    return [_checked_trial(config, f"trials[{i}]", trial) for i, trial in enumerate(trials)]


def _checked_trial(config, name, trial):
    if not isinstance(trial, tasks.Trial):
        raise ValueError(f"{name} must be a Trial, found {type(trial).__name__}")
    inputs = check_array(f"{name}.inputs", trial.inputs, (None, config.n_in), np.float32)
    labels = check_array(f"{name}.labels", trial.labels, (len(inputs),))
    if not len(inputs):
        raise ValueError(f"{name} must have at least one time step")
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= config.n_out:
        raise ValueError(f"{name}.labels must be integers in 0 .. {config.n_out - 1}, found {labels.dtype} "
                         f"{labels.min()} .. {labels.max()}")  # fmt: skip
    for key, kind in (("info", trial.info), ("periods", trial.periods)):
        if not isinstance(kind, dict):
            raise ValueError(f"{name}.{key} must be a dict, found {type(kind).__name__}")
    tasks.check_periods(name, trial)
    if trial.dt is not None and trial.dt != config.dt:
        raise ValueError(f"{name}.dt must be that of the network, {config.dt:g} ms, found {trial.dt:g}")
    return trial._replace(inputs=inputs, labels=labels.astype(np.int64))


def draw_trials(config, task, env_kwargs, n_trials, seed):
    """The trials of an evaluation, which fit the network."""
    n_trials = check_integer("n_trials", n_trials, 1, MOST_TRIALS)
    seed = check_integer("seed", seed, 0, 2**32 - 1)
    if env_kwargs is None:
        defaults = tasks.default_env_kwargs(task, None)
        env_kwargs = tasks.evaluation_env_kwargs(task, {name: v for name, v in defaults.items() if name != "dt"})
    if isinstance(env_kwargs, dict) and "dt" not in env_kwargs:
        env_kwargs = {**env_kwargs, "dt": _whole(config.dt)}
    trials = tasks.make_trials(task, n_trials, (tasks.EVALUATE, seed), env_kwargs)
    if trials[0].dt not in (None, config.dt):
        raise ValueError(f"dt must be the same for network and task, found {config.dt:g} and {trials[0].dt:g} ms")
    n_in = trials[0].inputs.shape[1]
    if n_in != config.n_in:
        raise ValueError(f"task {tasks.name_of(task)} has {n_in} inputs, the network {config.n_in}")
    return trials


def _whole(dt):
    return int(dt) if float(dt).is_integer() else dt


def respond(
    config, params, trials, seed, start="rest", kept=None, keep=("rates",), silence=None, current=None, noise=True,
    key=None,
):  # fmt: skip
    """The network on these trials; see `evaluate`. What is kept is so of the first `kept` of them at most.

    `key` is a seed of noise in place of that of an evaluation with this seed.
    """
    check_choice("start", start, STARTS)
    keep = tuple(check_choice("keep", kind, KINDS) for kind in ((keep,) if isinstance(keep, str) else keep))
    noise = check_bool("noise", noise)
    silent = np.zeros(0, np.int64)
    if silence is not None:
        silent, params = check_units("silence", silence, config.n_hidden), silenced(config, params, silence)
    n = len(trials)
    kept = _room(config, trials, keep, n if kept is None else kept)
    columns = _alone(trials) if start == "rest" else _columns(n)
    key = tasks.evaluation_noise_seed(seed) if key is None else key
    found: dict = {kind: [None] * n for kind in KINDS}
    actions: list = [None] * n
    for batch in _batches(columns, trials, config.n_hidden):
        lengths = [sum(len(trials[i].labels) for i in column) for column in batch]
        shape = max(lengths), len(batch)
        inputs = np.zeros((*shape, config.n_in), np.float32)  # 0 behind a column's end: nobody reads there
        injected = None if current is None else np.zeros((*shape, config.n_hidden), params.dtype)
        spans = []
        for b, column in enumerate(batch):
            at = 0
            for i in column:
                T = len(trials[i].labels)
                inputs[at : at + T, b] = trials[i].inputs
                # The trial's own number is the step: its noise is the same whatever it runs beside.
                spans.append((i, b, at, T))
                if injected is not None:
                    given = current(trials[i]) if callable(current) else current
                    injected[at : at + T, b] = check_current(given, (T, 1, config.n_hidden), params.dtype).reshape(
                        -1, config.n_hidden
                    )
                at += T
        added, to_inputs = None, None
        if noise:
            added, to_inputs = noise_of_trials(config, key, np.array(spans), shape, params.dtype)
        run = forward(config, params, inputs, added, input_noise=to_inputs, current=injected)
        run.rates[..., silent] = 0
        chosen = _actions(run.outputs)
        for i, b, at, T in spans:
            if at or start == "rest":  # the first of a column of a stream is its warm-up
                actions[i] = chosen[at : at + T, b].copy()
                for kind in keep if i < kept else ():
                    found[kind][i] = getattr(run, kind)[at : at + T, b].copy()
    choices = np.array([each[-1] for each in actions], np.int64)
    targets = np.array([trial.labels[-1] for trial in trials])
    states, outputs = (found[kind] if kind in keep else None for kind in ("states", "outputs"))
    return Evaluation(trials, choices, targets, found["rates"], actions, start, states, outputs)


def _room(config, trials, keep, kept):
    """How many of the first `kept` trials can be kept."""
    each = sum({"outputs": config.n_out}.get(kind, config.n_hidden) for kind in set(keep))
    total = np.cumsum([each * len(trial.labels) for trial in trials[:kept]])
    return int((total <= MOST_KEPT).sum())


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
        size = max(longest, length) * (len(batch) + 1) * n_hidden
        if batch and size > (MOST_NUMBERS if len(batch) < ENOUGH else MANY_NUMBERS):
            yield batch
            batch, longest = [], 0
        batch.append(column)
        longest = max(longest, length)
    yield batch


def _actions(outputs):
    """The argmax of outputs (..., O), -1 where the largest is not one finite number; int32."""
    outputs = np.ascontiguousarray(np.moveaxis(outputs, -1, 0))  # NumPy is slow along a short last axis
    top = outputs.max(axis=0)  # NaN where there is one
    clear = np.isfinite(outputs).all(axis=0) & ((outputs == top).sum(axis=0) == 1)
    return np.where(clear, outputs.argmax(axis=0), NO_ACTION).astype(np.int32)
