"""The compiled step as an object: a network in the form that the kernels take, and the arrays that they work in.

Between the public layer, which checks what a user passes, and the kernels, which trust it. Checks nothing itself.
"""

import contextlib
import copyreg
import math
import mmap
from dataclasses import astuple

import numba
import numpy as np

from . import kernels, threads
from .config import input_mask, output_mask, sign_mask
from .noise import INPUT_STREAM
from .params import Params

HUGE_PAGE = 1 << 21  # bytes
_entries: dict = {}  # kernels.step for each dtype


class KernelModel:
    """A configuration as the kernels take it: made once, used for many steps, by one thread at a time.

    Arrays must be as `kernel_array` makes them, those of Params too.
    """

    def __init__(self, config, dtype):
        self.config, self.dtype = config, np.dtype(dtype)
        self._fixed = {
            "mask": sign_mask(config).astype(dtype),
            "mask_in": input_mask(config).astype(dtype),
            "mask_out": output_mask(config).astype(dtype),
            "alpha": config.alpha.astype(dtype),
            "scale": config.noise_scale.astype(dtype),
            "n_read": config.n_read,
            "dynamics": kernels.BRAINPY if config.dynamics == "brainpy" else kernels.SONG,
            "activation": getattr(kernels, config.activation.upper()),
            "constraint": getattr(kernels, config.constraint.upper()),
            "constraint_in": getattr(kernels, config.constraint_in.upper()),
            "constraint_out": getattr(kernels, config.constraint_out.upper()),
            "penalties": np.array(astuple(config.penalties)),
            "one_tau": bool((config.alpha == config.alpha[0]).all()),
        }
        self._limits = {
            False: self.dtype.type(kernels.GRADIENT_LIMITS[self.dtype.name]),
            True: np.finfo(self.dtype).max,
        }
        self.squared = config.loss == "squared_error"
        self._changes_inputs = config.changes_inputs
        self._inputs_made = config.input_noise_scale, config.baseline_in, config.rectify_inputs
        self.x0, self.dx0 = np.zeros(config.n_hidden, dtype), np.zeros(config.n_hidden, dtype)  # if x_0 is not trained
        self._known: tuple = (None, None)  # Params, and the network with them
        # Arrays that a step is told not to use.
        self._vector, self._matrix, self._labels, self._array = (
            np.zeros((0,) * ndim, kind) for ndim, kind in ((1, dtype), (2, dtype), (2, np.int64), (3, dtype))
        )
        nothing = np.zeros(0, np.uint8)
        self._no_update = kernels.Update(
            0, self._vector, self._vector, nothing, np.zeros(3), 0.0, 0.0, 0.0, 0.0, math.inf, math.inf
        )

    def __reduce__(self):  # for copy and pickle: a model shares no work array with another
        return KernelModel, (self.config, self.dtype)

    def noise_given(self, noise):
        """The draw that adds `noise`, an array (T, B, H), to a network whose inputs are u."""
        return kernels.Draw(noise, False, np.uint64(0), 0, False, np.uint64(0), 0.0, 0.0, False)

    def noise_made(self, seed, step):
        """The draw of a training step: noise and u of (seed, step), made where they are used."""
        of_inputs = np.uint64(seed ^ INPUT_STREAM << 32)
        return kernels.Draw(
            self._array, True, np.uint64(seed), step, self._changes_inputs, of_inputs, *self._inputs_made
        )

    def network(self, params):
        """What the kernels know of the network; for the Params of the last call it is at hand."""
        if params is not self._known[0] or not params.flat.flags.carray:
            if params.dtype != self.dtype:
                raise ValueError(f"params must be {self.dtype} like the model, found {params.dtype}")
            x_start = self.x0 if params.x0 is None else params.x0
            network = kernels.Network(params=kernel_array(params.flat), x_start=x_start, **self._fixed)
            if network.params is not params.flat:  # a copy
                return network
            self._known = params, network
        return self._known[1]

    def outputs(self, grads, update):
        """Where the gradients go. Adam squares them: it takes no entry whose square overflows."""
        dx_start, limit = self.dx0 if grads.x0 is None else grads.x0, self._limits[update.kind == kernels.SGD]
        return kernels.Outputs(grads.flat, dx_start, self._array, self._array, self._array, limit)

    def forward(self, states, rates, outputs, workspace, params, inputs, draw):
        """Forward pass into states, rates (T, B, H) and outputs (T, B, O)."""
        out = kernels.Outputs(self._vector, self.dx0, states, rates, outputs, self._limits[False])
        batch = kernels.Batch(inputs, self._labels, self._array, self._matrix)
        self._step(out, workspace, self.network(params), batch, draw, self._no_update)

    def loss_and_grads(self, grads, workspace, params, inputs, labels, weights, draw, update=None):
        """Loss, and gradients into `grads`.

        With `update`, an optimiser's `next_update`, the parameters are updated too, unless the loss is not finite.
        """
        labels, targets = (self._labels, labels) if self.squared else (labels, self._array)
        batch = kernels.Batch(inputs, labels, targets, weights)
        update = self._no_update if update is None else update
        return self._step(self.outputs(grads, update), workspace, self.network(params), batch, draw, update)

    def _step(self, *arguments):
        """kernels.step. Numba's look at the types of six tuples takes 10 us a call; they never change: so only once.

        What belongs to the types of a dtype is looked up for all models: it takes 0.4 ms.
        """
        with threads.launch():
            if self.dtype not in _entries:
                signature = tuple(map(numba.typeof, arguments))
                kernels.step.compile(signature)
                _entries[self.dtype] = kernels.step.overloads[signature].entry_point
            return _entries[self.dtype](*arguments)


