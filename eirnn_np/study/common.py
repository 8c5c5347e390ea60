"""What the studies share: the network and task to work on, training, what is kept of it, comparisons, and text.

A study trains variants of one network. A `Variant` says what each is, `outcome` is what is kept of a training, and
`collect` makes arrays (variant, seed, ...) of it. Comparisons of two variants are paired over seeds (`paired`).
"""

import contextlib
import math
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import tasks
from ..algorithms import GradientTrainer
from ..checks import check_integer
from ..config import ModelConfig, sign_mask, unit_signs
from ..evaluation import evaluate
from ..model import loss_and_grads, recurrent_noise
from ..params import Params, init_params
from ..runs import read_run
from ..runs.crew import Together, cores, tick
from ..runs.folder import final_loss
from ..runs.lines import terminal
from ..trainer import RunError, Trainer, train

TRIALS = 2000  # of each evaluation
SEEDS_COSTLY = 6  # at most, for networks that are trained by slow algorithms
BIN = 50  # training steps to a point of a learning curve
COLOURS = ("#1f5fa8", "#e08214", "#2a8a57", "#c0392b", "#542788", "#8c6d31", "#5b9bd5", "0.45")


@dataclass
class Basis:
    """What a study works on: the tutorial's, or those of a run."""

    config: ModelConfig
    task: str = tasks.TUTORIAL_TASK
    env_kwargs: dict | None = None
    batch_size: int = 16
    seq_len: int = 100
    lr: float = 1e-3
    params: Params | None = None  # the trained ones of a run
    seed: int = 0

    def batches(self, seed, batch_size=None):
        size = self.batch_size if batch_size is None else batch_size
        stream = seed if isinstance(seed, tuple) else (tasks.TRAIN, seed)
        return tasks.make_batches(self.task, size, self.seq_len, stream, self.env_kwargs)

    def probe(self, seed, n=1):
        """`n` batches with noise that no training has seen."""
        stream = self.batches((tasks.EVALUATE, seed, tasks.PROBE))
        for i in range(n):
            yield *next(stream), probe_noise(self.config, seed + i, self.seq_len, self.batch_size)


def probe_noise(config, seed, n_time, n_batch):
    """Noise of a step that no training takes, float64."""
    return recurrent_noise(config, seed, 2**32 - 1, n_time, n_batch, "float64")


def basis_of(run=None):
    """The `Basis` of a run folder, or the tutorial's."""
    if run is None:
        return Basis(ModelConfig())
    settings, config, params, _ = read_run(run)
    if settings.class_weights is not None:
        raise ValueError(f"the studies weigh all labels alike, {run} was trained with class_weights: take another run")
    return Basis(config, settings.task, settings.env_kwargs, settings.batch_size, settings.seq_len, settings.lr, params,
                 settings.seed)  # fmt: skip


def seeds(n):
    """The first `n` seeds of a study: no two of them share a stream of trials."""
    return [1000 * i for i in range(n)]


@dataclass
class Variant:
    """One way to train the network: what `train_network` takes. The label is for display, and for that alone."""

    key: str
    label: str
    config: ModelConfig
    params: Params  # to start from; trained in place
    gradient: Any = None  # None: BPTT
    optimiser: Any = None  # None: Adam at the rate of the basis


def bptt(basis, seed):
    """The network itself, trained as in the main job."""
    return Variant("bptt", "BPTT", basis.config, init_params(basis.config, seed))


