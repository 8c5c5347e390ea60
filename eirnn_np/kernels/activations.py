"""Rates of other activations than relu, and their derivatives as functions of the rate, in plain float64 arithmetic.

The table is that of docs/derivation.md, section 2. No libm: the same bits on every CPU.
"""

import numpy as np

from ..jit import inlined, kernel
from .arrays import RETANH, SIGMOID, SOFTPLUS, TANH
from .losses import exp_, log_


@inlined
def expm1_(x):
    """exp(x) - 1 for x <= 0, to 1e-15 of its value or so: 2^k (exp(y) - 1) + (2^k - 1), |y| <= ln(2) / 2."""
    x = -700.0 if x < -700.0 else x  # a NaN stays one
    shifted = x * 1.4426950408889634 + 6755399441055744.0  # the integer k in the low bits
    k = shifted - 6755399441055744.0
    y = (x - k * 0.693147180369123816490) - k * 1.90821492927058770002e-10
    q = 1.0 / 479001600.0
    q = q * y + 1.0 / 39916800.0
    q = q * y + 1.0 / 3628800.0
    q = q * y + 1.0 / 362880.0
    q = q * y + 1.0 / 40320.0
    q = q * y + 1.0 / 5040.0
    q = q * y + 1.0 / 720.0
    q = q * y + 1.0 / 120.0
    q = q * y + 1.0 / 24.0
    q = q * y + 1.0 / 6.0
    q = q * y + 0.5
    q = q * y + 1.0
    bits = np.int64(np.int64(np.float64(shifted).view(np.int64) + np.int64(1023)) << np.int64(52))
    power = np.int64(bits).view(np.float64)
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
