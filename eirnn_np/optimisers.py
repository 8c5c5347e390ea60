"""Adam and SGD on one flat buffer. The state of each is data: arrays and counts."""

import copy
import math
from collections.abc import Callable

import numpy as np

from . import kernels, threads
from .checks import check_float, check_integer
from .kernels import GRADIENT_LIMITS
from .params import Params

Rate = float | Callable[[int], float]  # a learning rate, or one for each step k, counted from 0


class Optimiser:
    """What Adam and SGD have in common: a rate, the norm of the gradient, counts; and the update by the kernels.

    Parameters
    ----------
    lr : float or callable
        Learning rate, above 0; a schedule is a function of k, the updates done before.
    clip : float
        Largest norm of the gradient over all numbers that are trained, above 0; a longer one is scaled to it. Infinity
        for no clipping.
    largest : float
        A gradient with a larger norm is refused, as one that is not finite. Infinity for none.

    Attributes
    ----------
    k, clipped : int
        Updates done, and those whose gradient was clipped. They change in the same compiled call as the parameters: an
        interruption finds an update done and counted, or neither.
    """

    m: np.ndarray | None
    v: np.ndarray | None
    _kind: int
    _settings: tuple[str, ...]  # names of what `settings` holds
    _prepared = None, None, None  # parameters, what is frozen, and the update of the last call; until a setting changes

    def __init__(self, lr: Rate, clip: float, largest: float) -> None:
        self.lr = lr
        self.clip = check_float("clip", clip, above=0, infinite=True)
        self.largest = check_float("largest", largest, above=0, infinite=True)
        self.m = self.v = None
        self._done = np.zeros(3)  # updates, the loss of the last where a compiled step has taken it, and those clipped

    @property
    def lr(self) -> float:
        """The learning rate of the next update."""
        return self.schedule(self.k) if callable(self.schedule) else self.schedule

    @lr.setter
    def lr(self, value: Rate) -> None:
        self.schedule = value if callable(value) else check_float("lr", value, above=0)

    @property
    def k(self) -> int:
        return int(self._done[0])

    @k.setter
    def k(self, value: int) -> None:
        self._done[0] = check_integer("k", value, 0, 2**53)

    @property
    def clipped(self) -> int:
        return int(self._done[2])

    @clipped.setter
    def clipped(self, value: int) -> None:
        self._done[2] = check_integer("clipped", value, 0, 2**53)

    @property
    def by_norm(self) -> bool:
        """Does the norm of the gradient decide on an update?"""
        return min(self.clip, self.largest) < math.inf

    def settings(self) -> dict:
        """What it was made of, but for the rate: plain values, infinity as None."""
        return {name: _plain(getattr(self, name)) for name in self._settings}

    def update(self, params: Params, grads: Params, frozen: np.ndarray | None = None) -> None:
        """One step, in place on ``params.flat``; `params` and `grads` are Params of the same shapes.

        Numbers whose `frozen` (n,) uint8 is not 0 keep bytes and moments; their gradient becomes 0. Raises
        FloatingPointError for a gradient that is not finite or too large (nothing has changed then), and where a
        parameter is not finite after the update.
        """
        p, g = _buffers(params, grads)
        update = self.next_update(params, frozen)
        _check_gradient(grads, self._limit(g.dtype), update.frozen)
        before = self.k
        with threads.launch():
            kernels.apply_update(p, update, g, np.empty((-(-p.size // kernels.NORM_BLOCK), 2)))
        if self.k > before:
            return
        if (bad := _not_finite(params)) is None:
            raise FloatingPointError(f"the norm of the gradient is above {self.largest:g}; nothing has changed")
        raise FloatingPointError(f"a parameter is not finite after update {before + 1}: {bad}")

    def _limit(self, dtype):
        """The largest entry of a gradient that is taken."""
        return math.inf

    def _moments(self, p):
        """Both moments, for parameters p, and the two betas and eps."""
        raise NotImplementedError

    def __setattr__(self, name, value):
        self.__dict__.pop("_prepared", None)  # before: a Ctrl-C may come between the two
        super().__setattr__(name, tuple(value) if isinstance(value, list) else value)

    def __getstate__(self):  # for copies and pickles: the parameters are not its own
        return {name: value for name, value in self.__dict__.items() if name != "_prepared"}

    def next_update(self, params, frozen=None):
        """The next update, as the kernels take it; where it is that of the last call, it is at hand."""
        p = params.flat
        if p is self._prepared[0] and frozen is self._prepared[1]:
            return self._prepared[2]
        m, v, beta1, beta2, eps = self._moments(p)
        for a in (m, v):
            if a.size and (a.shape != p.shape or a.dtype != p.dtype or not a.flags.carray):
                raise ValueError(f"this Adam holds moments for {a.shape} {a.dtype}, found {p.shape} {p.dtype}")
        lr = check_float(f"lr at step {self.k}", self.lr, above=0) if callable(self.schedule) else self.schedule
        if lr < 1e-45 and not p.dtype.type(lr):
            raise ValueError(f"lr must be above 0 in {p.dtype}, found {lr}")
        still = np.zeros(0, np.uint8) if frozen is None else frozen
        update = kernels.Update(self._kind, m, v, still, self._done, lr, beta1, beta2, eps, self.clip, self.largest)
        if not callable(self.schedule):
            self.__dict__["_prepared"] = p, frozen, update
        return update

    def __copy__(self):  # with moments of its own
        return copy.deepcopy(self)


class Adam(Optimiser):
    """Adam, Algorithm 1 of Kingma & Ba (2015, arXiv:1412.6980), as torch.optim.Adam computes it.

    Bias-corrected moments, eps added outside the square root:

        m = beta1 m + (1 - beta1) g            v = beta2 v + (1 - beta2) g**2
        p = p - lr / (1 - beta1**k) * m / (sqrt(v / (1 - beta2**k)) + eps)

    with the gradient g clipped before, where that is asked for.

    Parameters
    ----------
    lr : float or callable
        Learning rate, above 0, or a function of k, the updates done before.
    betas : (float, float)
        Decay of the first and the second moment, in [0, 1).
    eps : float
        Added to the root of the second moment, above 0: a gradient that stays 0 would be divided by it.
    clip, largest : float
        Norm to which a longer gradient is scaled, and norm above which it is refused. (S1)

    Attributes
    ----------
    m, v : (n,) arrays
        The moments, None before the first update.
    k, clipped : int
        Updates done, and those whose gradient was clipped.
    """

    _kind, _settings = kernels.ADAM, ("betas", "eps", "clip", "largest")

    def __init__(
        self, lr: Rate = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, clip: float = math.inf,
        largest: float = math.inf,
    ) -> None:  # fmt: skip
        super().__init__(lr, clip, largest)
        self.eps = check_float("eps", eps, above=0)
        if not isinstance(betas, tuple | list | np.ndarray) or np.shape(betas) != (2,):
            raise ValueError(f"betas must be two numbers, each at least 0 and below 1, found {betas!r}")
        beta1, beta2 = (check_float(f"betas[{i}]", beta, low=0, below=1) for i, beta in enumerate(betas))
        self.betas = beta1, beta2

    def _limit(self, dtype):
        return GRADIENT_LIMITS[dtype.name]

    def _moments(self, p):
        if not p.dtype.type(self.eps):
            raise ValueError(f"eps must be above 0 in {p.dtype}, found {self.eps}")
        if self.m is None:
            self.m, self.v = np.zeros_like(p), np.zeros_like(p)
        return self.m, self.v, *self.betas, self.eps


class SGD(Optimiser):
    """p = p - lr g min(1, clip / |g|), |g| the norm over all parameters (Pascanu, Mikolov & Bengio 2013). (S1)

    Parameters
    ----------
    lr : float or callable
        Learning rate, above 0, or a function of k, the updates done before.
    clip : float
        Largest norm of the gradient, above 0; infinity for no clipping.
    largest : float
        Norm above which a gradient is refused.

    Attributes
    ----------
    clipped, k : int
        Updates whose gradient was clipped, and updates done.
    """

    _kind, _settings = kernels.SGD, ("clip", "largest")

    def __init__(self, lr: Rate, clip: float = 1.0, largest: float = math.inf) -> None:
        super().__init__(lr, clip, largest)

    def _moments(self, p):
        nothing = np.zeros(0, p.dtype)
        return nothing, nothing, 0.0, 0.0, 1.0


def _plain(value):
    """A setting as JSON has it."""
    return None if value == math.inf else list(value) if isinstance(value, tuple) else value


def _buffers(params, grads):
    """The flat buffers of both; ValueError unless they are alike."""
    p, g = params.flat, grads.flat
    if p.shape != g.shape or p.dtype != g.dtype:
        raise ValueError(f"grads must be {p.shape} {p.dtype} like params, found {g.shape} {g.dtype}")
    return p, g


def _check_gradient(grads, limit, frozen):
    """FloatingPointError unless all entries that are not frozen are finite and at most `limit`."""
    if frozen.size:
        grads.flat[frozen != 0] = 0
    bad = {name: g for name, g in grads.items() if not (np.isfinite(g) & (np.abs(g) <= limit)).all()}
    if bad:
        what = "finite" if limit == math.inf else f"finite and at most {limit:g}"
        raise FloatingPointError(f"the gradient of {', '.join(bad)} must be {what}; nothing has changed")


def _not_finite(params):
    """The names of the parameters that are not finite, or None."""
    return ", ".join(name for name, values in params.items() if not np.isfinite(values).all()) or None
