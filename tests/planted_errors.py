"""Wrong gradients on purpose: each is one line of reference.py changed, to see which oracle notices.

    python tests/planted_errors.py        prints the tables of docs/verification.md, writes its numbers file

An error is (text of reference.py, what replaces it). The text must occur exactly once, so a change of the
reference cannot silently take the error away.
"""

import inspect
import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

import eirnn_np as ei
from eirnn_np import functions, reference

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


class Planted(NamedTuple):
    """An error in an option: a line of reference.py or functions.py, and the configuration in which it shows."""

    before: str
    after: str
    options: dict
    no_differences: bool = False  # does it hide from finite differences, at a kink?
    prepare: Callable | None = None  # changes the parameters first


def _zeros(params):
    params.w_rec[:, ::2] = 0


OPTION_ERRORS = {
    "rectify: derivative 1 at 0": Planted(
        '"rectify": Constraint(lambda theta: np.maximum(theta, 0), lambda theta: theta > 0)',
        '"rectify": Constraint(lambda theta: np.maximum(theta, 0), lambda theta: theta >= 0)',
        {"constraint": "rectify", "mask": None, "penalties": {}}, True, _zeros,
    ),
    "rectify: derivative 1 below 0": Planted(
        '"rectify": Constraint(lambda theta: np.maximum(theta, 0), lambda theta: theta > 0)',
        '"rectify": Constraint(lambda theta: np.maximum(theta, 0), np.ones_like)',
        {"constraint": "rectify", "mask": None, "penalties": {}},
    ),
    "softplus: derivative of x instead of r": Planted(
        "lambda r: -np.expm1(-r)", "lambda r: 1 / (1 + np.exp(-r))", {"activation": "softplus", "penalties": {}}
    ),
    "tanh: derivative of x instead of r": Planted(
        '"tanh": Activation(np.tanh, lambda r: 1 - r * r)',
        '"tanh": Activation(np.tanh, lambda r: 1 - np.tanh(r) ** 2)',
        {"activation": "tanh", "penalties": {}},
    ),
    "sigmoid: derivative of x instead of r": Planted(
        "lambda r: r * (1 - r)", "lambda r: np.exp(-r) / (1 + np.exp(-r)) ** 2",
        {"activation": "sigmoid", "penalties": {}},
    ),
    "retanh: derivative where x is below 0": Planted(
        "lambda r: (1 - r * r) * (r > 0)", "lambda r: 1 - r * r", {"activation": "retanh", "penalties": {}}
    ),
    "mask of the inputs forgotten in backward": Planted(
        '    grads.w_in *= weight_slope(config, params, "w_in")', "    pass",
        {"mask_in": np.diag([2.0, 0.5])[np.arange(7) % 2], "constraint_in": "free", "penalties": {}},
    ),
    "mask of the outputs forgotten in backward": Planted(
        '    grads.w_out *= weight_slope(config, params, "w_out")', "    pass",
        {"mask_out": np.diag([2.0, 0.5, 0.0, 1.0, 0.0, 1.0, 1.0])[:4], "readout": "all", "constraint_out": "free",
         "penalties": {}},
    ),
    "mask of the outputs forgotten on the way to the units": Planted(
        "dr[:, :R] += dz[t] @ w_out", "dr[:, :R] += dz[t] @ params.w_out",
        {"mask_out": np.diag([2.0, 0.5, 0.0, 1.0, 0.0, 1.0, 1.0])[:4], "readout": "all", "constraint_out": "free",
         "penalties": {}},
    ),
    "penalty of the weights divided by the wrong count": Planted(
        "/ theta.size  # (B13)", "/ len(theta)", {"penalties": {"l2_rec": 0.3, "l1_in": 0.2}}
    ),
    "penalty of the weights times the mask": Planted(
        "dtheta += (l1 * np.sign(theta) + 2 * l2 * theta)",
        "dtheta += weight_slope(config, params, name) * (l1 * np.sign(theta) + 2 * l2 * theta)",
        {"constraint": "free", "mask": None, "penalties": {"l2_rec": 0.3}},
    ),
    "penalty of the rates divided by the wrong count": Planted(
        "2 * l2_rates * r[t] / r.size", "2 * l2_rates * r[t] / r[:, 0].size", {"penalties": {"l2_rates": 0.3}}
    ),
    "Omega: delta off by one step": Planted(
        "(1 - alpha) * dx[1:]", "(1 - alpha) * dx[:-1]", {"penalties": {"omega": 2}}
    ),
    "Omega: without 1 - alpha": Planted("v = (1 - alpha) * e +", "v = e +", {"penalties": {"omega": 2}}),
    "Omega: e without 1 - alpha, a tau for each unit": Planted(
        "e = (1 - alpha) * dx[1:]", "e = dx[1:]", {"penalties": {"omega": 2}, "tau": tuple(np.linspace(20.0, 200.0, 7))}
    ),
    "Omega: f' of the wrong time": Planted(".slope(r[:-1])", ".slope(r[1:])", {"penalties": {"omega": 2}}),
    "Omega: counted step by step instead of in all": Planted(
        "number = max(int(counted.sum()), 1)",
        "number = np.maximum(counted.sum(axis=1, keepdims=True), 1) + np.arange(3)",
        {"penalties": {"omega": 2}},
    ),
    "Omega: delta of the penalised loss": Planted(
        "dx = adjoints(config, params, run.rates, dz, 0)",
        "dx = adjoints(config, params, run.rates, dz, config.penalties.l2_rates)",
        {"penalties": {"omega": 2, "l2_rates": 5.0}},
    ),
}  # fmt: skip


