"""The training step: what runs in parallel, and in which order."""

import numpy as np

from ..jit import BORROWED, entry, ieee, in_parallel, inlined, kernel, restore, thread_count, view
from .arrays import LARGE
from .groups import ALL, group
from .optimisers import (
    adam_coefficients,
    count_update,
    update_by_norm,
    update_units,
    wants_norm,
)
from .units import gather_penalties, gather_units, pack_units

FEW = 8192  # parameters: with fewer, one thread is done with all units before two have started and waited


def chunk_count(n_batch, n_hidden):
    """Number of chunks: a function of the problem alone, so that results do not depend on the machine.

    Chunks of 8 trials, one or two tiles high, so that many cores find work; of 16 where H is so large that the memory
    traffic of each chunk's weight gradient counts. A small batch makes two chunks as long as each fills a tile of 4.
    """
    size = 8 if n_hidden <= LARGE else 16
    return -(-n_batch // min(size, max(4, -(-n_batch // 2))))


@inlined
def desk_count(n_hidden, with_omega):
    """Number of a thread's desks: of chunks that go through time side by side, so that the weights are read once.

    Two where the weights are more than the caches of a core hold; else small weights stay near, and chunks would drive
    out one another.
    """
    return 2 if n_hidden > LARGE and not with_omega else 1


@inlined
def group_count(chunks, threads, desks):
    """Number of groups: as many chunks in each as a thread has desks, or fewer; equal shares for threads, or nearly."""
    each = (chunks + threads - 1) // threads
    return min(chunks, threads * ((each + desks - 1) // desks))


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
def is_clean(inputs, labels, n_out):
    """Are all inputs finite and all labels in 0 .. n_out - 1?"""
    bad = False
    for i in range(inputs.size):
        bad |= not (inputs[i] - inputs[i] == 0)
    for i in range(labels.size):
        bad |= (labels[i] < 0) | (labels[i] >= n_out)
    return not bad


@kernel
def finish_units(out, ws, network, update, I, O, q):
    """After the chunks: the q-th vector of units' gradients, and their update unless the norm has a say in it."""
    H, R, lanes = network.mask.shape[0], network.n_read, 64 // network.params.itemsize
    lo, hi = q * lanes, min(q * lanes + lanes, H + O)
    gather_units(out, ws, network, lo, hi, I, O)
    if ws.fine.size > 0 or ws.domega.size > 0:
        gather_penalties(out, ws, network, lo, hi, I, O)
    if update.kind > 0:
        now = not wants_norm(update) and sound(ws.loss, ws.fine)
        coefficients = adam_coefficients(network.params.dtype.type, update)
        update_units(network.params, update, out.grads, coefficients, now, lo, hi, I, H, R, O)


prepare_all, finish_all = in_parallel(pack_units), in_parallel(finish_units)
all_groups = in_parallel(group, by_worker=True)


@entry(**BORROWED)
def step(out, ws, network, batch, draw, update):
    """A training step, its gradients alone, or its forward pass alone; returns the loss.

    Where `update` is of no kind, the loss is not finite or a gradient too large, there is no update; where one is
    asked for with a batch that is not clean, nothing is done, and the loss is NaN. If out.states is not empty, the
    forward pass alone is done, into states, rates and outputs; else the gradients, into grads and dx_start.

    In parallel: vectors of units, unless they are few; then threads with their chunks; then vectors of units again.
    Where the norm of the gradient counts, blocks of the flat buffer for the norm, and for the update. Each array has
    one writer.
    """
    I, H, params = batch.inputs.shape[2], network.mask.shape[0], network.params
    O, lanes = ws.dw.shape[2] - H, 64 // params.itemsize
    vectors, mode = (H + O + lanes - 1) // lanes, ieee()
    if update.kind > 0:
        inputs, labels = view(batch.inputs, 0, (batch.inputs.size,)), view(batch.labels, 0, (batch.labels.size,))
        if not is_clean(inputs, labels, O):
            restore(mode)
            return np.nan
    threads = thread_count()
    workers = 1 if params.size < FEW else threads
    prepare_all(vectors, workers, ws, network, draw.make, I, O)
    desks = desk_count(H, ws.domega.size > 0)
    seated = min(threads, ws.x.shape[0] // desks)
    groups = group_count(ws.dw.shape[0], seated, desks)
    all_groups(groups, seated, ws, out, network, batch, draw, groups, desks, ALL, 0)
    if out.states.size > 0:
        restore(mode)
        return 0.0
    finish_all(vectors, workers, out, ws, network, update, I, O)
    loss = total(ws.loss, ws.fine)
    if update.kind > 0 and sound(ws.loss, ws.fine):
        if wants_norm(update):
            update_by_norm(params, update, out.grads, ws.norms, loss)
        else:
            count_update(update, params, loss, 1.0)
    restore(mode)
    return loss
