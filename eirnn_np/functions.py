"""The elementwise functions of the equations, each beside its derivative: the table of docs/derivation.md, section 2.

Imports numpy alone. The kernels have the same functions in plain arithmetic.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Function = Callable[[np.ndarray], np.ndarray]


class Activation(NamedTuple):
    """r = f(x), and f'(x) as a function of the *rate*, so that nothing is stored for it."""

    rate: Function
    slope: Function


class Constraint(NamedTuple):
    """How theta becomes a weight, W = g(theta) M; g'(theta) at its kinks is 0."""

    weight: Function
    slope: Function


def _softplus(x):
    return np.logaddexp(x.dtype.type(0), x)


ACTIVATIONS = {
    "relu": Activation(lambda x: np.maximum(x, 0), lambda r: r > 0),
    "softplus": Activation(_softplus, lambda r: -np.expm1(-r)),
    "tanh": Activation(np.tanh, lambda r: 1 - r * r),
    "retanh": Activation(lambda x: np.tanh(np.maximum(x, 0)), lambda r: (1 - r * r) * (r > 0)),
    "sigmoid": Activation(lambda x: np.exp(-_softplus(-x)), lambda r: r * (1 - r)),
}
CONSTRAINTS = {
    "abs": Constraint(np.abs, np.sign),
    "rectify": Constraint(lambda theta: np.maximum(theta, 0), lambda theta: theta > 0),
    "free": Constraint(lambda theta: theta, np.ones_like),
}
