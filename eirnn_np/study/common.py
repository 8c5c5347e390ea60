"""What the studies share: the network and task to work on, training, angles, and plain numbers."""

import sys
from dataclasses import dataclass

import numpy as np

from .. import tasks
from ..algorithms import GradientTrainer
from ..config import ModelConfig
from ..evaluation import evaluate
from ..model import loss_and_grads, recurrent_noise
from ..params import Params, init_params
from ..runs import read_run
from ..trainer import RunError, Trainer, train

TRIALS = 2000  # of each evaluation
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
    return Basis(config, settings.task, settings.env_kwargs, settings.batch_size, settings.seq_len, settings.lr, params,
                 settings.seed)  # fmt: skip


def train_network(basis, seed, steps, bar, config=None, params=None, gradient=None, optimiser=None, snapshots=()):
    """Train one network from `params` (by default those of the seed), in place.

    Where training diverges the losses are infinite from there on, and the parameters NaN: a result like any other.

    Returns
    -------
    params : Params
    losses : (steps,) array
    kept : dict
        A copy of the parameters after each number of steps in `snapshots`, float64.
    """
    config = basis.config if config is None else config
    params = init_params(config, seed) if params is None else params
    trainer: Trainer | GradientTrainer
    if gradient is None and optimiser is None:
        trainer = Trainer(config, params, basis.lr, seed)
    else:
        gradient = loss_and_grads if gradient is None else gradient
        trainer = GradientTrainer(config, params, gradient, basis.lr, seed, optimiser=optimiser)
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
    return params, losses, kept


def accuracy(basis, config, params, seed):
    """Share of new trials with the right choice at their end; 0 of a network that diverged."""
    if np.isnan(params.flat).any():
        return 0.0
    env_kwargs = tasks.evaluation_env_kwargs(basis.task, basis.env_kwargs)
    return float(evaluate(config, params, basis.task, env_kwargs, TRIALS, seed).correct.mean())


def final_loss(losses):
    """Mean loss over the last 200 steps, or the last tenth of a shorter training."""
    return float(np.mean(losses[-min(200, max(1, len(losses) // 10)) :]))


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


def middle(values, width, range_width):
    """Median and range over seeds, as text in two columns: for losses of which some diverge."""
    values = array(values)
    return f"{np.median(values):{width}.4g} {f'({values.min():.4g} - {values.max():.4g})':>{range_width}}"


def band(ax, x, curves, colour, label, middle=np.mean, **style):
    """Mean (or median) over seeds (axis 0) as a line, their range as a band."""
    curves = array(curves)
    ax.plot(x, middle(curves, axis=0), color=colour, label=label, **{"lw": 1.6, **style})
    ax.fill_between(x, curves.min(axis=0), curves.max(axis=0), color=colour, alpha=0.15, lw=0)


def set_top(ax, curves):
    """End the y axis above these curves, as far as they are finite."""
    if np.isfinite(curves).any():
        ax.set_ylim(None, 1.5 * curves[np.isfinite(curves)].max())


def progress():
    """A progress bar on a terminal, nothing elsewhere."""
    from tqdm import tqdm

    return tqdm(unit="step", disable=not sys.stderr.isatty(), leave=False, file=sys.stderr)


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