def train_network(basis, variant, seed, steps, bar, snapshots=()):
    """Train one network, in place.

    Where training diverges the losses are infinite from there on, and the parameters NaN: a result like any other.

    Returns
    -------
    losses : (steps,) array
        nats per time step, before each update.
    kept : dict
        A copy of the parameters after each number of steps in `snapshots`, float64.
    """
    config, params, gradient = variant.config, variant.params, variant.gradient
    trainer: Trainer | GradientTrainer
    if gradient is None and variant.optimiser is None:
        trainer = Trainer(config, params, basis.lr, seed)
    else:
        gradient = loss_and_grads if gradient is None else gradient
        trainer = GradientTrainer(config, params, gradient, basis.lr, seed, optimiser=variant.optimiser)
    kept = {0: params.astype("float64")} if 0 in snapshots else {}
    losses = np.full(steps, np.inf)

    def on_step(k, loss):
        losses[k - 1] = loss
        bar.update()
        if k in snapshots:
            kept[k] = params.astype("float64")

    try:
        train(trainer, basis.batches(seed), steps, on_step)
    except RunError:
        params.flat[...] = np.nan
        bar.update(steps - trainer.k)
        kept |= {k: params.astype("float64") for k in snapshots if k > trainer.k}
    return losses, kept


def outcome(basis, variant, losses, seed, **more):
    """What every study keeps of a training: learning curve, final loss and accuracy, as one row of `collect`."""
    right = accuracy(basis, variant.config, variant.params, seed)
    return {"curves": curve(losses), "loss": final_loss(losses), "accuracy": right, **more}


def collect(rows):
    """{key: array (variant, seed, ...)} of ``rows[variant][seed][key]``, variants in their order."""
    rows = list(rows.values() if isinstance(rows, dict) else rows)
    return {key: np.array([[row[key] for row in each] for each in rows]) for key in rows[0][0]}


def self_connected(config):
    """The network with self-connections: each unit's own weight has the sign of its type."""
    mask = sign_mask(config)
    return ModelConfig(**{**config.to_dict(), "mask": mask + np.diag(unit_signs(config) * (np.diag(mask) == 0))})


def accuracy(basis, config, params, seed):
    """Share of new trials with the right choice at their end; 0 of a network that diverged."""
    if np.isnan(params.flat).any():
        return 0.0
    env_kwargs = tasks.evaluation_env_kwargs(basis.task, basis.env_kwargs)
    return float(evaluate(config, params, basis.task, env_kwargs, TRIALS, seed).correct.mean())


