"""Training runs: the loop, and the run folder that holds all that it takes to repeat one, or to go on with it.

Imports checkpoint, trainer, tasks, params; analysis and figures only when a run gets there. Prints through the
`report` function that it is handed.
"""

import contextlib
import itertools
import json
import os
import platform
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path

import numpy as np

from . import algorithms, tasks
from .checkpoint import CHECKPOINT, PREVIOUS, RunError, load_checkpoint, locked, remove_leftovers, save_checkpoint
from .params import ModelConfig, check_choice, check_dtype, init_params, load_params, save_params, write_file
from .signals import Signals, Stopped
from .threads import WORKQUEUE_ADVICE, layer
from .trainer import Trainer

# Evaluation trials are drawn by RandomState(seed + this): far from the seeds of the training streams.
EVALUATION_SEED_OFFSET = 1_000_000
MAX_SEED = 2**31
# What may change when a run goes on: its result, step by step, does not depend on these.
FREE = ("steps", "threads", "print_every", "trials", "checkpoint_every")


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
    algorithm: str = "bptt"
    truncation: int | None = None
    task: str = tasks.TUTORIAL_TASK
    env_kwargs: dict = field(default_factory=dict)
    source: str = "auto"
    print_every: int = 200
    trials: int = 500
    checkpoint_every: int = 1000

    def __post_init__(self):
        for name, low, high in (("steps", 1, 2**32), ("batch_size", 1, 2**24), ("seq_len", 1, 2**24),
                                ("print_every", 1, 2**32), ("trials", 1, 10**7), ("seed", 0, MAX_SEED),
                                ("checkpoint_every", 1, 2**32)):  # fmt: skip
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value < high:
                raise ValueError(f"{name} must be an integer from {low} to {high - 1}, found {value!r}")
        if isinstance(self.lr, bool) or not isinstance(self.lr, int | float) or not 0 < self.lr < float("inf"):
            raise ValueError(f"lr must be a positive number, found {self.lr!r}")
        if self.threads is not None and (not isinstance(self.threads, int) or self.threads < 1 or self.threads is True):
            raise ValueError(f"threads must be a positive integer, found {self.threads!r}")
        algorithms.algorithm(self.algorithm, self.truncation)
        if not isinstance(self.task, str):
            raise ValueError(f"task must be the name of a task, found {self.task!r}")
        if not isinstance(self.env_kwargs, dict) or not all(isinstance(key, str) for key in self.env_kwargs):
            raise ValueError(f"env_kwargs must be a dict of keyword arguments, found {self.env_kwargs!r}")
        if not isinstance(self.env_kwargs.get("timing") or {}, dict):
            raise ValueError(f"timing must be a dict of periods, found {self.env_kwargs['timing']!r}")
        check_choice("source", self.source, tasks.SOURCES)
        self.dtype = check_dtype(self.dtype).name

    @property
    def evaluation_seed(self):
        return self.seed + EVALUATION_SEED_OFFSET


