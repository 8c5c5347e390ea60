"""The other algorithms, each against something that it shares no derivation with.

RTRL against torch's autograd; truncated BPTT and the traces against finite differences of objectives in which the
past, or the input from other units, is held at what was recorded: of these they are the exact gradients.
"""

import functools

import numpy as np
import planted_errors
import pytest
from conftest import make_problem, relative_error

import eirnn_np as ei
from eirnn_np import algorithms
from eirnn_np.algorithms import GradientTrainer, algorithm, random_feedback
from eirnn_np.gradcheck import TOLERANCE, _torch_gradients

BACKENDS = ("numpy", "numba")
TAU = tuple(np.linspace(30.0, 200.0, 7))
NETWORKS = {
    "song2016": {},
    "brainpy": {"dynamics": "brainpy"},
    "all options": {"train_x0": True, "tau": TAU, "mask": np.random.default_rng(3).normal(size=(7, 7))},
    "brainpy, x0, squared error": {"dynamics": "brainpy", "train_x0": True, "tau": TAU, "loss": "squared_error"},
}


@pytest.fixture(params=NETWORKS)
def network(request):
    return make_problem(**NETWORKS[request.param])


def batch(problem):
    return problem.config, problem.params, problem.inputs, problem.labels, problem.noise


def weighted(problem):
    weights = np.random.default_rng(1).random((11, 3)) * (np.arange(33).reshape(11, 3) % 4 != 0)
    return weights / weights.sum()


def assert_gradients(found, expected, tolerance=1e-12):
    for name, gradient in found.items():
        assert relative_error(gradient, getattr(expected, name)) < tolerance, name


# --- RTRL ------------------------------------------------------------------------------------------


def test_rtrl_is_the_gradient_of_autograd(network):
    weights = weighted(network)
    loss, grads = algorithms.rtrl(*batch(network), weights)
    assert abs(loss - ei.loss_and_grads(*batch(network), weights)[0]) < 1e-14
    assert_gradients(grads, _torch_gradients(*batch(network), weights))


def test_rtrl_is_an_oracle_that_notices_an_error(problem):
    assert_gradients(algorithms.rtrl(*batch(problem))[1], ei.loss_and_grads(*batch(problem))[1])
    report = ei.check_network(*batch(problem), oracles=("rtrl",))
    assert report.passed
    assert all("rtrl" in checks for checks in report.rows.values())
    grads = algorithms.rtrl(*batch(problem))[1]
    grads.w_rec *= 1.0005
    report = ei.check_network(*batch(problem), oracles=("rtrl",), grads=grads)
    assert ("w_rec", "rtrl") in report.failures()


@pytest.mark.parametrize("error", planted_errors.ERRORS)
def test_rtrl_catches_each_planted_error(error, problem):
    exact = algorithms.rtrl(*batch(problem))[1]
    wrong = planted_errors.planted(error)(*batch(problem), np.full((11, 3), 1 / 33))[1]
    worst = max(relative_error(gradient, getattr(exact, name)) for name, gradient in wrong.items())
    assert worst > 100 * TOLERANCE["float64"]["rtrl"]


# --- truncated BPTT --------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("steps", [11, 12, 1000])
def test_no_truncation_is_bptt(steps, dtype, backend, network):
    network.params = network.params.astype(dtype)
    loss, grads = algorithms.truncated_bptt(*batch(network), backend=backend, steps=steps)
    expected_loss, expected = ei.loss_and_grads(*batch(network))
    assert abs(loss - expected_loss) < (1e-14 if dtype == "float64" else 1e-6)
    assert_gradients(grads, expected, 1e-13 if dtype == "float64" else 2e-6)


def advance(config, p, x, u, noise):
    """One step of the network, read off the paper; p is a dict of arrays."""
    r = np.maximum(x, 0)
    current = r @ (np.abs(p["w_rec"]) * ei.sign_mask(config)).T + u @ p["w_in"].T + p["b_in"] + p["b_rec"]
    return (1 - config.alpha) * (r if config.dynamics == "brainpy" else x) + config.alpha * current + noise


def output_loss(config, p, x, labels):
    """Sum over trials of the loss of one time step."""
    z = np.maximum(x, 0)[:, : config.n_exc] @ p["w_out"].T + p["b_out"]
    if config.loss == "squared_error":
        return ((z - labels) ** 2).mean(axis=1).sum()
    return (np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), labels]).sum()


