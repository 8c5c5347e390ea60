"""Adam and SGD on one flat buffer. The state of each is data: arrays and counts."""

import copy

import numpy as np

from . import kernels, threads
from .checks import check_float
from .params import Params


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
        Added to the root of the second moment, 0 or more.

    Attributes
    ----------
    m, v : (n,) arrays
        The moments, None before the first update.
    k : int
        Updates done.
    """

    def __init__(self, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8) -> None:
        self.lr, self.eps = check_float("lr", lr, above=0), check_float("eps", eps, low=0)
        if not isinstance(betas, tuple | list | np.ndarray) or np.shape(betas) != (2,):
            raise ValueError(f"betas must be two numbers, each at least 0 and below 1, found {betas!r}")
        beta1, beta2 = (check_float(f"betas[{i}]", beta, low=0, below=1) for i, beta in enumerate(betas))
        self.betas = beta1, beta2
        self.m = self.v = None
        self.k = 0

    def update(self, params: Params, grads: Params) -> None:
        """One step, in place on ``params.flat``; `params` and `grads` are Params of the same shapes."""
        p, g = _buffers(params, grads)
        update, context = self.next_update(params), threads.launch()
        self.k += 1  # before the kernel: where an interruption leaves p one update ahead, the count says so
        with context:
            kernels.adam(p, update, g)

    def next_update(self, params):
        """The next update, as the kernels take it."""
        p = params.flat
        if self.m is None:
            self.m, self.v = np.zeros_like(p), np.zeros_like(p)
        update = kernels.Update(self.m, self.v, self.k + 1, self.lr, *self.betas, self.eps)
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
        self.clipped = self.k = 0

    def update(self, params: Params, grads: Params) -> None:
        """One step, in place on ``params.flat``; `params` and `grads` are Params of the same shapes."""
        p, g = _buffers(params, grads)
        norm = float(np.linalg.norm(g.astype(np.float64)))
        self.k += 1
        self.clipped += norm > self.clip
        p -= p.dtype.type(self.lr * min(1.0, self.clip / norm if norm else 1.0)) * g  # (S1)


def _buffers(params, grads):
    """The flat buffers of both; ValueError unless they are alike."""
    p, g = params.flat, grads.flat
    if p.shape != g.shape or p.dtype != g.dtype:
        raise ValueError(f"grads must be {p.shape} {p.dtype} like params, found {g.shape} {g.dtype}")
    return p, g
