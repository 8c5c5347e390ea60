"""Training as the paper has it: clipped SGD with Omega, a validation every 10,000 trials, until the task is learnt."""

import contextlib
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..checks import check_integer
from ..optimisers import SGD
from ..runs.folder import locked, remove_leftovers
from ..runs.lines import terminal, unstoppable
from ..runs.signals import Signals, Stopped
from ..trainer import Trainer
from .description import Task
from .folder import Plan, State, folder_of, made, read_state, write_state, write_tables
from .responses import respond
from .tasks import task as named

CLIP, LARGEST = 1.0, 1e10  # of the norm of the gradient: where it is clipped, and from where on the safeguard acts
SHRINK = 0.02  # the gradient of theta_rec in the safeguard, as a share of theta_rec
OUT = "paper"


def train(
    task: str | Task, plan: Plan | None = None, out: str | Path | None = None, *, threads: int | None = None,
    report: Callable[[str], object] = print, checkpoint_every: int | None = None,
    on_step: Callable[[int, float], object] | None = None,
) -> Path:  # fmt: skip
    """Train one network until its task is learnt, in a run folder; what was begun there goes on, to the bit.

    Parameters
    ----------
    task : str or Task
    plan : Plan, optional
        Seed, Omega's factor, and so on. Of a training that goes on `max_trials` alone may differ.
    out : path, optional
        The run folder; by default paper/NAME/seed-000.
    threads : int, optional
        As for Trainer; the result does not depend on it.
    report : callable
        Takes a line.
    checkpoint_every : int, optional
        Updates between two checkpoints, besides that of every validation.
    on_step : callable, optional
        Called as ``on_step(k, loss)`` after each update, in place of the progress bar. A `Stopped` that it raises ends
        the training as Ctrl-C does, with a checkpoint.

    Returns
    -------
    Path
        The run folder; see folder.py.

    Raises
    ------
    ValueError
        The task is unknown, or an argument is wrong.
    RunError
        The folder cannot be made, or holds what is not this training.
    """
    task, plan, report = named(task), Plan() if plan is None else plan, unstoppable(report)
    folder = folder_of(OUT, task.name, plan) if out is None else Path(out)
    if checkpoint_every is not None:
        check_integer("checkpoint_every", checkpoint_every, 1)
    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(Signals())
        stack.enter_context(made(folder))
        stack.enter_context(locked(folder, report))
        remove_leftovers(folder)
        training = Training(task, plan, read_state(folder, task, plan, report), threads)
        try:
            if not training.over:
                _loop(training, folder, signals, checkpoint_every, on_step)
        except KeyboardInterrupt as stopped:
            text = f"{folder}: stopped after {training.trials:,} trials; the same command goes on from there"
            raise Stopped(text, getattr(stopped, "status", 130)) from None
        report(f"{folder}: {training.outcome()}")
    return folder


