"""The gradient check: passes what is right, and each oracle by itself catches each planted error."""

import json
import re
import subprocess
import sys

import numpy as np
import planted_errors
import pytest
from conftest import make_problem

import eirnn_np as ei
from eirnn_np.cli import main
from eirnn_np.differences import Check, GradientReport
from eirnn_np.gradcheck import TOLERANCE, step_size_curve

ORACLES = ("fd directions", "fd coordinates", "numpy", "torch")


def test_correct_gradients_pass_with_room(problem):
    report = planted_errors.report_for(None, problem)
    assert report.passed
    assert all(set(checks) == set(ORACLES) for checks in report.rows.values())
    assert all(planted_errors.worst(report, oracle) < 0.2 for oracle in ORACLES)


@pytest.mark.parametrize("error", planted_errors.ERRORS)
def test_each_oracle_catches_each_planted_error(error):
    report = planted_errors.report_for(error, make_problem())
    assert not report.passed
    for oracle in ORACLES:
        assert planted_errors.worst(report, oracle) > 100, oracle


@pytest.mark.parametrize("error", planted_errors.ERRORS)
def test_float32_tolerance_still_catches_it(error):
    """As a user with a float32 port would see it: the errors are far above the rounding that is allowed."""
    problem = make_problem()
    _, grads = ei.loss_and_grads(problem.config, problem.params, problem.inputs, problem.labels, problem.noise)
    wrong = planted_errors.planted(error)(
        problem.config, problem.params, problem.inputs, problem.labels, problem.noise, np.full((11, 3), 1 / 33)
    )[1]
    differences = [
        np.abs(a - b).max() / np.linalg.norm(b) for (_, a), (_, b) in zip(wrong.items(), grads.items())
    ]  # fmt: skip
    assert max(differences) > 5 * TOLERANCE["float32"]["numpy"]


def quadratic(p):
    return float(0.5 * (p["a"] ** 2).sum() + (p["a"][0] * p["b"]).sum())


def test_checks_a_function_that_has_nothing_to_do_with_ours():
    params = {"a": np.arange(1.0, 4.0), "b": np.array([[2.0, -1.0]])}
    right = {"a": params["a"] + np.array([1.0, 0, 0]), "b": np.array([[1.0, 1.0]])}
    report = ei.check_gradients(quadratic, right, params)
    assert report.passed
    assert "PASS" in str(report)
    np.testing.assert_array_equal(params["a"], [1, 2, 3])  # not changed
    for name in right:
        wrong = {**right, name: right[name] * 1.0005}  # 0.05 % off
        report = ei.check_gradients(quadratic, wrong, params)
        assert {tensor for tensor, _ in report.failures()} == {name}
        assert "FAIL" in str(report)
        assert json.loads(json.dumps(report.to_dict()))["passed"] is False


def test_a_gradient_of_zeros_does_not_pass():
    params = {"a": np.ones(3), "b": np.ones((1, 2))}
    assert not ei.check_gradients(quadratic, {k: np.zeros_like(v) for k, v in params.items()}, params).passed


@pytest.mark.parametrize(
    "loss", [lambda w: np.abs(w).sum(), lambda w: np.sqrt(np.abs(w)).sum(), lambda w: (w**2).sum()]
)
def test_zeros_where_the_loss_itself_is_zero_are_not_verified(loss):
    """Both sides of an even loss are alike: central differences say 0 whatever it does there."""
    report = ei.check_gradients(lambda p: float(loss(p["w"])), {"w": np.zeros(4)}, {"w": np.zeros(4)})
    assert not report.passed
    assert report.failures() == []
    assert report.unverified() == ["w"]


@pytest.mark.parametrize("which", ["params", "grads", "oracle"])
def test_complex_arrays_are_refused(which):
    """Cast to real numbers, a gradient that is wrong in its imaginary part alone would pass."""
    arrays = {name: {"a": np.ones(3), "b": np.ones((1, 2))} for name in ("params", "grads", "oracle")}
    arrays[which]["a"] = arrays[which]["a"] + 5j
    with pytest.raises(ValueError, match="'a'.* must hold real numbers, found dtype complex128"):
        ei.check_gradients(quadratic, arrays["grads"], arrays["params"], oracles={"mine": (arrays["oracle"], 1e-9)})


def test_nan_does_not_pass():
    params = {"a": np.ones(3), "b": np.ones((1, 2))}
    assert not ei.check_gradients(quadratic, {k: np.full_like(v, np.nan) for k, v in params.items()}, params).passed


