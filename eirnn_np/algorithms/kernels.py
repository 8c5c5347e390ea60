"""Numba kernels of truncated BPTT and of the eligibility traces; equations.py has the same in plain NumPy.

Simple loops that LLVM vectorises, on arrays that the caller has checked. Each element of an array has one writer and
each sum one order, so results do not depend on the number of threads.
Shapes as in equations.py: s_t = [r_{t-1}, u_t, 1] is (T, B, S), S = H + I + 1; dv (H, S).
"""

import numpy as np
from numba import prange

from ..jit import entry, ieee, kernel, restore


@kernel
def sweep_trial(dx, dr, own, slope, alpha, w_rec, b, steps, brainpy):
    """dx[:, b] after `steps` sweeps of (T1), in place; dx (T+1, B, H) starts at 0, dr (H,) is work.

    Times run upwards, so dx_{t+1} is still that of the sweep before. Sweep k leaves the last k times as they are:
    nothing reaches them from further than the end.
    """
    T, H, zero = slope.shape[0], alpha.size, dx.dtype.type(0)
    for k in range(min(steps, T)):
        for t in range(T - k):
            for j in range(H):
                dr[j] = own[t, b, j]  # (B2) (B14)
            if k > 0:
                for i in range(H):
                    dc = alpha[i] * dx[t + 1, b, i]  # (B5)
                    if dc != zero:
                        for j in range(H):
                            dr[j] += dc * w_rec[i, j]  # (B3)
            for j in range(H):
                leak = (1 - alpha[j]) * dx[t + 1, b, j]
                if brainpy:
                    dx[t, b, j] = (dr[j] + leak) * slope[t, b, j]  # (T1)
                else:
                    dx[t, b, j] = dr[j] * slope[t, b, j] + leak  # (T1)


@entry(parallel=True)
def truncated_adjoints(dx, dr, own, slope, alpha, w_rec, steps, brainpy):
    """dx (T+1, B, H), zeros, becomes dL/dx_{t+1} truncated after `steps` steps; dr (B, H) is work.

    own (T, B, H) is what each step adds at its rates, slope (T, B, H) f'(x_t). One trial a thread.
    """
    for b in prange(slope.shape[1]):
        mode = ieee()
        sweep_trial(dx, dr[b], own, slope, alpha, w_rec, b, steps, brainpy)
        restore(mode)


@entry(parallel=True)
def current_weight_grads(dv, dx, s, alpha):
    """dv[i] = sum_{t,b} alpha_i dx[t, b, i] s[t, b].  (B5-B8) One unit a thread."""
    for i in prange(dv.shape[0]):
        mode = ieee()
        for t in range(s.shape[0]):
            for b in range(s.shape[1]):
                dc = alpha[i] * dx[t, b, i]
                for j in range(s.shape[2]):
                    dv[i, j] += dc * s[t, b, j]
        restore(mode)


@kernel
def trace_unit(dv, trace, signal, s, slope, alpha, i, brainpy):
    """dv[i] and what x_0[i] gets, by the traces of unit i; trace (S,) is work; slope (T+1, B, H) is f' from x_0 on."""
    one, zero, dx0 = alpha.dtype.type(1), alpha.dtype.type(0), alpha.dtype.type(0)
    for b in range(s.shape[1]):
        trace[:] = zero
        trace_x0 = one
        for t in range(s.shape[0]):
            leak = (one - alpha[i]) * (slope[t, b, i] if brainpy else one)
            error = signal[t, b, i] * slope[t + 1, b, i]  # (L2)
            trace_x0 *= leak
            dx0 += error * trace_x0
            for j in range(s.shape[2]):
                trace[j] = leak * trace[j] + alpha[i] * s[t, b, j]  # (L1)
                dv[i, j] += error * trace[j]  # (L3)
    return dx0


@entry(parallel=True)
def eligibility_grads(dv, dx0, trace, signal, s, slope, alpha, brainpy):
    """dv (H, S) and dx0 (H,), zeros, become sums over t and b of signal (T, B, H) times trace. One unit a thread."""
    for i in prange(dv.shape[0]):
        mode = ieee()
        dx0[i] = trace_unit(dv, trace[i], signal, s, slope, alpha, i, brainpy)
        restore(mode)


def extended_rows(rates, inputs, r0):
    """s_t = [r_{t-1}, u_t, 1], (T, B, S), from rates (T, B, H), inputs (T, B, I) and r_0 (H,)."""
    T, B, H = rates.shape
    s = np.ones((T, B, H + inputs.shape[2] + 1), rates.dtype)
    s[0, :, :H], s[1:, :, :H] = r0, rates[:-1]
    s[:, :, H:-1] = inputs
    return s
