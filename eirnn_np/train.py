"""Training runs: the loop, and the run folder that holds all that it takes to repeat one.

Imports model, trainer, tasks, params; analysis and figures only when a run gets there. Prints through the
`report` function that it is handed.
"""

import contextlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path

import numpy as np

from . import tasks
from .params import ModelConfig, check_dtype, init_params, load_params, save_params, write_file
from .trainer import Trainer

# Evaluation trials are drawn by RandomState(seed + this): far from the seeds of the training streams.
EVALUATION_SEED_OFFSET = 1_000_000
MAX_SEED = 2**31


class RunError(RuntimeError):
    """A run cannot go on or cannot be read; the message is one line that says what to do."""


@dataclass
class Settings:
    """What a training run is made of, besides the network; the defaults are the tutorial's."""

    steps: int = 5000
    batch_size: int = 16
    seq_len: int = 100
    lr: float = 1e-3
    seed: int = 0
    dtype: str = "float32"
    threads: int | None = None
    task: str = tasks.TUTORIAL_TASK
    env_kwargs: dict = field(default_factory=dict)
    source: str = "auto"
    print_every: int = 200
    trials: int = 500

    def __post_init__(self):
        for name, low, high in (("steps", 1, 2**32), ("batch_size", 1, 2**24), ("seq_len", 1, 2**24),
                                ("print_every", 1, 2**32), ("trials", 1, 10**7), ("seed", 0, MAX_SEED)):  # fmt: skip
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value < high:
                raise ValueError(f"{name} must be an integer from {low} to {high - 1}, found {value!r}")
        if isinstance(self.lr, bool) or not isinstance(self.lr, int | float) or not 0 < self.lr < float("inf"):
            raise ValueError(f"lr must be a positive number, found {self.lr!r}")
        if self.threads is not None and (not isinstance(self.threads, int) or self.threads < 1 or self.threads is True):
            raise ValueError(f"threads must be a positive integer, found {self.threads!r}")
        if not isinstance(self.task, str):
            raise ValueError(f"task must be the name of a task, found {self.task!r}")
        if not isinstance(self.env_kwargs, dict) or not all(isinstance(key, str) for key in self.env_kwargs):
            raise ValueError(f"env_kwargs must be a dict of keyword arguments, found {self.env_kwargs!r}")
        if not isinstance(self.env_kwargs.get("timing") or {}, dict):
            raise ValueError(f"timing must be a dict of periods, found {self.env_kwargs['timing']!r}")
        if self.source not in tasks.SOURCES:
            raise ValueError(f"source must be one of {', '.join(tasks.SOURCES)}, found {self.source!r}")
        self.dtype = check_dtype(self.dtype).name

    @property
    def evaluation_seed(self):
        return self.seed + EVALUATION_SEED_OFFSET


def train(
    trainer: Trainer,
    batches: Iterator[tuple[np.ndarray, np.ndarray]],
    steps: int,
    on_step: Callable[[int, float], object] | None = None,
) -> tuple[np.ndarray, dict[str, float]]:
    """Take `steps` training steps on any iterator of (inputs, labels).

    Parameters
    ----------
    trainer : Trainer
    batches : iterator of (inputs (T, B, I), targets)
        All of one shape, or the trainer makes a new workspace when the shape changes.
    steps : int
    on_step : callable, optional
        Called as ``on_step(k, loss)`` after each step, k from 1.

    Returns
    -------
    losses : (steps,) float64
    seconds : dict
        Wall time spent on "batches" and on "training".

    Raises
    ------
    RunError
        The loss is not finite: the step is named and the parameters are left as that step found them.
    """
    losses = np.full(steps, np.nan)
    seconds = {"batches": 0.0, "training": 0.0}
    clock = time.perf_counter
    for k in range(steps):
        start = clock()
        try:
            inputs, targets = next(batches)
        except StopIteration:
            raise RunError(f"the batches ended after {k} of {steps} steps") from None
        middle = clock()
        losses[k] = loss = trainer.step(inputs, targets)
        seconds["batches"] += middle - start
        seconds["training"] += clock() - middle
        if not np.isfinite(loss):
            raise RunError(
                f"the loss is {loss} at step {k + 1}: training diverged; try a smaller lr than {trainer.lr:g}"
            )
        if on_step is not None:
            on_step(k + 1, loss)
    return losses, seconds


# --- the run folder --------------------------------------------------------------------------------


def next_run_folder(parent="runs"):
    """The first of runs/run-001, runs/run-002 ... that does not exist."""
    number = 1
    while (folder := Path(parent) / f"run-{number:03d}").exists():
        number += 1
    return folder


