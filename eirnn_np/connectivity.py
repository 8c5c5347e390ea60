"""Connectivity of values: who connects to whom, and how strongly at the start; balanced, normalised, scaled.

A connectivity C is [to, from]: 0 where there is no connection, elsewhere 0 or more, a factor of the initial weight. It
knows no signs: those belong to the network (`dale_mask`). Masks of +-1 and factors in use are in config.py.
"""

from collections.abc import Mapping

import numpy as np

from .checks import check_array, check_bool, check_float, check_integer
from .noise import MASK_STREAM, uniforms


def all_to_all(n_to: int, n_from: int | None = None, self_connections: bool = False) -> np.ndarray:
    """Ones, (n_to, n_from); where `n_from` is left out, recurrent: square, and 0 on the diagonal unless allowed."""
    n_to = check_integer("n_to", n_to, 1)
    if n_from is not None:
        return np.ones((n_to, check_integer("n_from", n_from, 1)))
    return np.ones((n_to, n_to)) - (0 if check_bool("self_connections", self_connections) else np.eye(n_to))


def random_connections(probability: np.ndarray, seed: int = 0, self_connections: bool = False) -> np.ndarray:
    """Ones where there is a connection, each drawn by itself.

    Parameters
    ----------
    probability : (n_to, n_from) array
        Of each connection, in [0, 1]; a row vector (n,) is the same for all n targets: one number a *sending* unit.
    seed : int
    self_connections : bool
        If not, the diagonal of a square matrix is 0.

    Raises
    ------
    ValueError
        For a probability outside [0, 1].
    """
    ndim = np.ndim(probability)
    p = check_array("probability", probability, (None,) * (1 if ndim == 1 else 2), np.float64)
    if p.ndim == 1:
        p = np.tile(p, (len(p), 1))
    if p.size and not (p.min() >= 0 and p.max() <= 1):
        raise ValueError(f"probability must lie in [0, 1], found {p.min():g} .. {p.max():g}")
    c = (uniforms(seed, MASK_STREAM, p.size).reshape(p.shape) < p).astype(np.float64)
    if p.shape[0] == p.shape[1] and not check_bool("self_connections", self_connections):
        np.fill_diagonal(c, 0)
    return c


def population_connections(
    populations: Mapping[str, int], rules: Mapping[tuple[str, str], float], seed: int = 0
) -> np.ndarray:
    """Recurrent connections between populations or areas, without self-connections; (H, H).

    Parameters
    ----------
    populations : {name: number of units}
        In the order of the units; `population_slices` gives the units of each.
    rules : {(to, from): probability}
        Of each connection from a unit of one population to a unit of the other; pairs that are not named have none.
    seed : int
        Of the connections whose probability is neither 0 nor 1.

    Raises
    ------
    ValueError
        A rule names a population that is not there; a probability outside [0, 1].
    """
    at = population_slices(populations)
    n = sum(populations.values())
    p = np.zeros((n, n))
    for pair, value in rules.items():
        if len(pair) != 2 or not set(pair) <= set(at):
            raise ValueError(f"rules must name pairs (to, from) of {', '.join(at)}, found {pair!r}")
        p[at[pair[0]], at[pair[1]]] = check_float(f"rules[{pair}]", value, 0, 1)
    return random_connections(p, seed)


def population_slices(populations: Mapping[str, int]) -> dict[str, slice]:
    """The units of each population, one population after the other."""
    at, start = {}, 0
    for name, size in populations.items():
        stop = start + check_integer(f"populations[{name!r}]", size, 1)
        at[name] = slice(start, stop)
        start = stop
    return at


def balanced(c: np.ndarray, n_exc: int, n_inh: int | None = None) -> np.ndarray:
    """Inhibitory entries scaled so that in each row they sum to the row's excitatory sum; a copy.

    The first `n_exc` columns are excitatory. A row that has no entry of one kind stays as it is. With `n_inh` each
    inhibitory entry becomes the row's excitatory sum / n_inh times its value, whatever the number of entries in the
    row.
    """
    c = check_array("c", c, (None, None), np.float64).copy()
    n_exc = check_integer("n_exc", n_exc, 1, c.shape[1])
    excitation, inhibition = c[:, :n_exc].sum(axis=1), c[:, n_exc:].sum(axis=1)
    both = (excitation > 0) & (inhibition > 0)
    total = inhibition[both] if n_inh is None else check_integer("n_inh", n_inh, 1)
    c[both, n_exc:] *= (excitation[both] / total)[:, None]
    return c


def normalised(c: np.ndarray) -> np.ndarray:
    """Each row divided by its Euclidean norm; a copy. A row of zeros stays."""
    c = check_array("c", c, (None, None), np.float64)
    norm = np.linalg.norm(c, axis=1, keepdims=True)
    return c / np.where(norm > 0, norm, 1)


def dale_mask(c: np.ndarray, n_exc: int) -> np.ndarray:
    """M of eq. (F1) under Dale's principle: +1 or -1 by the sending unit where C is not 0, else 0."""
    c = check_array("c", c, (None, None), np.float64)
    return np.where(c != 0, np.where(np.arange(c.shape[1]) < n_exc, 1.0, -1.0), 0.0)


def spectral_radius(w: np.ndarray) -> float:
    """The largest absolute value of an eigenvalue of a square matrix."""
    w = check_array("w", w, (None, None), np.float64)
    return float(np.abs(np.linalg.eigvals(w)).max())
