"""What networks of the paper choose, and when: the numbers of its behavioural panels, as plain values.

Shapes: T time steps, B trials, O outputs.
"""

import numpy as np

from ..analysis import fit_psychometric
from .trials import NO_CHOICE, Trials

THRESHOLD = 1.0  # an output above it is a response (rdm_rt)


def fit_gaussian(x, chosen, shown) -> dict:
    """mu and sigma of the cumulative Gaussian through the share chosen / shown at each x, in the units of x.

    None where there is none to be found: answers all alike, a sharp step, or a curve without a middle.
    """
    rows = [{"value": at, "n_answered": n, "share": k / n} for at, k, n in zip(x, chosen, shown)]
    try:
        fit = fit_psychometric(rows)
    except ValueError:
        return {"mu": None, "sigma": None}
    inside = abs(fit.bias - np.mean(x)) < 2 * np.ptp(x) and fit.threshold < 10 * np.ptp(x)
    return {"mu": fit.bias, "sigma": fit.threshold} if inside else {"mu": None, "sigma": None}


def psychometric(x: np.ndarray, chose: np.ndarray) -> dict:
    """Share of an answer against a number: x, trials and percent of each value, and the fit."""
    values = np.unique(x)
    shown = np.array([(x == value).sum() for value in values])
    chosen = np.array([chose[x == value].sum() for value in values])
    return {"x": values.tolist(), "trials": shown.tolist(), "percent": (100 * chosen / shown).tolist(),
            "fit": fit_gaussian(values, chosen, shown)}  # fmt: skip


def responses(shown: Trials, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(ms from stimulus onset, choice) of each trial's first output above 1; NaN and NO_CHOICE where there is none."""
    first, last = shown.epochs["stimulus"][:, 0], shown.lengths
    t = np.arange(len(outputs))[:, None]
    above = (outputs > THRESHOLD).any(axis=-1) & (t >= first) & (t < last)
    acted, at = above.any(axis=0), above.argmax(axis=0)
    choice = outputs[at, np.arange(outputs.shape[1])].argmax(axis=-1)
    times = np.where(acted, (at + 1 - first) * shown.dt, np.nan)
    return times, np.where(acted, choice, NO_CHOICE)


def chronometric(shown: Trials, outputs: np.ndarray) -> list[dict]:
    """For each strength of the evidence: reaction times, accuracy at the response, and the share without one."""
    times, choice = responses(shown, outputs)
    strength = np.abs(shown.values("coherence"))
    rows = []
    for value in np.unique(strength):
        here = strength == value
        acted = here & (choice != NO_CHOICE)
        asked = acted & (shown.choice != NO_CHOICE)
        rows.append({
            "coherence": float(value), "trials": int(here.sum()), "no_response": 1 - float(acted.sum() / here.sum()),
            "mean_ms": float(times[acted].mean()) if acted.any() else None,
            "sd_ms": float(times[acted].std()) if acted.any() else None,
            "percent_correct": 100 * float((choice == shown.choice)[asked].mean()) if asked.any() else None,
        })  # fmt: skip
    return rows


def cue_combination(fits: dict) -> dict:
    """sigma of vision, audition, both; 1 / s_v^2 + 1 / s_a^2 beside 1 / s_va^2: equal for an optimal observer."""
    vision, audition, both = (fits[name]["fit"]["sigma"] for name in ("vision", "audition", "both"))
    if None in (vision, audition, both):
        return {"vision": vision, "audition": audition, "both": both, "expected": None, "found": None}
    return {"vision": vision, "audition": audition, "both": both,
            "expected": 1 / vision**2 + 1 / audition**2, "found": 1 / both**2}  # fmt: skip