def planted(error):
    """`loss_and_grads` of the reference with one planted error."""
    before, after = ERRORS[error] if error in ERRORS else OPTION_ERRORS[error][:2]
    sources = {module: inspect.getsource(module) for module in (reference, functions)}
    found = [module for module, source in sources.items() for _ in range(source.count(before))]
    assert len(found) == 1, f"{error}: {before!r} occurs {len(found)} times in reference.py and functions.py"
    module = types.ModuleType("eirnn_np.planted")
    module.__package__ = "eirnn_np"
    exec(compile(sources[found[0]].replace(before, after), "planted", "exec"), module.__dict__)
    if found[0] is reference:
        return module.loss_and_grads

    def with_tables(*arguments):
        tables = (functions.ACTIVATIONS, module.ACTIVATIONS), (functions.CONSTRAINTS, module.CONSTRAINTS)
        kept = [dict(table) for table, _ in tables]
        try:
            for table, wrong in tables:
                table.update(wrong)
            return reference.loss_and_grads(*arguments)
        finally:
            for (table, _), right in zip(tables, kept):
                table.update(right)

    return with_tables


def report_for(error, problem):
    """The gradient check of a planted error (or of the correct reference, for None)."""
    given, input_noise = getattr(problem, "weights", None), getattr(problem, "input_noise", None)
    weights = np.ones(problem.inputs.shape[:2]) if given is None else given
    u = reference.effective_inputs(problem.config, problem.inputs, input_noise)
    wrong = reference.loss_and_grads if error is None else planted(error)
    _, grads = wrong(problem.config, problem.params, u, problem.labels, problem.noise, weights / weights.sum())
    return ei.check_network(
        problem.config, problem.params, problem.inputs, problem.labels, problem.noise, given, input_noise=input_noise,
        grads=grads,
    )  # fmt: skip


def worst(report, oracle):
    """Tolerances used in the worst tensor."""
    return max(checks[oracle].used for checks in report.rows.values())


ORACLES = ("fd directions", "fd coordinates", "numpy", "torch")
NUMBERS = Path(__file__).parent.parent / "docs" / "verification.json"


def measured(problem_of, errors):
    """Tolerances used in the worst tensor, by error and oracle; "none" is the largest of the correct gradients."""
    found = {error: _used(error, problem_of(error)) for error in errors}
    clean = [_used(None, problem_of(error)) for error in errors]
    return {"none": {oracle: max(each[oracle] for each in clean) for oracle in ORACLES}, **found}


def _used(error, problem):
    report = report_for(error, problem)
    return {oracle: float(f"{worst(report, oracle):.3g}") for oracle in ORACLES}


def markdown(found):
    """A table of docs/verification.md."""
    lines = ["| planted error | " + " | ".join(ORACLES) + " |", "|---|" + "---|" * len(ORACLES)]
    for error, used in found.items():
        cells = " | ".join(f"{used[oracle]:.2g}" for oracle in ORACLES)
        lines.append(f"| {error.replace('|', chr(92) + '|')} | {cells} |")
    return "\n".join(lines)


def main():
    from conftest import make_problem
    from test_options import planted_problem

    kept = json.loads(NUMBERS.read_text()) if NUMBERS.exists() else {}
    kept["planted"] = measured(lambda _: make_problem(), ERRORS)
    kept["options"] = measured(planted_problem, OPTION_ERRORS)
    NUMBERS.write_text(json.dumps(kept, indent=1) + "\n")
    print(markdown(kept["planted"]), markdown(kept["options"]), sep="\n\n")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
