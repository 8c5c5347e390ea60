"""Training runs: `run` starts one in a new folder, `resume` goes on with one.

Prints through the `report` function that it is handed.
"""

import contextlib
import itertools
import json
import os
import sys
import time
from array import array
from dataclasses import asdict, replace

import numpy as np

from .. import tasks
from ..algorithms import make_trainer
from ..checkpoint import read_checkpoint, save_checkpoint
from ..checks import check_path
from ..config import ModelConfig
from ..files import read_text, remove_leftovers, write_json
from ..params import save_params
from ..threads import WORKQUEUE_ADVICE, layer
from ..trainer import RunError, train
from .evaluation import draw_run, evaluate_run, performance_lines, write_evaluation
from .folder import environment, locked, new_run_folder, start_params, write_config, write_losses
from .lines import terminal, unstoppable
from .settings import FREE, Settings, model_config, plain_freeze
from .signals import Signals, Stopped
from .validation import OUTCOME, Checks


class SettingError(ValueError):
    """An option contradicts the run that it was given with.

    `name` is the option's and `text` the message, which has ``{}`` in the name's place: a command may have another.
    """

    def __init__(self, name, text):
        super().__init__(text.format(name))
        self.name, self.text = name, text


def run(settings=None, out=None, figures=True, report=print, on_step=None, **network):
    """Start a run in a new folder: train, evaluate, draw, and leave all that it takes to repeat it or to go on.

    `resume` goes on with such a folder; `train` is the loop alone, on a trainer and batches of yours.

    Parameters
    ----------
    settings : Settings, optional
        The tutorial's by default.
    out : path, optional
        The run folder; must hold no run. By default the next free runs/run-NNN.
    figures : bool
        Draw them at the end.
    report : callable
        Takes a line. One that cannot be printed does not end the run.
    on_step : callable, optional
        Called as ``on_step(k, loss)`` after each step, in place of the progress bar. A `Stopped` that it raises ends
        the run as Ctrl-C does, with a checkpoint.
    **network
        Fields of ModelConfig; n_in and n_out are the task's, and dt serves both.

    Returns
    -------
    folder : Path

    Raises
    ------
    ValueError
        A setting is wrong, or does not fit the task.
    RunError
        The folder cannot be made or holds a run already, or training diverged.
    """
    started, report = time.perf_counter(), unstoppable(report)
    config, settings = model_config(Settings() if settings is None else settings, **network)
    params, said = start_params(config, settings)
    trainer = make_trainer(config, params, settings.gradient(), seed=settings.seed, threads=settings.threads,
                           optimiser=settings.make_optimiser(), freeze=settings.frozen())  # fmt: skip
    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(Signals())
        batches = stack.enter_context(_batches(settings, 0))
        folder = stack.enter_context(new_run_folder(out, report))
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
        for line in [*said, *_cut_periods(settings, config)]:
            report(line)
        _finish(trainer, array("d"), batches, settings, folder, figures, report, signals, started, on_step)
    return folder


def resume(folder, figures=True, report=print, on_step=None, **options):
    """Go on with the run of a folder where its last checkpoint stands; it ends as if it had never stopped, to the bit.

    Parameters
    ----------
    folder : path
        A run folder, of a run that was stopped, killed, or is finished.
    figures : bool
        Draw them at the end.
    report : callable
        Takes a line. One that cannot be printed does not end the run.
    on_step : callable, optional
        As for `run`.
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
    started, folder, report = time.perf_counter(), check_path("folder", folder), unstoppable(report)
    _check_plain(options)
    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(Signals())
        try:
            stack.enter_context(locked(folder, report))
            saved = read_checkpoint(folder, report)
            settings = _settings_of(folder, saved.config, saved.info, report)
        except FileNotFoundError:
            if not folder.exists():
                raise RunError(f"there is no run folder {folder}") from None
            raise RunError(f"{folder} holds no run to go on with: it has no checkpoint") from None
        except OSError as error:
            raise RunError(f"cannot read the run {folder}: {error.strerror or error}") from None
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise RunError(f"the run {folder} cannot go on: {' '.join(str(error).split())}") from None
        before, settings = settings, _changed(settings, saved.config, options)
        trainer = saved.trainer(settings.gradient(), options.get("threads"))
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
        _finish(trainer, array("d", saved.losses), batches, settings, folder, figures, report, signals, started,
                on_step)  # fmt: skip
    return folder


def _settings_of(folder, config, info, report):
    """The settings of a run that goes on: config.json's, which must fit the checkpoint's (`info`)."""
    settings = Settings(**info)
    if not (folder / "config.json").exists():  # it was killed between writing the two
        return settings
    content = json.loads(read_text(folder / "config.json"))
    found = Settings(**content["training"])
    kept = {name: getattr(settings, name) for name in FREE}
    if ModelConfig.from_dict(content["model"], **config.masks) != config or replace(found, **kept) != settings:
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
        found = {**config.to_dict(), **asdict(config.penalties), "n_exc": config.n_exc, **asdict(settings)}
        if name not in found:
            raise SettingError(name, "{} is no option of a run")
        has, wanted = found[name], json.loads(json.dumps(value))
        if name == "freeze":
            wanted = plain_freeze(wanted)
        same = {**has, **wanted} == has if name in ("env_kwargs", "penalties") else wanted == has
        if not same:
            has, value = (str(v).replace("{", "{{").replace("}", "}}") for v in (has, value))
            raise SettingError(
                name, f"{{}} is {has} in this run and cannot become {value}: leave it out, or start a new run"
            )
    return replace(settings, **{name: options[name] for name in FREE if name in options})


def _cut_periods(settings, config):
    """A line that says which periods lose a part of a time step, if any do."""
    found = tasks.cut_periods(settings.task, settings.env_kwargs).items()
    text = ", ".join(f"{period} {got:.6g} of {asked:.6g} ms" for period, (asked, got) in found)
    return [f"  at dt {config.dt:g} ms periods end with a whole time step: {text}"] if text else []


@contextlib.contextmanager
def _batches(settings, start):
    """The run's stream of batches from batch `start` on; a worker of it ends with the context."""
    batches = tasks.make_batches(settings.task, settings.batch_size, settings.seq_len, settings.training_stream,
                                 settings.env_kwargs, settings.source, worker=True, start=start,
                                 class_weights=settings.class_weights)  # fmt: skip
    try:
        yield batches
    finally:
        getattr(batches, "close", lambda: None)()