def trajectory(problem, p):
    """x_0 .. x_T of the whole network, (T + 1, B, H)."""
    x = [np.zeros((3, problem.config.n_hidden)) + p.get("x0", 0)]
    for u, noise in zip(problem.inputs, problem.noise):
        x.append(advance(problem.config, p, x[-1], u, noise))
    return np.array(x)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_truncated_gradient_is_that_of_a_past_held_fixed(steps, backend, network):
    config, p = network.config, dict(network.params.items())
    recorded = trajectory(network, p)

    def states(p):
        """For each t, x_t as it follows from the recorded x_{t - steps}; only there does x_0 count as a parameter."""
        for t in range(1, 12):
            first = max(t - steps, 0)
            x = recorded[first] if first else np.zeros_like(recorded[0]) + p.get("x0", 0)
            for k in range(first, t):
                x = advance(config, p, x, network.inputs[k], network.noise[k])
            yield x

    def loss(p):
        return sum(output_loss(config, p, x, y) for x, y in zip(states(p), network.labels)) / 33

    def kinks(p):
        return np.concatenate(
            [*(x.ravel() > 0 for x in states(p)), p["w_rec"].ravel() > 0, p.get("x0", np.ones(1)) > 0]
        )

    _, grads = algorithms.truncated_bptt(*batch(network), backend=backend, steps=steps)
    grads = dict(grads.items())
    if config.dynamics == "brainpy":
        assert not grads.pop("b_in").any()
        b_in = p.pop("b_in")
        inner, inner_kinks = loss, kinks
        loss, kinks = (lambda p: inner({**p, "b_in": b_in})), (lambda p: inner_kinks({**p, "b_in": b_in}))
    report = ei.check_gradients(loss, grads, p, kinks=kinks, n_directions=2, n_coordinates=4)
    assert report.passed, report
    assert sum(c["fd directions"].compared for c in report.rows.values()) > 6


# --- eligibility traces ----------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("feedback", [False, True], ids=["read-out", "random"])
def test_traces_are_the_gradient_of_units_that_hear_a_recording(feedback, backend, network):
    """Hold what each unit hears from others, and the errors dz at the output, at what was recorded: then the sum of
    dz times the fed-back rates has the gradient that the traces give."""
    config, p = network.config, dict(network.params.items())
    recorded = np.maximum(trajectory(network, p), 0)
    z = recorded[1:, :, : config.n_exc] @ p["w_out"].T + p["b_out"]
    if config.loss == "squared_error":
        dz = 2 * (z - network.labels) / z.shape[2] / 33
    else:
        dz = (np.exp(z) / np.exp(z).sum(axis=2, keepdims=True) - np.eye(z.shape[2])[network.labels]) / 33
    back = random_feedback(config, seed=4) if feedback else np.pad(p["w_out"], ((0, 0), (0, 7 - config.n_exc)))

    def states(p):
        x = np.zeros((3, 7)) + p.get("x0", 0)
        for heard, u, noise in zip(recorded, network.inputs, network.noise):
            own = np.maximum(x, 0) if config.dynamics == "brainpy" else x
            w_rec = np.abs(p["w_rec"]) * ei.sign_mask(config)
            x = (1 - config.alpha) * own + noise
            x = x + config.alpha * (heard @ w_rec.T + u @ p["w_in"].T + p.get("b_in", 0) + p["b_rec"])
            yield x

    def objective(p):
        return sum((d * (np.maximum(x, 0) @ back.T)).sum() for d, x in zip(dz, states(p)))

    def kinks(p):
        return np.concatenate(
            [*(x.ravel() > 0 for x in states(p)), p["w_rec"].ravel() > 0, p.get("x0", np.ones(1)) > 0]
        )

    loss, grads = algorithms.eprop(*batch(network), backend=backend, feedback=back if feedback else None)
    exact_loss, exact = ei.loss_and_grads(*batch(network))
    assert abs(loss - exact_loss) < 1e-14
    grads, exact = dict(grads.items()), dict(exact.items())
    for name in ("w_out", "b_out"):  # these are exact
        assert relative_error(grads.pop(name), exact[name]) < 1e-13
        p.pop(name)
    if config.dynamics == "brainpy":
        assert not grads.pop("b_in").any()
        p.pop("b_in")
    report = ei.check_gradients(objective, grads, p, kinks=kinks, n_directions=2, n_coordinates=4, rtol=1e-6)
    assert report.passed, report
    assert sum(c["fd directions"].compared for c in report.rows.values()) > 4


