"""Batches and trials of cognitive tasks: neurogym's, or their compiled replay.

Shapes: T time steps, B trials, I inputs.
"""

import sys
import warnings

import numpy as np

from ..checks import check_choice, check_integer
from ..timestep import drawn_at
from ..weights import WeightedStream
from . import installed, own, replay
from .catalogue import PERCEPTUAL_TIMING
from .environments import NeurogymStream, check_times, make_env
from .installed import quiet
from .own import Trial
from .seeds import LABELS, check_task_seed, seed_env
from .sound import check_sound
from .tutorial import EVALUATION_TIMING, SOURCES, TUTORIAL_DT, TUTORIAL_TASK, TUTORIAL_TIMING
from .worker import WorkerStream


def make_batches(
    task=TUTORIAL_TASK, batch_size=16, seq_len=100, seed=0, env_kwargs=None, source="auto", worker=False, start=0,
    class_weights=None,
):  # fmt: skip
    """An endless, seeded stream of training batches.

    Parameters
    ----------
    task : str, TrialEnv or function
        A neurogym task id; a task of your own: a neurogym ``TrialEnv``, class or instance, or a function
        ``trial(rng) -> Trial`` that draws from ``rng``, a numpy Generator, alone; or "module:name" of one of them.
    batch_size, seq_len : int
        B and T. A batch is a window of B streams of trials, so it may start and end in mid-trial.
    seed : int or tuple of int
        An int from 0 to 2**32 - B is neurogym's own ``Dataset.seed``: column b is drawn by ``RandomState(seed + b)``,
        so the seeds s and s + 1 have B - 1 columns in common. A tuple of ints below 2**32 gives streams of its own,
        that no int and no other tuple has: column b is drawn by ``RandomState([*seed, b])``. Runs and `evaluate` draw
        from such streams.
    env_kwargs : dict, optional
        Keyword arguments of the task, dt in ms among them. None gives PerceptualDecisionMaking-v0 the tutorial's dt and
        timing, and any other task its own defaults.
    source : {"auto", "compiled", "neurogym"}
        Who makes the numbers: neurogym, or its compiled replay (replay.py), which is equal to the bit and tens of times
        faster. "auto" takes the replay for every task, arguments and release that it reproduces. Where neurogym is
        installed, their first trials are compared before.
    worker : bool
        Where neurogym itself draws, let another process draw ahead, so that batches and training overlap. The batches
        are the same. Where there can be none, a warning says so, and this process draws them. Close the iterator
        (``close()`` or ``with``) when done.
    start : int
        Begin with this batch of the stream, counted from 0: a training that goes on after `start` steps needs it. Those
        before it are drawn and dropped.
    class_weights : (O,) floats, optional
        Weight of each label: a batch is then (inputs, labels, weights), as `Trainer.step` takes it. The loss divides by
        the sum of the weights, as torch's ``CrossEntropyLoss(weight=class_weights)``.

    Returns
    -------
    iterator of (inputs, labels), or of (inputs, labels, weights)
        (T, B, I) float32, (T, B) int64, (T, B) float64; nothing else is written to them. Its attributes ``n_in``,
        ``n_out``, ``batch_size``, ``seq_len``, ``dt`` (ms) and ``source`` say what it yields.

    Raises
    ------
    ValueError
        Unknown task; a task that is not supervised, with vectors to observe and discrete actions; arguments that do not
        fit; a task that cannot be learnt at its dt (a period of positive length gets no time step; all labels are one;
        the inputs do not depend on the answer); source="compiled" for what is not reproduced, with the reason.
    NeurogymError
        The task, or source="neurogym", needs neurogym, which is not installed or cannot be imported; an ImportError.
    """
    if class_weights is not None:
        stream = make_batches(task, batch_size, seq_len, seed, env_kwargs, source, worker, start)
        try:
            return WeightedStream(stream, class_weights)
        except ValueError:
            getattr(stream, "close", lambda: None)()
            raise
    batch_size, seq_len = (
        check_integer(name, value, 1, 2**32 - 1) for name, value in (("batch_size", batch_size), ("seq_len", seq_len))
    )
    start, seed = check_integer("start", start, 0, 2**32 - 1), check_task_seed(seed, batch_size)
    check_choice("source", source, SOURCES)
    env_kwargs = default_env_kwargs(task, env_kwargs)
    _check_source(task, env_kwargs, source)
    if own.is_function(task):
        return _functions(task, batch_size, seq_len, seed, env_kwargs, worker, start)
    _check_shown(task, env_kwargs, batch_size, seq_len)
    if source != "neurogym":
        reason, surprising = replay.supports(task, env_kwargs), installed.refused()
        if reason is None:
            check_sound(task, env_kwargs)
        if reason is None and (difference := _difference(task, env_kwargs, batch_size, seed)):
            reason = surprising = f"its first trials differ from neurogym's ({difference})"
        if source == "auto" and reason is not None and reason == surprising:
            warnings.warn(f"{task} is not replayed: {reason}; neurogym itself makes the batches", stacklevel=2)
        if reason is None:
            compiled = replay.CompiledStream(task, env_kwargs, batch_size, seq_len, seed)
            compiled.skip(start)
            return compiled
        if source == "compiled":
            raise ValueError(f"source='compiled' cannot serve {own.name_of(task)}: {reason}")
    check_sound(task, env_kwargs)
    shape = None
    if worker:
        env = make_env(task, env_kwargs)
        shape = env.observation_space.shape[0], int(env.action_space.n), batch_size, seq_len, float(env.dt)
    return _drawn(shape, start, NeurogymStream, task, batch_size, seq_len, seed, env_kwargs)


