"""Fixed points: against every linear region solved by hand, scipy's root, finite differences and closed forms."""

import itertools

import numba
import numpy as np
import pytest
import scipy.optimize

import eirnn_np as ei
from eirnn_np.dynamics import Field, kernels, step

H, INPUTS = 7, np.array([0.7, -0.2])


def network(seed, gain=6.0, dynamics="song2016", tau=100.0, h=H, **options):
    """A network of any real weights, strong enough for several fixed points."""
    rng = np.random.default_rng(seed)
    mask = gain / np.sqrt(h) * rng.normal(size=(h, h))
    config = ei.ModelConfig(n_in=2, n_hidden=h, n_out=3, mask=mask, dynamics=dynamics, tau=tau, **options)
    params = ei.init_params(config, seed, "float64")
    params.w_rec[...] = rng.choice([-1.0, 1.0], (h, h))
    return config, params


def all_fixed_points(config, params, u):
    """Of a ReLU network: solve each of its 2^H linear regions, keep what lies inside its own. Plain NumPy."""
    alpha, h = config.alpha, config.n_hidden
    weights = np.abs(params.w_rec) * config.mask
    bias = params.b_rec + params.w_in @ u + (0 if config.dynamics == "brainpy" else params.b_in)
    found = []
    for active in itertools.product([0.0, 1.0], repeat=h):
        inner = alpha[:, None] * weights * active
        leak = np.diag(1 - alpha) * (active if config.dynamics == "brainpy" else 1.0)
        x = np.linalg.solve(np.eye(h) - leak - inner, alpha * bias)
        if ((x > 0) == np.array(active, bool)).all():
            found.append(x)
    return np.array(found).reshape(-1, h)


def same_set(found, expected, tolerance=1e-8):
    assert found.shape == expected.shape
    distance = np.linalg.norm(found[:, None] - expected[None], axis=2) if len(found) else np.zeros((1, 1))
    assert distance.min(axis=0).max() <= tolerance
    assert distance.min(axis=1).max() <= tolerance


TAUS = tuple(50.0 + 20 * i for i in range(H))


@pytest.mark.parametrize(("dynamics", "tau"), [("song2016", 100.0), ("song2016", TAUS), ("brainpy", 100.0)])
def test_finds_every_fixed_point(dynamics, tau):
    """All that 2^7 regions have, over networks that have none, one or several."""
    numbers = []
    for seed in range(12):
        config, params = network(seed, dynamics=dynamics, tau=tau)
        expected = all_fixed_points(config, params, INPUTS)
        found = ei.fixed_points(config, params, INPUTS, n_starts=300)
        same_set(found.points, expected)
        assert found.exact.all()
        assert found.regions.n_only_search == 0
        assert found.regions.difference < 1e-9
        numbers.append(len(expected))
    assert max(numbers) >= 3
    assert len(set(numbers)) >= 3


def move(x, config, params):
    return step(config, params, INPUTS, x) - x


def move_jacobian(x, config, params):
    return ei.jacobian(config, params, x) - np.eye(H)


def test_the_search_alone_finds_what_scipy_finds_from_the_same_starts():
    total = 0
    for seed in (0, 3, 5):
        config, params = network(seed)
        starts = 3 * np.random.default_rng(seed).normal(size=(100, H))
        theirs = []
        for start in starts:
            done = scipy.optimize.root(move, start, (config, params), tol=1e-13, jac=move_jacobian)
            if np.abs(done.fun).max() < 1e-11 and not any(np.linalg.norm(done.x - x) < 1e-7 for x in theirs):
                theirs.append(done.x)
        found = ei.fixed_points(config, params, INPUTS, starts)
        same_set(found.points[found.counts > 0], np.array(theirs).reshape(-1, H))
        total += len(theirs)
    assert total > 3


@pytest.mark.parametrize("activation", ["softplus", "tanh", "retanh", "sigmoid"])
def test_other_activations_have_the_points_that_scipy_finds(activation):
    gain = 1.5 if activation == "softplus" else 5.0  # it has no bound
    config, params = network(4, gain, activation=activation, readout="all", baseline_in=0.1, rectify_inputs=True)
    starts = 2 * np.random.default_rng(0).normal(size=(40, H))
    found = ei.fixed_points(config, params, INPUTS)
    assert found.regions is None
    theirs = [scipy.optimize.root(move, start, (config, params), tol=1e-13, jac=move_jacobian) for start in starts]
    theirs = np.array([done.x for done in theirs if np.abs(done.fun).max() < 1e-12])
    assert len(theirs) > 10
    distance = np.linalg.norm(found.points[:, None] - theirs[None], axis=2)
    assert distance.min(axis=0).max() < 1e-8  # each of theirs is one of ours
    for x in found.points:  # and each of ours one that theirs stays at
        done = scipy.optimize.root(move, x + 1e-4, (config, params), tol=1e-13, jac=move_jacobian)
        np.testing.assert_allclose(done.x, x, atol=1e-8)
    assert found.outputs.shape == (len(found), 3)
    run = ei.forward(config, params, np.tile(INPUTS, (3, 1, 1)), backend="numpy")
    np.testing.assert_allclose(step(config, params, INPUTS, run.states[:-1, 0]), run.states[1:, 0], rtol=1e-12)


