"""Stochastic gradient descent with the norm of the gradient clipped, beside Adam. Imports numpy and params."""

import numpy as np

from .params import Params


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
        for name, value in (("lr", lr), ("clip", clip)):
            if not (isinstance(value, int | float) and value > 0):
                raise ValueError(f"{name} must be a positive number, found {value!r}")
        self.lr, self.clip = float(lr), float(clip)
        self.clipped = self.k = 0

    def update(self, params: Params, grads: Params) -> None:
        """One step, in place on ``params.flat``; `params` and `grads` are Params of the same shapes."""
        p, g = params.flat, grads.flat
        if p.shape != g.shape or p.dtype != g.dtype:
            raise ValueError(f"grads must be {p.shape} {p.dtype} like params, found {g.shape} {g.dtype}")
        norm = float(np.linalg.norm(g.astype(np.float64)))
        self.k += 1
        self.clipped += norm > self.clip
        p -= p.dtype.type(self.lr * min(1.0, self.clip / norm if norm else 1.0)) * g  # (S1)
