"""What the equations allow beyond the tutorial: each option in both backends against torch, and what it means."""

import numpy as np
import pytest
import torch
import torch_oracle
from conftest import TOLERANCE, make_problem, relative_error

import eirnn_np as ei

BACKENDS = ("numpy", "numba")
RNG = np.random.default_rng(3)
OPTIONS = {
    "x0": {"train_x0": True},
    "tau per unit": {"tau": tuple(np.linspace(20.0, 200.0, 7))},
    "any real mask": {"mask": RNG.normal(size=(7, 7))},
    "squared error": {"loss": "squared_error"},
    "all of it": {
        "train_x0": True,
        "tau": tuple(np.linspace(20.0, 200.0, 7)),
        "mask": RNG.normal(size=(7, 7)) * (RNG.random((7, 7)) < 0.5),
        "loss": "squared_error",
    },
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weights"])
@pytest.mark.parametrize("option", OPTIONS)
def test_matches_torch(option, weighted, dtype, backend):
    problem = make_problem(dtype=dtype, **OPTIONS[option])
    weights = None
    if weighted:
        weights = np.random.default_rng(1).random((11, 3)) * (np.arange(33).reshape(11, 3) % 4 != 0)
    config, params = problem.config, problem.params
    loss, grads, *_ = torch_oracle.loss_and_grads(
        params.state_dict(), problem.inputs, problem.labels, problem.noise, config.e_ratio, config.alpha,
        mask=ei.sign_mask(config), x0=params.x0, weights=weights, squared=config.loss == "squared_error",
    )  # fmt: skip
    found_loss, found = ei.loss_and_grads(
        config, params, problem.inputs, problem.labels, problem.noise, weights, backend=backend
    )
    assert relative_error(found_loss, loss) < TOLERANCE[dtype]
    assert set(found.state_dict()) == set(grads)
    for key, gradient in found.state_dict().items():
        assert relative_error(gradient, grads[key]) < TOLERANCE[dtype], key


@pytest.mark.parametrize("dynamics", ["song2016", "brainpy"])
@pytest.mark.parametrize("case", range(32))
def test_every_option_and_parameter_off_its_default_in_every_combination(case, dynamics):
    """No default hides a difference: all parameters random, b_in and x_0 among them; all backends and oracles agree."""
    x0, taus, mask, squared, weighted = ((case >> bit) & 1 for bit in range(5))
    rng = np.random.default_rng(case)
    options: dict = {"train_x0": bool(x0), "n_exc": 4, "dt": 13.0, "sigma_rec": 0.4, "dynamics": dynamics}
    options["tau"] = tuple(np.linspace(14.0, 200.0, 7)) if taus else 71.0
    if mask:
        options["mask"] = rng.normal(size=(7, 7)) * (rng.random((7, 7)) < 0.7)
    options["loss"] = "squared_error" if squared else "cross_entropy"
    problem = make_problem(**options)
    problem.params.flat[...] = rng.normal(0, 0.6, problem.params.flat.size)
    weights = rng.random((11, 3)) if weighted else None
    arguments = problem.config, problem.params, problem.inputs, problem.labels, problem.noise, weights
    loss, grads = ei.loss_and_grads(*arguments)
    expected_loss, expected = ei.loss_and_grads(*arguments, backend="numpy")
    assert abs(loss - expected_loss) < 1e-12 * abs(expected_loss)
    for (name, found), (_, wanted) in zip(grads.items(), expected.items()):
        assert relative_error(found, wanted) < 1e-12, name
    report = ei.check_network(*arguments, oracles=("rtrl",))
    assert report.passed, str(report)
    assert {"numpy", "torch", "rtrl"} <= set(report.rows["w_rec"])
    for backend in ("numba", "numpy"):
        run = ei.forward(*arguments[:3], problem.noise, backend=backend)
        assert relative_error(run.outputs, ei.forward(*arguments[:3], problem.noise).outputs) < 1e-13


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_the_brainpy_variant_has_no_bias_on_the_input(backend):
    """Whatever stands in b_in: so says its gradient, 0, too."""
    problem = make_problem(dynamics="brainpy")
    arguments = problem.config, problem.params, problem.inputs, problem.labels, problem.noise
    before = ei.loss_and_grads(*arguments, backend=backend)
    problem.params.b_in = 0.7
    after = ei.loss_and_grads(*arguments, backend=backend)
    assert after[0] == before[0]
    np.testing.assert_array_equal(after[1].flat, before[1].flat)
    assert not after[1].b_in.any()


def brainpy_oracle(problem):
    """Loss and gradients under our names and in our [to, from] order, from the tutorial's own equations."""
    p, noise = problem.params, problem.noise
    as64 = lambda a: np.asarray(a, np.float64)  # noqa: E731
    net = torch_oracle.BrainPyNet(as64(p.w_in.T), as64(p.w_rec.T), as64(p.b_rec), as64(p.w_out.T), as64(p.b_out), 0.2)
    rates, outputs = net(torch.tensor(as64(problem.inputs)), torch.tensor(as64(noise)))
    loss = torch_oracle.cross_entropy(outputs, torch.tensor(problem.labels))
    loss.backward()
    grads = {"w_in": net.w_ir.grad.T, "w_rec": net.w_rr.grad.T, "b_rec": net.b_rr.grad, "w_out": net.w_ro.grad.T}
    grads |= {"b_out": net.b_ro.grad, "b_in": torch.zeros(len(p.b_rec))}
    return loss.item(), {k: v.numpy() for k, v in grads.items()}, rates.detach().numpy(), outputs.detach().numpy()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("sizes", [{}, {"n_time": 1}, {"n_batch": 1}, {"n_hidden": 50, "n_batch": 9, "e_ratio": 0.5}])
def test_brainpy_dynamics_match_the_tutorial(sizes, dtype, backend):
    problem = make_problem(dtype=dtype, dynamics="brainpy", **sizes)
    loss, grads, rates, outputs = brainpy_oracle(problem)
    arguments = problem.config, problem.params, problem.inputs
    found_loss, found = ei.loss_and_grads(*arguments, problem.labels, problem.noise, backend=backend)
    run = ei.forward(*arguments, problem.noise, backend=backend)
    assert relative_error(found_loss, loss) < TOLERANCE[dtype]
    assert relative_error(run.rates, rates) < TOLERANCE[dtype]
    assert relative_error(run.outputs, outputs) < TOLERANCE[dtype]
    for name, gradient in found.items():
        assert relative_error(gradient, grads[name]) < TOLERANCE[dtype], name


def test_brainpy_noise_is_one_vector_a_step_shared_by_the_batch():
    noise = ei.recurrent_noise(ei.ModelConfig(dynamics="brainpy"), 0, 3, 5, 4)
    assert (noise == noise[:, :1]).all()
    np.testing.assert_array_equal(noise[:, 0], ei.recurrent_noise(ei.ModelConfig(), 0, 3, 5, 4)[:, 0])


def test_brainpy_training_keeps_b_in_at_zero_and_trains_the_rest():
    problem = make_problem(dynamics="brainpy", dtype="float32")
    start = problem.params.copy()
    assert not problem.params.b_in.any()
    trainer = ei.Trainer(problem.config, problem.params)
    for _ in range(5):
        trainer.step(problem.inputs, problem.labels)
    assert not problem.params.b_in.any()
    for name, value in problem.params.items():
        if name != "b_in":
            assert (value != getattr(start, name)).any(), name


@pytest.mark.parametrize(("dynamics", "holds"), [("song2016", True), ("brainpy", False)])
def test_dales_principle(dynamics, holds):
    """All weights out of one unit have one sign: in the paper's network, not in the BrainPy tutorial's."""
    config = ei.ModelConfig(dynamics=dynamics)
    params = ei.init_params(config, seed=1)
    trainer = ei.Trainer(config, params)
    batches = ei.make_batches(seed=1)
    for _ in range(30):
        trainer.step(*next(batches))
    weights = ei.effective_weights(config, params)
    assert (np.diag(weights) == 0).all()
    outgoing = [set(np.sign(column[column != 0])) for column in weights.T]  # column: presynaptic unit
    assert all(len(signs) == 1 for signs in outgoing) == holds
    if holds:
        assert all(signs == {1.0} for signs in outgoing[: config.n_exc])
        assert all(signs == {-1.0} for signs in outgoing[config.n_exc :])


def test_trained_x0_learns_and_moves():
    problem = make_problem(train_x0=True, dtype="float32")
    start = problem.params.x0.copy()
    trainer = ei.Trainer(problem.config, problem.params)
    losses = [trainer.step(problem.inputs, problem.labels) for _ in range(50)]
    assert losses[-1] < losses[0]
    assert (problem.params.x0 != start).all()


def test_weight_zero_ignores_a_step_altogether():
    problem = make_problem()
    weights = np.ones((11, 3))
    weights[4:] = 0
    short = ei.loss_and_grads(problem.config, problem.params, problem.inputs[:4], problem.labels[:4], problem.noise[:4])
    labels = problem.labels.copy()
    labels[4:] = 0
    long = ei.loss_and_grads(problem.config, problem.params, problem.inputs, labels, problem.noise, weights)
    np.testing.assert_allclose(long[0], short[0], rtol=1e-14)
    np.testing.assert_allclose(long[1].flat, short[1].flat, rtol=1e-11, atol=1e-16)


def test_weights_of_any_scale_are_normalised():
    problem = make_problem()
    arrays = problem.config, problem.params, problem.inputs, problem.labels, problem.noise
    plain = ei.loss_and_grads(*arrays)
    for scale in (1e-30, 1.0, 1e200):
        scaled = ei.loss_and_grads(*arrays, np.full((11, 3), scale))
        np.testing.assert_allclose(scaled[1].flat, plain[1].flat, rtol=1e-12)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones((3, 11)), "weights must have shape"),
        (np.zeros((11, 3)), "weights must be 0 or more and not all 0"),
        (np.full((11, 3), -1.0), "weights must be 0 or more"),
        (np.full((11, 3), np.nan), "weights must be finite"),
    ],
)
def test_bad_weights(problem, weights, message):
    with pytest.raises(ValueError, match=message):
        ei.loss_and_grads(problem.config, problem.params, problem.inputs, problem.labels, weights=weights)


