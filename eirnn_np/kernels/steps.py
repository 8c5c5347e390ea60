"""The training step: what runs in parallel, and in which order."""

import numpy as np
from numba import prange

from ..jit import entry, kernel
from .chunks import chunk
from .optimisers import adam_coefficients, adam_units, count_update
from .units import gather_units, pack_units


def chunk_count(n_batch, n_hidden):
    """Number of chunks: a function of the problem alone, so that results do not depend on the machine.

    Chunks of 8 trials, two tiles high, so that many cores find work; of 16 where H is so large that the memory traffic
    of each chunk's weight gradient counts. A small batch makes two chunks as long as each fills a tile of 4.
    """
    size = 8 if n_hidden <= 512 else 16
    return -(-n_batch // min(size, max(4, -(-n_batch // 2))))


@kernel
def total(loss):
    """The sum of the chunks' losses, in order."""
    v = 0.0
    for c in range(loss.shape[0]):
        v += loss[c, 0]
    return v


@kernel
def sound(loss):
    """Is the loss finite, and no chunk's gradient too large? If not, nothing is updated."""
    bad = not np.isfinite(total(loss))
    for c in range(loss.shape[0]):
        bad |= loss[c, 1] != 0
    return not bad


@entry(parallel=True)
def step(out, ws, network, batch, draw, update):
    """A training step, its gradients alone, or its forward pass alone; returns the loss.

    Without moments in `update`, or where the loss is not finite or a gradient too large, there is no update. If
    out.states is not empty, the forward pass alone is done, into states, rates and outputs; else the gradients, into
    grads and dx_start.
    In parallel: vectors of units, then chunks, then vectors of units; each array has one writer. One loop over these
    phases, as each parallel loop in the source takes seconds to compile.
    """
    I, H, params, chunks = batch.inputs.shape[2], network.mask.shape[0], network.params, ws.dw.shape[0]
    O, lanes = ws.dw.shape[1] - H, 64 // params.itemsize
    groups = (H + O + lanes - 1) // lanes
    coefficients = adam_coefficients(params.dtype.type, update)
    for phase in range(2 if out.states.size > 0 else 3):
        n = chunks if phase == 1 else groups
        for index in prange(n):
            q = np.int64(index)  # unsigned in a compiled prange
            if phase == 0:
                pack_units(ws, network, draw.make, q, I, O)
            elif phase == 1:
                chunk(ws, out, network, batch, draw, q)
            else:
                lo, hi = q * lanes, min(q * lanes + lanes, H + O)
                gather_units(out, ws, network, lo, hi, I, O)
                if update.m.size > 0 and sound(ws.loss):
                    adam_units(params, update.m, update.v, out.grads, coefficients, lo, hi, I, H, network.n_exc, O)
    if update.m.size > 0 and sound(ws.loss):
        count_update(update, params, total(ws.loss))
    return total(ws.loss)


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
