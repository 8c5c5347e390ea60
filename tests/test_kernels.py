"""The products of the kernels against NumPy, at all remainders of a tile; exp and log against the C library."""

import ctypes
import math
import mmap
from dataclasses import replace

import numpy as np
import pytest
from numba import njit

from eirnn_np import ModelConfig, Params, init_params, kernels
from eirnn_np.compiled import KernelModel, make_workspace


@njit
def call_parts(c, ldc, a, lda, ska, b, ldb, parts, n, vecs):
    kernels.product(c, ldc, 64 // c.itemsize, a, lda, ska, b, 0, ldb, parts, n, vecs)


@njit
def call_product(c, ldc, a, lda, ska, b, ldb, m, n, vecs):
    parts = np.zeros((1, kernels.PART), np.int64)
    parts[0, 2] = m
    kernels.product(c, ldc, 64 // c.itemsize, a, lda, ska, b, 0, ldb, parts, n, vecs)


def in_order(a, b, start):
    """sum_k a[i, k] b[k, j] with k in order, one rounding a step, in exact arithmetic before it."""
    total = start.astype(a.dtype).copy()
    wide = np.float64 if a.dtype == np.float32 else np.longdouble
    for k in range(a.shape[1]):
        total = (wide(total) + wide(a[:, k : k + 1]) * wide(b[k])).astype(a.dtype)
    return total


def test_parts_of_a_product_are_products():
    """Rows of c and a in two places, of different number, over more than one block of k."""
    lanes, n, vecs = 16, 300, 5
    rng, parts = np.random.default_rng(1), np.zeros((2, kernels.PART), np.int64)
    a, b = (rng.normal(size=shape).astype("f4") for shape in ((20, n), (n, vecs * lanes)))
    c = rng.normal(size=(20, vecs * lanes)).astype("f4")
    parts[:, :3] = (2 * vecs * lanes, 1 * n, 7), (11 * vecs * lanes, 12 * n, 8)
    expected, flat_b = c.copy(), b.reshape(-1)
    for c0, a0, m in ((2, 1, 7), (11, 12, 8)):
        part = expected[c0:].reshape(-1), vecs * lanes, a[a0:].reshape(-1), n, 1
        call_product(*part, flat_b, vecs * lanes, m, n, vecs)
    found = c.copy()
    call_parts(found.reshape(-1), vecs * lanes, a.reshape(-1), n, 1, flat_b, vecs * lanes, parts, n, vecs)
    assert np.array_equal(found, expected)
    assert np.array_equal(found[[0, 1, 9, 10, 19]], c[[0, 1, 9, 10, 19]])
    np.testing.assert_allclose(found[2:9], c[2:9] + a[1:8] @ b, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_product_at_all_remainders(dtype):
    lanes = 64 // np.dtype(dtype).itemsize
    rng = np.random.default_rng(0)
    for m in range(1, 10):
        for vecs in range(1, 10):
            for n in (1, 2, 7):
                a = rng.normal(size=(m, n + 1)).astype(dtype)[:, :n]
                b = rng.normal(size=(n, vecs * lanes)).astype(dtype)
                start = rng.normal(size=(m, vecs * lanes)).astype(dtype)
                full = np.ascontiguousarray(a.base) if a.base is not None else a
                added = start.copy()
                call_product(added, vecs * lanes, full, n + 1, 1, b, vecs * lanes, m, n, vecs)
                tolerance = 20 * n * np.finfo(dtype).eps
                np.testing.assert_allclose(added, start + a.astype(float) @ b, rtol=0, atol=tolerance)
                if dtype == "float32":  # in float64 the product of two float32 is exact: the FMA's own rounding
                    np.testing.assert_array_equal(added, in_order(a, b, start))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_product_of_a_transposed_matrix_and_of_packed_panels(dtype):
    lanes = 64 // np.dtype(dtype).itemsize
    rng = np.random.default_rng(1)
    m, n, vecs = 6, 9, 7
    a = rng.normal(size=(n, m)).astype(dtype)  # read by columns: lda 1, ska m
    b = rng.normal(size=(n, vecs * lanes)).astype(dtype)
    packed, first = [], 0
    while first < vecs:
        width = kernels.panel(vecs - first)
        packed.append(b[:, first * lanes : (first + width) * lanes].ravel())
        first += width
    c, plain = np.zeros((2, m, vecs * lanes), dtype)
    call_product(c, vecs * lanes, a, 1, m, np.concatenate(packed), 0, m, n, vecs)
    call_product(plain, vecs * lanes, a, 1, m, b, vecs * lanes, m, n, vecs)
    np.testing.assert_array_equal(c, plain)
    np.testing.assert_allclose(c, a.T.astype(float) @ b, atol=100 * np.finfo(dtype).eps)


@njit
def call_weight_product(dw, M, packed, packed_parts, errs, e0, rows, r0, stride, part, n):
    kernels.weight_product(dw, M, packed, packed_parts, errs, e0, rows, r0, stride, part, n)


def before_a_guard(array):
    """A flat copy that ends where memory ends that nobody may read; and what keeps that alive."""
    page = mmap.PAGESIZE
    size = -(-array.nbytes // page) * page
    memory = mmap.mmap(-1, size + page)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(address + size), page, 0) == 0
    copy = np.frombuffer(memory, array.dtype, array.size, size - array.nbytes)
    copy[:] = array.ravel()
    return copy, memory


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("M", [*range(1, 50), 61, 64, 72, 96, 97])
def test_a_weight_product_is_the_same_packed(dtype, M):
    """dw += errs^T rows, in vectors of dw one behind another: to the bit with and without packing, and NumPy's.

    Groups that end before the row does and behind it; more groups than M needs, as Omega has them.
    """
    lanes, rng = 64 // np.dtype(dtype).itemsize, np.random.default_rng(M)
    for n, vecs, spare in ((1, 1, 0), (3, 5, 1), (40, 4, 2)):
        stride = max(vecs, -(-M // lanes)) * lanes
        errs, rows = (rng.normal(size=(n, stride)).astype(dtype) for _ in range(2))
        start, found = rng.normal(size=(vecs, M, lanes)).astype(dtype), []
        groups = -(-M // kernels.GROUP) + spare
        size = -(-n * groups * kernels.GROUP // lanes) * lanes + n * vecs * lanes
        for packed in (True, False):
            dw, part = start.copy(), np.zeros((1, kernels.PART), np.int64)
            work, memory = before_a_guard(np.full(size, 7, dtype)) if packed else (np.zeros(0, dtype), None)
            parts = np.zeros((groups if packed else 0, kernels.PART), np.int64)
            (left, _), (right, _) = guarded = before_a_guard(errs), before_a_guard(rows)
            call_weight_product(dw.reshape(-1), M, work, parts, left, 0, right, 0, stride, part, n)
            del guarded, memory
            found.append(dw)
        assert np.array_equal(*found)
        exact = errs[:, :M].astype("f8").T @ rows[:, : vecs * lanes].astype("f8")
        exact = start + exact.reshape(M, vecs, lanes).transpose(1, 0, 2)
        np.testing.assert_allclose(found[0], exact, rtol=0, atol=20 * n * np.finfo(dtype).eps)


@pytest.mark.parametrize("n_batch", [1, 11, 30, 64])
def test_what_is_packed_begins_at_a_vector(n_batch):
    config = ModelConfig(n_in=10, n_hidden=600, n_out=20)
    for dtype in (np.float32, np.float64):
        workspace = make_workspace(config, 3, n_batch, dtype)
        assert workspace.packed.size > 0
        assert not any(desk.ctypes.data % 64 for desk in workspace.packed)
        assert make_workspace(replace(config, n_hidden=kernels.PACKED), 3, n_batch, dtype).packed.size == 0


@pytest.mark.parametrize("activation", ["relu", "softplus", "sigmoid"])
def test_no_padding_of_a_weight_gradient_holds_a_number(activation):
    """What is too large in dw stops an update, so that nothing may stand there which no gradient is."""
    config = ModelConfig(n_in=1, n_hidden=9, n_out=12, sigma_rec=0.1, activation=activation)
    model, params, rng = KernelModel(config, np.float32), init_params(config), np.random.default_rng(0)
    inputs, labels = rng.normal(size=(5, 4, 1)).astype("f4"), rng.integers(0, 12, (5, 4))
    workspace, noise = make_workspace(config, 5, 4, np.float32), np.zeros((5, 4, 9), np.float32)
    weights = np.full((5, 4), 1 / 20, np.float32)
    model.loss_and_grads(
        Params.like(config, "f4"), workspace, params, inputs, labels, weights, model.noise_given(noise)
    )
    dw = workspace.dw.transpose(0, 2, 1, 3).reshape(len(workspace.dw), 9 + 12, -1)
    assert np.any(dw[:, :, 9 + 1] != 0), "the bias"
    assert not dw[:, :, 9 + 1 + 1 :].any()


@njit
def exp_all(out, x):
    for i in range(x.size):
        out[i] = kernels.exp_(x[i])


@njit
def log_all(out, x):
    for i in range(x.size):
        out[i] = kernels.log_(x[i])


def test_exp_and_log():
    x = np.concatenate([-np.logspace(-18, 2.8, 20001), [0.0]])
    out = np.empty_like(x)
    exp_all(out, x)
    np.testing.assert_allclose(out, np.exp(x), rtol=4e-15)
    assert out[-1] == 1
    y = np.concatenate([np.logspace(-300, 300, 20001), 1 + np.linspace(-0.3, 0.4, 2001)])
    out = np.empty_like(y)
    log_all(out, y)
    np.testing.assert_allclose(out, [math.log(v) for v in y], rtol=1e-15, atol=3e-16)


def test_exp_and_log_hand_on_what_is_not_a_number():
    out = np.empty(2)
    log_all(out, np.array([np.nan, np.inf]))
    assert np.isnan(out[0])
    assert out[1] == np.inf
    exp_all(out, np.array([np.nan, -np.inf]))
    assert np.isnan(out[0])
    assert out[1] < 1e-300
