"""neurogym tasks as data: what a trial draws, how long its periods are, which rows of which table its channels show.

Read by replay.py and interpreted by the engine: no task has code of its own there. Refuses, with the reason: other
tasks, other releases of neurogym than 2.2 and 2.3, durations that are Python functions.
Shapes: I inputs, L steps, P periods, D draws of a trial.
"""

import functools
import math
import operator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .engine import FIXED, MENU, SHARE_REST, SHARE_U, SHOW, TRUNC_EXP, UNIFORM
from .installed import refused

TABLE_LIMIT = 1 << 22  # entries of one stimulus table, 32 MB
# The defaults of PerceptualDecisionMaking: coherences in %, periods in ms.
COHERENCES = (0, 6.4, 12.8, 25.6, 51.2)
PERCEPTUAL_TIMING = {"fixation": 100, "stimulus": 2000, "delay": 0, "decision": 100}
CONTEXT_DELAY = (600.0, 300.0, 3000.0)  # the default of ContextDecisionMaking, told apart by identity


class Unsupported(ValueError):
    """What is asked for is not reproduced; the message says why."""


def _number(value: Any, name: str, low: float = -math.inf):
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float, np.int64))
        or not low <= value < math.inf
        or not -(2**53) <= value <= 2**53
    ):
        raise Unsupported(
            f"{name} must be a plain finite number" + (f" >= {low}" if low > -math.inf else "") + f", found {value!r}"
        )
    return value


def _numbers(values, name, ndim=1):
    """np.asarray(values), as RandomState.choice makes it, if its items are Python's own kind of numbers."""
    array = np.asarray(values) if isinstance(values, (list, tuple, np.ndarray)) else np.empty(0)
    if (
        array.ndim != ndim
        or not array.size
        or array.dtype not in (np.int64, np.float64)
        or not np.isfinite(array).all()
    ):
        raise Unsupported(f"{name} must be a non-empty {ndim}-d list of int or float, found {values!r}")
    return array


def mean_low_high(arguments):
    """The arguments of a truncated exponential, of which neurogym asks for the mean alone: (mean, low, high)."""
    return *arguments, *(0, math.inf)[len(arguments) - 1 :]


def hardly_ever(mean, low, high):
    """Does an exponential time fall between low and high less than once in 10,000 draws?"""
    return mean <= 0 or not math.exp(-max(low, 0) / mean) - math.exp(-max(high, 0) / mean) > 1e-4


