"""What no network can learn is refused: periods without a time step, labels of one value, inputs without the answer."""

import numpy as np

N_CHECKED = 64  # trials that are looked at


def check_periods(task, timing, dt):
    """ValueError for a period of positive length that gets no step of `dt` ms; a length of 0 is taken as meant."""
    for name, spec in timing.items():
        shortest = _shortest(spec)
        if shortest is not None and 0 < shortest < dt:
            raise ValueError(
                f"task {task}: the period {name!r} lasts {shortest:g} ms and gets no time step of dt {dt:g} ms: take a "
                f"smaller dt, or another timing for it"
            )


def _shortest(spec):
    """The shortest length above 0 that a timing can give, ms; None where it may be 0 or is not known."""
    if isinstance(spec, bool):
        return None
    if isinstance(spec, int | float | np.number):
        return float(spec)
    if not isinstance(spec, list | tuple | np.ndarray) or not len(spec):
        return getattr(spec, "vmin", None)  # neurogym's TruncExp; other functions are not looked into
    if isinstance(spec[0], str):
        if len(spec) != 2:
            return None
        kind, spec = spec
        if kind == "constant":
            return _shortest(spec)
        if kind == "uniform":
            return _shortest(spec[0]) if len(spec) == 2 else None
        if kind == "truncated_exponential":
            return _shortest(spec[1]) if isinstance(spec, list | tuple) and len(spec) > 1 else None
        if kind != "choice" or isinstance(spec, int | float):
            return None
    lengths = [float(v) for v in spec if isinstance(v, int | float | np.number) and v > 0]
    return min(lengths, default=None)


def check_learnable(task, trials):
    """ValueError where trials without noise leave nothing to learn. trials: (inputs (T, I), labels (T,)) each."""
    if len({int(label) for _, labels in trials for label in np.unique(labels)}) < 2:
        label = int(trials[0][1][0])
        raise ValueError(f"task {task}: every label of {len(trials)} trials is {label}: there is nothing to learn")
    alike: dict = {}
    for inputs, labels in trials:
        seen = alike.setdefault(len(labels), (set(), set()))
        seen[0].add(np.ascontiguousarray(inputs).tobytes())
        seen[1].add(np.ascontiguousarray(labels).tobytes())
    several = [(len(inputs), len(labels)) for inputs, labels in alike.values() if len(labels) > 1]
    if several and all(inputs == 1 for inputs, _ in several):
        raise ValueError(
            f"task {task}: the inputs do not depend on the answer: trials of equal length have different labels, but the "
            "same inputs (noise apart)"
        )
