"""What the units do, together and one by one: principal components, targeted axes, averages by condition, tuning.

Shapes: N trials, T time steps, H units, S samples, K regressors or components.
"""

from dataclasses import dataclass

import numpy as np

from ..checks import check_array, check_choice, check_float, check_integer
from ..evaluation import Evaluation
from .entries import NotOfThisTask, entry, groups, onset, step_ms

CORRECTIONS = ("benjamini-hochberg", "bonferroni", "none")


def selectivity(evaluation: Evaluation) -> np.ndarray:
    """d' of each unit between the two ground truths, over the time steps of the stimulus; (H,).

    d' = (mean_0 - mean_1) / sqrt((sd_0^2 + sd_1^2 + 1e-7) / 2), pooled over trials and time steps, as the
    tutorials compute it. ValueError for a task without a period "stimulus" or without two ground truths, 0 and 1:
    `tuning` takes any period and number.
    """
    truth = entry(evaluation, "ground_truth")
    if set(np.unique(truth)) != {0, 1}:
        raise NotOfThisTask(f"selectivity is for trials of ground truth 0 and 1, found {np.unique(truth).tolist()}; "
                            "see tuning for others")  # fmt: skip
    for trial in evaluation.trials:
        if "stimulus" not in trial.periods:
            raise NotOfThisTask(f'selectivity is for trials with a period "stimulus", found '
                                f"{', '.join(trial.periods) or 'none'}; see tuning for others")  # fmt: skip
    means, variances = [], []
    for side in (0, 1):
        found = [rates[slice(*trial.periods["stimulus"])] for trial, rates, g in
                 zip(evaluation.trials, evaluation.rates or (), truth) if g == side and rates is not None]  # fmt: skip
        if not sum(map(len, found)):
            raise NotOfThisTask(f"no rates are kept of the stimulus of any trial of ground truth {side}")
        pooled = np.concatenate(found, dtype=np.float64)
        means.append(pooled.mean(axis=0))
        pooled -= means[-1]  # in place, as there can be many
        pooled *= pooled
        variances.append(pooled.mean(axis=0))
    return (means[0] - means[1]) / np.sqrt((variances[0] + variances[1] + 1e-7) / 2)


def unit_order(d_prime: np.ndarray, n_exc: int) -> np.ndarray:
    """Indices that sort the units by d' within E, then within I."""
    excitatory, inhibitory = np.argsort(d_prime[:n_exc], kind="stable"), np.argsort(d_prime[n_exc:], kind="stable")
    return np.concatenate([excitatory, n_exc + inhibitory])


@dataclass
class PCA:
    """Principal components: axes (K, H) of unit length, variances (H,) of all of them, the mean (H,)."""

    axes: np.ndarray
    variances: np.ndarray
    mean: np.ndarray

    def project(self, x: np.ndarray) -> np.ndarray:
        """Coordinates (..., K) of states or rates (..., H)."""
        return (np.asarray(x) - self.mean) @ self.axes.T

    @property
    def explained(self) -> np.ndarray:
        """Share of the variance along each axis, (H,)."""
        return self.variances / (self.variances.sum() or 1.0)

    @property
    def participation_ratio(self) -> float:
        """See `participation_ratio`."""
        return _ratio(self.variances)


def activity(evaluation: Evaluation, kind: str = "rates", period: str | None = None) -> np.ndarray:
    """All time steps of the trials that are kept, or those of one period, as samples (S, H)."""
    values = evaluation.kept(kind)
    found = []
    for trial, each in zip(evaluation.trials, values):
        if each is not None:
            found.append(each if period is None else each[onset(trial, period) : trial.periods[period][1]])
    return np.concatenate(found)


def pca(x: np.ndarray | Evaluation, n_components: int | None = None) -> PCA:
    """Principal components of samples (..., H), or of all rates of an evaluation.

    The largest entry of each axis is above 0: the sign is otherwise arbitrary.
    """
    samples = _samples(x)
    S, H = samples.shape
    n = check_integer("n_components", min(S, H) if n_components is None else n_components, 1, H)
    mean = samples.mean(axis=0)
    _, singular, axes = np.linalg.svd(samples - mean, full_matrices=False)
    if n > len(axes):
        raise ValueError(f"n_components must be at most the number of samples, {len(axes)}, found {n}")
    variances = np.zeros(H)
    variances[: len(singular)] = singular**2 / (S - 1)
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])
    return PCA((axes * signs[:, None])[:n], variances, mean)


