"""The machine code of the kernels, on the CPU that the tests run on."""

import re

import numpy as np
import pytest
from numba import njit
from numba.core import types

from eirnn_np.compiled import HUGE_PAGE, aligned_zeros
from eirnn_np.jit import wide
from eirnn_np.kernels.tile import ROWS, TILES, VECS, registers, tile

NAME = registers()
x86 = pytest.mark.skipif(NAME == "", reason="reads the assembly of x86")


def assembly(function, *kinds):
    """What LLVM makes of a function of these types."""
    compiled = njit(error_model="numpy")(function)
    compiled.compile(kinds)
    return compiled.inspect_asm(kinds)


@x86
def test_the_sums_of_a_tile_stay_in_registers():
    flat, n = types.float32[::1], types.int64

    def one(c, a, b, n, rows, vecs):
        tile(c, 0, 64, 16, a, 0, 64, 1, b, 0, 64, n, rows, vecs, 0)

    code = assembly(one, flat, flat, flat, n, n, n)
    loops = re.findall(r"^(\.L\w+):.*\n((?:[ \t].*\n)*?[ \t]+j\w+[ \t]+\1\n)", code, re.M)
    width = {"zmm": 64, "ymm": 32, "xmm": 16}[NAME]
    sums = max(rows * vecs for vecs, rows in enumerate(ROWS, 1)) * 64 // width
    largest = max((loop for _, loop in loops), key=lambda loop: loop.count("fmadd"))
    assert largest.count("fmadd") == sums, "an FMA for each sum and row of b; no other loop has as many"
    assert ("prefetch" in largest) == (VECS > 1)
    assert not re.search(r"mov[au]p.*%[xyz]mm\d+, \d*\(%r[sb]p\)", largest), "a sum is spilled to the stack"
    assert TILES[NAME] == ROWS


@pytest.mark.skipif(NAME != "zmm", reason="of CPUs with vectors of 64 bytes")
def test_wide_loops_take_whole_vectors():
    def plus(a, b, c):
        wide()
        for i in range(a.size):
            c[i] = a[i] + b[i]

    assert re.search(r"vaddps.*%zmm", assembly(plus, *[types.float32[::1]] * 3))


@pytest.mark.parametrize("n", [0, 1, 1000, HUGE_PAGE // 4, HUGE_PAGE // 4 + 1000])
def test_work_arrays_are_aligned(n):
    for dtype in (np.float32, np.float64):
        array = aligned_zeros((n,), dtype)
        assert array.shape == (n,)
        assert array.dtype == dtype
        assert not n or array.ctypes.data % (HUGE_PAGE if array.nbytes >= HUGE_PAGE else 64) == 0
        assert not array.any()
        array[:] = 1
        assert array.flags.carray
