"""What a configuration may ask for beyond the tutorial, in random combinations: both backends against the oracles."""

import copy
import pickle
from types import SimpleNamespace

import naive
import numpy as np
import pytest
import torch_oracle
from conftest import make_problem, relative_error
from planted_errors import OPTION_ERRORS, report_for, worst

import eirnn_np as ei
from eirnn_np import functions, reference

ACTIVATIONS = ("relu", "softplus", "tanh", "retanh", "sigmoid")
SATURATING = ("tanh", "retanh", "sigmoid")  # a rate near 1 loses digits of its slope, 1 - r^2 or r (1 - r)
CONSTRAINTS = ("abs", "rectify", "free")
FACTORS = ("l1_in", "l1_rec", "l1_out", "l2_in", "l2_rec", "l2_out", "l2_rates", "omega")
SIZES = ((11, 3, 7, 2, 4), (5, 1, 9, 3, 2), (1, 4, 5, 1, 3), (6, 2, 3, 5, 1), (9, 9, 18, 2, 3), (3, 5, 4, 35, 2))
H, I, O = 7, 2, 4  # of the first


def random_options(rng, n_in, n_hidden, n_out):
    """Every option off its default in some half of the cases."""

    def pick(*choices):
        return choices[rng.integers(len(choices))]

    def mask(*shape):
        return rng.normal(size=shape) * (rng.random(shape) < 0.7) if rng.random() < 0.5 else None

    n_exc, readout, dynamics = (
        int(rng.integers(1, n_hidden + 1)),
        pick("excitatory", "all"),
        pick("song2016", "brainpy"),
    )
    penalties = {name: float(rng.random() * (rng.random() < 0.5)) for name in FACTORS}
    penalties["omega"] *= 3 * (dynamics == "song2016")
    return {
        "activation": pick(*ACTIVATIONS), "constraint": pick(*CONSTRAINTS), "constraint_in": pick(*CONSTRAINTS),
        "constraint_out": pick(*CONSTRAINTS), "readout": readout, "dynamics": dynamics, "n_exc": n_exc, "dt": 13.0,
        "tau": pick(71.0, tuple(np.linspace(14.0, 200.0, n_hidden))), "sigma_rec": 0.4,
        "loss": pick("cross_entropy", "squared_error"), "train_x0": bool(rng.integers(2)),
        "mask": mask(n_hidden, n_hidden), "mask_in": mask(n_hidden, n_in),
        "mask_out": mask(n_out, n_hidden if readout == "all" else n_exc), "sigma_in": pick(0.0, 0.1),
        "baseline_in": pick(0.0, 0.2), "tau_in": pick(100.0, 40.0), "rectify_inputs": bool(rng.integers(2)),
        "penalties": penalties,
    }  # fmt: skip


def options_problem(case, dtype="float64", sizes=None, **changes):
    """A network with random options, parameters, masks of what counts, and noise on inputs and units."""
    rng = np.random.default_rng([case, 16])
    n_time, n_batch, n_hidden, n_in, n_out = sizes or SIZES[rng.integers(len(SIZES))]
    options = random_options(rng, n_in, n_hidden, n_out) | changes
    scale = options.pop("scale", 1.0)  # of the weights: a large network of large weights is chaotic
    problem = make_problem(n_time, n_batch, n_hidden, n_in, n_out, case, dtype=dtype, **options)
    problem.params.flat[...] = rng.normal(0, 0.6 * scale, problem.params.flat.size)
    problem.weights = None
    if rng.random() < 0.5:
        problem.weights = rng.random((n_time, n_batch)) * (rng.random((n_time, n_batch)) < 0.8)
        problem.weights[0, 0] = 0.5
    problem.input_noise = None
    if problem.config.sigma_in:
        problem.input_noise = ei.input_noise(problem.config, case, 3, n_time, n_batch, dtype)
    return problem


def batch_of(problem):
    return problem.config, problem.params, problem.inputs, problem.labels, problem.noise, problem.weights