def train(
    trainer: Trainer | algorithms.GradientTrainer,
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
        The loss or a gradient is not finite: step and parameter are named. The parameters are as that step found
        them, unless the loss was finite and a gradient was not.
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
        taken = trainer.k
        losses[k] = loss = trainer.step(inputs, targets)
        seconds["batches"] += middle - start
        seconds["training"] += clock() - middle
        if trainer.k == taken:
            raise RunError(_divergence(trainer, loss))
        if on_step is not None:
            on_step(k + 1, loss)
    return losses, seconds


def _divergence(trainer, loss):
    """Why the trainer did not take its next step, in one line that names the step and the parameters."""
    found = "the gradient is not finite" if np.isfinite(loss) else f"the loss is {loss}"
    bad = [name for name, gradient in trainer.grads.items() if not np.isfinite(gradient).all()]
    if bad:
        where = f"gradient not finite: {', '.join(bad)}"
    else:
        sizes = {name: float(np.abs(values).max()) for name, values in trainer.params.items()}
        name = max(sizes, key=lambda each: sizes[each])
        where = f"largest parameter: {name}, {sizes[name]:.3g}"
    return f"{found} at step {trainer.k + 1}: training diverged; try a smaller lr than {trainer.lr:g} ({where})"


# --- the run folder --------------------------------------------------------------------------------


def next_run_folder(parent="runs", name="run"):
    """Make the first of runs/run-001, runs/run-002 ... that does not exist."""
    for number in itertools.count(1):
        folder = Path(parent) / f"{name}-{number:03d}"
        with contextlib.suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder


@contextlib.contextmanager
def new_run_folder(folder):
    """Make `folder` (None: the next number), or take an existing one that holds nothing of a run, and lock it.

    RunError otherwise.
    """
    names = ("config.json", "params.safetensors", CHECKPOINT, PREVIOUS, "loss.csv", "evaluation.json", "figures")
    try:
        folder = next_run_folder() if folder is None else Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make the run folder {folder or 'runs'}: {error.strerror}") from None
    with locked(folder):
        taken = [name for name in names if (folder / name).exists()]
        if taken:
            raise RunError(
                f"{folder} already holds a run ({taken[0]}); choose another folder with --out, or go on by --resume"
            )
        if not os.access(folder, os.W_OK):
            raise RunError(f"cannot write to the run folder {folder}")
        remove_leftovers(folder)
        yield folder


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


def write_config(folder, config, settings):
    """Write config.json; of an environment that is there already, nothing changes."""
    path = folder / "config.json"
    then = json.loads(path.read_text()) if path.exists() else environment()
    now = {"model": config.to_dict(), "training": asdict(settings)}
    write_json(path, {**now, **then, **now})  # these two first


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
        hint = ""
        if missing != "config.json" and (folder / "config.json").exists():
            hint = f" (training did not finish? eirnn-np train --resume {folder} goes on with it)"
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


def make_trainer(config, params, settings):
    """The trainer of a run: `Trainer` for BPTT, `GradientTrainer` for every other algorithm."""
    options = {"lr": settings.lr, "seed": settings.seed, "threads": settings.threads}
    if settings.algorithm == "bptt":
        return Trainer(config, params, **options)
    gradient = algorithms.algorithm(settings.algorithm, settings.truncation, settings.seed)
    return algorithms.GradientTrainer(config, params, gradient, **options)


def run(config, settings, out=None, figures=True, report=print):
    """Train, evaluate and draw; everything is in the run folder, whose path is returned."""
    started = time.perf_counter()
    tasks.check_task_seed(settings.seed, settings.batch_size)
    params = init_params(config, settings.seed, settings.dtype)
    trainer = make_trainer(config, params, settings)
    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(Signals())
        batches = stack.enter_context(_batches(settings, 0))
        folder = stack.enter_context(new_run_folder(out))
        stack.enter_context(_write_errors(folder))
        # The checkpoint comes first: a folder with a config.json has one.
        save_checkpoint(folder, trainer, [], asdict(settings))
        write_config(folder, config, settings)
        report(
            f"{settings.task} ({batches.source}), batches {settings.batch_size} x {settings.seq_len} -> "
            f"{config.n_in} inputs, "
            f"{config.n_hidden} units ({config.n_exc} E, {config.n_hidden - config.n_exc} I), {config.n_out} outputs; "
            f"{settings.algorithm}, {settings.dtype}, "
            f"{trainer.threads} thread{'s' * (trainer.threads > 1)}, seed {settings.seed}"
        )
        _finish(trainer, array("d"), batches, settings, folder, figures, report, signals, started)
    return folder


def resume(folder, figures=True, report=print, **options):
    """Go on with a run where its last checkpoint stands; the run ends as if it had never stopped, to the bit.

    Parameters
    ----------
    folder : path
        A run folder, of a run that was stopped, killed, or is finished.
    figures : bool
        Draw them at the end.
    report : callable
        Takes a line.
    **options
        Fields of Settings or ModelConfig. `steps`, `threads`, `print_every`, `trials` and `checkpoint_every` may
        differ from before; any other must be as the run has it.

    Returns
    -------
    folder : Path

    Raises
    ------
    ValueError
        An option contradicts the run, or is no plain value.
    RunError
        The folder holds no run that can go on, another process is training in it, or training diverged.
    """
    started, folder = time.perf_counter(), Path(folder)
    _check_plain(options)
    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(Signals())
        try:
            stack.enter_context(locked(folder, report))
            trainer, losses, info = load_checkpoint(folder, options.get("threads"), report)
            settings = _settings_of(folder, trainer.config, info, report)
        except FileNotFoundError:
            raise RunError(f"{folder} holds no run to go on with: it has no checkpoint") from None
        except OSError as error:
            raise RunError(f"cannot read the run {folder}: {error.strerror or error}") from None
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise RunError(f"the run {folder} cannot go on: {' '.join(str(error).split())}") from None
        before, settings = settings, _changed(settings, trainer.config, options)
        trainer = _continued(trainer, settings)
        if settings.steps < trainer.k:
            raise ValueError(f"steps must be at least the {trainer.k} that {folder} has taken, found {settings.steps}")
        stack.enter_context(_write_errors(folder))
        remove_leftovers(folder)
        if settings != before or not (folder / "config.json").exists():
            write_config(folder, trainer.config, settings)
        batches = None
        if trainer.k < settings.steps:
            batches = stack.enter_context(_batches(settings, trainer.k))
        report(f"{folder}: going on from step {trainer.k} of {settings.steps}")
        _finish(trainer, array("d", losses), batches, settings, folder, figures, report, signals, started)
    return folder


def _continued(trainer, settings):
    """The trainer of a checkpoint, or, where another algorithm than BPTT has trained, that algorithm's in its place."""
    if settings.algorithm == "bptt":
        return trainer
    other = make_trainer(trainer.config, trainer.params, replace(settings, threads=trainer.threads))
    other.adam, other.k = trainer.adam, trainer.k
    return other


def _settings_of(folder, config, info, report):
    """The settings of a run that goes on: config.json's, which must fit the checkpoint's (`info`)."""
    settings = Settings(**info)
    if not (folder / "config.json").exists():  # it was killed between writing the two
        return settings
    content = json.loads((folder / "config.json").read_text())
    found = Settings(**content["training"])
    kept = {name: getattr(settings, name) for name in FREE}
    if content["model"] != config.to_dict() or replace(found, **kept) != settings:
        raise ValueError("config.json and the checkpoint do not fit together")
    for name, now in environment().items():
        if (then := content.get(name)) != now:
            report(f"{name} then: {then}, now: {now}; the result need not be the same to the bit")
    return found


def _check_plain(options):
    """ValueError for an option that JSON cannot hold: no run has such a value, and arrays do not compare."""
    for name, value in options.items():
        try:
            json.dumps(value)
        except (TypeError, ValueError, RecursionError):
            raise ValueError(f"{name} must be a plain value, as a run folder holds it: {type(value)} is not") from None
    if not isinstance(options.get("env_kwargs", {}), dict):
        raise ValueError(f"env_kwargs must be a dict of keyword arguments, found {options['env_kwargs']!r}")


def _changed(settings, config, options):
    """`settings` with the options that may change; ValueError for one that contradicts the run."""
    for name, value in options.items():
        if name in FREE:
            continue
        if not hasattr(settings, name) and name not in config.to_dict():
            raise ValueError(f"{name} is no option of a run")
        has = getattr(settings, name) if hasattr(settings, name) else getattr(config, name)
        same = {**has, **json.loads(json.dumps(value))} == has if name == "env_kwargs" else value == has
        if not same:
            raise ValueError(f"{name} is {has} in this run and cannot become {value}: leave it out, or start a new run")
    return replace(settings, **{name: options[name] for name in FREE if name in options})


@contextlib.contextmanager
def _batches(settings, start):
    """The run's stream of batches from batch `start` on; a worker of it ends with the context."""
    batches = tasks.make_batches(
        settings.task,
        settings.batch_size,
        settings.seq_len,
        settings.seed,
        settings.env_kwargs,
        settings.source,
        worker=True,
        start=start,
    )
    try:
        yield batches
    finally:
        getattr(batches, "close", lambda: None)()


def _finish(trainer, losses, batches, settings, folder, figures, report, signals, started):
    """All that is left of a run: the steps after len(losses), the evaluation, the figures."""
    config, params = trainer.config, trainer.params
    seconds = {"batches": 0.0, "training": 0.0}
    try:
        if trainer.threads > 1 and layer() == "workqueue":
            report(WORKQUEUE_ADVICE)
        trainer.compile(settings.seq_len, settings.batch_size)
        start_up = time.perf_counter() - started
        if trainer.k < settings.steps:
            seconds = _training_loop(trainer, losses, batches, settings, folder, report, signals)
        write_losses(folder, losses)
        save_params(folder / "params.safetensors", config, params)
        start = time.perf_counter()
        evaluation, result = evaluate_run(settings, config, params, folder)
        seconds["evaluation"] = time.perf_counter() - start
        report(performance_line(result))
        if figures:
            start = time.perf_counter()
            draw_run(settings, config, params, losses, evaluation, result, folder)
            seconds["figures"] = time.perf_counter() - start
    except KeyboardInterrupt as stopped:
        raise Stopped(
            f"stopped at step {trainer.k} of {settings.steps}; eirnn-np train --resume {folder} goes on from there",
            getattr(stopped, "status", 130),
        ) from None
    total = time.perf_counter() - started
    parts = ", ".join(f"{name} {value:.1f} s" for name, value in {"start-up": start_up, **seconds}.items())
    report(f"Time {total:.1f} s: {parts}")
    report(f"Files in {folder}{os.sep}")


@contextlib.contextmanager
def _write_errors(folder):
    """Turn an OSError of the run folder into a RunError."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"cannot write to the run folder {folder}: {error.strerror or error}; what is in it is whole"
        ) from None


def _training_loop(trainer, losses, batches, settings, folder, report, signals):
    """The loop with its progress bar and checkpoints; appends to `losses` and returns the seconds it took.

    When it is cut short loss.csv is written too, and a checkpoint unless training diverged.
    """
    from tqdm import tqdm

    bar = tqdm(total=settings.steps, initial=len(losses), unit="step", disable=not sys.stderr.isatty(), leave=False,
               file=sys.stderr)  # fmt: skip

    def on_step(_, loss):
        losses.append(loss)
        k = len(losses)
        if k % settings.print_every == 0 or k == settings.steps:
            recent = losses[-((k - 1) % settings.print_every + 1) :]
            with bar.external_write_mode():
                report(f"Step {k}, Loss {np.mean(recent):.4f}")
        if k % 20 == 0:
            bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
        bar.update()
        if k % settings.checkpoint_every == 0 or k == settings.steps:
            _checkpoint(folder, trainer, losses, settings)
        signals.check()

    try:
        with bar:
            start = time.perf_counter()
            first = next(batches)  # after --resume it can take a while: Ctrl-C does not wait for it
            waited = time.perf_counter() - start
            signals.wait = True
            batches = itertools.chain([first], batches)
            seconds = train(trainer, batches, settings.steps - len(losses), on_step)[1]
            return {**seconds, "batches": seconds["batches"] + waited}
    except RunError:
        raise
    except (KeyboardInterrupt, RuntimeError):  # a RuntimeError is the worker's
        if trainer.k == trainer.adam.k == len(losses):  # not so where a second Ctrl-C broke into a step
            _checkpoint(folder, trainer, losses, settings)
            save_params(folder / "params.safetensors", trainer.config, trainer.params)
        signals.check()  # SIGTERM to all of the group ends the worker as well
        raise
    finally:
        signals.wait = False
        write_losses(folder, losses)


def _checkpoint(folder, trainer, losses, settings):
    try:
        save_checkpoint(folder, trainer, losses, asdict(settings))
    except ValueError as error:
        raise RunError(f"{error}; the checkpoint before it is in {folder}{os.sep}") from None


def write_losses(folder, losses):
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