def _clock(timing, name, dt):
    """One period's timing as (kind, three parameters, menu), read as TrialEnv.sample_time reads it."""
    name = f"timing[{name!r}]"
    if timing is CONTEXT_DELAY:
        return TRUNC_EXP, timing, []
    if callable(timing):
        raise Unsupported(f"{name} is a Python function")
    if isinstance(timing, (int, float)):
        return FIXED, ((_number(timing, name, 0) // dt) * dt, 0, 0), []
    if not isinstance(timing, (list, tuple)) or not len(timing):
        raise Unsupported(f"{name} must be a number, a list of numbers or (distribution, arguments), found {timing!r}")
    if isinstance(timing[0], (int, float)):
        timing = ("choice", timing)
    if len(timing) != 2 or not isinstance(timing[0], str):
        raise Unsupported(f"{name} must be a number, a list of numbers or (distribution, arguments), found {timing!r}")
    dist, args = timing
    if dist == "constant":
        return FIXED, ((_number(args, name, 0) // dt) * dt, 0, 0), []
    if dist == "choice":
        args = _numbers(np.arange(args) if isinstance(args, int) and 0 < args <= TABLE_LIMIT else args, name)
        if args.min() < 0:
            raise Unsupported(f"{name} has a negative duration")
        return MENU, (0, 0, 0), [(t // dt) * dt for t in args]
    if dist not in ("uniform", "truncated_exponential"):
        raise Unsupported(f"{name}: the distribution {dist!r} is not reproduced")
    n_min, n_max = (2, 2) if dist == "uniform" else (1, 3)
    if not isinstance(args, (list, tuple)) or not n_min <= len(args) <= n_max:
        raise Unsupported(f"{name} must have {n_min} to {n_max} arguments, found {args!r}")
    if dist == "uniform":
        low, high = (float(_number(a, name, 0)) for a in args)
        return UNIFORM, (low, high - low, 0), []
    mean, low, high = mean_low_high(args)
    mean, low = _number(mean, name, 0), _number(low, name)
    high = high if high == math.inf else _number(high, name, 0)
    if low >= high:  # trunc_exp draws nothing then
        return FIXED, ((high // dt) * dt, 0, 0), []
    if hardly_ever(mean, low, high):
        raise Unsupported(f"{name} = {timing!r} would be rejected more than 10,000 times a draw")
    return TRUNC_EXP, (mean, low, high), []


@dataclass
class Task:
    """What a trial draws and shows; `engine` is the tuple of arrays that `run` takes.

    info maps a name of the trial's dictionary to (values, strides): the entry is values[draws @ strides], or the draw
    itself where values is None. own is 1 if a period's durations come from a second generator with the same seed
    (neurogym's TruncExp). timing has the periods' durations as they were given.
    """

    n_in: int
    n_out: int
    periods: list
    info: dict
    own: int
    engine: tuple
    timing: dict = field(default_factory=dict)


def _task(kwargs, defaults, sizes, n_in, n_out, still, terms, noise, info, table_end=(), blend=(0, 0)):
    """Assemble a Task. terms: (periods, channel, share, table (rows..., width), draws that index its rows)."""
    dt, timing = kwargs["dt"], {**defaults, **(kwargs["timing"] or {})}
    periods = list(defaults)
    clocks = [_clock(timing[name], name, dt) for name in periods]
    own = np.array([int(timing[name] is CONTEXT_DELAY) for name in periods])
    longest = [
        max(menu) if kind == MENU else max(par[0], par[0] + par[1]) if kind in (FIXED, UNIFORM) else par[2]
        for kind, par, menu in clocks
    ]
    if max(longest) < dt:  # Dataset would never fill its cache
        raise Unsupported(f"no trial would have a single step of dt = {dt}")
    rows, strides, tables, n_table = [], [], [], 0
    for shown_in, channel, share, table, index in terms:
        stride = np.zeros(len(sizes), np.int64)
        for axis, draw in enumerate(index):
            stride[draw] = math.prod(table.shape[axis + 1 :])
        rows += [(periods.index(p), channel, table.shape[-1], n_table, share) for p in shown_in]
        strides += [stride] * len(shown_in)
        tables.append(np.asarray(table, np.float64).ravel())
        n_table += table.size
    menus = [menu for _, _, menu in clocks]
    level = np.zeros((len(periods), n_in), np.float32)
    level[[periods.index(p) for p in still], 0] = 1
    plain = np.ones(level.shape, bool)
    for p, channel, width in noise:
        plain[periods.index(p), channel : channel + width] = False
    engine = (
        float(dt),
        float(kwargs["sigma"] / np.sqrt(dt)),
        np.array(sizes, np.int64),
        np.array([kind for kind, _, _ in clocks]),
        own,
        np.array([par for _, par, _ in clocks], np.float64),
        np.array(functools.reduce(operator.iadd, menus, []), np.float64),
        np.cumsum([0, *map(len, menus)]),
        level,
        np.array(rows, np.int64),
        np.array(strides, np.int64),
        np.concatenate([*tables, np.asarray(table_end, np.float64)]),
        np.array([*blend, n_table]),
        plain,
        np.array([(periods.index(p), channel, width) for p, channel, width in noise], np.int64),
    )
    shown = {name: timing[name] for name in periods}
    return Task(n_in, n_out, periods, info, int(own.any()), engine, shown)


def _ring(theta, center, coh):
    """The bump of a stimulus at each angle, in neurogym's own expression and with NumPy's own cos, for its bits."""
    return np.cos(theta - center) * (coh / 200) + 0.5


def _perceptual(kw):
    n, cohs = kw["dim_ring"], _numbers(kw["cohs"] or COHERENCES, "cohs")
    theta = np.linspace(0, 2 * np.pi, n, endpoint=False)
    table = np.array([[_ring(theta, theta[gt], coh) for coh in cohs] for gt in range(n)])
    return _task(
        kw,
        PERCEPTUAL_TIMING,
        [n, len(cohs)],
        1 + n,
        1 + n,
        ["fixation"],
        terms=[(["stimulus"], 1, SHOW, table, (0, 1))],
        noise=[("stimulus", 1, n)],
        info={"ground_truth": (np.arange(n), (1, 0)), "coh": (cohs, (0, 1))},
    )


def _context(kw):
    n, explicit, cohs = kw["dim_ring"], kw["use_expl_context"], np.array([5, 15, 50])
    if not explicit and kw["impl_context_modality"] not in (0, 1):
        raise Unsupported(f"impl_context_modality must be 0 or 1, found {kw['impl_context_modality']!r}")
    contexts = np.array([0, 1] if explicit else [kw["impl_context_modality"]])
    theta = np.linspace(0, 2 * np.pi, n + 1)[:-1]
    bump = np.array([[_ring(theta, theta[choice], coh) for coh in cohs] for choice in range(n)])
    gt, other, context = np.meshgrid(np.arange(n), np.arange(n), contexts, indexing="ij")
    if gt.size * bump[0].size > TABLE_LIMIT:
        raise Unsupported(f"dim_ring = {n} would take a table of more than {TABLE_LIMIT} entries")
    defaults = {"fixation": 300, "stimulus": 750, "delay": CONTEXT_DELAY, "decision": 100}
    terms: list[tuple] = [
        (["stimulus"], 1, SHOW, bump[np.where(context == 1, other, gt)], (0, 1, 2, 3)),
        (["stimulus"], 1 + n, SHOW, bump[np.where(context == 1, gt, other)], (0, 1, 2, 4)),
    ]
    if explicit:
        terms.append((list(defaults), 1 + 2 * n, SHOW, np.eye(2), (2,)))
    one = np.eye(5, dtype=int)
    return _task(
        kw,
        defaults,
        [n, n, len(contexts), 3, 3],
        1 + 2 * n + 2 * bool(explicit),
        1 + n,
        ["fixation"],
        terms,
        noise=[("stimulus", 1 + i + m * n, 1) for i in range(n) for m in (0, 1)],
        info={
            "ground_truth": (np.arange(1, n + 1), one[0]),
            "other_choice": (np.arange(1, n + 1), one[1]),
            "context": (contexts, one[2]),
            "coh_1": (cohs, one[3]),
            "coh_2": (cohs, one[4]),
        },
    )


def _delay_comparison(kw):
    pairs = [(18, 10), (22, 14), (26, 18), (30, 22), (34, 26)] if kw["vpairs"] is None else kw["vpairs"]
    values = _numbers(pairs, "vpairs", ndim=2)
    low, high = np.min(values), np.max(values)
    if values.shape[1] != 2 or low == high:
        raise Unsupported(f"vpairs must be pairs, and not of one value alone, found {pairs!r}")
    first = np.stack([values, values[:, ::-1]])  # (ground truth, pair, v1 | v2)
    shown = (1 + (first - low) / (high - low)) / 2
    defaults = {"fixation": 500, "stimulus1": 500, "delay": 1000, "stimulus2": 500, "decision": 100}
    return _task(
        kw,
        defaults,
        [2, len(values)],
        2,
        3,
        list(defaults)[:-1],
        terms=[(["stimulus1"], 1, SHOW, shown[:, :, :1], (0, 1)), (["stimulus2"], 1, SHOW, shown[:, :, 1:], (0, 1))],
        noise=[("stimulus1", 0, 2), ("stimulus2", 0, 2)],
        info={
            "ground_truth": (np.array([1, 2]), (1, 0)),
            "vpair": (values, (0, 1)),
            "v1": (first[:, :, 0].ravel(), (len(values), 1)),
            "v2": (first[:, :, 1].ravel(), (len(values), 1)),
        },
    )


def _multisensory(kw):
    n, cohs = kw["dim_ring"], np.array([5, 15, 50])
    theta = np.linspace(0, 2 * np.pi, n + 1)[:-1]
    cosines = np.array([np.cos(theta - theta[gt]) for gt in range(n)])
    defaults = {"fixation": 300, "stimulus": 750, "decision": 100}
    return _task(
        kw,
        defaults,
        [n, 3, 0],
        1 + 2 * n,
        1 + n,
        list(defaults)[:-1],
        terms=[(["stimulus"], 1, SHARE_U, cosines, (0,)), (["stimulus"], 1 + n, SHARE_REST, cosines, (0,))],
        noise=[("stimulus", 0, 1 + 2 * n)],
        table_end=cohs,
        blend=(1, 2),
        info={"ground_truth": (np.arange(n), (1, 0, 0)), "coh": (cohs, (0, 1, 0)), "coh_prop": (None, (0, 0, 1))},
    )


_COMMON = {"dt": 100, "rewards": None, "timing": None, "sigma": 1.0}
TASKS = {  # builder, keyword arguments and their defaults
    "PerceptualDecisionMaking-v0": (_perceptual, {**_COMMON, "dim_ring": 2, "cohs": None, "abort": False}),
    "ContextDecisionMaking-v0": (
        _context,
        {**_COMMON, "dim_ring": 2, "use_expl_context": False, "impl_context_modality": 0, "abort": False},
    ),
    "DelayComparison-v0": (_delay_comparison, {**_COMMON, "vpairs": None}),
    "MultiSensoryIntegration-v0": (_multisensory, {**_COMMON, "dim_ring": 2}),
}


def describe(task, env_kwargs):
    """The Task for a neurogym id and its keyword arguments, or Unsupported."""
    if not isinstance(task, str) or task not in TASKS:
        raise Unsupported(f"{task!r} has no compiled replay; these have: {', '.join(TASKS)}")
    build, defaults = TASKS[task]
    if env_kwargs is not None and not isinstance(env_kwargs, dict):
        raise Unsupported(f"env_kwargs must be a dict or None, found {type(env_kwargs).__name__}")
    unknown = sorted(set(env_kwargs or {}) - set(defaults))
    if unknown:
        raise Unsupported(f"{task} has no keyword argument {unknown[0]!r} here; it has: {', '.join(sorted(defaults))}")
    kwargs = {**defaults, **(env_kwargs or {})}
    if _number(kwargs["dt"], "dt", 0) == 0:
        raise Unsupported("dt must be > 0, found 0")
    _number(kwargs["sigma"], "sigma")
    if "dim_ring" in kwargs:
        n = kwargs["dim_ring"]
        if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= 512:
            raise Unsupported(f"dim_ring must be an int from 1 to 512, found {n!r}")
    for name, kinds in (("timing", (dict,)), ("rewards", (dict,)), ("cohs", (list, tuple))):
        if kwargs.get(name) is not None and not isinstance(kwargs[name], kinds):
            raise Unsupported(f"{name} must be a {kinds[0].__name__} or None, found {kwargs[name]!r}")
    return build(kwargs)


def supports(task, env_kwargs=None):
    """Whether a task is replayed to the bit, of the neurogym that is installed, if one is.

    Parameters
    ----------
    task : str
        A neurogym id, such as "PerceptualDecisionMaking-v0".
    env_kwargs : dict or None
        Keyword arguments of the environment.

    Returns
    -------
    str or None
        None if it is, otherwise the reason why not.
    """
    try:
        describe(task, env_kwargs)
    except Unsupported as reason:
        return str(reason)
    return refused()