def participation_ratio(x: np.ndarray | Evaluation) -> float:
    """The dimension of samples (..., H), or of all rates of an evaluation: from 1, a line, to H, all directions alike.

    (sum of the eigenvalues of the covariance)^2 / (sum of their squares).
    """
    return _ratio(pca(x).variances)


def _ratio(variances):
    return float(variances.sum() ** 2 / ((variances**2).sum() or 1.0))


def _samples(x) -> np.ndarray:
    x = activity(x) if isinstance(x, Evaluation) else x
    x = check_array("x", x, (None,) * np.ndim(x), np.float64)
    if x.ndim < 2 or x.reshape(-1, x.shape[-1]).shape[0] < 2:
        raise ValueError(f"x must hold at least two samples (..., H), found shape {x.shape}")
    return x.reshape(-1, x.shape[-1])


@dataclass
class Averages:
    """Mean activity by condition around an event: {condition: (T, H)}, NaN where no trial reaches; see `averages`."""

    means: dict
    counts: dict  # {condition: (T,) trials that reach each time}
    time: np.ndarray  # (T,) ms from the event


def averages(
    evaluation: Evaluation,
    by=None,
    event: str = "stimulus",
    before: float = 200.0,
    after: float = 1000.0,
    kind: str = "rates",
    only=None,
) -> Averages:
    """Mean activity by condition, aligned to an event (PSTH).

    Parameters
    ----------
    by : str or sequence of str, optional
        A key of the trials' info, or several: one condition for each value, or each combination. None: all together.
    event : str
        The period whose beginning is time 0.
    before, after : float
        ms around it; a trial counts at those times that it has.
    kind : {"rates", "states", "outputs"}
    only : (N,) bool, optional
        Of these trials alone, such as ``evaluation.correct``.

    Raises
    ------
    ValueError
        A key, event or kind that the evaluation does not have.
    """
    values, dt = evaluation.kept(kind), step_ms(evaluation)
    first, last = -round(check_float("before", before) / dt), round(check_float("after", after) / dt)
    if last <= first:
        raise ValueError(f"the window must have a time step, found {before:g} ms before and {after:g} ms after")
    used = np.array([each is not None for each in values])
    if only is not None:
        used &= check_array("only", only, (len(values),)).astype(bool)
    conditions = {"all": np.ones(len(values), bool)} if by is None else groups(evaluation, by)
    width = next(each.shape[1] for each in values if each is not None)
    means, counts = {}, {}
    for name, members in conditions.items():
        total, count = np.zeros((last - first, width)), np.zeros(last - first, np.int64)
        for i in np.flatnonzero(members & used):
            begin = onset(evaluation.trials[i], event) + first
            low, high = max(begin, 0), min(begin + last - first, len(values[i]))
            total[low - begin : max(high, low) - begin] += values[i][low : max(high, low)]
            count[low - begin : max(high, low) - begin] += 1
        with np.errstate(invalid="ignore"):
            means[name], counts[name] = total / count[:, None], count
    return Averages(means, counts, np.arange(first, last) * dt)


@dataclass
class TargetedAxes:
    """Axes (K, H) of unit length along which the population carries each regressor; see `targeted_axes`."""

    axes: np.ndarray
    names: list
    weights: np.ndarray  # (K, T, H) regression weights, denoised
    at: np.ndarray  # (K,) the time step at which each axis was taken

    def project(self, x: np.ndarray) -> np.ndarray:
        """Coordinates (..., K) of activity (..., H)."""
        return np.asarray(x) @ self.axes.T


