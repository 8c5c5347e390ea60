"""A report of the errors of gradients against finite differences of a loss, and against any other gradients.

Takes functions and arrays, so it checks code that has nothing to do with ours; gradcheck.py applies it to the network.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from .checks import check_float, check_integer

FINITE_DIFFERENCES = ("fd directions", "fd coordinates")

# A check that would pass an error of a larger share than this says nothing.
MOST_SHARE = 1e-3
SMALLEST = 5e-324


@dataclass
class Check:
    """One tensor against one oracle.

    `error` is the length of what is wrong with the gradient, as far as the oracle sees it: of analytic gradients the
    norm of the difference, of random directions an estimate of it, of single coordinates the largest entry. `norm` is
    that of the gradient, or the largest entry among the coordinates. `used` is error over tolerance, `share` tolerance
    over norm: what the check would still pass. The verdict is "pass", "FAIL", or "unverified": nothing could be
    compared, or the share is above `MOST_SHARE`. Where the norm is 0 the share is infinite, and the check passes only
    if it has been seen that the loss does not depend on the tensor at all (`idle`).
    """

    error: float
    tolerance: float
    compared: int
    skipped: int = 0
    norm: float = math.inf
    idle: bool = False

    @property
    def used(self) -> float:
        return self.error / self.tolerance if self.tolerance else (0.0 if self.error == 0 else math.inf)

    @property
    def share(self) -> float:
        return self.tolerance / self.norm if self.norm else (0.0 if self.tolerance == 0 else math.inf)

    @property
    def verdict(self) -> str:
        if self.compared and not self.used <= 1:  # NaN does not pass
            return "FAIL"
        return "pass" if self.compared and (self.share <= MOST_SHARE or self.idle) else "unverified"

    @property
    def passed(self) -> bool:
        return self.verdict == "pass"


@dataclass
class GradientReport:
    """The outcome of a check: ``rows[tensor][oracle]`` is a `Check`; print it, or take `to_dict()`.

    It passes if no check failed and each tensor was verified by one oracle at least.
    """

    norms: dict
    rows: dict
    title: str = ""
    notes: list = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return bool(self.rows) and not self.failures() and not self.unverified()

    def failures(self) -> list[tuple[str, str]]:
        """Pairs (tensor, oracle) whose error is above the tolerance."""
        return [(name, oracle) for name, row in self.rows.items() for oracle, c in row.items() if c.verdict == "FAIL"]

    def unverified(self) -> list[str]:
        """Tensors that no oracle could verify."""
        return [name for name, row in self.rows.items() if not any(c.verdict != "unverified" for c in row.values())]

    def to_dict(self) -> dict:
        return {
            "passed": self.passed,
            "title": self.title,
            "tensors": {
                name: {
                    "norm": self.norms[name],
                    "checks": {
                        oracle: {
                            "error": c.error, "tolerance": c.tolerance, "share": c.share, "used": c.used,
                            "verdict": c.verdict, "passed": c.passed, "compared": c.compared, "skipped": c.skipped,
                        }
                        for oracle, c in checks.items()
                    },
                }
                for name, checks in self.rows.items()
            },
        }  # fmt: skip

    def __str__(self) -> str:
        oracles = list(dict.fromkeys(oracle for checks in self.rows.values() for oracle in checks))
        width = max([len(name) for name in self.rows] + [6])
        lines = [self.title] if self.title else []
        lines.append(f"{'':{width}}  {'norm':>9}" + "".join(f"  {oracle:>23}" for oracle in oracles))
        lines.append(f"{'':{width}}  {'':>9}" + "".join(f"  {'error     sees   used':>23}" for _ in oracles))
        for name, checks in self.rows.items():
            cells = ""
            for oracle in oracles:
                c = checks.get(oracle)
                if c is None:
                    text = "-"
                elif c.verdict == "unverified":
                    text = "nothing compared" if not c.compared else f"no power: {_percent(c.share)}"
                else:
                    text = f"{c.error:8.1e}  {c.share:7.1e}  {_percent(c.used):>5}"
                cells += f"  {text:>23}"
            verdicts = {c.verdict for c in checks.values()}
            verdict = "FAIL" if "FAIL" in verdicts else "pass" if "pass" in verdicts else "unverified"
            lines.append(f"{name:{width}}  {self.norms[name]:9.2e}{cells}  {verdict}")
        for oracle in oracles:
            checks = [checks[oracle] for checks in self.rows.values() if oracle in checks]
            skipped = sum(c.skipped for c in checks)
            if oracle in FINITE_DIFFERENCES:
                lines.append(f"{oracle}: {sum(c.compared for c in checks)} compared, {skipped} left out next to a kink")
        lines.append("sees: the smallest error, as a share of the gradient, that would fail")
        lines += self.notes
        if self.failures():
            lines.append("FAIL: " + ", ".join(f"{name} against {oracle}" for name, oracle in self.failures()))
        elif self.passed:
            lines.append("PASS")
        else:
            what = ", ".join(self.unverified()) or "anything"
            lines.append(f"UNVERIFIED: no oracle could check {what} (too near a kink, or too small beside the loss)")
        return "\n".join(lines)


def check_gradients(
    loss_fn, grads, params, *, kinks=None, oracles=None, n_directions=6, n_coordinates=12, step=1e-5, rtol=1e-7,
    seed=0, title="",
):  # fmt: skip
    """Compare gradients with central finite differences of a loss, and with any other gradients.

    Parameters
    ----------
    loss_fn : callable
        ``loss_fn(params) -> float`` for a dict like `params`, in float64. It must be deterministic: noise
        is an input of the model, never drawn inside.
    grads : dict of arrays
        The gradients under test, under the names of `params`.
    params : dict of arrays
        Where the gradients were taken. Not changed.
    kinks : callable, optional
        ``kinks(params)`` gives an array that says on which side of each kink (ReLU, absolute value) the
        computation is. A difference across a kink means nothing: where the array changes within a step,
        the entry is left out and counted.
    oracles : dict, optional
        ``{name: (gradients, rtol)}``: analytic gradients of others to compare with.
    n_directions : int
        Random unit directions for each tensor, besides the direction of its own gradient.
    n_coordinates : int
        Coordinates of each tensor tried one by one: the largest entries of the gradient and random ones.
    step : float
        Of the central difference (L(p + step d) - L(p - step d)) / (2 step).
    rtol : float
        Tolerance as a share of the norm of the gradient, to which the rounding of the difference itself,
        64 eps |L| / step, is added. A random direction sees of an error in n numbers a part of 1 / sqrt(n) on average,
        so both are taken times sqrt(n). Where the sum is above 0.1 % of the norm (of single coordinates: of the
        largest entry) the check has no power: the tensor is unverified, and so is one of which every difference crosses
        a kink. A gradient of zeros is verified if the loss stays the same to the bit, also at a distance of 1. What is
        unverified has not passed.
    seed : int
        Of directions and coordinates.

    Returns
    -------
    GradientReport

    Raises
    ------
    ValueError
        If names or shapes of `grads` and `params` differ, an array is not real, the loss is not finite, or an option is
        out of its range.
    """
    step, rtol = check_float("step", step, above=0), check_float("rtol", rtol, above=0)
    n_directions, n_coordinates, seed = (
        check_integer(name, value, 0)
        for name, value in (("n_directions", n_directions), ("n_coordinates", n_coordinates), ("seed", seed))
    )
    params = {name: np.array(_real(f"params[{name!r}]", value)) for name, value in params.items()}
    grads = {name: _real(f"grads[{name!r}]", value) for name, value in grads.items()}
    _same_tensors("grads", grads, params)
    for oracle, (theirs, share) in (oracles or {}).items():
        _same_tensors(f"oracles[{oracle!r}]", theirs, params)
        check_float(f"oracles[{oracle!r}][1]", share, above=0)
    base = float(loss_fn(params))
    if not math.isfinite(base):
        raise ValueError(f"loss_fn must return a finite loss, found {base}")
    rounding = 64 * np.finfo(np.float64).eps * abs(base) / step
    side = None if kinks is None else np.array(kinks(params))
    rng = np.random.default_rng(seed)
    rows: dict[str, dict[str, Check]] = {}
    norms: dict[str, float] = {}

    def difference(name, direction):
        """The directional derivative, or None where a kink is in the way."""
        origin, losses = params[name], []
        try:
            for sign in (1, -1):
                params[name] = origin + sign * step * direction
                if side is not None and not np.array_equal(kinks(params), side):
                    return None
                losses.append(float(loss_fn(params)))
        finally:
            params[name] = origin
        return (losses[0] - losses[1]) / (2 * step)

    def idle(name, directions):
        """Is the loss the same to the bit at a distance of 1, wherever it was looked at?"""
        origin = params[name]
        try:
            for d in directions:
                params[name] = origin + d
                if float(loss_fn(params)) != base:
                    return False
        finally:
            params[name] = origin
        return True

    for name, gradient in grads.items():
        norm, size = float(np.linalg.norm(gradient)), gradient.size
        norms[name], rows[name] = norm, {}
        drawn = rng.normal(size=(n_directions, *gradient.shape))
        # (direction, what its derivative is multiplied by); of its own derivative a gradient has no part elsewhere
        directions = [(d / np.linalg.norm(d), math.sqrt(size)) for d in drawn if size]
        directions += [(gradient / norm, 1.0)] if norm else []
        largest = np.argsort(-np.abs(gradient), axis=None, kind="stable")[: n_coordinates // 2]
        chosen = list(dict.fromkeys([*largest.tolist(), *rng.permutation(size)[:n_coordinates].tolist()]))
        chosen = chosen[:n_coordinates]
        units = [(np.eye(1, size, index).reshape(gradient.shape), 1.0) for index in chosen]
        unmoved = norm == 0 and idle(name, [sign * d for d, _ in (directions + units)[:4] for sign in (1, -1)])
        entry = float(np.abs(gradient.ravel()[chosen]).max(initial=0))
        for oracle, tried, noise, of in zip(
            FINITE_DIFFERENCES, (directions, units), (rounding * math.sqrt(size), rounding), (norm, entry)
        ):
            found = [(difference(name, d), float((gradient * d).sum()), times) for d, times in tried]
            errors = [times * abs(expected - ours) for expected, ours, times in found if expected is not None]
            if tried:
                error, skipped = float(np.max(errors, initial=0)), len(found) - len(errors)
                tolerance = max(rtol * norm + noise, SMALLEST)  # 0 would say that zeros are exact at a loss of 0
                rows[name][oracle] = Check(error, tolerance, len(errors), skipped, of, unmoved)
        for oracle, (theirs, share) in (oracles or {}).items():
            expected = _real(f"oracles[{oracle!r}][{name!r}]", theirs[name])
            error, length = float(np.linalg.norm(gradient - expected)), float(np.linalg.norm(expected))
            rows[name][oracle] = Check(error, share * length, size, norm=length)
    return GradientReport(norms, rows, title)


def _real(name, value):
    """As float64; a complex array would lose its imaginary part, and what is wrong with it, by a mere warning."""
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} must hold real numbers, found dtype {array.dtype}")
    return array.astype(np.float64, copy=False)


def _same_tensors(name, found, params):
    shapes = {key: np.shape(value) for key, value in found.items()}
    expected = {key: value.shape for key, value in params.items()}
    if shapes != expected:
        raise ValueError(f"{name} must have the names and shapes of params, {expected}, found {shapes}")


def _percent(share):
    return f"{100 * share:.0f} %" if share < 10 else f"{share:.0e}x"