def for_oracles(problem):
    """The arguments of the oracles, which know nothing of the package."""
    c = problem.config
    names = ("activation", "constraint", "constraint_in", "constraint_out", "dynamics", "loss", "baseline_in",
             "rectify_inputs", "alpha")  # fmt: skip
    signs = np.where(np.arange(c.n_hidden) < c.n_exc, 1.0, -1.0)
    if c.constraint == "free":
        signs = np.ones(c.n_hidden)
    mask = np.outer(signs, np.ones(c.n_hidden)) if c.dynamics == "brainpy" else np.outer(np.ones(c.n_hidden), signs)
    mask = mask * (1 - np.eye(c.n_hidden))
    mask_out = np.ones((c.n_out, c.n_read))
    if c.readout == "all" and c.constraint_out != "free":
        mask_out = mask_out * np.where(np.arange(c.n_hidden) < c.n_exc, 1.0, -1.0)
    options = {name: getattr(c, name) for name in names}
    options["mask"] = mask if c.mask is None else np.array(c.mask)
    options["mask_in"] = np.ones((c.n_hidden, c.n_in)) if c.mask_in is None else np.array(c.mask_in)
    options["mask_out"] = mask_out if c.mask_out is None else np.array(c.mask_out)
    options["penalties"] = {name: getattr(c.penalties, name) for name in FACTORS}
    params = {name: np.array(value, np.float64) for name, value in problem.params.items()}
    return params, problem.inputs, problem.labels, problem.noise, problem.weights, problem.input_noise, options


def assert_agrees(problem, tolerance):
    loss, grads, outputs, omega, d_omega = torch_oracle.with_options(*for_oracles(problem))
    for backend in ("numba", "numpy"):
        found, ours = ei.loss_and_grads(*batch_of(problem), backend, input_noise=problem.input_noise)
        assert relative_error(found, loss) < tolerance, backend
        for name, gradient in ours.items():
            assert gradient.dtype == problem.params.dtype
            assert relative_error(gradient, grads[name]) < tolerance, (backend, name)
        run = ei.forward(*batch_of(problem)[:3], problem.noise, backend, input_noise=problem.input_noise)
        assert relative_error(run.outputs, outputs) < tolerance, backend
    if problem.config.dynamics == "song2016":
        loss_of_digits = 10 if problem.config.activation in SATURATING else 1
        for backend in ("numba", "numpy"):
            value, grad = ei.omega(*batch_of(problem), backend, input_noise=problem.input_noise)
            assert relative_error(value, omega) < tolerance, backend
            assert relative_error(grad, d_omega) < loss_of_digits * tolerance, backend


@pytest.mark.parametrize("first", range(0, 300, 50))
def test_random_configurations_against_torch(first):
    """1e-12 of the norm of each tensor, in float64, for both backends; Omega's deltas are autograd's."""
    for case in range(first, first + 50):
        try:
            assert_agrees(options_problem(case), 1e-12)
        except AssertionError as error:
            raise AssertionError(f"case {case}: {error}") from None


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_random_configurations_in_float32(first):
    """The gradients' error is that of float32; Omega's, which divides by lengths, is left to its own test."""
    for case in range(first, first + 20):
        problem = options_problem(case, "float32")
        penalties = vars(problem.config.penalties) | {"omega": 0.0}
        problem.config = ei.ModelConfig.from_dict(
            problem.config.to_dict() | {"penalties": penalties}, **problem.config.masks
        )
        loss, grads, _, _, _ = torch_oracle.with_options(*for_oracles(problem))
        for backend in ("numba", "numpy"):
            found, ours = ei.loss_and_grads(*batch_of(problem), backend, input_noise=problem.input_noise)
            assert relative_error(found, loss) < 2e-5, case
            for name, gradient in ours.items():
                assert relative_error(gradient, grads[name]) < 2e-5, (case, backend, name)


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_omega_in_float32(backend):
    """As near as the other gradients where no rate saturates."""
    for case in range(60, 120):
        problem = options_problem(case, "float32", dynamics="song2016")
        _, _, _, omega, d_omega = torch_oracle.with_options(*for_oracles(problem))
        value, grad = ei.omega(*batch_of(problem), backend, input_noise=problem.input_noise)
        assert grad.dtype == np.float32
        assert relative_error(value, omega) < 2e-5, case
        assert relative_error(grad, d_omega) < (1e-3 if problem.config.activation in SATURATING else 2e-5), case


