"""Networks of the paper, as a sweep trains them: tasks named song2016/rdm_dense and so on.

Each is the run folder that `eirnn-np paper` makes, its evaluation among its files. See ordinary.py for what the
names here are; song2016 is imported when there is something to train.
"""

import contextlib
import json
from dataclasses import asdict

from ..files import read_text
from .ordinary import of_losses

PREFIX = "song2016/"  # of the tasks' names
NAME, LOSS = "a network of the paper", "Loss (squared error)"
FILES = ("config.json", "result.json", "validation.csv", "loss.csv", "params.safetensors", "best.safetensors",
         "checkpoint.safetensors", "checkpoint.previous.safetensors", "evaluation.json")  # fmt: skip
LOST = ("holds no training that can go on",)


def option_names():
    """{name: default}: those of a plan of the paper, and how many threads."""
    from ..song2016.folder import Plan

    return {"task": "", "threads": None, **asdict(Plan())}


def split(options):
    """(Task, Plan, threads) of the options of one network."""
    from ..checks import check_integer
    from ..song2016.folder import Plan
    from ..song2016.tasks import task

    rest = dict(options)
    name, threads = rest.pop("task"), rest.pop("threads", None)
    if threads is not None:
        check_integer("threads", threads, 1)
    return task(name.removeprefix(PREFIX)), Plan(**rest), threads


def steps(options):
    """How many updates a network takes, at the most."""
    task, plan, _ = split(options)
    return -(-plan.max_trials // task.batch_size)


def check_task(options, seen):
    """A task of the paper is what it is."""


def compared(options):
    """None: no task of the paper is neurogym's."""


def warm(options):
    """Load, or compile, what networks of these options need."""
    from ..song2016.training import Training

    task, plan, _ = split({**options, "seed": 0})
    Training(task, plan, threads=1).trainer.compile(2, 1)


def train(folder, options, on_step):
    """Train, or go on, until the task is learnt; then measure the best parameters."""
    from ..song2016.evaluation import evaluation_of
    from ..song2016.folder import read_run
    from ..song2016.training import train as until_learnt

    task, plan, threads = split(options)
    until_learnt(task, plan, folder, threads=threads or 1, report=_silent, on_step=on_step)
    evaluation_of(read_run(folder), _silent)


def _silent(_):
    pass


def measures(folder):
    """The columns of a row that a run folder can fill, as far as it can."""
    from ..analysis.behaviour import wilson_interval
    from ..song2016.tasks import task

    found: dict = of_losses(folder)
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        result = json.loads(read_text(folder / "result.json"))
        size = task(result["task"]).batch_size
        found["best"], found["best_step"] = result["best"]["performance"], result["best"]["trials"] // size
        if result["reached"]:
            found["steps_to_criterion"], found["trials_to_criterion"] = result["trials"] // size, result["trials"]
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        evaluation = json.loads(read_text(folder / "evaluation.json"))
        share = evaluation["performance"]["percent_correct"] / 100
        found["accuracy"], n = share, evaluation["trials"]
        found["accuracy_low"], found["accuracy_high"] = wilson_interval(round(share * n), n)
    return found
