"""Fixed points and slow points of a network at constant input, from many starts at once. (D1)-(D6)

Sussillo & Barak (2013), Neural Comput 25: 626-649. Shapes: P points, S starts, H units, I inputs, O outputs.
"""

from dataclasses import dataclass

import numpy as np

from .. import threads
from ..checks import check_array, check_float, check_integer
from ..config import ModelConfig
from ..params import Params, effective_weights
from . import kernels
from .field import Field

EXACT = 1e-10  # |F(x) - x| / (1 + |x|) of what is called a fixed point: some 1e5 roundings
SAME = 1e-6, 1e-3  # distance / (1 + |x|) of two fixed points, and of two slow points, that are one
SETTLE = 60  # time steps that the starts are spread over


@dataclass
class Regions:
    """What the linear regions of a ReLU network say: solved exactly, one linear system each. (D5)

    n_visited is how many regions trajectories went through; points (Q, H) are the fixed points that lie in their own
    region. n_both were found by the search too, the largest distance between the two is `difference`.
    """

    n_visited: int
    points: np.ndarray
    n_both: int
    n_only_regions: int
    n_only_search: int
    difference: float


@dataclass
class FixedPoints:
    """Points where the state stands still, the stable ones first; see `fixed_points`."""

    points: np.ndarray  # (P, H) states x
    rates: np.ndarray  # (P, H)
    outputs: np.ndarray  # (P, O)
    speeds: np.ndarray  # (P,) |F(x) - x|^2 / 2
    exact: np.ndarray  # (P,) bool: a fixed point; else a slow point
    eigenvalues: np.ndarray  # (P, H) complex, of the Jacobian, the largest first
    eigenvectors: np.ndarray  # (P, H, H) complex, column i belongs to eigenvalue i
    counts: np.ndarray  # (P,) starts that ended there
    inputs: np.ndarray  # (I,)
    dt: float
    regions: Regions | None  # of a ReLU network

    def __len__(self) -> int:
        return len(self.points)

    @property
    def unstable(self) -> np.ndarray:
        """How many directions of each point grow, (P,): eigenvalues beyond the unit circle."""
        return (np.abs(self.eigenvalues) > 1).sum(axis=1)

    @property
    def stable(self) -> np.ndarray:
        """Where every direction shrinks, (P,) bool."""
        return (np.abs(self.eigenvalues) < 1).all(axis=1)

    @property
    def time_constants(self) -> np.ndarray:
        """-dt / ln |eigenvalue| in ms, (P, H): of decay where positive, of growth where negative, inf of what stays."""
        with np.errstate(divide="ignore"):
            rate = np.log(np.abs(self.eigenvalues))
            return np.where(rate == 0, np.inf, -self.dt / rate)  # (D6)

    @property
    def left_eigenvectors(self) -> np.ndarray:
        """(P, H, H) complex: row i reads out the amplitude of eigenvector i."""
        return np.linalg.inv(self.eigenvectors)


def fixed_points(
    config: ModelConfig,
    params: Params,
    inputs: np.ndarray,
    starts: np.ndarray | None = None,
    n_starts: int = 1000,
    seed: int = 0,
    max_speed: float = 0.0,
    most_steps: int = 500,
) -> FixedPoints:
    """States that one noiseless time step at constant input maps onto themselves.

    From each start the speed |F(x) - x|^2 / 2 is brought to a minimum by damped Gauss-Newton steps, then by Newton's;
    all starts in parallel, in float64. What several starts reach is one point. A ReLU network is linear in each region
    of active units: every region that the trajectories from the starts pass through is solved exactly as well, and
    compared.

    Parameters
    ----------
    config, params
        The network.
    inputs : (I,) array
        Held constant.
    starts : (S, H) array, optional
        States to start from, such as those of trials; by default `n_starts` states of trajectories at this input,
        from random states, drawn by `seed`.
    max_speed : float
        Also minima of the speed that are no fixed points, up to this speed: slow points (``exact`` is False).
    most_steps : int
        Of the search from each start.

    Returns
    -------
    FixedPoints
        Sorted by the number of unstable directions, then by how many starts ended there. Empty where there are none.

    Raises
    ------
    ValueError
        Names the argument, what was expected and what was found.
    """
    field = Field.of(config, params, inputs)
    n_starts, most_steps = check_integer("n_starts", n_starts, 1), check_integer("most_steps", most_steps, 1)
    seed, max_speed = check_integer("seed", seed, 0), check_float("max_speed", max_speed, low=0)
    if starts is None:
        x = _random_states(field, n_starts, seed)
    else:
        x = check_array("starts", starts, (None, config.n_hidden), np.float64).copy()
        if not len(x):
            raise ValueError("starts must hold at least one state, found none")
    visited = _visited_regions(field, x) if field.name == "relu" else None
    if starts is None:  # anywhere on their way
        _advance(field, x, np.random.default_rng([seed, 1]).integers(0, SETTLE, len(x)))
    x, speeds = _search(field, x, most_steps)
    scale = 1 + np.linalg.norm(x, axis=1)
    exact = np.sqrt(2 * speeds) <= EXACT * scale
    points, counts = _merge(x[exact], speeds[exact], SAME[0])
    regions = None
    if visited is not None:
        regions, more = _compare(field, visited, points)
        points, counts = np.concatenate([points, more]), np.concatenate([counts, np.zeros(len(more), np.int64)])
    slow = ~exact & (speeds <= max_speed)
    slow_points, slow_counts = _merge(x[slow], speeds[slow], SAME[1])
    exact = np.arange(len(points) + len(slow_points)) < len(points)
    points, counts = np.concatenate([points, slow_points]), np.concatenate([counts, slow_counts])
    return _described(config, params, np.asarray(inputs, np.float64), field, points, counts, exact, regions)