PLAIN = {"mask": None, "mask_in": None, "mask_out": None, "tau": 71.0}
ODD = {
    "one step": {"sizes": (1, 3, 7, 2, 4)},
    "one of everything": {"sizes": (2, 1, 1, 1, 1), "n_exc": 1, **PLAIN},
    "all excitatory": {"sizes": SIZES[0], "n_exc": 7, "readout": "excitatory", "mask_out": None},
    "more inputs than a vector, with noise": {"sizes": (4, 3, 5, 70, 2), "sigma_in": 0.3, "mask_in": None},
    "nothing connected": {"sizes": SIZES[0], "mask": np.zeros((7, 7)), "mask_in": np.zeros((7, 2))},
    "an output reads nothing": {"sizes": SIZES[0], "readout": "all", "mask_out": np.diag(np.arange(7.0))[:4]},
    "baseline below 0, rectified": {"sizes": SIZES[0], "baseline_in": -1.0, "rectify_inputs": True, "sigma_in": 0.2},
    "chunks of the batch and a rest, two panels": {"sizes": (4, 19, 65, 2, 3), **PLAIN},
    "chunks side by side": {"sizes": (2, 35, 513, 2, 3), **PLAIN, "scale": 0.1},
    "blocks of the weight gradient": {"sizes": (80, 9, 7, 2, 3), **PLAIN, "scale": 0.5},
}  # fmt: skip


@pytest.mark.parametrize("omega", [0.0, 2.0], ids=["", "omega"])
@pytest.mark.parametrize("odd", ODD)
def test_odd_configurations_against_torch(odd, omega):
    changes = dict(ODD[odd])
    for case, activation in enumerate(ACTIVATIONS):
        penalties = {"l2_rates": 0.3, "l1_in": 0.2, "l2_out": 0.1, "omega": omega}
        if case % 2 and omega:
            penalties["l2_rates"] = 0.0
        options = {"activation": activation, "dynamics": "song2016", "penalties": penalties, "mask_out": None} | changes
        problem = options_problem(1000 + case, **options)
        assert_agrees(problem, 1e-12)


@pytest.mark.parametrize("case", range(6))
def test_scalar_loops_have_the_same_loss(case):
    problem = options_problem(2000 + case, sizes=(5, 3, 7, 2, 4), activation=ACTIVATIONS[case % 5])
    expected = naive.loss_with_options(*for_oracles(problem))
    for backend in ("numba", "numpy"):
        loss, _ = ei.loss_and_grads(*batch_of(problem), backend, input_noise=problem.input_noise)
        np.testing.assert_allclose(loss, expected, rtol=1e-12)


def test_scalar_loops_have_the_same_omega():
    problem = options_problem(7, sizes=(6, 3, 7, 2, 4), dynamics="song2016", tau=tuple(np.linspace(14.0, 200.0, 7)))
    config, params = problem.config, problem.params
    u = reference.effective_inputs(config, problem.inputs, problem.input_noise)
    run = reference.forward(config, params, u, problem.noise)
    weights = np.full((6, 3), 1 / 18) if problem.weights is None else problem.weights / problem.weights.sum()
    dz = reference.loss_and_output_grad(config, run.outputs, problem.labels, weights)[1]
    deltas = reference.adjoints(config, params, run.rates, dz, 0)
    slopes = functions.ACTIVATIONS[config.activation].slope(run.rates)
    expected = naive.omega(deltas, slopes, ei.effective_weights(config, params), config.alpha)
    value, _ = ei.omega(*batch_of(problem), input_noise=problem.input_noise)
    np.testing.assert_allclose(value, expected, rtol=1e-12)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_the_gradient_check_verifies_options_by_finite_differences(activation, constraint):
    """Each penalty, each activation, each constraint; Omega with delta and x held fixed."""
    problem = options_problem(
        11, sizes=SIZES[0], activation=activation, constraint=constraint, constraint_in=constraint, dynamics="song2016",
        constraint_out=constraint, loss="squared_error", mask=None, mask_in=None, mask_out=None,
        penalties=dict.fromkeys(FACTORS, 0.3),
    )  # fmt: skip
    report = ei.check_network(*batch_of(problem), input_noise=problem.input_noise)
    assert report.passed, str(report)
    for tensor in ("w_in", "w_rec", "w_out"):
        assert report.rows[tensor]["fd directions"].compared > 0


