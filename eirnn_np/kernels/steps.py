"""The training step: what runs in parallel, and in which order."""

import numpy as np
from numba import prange

from ..jit import entry, ieee, kernel, restore
from .chunks import chunk
from .optimisers import (
    NORM_BLOCK,
    adam_coefficients,
    clip_factor,
    count_update,
    norm_block,
    update_range,
    update_units,
    wants_norm,
)
from .units import gather_omega, gather_units, pack_units, penalty_units, pull_units


def chunk_count(n_batch, n_hidden):
    """Number of chunks: a function of the problem alone, so that results do not depend on the machine.

    Chunks of 8 trials, two tiles high, so that many cores find work; of 16 where H is so large that the memory traffic
    of each chunk's weight gradient counts. A small batch makes two chunks as long as each fills a tile of 4.
    """
    size = 8 if n_hidden <= 512 else 16
    return -(-n_batch // min(size, max(4, -(-n_batch // 2))))


@kernel
def total(loss, fine):
    """The sum of the chunks' losses, in order, and the penalty of the weights, where there is one.  (F10)"""
    v = 0.0
    for c in range(loss.shape[0]):
        v += loss[c, 0]
    for q in range(fine.size):
        v += fine[q]
    return v


@kernel
def sound(loss, fine):
    """Is the loss finite, and no chunk's gradient too large? If not, nothing is updated."""
    bad = not np.isfinite(total(loss, fine))
    for c in range(loss.shape[0]):
        bad |= loss[c, 1] != 0
    return not bad


@kernel
def finish_units(out, ws, network, update, coefficients, lo, hi, I, O):
    """Gradients of units (from H on: outputs) lo .. hi-1, and their update unless the norm has a say in it."""
    gather_units(out, ws, network, lo, hi, I, O)
    if ws.fine.size > 0:
        pull_units(out, network, lo, hi, I, O)
    if ws.domega.size > 0:
        gather_omega(out, ws, network, lo, hi, I, O)
    if update.kind > 0:
        now = not wants_norm(update) and sound(ws.loss, ws.fine)
        H, R = network.mask.shape[0], network.n_read
        update_units(network.params, update, out.grads, coefficients, now, lo, hi, I, H, R, O)


@entry(parallel=True)
def step(out, ws, network, batch, draw, update):
    """A training step, its gradients alone, or its forward pass alone; returns the loss.

    Where `update` is of no kind, the loss is not finite or a gradient too large, there is no update. If
    out.states is not empty, the forward pass alone is done, into states, rates and outputs; else the gradients, into
    grads and dx_start.
    In parallel: vectors of units, then chunks, then vectors of units; where the norm of the gradient counts, blocks of
    the flat buffer for the norm, and again for the update. Each array has one writer. One loop over these
    phases, as each parallel loop in the source takes seconds to compile.
    """
    I, H, params, chunks = batch.inputs.shape[2], network.mask.shape[0], network.params, ws.dw.shape[0]
    O, lanes, factor = ws.dw.shape[1] - H, 64 // params.itemsize, 1.0
    groups, blocks = (H + O + lanes - 1) // lanes, ws.norms.shape[0]
    outside = ieee()
    coefficients = adam_coefficients(params.dtype.type, update)
    by_norm = update.kind > 0 and wants_norm(update)
    for phase in range(2 if out.states.size > 0 else (5 if by_norm else 3)):
        n = chunks if phase == 1 else (groups if phase < 3 else blocks)
        if phase == 4:
            factor = clip_factor(ws.norms, update.clip, update.largest) if sound(ws.loss, ws.fine) else 0.0
        for index in prange(n):
            mode = ieee()
            q = np.int64(index)  # unsigned in a compiled prange
            lo, hi = q * lanes, min(q * lanes + lanes, H + O)
            if phase == 0:
                pack_units(ws, network, draw.make, q, I, O)
                if ws.fine.size > 0:
                    penalty_units(ws, network, q, lo, hi, I, O)
            elif phase == 1:
                chunk(ws, out, network, batch, draw, q)
            elif phase == 2:
                finish_units(out, ws, network, update, coefficients, lo, hi, I, O)
            elif phase == 3:
                norm_block(ws.norms, out.grads, q)
            elif factor > 0.0:
                lo, hi = q * NORM_BLOCK, min(params.size, q * NORM_BLOCK + NORM_BLOCK)
                update_range(params, update, out.grads, coefficients, factor, lo, hi)
            restore(mode)
    loss = total(ws.loss, ws.fine)
    if update.kind > 0 and factor > 0.0 and sound(ws.loss, ws.fine):
        count_update(update, params, loss, factor)
    restore(outside)
    return loss


@entry
def is_clean(inputs, labels, n_out):
    """Are all inputs finite and all labels in 0 .. n_out - 1? inputs as flat integers of their bits."""
    bad = False
    exponent = inputs.dtype.type(0x7F800000) if inputs.itemsize == 4 else inputs.dtype.type(0x7FF0000000000000)
    for i in range(inputs.size):
        bad |= (inputs[i] & exponent) == exponent
    for i in range(labels.size):
        bad |= (labels[i] < 0) | (labels[i] >= n_out)
    return not bad