def kernel_array(array):
    """In C order and writeable, by a copy if need be: Numba compiles anew for each other kind of array."""
    return array if array.flags.carray else np.require(array, requirements=("C_CONTIGUOUS", "WRITEABLE", "ALIGNED"))


def make_workspace(config, n_time, n_batch, dtype, by_norm=False, n_threads=None):
    """All arrays that a training step on batches (T, B) works in, as kernels/arrays.py lists them; for one at a time.

    With `by_norm` an update that depends on the norm of the gradient can be made. A step takes no more than `n_threads`
    threads for its chunks, by default all of Numba's. Padded with zeros to whole vectors, and aligned to 64 bytes.
    """
    I, H, O, dtype, given = config.n_in, config.n_hidden, config.n_out, np.dtype(dtype), config.penalties
    lanes = 64 // dtype.itemsize
    chunks = kernels.chunk_count(n_batch, H)
    size = -(-n_batch // chunks)
    each = kernels.desk_count(H, given.omega > 0)
    n_desks = each * min(n_threads or threads.all_threads(), chunks)

    def up(n, to=lanes):
        return -(-n // to) * to

    def zeros(*shape, kind=dtype):
        return shape, kind

    def desks(size, kind=dtype):
        return (n_desks, size + kernels.GAP // np.dtype(kind).itemsize if size else 0), kind

    n_rows, n_errs = H + I + 1, H + O
    noisy = max(H, I) if config.sigma_in else H  # units that normals are drawn for
    stride = max(up(n_rows), up(n_errs), up(noisy, 32))
    if stride * dtype.itemsize % 512 == 0:  # such rows would share few sets of the L1 cache
        stride += lanes
    row = size * stride
    in_block = -(-kernels.BLOCK // size)
    packed = in_block * size if H > kernels.PACKED else 0  # rows
    weighed = any(getattr(given, f"{kind}_{of}") for kind in ("l1", "l2") for of in ("in", "rec", "out"))
    numbers = Params.like(config, dtype).flat.size if by_norm else 0
    shapes = kernels.Workspace(
        wf=zeros(n_rows * up(n_errs)),
        wb=zeros(n_errs * up(H)),
        vecs=zeros(2, row),
        rows=desks((n_time + 1) * row),
        x=desks(row),
        z=desks(O * n_time * size),
        errs=desks(in_block * row),
        dr=desks(row),
        words=desks(size * up(stride, 64), kind=np.uint32),
        normals=desks(row),
        soft=desks(5 * n_time * size, kind=np.float64),
        loss=zeros(chunks, 8, kind=np.float64),
        dw=zeros(chunks, up(n_rows) // lanes, n_errs, lanes),
        sums=zeros(-(-n_errs // lanes), stride),
        packed=desks(up(packed * up(n_errs, kernels.GROUP)) + packed * up(n_rows)),
        packed_parts=desks(-(-n_errs // kernels.GROUP) * kernels.PART if packed else 0, kind=np.int64),
        dx0=zeros(chunks, up(H)),
        parts=desks(each * kernels.PART, kind=np.int64),
        fine=zeros(-(-(H + O) // lanes) if weighed else 0, kind=np.float64),
        squares=desks(stride if given.l2_rates or given.omega else 0, kind=np.float64),
        flow=desks(2 * row if given.omega else 0),
        right=desks(in_block * row if given.omega else 0),
        domega=zeros(chunks, up(H) // lanes if given.omega else 0, H, lanes),
        norms=zeros(-(-numbers // kernels.NORM_BLOCK), 2, kind=np.float64),
    )
    return _in_one_piece(shapes)


def _in_one_piece(shapes):
    """A workspace of zeros of each (shape, dtype), one array behind another, so that they share huge pages."""
    sizes = [math.prod(shape) * np.dtype(kind).itemsize for shape, kind in shapes]
    ends = np.cumsum([-(-size // 64) * 64 for size in sizes])
    pieces = np.split(aligned_zeros((ends[-1],), np.uint8), ends[:-1])
    return kernels.Workspace(
        *(piece[:size].view(kind).reshape(shape) for piece, size, (shape, kind) in zip(pieces, sizes, shapes))
    )


def aligned_zeros(shape, dtype):
    """Zeros in C order that begin at a multiple of 64 bytes; of a huge page, if they fill one and Linux grants them.

    A row of a large network fills a page of 4 KB: each tile of a weight gradient reads hundreds.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size < HUGE_PAGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        raw, step = np.zeros(size + 64, np.uint8), 64
    else:
        memory, step = mmap.mmap(-1, size + HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), HUGE_PAGE
        with contextlib.suppress(OSError):  # of a kernel without them
            memory.madvise(mmap.MADV_HUGEPAGE)
        raw = np.frombuffer(memory, np.uint8)
    skip = -raw.ctypes.data % step
    return raw[skip : skip + size].view(dtype).reshape(shape)


def _restore(arrays):
    workspace = _in_one_piece([(a.shape, a.dtype) for a in arrays])
    for new, old in zip(workspace, arrays):
        new[...] = old
    return workspace


# A workspace that is copied or unpickled shares no array with the first, and is aligned like it.
copyreg.pickle(kernels.Workspace, lambda workspace: (_restore, (tuple(workspace),)))