def test_entries_next_to_a_kink_are_counted_and_left_out():
    params = {"w": np.array([1.0, 1e-7, -2.0])}

    def loss(p):
        return float(np.abs(p["w"]).sum())

    grads = {"w": np.sign(params["w"])}
    options = {"n_directions": 0, "n_coordinates": 3}
    report = ei.check_gradients(loss, grads, params, kinks=lambda p: p["w"] > 0, **options)
    check = report.rows["w"]["fd coordinates"]
    assert (check.compared, check.skipped, report.passed) == (2, 1, True)
    assert "1 left out next to a kink" in str(report)
    assert not ei.check_gradients(loss, grads, params, **options).passed  # blind to the kink, it fails there


def absolute(p):
    return float(np.abs(p["w"]).sum())


def test_where_nothing_was_compared_nothing_passes():
    """|x| at 0: every difference crosses the kink, and any gradient would do."""
    params = {"w": np.zeros(3)}
    for claimed in (0.0, 7.0):
        report = ei.check_gradients(absolute, {"w": np.full(3, claimed)}, params, kinks=lambda p: p["w"] > 0)
        assert not report.passed
        assert report.unverified() == ["w"]
        assert report.failures() == []
        assert str(report).splitlines()[-1].startswith("UNVERIFIED: no oracle could check w")
        assert report.to_dict()["tensors"]["w"]["checks"]["fd coordinates"]["verdict"] == "unverified"
    assert not ei.check_gradients(lambda p: 0.0, {}, {}).passed


@pytest.mark.parametrize("offset", [1e5, 1e9])
def test_a_gradient_that_drowns_in_the_loss_is_unverified(offset):
    """The rounding of the loss is in the tolerance: beside a large loss it would pass a gradient of the wrong sign."""
    params = {"a": np.arange(1.0, 4.0)}

    def loss(p):
        return float(offset + 1e-3 * (p["a"] ** 2).sum())

    for sign in (1, -1):
        report = ei.check_gradients(loss, {"a": sign * 2e-3 * params["a"]}, params)
        assert not report.passed
    assert ei.check_gradients(lambda p: float(1e-3 * (p["a"] ** 2).sum()), {"a": 2e-3 * params["a"]}, params).passed


@pytest.mark.parametrize("offset", [0.0, 1.0, 100.0, 1e4])
@pytest.mark.parametrize("share", [2e-3, 0.01, 0.1])
def test_an_error_across_the_gradient_of_a_large_tensor_does_not_pass(offset, share):
    """A direction in 40,000 numbers sees 1/200 of it, which drowned in the rounding of a loss of 100."""
    rng = np.random.default_rng(0)
    true = rng.normal(size=40000)
    true /= np.linalg.norm(true) / 1e-3
    wrong = rng.normal(size=40000)
    wrong -= true * (true @ wrong) / (true @ true)
    wrong *= share * 1e-3 / np.linalg.norm(wrong)
    report = ei.check_gradients(
        lambda p: offset + float(true @ p["w"]), {"w": true + wrong}, {"w": np.zeros(40000)}, n_coordinates=2
    )
    assert not report.passed
    assert report.failures() or offset >= 100


@pytest.mark.parametrize("slope", [1e-17, 1e-12, 1e-10])
def test_a_gradient_of_zeros_where_the_loss_moves_too_little_to_be_seen_is_unverified(slope):
    report = ei.check_gradients(lambda p: 1 + slope * float(p["w"].sum()), {"w": np.zeros(5)}, {"w": np.ones(5)})
    # At a distance of 1 the first one cannot be seen in the loss either.
    assert report.passed is (slope == 1e-17)
    assert report.failures() == []
    assert not ei.check_gradients(lambda p: 1.0, {"w": np.zeros(0)}, {"w": np.zeros(0)}).passed


@pytest.mark.parametrize(
    ("option", "value"), [("step", 0), ("step", -1e-5), ("rtol", -1.0), ("rtol", 0), ("rtol", np.nan),
                          ("n_directions", -1), ("n_coordinates", 1.5), ("seed", -1),
                          ("oracles", {"x": ({"a": np.ones(3)}, -1.0)})],
)  # fmt: skip
def test_an_option_that_would_let_anything_pass_is_refused(option, value):
    """With rtol = -1 error over tolerance is below 1, whatever the error."""
    with pytest.raises(ValueError, match=f"{option}.* must be"):
        ei.check_gradients(lambda p: float(p["a"].sum()), {"a": 3 * np.ones(3)}, {"a": np.ones(3)}, **{option: value})