@pytest.mark.parametrize("dynamics", ["song2016", "brainpy"])
def test_jacobian_and_gradient_of_the_speed_by_finite_differences(dynamics):
    config, params = network(1, dynamics=dynamics, tau=TAUS if dynamics == "song2016" else 100.0)
    x, h = np.random.default_rng(0).normal(size=(3, H)), 1e-6
    found = ei.jacobian(config, params, x)
    field = Field.of(config, params, INPUTS)
    for p, j in itertools.product(range(3), range(H)):
        d = h * np.eye(H)[j]
        slopes = (step(config, params, INPUTS, x[p] + d) - step(config, params, INPUTS, x[p] - d)) / (2 * h)
        np.testing.assert_allclose(found[p][:, j], slopes, atol=1e-8)
    np.testing.assert_array_equal(ei.jacobian(config, params, x[1]), found[1])
    dq, g, s, r = np.empty((4, H))

    @numba.njit
    def gradient(dq, y, g, s, r, k, m, c, number):
        q = kernels.velocity(g, s, r, y, k, m, c, number)
        kernels.speed_gradient(dq, g, s, k, m)
        return q

    def speed(y):
        return gradient(dq, y, g, s, r, field.k, field.m, field.c, field.number)

    slopes = [(speed(x[0] + h * e) - speed(x[0] - h * e)) / (2 * h) for e in np.eye(H)]
    assert speed(x[0]) == pytest.approx(((step(config, params, INPUTS, x[0]) - x[0]) ** 2).sum() / 2)
    np.testing.assert_allclose(dq, slopes, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("dynamics", ["song2016", "brainpy"])
def test_a_step_is_that_of_the_network(dynamics):
    config, params = network(2, dynamics=dynamics)
    params.b_in[...] = 0.3  # of no effect in "brainpy"
    x = ei.forward(config, params, np.tile(INPUTS, (4, 1, 1))).states[:, 0]
    np.testing.assert_allclose(step(config, params, INPUTS, x[:-1]), x[1:], rtol=1e-12, atol=1e-13)


def test_eigenvalues_vectors_and_times_are_those_of_the_jacobian():
    config, params = network(5)
    found = ei.fixed_points(config, params, INPUTS, n_starts=200)
    assert len(found) > 1
    for p, x in enumerate(found.points):
        j = ei.jacobian(config, params, x)
        np.testing.assert_allclose(j @ found.eigenvectors[p], found.eigenvectors[p] * found.eigenvalues[p], atol=1e-10)
        np.testing.assert_allclose(found.left_eigenvectors[p] @ found.eigenvectors[p], np.eye(H), atol=1e-8)
        size = np.abs(found.eigenvalues[p])
        assert (np.diff(size) <= 0).all()
        assert found.unstable[p] == (size > 1).sum()
        assert found.stable[p] == (size.max() < 1)
        np.testing.assert_allclose(np.exp(-config.dt / found.time_constants[p]), size)
        ends = x + 1e-6 * np.random.default_rng(p).normal(size=(1, H))
        for _ in range(3000):
            ends = step(config, params, INPUTS, ends)
            if np.abs(ends).max() > 1e3:
                break
        assert (np.linalg.norm(ends - x) < 1e-6) == found.stable[p]
    assert (np.diff(found.unstable) >= 0).all()
    np.testing.assert_allclose(found.outputs, np.maximum(found.points, 0)[:, :5] @ params.w_out.T + params.b_out)
    np.testing.assert_array_equal(found.rates, np.maximum(found.points, 0))


def test_two_units_that_inhibit_each_other():
    """W = -2 between them, bias 1: one wins with x = (1, -1), or both stand at 1/3, a saddle; all in closed form."""
    mask = np.array([[0.0, -2.0], [-2.0, 0.0]])
    config = ei.ModelConfig(n_in=1, n_hidden=2, n_out=2, mask=mask, n_exc=1, dt=20, tau=100)
    params = ei.init_params(config, dtype="float64")
    params.flat[...] = 0
    params.w_rec[...] = 1
    params.b_rec[...] = 1
    found = ei.fixed_points(config, params, [0.0])
    same_set(found.points[:2], np.array([[1.0, -1.0], [-1.0, 1.0]]), 1e-12)
    np.testing.assert_allclose(found.points[2:], [[1 / 3, 1 / 3]], atol=1e-12)
    assert found.stable.tolist() == [True, True, False]
    np.testing.assert_allclose(found.eigenvalues[0], [0.8, 0.8], atol=1e-9)  # both decay by the leak
    np.testing.assert_allclose(found.time_constants[:2], -20 / np.log(0.8))
    np.testing.assert_allclose(found.eigenvalues[2], [0.8 + 0.4, 0.8 - 0.4])
    assert found.counts[:2].min() > 200


def test_a_slow_point_is_where_a_fixed_point_has_just_gone():
    """A unit that excites itself by 0.99 stands still at 0.1; by 1, it drifts for ever, slowly."""
    config = ei.ModelConfig(n_in=1, n_hidden=2, n_out=1, n_exc=1, mask=np.array([[0.99, 0.0], [0.0, 0.0]]))
    params = ei.init_params(config, dtype="float64")
    params.flat[...] = 0
    params.w_rec[...] = 1
    params.b_rec[...] = 1e-3, 1.0
    found = ei.fixed_points(config, params, [0.0])
    np.testing.assert_allclose(found.points, [[0.1, 1.0]])
    np.testing.assert_allclose(found.time_constants[0, 0], -20 / np.log(1 - 0.2 * 0.01))  # 10 s: a slow manifold
    config = ei.ModelConfig(n_in=1, n_hidden=2, n_out=1, n_exc=1, mask=np.array([[1.0, 0.0], [0.0, 0.0]]))
    found = ei.fixed_points(config, params, [0.0], n_starts=50)
    assert len(found) == 0
    assert found.eigenvalues.shape == (0, 2)
    slow = ei.fixed_points(config, params, [0.0], n_starts=50, max_speed=1e-6)
    assert len(slow) > 1
    assert not slow.exact.any()
    np.testing.assert_allclose(slow.speeds, (0.2 * 1e-3) ** 2 / 2)


def test_threads_order_and_dtype_do_not_change_the_points():
    config, params = network(3)
    starts = np.random.default_rng(0).normal(size=(50, H))
    first = ei.fixed_points(config, params, INPUTS, starts)
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        again = ei.fixed_points(config, params, INPUTS, np.asfortranarray(starts))
    finally:
        numba.set_num_threads(before)
    np.testing.assert_array_equal(again.points, first.points)
    same_set(ei.fixed_points(config, params, INPUTS, starts[::-1]).points, first.points)
    single = ei.fixed_points(config, params.astype("float32"), INPUTS, starts)
    assert single.points.dtype == np.float64


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inputs": [1.0]}, r"inputs must have shape \(2,\)"),
        ({"inputs": [np.nan, 1]}, "inputs must be finite"),
        ({"starts": np.zeros((3, 5))}, r"starts must have shape \(any, 7\)"),
        ({"starts": np.zeros((0, 7))}, "starts must hold at least one state"),
        ({"starts": np.full((1, 7), np.inf)}, "starts must be finite"),
        ({"n_starts": 0}, "n_starts must be an integer"),
        ({"max_speed": -1}, "max_speed must be a number"),
        ({"most_steps": 0}, "most_steps must be an integer"),
        ({"seed": -1}, "seed must be an integer"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ei.fixed_points(*network(0), **{"inputs": INPUTS, **arguments})


def test_bad_states_are_named():
    config, params = network(0)
    for x in (np.zeros(6), np.zeros((2, 6)), np.full(H, np.nan)):
        with pytest.raises(ValueError, match="x must"):
            ei.jacobian(config, params, x)


def test_a_line_attractor_is_a_line_of_points():
    """W (1, 1) = (1, 1) on two units keeps what they share, a third follows: every (c, c, 3 c / 4) stands still."""
    config = ei.ModelConfig(1, 3, 2, n_exc=2, constraint="free", mask=np.ones((3, 3)))
    params = ei.Params.like(config, "float64")
    params.w_rec = np.array([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.3, 0.3, 0.2]])
    starts = np.abs(np.random.default_rng(0).normal(size=(40, 3))) + 0.1
    found = ei.fixed_points(config, params, [0.0], starts)
    assert len(found) == 40  # each start has a point of its own: nothing is merged along the line
    assert found.exact.all()
    c = found.points[:, :1]
    np.testing.assert_allclose(found.points, c * [1, 1, 0.75], rtol=1e-12)
    assert np.ptp(c) > 1
    np.testing.assert_allclose(np.abs(found.eigenvalues), np.tile([1.0, 0.84, 0.8], (40, 1)), rtol=1e-12)
    assert (np.abs(found.time_constants[:, 0]) > 1e12).all()  # what lies along it stays
    assert not found.unstable.any() or np.abs(found.eigenvalues).max() < 1 + 1e-12
    along = found.eigenvectors[:, :, 0] / found.eigenvectors[:, :1, 0]
    np.testing.assert_allclose(along, np.tile([1.0, 1.0, 0.75], (40, 1)), atol=1e-12)