def _finish(trainer, losses, batches, settings, folder, figures, report, signals, started, on_step):
    """All that is left of a run: the steps after len(losses), the evaluation, the figures."""
    config, params = trainer.config, trainer.params
    seconds = {"batches": 0.0, "training": 0.0}
    try:
        if trainer.threads > 1 and layer() == "workqueue":
            report(WORKQUEUE_ADVICE)
        trainer.compile(settings.seq_len, settings.batch_size)
        checks = None if settings.until is None else Checks(settings, config, params, folder, trainer.k)
        start_up = time.perf_counter() - started
        if trainer.k < settings.steps:
            seconds = _training_loop(trainer, losses, batches, settings, folder, report, signals, on_step, checks)
        else:
            write_losses(folder, losses)
        if checks is not None:
            if checks.due(trainer.k):
                _check(checks, trainer, losses, settings, folder, report)
            params = checks.best_params
            write_json(folder / OUTCOME, checks.outcome())
        save_params(folder / "params.safetensors", config, params)
        start = time.perf_counter()
        evaluation, result = evaluate_run(settings, config, params)
        write_evaluation(folder, result)
        seconds["evaluation"] = time.perf_counter() - start
        for line in performance_lines(result):
            report(line)
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


def _training_loop(trainer, losses, batches, settings, folder, report, signals, told, checks):
    """The loop with its progress bar and checkpoints; appends to `losses` and returns the seconds it took.

    When it is cut short loss.csv is written too, and a checkpoint unless training diverged.
    """
    from tqdm import tqdm

    bar = tqdm(total=settings.steps, initial=len(losses), unit="step", leave=False, file=sys.stderr,
               disable=told is not None or not terminal())  # fmt: skip

    def on_step(_, loss):
        losses.append(loss)
        k = len(losses)
        if k % settings.print_every == 0 or k == settings.steps:
            recent = losses[-((k - 1) % settings.print_every + 1) :]
            with bar.external_write_mode():
                report(f"Step {k}, Loss {np.mean(recent):.4f}")
        if not bar.disable:
            if k % 20 == 0:
                bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
            bar.update()
        if k % settings.checkpoint_every == 0 or k == settings.steps:
            _checkpoint(folder, trainer, losses, settings)
        signals.check()
        if told is not None:
            told(k, loss)

    try:
        with bar:
            start = time.perf_counter()
            first = next(batches)  # after --resume it can take a while: Ctrl-C does not wait for it
            waited = time.perf_counter() - start
            signals.wait = True
            batches = itertools.chain([first], batches)
            seconds = {"batches": waited, "training": 0.0}
            while True:
                if checks is not None and checks.due(len(losses)):
                    start = time.perf_counter()
                    _check(checks, trainer, losses, settings, folder, report)
                    seconds["checks"] = seconds.get("checks", 0.0) + time.perf_counter() - start
                if len(losses) == settings.steps or (checks is not None and checks.met):
                    return seconds
                n = settings.steps - len(losses) if checks is None else checks.left(len(losses))
                for name, value in train(trainer, batches, n, on_step)[1].items():
                    seconds[name] += value
    except RunError:
        raise
    except (KeyboardInterrupt, RuntimeError):  # a RuntimeError is the worker's
        if len(losses) == trainer.k - 1:  # a second Ctrl-C came between the step and this list
            losses.append(trainer.last_loss)
        if len(losses) == trainer.k:
            _checkpoint(folder, trainer, losses, settings)
            save_params(folder / "params.safetensors", trainer.config, trainer.params)
        signals.check()  # SIGTERM to all of the group ends the worker as well
        raise
    finally:
        signals.wait = False
        write_losses(folder, losses)


def _check(checks, trainer, losses, settings, folder, report):
    """Is it enough? A new best is kept, behind a checkpoint of its own."""
    if checks.look(trainer.params, losses):
        _checkpoint(folder, trainer, losses, settings)
        checks.write_best()
    if checks.met:
        report(f"Criterion {settings.until} met at step {len(losses)}: {checks.rows[-1][1]:.4f}")


def _checkpoint(folder, trainer, losses, settings):
    try:
        save_checkpoint(folder, trainer, losses, asdict(settings))
    except ValueError as error:
        raise RunError(f"{error}; the checkpoint before it is in {folder}{os.sep}") from None
