"""One step of a network without noise at constant input, as a map of the state, and its derivative.

    F(x) = K f(x) + (1 + m) x + c

with K = alpha W_rec, m = -alpha, c = alpha (b_rec + b_in + W_in u) in "song2016". In "brainpy" the leak acts on the
rate: K = alpha W_rec + diag(1 - alpha), m = -1, no b_in. All in float64. Shapes: P states, H units, I inputs.
"""

from dataclasses import dataclass

import numpy as np

from ..checks import check_array
from ..config import ModelConfig
from ..functions import ACTIVATIONS, Activation
from ..params import Params, check_params, effective_weights
from ..reference import effective_inputs
from . import kernels


@dataclass
class Field:
    """F of a network, in numbers: K (H, H), m (H,), c (H,), and the activation."""

    k: np.ndarray
    m: np.ndarray
    c: np.ndarray
    name: str  # of the activation

    @classmethod
    def of(cls, config: ModelConfig, params: Params, inputs=None) -> "Field":
        """The map at constant `inputs` (I,); None is 0, for what does not depend on them."""
        check_params(config, params)
        params = params.astype("float64")
        inputs = np.zeros(config.n_in) if inputs is None else check_array("inputs", inputs, (config.n_in,), np.float64)
        u = effective_inputs(config, inputs, None)
        alpha = config.alpha
        k = alpha[:, None] * effective_weights(config, params)
        c = alpha * (params.b_rec + effective_weights(config, params, "w_in") @ u)
        if config.dynamics == "brainpy":
            return cls(k + np.diag(1 - alpha), np.full(len(alpha), -1.0), c, config.activation)
        return cls(k, -alpha, c + alpha * params.b_in, config.activation)

    @property
    def function(self) -> Activation:
        """f, and f' as a function of the rate."""
        return ACTIVATIONS[self.name]

    @property
    def number(self) -> int:
        """The activation as the kernels know it."""
        return kernels.NAMES.index(self.name)

    def __call__(self, x):
        """F(x) for states (..., H)."""
        return self.function.rate(x) @ self.k.T + (1 + self.m) * x + self.c

    def jacobian(self, x):
        """dF/dx for states (..., H): (..., H, H), [to, from]."""
        slope = np.asarray(self.function.slope(self.function.rate(x)), np.float64)
        return self.k * slope[..., None, :] + np.diag(1 + self.m)  # (J1)


def step(config: ModelConfig, params: Params, inputs: np.ndarray, x: np.ndarray) -> np.ndarray:
    """F(x): the states after one time step without noise at constant `inputs` (I,); x (..., H), float64."""
    return Field.of(config, params, inputs)(check_states(config, x))


def jacobian(config: ModelConfig, params: Params, x: np.ndarray) -> np.ndarray:
    """The derivative of one noiseless step with respect to the state it starts from. (J1)

    It does not depend on the inputs, which enter as a sum.

    Parameters
    ----------
    config, params
        The network.
    x : (H,) or (P, H) array
        States x, not rates.

    Returns
    -------
    (H, H) or (P, H, H) float64
        ``[i, j]`` is d F_i / d x_j. At a kink of ReLU, x = 0, the derivative from below.

    Raises
    ------
    ValueError
        Of another shape, or not finite.
    """
    return Field.of(config, params).jacobian(check_states(config, x))


def check_states(config, x, name="x"):
    """States (H,) or (P, H) as float64."""
    return check_array(name, x, (None,) * (np.ndim(x) > 1) + (config.n_hidden,), np.float64)
