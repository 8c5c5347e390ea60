"""Adam and SGD on one flat buffer. The state of each is data: arrays and counts."""

import copy
import math

import numpy as np

from . import kernels, threads
from .checks import check_float
from .params import Params

# The largest entry of a gradient that Adam takes: the square of a larger one overflows in its second moment.
GRADIENT_LIMITS = {"float32": 1e15, "float64": 1e150}


class Adam:
    """Adam, Algorithm 1 of Kingma & Ba (2015, arXiv:1412.6980), as torch.optim.Adam computes it.

    Bias-corrected moments, eps added outside the square root:

        m = beta1 m + (1 - beta1) g            v = beta2 v + (1 - beta2) g**2
        p = p - lr / (1 - beta1**k) * m / (sqrt(v / (1 - beta2**k)) + eps)

    Parameters
    ----------
    lr : float
        Learning rate, above 0.
    betas : (float, float)
        Decay of the first and the second moment, in [0, 1).
    eps : float
        Added to the root of the second moment, above 0: a gradient that stays 0 would be divided by it.

    Attributes
    ----------
    m, v : (n,) arrays
        The moments, None before the first update.
    k : int
        Updates done. It changes in the same compiled call as the parameters: an interruption finds an update done and
        counted, or neither.
    """

    def __init__(self, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8) -> None:
        self.lr, self.eps = check_float("lr", lr, above=0), check_float("eps", eps, above=0)
        if not isinstance(betas, tuple | list | np.ndarray) or np.shape(betas) != (2,):
            raise ValueError(f"betas must be two numbers, each at least 0 and below 1, found {betas!r}")
        beta1, beta2 = (check_float(f"betas[{i}]", beta, low=0, below=1) for i, beta in enumerate(betas))
        self.betas = beta1, beta2
        self.m = self.v = None
        self._done = np.zeros(2)  # updates, and the loss of the last where a compiled step has taken it

    @property
    def k(self) -> int:
        return int(self._done[0])

    @k.setter
    def k(self, value: int) -> None:
        self._done[0] = value

    def update(self, params: Params, grads: Params) -> None:
        """One step, in place on ``params.flat``; `params` and `grads` are Params of the same shapes.

        Raises FloatingPointError for a gradient that is not finite, or so large that its square overflows (nothing has
        changed then), and where a parameter is not finite after the update.
        """
        p, g = _buffers(params, grads)
        _check_gradient(grads, GRADIENT_LIMITS[g.dtype.name])
        before = self.k
        with threads.launch():
            kernels.adam(p, self.next_update(params), g)
        if self.k == before:
            raise FloatingPointError(f"a parameter is not finite after update {before + 1}: {_not_finite(params)}")

    def next_update(self, params):
        """The next update, as the kernels take it."""
        p = params.flat
        if not p.dtype.type(self.eps):
            raise ValueError(f"eps must be above 0 in {p.dtype}, found {self.eps}")
        if self.m is None:
            self.m, self.v = np.zeros_like(p), np.zeros_like(p)
        update = kernels.Update(self.m, self.v, self._done, self.lr, *self.betas, self.eps)
        for a in update[:2]:
            if a.shape != p.shape or a.dtype != p.dtype or not a.flags.carray:
                raise ValueError(f"this Adam holds moments for {a.shape} {a.dtype}, found {p.shape} {p.dtype}")
        return update

    def __copy__(self) -> "Adam":  # with moments of its own
        return copy.deepcopy(self)


class SGD:
    """p = p - lr g min(1, clip / |g|), |g| the norm over all parameters (Pascanu, Mikolov & Bengio 2013). (S1)

    Parameters
    ----------
    lr : float
        Learning rate, above 0.
    clip : float
        Largest norm of the gradient, above 0; infinity for no clipping.

    Attributes
    ----------
    clipped, k : int
        Updates whose gradient was clipped, and updates done.
    """

    def __init__(self, lr: float, clip: float = 1.0) -> None:
        self.lr, self.clip = check_float("lr", lr, above=0), check_float("clip", clip, above=0, infinite=True)
        self._done = np.zeros(2)  # updates, and those clipped

    @property
    def k(self) -> int:
        return int(self._done[0])

    @property
    def clipped(self) -> int:
        return int(self._done[1])

    def update(self, params: Params, grads: Params) -> None:
        """One step, in place on ``params.flat``; `params` and `grads` are Params of the same shapes."""
        p, g = _buffers(params, grads)
        _check_gradient(grads, math.inf)
        largest = float(np.abs(g).max())
        # Of the scaled gradient, for the square of a large one overflows.
        norm = float(np.linalg.norm(g.astype(np.float64) / largest)) if largest else 0.0
        clipped = norm > self.clip / largest if largest else False
        before, rate = self.k, self.lr * (self.clip / largest / norm if clipped else 1.0)  # (S1)
        kernels.sgd(p, self._done, g, rate, clipped)
        if self.k == before:
            raise FloatingPointError(f"update {before + 1} would make a parameter infinite; nothing has changed")

    def __copy__(self) -> "SGD":
        return copy.deepcopy(self)


def _buffers(params, grads):
    """The flat buffers of both; ValueError unless they are alike."""
    p, g = params.flat, grads.flat
    if p.shape != g.shape or p.dtype != g.dtype:
        raise ValueError(f"grads must be {p.shape} {p.dtype} like params, found {g.shape} {g.dtype}")
    return p, g


def _check_gradient(grads, limit):
    """FloatingPointError unless all entries are finite and at most `limit`."""
    bad = {name: g for name, g in grads.items() if not (np.isfinite(g) & (np.abs(g) <= limit)).all()}
    if bad:
        what = "finite" if limit == math.inf else f"finite and at most {limit:g}"
        raise FloatingPointError(f"the gradient of {', '.join(bad)} must be {what}; nothing has changed")


def _not_finite(params):
    """The names of the parameters that are not finite."""
    return ", ".join(name for name, values in params.items() if not np.isfinite(values).all()) or "the moments"
