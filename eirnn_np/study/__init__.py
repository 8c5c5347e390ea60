"""Studies of the algorithm: each is a function that returns numbers, and a figure made from them (docs/study.md).

    eirnn-np study NAME [RUN]                    numbers.json and figure.png in a folder, a table on the terminal

    from eirnn_np import study
    numbers = study.measure("truncation", seeds=3)

Nothing else of the package needs this; matplotlib and the rest are imported on use. A study module has ``STEPS``, its
training steps by default, ``measure(basis, seeds, steps, bar)``, ``draw(numbers)`` and ``table(numbers)``.
"""

import importlib
import json
from pathlib import Path

SEEDS = 5  # by default
STUDIES = {
    "gradient-flow": "what the gradient does through time: norms, singular values, eigenvalues",
    "constraints": "learning with and without Dale's principle, zero diagonal, noise, E-only read-out",
    "truncation": "truncated BPTT: angle and norm of its gradient, learning curves",
    "rtrl": "real-time recurrent learning: equality with BPTT, cost in time and memory",
    "local-rules": "e-prop and RFLO: angle to the gradient through training, learning curves",
    "optimiser": "Adam and clipped SGD, float32 and float64, two biases and one",
}


def measure(name, run=None, seeds=SEEDS, steps=None):
    """Carry out a study; returns its numbers as plain values.

    Parameters
    ----------
    name : str
        One of `STUDIES`.
    run : path, optional
        A run folder: its network, task, batch sizes and learning rate take the place of the tutorial's;
        "gradient-flow" looks at its trained weights.
    seeds : int
        How many: 0, 1000, 2000 ..., so that no two share a stream of trials.
    steps : int, optional
        Training steps of each network; the study has its own default.

    Raises
    ------
    ValueError
        For an unknown name, or fewer than one seed or ten steps.
    """
    from .common import basis_of, plain, progress

    module = _module(name)
    steps = module.STEPS if steps is None else steps
    for what, value, least in (("seeds", seeds, 1), ("steps", steps, 10)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"{what} must be an integer of at least {least}, found {value!r}")
    basis = basis_of(run)
    with progress() as bar:
        numbers = module.measure(basis, [1000 * i for i in range(seeds)], steps, bar)
    about = {"study": name, "seeds": seeds, "steps": steps, "network": basis.config.to_dict(), "task": basis.task}
    return plain({**about, **numbers})


def table(numbers):
    """The numbers of a study in a few lines of text."""
    return "\n".join(_module(numbers["study"]).table(numbers))


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
    from ..params import write_file

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
