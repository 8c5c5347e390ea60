"""One truth for each number: no copy, pickle or assignment leaves two arrays that call themselves a parameter."""

import copy
import multiprocessing
import pickle
from dataclasses import replace

import numpy as np
import pytest
from conftest import make_problem

import eirnn_np as ei

WAYS = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
    "old pickle": lambda thing: pickle.loads(pickle.dumps(thing, protocol=2)),
    "copy of a copy": lambda thing: copy.deepcopy(pickle.loads(pickle.dumps(copy.copy(thing)))),
}
NETWORKS = {
    "plain": {},
    "x0": {"train_x0": True},
    "mask": {"mask": np.random.default_rng(0).normal(size=(7, 7))},
    "by number": {"n_exc": 3},
    "taus": {"tau": np.linspace(33.3, 140, 7)},
}


def assert_whole(params):
    """Every array is a view on the buffer, at its place in it."""
    np.testing.assert_array_equal(np.concatenate([a.ravel() for _, a in params.items()]), params.flat)
    for i, (_, array) in enumerate(params.items()):
        array[...] = i
        assert (params.flat == i).sum() == array.size
        assert np.shares_memory(array, params.flat)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("way", WAYS)
def test_params_survive_as_an_equal_object_of_their_own(way, network, dtype):
    params = make_problem(dtype=dtype, **NETWORKS[network]).params
    before = params.flat.copy()
    other = WAYS[way](params)
    assert (other.dtype, other.shapes) == (params.dtype, params.shapes)
    np.testing.assert_array_equal(other.flat, before)
    assert_whole(other)
    np.testing.assert_array_equal(params.flat, before)  # which the other's changes did not reach
    assert_whole(params)


def test_a_trained_copy_saves_what_it_was_trained_to(tmp_path):
    """What was lost before: `save_params` and `effective_weights` of a deep copy saw the untrained weights."""
    problem = make_problem()
    other = copy.deepcopy(problem.params)
    trainer = ei.Trainer(problem.config, other, lr=0.05)
    for _ in range(5):
        trainer.step(problem.inputs, problem.labels)
    ei.save_params(tmp_path / "p.safetensors", problem.config, other)
    found = ei.load_params(tmp_path / "p.safetensors")[1]
    np.testing.assert_array_equal(found.flat, other.flat)
    assert np.abs(found.flat - problem.params.flat).max() > 0.05
    outputs = [ei.forward(problem.config, other, problem.inputs, backend=b).outputs for b in ("numba", "numpy")]
    np.testing.assert_allclose(*outputs, atol=1e-12)
    weights = np.abs(found.w_rec) * ei.sign_mask(problem.config)
    np.testing.assert_array_equal(ei.effective_weights(problem.config, other), weights)


def lesioned(config, params):
    params.w_rec[:, :2] = 0
    return params


def test_a_lesion_in_what_comes_back_from_a_worker_counts():
    problem = make_problem()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        other = pool.apply(lesioned, (problem.config, problem.params))
    assert (problem.params.w_rec[:, :2] != 0).any()
    other.w_rec[2:4] = 0  # and one more here
    for backend in ("numba", "numpy"):
        expected = problem.params.copy()
        expected.w_rec[:, :2] = 0
        expected.w_rec[2:4] = 0
        found = ei.forward(problem.config, other, problem.inputs, backend=backend).outputs
        np.testing.assert_array_equal(
            found, ei.forward(problem.config, expected, problem.inputs, backend=backend).outputs
        )


@pytest.mark.parametrize("name", ["w_in", "b_in", "w_rec", "b_rec", "w_out", "b_out", "x0", "flat"])
def test_assigning_writes_into_the_buffer(name):
    problem = make_problem(train_x0=True)
    params, flat = problem.params, problem.params.flat
    view = getattr(params, name)
    new = np.random.default_rng(1).normal(size=view.shape)
    setattr(params, name, new)
    assert getattr(params, name) is view
    assert params.flat is flat
    np.testing.assert_array_equal(view, new)
    for backend in ("numba", "numpy"):
        loss, _ = ei.loss_and_grads(problem.config, params, problem.inputs, problem.labels, backend=backend)
        expected = ei.Params.like(problem.config, "float64", flat.copy())
        assert loss == ei.loss_and_grads(problem.config, expected, problem.inputs, problem.labels, backend=backend)[0]
    new[...] = 0  # the caller's array stays the caller's
    assert view.any()
    setattr(params, name, 0.5)
    assert (view == 0.5).all()
    for wrong in (np.zeros(3), np.zeros((*view.shape, 1)), np.full(view.shape, np.nan), "text", None, np.inf, 1j):
        with pytest.raises(ValueError, match=rf"^{name} must"):
            setattr(params, name, wrong)
    assert (view == 0.5).all()


def test_in_place_operators_and_overlaps():
    params = make_problem().params
    before = params.w_rec.copy()
    params.w_rec *= 2
    params.w_rec = params.w_rec.T
    np.testing.assert_array_equal(params.flat[7 * 2 + 7 :][:49].reshape(7, 7), 2 * before.T)