def create_run_folder(folder):
    """Make `folder`, or take an existing one that holds nothing of a run; RunError otherwise."""
    folder = Path(folder)
    names = ("config.json", "params.safetensors", "checkpoint.safetensors", "loss.csv", "evaluation.json", "figures")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        taken = [name for name in names if (folder / name).exists()]
    except OSError as error:
        raise RunError(f"cannot make the run folder {folder}: {error.strerror}") from None
    if taken:
        raise RunError(f"{folder} already holds a run ({taken[0]}); choose another folder with --out")
    if not os.access(folder, os.W_OK):
        raise RunError(f"cannot write to the run folder {folder}")
    return folder


def environment():
    """What the numbers of a run may depend on besides its settings."""
    import llvmlite.binding

    packages = ("eirnn-np", "numpy", "numba", "neurogym", "gymnasium")
    return {
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in packages}},
        "machine": platform.machine(),
        "system": platform.system(),
        "cpu": os.environ.get("NUMBA_CPU_NAME") or llvmlite.binding.get_host_cpu_name(),
    }


def write_json(path, value):
    write_file(path, json.dumps(value, indent=2, sort_keys=False, allow_nan=False) + "\n")


def read_run(folder):
    """(settings, config, params, losses) of a finished run; RunError says what is missing or broken."""
    folder = Path(folder)
    try:
        content = json.loads((folder / "config.json").read_text())
        settings = Settings(**content["training"])
        config, params = load_params(folder / "params.safetensors")
        rows = (folder / "loss.csv").read_text().splitlines()[1:]
        if not rows:
            raise ValueError("loss.csv holds no steps")
        losses = np.array([float(row.split(",")[1]) for row in rows])
    except FileNotFoundError as error:
        missing = Path(error.filename).name
        hint = " (training did not finish?)" if missing != "config.json" and (folder / "config.json").exists() else ""
        raise RunError(f"{folder} is not a finished run: it has no {missing}{hint}") from None
    except OSError as error:
        raise RunError(f"cannot read the run {folder}: {error.strerror or error}") from None
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise RunError(f"the run {folder} cannot be read: {' '.join(str(error).split())}") from None
    if config.to_dict() != content.get("model"):
        raise RunError(f"the run {folder} cannot be read: config.json and params.safetensors do not fit together")
    return settings, config, params, losses


def model_config(settings, **model):
    """The network for a task: sizes from the task, the rest from `model`; dt serves both.

    Returns (config, settings) where ``settings.env_kwargs`` is complete.
    """
    dt = model.get("dt", ModelConfig.dt)
    env_kwargs = dict(settings.env_kwargs)
    if settings.task == tasks.TUTORIAL_TASK:
        env_kwargs.setdefault("timing", tasks.TUTORIAL_TIMING)
    if isinstance(dt, float) and dt.is_integer():
        dt = int(dt)
    if env_kwargs.setdefault("dt", dt) != dt:
        raise ValueError(f"dt must be the same for network and task, found {dt} and {env_kwargs['dt']} ms")
    try:
        settings.env_kwargs = json.loads(json.dumps(env_kwargs))  # as a run folder gives it back
    except (TypeError, ValueError) as error:
        raise ValueError(f"the task's keyword arguments must be plain values: {error}") from None
    env = tasks.make_env(settings.task, settings.env_kwargs)
    config = ModelConfig(n_in=env.observation_space.shape[0], n_out=int(env.action_space.n), **model)
    return config, settings


