"""The page of one network of the paper, as `eirnn-np report` writes it: task, learning, figures, connectivity."""

import os
from html import escape
from pathlib import Path

import matplotlib as mpl
import numpy as np

from .. import figures
from ..files import write_file
from ..params import effective_weights
from ..runs.folder import environment
from ..runs.report import flat, page, picture, table
from ..trainer import RunError
from . import paper
from .evaluation import evaluation_of
from .folder import read_run
from .tasks import task as named

CAPTIONS = {
    "learning": "Performance at each validation, and the target (dashed).",
    "psychometric": "Choices against the stimulus; lines are fitted cumulative Gaussians.",
    "units": "Mean rate of the most selective excitatory units, from stimulus onset.",
    "response": "The same units, aligned to the response.",
    "durations": "Correct choices against the time that the stimulus is shown.",
    "times": "Mean reaction time against the coherence.",
    "structures": "Recurrent weights among the selective units, sorted by d'. Columns send, rows receive.",
    "space": "Condition means on the axes of choice, motion and colour.",
    "regression": "Regression weights of the units.",
    "multisensory": "Choices against the rate, and the precision of both senses against that of each.",
    "pairs": "Correct choices for each pair of frequencies.",
    "tuning": "Slopes of the rates against f1 at two times.",
    "eye": "Eye position in time, and its path.",
    "components": "Noiseless trials on the first two principal components.",
    "connectivity_start": "Effective recurrent weights before training, in the order of the trained network.",
    "connectivity": "Effective recurrent weights of the best parameters. Columns send, rows receive.",
    "weights": "Distribution of the effective recurrent weights; connections of weight 0 are left out.",
}


def write_report(run: str | os.PathLike, path: str | os.PathLike | None = None) -> Path:
    """Write the page of a run folder of the paper; report.html in it by default. RunError if it cannot be."""
    found = read_run(Path(run))
    path = found.folder / "report.html" if path is None else Path(path)
    try:
        write_file(path, build_report(found))
    except OSError as error:
        raise RunError(f"cannot write the report {path}: {error.strerror or error}") from None
    return path


def build_report(run) -> str:
    """The page, as text."""
    task, found = named(run.name), evaluation_of(run, lambda line: None)
    entry = {"result": run.result, "checks": run.checks, "evaluation": found}
    config, E = run.config, run.config.n_exc
    start = task.init_params(run.plan.seed, run.params.dtype)
    before, after = (effective_weights(config, params) for params in (start, run.params))
    d_prime = found.get("structure", {}).get("d_prime")
    order = _order(np.array(d_prime), E) if d_prime else np.arange(config.n_hidden)
    by = "d′" if d_prime else "number"
    with mpl.rc_context({**figures.STYLE, "svg.fonttype": "none", "svg.hashsalt": "eirnn-np"}):
        drawn = paper.figures_of({run.name: [entry]}, {run.name: run})
        drawn |= {
            "connectivity_start": figures.connectivity(before, order, E, by),
            "connectivity": figures.connectivity(after, order, E, by),
            "weights": figures.weight_distributions(before, after, E),
        }
        pictures = {key: picture(key, figure, CAPTIONS[key.rpartition("_")[2] if key not in CAPTIONS else key])
                    for key, figure in drawn.items()}  # fmt: skip
    structure = ("connectivity_start", "connectivity", "weights", "structures")
    behaviour = [pictures[key] for key in drawn if key not in (*structure, "learning")]
    result = run.result
    sections = {
        "Task": f"<p>{escape(task.title.capitalize())} (figure {escape(task.figure)} of the paper).</p>"
        + _epochs(task),
        "Training": f"<p>{escape(_outcome(result))}</p>" + pictures["learning"],
        "Performance": "".join(f"<p>{escape(line.strip())}</p>" for line in paper.lines(found)) + _grid(behaviour),
        "Connectivity": _grid([pictures[key] for key in structure if key in pictures]),
        "Settings": table(["network", "value"], [[k, v] for k, v in config.to_dict().items() if v is not None])
        + table(["this report was made with", "value"], [[k, v] for k, v in flat(environment()).items()]),
    }
    lead = f"{config.n_hidden} units ({E} E), trained as Song, Yang & Wang (2016) train them; seed {run.plan.seed}."
    return page(f"{run.folder.resolve().name}: {run.name}, {config.n_hidden} units", lead, sections)


def _order(d, n_exc):
    """All units, E before I, each by d'."""
    return np.concatenate([np.argsort(-d[:n_exc], kind="stable"), n_exc + np.argsort(-d[n_exc:], kind="stable")])


def _epochs(task):
    def text(duration):
        return f"{duration:g}" if isinstance(duration, int | float) else str(duration)

    rows = [[e.name, text(e.duration), text(e.duration if e.test is None else e.test), "yes" if e.scored else "no"]
            for e in task.epochs]  # fmt: skip
    return table(["epoch", "ms in training", "ms in tests", "in the loss"], rows)


def _outcome(result):
    how = "Learnt" if result["reached"] else "Not learnt"
    return (
        f"{how} after {result['trials']:,} trials ({result['seconds']:.0f} s): {result['measure'].replace('_', ' ')} "
        f"{result['criterion']:.3g}, target {result['target']:g}. Figures and measures are of the best "
        f"parameters, those of the lowest validation loss ({result['best']['loss']:.4g}, after "
        f"{result['best']['trials']:,.0f} trials)."
    )


def _grid(pictures):
    return f'<div class="grid">{"".join(pictures)}</div>' if len(pictures) > 1 else "".join(pictures)
