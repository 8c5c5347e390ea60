"""Wrong gradients on purpose: each is one line of reference.py changed, to see which oracle notices.

    python tests/planted_errors.py        prints the table of docs/verification.md

An error is (text of reference.py, what replaces it). The text must occur exactly once, so a change of the
reference cannot silently take the error away.
"""

import inspect
import sys
import types
from pathlib import Path

import numpy as np

import eirnn_np as ei
from eirnn_np import reference

ERRORS = {
    "gradient scaled by 1.001": ("    return loss, grads\n", "    grads.flat *= 1.001\n    return loss, grads\n"),
    "alpha dropped from the recurrence": ("(alpha * dx[t + 1]) @ w_rec", "dx[t + 1] @ w_rec"),
    "(1 - alpha) dropped from the leak": ("+ leak(config, alpha, r[t]) * dx[t + 1]", "+ dx[t + 1]"),
    "W instead of its transpose": ("(alpha * dx[t + 1]) @ w_rec", "(alpha * dx[t + 1]) @ w_rec.T"),
    "mask missing": ('grads.w_rec *= weight_slope(config, params, "w_rec")', "grads.w_rec *= np.sign(params.w_rec)"),
    "|theta| without its sign": (
        'grads.w_rec *= weight_slope(config, params, "w_rec")',
        'grads.w_rec *= weight_slope(config, params, "w_rec") * np.sign(params.w_rec)',
    ),
    "ReLU's mask from x_{t-1}": ("dr * slope(r[t])", "dr * slope(r[max(t - 1, 0)])"),
    "time off by one": ('"tbi,tbj->ij", dc, r_before', '"tbi,tbj->ij", dc, r'),
    "inhibitory read-out leaks in": (
        "dr[:, :R] += dz[t] @ w_out",
        "dr += dz[t] @ np.resize(w_out, (w_out.shape[0], H))",
    ),
    "noise scaled by alpha": ("alpha * current + noise[t - 1]", "alpha * (current + noise[t - 1])"),
    "loss divided by T, not T B": (
        "    loss, dz = loss_and_output_grad(config, run.outputs, targets, weights)",
        "    loss, dz = loss_and_output_grad(config, run.outputs, targets, weights * inputs.shape[1])",
    ),
    "one bias forgotten": ("    grads.b_in[...] = grads.b_rec", "    pass"),
}


def planted(error):
    """`loss_and_grads` of the reference with one planted error."""
    before, after = ERRORS[error]
    source = inspect.getsource(reference)
    assert source.count(before) == 1, f"{error}: {before!r} occurs {source.count(before)} times in reference.py"
    module = types.ModuleType("eirnn_np.planted")
    module.__package__ = "eirnn_np"
    exec(compile(source.replace(before, after), "planted", "exec"), module.__dict__)
    return module.loss_and_grads


def report_for(error, problem):
    """The gradient check of a planted error (or of the correct reference, for None)."""
    weights = np.full(problem.inputs.shape[:2], 1 / np.prod(problem.inputs.shape[:2]))
    wrong = reference.loss_and_grads if error is None else planted(error)
    _, grads = wrong(problem.config, problem.params, problem.inputs, problem.labels, problem.noise, weights)
    return ei.check_network(problem.config, problem.params, problem.inputs, problem.labels, problem.noise, grads=grads)


def worst(report, oracle):
    """Tolerances used in the worst tensor."""
    return max(checks[oracle].used for checks in report.rows.values())


def markdown(problem):
    oracles = ("fd directions", "fd coordinates", "numpy", "torch")
    lines = ["| planted error | " + " | ".join(oracles) + " |", "|---|" + "---|" * len(oracles)]
    for error in (None, *ERRORS):
        report = report_for(error, problem)
        cells = [f"{worst(report, oracle):.2g}" for oracle in oracles]
        name = (error or "none").replace("|", "\\|")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    from conftest import make_problem

    print(markdown(make_problem()))