def run(config, settings, out=None, figures=True, report=print):
    """Train, evaluate and draw; everything is in the run folder, whose path is returned."""
    started = time.perf_counter()
    tasks.check_task_seed(settings.seed, settings.batch_size)
    params = init_params(config, settings.seed, settings.dtype)
    trainer = Trainer(config, params, lr=settings.lr, seed=settings.seed, threads=settings.threads)
    batches = tasks.make_batches(
        settings.task,
        settings.batch_size,
        settings.seq_len,
        settings.seed,
        settings.env_kwargs,
        settings.source,
        worker=True,
    )
    folder = create_run_folder(next_run_folder() if out is None else out)
    with contextlib.ExitStack() as stack:
        stack.callback(getattr(batches, "close", lambda: None))
        stack.enter_context(_write_errors(folder))
        write_json(folder / "config.json",
                   {"model": config.to_dict(), "training": asdict(settings), **environment()})  # fmt: skip
        report(
            f"{settings.task} ({batches.source}), batches {settings.batch_size} x {settings.seq_len} -> "
            f"{config.n_in} inputs, "
            f"{config.n_hidden} units ({config.n_exc} E, {config.n_hidden - config.n_exc} I), {config.n_out} outputs; "
            f"{settings.dtype}, {trainer.threads} thread{'s' * (trainer.threads > 1)}, seed {settings.seed}"
        )
        trainer.compile(settings.seq_len, settings.batch_size)
        start_up = time.perf_counter() - started
        losses, seconds = _training_loop(trainer, batches, settings, folder, report)
        save_params(folder / "params.safetensors", config, params)
        start = time.perf_counter()
        evaluation, result = evaluate_run(settings, config, params, folder)
        seconds["evaluation"] = time.perf_counter() - start
        report(performance_line(result))
        if figures:
            start = time.perf_counter()
            draw_run(settings, config, params, losses, evaluation, result, folder)
            seconds["figures"] = time.perf_counter() - start
    total = time.perf_counter() - started
    parts = ", ".join(f"{name} {value:.1f} s" for name, value in {"start-up": start_up, **seconds}.items())
    report(f"Time {total:.1f} s: {parts}")
    report(f"Files in {folder}{os.sep}")
    return folder


@contextlib.contextmanager
def _write_errors(folder):
    """Turn an OSError of the run folder into a RunError."""
    try:
        yield
    except OSError as error:
        raise RunError(f"cannot write to the run folder {folder}: {error.strerror or error}") from None


def _training_loop(trainer, batches, settings, folder, report):
    """The loop with its progress bar; loss.csv is written also if it is cut short."""
    from tqdm import tqdm

    losses = []
    bar = tqdm(total=settings.steps, unit="step", disable=not sys.stderr.isatty(), leave=False, file=sys.stderr)

    def on_step(k, loss):
        losses.append(loss)
        if k % settings.print_every == 0 or k == settings.steps:
            recent = losses[-((k - 1) % settings.print_every + 1) :]
            with bar.external_write_mode():
                report(f"Step {k}, Loss {np.mean(recent):.4f}")
        if k % 20 == 0:
            bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
        bar.update()

    try:
        with bar:
            return train(trainer, batches, settings.steps, on_step)
    except KeyboardInterrupt:
        save_params(folder / "params.safetensors", trainer.config, trainer.params)
        raise KeyboardInterrupt(
            f"stopped at step {len(losses)} of {settings.steps}; the parameters so far are in {folder}{os.sep}"
        ) from None
    finally:
        rows = "".join(f"{k},{loss!r}\n" for k, loss in enumerate(map(float, losses), 1))
        write_file(folder / "loss.csv", "step,loss\n" + rows)


def evaluate_run(settings, config, params, folder, n_trials=None, seed=None):
    """Evaluate on new trials and write evaluation.json; returns (Evaluation, plain values)."""
    from . import analysis

    n_trials = settings.trials if n_trials is None else n_trials
    seed = settings.evaluation_seed if seed is None else seed
    env_kwargs = tasks.evaluation_env_kwargs(settings.task, settings.env_kwargs)
    evaluation = analysis.evaluate(config, params, settings.task, env_kwargs, n_trials, seed)
    result = {
        "task": settings.task,
        "env_kwargs": env_kwargs,
        "seed": seed,
        "performance": analysis.performance(evaluation),
        "ideal_observer": analysis.task_ideal_observer(settings.task, env_kwargs, evaluation),
        "psychometric": analysis.psychometric(evaluation),
    }
    d_prime = analysis.selectivity(evaluation)
    result["selectivity"] = None if d_prime is None else d_prime.tolist()
    write_json(folder / "evaluation.json", _string_keys(result))
    return evaluation, result


def performance_line(result):
    """The evaluation in one line."""
    overall, ideal = result["performance"], result["ideal_observer"]
    low, high = overall["interval_95"]
    text = (
        f"Performance {overall['accuracy']:.4f} of {overall['n_trials']} trials (95 % interval {low:.4f} - {high:.4f})"
    )
    return text + (f"; ideal observer {ideal['accuracy']:.4f}" if ideal else "")


def draw_run(settings, config, params, losses, evaluation, result, folder):
    """Draw all figures of a run into its folder; returns their names."""
    from . import figures

    task_trials = tasks.make_trials(settings.task, 4, settings.evaluation_seed, settings.env_kwargs)
    return figures.draw_all(
        folder / "figures", config, params, losses, evaluation, result["ideal_observer"], task_trials
    )


def _string_keys(value):
    if isinstance(value, dict):
        return {str(k): _string_keys(v) for k, v in value.items()}
    return value
