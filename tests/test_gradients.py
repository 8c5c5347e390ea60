"""Loss and gradients of both backends against the PyTorch original in float64."""

import naive
import numpy as np
import pytest
import torch
import torch_oracle
from conftest import TOLERANCE, make_problem, relative_error

import eirnn_np as ei

BACKENDS = ("numpy", "numba")
CASES = {
    "odd": {},
    "no noise": {"noise": False},
    "half excitatory": {"e_ratio": 0.5},
    "one step": {"n_time": 1},
    "one trial": {"n_batch": 1},
    "one step, one trial": {"n_time": 1, "n_batch": 1},
    "two units": {"n_hidden": 2, "e_ratio": 0.5, "n_in": 1, "n_out": 1},
    "tutorial": {"n_hidden": 50, "n_batch": 16, "n_in": 3, "n_out": 3},
    "tutorial, half excitatory": {"n_hidden": 50, "e_ratio": 0.5},
    "a lane more": {"n_hidden": 65, "n_batch": 9, "n_time": 4},
    "129 units": {"n_hidden": 129, "n_batch": 17},
    "129 units, half excitatory, no noise": {"n_hidden": 129, "e_ratio": 0.5, "noise": False},
    "many inputs and outputs": {"n_in": 33, "n_out": 20, "n_hidden": 18},
    "alpha 1": {"dt": 100.0},
    "two chunks and a rest, side by side": {"n_hidden": 515, "n_batch": 33, "n_time": 3},
}


def oracle(problem):
    noise = np.zeros((*problem.inputs.shape[:2], problem.config.n_hidden)) if problem.noise is None else problem.noise
    return torch_oracle.loss_and_grads(
        problem.params.state_dict(), problem.inputs, problem.labels, noise,
        problem.config.e_ratio, problem.config.alpha,
    )  # fmt: skip