def test_masked_weights_stay_exactly_zero_in_training():
    config = ei.ModelConfig(mask=ei.sparse_mask(ei.ModelConfig(), p=0.2, seed=5))
    params = ei.init_params(config)
    theta = params.w_rec.copy()
    trainer = ei.Trainer(config, params)
    batches = ei.make_batches()
    for _ in range(10):
        trainer.step(*next(batches))
    weights, absent = ei.effective_weights(config, params), config.mask == 0
    assert (weights[absent] == 0).all()
    np.testing.assert_array_equal(params.w_rec[absent], theta[absent])
    assert (params.w_rec[~absent] != theta[~absent]).any()


def test_masks():
    config = ei.ModelConfig(n_hidden=200)
    full = ei.sign_mask(config)
    sparse = ei.sparse_mask(config, p=0.3, seed=2)
    assert set(np.unique(sparse)) == {-1.0, 0.0, 1.0}
    np.testing.assert_array_equal(sparse[sparse != 0], full[sparse != 0])
    assert abs((sparse != 0).mean() - 0.3) < 5 * np.sqrt(0.3 * 0.7) / 200 + 1 / 200
    np.testing.assert_array_equal(sparse, ei.sparse_mask(config, p=0.3, seed=2))
    assert (ei.sparse_mask(config, p=0.3, seed=3) != sparse).any()

    areas = np.arange(200) % 2
    blocks = ei.block_mask(config, areas, [[1, 0], [0.5, 2]])
    np.testing.assert_array_equal(blocks[0::2, 0::2], full[0::2, 0::2])
    assert (blocks[0::2, 1::2] == 0).all()  # to area 0 from area 1
    np.testing.assert_array_equal(blocks[1::2, 0::2], 0.5 * full[1::2, 0::2])
    for wrong in ({"p": 1.5}, {"p": "x"}):
        with pytest.raises(ValueError, match="p must"):
            ei.sparse_mask(config, **wrong)
    with pytest.raises(ValueError, match="areas must"):
        ei.block_mask(config, areas + 1, [[1, 0], [0, 1]])
    with pytest.raises(ValueError, match="connections must be square"):
        ei.block_mask(config, areas, [[1, 0]])