def test_traces_by_hand_for_one_synapse():
    """Two units, two steps, one trial: unit 0 is read out and hears unit 1 only by the weight under test."""
    config = ei.ModelConfig(n_in=1, n_hidden=2, n_out=1, e_ratio=0.5, loss="squared_error", sigma_rec=0.0)
    params = ei.Params.like(config, "float64")
    params.w_in[...], params.w_rec[...], params.w_out[...] = [[1.0], [2.0]], [[0.0, 0.5], [0.0, 0.0]], 3.0
    inputs, targets = np.ones((2, 1, 1)), np.zeros((2, 1, 1))
    # x_1 = 0.2 (1, 2); x_2 = 0.8 x_1 + 0.2 (1 - 0.5 * 0.4, 2) = (0.32, 0.72); z = 3 x[0]; L = (z_1^2 + z_2^2) / 2
    loss, grads = algorithms.eprop(config, params, inputs, targets)
    assert loss == pytest.approx((0.6**2 + 0.96**2) / 2)
    trace = 0.2 * 0.4  # of W[0, 1] at t = 2; at t = 1 unit 1 was silent
    assert grads.w_rec[0, 1] == pytest.approx(0.96 * 3 * trace * -1)  # -1: unit 1 is inhibitory
    assert grads.w_in[0, 0] == pytest.approx(0.6 * 3 * 0.2 + 0.96 * 3 * (0.8 * 0.2 + 0.2))
    assert grads.w_in[1, 0] == 0  # an inhibitory unit is not read out and gets no error
    assert algorithms.rflo(config, params, inputs, targets)[1].w_in[1, 0] != 0


def test_without_recurrent_weights_all_algorithms_agree():
    """Then no error travels through other units, and traces are all there is."""
    problem = make_problem()
    problem.params.w_rec[...] = 0
    exact = ei.loss_and_grads(*batch(problem))[1]
    for gradient in (algorithms.eprop, algorithms.rtrl, functools.partial(algorithms.truncated_bptt, steps=11)):
        assert_gradients(gradient(*batch(problem))[1], exact)


# --- both backends, both dtypes, the seam ----------------------------------------------------------


@pytest.mark.parametrize("name", ["tbptt", "eprop", "rflo"])
def test_float32_kernels_agree_with_the_reference_for_any_number_of_threads(name):
    import numba

    problem = make_problem(n_hidden=50, n_batch=5, n_time=23, dtype="float32", train_x0=True)
    gradient = algorithm(name, 3 if name == "tbptt" else None, seed=2)
    exact = gradient(problem.config, problem.params.astype("float64"), *batch(problem)[2:], backend="numpy")[1]
    found, before = [], numba.get_num_threads()
    try:
        for threads in (1, min(3, numba.config.NUMBA_NUM_THREADS)):
            numba.set_num_threads(threads)
            found.append(gradient(*batch(problem))[1])
    finally:
        numba.set_num_threads(before)
    np.testing.assert_array_equal(found[0].flat, found[1].flat)
    assert_gradients(found[0], exact, 2e-5)


def test_gradient_trainer_with_bptt_is_the_trainer_to_the_bit():
    problem = make_problem(dtype="float32")
    ours, theirs = problem.params.copy(), problem.params.copy()
    a, b = ei.Trainer(problem.config, ours, seed=3), GradientTrainer(problem.config, theirs, algorithm("bptt"), seed=3)
    b.compile(11, 3)
    for _ in range(4):
        assert a.step(problem.inputs, problem.labels) == b.step(problem.inputs, problem.labels)
    np.testing.assert_array_equal(ours.flat, theirs.flat)
    assert a.k == b.k == 4


@pytest.mark.parametrize("name", algorithms.ALGORITHMS)
def test_each_algorithm_lowers_the_loss(name):
    problem = make_problem(dtype="float32", n_hidden=20, noise=False)
    trainer = GradientTrainer(problem.config, problem.params, algorithm(name, 2 if name == "tbptt" else None), lr=0.01)
    losses = [trainer.step(problem.inputs, problem.labels) for _ in range(40)]
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.1


def test_random_feedback():
    config = ei.ModelConfig()
    feedback = random_feedback(config, 1)
    assert feedback.shape == (3, 50)
    assert np.abs(feedback).max() <= 1 / np.sqrt(40)
    np.testing.assert_array_equal(feedback, random_feedback(config, 1))
    assert (feedback != random_feedback(config, 2)).all()
    only_excitatory = random_feedback(config, 1, inhibitory=False)
    np.testing.assert_array_equal(only_excitatory[:, :40], feedback[:, :40])
    assert not only_excitatory[:, 40:].any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("bppt",), "algorithm must be one of bptt, tbptt, rtrl, eprop, rflo, found 'bppt'"),
        (("tbptt",), r"truncation .* must be an integer of at least 1, found None"),
        (("tbptt", 0), r"truncation .* must be an integer of at least 1, found 0"),
        (("tbptt", True), r"truncation .* must be an integer"),
        (("rtrl", 5), "truncation belongs to the algorithm tbptt, found 5 with rtrl"),
    ],
)
def test_bad_names_and_truncations(arguments, message):
    with pytest.raises(ValueError, match=message):
        algorithm(*arguments)