def _functions(task, batch_size, seq_len, seed, env_kwargs, worker, start):
    shape = None
    if worker:
        of = own.sizes(task, env_kwargs)
        shape = of.n_in, of.n_out, batch_size, seq_len, of.dt
    return _drawn(shape, start, own.FunctionStream, task, batch_size, seq_len, seed, env_kwargs)


def _drawn(shape, start, stream, task, *arguments):
    """A stream of batches drawn in Python: by a worker, if their `shape` is given and there can be one."""
    if shape is not None:
        try:
            if isinstance(task, str) and ":" not in task and task not in installed.known():
                raise ValueError(f"{task} is registered in this process alone (name it by module:name)")
            return WorkerStream(shape, start, stream, task, *arguments)
        except (OSError, ValueError) as error:
            warnings.warn(f"the batches are drawn by this process, as there can be no worker: {error}", stacklevel=3)
    drawn = stream(task, *arguments)
    drawn.skip(start)
    return drawn


def _difference(task, env_kwargs, batch_size, seed):
    """As `self_check`, once a process for what has passed: a sweep asks for the same batches with many seeds."""
    text = repr(sorted(env_kwargs.items(), key=repr))
    # The module is None before the first check, which imports it: then one more check is made.
    key = replay.self_check, sys.modules.get("neurogym"), task, text, batch_size
    if key in _passed or key[2:] in _told:
        return None
    difference = replay.self_check(task, env_kwargs, batch_size, seed)
    if difference is None and isinstance(task, str) and " at 0x" not in text:
        _passed.add(key)
    return difference


_passed: set = set()
_told: set = set()


def replay_passed(task, env_kwargs, batch_size, seed=0):
    """What `tell_replay_passed` takes where a task by name is replayed, and as neurogym has it; None elsewhere."""
    env_kwargs = default_env_kwargs(task, env_kwargs)
    if own.is_function(task) or replay.supports(task, env_kwargs) is not None:
        return None
    if _difference(task, env_kwargs, batch_size, seed) is not None:
        return None
    return task, repr(sorted(env_kwargs.items(), key=repr)), batch_size


def tell_replay_passed(passed):
    """Another process of this machine has compared these: here neurogym need not be imported for it."""
    _told.update(passed)