def planted_problem(error):
    """A network in which an error of `OPTION_ERRORS` shows."""
    planted = OPTION_ERRORS[error]
    problem = options_problem(
        3, **{"sizes": SIZES[0], "dynamics": "song2016", "mask_out": None, "tau": 71.0,
              "loss": "cross_entropy", **planted.options}
    )  # fmt: skip
    if planted.prepare:
        planted.prepare(problem.params)
    return problem


@pytest.mark.parametrize("error", OPTION_ERRORS)
def test_each_oracle_sees_each_planted_error(error):
    planted, problem = OPTION_ERRORS[error], planted_problem(error)
    clean, wrong = report_for(None, problem), report_for(error, problem)
    for oracle in ("numpy", "torch", *(() if planted.no_differences else ("fd directions",))):
        assert worst(clean, oracle) <= 1, oracle
        assert worst(wrong, oracle) > 10, oracle
    if planted.no_differences:  # said so where it is: no difference sees what happens at a kink
        assert worst(wrong, "fd directions") <= 1


def test_the_functions_are_those_of_the_derivation():
    x = np.concatenate([np.linspace(-40, 40, 2001), [-800.0, 800.0, 0.0, -0.0, 1e-300, -1e-9, 1e-9]])
    for name, (rate, slope) in functions.ACTIVATIONS.items():
        np.testing.assert_allclose(
            rate(x), [naive.RATES[name](v) if v > -700 else rate(v) for v in x], rtol=1e-14, atol=1e-16
        )
        h = 1e-6
        away = np.abs(x) > 1e-3
        difference = (rate(x + h) - rate(x - h)) / (2 * h)
        np.testing.assert_allclose(slope(rate(x))[away], difference[away], atol=2e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_rates_of_the_kernels_at_all_sizes_of_x(activation, dtype):
    """One unit, no weights, no leak: r_1 = f(noise). Against the table, from 1e-300 to 1e300."""
    x = np.concatenate([np.linspace(-45, 45, 4001), 10.0 ** np.arange(-30, 30), -(10.0 ** np.arange(-30, 30)), [0.0]])
    config = ei.ModelConfig(1, 1, 1, dt=100.0, n_exc=1, activation=activation, mask=np.zeros((1, 1)))
    params = ei.Params.like(config, dtype)
    noise = x.astype(dtype)[None, :, None]
    run = ei.forward(config, params, np.zeros((1, x.size, 1)), noise)
    expected = functions.ACTIVATIONS[activation].rate(noise.astype(np.float64))
    eps = np.finfo(dtype).eps
    assert run.rates.dtype == dtype
    np.testing.assert_allclose(
        run.rates, expected, rtol=(8 if dtype == "float32" else 40) * eps, atol=1e-300 if dtype == "float64" else 1e-45
    )
    near = np.abs(noise) < 80  # beyond, what is below the smallest float32 is a matter of rounding
    assert ((run.rates > 0) == (expected.astype(dtype) > 0))[near].all()


# --- What a configuration is ---


@pytest.mark.parametrize("case", range(12))
def test_a_configuration_survives_files_copies_and_pickles(case, tmp_path):
    problem = options_problem(case, "float32")
    config, params = problem.config, problem.params
    ei.save_params(tmp_path / "p.safetensors", config, params)
    found, read = ei.load_params(tmp_path / "p.safetensors")
    np.testing.assert_array_equal(read.flat, params.flat)
    others = (found, copy.copy(config), copy.deepcopy(config), pickle.loads(pickle.dumps(config)))
    for other in (*others, ei.ModelConfig.from_dict(config.to_dict(), **config.masks)):
        assert other == config
        for name, mask in config.masks.items():
            np.testing.assert_array_equal(getattr(other, name), mask)
            with pytest.raises(ValueError, match="read-only"):
                getattr(other, name)[0, 0] = 9
    for name, value in (("activation", "relu"), ("baseline_in", 9.0), ("constraint_in", "abs"), ("sigma_in", 7.0),
                        ("penalties", {"l1_in": 77.0}), ("rectify_inputs", not config.rectify_inputs)):  # fmt: skip
        changed = ei.ModelConfig.from_dict(config.to_dict() | {name: value}, **config.masks)
        assert (changed == config) == (getattr(config, name) == value)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"activation": "ReLU"}, "activation must be one of relu, softplus, tanh, retanh, sigmoid, found 'ReLU'"),
        ({"constraint": "dale"}, "constraint must be one of abs, rectify, free"),
        ({"constraint_in": None}, "constraint_in must be one of"),
        ({"constraint_out": 1}, "constraint_out must be one of"),
        ({"readout": "inhibitory"}, "readout must be one of excitatory, all"),
        ({"mask_in": np.ones((3, 50))}, r"mask_in must have shape \(50, 3\), found \(3, 50\)"),
        ({"mask_out": np.ones((3, 50))}, r"mask_out must have shape \(3, 40\), found \(3, 50\)"),
        ({"mask_out": np.ones((3, 40)), "readout": "all"}, r"mask_out must have shape \(3, 50\)"),
        ({"mask_in": np.full((50, 3), np.nan)}, "mask_in must be finite"),
        ({"sigma_in": -0.1}, "sigma_in must be a number at least 0"),
        ({"tau_in": 0}, "tau_in must be a number above 0"),
        ({"baseline_in": np.inf}, "baseline_in must be a finite number"),
        ({"rectify_inputs": 1}, "rectify_inputs must be True or False"),
        ({"penalties": {"l3": 1}}, "penalties must be Penalties or a dict of"),
        ({"penalties": 0.1}, "penalties must be Penalties or a dict of"),
        ({"penalties": {"l2_rec": -1}}, "penalties.l2_rec must be a number at least 0"),
        ({"penalties": {"omega": 2}, "dynamics": "brainpy"}, 'Omega is defined for dynamics="song2016" alone'),
        ({"penalties": {"omega": 2}, "tau": 20.0}, "Omega needs a dt below tau"),
    ],
)
def test_a_wrong_option_is_one_line(wrong, message):
    with pytest.raises(ValueError, match=message):
        ei.ModelConfig(**wrong)