def _described(config, params, inputs, field, points, counts, exact, regions):
    values, vectors = (found.astype(complex) for found in np.linalg.eig(field.jacobian(points)))
    order = np.argsort(-np.abs(values), axis=1, kind="stable")
    values = np.take_along_axis(values, order, 1)
    vectors = np.take_along_axis(vectors, order[:, None, :], 2)
    rank = np.lexsort((-counts, (np.abs(values) > 1).sum(axis=1), ~exact))
    points = points[rank]
    rates = field.function.rate(points)
    outputs = rates[:, : config.n_read] @ effective_weights(config, params.astype("float64"), "w_out").T + params.b_out
    speeds = ((field(points) - points) ** 2).sum(axis=1) / 2
    return FixedPoints(points, rates, outputs, speeds, exact[rank], values[rank], vectors[rank], counts[rank], inputs,
                       config.dt, regions)  # fmt: skip


def _random_states(field, n, seed):
    """Random states as large as those that the input drives the network to, some smaller, some larger."""
    rng = np.random.default_rng([seed, 0])
    x = np.zeros((1, len(field.c)))
    for _ in range(SETTLE):
        x = field(x)
    size = np.sqrt(np.mean(x**2)) if np.isfinite(x).all() and x.any() else 1.0
    return size * 2.0 ** rng.uniform(-1, 2, (n, 1)) * rng.standard_normal((n, len(field.c)))


def _advance(field, x, steps):
    """Let each state x (S, H) go on for its number of time steps, in place; what grows out of bounds stays."""
    for t in range(steps.max(initial=0)):
        with np.errstate(over="ignore", invalid="ignore"):
            after = field(x)
        moves = (steps > t) & (np.abs(after).max(axis=1) < 1e6)
        x[moves] = after[moves]


def _visited_regions(field, x):
    """Which units are active, (R, H) bool, in each region that the trajectories from x (S, H) go through."""
    x, one = x.copy(), np.ones(len(x), np.int64)
    seen = {code.tobytes() for code in np.packbits(x > 0, axis=1)}
    for _ in range(SETTLE):
        _advance(field, x, one)
        seen.update(code.tobytes() for code in np.packbits(x > 0, axis=1))
    codes = np.frombuffer(b"".join(sorted(seen)), np.uint8).reshape(len(seen), -1)
    return np.unpackbits(codes, axis=1, count=x.shape[1]).astype(bool)


def _search(field, x, most_steps):
    speeds, steps = np.empty(len(x)), np.empty(len(x), np.int64)
    k = np.ascontiguousarray(field.k)
    with threads.launch():
        kernels.search(x, speeds, steps, k, k.T @ k, field.m, field.c, field.number, most_steps)
    return x, np.where(np.isfinite(speeds), speeds, np.inf)


def _merge(x, speeds, same):
    """Points that differ, the slowest of each kind, and how many of x (S, H) are of its kind."""
    points, counts = [], []
    left = x[np.argsort(speeds, kind="stable")]
    while len(left):
        near = np.linalg.norm(left - left[0], axis=1) <= same * (1 + np.linalg.norm(left[0]))
        points.append(left[0])
        counts.append(int(near.sum()))
        left = left[~near]
    return np.array(points).reshape(-1, x.shape[1]), np.array(counts, np.int64)


def _compare(field, visited, points):
    """The regions' own fixed points beside those of the search; also those that the search did not find."""
    x, inside = np.empty(visited.shape), np.empty(len(visited), bool)
    with threads.launch():
        kernels.solve_regions(x, inside, visited, np.ascontiguousarray(field.k), field.m, field.c)
    solved = x[inside & (np.abs(x).max(axis=1, initial=0) < 1e9)]
    speeds = ((field(solved) - solved) ** 2).sum(axis=1) / 2
    close = np.sqrt(2 * speeds) <= EXACT * (1 + np.linalg.norm(solved, axis=1))
    solved, _ = _merge(solved[close], speeds[close], SAME[0])
    if not len(points) or not len(solved):
        return Regions(len(visited), solved, 0, len(solved), len(points), 0.0), solved
    distance = np.linalg.norm(points[:, None] - solved[None], axis=2)
    alike = distance <= SAME[0] * (1 + np.linalg.norm(solved, axis=1))
    found = alike.any(axis=0)
    difference = float(distance[alike].max(initial=0.0))
    only_search = int((~alike.any(axis=1)).sum())
    return Regions(len(visited), solved, int(found.sum()), int((~found).sum()), only_search, difference), solved[~found]