def curve(losses):
    """Means of `BIN` steps, as far as whole bins go; of single steps in a shorter training."""
    width = BIN if len(losses) >= 2 * BIN else 1
    return np.reshape(losses[: len(losses) // width * width], (-1, width)).mean(axis=1)


def curve_steps(curves, steps):
    """The training step at the middle of each point of a curve."""
    n = np.shape(curves)[-1]
    return (np.arange(n) + 0.5) * (steps // n)


def recurrent_part(grads):
    """What the algorithms differ in: the gradients of W_in, b, theta (b_in repeats b_rec), as one vector."""
    return np.concatenate([grads.w_in.ravel(), grads.w_rec.ravel(), grads.b_rec])


def angle(a, b):
    """Angle between two vectors in degrees; 90 where one of them is 0."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    return float(np.degrees(np.arccos(np.clip(a @ b / norms, -1, 1)))) if norms else 90.0


def array(values):
    """Numbers of a study as an array; null, which stands for what is not finite, as infinity."""
    values = np.array(values, float)
    values[np.isnan(values)] = np.inf
    return values


def spread(values, digits=4):
    """Mean and standard deviation over seeds, as text; or how many of them diverged."""
    values = array(values)
    if lost := int(np.isinf(values).sum()):
        return f"{lost}/{len(values)} diverged"
    return f"{values.mean():.{digits}f} ± {values.std(ddof=1) if len(values) > 1 else 0:.{digits}f}"


def middle(values, digits=3):
    """Median and range over seeds, as text, to so many significant digits: for losses of which some diverge."""
    values = array(values)
    return f"{np.median(values):.{digits}g} ({values.min():.{digits}g} to {values.max():.{digits}g})"


def paired_interval(first, second):
    """(median, low, high) of first - second over seeds.

    The interval is that of the median by order statistics: of n differences, from the r-th smallest to the r-th
    largest, with the largest r that leaves at least 95 % (binomial, 1/2). It asks for no distribution, so a difference
    may be infinite; where both diverged it is 0. Fewer than six differences bound nothing at 95 %: then it is
    (-inf, inf).
    """
    first, second = array(first), array(second)
    with np.errstate(invalid="ignore"):  # inf - inf
        differences = np.sort(np.where(np.isinf(first) & np.isinf(second), 0.0, first - second))
    n = len(differences)
    r = 0
    while r < n and sum(math.comb(n, k) for k in range(r + 1)) <= 0.025 * 2**n:
        r += 1
    low, high = (differences[r - 1], differences[n - r]) if r else (-np.inf, np.inf)
    return float(np.median(differences)), float(low), float(high)


def paired(first, second, digits=4):
    """`paired_interval` as text."""
    centre, low, high = paired_interval(first, second)
    interval = "" if np.isinf(low) and np.isinf(high) else f" [{low:+.{digits}f}, {high:+.{digits}f}]"
    return f"{centre:+.{digits}f}{interval}"


def text_table(head, rows):
    """Lines of a table for a terminal; all cells are text, the first column stands left."""
    widths = [max(map(len, column)) for column in zip(head, *rows)]
    return ["  ".join(f"{cell:{'<' if c == 0 else '>'}{w}}" for c, (cell, w) in enumerate(zip(row, widths))).rstrip()
            for row in (head, *rows)]  # fmt: skip


def markdown_table(head, rows):
    """Lines of the same table for docs/study.md."""
    return ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]


def band(ax, x, curves, colour, label, middle=np.mean, **style):
    """Mean (or median) over seeds (axis 0) as a line, their range as a band."""
    curves = array(curves)
    ax.plot(x, middle(curves, axis=0), color=colour, label=label, **{"lw": 1.6, **style})
    ax.fill_between(x, curves.min(axis=0), curves.max(axis=0), color=colour, alpha=0.15, lw=0)


def set_top(ax, curves):
    """End the y axis above these curves, as far as they are finite."""
    if np.isfinite(curves).any():
        ax.set_ylim(None, 1.5 * curves[np.isfinite(curves)].max())


class Work:
    """Where the parts of a study are carried out: on all cores, or here; and its progress bar, on a terminal.

    A context manager. `workers` processes of one thread each; with one, all is done in this process. What a part gives
    does not depend on it.
    """

    def __init__(self, workers=None):
        from tqdm import tqdm

        self.workers = cores() if workers is None else check_integer("workers", workers, 1, 4096)
        self._bar = tqdm(disable=not terminal(), leave=False, file=sys.stderr)
        self._crew: Together | None = None
        self._open = contextlib.ExitStack()

    def __enter__(self):
        self._open.enter_context(self._bar)
        return self

    def __exit__(self, *raised):
        return self._open.__exit__(*raised)

    def stage(self, name, total):
        """Begin a part of the study: what is done, and how many units of it there are."""
        self._bar.reset(total)
        self._bar.set_description(name)

    def update(self, n=1):
        """So many units more."""
        self._bar.update(n)

    def map(self, function, jobs):
        """``function(*job, bar)`` for every job, as a list in their order; ``bar.update(n)`` counts units.

        The function is one of a module, and it and its arguments pickle.
        """
        jobs = list(jobs)
        if self.workers == 1 or len(jobs) < 2:
            return [function(*job, self) for job in jobs]
        if self._crew is None:
            self._crew = self._open.enter_context(Together(self.workers))
        before, found = self._bar.n, {}

        def beat(steps):
            self._bar.n = before + steps
            self._bar.refresh()

        for outcome in self._crew.each(_part, ((k, function, job) for k, job in enumerate(jobs)), beat):
            if outcome.error is not None:
                raise outcome.error
            found[outcome.job[0]] = outcome.value
        return [found[k] for k in range(len(jobs))]


class _Ticks:
    """The progress bar of a worker."""

    update = staticmethod(tick)


def _part(_, function, job):
    return function(*job, _Ticks)


def plain(value):
    """The numbers as JSON takes them, to six digits; None for what is not finite."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