def test_a_parameter_that_the_network_has_not_is_refused():
    params = make_problem().params
    with pytest.raises(ValueError, match="x0 is no parameter of this network"):
        params.x0 = np.zeros(7)
    with pytest.raises(AttributeError):
        params.w_recc = np.zeros((7, 7))
    with pytest.raises(TypeError):
        params.shapes["w_in"] = (3, 3)


@pytest.mark.parametrize("flat", [[0.0] * 101, np.zeros(101, ">f8"), np.zeros(101, np.float16), np.zeros((101, 1))])
def test_a_buffer_that_no_kernel_takes_is_refused(flat):
    with pytest.raises(ValueError, match=r"must (have shape|be float32 or float64)"):
        ei.Params(2, 7, 4, 5, flat=flat)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("way", WAYS)
def test_configurations_survive_and_stay_read_only(way, network):
    config = make_problem(**NETWORKS[network]).config
    other = WAYS[way](config)
    assert other == config
    assert other.to_dict() == config.to_dict()
    assert replace(other) == config
    if config.mask is not None:
        for each in (config, other, replace(config)):
            np.testing.assert_array_equal(each.mask, config.mask)
            with pytest.raises(ValueError, match="read-only"):
                each.mask[0, 0] = 3
            with pytest.raises(ValueError, match="WRITEABLE"):
                each.mask.flags.writeable = True
    with pytest.raises(AttributeError):
        other.n_hidden = 3


def test_the_mask_handed_over_is_the_caller_s():
    mask = np.ones((7, 7))
    config = make_problem(mask=mask).config
    mask[...] = 5
    assert (config.mask == 1).all()


@pytest.mark.parametrize("optimiser", [lambda: ei.Adam(0.05, (0.8, 0.9), 1e-6), lambda: ei.SGD(0.1, 0.5)])
@pytest.mark.parametrize("way", WAYS)
def test_optimisers_survive_with_moments_of_their_own(way, optimiser):
    problem = make_problem()
    _, grads = ei.loss_and_grads(problem.config, problem.params, problem.inputs, problem.labels)
    first, params = optimiser(), problem.params
    first.update(params, grads)
    second, twin = WAYS[way](first), params.copy()
    first.update(params, grads)
    second.update(twin, grads)
    assert twin.flat.tobytes() == params.flat.tobytes()
    assert vars(second).keys() == vars(first).keys()
    third = WAYS[way](first)
    kept = {name: copy.deepcopy(value) for name, value in vars(third).items()}
    first.update(params, grads)
    for name, value in vars(third).items():
        np.testing.assert_array_equal(value, kept[name])


@pytest.mark.parametrize(("H", "ratio", "expected"), [(150, 0.82, 123), (50, 0.8, 40), (7, 0.8, 5), (100, 0.29, 29),
                                                      (100, 0.57, 57), (10, 0.7, 7), (7, 1 / 3, 2), (9, 1 / 3, 3),
                                                      (50, 1 - 1e-12, 49)])  # fmt: skip
def test_excitatory_units_by_ratio(H, ratio, expected):
    assert ei.ModelConfig(n_hidden=H, e_ratio=ratio).n_exc == expected


def test_every_percentage_of_every_size_is_what_it_says():
    from fractions import Fraction

    for percent in range(1, 100):
        for H in range(1, 301):
            exact = int(Fraction(percent, 100) * H)
            if exact:
                assert ei.ModelConfig(n_hidden=H, e_ratio=percent / 100).n_exc == exact, (percent, H)


def test_excitatory_units_by_number():
    config = ei.ModelConfig(n_hidden=150, n_exc=122)
    assert config.n_exc == 122
    assert replace(config, n_hidden=200).n_exc == 122  # a number stays
    assert replace(ei.ModelConfig(n_hidden=50), n_hidden=100).n_exc == 80  # a share is taken anew
    assert replace(ei.ModelConfig(n_hidden=50), e_ratio=0.5).n_exc == 25
    assert replace(ei.ModelConfig(n_hidden=50), n_hidden=100, n_exc=7).n_exc == 7
    half = ei.ModelConfig(n_hidden=50, e_ratio=0.5)
    assert ei.ModelConfig(n_hidden=100, n_exc=half.n_exc).n_exc == 25  # read from another network: a number
    assert type(half.n_exc) is int
    assert config.to_dict()["n_exc"] == 122
    assert ei.ModelConfig().to_dict()["n_exc"] is None
    assert ei.ModelConfig.from_dict(config.to_dict()) == config
    assert ei.ModelConfig(n_hidden=10, n_exc=8) == ei.ModelConfig(n_hidden=10, e_ratio=0.8)
    for wrong in (0, 151, 1.0, True, "40"):
        with pytest.raises(ValueError, match="n_exc must be an integer"):
            ei.ModelConfig(n_hidden=150, n_exc=wrong)
    everyone = ei.ModelConfig(n_hidden=6, n_exc=6)
    assert np.isfinite(ei.init_params(everyone).flat).all()
    assert (ei.effective_weights(everyone, ei.init_params(everyone)) >= 0).all()
