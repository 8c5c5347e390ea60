"""Numba kernels of one training step: noise, forward, loss, backward, Adam.

Take arrays and scalars that the caller has checked. Every result is a pure function of its inputs, to the bit: on any
CPU, for any number of threads. So there is no fastmath, no BLAS, no libm; sums have one fixed order, and products add
over k in order by explicit fused multiply-adds.

Shapes: T time steps, B trials, I inputs, H units, E excitatory units (the read-out sees units 0..E-1), O outputs.
The batch is cut into C chunks of at most N trials (a function of B and H alone). A chunk has its own sums. It runs all
of forward, loss and backward at a desk of its thread, alone, or side by side with others of its group. In a chunk,
row s (0..T) of trial b is
    rows_s = [r_s, u_{s+1}, 1]         (H + I + 1)      errs_s = [dx_{s+1}, dz_s]       (H + O)
so that three products are the whole of the work:
    rows_s @ wf      = [a c_{s+1}, z_s]                 wf  (H+I+1, H+O)
    errs_s @ wb      = dr_s                             wb  (H+O, H)
    sum errs^T rows  = [dW_rec dW_in db; dW_out . db_out]   (without a)
Arrays are padded with zeros to whole vectors of 64 bytes.

From the ground up: arrays (what they pass to one another), tile (the micro-kernel), normals (noise), losses,
activations, optimisers, units (weights packed, gradients gathered), chunks (forward, backward), groups (of
chunks, and the desks of a thread), steps (what runs in parallel, in which order). jit.py says how they are compiled;
they import nothing else of the package.
"""

from .activations import activate, slopes
from .arrays import (
    ABS,
    ADAM,
    BLOCK,
    BRAINPY,
    FREE,
    GAP,
    PART,
    RECTIFY,
    RELU,
    RETANH,
    SGD,
    SIGMOID,
    SOFTPLUS,
    SONG,
    TANH,
    Batch,
    Draw,
    Network,
    Outputs,
    Update,
    Workspace,
)  # fmt: skip
from .losses import cross_entropy, exp_, log_
from .normals import noise_fill, noise_of_trials, normal_rows
from .optimisers import GRADIENT_LIMITS, NORM_BLOCK, adam_coefficients, apply_update, update_units
from .steps import chunk_count, desk_count, step
from .tile import GROUP, PACKED, panel, product, registers, weight_product
from .units import gather_units, pack_units

__all__ = [
    "ABS", "ADAM", "BLOCK", "BRAINPY", "FREE", "GAP", "GRADIENT_LIMITS", "GROUP", "NORM_BLOCK", "PACKED", "PART",
    "RECTIFY", "RELU", "RETANH", "SGD", "SIGMOID", "SOFTPLUS", "SONG", "TANH", "Batch", "Draw", "Network", "Outputs",
    "Update", "Workspace", "activate", "adam_coefficients", "apply_update", "chunk_count", "cross_entropy",
    "desk_count", "exp_", "gather_units", "log_", "noise_fill", "noise_of_trials", "normal_rows", "pack_units",
    "panel", "product", "registers", "slopes", "step", "update_units", "weight_product",
]  # fmt: skip
