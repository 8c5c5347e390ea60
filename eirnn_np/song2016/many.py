"""Networks of the paper side by side: one process and one core each, one progress bar, one line a network."""

import contextlib
import sys
from pathlib import Path

from ..runs.crew import Together, in_turn, tick
from ..runs.lines import terminal, unstoppable
from ..runs.signals import Stopped
from ..trainer import RunError
from .evaluation import evaluation_of
from .folder import Plan, read_run
from .tasks import task as named
from .training import Training, train


def train_many(trainings, workers, threads, evaluate, report=print):
    """`train` for each (task, plan, folder), `workers` of them at a time; their bytes are those of `train` alone.

    Parameters
    ----------
    trainings : list of (Task, Plan, Path)
        Tasks by their names alone travel to another process: those of `TASKS`.
    workers, threads : int
        Processes; Numba threads of each.
    evaluate : bool
        Measure each network, once it is trained, where that has not been done.
    report : callable
        Takes a line.

    Raises
    ------
    RunError
        A training failed, or its worker died twice. All others have been carried out, and are in their folders.
    Stopped
        Ctrl-C or SIGTERM: every network has stopped within a step, with a checkpoint.
    """
    from tqdm import tqdm

    report, n, failed = unstoppable(report), len(trainings), []
    jobs = [(task.name, plan, str(folder), threads, evaluate) for task, plan, folder in trainings]
    steps = sum(-(-plan.max_trials // task.batch_size) for task, plan, _ in trainings)
    bar = tqdm(total=steps, unit=" updates", unit_scale=True, leave=False, file=sys.stderr, disable=not terminal(),
               desc=f"0 of {n} networks", bar_format="{desc} |{bar}| {rate_noinv_fmt}, {remaining} left at most"
    )  # fmt: skip
    done = short = 0

    def beat(taken):
        bar.n = min(taken + short, steps)
        bar.set_description_str(f"{done} of {n} networks", refresh=False)
        bar.refresh()

    try:
        with bar, Together(workers, threads, _warm, (sorted({job[:1] for job in jobs}),)) as crew:
            for outcome in crew.each(_train, jobs, beat):
                done += 1
                if outcome.error is None:
                    line, few = outcome.value
                    short += few
                else:
                    line = f"{outcome.job[2]}: {' '.join(str(outcome.error).split()) or type(outcome.error).__name__}"
                    failed.append(line)
                with bar.external_write_mode():
                    report(f"{done}/{n} {line}")
    except Stopped as stopped:
        text = f"stopped: {done} of {n} networks are trained; the same command goes on from there"
        raise Stopped(text, stopped.status) from None
    if failed:
        raise RunError(failed[0] + (f" (and {len(failed) - 1} more failed)" if len(failed) > 1 else ""))


def _warm(tasks):
    """At the start of a worker: load, or let one worker compile, what the tasks need."""
    with in_turn():
        for (name,) in tasks:
            Training(named(name), Plan(), threads=1).trainer.compile(2, 1)


def _train(name, plan, folder, threads, evaluate):
    """In a worker: (line for a person, how many updates fewer than the most it took)."""
    lines: list = []
    taken, task = 0, named(name)

    def on_step(k, loss):
        nonlocal taken
        taken += 1
        tick()

    train(task, plan, Path(folder), threads=threads, report=lines.append, on_step=on_step)
    if evaluate:
        with contextlib.suppress(RunError):  # said when it is drawn
            evaluation_of(read_run(folder), lambda line: None)
    return lines[-1], -(-plan.max_trials // task.batch_size) - taken