def test_gradient_trainer_refuses_what_the_trainer_refuses(problem):
    for options in ({"threads": 0}, {"threads": 10**6}, {"seed": -1}):
        for trainer in (ei.Trainer, GradientTrainer):
            with pytest.raises(ValueError, match="must be"):
                trainer(problem.config, problem.params, **options)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("inputs", lambda u: u[:, 0]),
        ("inputs", lambda u: u[0, 0, 0]),
        ("inputs", lambda u: u[:, :, :1]),
        ("inputs", lambda u: u[:0]),
        ("inputs", lambda u: u * np.nan),
        ("inputs", lambda u: None),
        ("labels", lambda y: y + 10),
        ("weights", lambda w: w[:1]),
    ],
)
def test_a_bad_batch_is_refused_and_nothing_changes(problem, name, change):
    trainer = GradientTrainer(problem.config, problem.params, algorithm("eprop"))
    arrays = {"inputs": problem.inputs, "labels": problem.labels, "weights": np.ones((11, 3))}
    trainer.step(**arrays)
    before = problem.params.flat.copy()
    with pytest.raises(ValueError, match=name):
        trainer.step(**{**arrays, name: change(arrays[name])})
    assert (trainer.k, trainer.optimiser.k) == (1, 1)
    np.testing.assert_array_equal(problem.params.flat, before)


def test_bad_arrays_are_named(problem):
    config, params, inputs, labels, noise = batch(problem)
    with pytest.raises(ValueError, match="inputs must have shape"):
        algorithms.eprop(config, params, inputs[0], labels)
    with pytest.raises(ValueError, match="labels must"):
        algorithms.rtrl(config, params, inputs, labels + 10)
    with pytest.raises(ValueError, match="backend must be"):
        algorithms.truncated_bptt(config, params, inputs, labels, noise, backend="torch", steps=2)
    with pytest.raises(ValueError, match=r"feedback must have shape \(4, 7\)"):
        algorithms.eprop(config, params, inputs, labels, feedback=np.ones((7, 4)))


@pytest.mark.parametrize("options", [["tbptt", "--truncation", "3"], ["rtrl"], ["eprop"], ["rflo"]], ids=lambda o: o[0])
def test_train_takes_every_algorithm(tmp_path, capsys, options):
    from eirnn_np.cli import main
    from eirnn_np.runs import read_run

    sizes = ["--hidden", "9", "--steps", "3", "--batch-size", "2", "--seq-len", "20", "--trials", "5", "--no-figures"]
    assert main(["train", *sizes, "--out", str(tmp_path / "run"), "--algorithm", *options]) == 0
    assert f" {options[0]}, float32" in capsys.readouterr().out
    settings, config, params, losses = read_run(tmp_path / "run")
    start = ei.init_params(config, 0)
    gradient = algorithm(settings.algorithm, settings.truncation, settings.seed)
    trainer = GradientTrainer(config, start, gradient)
    batches = ei.make_batches(batch_size=2, seq_len=20, seed=settings.training_stream)
    np.testing.assert_array_equal(losses, [trainer.step(*next(batches)) for _ in range(3)])
    np.testing.assert_array_equal(params.flat, start.flat)
    # And it goes on by the same algorithm, to the bit.
    assert main(["train", "--resume", str(tmp_path / "run"), "--steps", "5", "--no-figures"]) == 0
    _, _, params, losses = read_run(tmp_path / "run")
    np.testing.assert_array_equal(losses[3:], [trainer.step(*next(batches)) for _ in range(2)])
    np.testing.assert_array_equal(params.flat, start.flat)
    other = "rflo" if options[0] == "eprop" else "eprop"
    assert main(["train", "--resume", str(tmp_path / "run"), "--algorithm", other]) == 2
    assert f"algorithm is {options[0]} in this run" in capsys.readouterr().err


def test_train_refuses_a_truncation_that_nothing_uses(tmp_path, capsys):
    from eirnn_np.cli import main

    assert main(["train", "--truncation", "5", "--out", str(tmp_path / "run")]) == 2
    assert "truncation belongs to the algorithm tbptt" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_gradcheck_takes_rtrl_as_one_more_oracle(capsys):
    from eirnn_np.cli import main

    sizes = ["--hidden", "7", "--batch-size", "3", "--seq-len", "11"]
    assert main(["gradcheck", *sizes, "--oracle", "rtrl"]) == 0
    out = capsys.readouterr().out
    assert "rtrl" in out.splitlines()[1]
    assert out.splitlines()[-1] == "PASS"
