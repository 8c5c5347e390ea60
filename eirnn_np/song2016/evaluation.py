"""evaluation.json of a network of the paper: `measure` of its best parameters, kept beside them."""

import json
from collections.abc import Callable
from pathlib import Path

from ..checks import check_integer
from ..files import read_text, write_json
from .folder import PaperRun, read_run
from .measures import DT, measure
from .names import EVALUATION
from .tasks import task as named


def evaluate_run(run: PaperRun, seed: int | None = None, repeats: int | None = None, dt: float = DT) -> dict:
    """`measure` of a run's best parameters; `seed` of its trials, the run's own by default."""
    return measure(named(run.name), run.params, run.plan.seed if seed is None else seed, dt=dt, repeats=repeats)


def evaluate_and_keep(folder: str | Path, seed: int | None = None, trials: int | None = None) -> dict:
    """`evaluate_run` of a run folder, on about so many test trials; its evaluation.json is rewritten."""
    run = read_run(folder)
    repeats = None
    if trials is not None:
        task = named(run.name)
        repeats = max(1, check_integer("trials", trials, 1) // len(task.test_conditions or task.conditions))
    found = evaluate_run(run, seed, repeats)
    write_json(run.folder / EVALUATION, found)
    return found


def evaluation_of(run: PaperRun, report: Callable[[str], object] = print) -> dict:
    """The run's evaluation.json, made where it is not there or older than the parameters."""
    path, best = run.folder / EVALUATION, run.folder / "best.safetensors"
    if path.exists() and path.stat().st_mtime >= best.stat().st_mtime:
        try:
            return json.loads(read_text(path))
        except ValueError:
            pass
    report(f"{run.folder}: measuring at dt {DT:g} ms")
    found = evaluate_run(run)
    write_json(path, found)
    return found
