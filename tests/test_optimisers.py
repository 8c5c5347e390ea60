"""Adam against scalar loops, and 200 steps of training against PyTorch's."""

import copy
import pickle

import naive
import numpy as np
import pytest
import torch
import torch_oracle

import eirnn_np as ei

SMALL = ei.ModelConfig(n_in=2, n_hidden=7, n_out=4)


def random_grads(n, dtype="float64"):
    """Gradients of all sizes, some of them 0 all the time or now and then."""
    rng = np.random.default_rng(0)
    grads = [ei.Params.like(SMALL, dtype) for _ in range(n)]
    scale = 10.0 ** rng.integers(-12, 3, grads[0].flat.size)
    for g in grads:
        g.flat[...] = scale * rng.normal(size=scale.size) * (rng.random(scale.size) < 0.9)
        g.w_out[...] = 0
    return grads


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"lr": 0.1},
        {"betas": (0.0, 0.0)},
        {"betas": (0.5, 0.9)},
        {"eps": 1e-3},
        {"lr": 3, "betas": (0, 0.99)},
    ],
)
def test_matches_scalar_loops(options):
    grads, params = random_grads(30), ei.init_params(SMALL, dtype="float64")
    beta1, beta2 = options.get("betas", (0.9, 0.999))
    expected = naive.adam(params.flat, [g.flat for g in grads], options.get("lr", 1e-3), beta1, beta2,
                          options.get("eps", 1e-8))  # fmt: skip
    adam = ei.Adam(**options)
    for k, g in enumerate(grads, 1):
        adam.update(params, g)
        assert adam.k == k
    np.testing.assert_allclose(params.flat, expected, rtol=1e-12, atol=1e-15)


def test_float32_follows_float64_to_rounding():
    finals = []
    for dtype in ("float32", "float64"):
        params, adam = ei.init_params(SMALL, dtype=dtype), ei.Adam(0.01)
        for g in random_grads(30, dtype):
            adam.update(params, g)
        assert params.dtype == adam.m.dtype == adam.v.dtype == dtype
        finals.append(params.flat)
    np.testing.assert_allclose(*finals, rtol=0, atol=1e-6)


def test_a_gradient_of_zeros_changes_nothing():
    params, adam = ei.init_params(SMALL), ei.Adam()
    before = params.flat.copy()
    for _ in range(3):
        adam.update(params, ei.Params.like(SMALL))
    np.testing.assert_array_equal(params.flat, before)


def test_gradients_are_not_changed():
    (g,) = random_grads(1)
    before = g.flat.copy()
    ei.Adam().update(ei.init_params(SMALL, dtype="float64"), g)
    np.testing.assert_array_equal(g.flat, before)


@pytest.fixture
def one_torch_thread():
    """Two OpenMP pools in one process wait for each other's busy threads: a step would take a second."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_torch_thread")
def test_200_steps_of_training_match_torch():
    """Tutorial's size, real batches, recurrent noise: the same losses and the same parameters all the way."""
    config = ei.ModelConfig()
    params = ei.init_params(config, 1, "float64")
    trainer = ei.Trainer(config, params, lr=1e-3, seed=4)
    net = torch_oracle.Net(3, 50, 3, config.e_ratio, 0.2)
    net.load_state_dict({key: torch.from_numpy(value) for key, value in params.state_dict().items()})
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
    start, batches = params.flat.copy(), ei.make_batches(seed=2)
    for k in range(200):
        inputs, labels = next(batches)
        assert inputs.shape == (100, 16, 3)
        noise = ei.recurrent_noise(config, 4, k, 100, 16, "float64")
        _, _, outputs = net(torch.tensor(inputs, dtype=torch.float64), torch.from_numpy(noise))
        expected = torch_oracle.cross_entropy(outputs, torch.from_numpy(labels))
        optimiser.zero_grad()
        expected.backward()
        optimiser.step()
        np.testing.assert_allclose(trainer.step(inputs, labels), expected.item(), rtol=1e-9, err_msg=f"step {k}")
    theirs = ei.Params.from_state_dict(net.state_dict())
    for (name, ours), (_, other) in zip(params.items(), theirs.items()):
        assert np.abs(ours - other).max() < 1e-8, name
    assert np.abs(params.flat - start).max() > 0.05  # they went somewhere


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *[({"lr": lr}, "lr must be") for lr in (0, -1e-3, np.nan, np.inf, None, [1e-3])],
        *[
            ({"betas": betas}, r"betas\[[01]\] must be")
            for betas in ((1.0, 0.9), (0.9, 1.0), (-0.1, 0.9), (np.nan, 0.9))
        ],
        *[({"betas": betas}, "betas must be") for betas in ((0.9,), (0.9, 0.9, 0.9), ())],
        *[({"eps": eps}, "eps must be") for eps in (-1e-8, np.nan, np.inf)],
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        ei.Adam(**options)