def targeted_axes(
    x: np.ndarray, regressors: dict[str, np.ndarray], n_components: int | None = 12, orthogonal: bool = True
) -> TargetedAxes:
    """Regression of each unit at each time on what varies over trials; the axis of each regressor at its largest.

    Mante, Sussillo, Shenoy & Newsome (2013), Nature 503: 78-84. The weights are projected onto the first principal
    components of the averages over trials, each axis is taken at the time at which its norm is largest, and the axes
    are made orthogonal in their order (QR).

    Parameters
    ----------
    x : (N, T, H) array
        Activity, every trial of one length; each unit is z-scored over trials and times.
    regressors : {name: (N,)}
        Such as choice (-1, 1), coherence, context. A constant is added, which gets no axis.
    n_components : int, optional
        Principal components to keep of the mean over the trials of each combination of regressors; None keeps all.
    orthogonal : bool

    Raises
    ------
    ValueError
        Shapes that do not fit, a regressor that is constant, or regressors that depend on each other.
    """
    x = check_array("x", x, (None, None, None), np.float64)
    if not regressors:
        raise ValueError("regressors must hold at least one")
    columns = [
        check_array(f"regressors[{name!r}]", values, (len(x),), np.float64) for name, values in regressors.items()
    ]
    for name, values in zip(regressors, columns):
        if np.ptp(values) == 0:
            raise ValueError(f"regressors[{name!r}] must vary over the trials, found {values[0]:g} in all")
    design = np.column_stack([*columns, np.ones(len(x))])
    if np.linalg.matrix_rank(design) < design.shape[1]:
        raise ValueError(f"regressors must not be sums of one another, found {', '.join(map(str, regressors))}")
    spread = x.std(axis=(0, 1))
    z = (x - x.mean(axis=(0, 1))) / np.where(spread > 0, spread, 1)
    N, T, H = z.shape
    weights = np.linalg.lstsq(design, z.reshape(N, -1), rcond=None)[0].reshape(-1, T, H)[:-1]
    if n_components is not None:
        keys = [tuple(row) for row in np.column_stack(columns)]
        means = np.stack([z[[key == each for each in keys]].mean(axis=0) for key in sorted(set(keys))])
        found = pca(means, min(check_integer("n_components", n_components, 1), H, means.shape[0] * T))
        weights = weights @ found.axes.T @ found.axes
    at = np.linalg.norm(weights, axis=2).argmax(axis=1)
    axes = weights[np.arange(len(columns)), at]
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    if orthogonal:
        q, r = np.linalg.qr(axes.T)
        axes = (q * np.sign(np.diag(r))).T
    return TargetedAxes(axes, list(regressors), weights, at)


@dataclass
class Tuning:
    """How each unit goes with a number of the trials: slope and correlation (H,), p, and q corrected for H tests."""

    slope: np.ndarray
    correlation: np.ndarray
    p: np.ndarray
    q: np.ndarray
    tuned: np.ndarray  # (H,) bool: q at or below alpha


def tuning(
    evaluation: Evaluation, key: str, period: str = "stimulus", alpha: float = 0.05, kind: str = "rates",
    correction: str = "benjamini-hochberg",
) -> Tuning:  # fmt: skip
    """Linear tuning of each unit's mean activity in a period to a number of the trials' info.

    Least squares over trials; p of the slope by Student's t, two-sided; q corrected for the number of units: the false
    discovery rate (Benjamini & Hochberg 1995), or Bonferroni. A unit that never varies has slope 0 and p = 1.

    Raises
    ------
    ValueError
        The trials have no such number or period, it is constant, or fewer than three trials are kept.
    """
    check_choice("correction", correction, CORRECTIONS)
    alpha, values = check_float("alpha", alpha, above=0, below=1), entry(evaluation, key).astype(float)
    kept = [each is not None for each in evaluation.kept(kind)]
    y = np.array([
        each[onset(trial, period) : trial.periods[period][1]].mean(axis=0)
        for trial, each in zip(evaluation.trials, evaluation.kept(kind)) if each is not None
    ], np.float64)  # fmt: skip
    values = values[kept]
    if len(values) < 3 or np.ptp(values) == 0:
        raise ValueError(f"{key!r} must have two values or more over three trials or more, found {len(values)} trials")
    from scipy import stats

    dx, dy = values - values.mean(), y - y.mean(axis=0)
    size = np.sqrt((dx**2).sum() * (dy**2).sum(axis=0))
    varies = size > 1e-12 * len(values)
    r = np.where(varies, dx @ dy / np.where(varies, size, 1), 0.0)
    with np.errstate(divide="ignore"):
        t = r * np.sqrt((len(values) - 2) / np.maximum(1 - r**2, 0))
    p = np.where(varies, 2 * stats.t.sf(np.abs(t), len(values) - 2), 1.0)
    if correction == "bonferroni":
        q = np.minimum(p * len(p), 1.0)
    else:
        q = stats.false_discovery_control(p) if correction == "benjamini-hochberg" else p
    return Tuning(np.where(varies, dx @ dy / (dx**2).sum(), 0.0), r, p, q, q <= alpha)