def test_another_oracle_verifies_what_differences_cannot():
    params = {"w": np.zeros(3)}
    for theirs, passed in ((0.0, True), (1e-9, False)):
        oracles = {"theirs": ({"w": np.full(3, theirs)}, 1e-12)}
        report = ei.check_gradients(absolute, {"w": np.zeros(3)}, params, kinks=lambda p: p["w"] > 0, oracles=oracles)
        assert report.passed is passed


def test_a_wide_tolerance_has_no_power():
    assert Check(error=0.2, tolerance=0.9, compared=3, norm=1.7).verdict == "unverified"
    assert Check(error=1.0, tolerance=0.9, compared=3, norm=1.7).verdict == "FAIL"  # wrong even so
    assert Check(error=1e-6, tolerance=1e-5, compared=3, norm=1.7).verdict == "pass"
    assert Check(error=np.nan, tolerance=1e-5, compared=3, norm=1.7).verdict == "FAIL"
    assert not GradientReport({}, {}).passed


def test_a_parameter_without_influence_passes_at_zero_only():
    params = {"w": np.ones(3), "idle": np.ones(2)}
    for claimed in (0.0, 1e-8):
        report = ei.check_gradients(absolute, {"w": np.ones(3), "idle": np.full(2, claimed)}, params)
        assert report.passed is (claimed == 0)


def test_every_share_of_a_network_s_check_is_shown_and_bounded(problem):
    report = planted_errors.report_for(None, problem)
    for row in report.rows.values():
        assert all(0 < c.share <= 1e-3 and c.verdict == "pass" for c in row.values())
    assert "sees: the smallest error" in str(report)


def test_names_and_shapes_must_fit():
    with pytest.raises(ValueError, match="grads must have the names and shapes of params"):
        ei.check_gradients(quadratic, {"a": np.ones(3)}, {"a": np.ones(3), "b": np.ones((1, 2))})
    with pytest.raises(ValueError, match="finite loss"):
        ei.check_gradients(lambda p: np.nan, {"a": np.ones(3)}, {"a": np.ones(3)})


def test_difference_error_has_the_shape_of_a_v(problem):
    """Truncation falls with h**2 from the right, round-off with 1/h from the left, down to below 1e-8."""
    steps = 10.0 ** np.arange(-11, 0)
    errors, floor = step_size_curve(
        problem.config, problem.params, problem.inputs, problem.labels, problem.noise, steps
    )
    best = int(errors.argmin())
    assert 0 < best < len(steps) - 1
    assert errors[best] < 1e-8
    assert errors[0] > 1e3 * errors[best]
    assert errors[-1] > 1e3 * errors[best]
    assert floor < 1e-14


@pytest.mark.parametrize("dynamics", ["song2016", "brainpy"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_command(capsys, dtype, dynamics):
    sizes = ["--hidden", "7", "--batch-size", "3", "--seq-len", "11", "--e-ratio", "0.6"]
    assert main(["gradcheck", *sizes, "--dtype", dtype, "--dynamics", dynamics, "--no-noise"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == "PASS"
    for name in ("w_in", "w_rec", "b_rec", "w_out", "b_out"):
        assert re.search(rf"^{name} .*pass$", out, re.M)


def test_command_on_a_run_as_json_and_figure(capsys, short_run, tmp_path):
    figure = tmp_path / "gradient_check.png"
    assert main(["gradcheck", str(short_run), "--json", "--batch-size", "3", "--seq-len", "20"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["passed"]
    assert "trained weights" in report["title"]
    assert main(["gradcheck", "--hidden", "5", "--seq-len", "4", "--figure", str(figure)]) == 0
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_command_fails_with_status_1_where_a_gradient_is_wrong(capsys, monkeypatch):
    from eirnn_np import gradcheck

    right = gradcheck.loss_and_grads

    def wrong(*arguments, **options):
        loss, grads = right(*arguments, **options)
        grads.w_in[0, 0] += 1e-3 * np.linalg.norm(grads.w_in)
        return loss, grads

    monkeypatch.setattr(gradcheck, "loss_and_grads", wrong)
    assert main(["gradcheck", "--hidden", "7", "--seq-len", "5", "--batch-size", "2"]) == 1
    assert "FAIL: w_in against" in capsys.readouterr().out


def test_without_torch_the_report_says_so():
    """In a process that cannot import torch, the other oracles still run."""
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from eirnn_np.cli import main\n"
        "sys.exit(main(['gradcheck', '--hidden', '5', '--seq-len', '4', '--batch-size', '2']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "torch is not installed" in done.stdout
    assert "numpy" in done.stdout
