"""The time step that an array of inputs was drawn at. Batches and trials of a task know theirs; a network has its own.

A loop of the user's own hands over arrays alone: `drawn_at` notes the dt of an array, `check_dt` refuses it, and any
view of it, for a network of another dt. A copy is an array of which nothing is known.
"""

import weakref

import numpy as np

_drawn: dict[int, tuple[weakref.ref, float]] = {}


def drawn_at(dt: float | None, inputs: np.ndarray) -> np.ndarray:
    """Note that `inputs` were drawn at `dt` ms, if that is known; returns them."""
    if dt is None:
        return inputs
    array = _owner(inputs)
    key = id(array)
    _drawn[key] = weakref.ref(array, lambda _: _drawn.pop(key, None)), float(dt)
    return inputs


def check_dt(dt: float, inputs) -> None:
    """ValueError if `inputs` are known to have been drawn at another time step than `dt` ms."""
    array = _owner(inputs)
    known = _drawn.get(id(array))
    if known is not None and known[0]() is array and known[1] != dt:
        raise ValueError(
            f"dt must be the same for network and inputs, found {dt:g} and {known[1]:g} ms: draw them by "
            f'env_kwargs={{"dt": {dt:g}}}, or pass inputs.copy() if the difference is meant'
        )


def _owner(array):
    """The array that a view is a part of."""
    base = getattr(array, "base", None)
    return base if isinstance(base, np.ndarray) else array
