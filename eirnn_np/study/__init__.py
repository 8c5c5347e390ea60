"""Studies of the algorithm: each is a function that returns numbers, and a figure made from them (docs/study.md).

    eirnn-np study NAME [RUN]                    numbers.json and figure.png in a folder, a table on the terminal

    from eirnn_np import study
    numbers = study.measure("truncation", seeds=3)

Nothing else of the package needs this; matplotlib and the rest are imported on use. A study module has ``STEPS``, its
training steps by default (None: it trains nothing), ``measure(basis, seeds, steps, work)``, ``draw(numbers)`` and
``tables(numbers)``, a list of (head, rows) whose cells are text: for the terminal and for docs/study.md. `common.Work`
carries its parts out, on all cores.
"""

import contextlib
import importlib
import json
import os
from pathlib import Path

SEEDS = 5  # by default
OF_A_RUN = ("gradient-flow", "fixed-points")  # look at the trained weights of a run
STUDIES = {
    "gradient-flow": "what the gradient does through time: norms, singular values, eigenvalues",
    "constraints": "learning with and without Dale's principle, zero diagonal, noise, E-only read-out",
    "truncation": "truncated BPTT: angle and norm of its gradient, learning curves",
    "rtrl": "real-time recurrent learning: equality with BPTT, cost in time and memory",
    "local-rules": "e-prop and RFLO: angle to the gradient through training, learning curves",
    "fixed-points": "where trained networks would stand still: fixed points, their stability, how slow they are",
    "optimiser": "Adam and clipped SGD, float32 and float64, two biases and one",
}


def measure(name, run=None, seeds=None, steps=None, workers=None):
    """Carry out a study; returns its numbers as plain values.

    Networks are trained in float32, whatever the dtype of a run, except where the study compares dtypes; gradients
    and trained weights are looked at in float64. What diverged is None.

    Parameters
    ----------
    name : str
        One of `STUDIES`.
    run : path, optional
        A run folder: its network, task, batch sizes and learning rate take the place of the tutorial's;
        "gradient-flow" looks at its trained weights.
    seeds : int, optional
        How many networks to train: 0, 1000, 2000 ..., so that no two share a stream of trials; 5 by default. Slow
        algorithms train the first `common.SEEDS_COSTLY` of them at most; what needs no training is measured over
        more of them. Not for "gradient-flow" of a run, which has its own.
    steps : int, optional
        Training steps of each network; the study has its own default. Not for "gradient-flow" of a run nor for
        "rtrl", which train nothing.
    workers : int, optional
        Processes that train side by side, one thread each; by default a core each. The numbers do not depend on it.
        "rtrl", which measures time, works alone.

    Raises
    ------
    ValueError
        For an unknown name, fewer than one seed or ten steps, or either where it has no effect.
    RunError
        The run cannot be read, or a network diverged of which nothing is left to look at.
    """
    return _measured(workers, *_checked(name, run, seeds, steps))


def carry_out(name, run=None, seeds=None, steps=None, out=None, workers=None):
    """`measure` and `write`; the folder is made before the work begins, so that no result is without a place.

    Parameters
    ----------
    name, run, seeds, steps, workers
        As for `measure`.
    out : path, optional
        A folder that is empty or not there; by default the next free studies/NAME-NNN.

    Returns
    -------
    numbers : dict
    paths : list
        Of the files written.

    Raises
    ------
    ValueError
        As `measure`; then no folder is made.
    RunError
        As `measure`, and for a folder that cannot be made or written, or is not empty.
    """
    checked = _checked(name, run, seeds, steps)
    folder = _new_folder(name, out)
    try:
        numbers = _measured(workers, *checked)
    except BaseException:  # nothing was written: leave no empty folder
        with contextlib.suppress(OSError):
            folder.rmdir()
        raise
    return numbers, write(numbers, folder)


def _checked(name, run, seeds, steps):
    """(name, basis, seeds, steps), with the defaults in place; ValueError for what is wrong or has no effect."""
    from ..checks import check_integer
    from .common import basis_of

    default = _module(name).STEPS
    of_a_run = name in OF_A_RUN and run is not None
    if of_a_run and seeds is not None:
        raise ValueError(f"seeds have no effect: {name} of a run looks at that run's one seed; leave them out")
    if steps is not None and (of_a_run or default is None):
        raise ValueError(f"steps have no effect: {name}{' of a run' * of_a_run} trains nothing; leave them out")
    seeds = (1 if of_a_run else SEEDS) if seeds is None else check_integer("seeds", seeds, 1)
    steps = (None if of_a_run else default) if steps is None else check_integer("steps", steps, 10)
    return name, basis_of(run), seeds, steps


def _measured(workers, name, basis, seeds, steps):
    from . import common

    about = {"study": name, "seeds": seeds, "steps": steps, "network": basis.config.to_dict(), "task": basis.task}
    with common.Work(workers) as work:
        return common.plain({**about, **_module(name).measure(basis, common.seeds(seeds), steps, work)})


def _new_folder(name, out):
    """An empty folder that can be written, or RunError."""
    from ..checks import check_path
    from ..runs import RunError, next_run_folder

    try:
        folder = next_run_folder("studies", name) if out is None else check_path("out", out)
        folder.mkdir(parents=True, exist_ok=True)
        empty = not any(folder.iterdir())
    except FileExistsError:
        empty = False
    except OSError as error:
        raise RunError(f"cannot make the folder {out or 'studies'}: {error.strerror}") from None
    if not empty:
        raise RunError(f"{folder} is not an empty folder; choose another with --out")
    if not os.access(folder, os.W_OK):
        raise RunError(f"cannot write to the folder {folder}")
    return folder


def table(numbers, markdown=False):
    """The numbers of a study as tables: text for a terminal, or the Markdown of docs/study.md."""
    from .common import markdown_table, text_table

    render = markdown_table if markdown else text_table
    return "\n\n".join("\n".join(render(*each)) for each in _module(numbers["study"]).tables(numbers))


def figure(numbers):
    """The figure of a study, a matplotlib Figure."""
    import matplotlib as mpl

    from ..figures import STYLE

    with mpl.rc_context(STYLE):
        return _module(numbers["study"]).draw(numbers)


def write(numbers, folder):
    """numbers.json and figure.png in `folder`, which is made; returns their paths."""
    import matplotlib as mpl

    from ..figures import STYLE, save_figure
    from ..files import write_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / "numbers.json", json.dumps(numbers, allow_nan=False) + "\n")
    with mpl.rc_context(STYLE):
        save_figure(folder / "figure.png", figure(numbers))
    return [folder / "numbers.json", folder / "figure.png"]


def _module(name):
    if name not in STUDIES:
        raise ValueError(f"study must be one of {', '.join(STUDIES)}, found {name!r}")
    return importlib.import_module(f".{name.replace('-', '_')}", __package__)
