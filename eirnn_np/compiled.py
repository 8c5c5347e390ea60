"""The compiled step as an object: a network in the form that the kernels take, and the arrays that they work in.

Between the public layer, which checks what a user passes, and kernels.py, which trusts it. Checks nothing itself.
"""

import copyreg
import math

import numba
import numpy as np

from . import kernels, threads
from .config import ModelConfig, sign_mask


class KernelModel:
    """A configuration as the kernels take it: made once, used for many steps, by one thread at a time.

    Arrays must be as `kernel_array` makes them, those of Params too.
    """

    def __init__(self, config, dtype):
        check_supported(config)
        self.config, self.dtype = config, np.dtype(dtype)
        self.mask, self.alpha = sign_mask(config).astype(dtype), config.alpha.astype(dtype)
        self.scale = config.noise_scale.astype(dtype)
        self.dynamics = kernels.BRAINPY if config.dynamics == "brainpy" else kernels.SONG
        self.squared = config.loss == "squared_error"
        self.x0, self.dx0 = np.zeros(config.n_hidden, dtype), np.zeros(config.n_hidden, dtype)  # if x_0 is not trained
        # Arrays that a step is told not to use.
        self._vector, self._matrix, self._labels, self._array = (
            np.zeros((0,) * ndim, kind) for ndim, kind in ((1, dtype), (2, dtype), (2, np.int64), (3, dtype))
        )
        self._no_update = kernels.Update(self._vector, self._vector, np.zeros(2), 0.0, 0.0, 0.0, 0.0)
        self._entry = None

    def __reduce__(self):  # for copy and pickle: a model shares no work array with another
        return KernelModel, (self.config, self.dtype)

    def noise_given(self, noise):
        """The draw that adds `noise`, an array (T, B, H)."""
        return kernels.Draw(noise, False, np.uint64(0), 0)

    def noise_made(self, seed, step):
        """The draw of a training step, `recurrent_noise` of (seed, step), made where it is used."""
        return kernels.Draw(self._array, True, np.uint64(seed), step)

    def network(self, params):
        """What the kernels know of the network."""
        if params.dtype != self.dtype:
            raise ValueError(f"params must be {self.dtype} like the model, found {params.dtype}")
        x_start = self.x0 if params.x0 is None else params.x0
        return kernels.Network(
            kernel_array(params.flat), x_start, self.mask, self.alpha, self.scale, self.config.n_exc, self.dynamics
        )

    def outputs(self, grads):
        """Where the gradients go."""
        dx_start = self.dx0 if grads.x0 is None else grads.x0
        return kernels.Outputs(grads.flat, dx_start, self._array, self._array, self._array)

    def forward(self, states, rates, outputs, workspace, params, inputs, draw):
        """Forward pass into states, rates (T, B, H) and outputs (T, B, O)."""
        out = kernels.Outputs(self._vector, self.dx0, states, rates, outputs)
        batch = kernels.Batch(inputs, self._labels, self._array, self._matrix)
        self._step(out, workspace, self.network(params), batch, draw, self._no_update)

    def loss_and_grads(self, grads, workspace, params, inputs, labels, weights, draw, update=None):
        """Loss, and gradients into `grads`.

        With `update`, an `Adam.next_update`, the parameters are updated too, unless the loss is not finite.
        """
        labels, targets = (self._labels, labels) if self.squared else (labels, self._array)
        batch = kernels.Batch(inputs, labels, targets, weights)
        update = self._no_update if update is None else update
        return self._step(self.outputs(grads), workspace, self.network(params), batch, draw, update)

    def _step(self, *arguments):
        """kernels.step. Numba's look at the types of six tuples takes 10 us a call; they never change: so only once."""
        with threads.launch():
            if self._entry is None:
                signature = tuple(map(numba.typeof, arguments))
                kernels.step.compile(signature)
                self._entry = kernels.step.overloads[signature].entry_point
            return self._entry(*arguments)


def check_supported(config):
    """ValueError for what the kernels do not compute yet."""
    plain = ModelConfig(config.n_in, config.n_hidden, config.n_out)
    names = ("activation", "constraint", "constraint_in", "constraint_out", "readout", "mask_in", "mask_out",
             "penalties")  # fmt: skip
    differs = (name for name in names if getattr(config, name) is not getattr(plain, name))
    if found := [name for name in differs if "mask" in name or getattr(config, name) != getattr(plain, name)]:
        raise ValueError(f'{", ".join(found)}: computed by backend="numpy" alone for now')


def kernel_array(array):
    """In C order and writeable, by a copy if need be: Numba compiles anew for each other kind of array."""
    return np.require(array, requirements=("C_CONTIGUOUS", "WRITEABLE", "ALIGNED"))


def make_workspace(config, n_time, n_batch, dtype):
    """All arrays that a training step on batches (T, B) works in, as kernels.py lists them; for one step at a time.

    Padded with zeros to whole vectors, and aligned to 64 bytes.
    """
    I, H, O, dtype = config.n_in, config.n_hidden, config.n_out, np.dtype(dtype)
    lanes = 64 // dtype.itemsize
    chunks = kernels.chunk_count(n_batch, H)
    size = -(-n_batch // chunks)

    def up(n, to=lanes):
        return -(-n // to) * to

    def zeros(*shape, kind=dtype):
        return aligned_zeros(shape, kind)

    n_rows, n_errs = H + I + 1, H + O
    stride = max(up(n_rows), up(n_errs), up(H, 32))
    if stride * dtype.itemsize % 512 == 0:  # such rows would share few sets of the L1 cache
        stride += lanes
    row = size * stride
    return kernels.Workspace(
        wf=zeros(n_rows * up(n_errs)),
        wb=zeros(n_errs * up(H)),
        vecs=zeros(2, row),
        rows=zeros(chunks, (n_time + 1) * row),
        x=zeros(chunks, row),
        z=zeros(chunks, O * n_time * size),
        errs=zeros(chunks, -(-kernels.BLOCK // size) * row),
        dr=zeros(chunks, row),
        words=zeros(chunks, size, up(H, 64), kind=np.uint32),
        normals=zeros(chunks, row),
        soft=zeros(chunks, 5, n_time * size, kind=np.float64),
        loss=zeros(chunks, 8, kind=np.float64),
        dw=zeros(chunks, n_errs, stride),
        dx0=zeros(chunks, up(H)),
    )


def aligned_zeros(shape, dtype):
    """Zeros in C order that begin at a multiple of 64 bytes."""
    count = math.prod(shape)
    raw = np.zeros(count + 64, dtype)
    skip = (-raw.ctypes.data % 64) // raw.itemsize
    return raw[skip : skip + count].reshape(shape)


def _restore(arrays):
    workspace = kernels.Workspace(*(aligned_zeros(a.shape, a.dtype) for a in arrays))
    for new, old in zip(workspace, arrays):
        new[...] = old
    return workspace


# A workspace that is copied or unpickled shares no array with the first, and is aligned like it.
copyreg.pickle(kernels.Workspace, lambda workspace: (_restore, (tuple(workspace),)))