def test_masks_by_default_and_starting_parameters():
    free = ei.ModelConfig(n_hidden=10, constraint="free")
    np.testing.assert_array_equal(ei.sign_mask(free), 1 - np.eye(10))
    config = ei.ModelConfig(
        n_hidden=10, readout="all", constraint_out="rectify", constraint="rectify", constraint_in="abs"
    )
    params = ei.init_params(config, 3)
    assert params.w_out.shape == (3, 10)
    signs = np.sign(ei.effective_weights(config, params, "w_out"))
    np.testing.assert_array_equal(signs, np.tile([1.0] * 8 + [-1.0] * 2, (3, 1)))
    assert (params.w_rec > 0).all()  # a rectified weight that starts below 0 would never move
    assert (params.w_out > 0).all()
    assert (params.w_in < 0).any()
    np.testing.assert_array_equal(ei.effective_weights(config, params, "w_in"), np.abs(params.w_in))
    with pytest.raises(ValueError, match="name must be one of w_in, w_rec, w_out"):
        ei.effective_weights(config, params, "b_in")


def test_a_state_dict_of_a_network_that_reads_all_units():
    config = ei.ModelConfig(n_hidden=10, readout="all")
    params = ei.init_params(config)
    found, read = ei.from_state_dict(params.state_dict(), readout="all")
    assert found == config
    np.testing.assert_array_equal(read.flat, params.flat)
    with pytest.raises(ValueError, match='readout="all" needs an fc.weight that reads all 10 units, found 8'):
        ei.from_state_dict(ei.init_params(ei.ModelConfig(n_hidden=10)).state_dict(), readout="all")


# --- Noise on the inputs ---