@pytest.mark.parametrize(
    "grads",
    [ei.Params.like(SMALL, "float64"), ei.Params.like(ei.ModelConfig()), ei.Params(2, 7, 4, 5, with_x0=True)],
    ids=["dtype", "sizes", "x0"],
)
def test_gradients_that_do_not_fit_are_refused_and_change_nothing(grads):
    params, adam = ei.init_params(SMALL), ei.Adam()
    grads.flat[...] = 1
    before = params.flat.copy()
    with pytest.raises(ValueError, match="grads must be"):
        adam.update(params, grads)
    np.testing.assert_array_equal(params.flat, before)
    assert adam.k == 0


@pytest.mark.parametrize("other", [ei.Params.like(SMALL, "float64"), ei.Params.like(ei.ModelConfig())])
def test_moments_belong_to_one_network(other):
    params, adam = ei.init_params(SMALL), ei.Adam()
    adam.update(params, params.copy())
    moments = adam.m.copy(), adam.v.copy()
    with pytest.raises(ValueError, match="this Adam holds moments for"):
        adam.update(other, other.copy())
    assert adam.k == 1
    np.testing.assert_array_equal((adam.m, adam.v), moments)


CHANGES = {
    "lr": 0.1,
    "schedule": lambda k: 0.1 * (k + 1),
    "eps": 1e-3,
    "betas": (0.5, 0.6),
    "clip": 1e-6,
    "largest": 1e-30,
    "m": np.ones_like,
    "v": np.ones_like,
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_changed_between_two_steps_counts_in_the_next(name):
    """A step keeps at hand what the last one had prepared. `other` has the same state, and nothing at hand."""
    rng = np.random.default_rng(0)
    batch = rng.normal(size=(5, 3, 2)).astype("f4"), rng.integers(0, 4, (5, 3))
    going = ei.Trainer(SMALL, ei.init_params(SMALL), lr=1e-3)
    going.step(*batch)
    going.step(*batch)
    anew = ei.Adam(1e-3)
    for known in ("m", "v", "k"):
        setattr(anew, known, getattr(going.adam, known) if known == "k" else getattr(going.adam, known).copy())
    other = ei.Trainer(SMALL, going.params.copy(), optimiser=anew)
    unchanged = ei.Trainer(SMALL, going.params.copy(), optimiser=copy.deepcopy(going.adam))
    for adam in (going.adam, anew):
        value = CHANGES[name]
        setattr(adam, name, value(adam.m) if name in "mv" else value)
    for trainer in (going, other, unchanged):
        trainer.warns = False
        trainer.step(*batch)
    assert going.params.flat.tobytes() == other.params.flat.tobytes()
    assert going.params.flat.tobytes() != unchanged.params.flat.tobytes()


def test_a_step_takes_other_parameters_and_other_frozen_numbers():
    rng = np.random.default_rng(0)
    batch = rng.normal(size=(5, 3, 2)).astype("f4"), rng.integers(0, 4, (5, 3))
    trainer, params = ei.Trainer(SMALL, ei.init_params(SMALL)), ei.init_params(SMALL, 1)
    trainer.step(*batch)
    trainer.params, before = params, params.flat.copy()
    trainer.step(*batch)
    assert (params.flat != before).any()
    trainer.frozen, before = np.ones(params.flat.size, np.uint8), params.flat.copy()
    trainer.step(*batch)
    assert trainer.k == 3
    np.testing.assert_array_equal(params.flat, before)


def test_parameters_that_were_read_only_for_a_step_are_trained_after_it():
    batch, params = (np.ones((2, 1, 2), np.float32), np.zeros((2, 1), np.int64)), ei.init_params(SMALL)
    trainer, before = ei.Trainer(SMALL, params), params.flat.copy()
    params.flat.flags.writeable = False
    trainer.step(*batch)
    np.testing.assert_array_equal(params.flat, before)
    params.flat.flags.writeable = True
    trainer.step(*batch)
    assert (params.flat != before).any()


def test_betas_in_a_list_cannot_change_unseen():
    adam = ei.Adam()
    adam.betas = [0.5, 0.6]
    assert adam.betas == (0.5, 0.6)


def test_a_copy_of_an_optimiser_holds_no_parameters():
    params = ei.init_params(ei.ModelConfig(n_hidden=200))
    trainer = ei.Trainer(ei.ModelConfig(n_hidden=200), params, optimiser=ei.SGD(0.1))
    trainer.step(np.zeros((2, 1, 3), np.float32), np.zeros((2, 1), np.int64))
    assert len(pickle.dumps(trainer.optimiser)) < 1000
