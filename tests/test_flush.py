"""Flush-to-zero in one thread changes no bit: each parallel body brings the floating-point mode that it runs in."""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch
from llvmlite import ir

import eirnn_np as ei
from eirnn_np import jit

TINY = 1e-41  # below the smallest normal float32


@pytest.fixture
def flushing():
    if not torch.set_flush_denormal(True):
        pytest.skip("this CPU does not flush")
    yield
    torch.set_flush_denormal(False)


@pytest.fixture(params=[1, 2])
def threads(request):
    import numba

    before = numba.get_num_threads()
    numba.set_num_threads(min(request.param, before))
    yield request.param
    numba.set_num_threads(before)


def problem():
    """A network whose rates, gradients and second moments are denormal, in part."""
    config = ei.ModelConfig(n_in=2, n_hidden=37, n_out=3, sigma_rec=0.0)
    params = ei.init_params(config, 0)
    params.b_rec[::3], params.b_in[::3], params.w_in[::3] = TINY, 0, 0
    params.w_rec[::3] = TINY
    params.w_out[...] *= 1e-20
    params.b_rec[1::3] = 1e-22
    rng = np.random.default_rng(0)
    return config, params, rng.normal(size=(5, 20, 2)).astype(np.float32), rng.integers(0, 3, (5, 20))


def results(config, params, inputs, labels):
    """All that the compiled step, its noise and Adam make of numbers that flush-to-zero would change."""
    found = [np.concatenate([a.ravel() for a in ei.forward(config, params, inputs)])]
    found += [ei.loss_and_grads(config, params, inputs, labels)[1].flat]
    found += [ei.recurrent_noise(ei.ModelConfig(n_hidden=37, sigma_rec=2e-38), 0, 0, 5, 20)]
    trainer = ei.Trainer(config, params.copy(), lr=1e-20)
    for _ in range(3):
        trainer.step(inputs, labels)
    adam, moved = ei.Adam(1e-30, eps=1e-37), params.copy()
    adam.update(moved, trainer.grads)
    return [*found, trainer.params.flat, trainer.adam.m, trainer.adam.v, moved.flat, adam.m, adam.v]


@pytest.fixture(scope="module")
def given():
    return problem()  # before anything flushes: NumPy would flush it, too


@pytest.fixture(scope="module")
def expected(given):
    return [a.tobytes() for a in results(*given)]


def test_the_bits_are_those_without_flushing(given, expected, flushing, threads):
    tiny = given[1].b_rec[:1]
    assert tiny.view(np.int32) != 0
    assert (tiny * np.float32(1)).view(np.int32) == 0  # it does flush, here
    assert [a.tobytes() for a in results(*given)] == expected
    assert (tiny * np.float32(1)).view(np.int32) == 0  # and the caller has its own mode back


def test_the_numbers_would_show_it(given):
    """Each array has denormal numbers, so the comparison above is not one of zeros."""
    for values in results(*given)[:5]:
        assert ((values != 0) & (np.abs(values) < np.finfo(np.float32).tiny)).any()


def test_every_parallel_body_brings_its_mode():
    """Those of jit.in_parallel get it there."""
    loops = 0
    for path in Path(ei.__file__).parent.rglob("*.py"):
        if path.parent.name == "bench":  # measures the machine; nothing of it is a result
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.For) and "prange" in ast.unparse(node.iter):
                loops += 1
                assert ast.unparse(node.body[0]) == "mode = ieee()", (path.name, node.lineno)
                assert ast.unparse(node.body[-1]) == "restore(mode)", (path.name, node.lineno)
    assert loops >= 5


@pytest.mark.parametrize(
    ("triple", "instructions"),
    [("x86_64-pc-linux-gnu", "ldmxcsr"), ("aarch64-linux-gnu", "fpcr"), ("powerpc64le-linux-gnu", None)],
)
def test_code_for_other_machines(triple, instructions):
    module = ir.Module()
    module.triple = triple
    access = jit.mode_access(module)
    assert (access is None) == (instructions is None)
    if access is None:
        return
    bits, read, write, plain = access
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), []), "probe")
    builder = ir.IRBuilder(function.append_basic_block())
    before = read(builder)
    write(builder, ir.Constant(bits, plain))
    write(builder, before)
    builder.ret_void()
    assert str(module).count(instructions) >= 3  # a declaration and two calls