def test_input_noise_is_a_stream_of_its_own_with_the_right_size():
    config = ei.ModelConfig(n_in=5, n_hidden=5, sigma_in=0.3, tau_in=40.0, sigma_rec=0.3, dynamics="brainpy")
    noise = ei.input_noise(config, 3, 2, 400, 30, "float64")
    assert noise.shape == (400, 30, 5)
    assert abs(noise.std() - np.sqrt(2 * 40 / 20) * 0.3) < 0.01 * noise.std()
    recurrent = ei.recurrent_noise(config, 3, 2, 400, 30, "float64")
    assert abs(np.corrcoef(noise.ravel(), recurrent.ravel())[0, 1]) < 0.01
    assert (noise[:, 0] != noise[:, 1]).all()  # no trial shares another's, whatever the dynamics
    np.testing.assert_array_equal(ei.input_noise(config, 3, 2, 7, 2, "float64"), noise[:7, :2])
    expected = 0.6 * naive.normal(3, 2, 5, 4, 1, stream=0x494E5054)
    np.testing.assert_allclose(noise[5, 4, 1], expected, rtol=1e-5)
    assert not ei.input_noise(ei.ModelConfig()).any()


@pytest.mark.parametrize("dynamics", ["song2016", "brainpy"])
def test_the_trainer_makes_the_noise_that_input_noise_gives(dynamics):
    """To the bit, in both dtypes, with more inputs than units."""
    for dtype in ("float32", "float64"):
        problem = make_problem(
            n_in=40, n_hidden=5, n_time=7, n_batch=9, dtype=dtype, dynamics=dynamics, sigma_in=0.2, baseline_in=0.1,
            rectify_inputs=True, activation="tanh", penalties={"l2_rates": 0.1},
        )  # fmt: skip
        trainers = [
            kind(problem.config, problem.params.copy(), seed=2**64 - 3) for kind in (ei.Trainer, ei.GradientTrainer)
        ]
        for trainer in trainers:
            for _ in range(3):
                trainer.step(problem.inputs, problem.labels)
        assert trainers[0].params.flat.tobytes() == trainers[1].params.flat.tobytes()
        assert trainers[0].last_loss == trainers[1].last_loss


@pytest.mark.parametrize("name", ["tbptt", "rtrl", "eprop", "rflo"])
def test_other_algorithms_refuse_omega_and_take_the_rest(name):
    gradient = ei.algorithm(name, 3 if name == "tbptt" else None)
    problem = options_problem(4, sizes=SIZES[0], dynamics="song2016", penalties={"omega": 1.0, "l2_rates": 0.1})
    with pytest.raises(ValueError, match="penalties.omega belongs to backpropagation through time alone"):
        gradient(*batch_of(problem))
    for case in range(10):
        problem = options_problem(case, sizes=(6, 3, 7, 2, 4), penalties=dict.fromkeys(FACTORS[:7], 0.2))
        found = [
            gradient(*batch_of(problem), backend, input_noise=problem.input_noise) for backend in ("numba", "numpy")
        ]
        np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-12)
        for (key, ours), (_, theirs) in zip(found[0][1].items(), found[1][1].items()):
            assert relative_error(ours, theirs) < 1e-12, key
        exact = ei.loss_and_grads(*batch_of(problem), input_noise=problem.input_noise)
        np.testing.assert_allclose(found[0][0], exact[0], rtol=1e-12)
        if name in ("rtrl",):
            for (key, ours), (_, theirs) in zip(found[0][1].items(), exact[1].items()):
                assert relative_error(ours, theirs) < 1e-12, key


def test_whole_truncation_is_bptt_with_all_options():
    for case in range(10):
        problem = options_problem(case, sizes=(6, 3, 7, 2, 4), penalties=dict.fromkeys(FACTORS[:7], 0.2))
        exact = ei.loss_and_grads(*batch_of(problem), input_noise=problem.input_noise)[1]
        found = ei.algorithm("tbptt", 6)(*batch_of(problem), input_noise=problem.input_noise)[1]
        for (key, ours), (_, theirs) in zip(found.items(), exact.items()):
            assert relative_error(ours, theirs) < 1e-12, key


def test_problems_are_what_they_say():
    """No option stays at its default by an oversight of this file."""
    seen = [options_problem(case).config for case in range(60)]
    for field in ("activation", "constraint", "constraint_in", "constraint_out", "readout", "dynamics", "loss"):
        assert len({getattr(config, field) for config in seen}) == len(
            {"activation": ACTIVATIONS}.get(field, CONSTRAINTS if "constraint" in field else range(2))
        )
    assert {len(config.masks) for config in seen} == {0, 1, 2, 3}
    assert any(isinstance(config.tau, tuple) for config in seen)
    assert SimpleNamespace is not None
