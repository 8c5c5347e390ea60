"""The studies: their quantities against independent ones at toy size, and each of them from end to end."""

import contextlib
import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import make_problem, relative_error

import eirnn_np as ei
from eirnn_np import study
from eirnn_np.cli import main
from eirnn_np.optimisers import SGD
from eirnn_np.study import common, constraints, gradient_flow, local_rules, optimiser, rtrl, truncation
from eirnn_np.trainer import RunError

DOCS = Path(__file__).parent.parent / "docs"
SMALL = ei.ModelConfig(n_hidden=10, e_ratio=0.6)
BASIS = common.Basis(SMALL, batch_size=2, seq_len=30)


@pytest.fixture
def small(monkeypatch):
    """The studies on a small network, in a few trials."""
    monkeypatch.setattr(common, "basis_of", lambda run: BASIS)
    monkeypatch.setattr(common, "TRIALS", 20)
    monkeypatch.setattr(gradient_flow, "TRIALS", 4)
    monkeypatch.setattr(gradient_flow, "PRODUCT_TRIALS", 2)
    monkeypatch.setattr(rtrl, "SIZES", (5,))
    monkeypatch.setattr(rtrl, "LENGTHS", (5, 10))
    monkeypatch.setattr(rtrl, "REPEATS", 1)


@pytest.mark.parametrize("name", study.STUDIES)
def test_each_study_ends_with_numbers_a_figure_and_a_table(name, small, tmp_path, capsys):
    steps = [] if name == "rtrl" else ["--steps", "12"]
    assert main(["study", name, "--seeds", "2", *steps, "--out", str(tmp_path / "out")]) == 0
    numbers = json.loads((tmp_path / "out" / "numbers.json").read_text())
    assert (numbers["study"], numbers["seeds"], numbers["steps"]) == (name, 2, 12 if steps else None)
    assert (tmp_path / "out" / "figure.png").read_bytes().startswith(b"\x89PNG")
    out, err = capsys.readouterr()
    assert err == ""
    assert study.table(numbers) in out
    assert main(["study", name, "--out", str(tmp_path / "out")]) == 1  # nothing is overwritten
    assert "is not an empty folder" in capsys.readouterr().err


