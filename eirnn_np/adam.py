"""Adam on one flat buffer. Imports numpy and the kernel; state is data: two arrays and a count."""

import numpy as np

from . import kernels, threads
from .params import Params, finite_float


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
        self.lr, self.eps = finite_float("lr", lr), finite_float("eps", eps)
        if self.lr <= 0:
            raise ValueError(f"lr must be a positive number, found {lr!r}")
        if not isinstance(betas, tuple | list | np.ndarray) or np.shape(betas) != (2,):
            raise ValueError(f"betas must be two numbers in [0, 1), found {betas!r}")
        self.betas = finite_float("betas", betas[0]), finite_float("betas", betas[1])
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must be two numbers in [0, 1), found {betas!r}")
        if self.eps < 0:
            raise ValueError(f"eps must be 0 or more, found {eps!r}")
        self.m = self.v = None
        self.k = 0

    def update(self, params: Params, grads: Params) -> None:
        """One step, in place on ``params.flat``; `params` and `grads` are Params of the same shapes."""
        p, g = params.flat, grads.flat
        if p.shape != g.shape or p.dtype != g.dtype:
            raise ValueError(f"grads must be {p.shape} {p.dtype} like params, found {g.shape} {g.dtype}")
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
