"""What the units of trained networks do: selectivity, regression axes, tuning, principal components; as plain values.

Shapes: K kept time steps, B trials, C conditions, H units.
"""

import numpy as np

from ..checks import check_array

TOP = 0.25  # the most selective share of units
COMPONENTS = 12  # principal components that the regression axes are denoised by


def d_prime(x: np.ndarray, choices: np.ndarray) -> np.ndarray:
    """(H,) selectivity of x (B, H) between choices 0 and 1: difference of means over the root of the mean variance."""
    a, b = x[choices == 0], x[choices == 1]
    if not len(a) or not len(b):
        return np.zeros(x.shape[1])
    sd = np.sqrt((a.var(axis=0) + b.var(axis=0)) / 2)
    return np.divide(a.mean(axis=0) - b.mean(axis=0), sd, out=np.zeros(x.shape[1]), where=sd > 0)


def by_selectivity(d: np.ndarray, n_exc: int) -> np.ndarray:
    """Units in the order of a figure: the top quarter of E by |d'|, sorted by d', then that of I."""
    parts = np.arange(n_exc), np.arange(n_exc, len(d))
    chosen = [
        part[np.argsort(-np.abs(d[part]), kind="stable")[: max(2, round(TOP * len(part)))]]
        for part in parts
        if len(part)
    ]
    return np.concatenate([part[np.argsort(-d[part], kind="stable")] for part in chosen])


def like_to_like(w: np.ndarray, d: np.ndarray, units: np.ndarray) -> dict[str, float | None]:
    """Mean |weight| between selective units of one preference and of two: same, opposite; self-connections left out."""
    sign = np.sign(d[units])
    block, same = np.abs(w[np.ix_(units, units)]), np.equal.outer(sign, sign)
    off = ~np.eye(len(units), dtype=bool)
    return {"same": _mean(block[same & off]), "opposite": _mean(block[~same & off])}


def regress(rates: np.ndarray, regressors: np.ndarray) -> np.ndarray:
    """Coefficients (K, n, H) of rates (K, B, H) on regressors (B, n), a constant beside them that is dropped."""
    check_array("regressors", regressors, (rates.shape[1], None))
    X = np.column_stack([regressors, np.ones(len(regressors))])
    return np.einsum("nb,kbh->knh", np.linalg.pinv(X)[:-1], rates.astype(np.float64))


def z_scored(rates: np.ndarray) -> np.ndarray:
    """Rates (K, B, H) minus their mean, over their standard deviation, for each unit over all times and trials."""
    mean, sd = rates.mean(axis=(0, 1), dtype=np.float64), rates.std(axis=(0, 1), dtype=np.float64)
    return ((rates - mean) / np.where(sd > 0, sd, 1)).astype(np.float64)


def principal_components(x: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """(components (n, H), shares of the variance (n,)) of x (..., H)."""
    flat = x.reshape(-1, x.shape[-1])
    _, s, v = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)
    n = min(n, len(v))
    return v[:n], (s**2 / max((s**2).sum(), 1e-300))[:n]


def targeted_axes(rates: np.ndarray, conditions: np.ndarray, regressors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Axes of the regressors in the space of the units, as Mante et al. (2013, Nature 503: 78-84) find them.

    Rates are z-scored; coefficients at each time are projected on the first 12 principal components of the condition
    averages; of each regressor the vector at the time of its largest norm is kept; QR makes them orthogonal, in order.

    Parameters
    ----------
    rates : (K, B, H) array
    conditions : (B,) integers
        Trials of one number are averaged.
    regressors : (B, n) array

    Returns
    -------
    axes : (n, H) array
        Orthonormal, each with its regressor increasing along it.
    beta : (n, H) array
        The denoised vectors before QR.
    """
    z = z_scored(rates)
    means = np.stack([z[:, conditions == c].mean(axis=1) for c in np.unique(conditions)])
    v, _ = principal_components(means, COMPONENTS)
    beta = regress(z, regressors) @ v.T @ v
    strongest = np.linalg.norm(beta, axis=2).argmax(axis=0)
    found = np.stack([beta[k, i] for i, k in enumerate(strongest)])
    q, r = np.linalg.qr(found.T)
    return (q * np.where(np.diag(r) < 0, -1, 1)).T, found


def tuning(x: np.ndarray, value: np.ndarray) -> dict[str, np.ndarray]:
    """x (B, H) = a0 + a1 value for each unit: slope a1 (H,), its p (H,) by the t-test; 1 for a silent unit."""
    from scipy import stats

    v = value - value.mean()
    slope = v @ (x - x.mean(axis=0)) / (v @ v)
    rest = x - x.mean(axis=0) - np.outer(v, slope)
    free = len(x) - 2
    error = np.sqrt((rest**2).sum(axis=0) / free / (v @ v))
    t = np.divide(slope, error, out=np.zeros_like(slope), where=error > 0)
    return {"slope": slope, "p": np.where(error > 0, 2 * stats.t.sf(np.abs(t), free), 1.0)}


def _mean(values):
    return float(values.mean()) if values.size else None