class Training:
    """One training as an object: the network, what its validations found, the best parameters. Touches no file."""

    def __init__(self, task: Task, plan: Plan, state: State | None = None, threads: int | None = None) -> None:
        self.task, self.plan, self.config = task, plan, plan.config(task)
        if state is None:
            params = task.init_params(plan.seed, plan.dtype)
            state = State(params, params.copy(), np.zeros(0), [], 0.0, 0)
        self.losses, self.checks, self.best = list(map(float, state.losses)), list(state.checks), state.best
        self.seconds, self.cpu_seconds, self.safeguards = state.seconds, state.cpu_seconds, state.safeguards
        self.updates_per_check = max(1, task.check_every // task.batch_size)
        optimiser = SGD(plan.lr, CLIP, LARGEST)
        self.trainer = Trainer(self.config, state.params, seed=plan.seed, threads=threads, optimiser=optimiser,
                               freeze=task.freeze)  # fmt: skip
        self.trainer.warns = False  # `step` sees to what is refused
        optimiser.k = len(self.losses)
        self._shrinking: tuple | None = None  # what the safeguard has decided: (k, its number, theta_rec, loss)

    @property
    def k(self) -> int:
        """Updates so far, the safeguard's among them."""
        self._settle()
        return len(self.losses)

    @property
    def trials(self) -> int:
        return self.k * self.task.batch_size

    @property
    def history(self) -> list[float]:
        """The performance at each check."""
        return [check["performance"] for check in self.checks]

    @property
    def due(self) -> bool:
        """Is it time for a check that was not made yet?"""
        return len(self.checks) * self.updates_per_check <= self.k

    @property
    def over(self) -> bool:
        enough = self.trials >= self.plan.max_trials
        return not self.due and (enough or self.task.stop.reached(self.history))

    def step(self) -> float:
        """One update on the next batch; returns its loss.

        Where the gradient's norm is not finite or above 1e10 the safeguard acts: theta_rec loses 2 % of the learning
        rate.
        """
        k = self.k
        loss = self.trainer.step(*self.task.batch(self.plan.seed, k))
        if self.trainer.k == k:  # the step was refused: nothing has changed
            params = self.trainer.params
            shrunk = params.w_rec * params.dtype.type(1 - self.plan.lr * SHRINK)
            self._shrinking = k, self.safeguards + 1, shrunk, float(np.nan_to_num(loss, nan=np.inf))
        self._settle()
        return loss

    def _settle(self):
        """Write down the update that has happened: a Ctrl-C in a loop of one's own may come before that, or within."""
        if self._shrinking is not None:  # each line may be done twice
            k, self.safeguards, self.trainer.params.w_rec, loss = self._shrinking
            self.trainer.optimiser.k = k + 1
            if len(self.losses) == k:
                self.losses.append(loss)
            self._shrinking = None
        elif self.trainer.k > len(self.losses):
            self.losses.append(self.trainer.last_loss)

    def check(self) -> dict:
        """Validate on fresh trials, with noise; keeps the parameters if their loss is the lowest so far."""
        shown = self.task.validation(self.plan.seed, len(self.checks))
        did = respond(self.config, self.trainer.params, shown, self.plan.seed, check=len(self.checks))
        found = self.task.performance(shown, did.outputs)
        if not self.checks or found["loss"] < min(check["loss"] for check in self.checks):
            self.best = self.trainer.params.copy()
        self.checks.append({"trials": self.trials, "loss": found["loss"], "rmse": found["rmse"],
                            "performance": found[self.task.stop.measure]})  # fmt: skip
        return self.checks[-1]

    def state(self) -> State:
        self._settle()
        return State(self.trainer.params, self.best, np.array(self.losses), self.checks, self.seconds, self.safeguards,
                     self.cpu_seconds)  # fmt: skip

    def result(self) -> dict:
        """What came of it, as plain values; seconds are those of training and validation, start-up apart.

        cpu_seconds are those of all threads, None if part of the training did not count them.
        """
        stop, checks = self.task.stop, self.checks
        return {
            "task": self.task.name, "figure": self.task.figure, "seed": self.plan.seed, "omega": self.plan.omega,
            "units": self.config.n_hidden, "reached": stop.reached(self.history), "trials": self.trials,
            "measure": stop.measure, "criterion": stop.value(self.history) if checks else None, "target": stop.target,
            "best": min(checks, key=lambda check: check["loss"]) if checks else None, "seconds": round(self.seconds, 1),
            "cpu_seconds": None if self.cpu_seconds is None else round(self.cpu_seconds, 1),
            "safeguards": self.safeguards,
        }  # fmt: skip

    def outcome(self) -> str:
        """The result in one line."""
        stop = self.task.stop
        how = "learnt" if stop.reached(self.history) else "NOT learnt"
        return (
            f"{self.task.name}, seed {self.plan.seed}: {how} after {self.trials:,} trials ({self.seconds:.0f} s); "
            f"{stop.measure.replace('_', ' ')} {stop.value(self.history):.3g}, target {stop.target:g}"
        )


def _loop(training, folder, signals, checkpoint_every, told):
    """Train to the end, with a progress bar; the folder is whole at every moment."""
    from tqdm import tqdm

    task, plan = training.task, training.plan
    since = np.array([time.perf_counter(), time.process_time()])

    def save():
        nonlocal since
        now = np.array([time.perf_counter(), time.process_time()])
        wall, cpu = (now - since).tolist()
        training.seconds, since = training.seconds + wall, now
        if training.cpu_seconds is not None:
            training.cpu_seconds += cpu
        state = training.state()
        write_state(folder, task, plan, state)
        write_tables(folder, task, plan, state, training.result())

    def show():
        last = f"{training.history[-1]:.3g}" if training.checks else "-"
        value = f"{task.stop.value(training.history):.3g}" if training.checks else "-"
        bar.set_postfix_str(f"{last} at the last check, {value} of {task.stop.target:g}", refresh=False)

    training.trainer.compile(len(task.batch(plan.seed, training.k)[0]), task.batch_size)
    since = np.array([time.perf_counter(), time.process_time()])
    silent = told is not None or not terminal()
    bar = tqdm(total=plan.max_trials, initial=training.trials, unit=" trials", unit_scale=True, leave=False,
               desc=f"{task.name} seed {plan.seed}", disable=silent, file=sys.stderr,
               bar_format="{desc}: {n_fmt} of at most {total_fmt} trials [{elapsed}, {rate_fmt}{postfix}]")  # fmt: skip
    try:
        with bar:
            if not training.k:
                save()  # a folder with a config.json has a checkpoint
            show()
            signals.wait = True
            while not training.over:
                if training.due:
                    training.check()
                    save()
                    show()
                else:
                    loss = training.step()
                    bar.update(task.batch_size)
                    if told is not None:
                        told(training.k, loss)
                    if checkpoint_every and training.k % checkpoint_every == 0:
                        save()
                signals.check()
            save()  # trials may have come after the last check
    except KeyboardInterrupt:
        save()
        raise
    finally:
        signals.wait = False