def test_a_study_gives_the_same_numbers_twice_and_reads_a_run(small, short_run, monkeypatch):
    one, two = (study.measure("truncation", seeds=1, steps=12) for _ in range(2))
    assert one == two
    monkeypatch.undo()
    numbers = study.measure("gradient-flow", run=short_run)
    assert (numbers["snapshots"], numbers["seeds"], numbers["steps"]) == (["start", "end"], 1, None)
    _, params = ei.load_params(short_run / "params.safetensors")
    weights = ei.effective_weights(ei.ModelConfig(), params.astype("float64"))
    found = np.array(numbers["eigenvalues"][1][0])
    expected = np.linalg.eigvals(weights)
    assert np.abs(found[0] + 1j * found[1]).max() == pytest.approx(np.abs(expected).max(), rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trunctation"], "invalid choice"),
        (["rtrl", "--seeds", "0"], "seeds must be an integer of at least 1"),
        (["truncation", "--steps", "1"], "steps must be an integer of at least 10"),
        (["rtrl", "--steps", "100"], "steps have no effect: rtrl trains nothing"),
        (["gradient-flow", "nowhere", "--steps", "100"], "have no effect: gradient-flow of a run"),
        (["gradient-flow", "nowhere", "--seeds", "3"], "seeds have no effect: gradient-flow of a run"),
        (["rtrl", "nowhere"], "not a finished run"),
    ],
)
def test_bad_arguments(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with contextlib.suppress(SystemExit):  # argparse leaves by it
        assert main(["study", *arguments]) > 0
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("name", ["constraints", "truncation", "local-rules", "optimiser"])
def test_a_training_that_diverges_is_a_result(name, small, tmp_path, monkeypatch):
    """Every network of one seed, and of one more rule of the other, is lost: the study ends all the same."""
    trained, train = [], common.train

    def diverging(trainer, batches, steps, on_step):
        trained.append(trainer)
        lost = trainer.seed == 1000 or len(trained) == 2

        def then(k, loss):
            on_step(k, loss)
            if lost and k == 6:
                trainer.params.w_out[...] = np.inf

        return train(trainer, batches, steps, then)

    monkeypatch.setattr(common, "train", diverging)
    numbers, _ = study.carry_out(name, seeds=2, steps=12, out=tmp_path / "out")
    assert json.loads((tmp_path / "out" / "numbers.json").read_text()) == numbers
    assert all(row[1] is None for row in numbers["loss"])
    assert all(row[1] == 0 for row in numbers["accuracy"])
    assert [row[0] is None for row in numbers["loss"]] == [a == 1 for a in range(len(numbers["loss"]))]
    assert all(value is not None for row in numbers["curves"][2:] for value in row[0])
    assert re.search("diverged|inf", study.table(numbers))


def test_gradient_flow_of_a_network_that_diverged_names_seed_and_rate(small, monkeypatch):
    monkeypatch.setattr(common, "basis_of", lambda run: dataclasses.replace(BASIS, lr=1e30))
    with pytest.raises(RunError, match=r"the network of seed 0 diverged at lr 1e\+30"):
        study.measure("gradient-flow", seeds=1, steps=12)


def test_the_folder_is_there_before_the_work_begins(small, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("")
    monkeypatch.setattr(rtrl, "measure", lambda *_: pytest.fail("it began"))
    for out, message in (("file", "cannot make|not an empty"), ("file/in", "cannot make"), ("full", "not an empty")):
        with pytest.raises(RunError, match=message):
            study.carry_out("rtrl", out=tmp_path / out)
    with pytest.raises(ValueError, match="seeds must be"):
        study.carry_out("rtrl", seeds=0, out=tmp_path / "new")
    assert {p.name for p in tmp_path.iterdir()} == {"file", "full"}


def test_the_page_shows_the_numbers_that_are_kept_beside_it():
    page = (DOCS / "study.md").read_text()
    kept = {name: json.loads((DOCS / "study" / f"{name}.json").read_text()) for name in study.STUDIES}
    for name, numbers in kept.items():
        assert numbers["study"] == name
        assert numbers["seeds"] == 5
        assert study.table(numbers)
        assert f"figures/study_{name.replace('-', '_')}.png" in page
    for name, rows in (("constraints", 7), ("optimiser", 10)):
        losses = np.array(kept[name]["loss"])
        assert len(losses) == rows
        for loss in losses:
            assert f"| {loss.mean():.4f} ± {loss.std(ddof=1):.4f} |" in page, (name, loss)
    for name in ("truncation", "local-rules"):
        for loss in np.array(kept[name]["loss"]):
            assert f"| {np.median(loss):.3g} ({loss.min():.3g} - {loss.max():.3g}) |" in page, (name, loss)
    factors = np.array(kept["gradient-flow"]["factor"])
    assert all(f"| {f.mean():.3f} ± {f.std(ddof=1):.3f} |" in page for f in factors)
    assert f"{np.max(kept['rtrl']['error']):.1e}" in page


def test_the_page_prints_what_it_says(capsys):
    page = (DOCS / "study.md").read_text()
    code, printed = re.search(r"```python\n(import eirnn_np.*?)```\n```\n(.*?)```", page, re.S).groups()
    exec(compile(code, "docs/study.md", "exec"), {})
    assert capsys.readouterr().out == printed


# --- gradient flow ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dynamics", ["song2016", "brainpy"])
def test_state_gradients_and_jacobians_are_those_of_differences(dynamics):
    """Push the state of one trial at one time by noise there, and see what the loss and the last state do."""
    problem = make_problem(dynamics=dynamics, n_batch=2, tau=tuple(np.linspace(30.0, 200.0, 7)))
    config, params, noise = problem.config, problem.params, problem.noise.copy()
    weights = np.zeros((11, 2))
    weights[-1] = 0.5
    x, dx = gradient_flow.state_gradients(config, params, problem.inputs, problem.labels, noise, weights)
    products = gradient_flow.product_singular_values(config, params, x)
    step, t, b = 1e-6, 4, 1
    columns, losses = [], []
    for unit in range(7):
        ends = []
        for sign in (1, -1):
            pushed = noise.copy()
            pushed[t, b, unit] += sign * step
            run = ei.forward(config, params, problem.inputs, pushed)
            loss, _ = ei.loss_and_grads(config, params, problem.inputs, problem.labels, pushed, weights)
            ends.append((run.states[-1, b], loss))
        columns.append((ends[0][0] - ends[1][0]) / (2 * step))
        losses.append((ends[0][1] - ends[1][1]) / (2 * step))
    assert relative_error(losses, dx[t, b]) < 1e-7
    found = products[10 - t - 1, b]  # k = T - t steps, counted from 1
    assert relative_error(np.linalg.svd(np.transpose(columns), compute_uv=False), found) < 1e-7


def test_norms_by_lag_and_factor_per_step():
    dx = 0.5 ** np.arange(20)[::-1][:, None, None] * np.ones((20, 3, 4))
    norms = gradient_flow.norms_by_lag(dx)
    np.testing.assert_allclose(norms, 0.5 ** np.arange(20))
    for steps in (20, 6, 3, 2):
        assert gradient_flow.factor_per_step(norms[:steps]) == pytest.approx(0.5)


def test_without_recurrent_weights_only_the_leak_is_left():
    problem = make_problem()
    problem.params.w_rec[...] = 0
    weights = np.zeros((11, 3))
    weights[-1] = 1 / 3
    _, dx = gradient_flow.state_gradients(
        problem.config, problem.params, problem.inputs, problem.labels, problem.noise, weights
    )
    np.testing.assert_allclose(gradient_flow.norms_by_lag(dx), 0.8 ** np.arange(11), rtol=1e-12)


@pytest.mark.parametrize("seed", [2, 5, 8])
def test_spectrum_of_a_large_random_network(seed):
    """Disc, outliers and their absence, at a size where the statistics hold."""
    config = ei.ModelConfig(n_hidden=200)
    params = ei.init_params(config, seed, "float64")
    found = gradient_flow.spectrum(config, params)
    eigenvalues = found["eigenvalues"][0] + 1j * found["eigenvalues"][1]
    largest = eigenvalues[np.abs(eigenvalues).argmax()]
    expected = found["outliers"][0] + 1j * found["outliers"][1]
    assert np.abs(largest) > 1.8 * found["radius"]
    assert min(np.abs(largest - expected)) < 0.1 * np.abs(largest)
    assert np.mean(np.abs(eigenvalues) > 1.1 * found["radius"]) < 0.05
    assert found["balanced"] < 1.3 * found["radius"]
    # With more excitation than inhibition and balanced rows the sum of the means is an eigenvalue.
    params.w_rec[:, :160] *= 3
    weights = ei.effective_weights(config, params)
    v = np.repeat([weights[:, :160].mean(), weights[:, 160:].mean()], [160, 40])
    rest = weights - v
    balanced = v + rest - rest.mean(axis=1, keepdims=True)
    assert np.abs(np.linalg.eigvals(balanced) - v.sum()).min() < 1e-10
    assert gradient_flow.spectrum(config, params)["balanced"] == pytest.approx(v.sum())


def test_scaled_has_the_alpha_and_the_radius():
    config, params = gradient_flow.scaled(SMALL, ei.init_params(SMALL, 1, "float64"), 0.5, 1.5)
    assert config.alpha[0] == 0.5
    assert np.abs(np.linalg.eigvals(ei.effective_weights(config, params))).max() == pytest.approx(1.5)


# --- the others ------------------------------------------------------------------------------------


def test_constraint_variants_differ_in_what_they_say():
    found = constraints.variants(SMALL, 4)
    weights = {}
    for name, (config, params, gradient) in found.items():
        config = constraints.free_config(config, params) if gradient else config
        weights[name] = ei.effective_weights(config, params)
        assert params.flat.size == found["all constraints"][1].flat.size
    plain = weights["all constraints"]
    np.testing.assert_array_equal(weights["signs free (no Dale)"], plain)  # the same network to start with
    np.testing.assert_array_equal(weights["no noise"], plain)
    off = ~np.eye(10, dtype=bool)
    np.testing.assert_array_equal(weights["self-connections"][off], plain[off])
    assert (np.sign(np.diag(weights["self-connections"])) == [1] * 6 + [-1] * 4).all()
    np.testing.assert_array_equal(weights["BrainPy's signs"], plain.T)
    mixed = weights["read-out of E and I"]
    np.testing.assert_allclose(np.sort(np.linalg.eigvals(mixed)), np.sort(np.linalg.eigvals(plain)), atol=1e-6)
    signs = [np.sign(column[column != 0]) for column in mixed.T]
    assert all(len(set(column)) == 1 for column in signs)  # Dale's principle holds
    assert {column[0] for column in signs[:6]} == {1.0, -1.0}  # and both kinds are read out


def test_free_signs_is_the_gradient_of_weights_without_a_sign():
    """Finite differences of a network whose W_rec is theta, built by a mask that is free to follow it."""
    problem = make_problem()
    config, params = problem.config, problem.params
    params.w_rec *= ei.sign_mask(config) + np.eye(7)
    _, grads = constraints.free_signs(config, params, problem.inputs, problem.labels, problem.noise)
    step = 1e-6
    for at in ((2, 5), (5, 2), (3, 3)):
        losses = []
        for sign in (1, -1):
            moved = params.copy()
            moved.w_rec[at] += sign * step
            free = dataclasses.replace(config, mask=np.sign(moved.w_rec) * (1 - np.eye(7)))
            losses.append(ei.loss_and_grads(free, moved, problem.inputs, problem.labels, problem.noise)[0])
        assert (losses[0] - losses[1]) / (2 * step) == pytest.approx(grads.w_rec[at], abs=1e-9)
    trainer = study.common.GradientTrainer(config, params, constraints.free_signs, lr=0.05)
    before = np.sign(params.w_rec)
    for _ in range(20):
        trainer.step(problem.inputs, problem.labels)
    assert (np.sign(params.w_rec) != before).any()  # signs do change


def test_compare_gives_0_degrees_and_ratio_1_where_nothing_is_cut_off():
    params = ei.init_params(SMALL, 0, "float64")
    angles, ratios = truncation.compare(BASIS, params, 0, [1, 30], n_batches=2)
    assert angles[1] < 1e-5
    assert ratios[1] == pytest.approx(1)
    assert angles[0] > 1
    assert ratios[0] != pytest.approx(1)


def test_angle():
    assert common.angle([1, 0], [0, 2]) == pytest.approx(90)
    assert common.angle([1, 1], [-2, -2]) == pytest.approx(180)
    assert common.angle([0, 0], [1, 0]) == 90


def test_best_takes_the_rate_with_the_lowest_median():
    numbers = {"rules": ["BPTT", "e-prop", "e-prop"], "loss": [[1, 1, 1], [1, 9, 9], [2, 2, 99]]}
    assert local_rules.best(numbers) == {"BPTT": 0, "e-prop": 2}


def test_one_bias_at_twice_the_rate_is_two_biases():
    problem = make_problem()
    two, one = problem.params, optimiser.with_one_bias(problem.params)
    a = study.common.GradientTrainer(problem.config, two, lr=0.01)
    b = study.common.GradientTrainer(
        problem.config, one, optimiser.one_bias, optimiser=optimiser.DoubleBiasRate(0.01)
    )  # fmt: skip
    for _ in range(20):
        a.step(problem.inputs, problem.labels)
        b.step(problem.inputs, problem.labels)
    np.testing.assert_allclose(one.b_rec, two.b_rec + two.b_in, rtol=1e-9)
    assert not one.b_in.any()
    np.testing.assert_allclose(one.w_rec, two.w_rec, rtol=1e-9)


def test_sgd_clips_the_norm():
    problem = make_problem()
    _, grads = ei.loss_and_grads(problem.config, problem.params, problem.inputs, problem.labels, problem.noise)
    norm = np.linalg.norm(grads.flat)
    for clip, length in ((norm / 2, norm / 2), (2 * norm, norm), (np.inf, norm)):
        params, sgd = problem.params.copy(), SGD(0.1, clip)
        sgd.update(params, grads)
        np.testing.assert_allclose(
            problem.params.flat - params.flat, 0.1 * length / norm * grads.flat, rtol=1e-9, atol=1e-17
        )
        assert (sgd.clipped, sgd.k) == (int(clip < norm), 1)
    sgd.update(params, ei.Params.like(problem.config, "float64"))  # a gradient of 0 does not divide by 0
    assert np.isfinite(params.flat).all()
    for wrong in ((0, 1), (0.1, 0), (np.nan, 1), (0.1, -1)):
        with pytest.raises(ValueError, match="must be a positive number"):
            SGD(*wrong)
    with pytest.raises(ValueError, match="like params"):
        sgd.update(params, grads.astype("float32"))


def test_work_and_memory_by_formula():
    """J P alone: T B times (H, H) by (H, H S); two arrays of influence."""
    work, _ = rtrl.flop(H=3, T=5, B=2, I=1)
    assert work == 5 * 2 * 2 * 3 * 3 * (3 * 5)
    assert rtrl.memory(H=3, T=5, B=2, I=1)[0] == 2 * 8 * np.zeros((2, 3, 3, 5)).size