def _check_shown(task, env_kwargs, batch_size, seq_len):
    """ValueError where the batches would end before the trials come to a second label.

    neurogym.Dataset starts every column on a new trial at the end of its cache, which is short for many inputs.
    """
    if batch_size * seq_len < 500:
        return  # a cache of many windows
    try:
        trials = make_trials(task, 20, LABELS, env_kwargs)
    except ValueError:
        return  # said better below
    cache = 1e5 / (trials[0].inputs.shape[1] + 1.0) / batch_size
    shown = max(int(cache // seq_len), 1) * seq_len  # all its windows but the last
    labels = np.concatenate([trial.labels[:shown] for trial in trials])
    if max(len(trial.labels) for trial in trials) > shown and np.ptp(labels) == 0:
        raise ValueError(
            f"batches of batch_size {batch_size} and seq_len {seq_len} never show another label of {task} than "
            f"{labels[0]}: neurogym.Dataset begins anew every {shown} steps; take a longer seq_len or fewer streams"
            + (f", or a longer dt: {trials[0].dt:g} is in ms, as all times are" if (trials[0].dt or 1) < 1 else "")
        )


def pad_trials(trials) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Whole trials of different length side by side, as one batch for `Trainer.step` or `loss_and_grads`.

    Parameters
    ----------
    trials : sequence of Trial
        Or of anything with inputs (T, I) and labels (T,), or targets (T, O); each with a T of its own.

    Returns
    -------
    inputs, labels, weights
        (T, B, I), (T, B) or (T, B, O), and (T, B), T that of the longest trial: after a trial's end inputs and labels
        are 0, and so is the weight; 1 before. The state runs on behind the end, without effect on the loss. They carry
        the trials' dt.

    Raises
    ------
    ValueError
        There are none, or they have not the same channels or dt.
    """
    trials = list(trials)
    if not trials:
        raise ValueError("trials must hold at least one trial, found none")
    inputs, labels = ([np.asarray(getattr(trial, name)) for trial in trials] for name in ("inputs", "labels"))
    for k, (u, y) in enumerate(zip(inputs, labels)):
        if u.ndim != 2 or len(u) != len(y) or u.shape[1:] != inputs[0].shape[1:] or y.shape[1:] != labels[0].shape[1:]:
            raise ValueError(
                f"trials[{k}] must have inputs (T, {inputs[0].shape[-1]}) and labels of the same T as the first, found "
                f"{u.shape} and {y.shape}"
            )
    known = {float(trial.dt) for trial in trials if getattr(trial, "dt", None) is not None}
    if len(known) > 1:
        raise ValueError(f"trials must have one dt, found {', '.join(f'{dt:g}' for dt in sorted(known))} ms")
    T, B = max(map(len, inputs)), len(trials)
    padded = np.zeros((T, B, *inputs[0].shape[1:]), np.result_type(*inputs))
    targets = np.zeros((T, B, *labels[0].shape[1:]), np.result_type(*labels))
    weights = np.zeros((T, B), np.float32)
    for b, (u, y) in enumerate(zip(inputs, labels)):
        padded[: len(u), b], targets[: len(u), b], weights[: len(u), b] = u, y, 1
    return drawn_at(next(iter(known), None), padded), targets, weights


def make_trials(
    task, n_trials: int, seed: int | tuple[int, ...] = 0, env_kwargs: dict | None = None, source: str = "auto"
) -> list[Trial]:
    """A list of `n_trials` whole trials of one environment, drawn one by one with `new_trial`.

    `seed` and `source` as in `make_batches`: the trials are those of its column 0, whatever the source.
    """
    n_trials, seed = check_integer("n_trials", n_trials, 1, 2**32 - 1), check_task_seed(seed, 1)
    check_choice("source", source, SOURCES)
    env_kwargs = default_env_kwargs(task, env_kwargs)
    _check_source(task, env_kwargs, source)
    if own.is_function(task):
        own.sizes(task, env_kwargs)
        return own.draw_trials(task, n_trials, seed, env_kwargs)
    dt = check_sound(task, env_kwargs)
    if source != "neurogym" and replay.supports(task, env_kwargs) is None:
        found = replay.compiled_trials(task, env_kwargs, n_trials, seed)
        drawn_at(dt, found.inputs)  # and each trial is a view of it
        spans = {name: list(zip(found.start_ind[name].tolist(), found.end_ind[name].tolist()))
                 for name in found.start_ind}  # fmt: skip
        return [
            Trial(
                found[k][0],
                found[k][1],
                {name: values[k] for name, values in found.info.items()},
                {name: each[k] for name, each in spans.items()},
                dt,
            )
            for k in range(n_trials)
        ]
    env, trials = make_env(task, env_kwargs), []
    with quiet():
        seed_env(env, seed, 0)
        for _ in range(n_trials):
            info = env.new_trial()
            periods = {name: (env.start_ind[name], env.end_ind[name]) for name in env.start_ind}
            inputs = drawn_at(dt, env.ob.astype(np.float32))
            trials.append(Trial(inputs, env.gt.astype(np.int64), dict(info or {}), periods, dt))
    return trials


def _check_source(task, env_kwargs, source):
    if source == "compiled" and (reason := replay.supports(task, env_kwargs)):
        raise ValueError(f"source='compiled' cannot serve {own.name_of(task)}: {reason}")


def task_sizes(task, env_kwargs=None, source="auto"):
    """(n_in, n_out) of a task: of the replay, or of neurogym's environment where it is not replayed."""
    env_kwargs = default_env_kwargs(task, env_kwargs)
    _check_source(task, env_kwargs, source)
    if own.is_function(task):
        return own.sizes(task, env_kwargs)[:2]
    if replay.supports(task, env_kwargs) is None:
        described = replay.describe(task, env_kwargs)
        return described.n_in, described.n_out
    env = make_env(task, env_kwargs)
    return env.observation_space.shape[0], int(env.action_space.n)


def default_env_kwargs(task, env_kwargs):
    """`env_kwargs`, or the tutorial's for the tutorial's task, or none."""
    if not own.is_function(task):  # which may have a timing of its own kind
        check_times(env_kwargs)
    if env_kwargs is not None:
        if not isinstance(env_kwargs, dict) and own.is_function(task):
            raise ValueError(f"env_kwargs must be a dict of keyword arguments, found {type(env_kwargs).__name__}")
        return env_kwargs
    tutorial = isinstance(task, str) and task == TUTORIAL_TASK
    return {"dt": TUTORIAL_DT, "timing": dict(TUTORIAL_TIMING)} if tutorial else {}


def evaluation_env_kwargs(task, env_kwargs, timing=None):
    """Keyword arguments for an evaluation of what was trained with `env_kwargs`.

    The tutorial's own timing, however it is given, is evaluated at 500 ms fixation and 500 ms stimulus, as the
    tutorials do; anything else as it was trained. `timing` replaces the periods that it names.
    """
    env_kwargs = default_env_kwargs(task, env_kwargs)
    trained = env_kwargs.get("timing") or {}
    if timing is not None:
        if not isinstance(timing, dict):
            raise ValueError(f"timing must be a dict of periods, found {timing!r}")
        return {**env_kwargs, "timing": {**trained, **timing}}
    if (
        not isinstance(task, str)
        or task != TUTORIAL_TASK
        or _lengths({**PERCEPTUAL_TIMING, **trained}) != _lengths({**PERCEPTUAL_TIMING, **TUTORIAL_TIMING})
    ):
        return env_kwargs
    return {**env_kwargs, "timing": {**trained, **EVALUATION_TIMING}}


def _lengths(timing):
    """{period: (how its length is drawn, the lengths)} in one form for the ways to write it; None for what has none."""
    found: dict = {}
    for period, spec in timing.items():
        try:
            kind, values = spec if isinstance(spec[0], str) else ("choice", spec)
        except (TypeError, IndexError, ValueError):
            kind, values = "constant", spec
        try:
            found[period] = kind, sorted(map(float, np.atleast_1d(values)))
        except (TypeError, ValueError):
            found[period] = kind, repr(values)
    return found
