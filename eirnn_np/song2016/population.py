"""What the units of trained networks do: selectivity, who connects to whom, tuning. Axes and components: ..analysis.

Shapes: K kept time steps, B trials, C conditions, H units.
"""

import numpy as np

TOP = 0.25  # the most selective share of units


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


def z_scored(rates: np.ndarray) -> np.ndarray:
    """Rates (K, B, H) minus their mean, over their standard deviation, for each unit over all times and trials."""
    mean, sd = rates.mean(axis=(0, 1), dtype=np.float64), rates.std(axis=(0, 1), dtype=np.float64)
    return ((rates - mean) / np.where(sd > 0, sd, 1)).astype(np.float64)


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