def assert_matches_oracle(problem, backend):
    tolerance = TOLERANCE[problem.params.dtype.name]
    loss, grads, states, rates, outputs = oracle(problem)
    found_loss, found = ei.loss_and_grads(
        problem.config, problem.params, problem.inputs, problem.labels, problem.noise, backend=backend
    )
    assert relative_error(found_loss, loss) < tolerance
    assert set(found.state_dict()) == set(grads)
    for key, gradient in found.state_dict().items():
        assert gradient.dtype == problem.params.dtype
        assert relative_error(gradient, grads[key]) < tolerance, key
    run = ei.forward(problem.config, problem.params, problem.inputs, problem.noise, backend=backend)
    for name, expected in (("states", states), ("rates", rates), ("outputs", outputs)):
        assert relative_error(getattr(run, name), expected) < tolerance, name


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("case", CASES)
def test_matches_torch(case, dtype, backend):
    assert_matches_oracle(make_problem(dtype=dtype, **CASES[case]), backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_matches_torch_with_half_of_the_units_silent(backend):
    problem = make_problem(n_hidden=20, sigma_rec=0.05)
    problem.params.b_rec[::2] = -50
    rates = ei.forward(problem.config, problem.params, problem.inputs, problem.noise, backend=backend).rates
    assert (rates[:, :, ::2] == 0).all()
    assert (rates[:, :, 1::2] > 0).any()
    assert_matches_oracle(problem, backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_subgradients_at_the_kinks_are_those_of_torch(backend):
    problem = make_problem(noise=False)
    problem.params.w_rec[2, 3] = 0.0  # d|w|/dw = 0
    problem.params.b_rec[4] = problem.params.b_in[4] = 0.0  # x is exactly 0 all the time: relu'(0) = 0
    problem.params.w_rec[4] = problem.params.w_in[4] = 0.0
    assert_matches_oracle(problem, backend)


def test_loss_matches_scalar_loops(problem):
    params = dict(problem.params.items())
    expected = naive.loss(params, problem.inputs, problem.labels, problem.noise, problem.config.n_exc, 0.2)
    for backend in BACKENDS:
        loss, _ = ei.loss_and_grads(
            problem.config, problem.params, problem.inputs, problem.labels, problem.noise, backend=backend
        )
        np.testing.assert_allclose(loss, expected, rtol=1e-12)


def test_extreme_outputs_do_not_overflow():
    problem = make_problem(dtype="float32")
    problem.params.b_out[...] = [300, -300, 0, 200]
    for backend in BACKENDS:
        assert_matches_oracle(problem, backend)


def test_state_dict_goes_into_the_original_and_comes_back(problem):
    config, params = problem.config, problem.params
    net = torch_oracle.Net(config.n_in, config.n_hidden, config.n_out, config.e_ratio)
    net.load_state_dict({key: torch.from_numpy(value) for key, value in params.state_dict().items()})
    np.testing.assert_array_equal(ei.Params.from_state_dict(net.state_dict()).flat, params.flat)


SIZES = {"many chunks": (45, 50, 20), "chunks side by side, where a thread has two": (70, 514, 3)}


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("sizes", SIZES)
def test_same_bits_for_any_number_of_threads_and_any_memory_order(sizes, dtype, order):
    import numba

    n_batch, n_hidden, n_time = SIZES[sizes]
    problem = make_problem(n_batch=n_batch, n_hidden=n_hidden, n_time=n_time, dtype=dtype)
    arrays = [np.array(a, order=order) for a in (problem.inputs, problem.labels, problem.noise)]
    results = set()
    before = numba.get_num_threads()
    try:
        for threads in (1, 2, 3, 4):
            numba.set_num_threads(threads)
            loss, grads = ei.loss_and_grads(problem.config, problem.params, *arrays)
            run = ei.forward(problem.config, problem.params, arrays[0], arrays[2])
            results.add((float(loss).hex(), grads.flat.tobytes(), run.states.tobytes(), run.outputs.tobytes()))
    finally:
        numba.set_num_threads(before)
    assert len(results) == 1


def test_inputs_are_not_changed_and_may_be_read_only(problem):
    arrays = [problem.inputs, problem.labels, problem.noise, problem.params.flat]
    copies = [a.copy() for a in arrays]
    for a in arrays:
        a.flags.writeable = False
    ei.loss_and_grads(problem.config, problem.params, *arrays[:3])
    for a, copy in zip(arrays, copies):
        np.testing.assert_array_equal(a, copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": np.zeros((11, 3, 3))}, r"inputs must have shape \(any, any, 2\), found \(11, 3, 3\)"),
        ({"inputs": np.zeros((11, 2))}, "inputs must have shape"),
        ({"inputs": np.zeros((0, 3, 2))}, "inputs"),
        ({"inputs": np.full((11, 3, 2), np.nan)}, r"inputs must be finite, found nan at \(0, 0, 0\)"),
        ({"inputs": np.zeros((11, 3, 2), complex)}, "inputs must hold real numbers"),
        ({"inputs": [[1, 2], [3]]}, "inputs must"),
        ({"labels": np.zeros((11, 4), int)}, r"labels must have shape \(11, 3\), found \(11, 4\)"),
        ({"labels": np.full((11, 3), 4)}, r"labels must lie in 0 \.\. 3, found 4 at \(0, 0\)"),
        ({"labels": np.full((11, 3), -1)}, "labels must lie in"),
        ({"labels": np.zeros((11, 3))}, "labels must be integers"),
        ({"noise": np.zeros((11, 3, 8))}, "noise must have shape"),
        ({"noise": np.full((11, 3, 7), np.inf)}, "noise must be finite"),
        ({"backend": "torch"}, "backend must be"),
    ],
)
def test_bad_input_is_one_clear_error(problem, change, message):
    arguments = {"inputs": problem.inputs, "labels": problem.labels, "noise": problem.noise, **change}
    for backend in BACKENDS:
        with pytest.raises(ValueError, match=message):
            ei.loss_and_grads(problem.config, problem.params, **{"backend": backend, **arguments})


def test_params_of_another_network_are_refused(problem):
    other = ei.init_params(ei.ModelConfig(n_in=2, n_hidden=8, n_out=4), dtype="float64")
    with pytest.raises(ValueError, match="params do not fit config"):
        ei.forward(problem.config, other, problem.inputs)
