"""Rates of other activations than relu, and their derivatives as functions of the rate, in plain float64 arithmetic.

The table is that of docs/derivation.md, section 2. No libm: the same bits on every CPU.
"""

import numpy as np

from ..jit import inlined, kernel
from .arrays import RETANH, SIGMOID, SOFTPLUS, TANH
from .losses import exp_, exp_parts, log_


@inlined
def expm1_(x):
    """exp(x) - 1 for x <= 0, to 1e-15 of its value or so."""
    power, y, q = exp_parts(x)
    return power * (q * y) + (power - 1.0)


@inlined
def tanh_(x):
    """tanh(x) for x >= 0: -expm1(-2x) / (2 + expm1(-2x))."""
    e = expm1_(-2.0 * x)
    return -e / (2.0 + e)


@inlined
def softplus_(x):
    """log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|)); what 1 + a loses of a small a is added again."""
    a = exp_(-abs(x))
    u = 1.0 + a
    return (x if x > 0.0 else 0.0) + (log_(u) + (a - (u - 1.0)) / u)


@kernel(late=True)
def activate(rates, states, activation):
    """rates[i] = f(states[i]), both flat.  (F4)"""
    if activation == SOFTPLUS:
        for i in range(states.size):
            rates[i] = softplus_(np.float64(states[i]))
    elif activation == SIGMOID:
        for i in range(states.size):
            x = np.float64(states[i])
            a = exp_(-abs(x))
            rates[i] = (1.0 if x >= 0.0 else a) / (1.0 + a)
    elif activation == TANH:
        for i in range(states.size):
            x = np.float64(states[i])
            r = tanh_(abs(x))
            rates[i] = r if x >= 0.0 else -r
    elif activation == RETANH:
        for i in range(states.size):
            x = np.float64(states[i])
            r = tanh_(abs(x))
            rates[i] = 0.0 if x <= 0.0 else r
    else:
        for i in range(states.size):
            x = states[i]
            rates[i] = states.dtype.type(0) if x <= 0 else x


@kernel(late=True)
def slopes(slope, rates, activation):
    """slope[i] = f'(x_i) from rates[i] = f(x_i), both flat.  (B4)"""
    zero, one = slope.dtype.type(0), slope.dtype.type(1)
    if activation == SOFTPLUS:
        for i in range(rates.size):
            r = np.float64(rates[i])
            slope[i] = -expm1_(-(r if r > 0.0 else 0.0))
    elif activation == SIGMOID:
        for i in range(rates.size):
            slope[i] = rates[i] * (one - rates[i])
    elif activation == TANH:
        for i in range(rates.size):
            slope[i] = one - rates[i] * rates[i]
    elif activation == RETANH:
        for i in range(rates.size):
            slope[i] = one - rates[i] * rates[i] if rates[i] > zero else zero
    else:
        for i in range(rates.size):
            slope[i] = one if rates[i] > zero else zero
