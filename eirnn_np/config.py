"""What fixes the equations of a network: its configuration, and masks of its recurrent connections.

Shapes: H units, E excitatory units; masks are [to, from].
"""

import functools
import math
from dataclasses import dataclass, fields

import numpy as np

from .checks import check_array, check_bool, check_choice, check_float, check_integer
from .noise import MASK_STREAM, uniforms

DYNAMICS = ("song2016", "brainpy")
LOSSES = ("cross_entropy", "squared_error")


@dataclass(frozen=True, eq=False)
class ModelConfig:
    """Everything that fixes the equations of a network: (F1)-(F5) of docs/derivation.md, Song et al. (2016).

    Parameters
    ----------
    n_in, n_hidden, n_out : int
        I inputs, H recurrent units, O outputs; all at least 1.
    dt : float
        Time step, ms.
    tau : float or sequence of H floats
        Time constant of the units, ms; ``alpha = dt / tau`` must lie in (0, 1].
    e_ratio : float
        Share of excitatory units, in (0, 1): E = e_ratio * H, rounded down (the original's rule, in exact arithmetic:
        0.82 of 150 is 123).
    n_exc : int, optional
        E by number, 1 .. H, in place of `e_ratio`. Read, it is always E, whichever way it was given.
    sigma_rec : float
        Standard deviation of the recurrent noise before its scaling by ``sqrt(2 alpha)``.
    dynamics : {"song2016", "brainpy"}
        The paper's equations, or the BrainPy tutorial's variant of them (docs/derivation.md, section 7).
    loss : {"cross_entropy", "squared_error"}
        On int labels (T, B), or on real targets (T, B, O).
    train_x0 : bool
        Make the initial state x_0 a trained vector (H,) instead of 0.
    mask : (H, H) array of float, optional
        M of eq. (F1), ``[to, from]``: any real matrix. By default `sign_mask`: +1 for excitatory, -1 for
        inhibitory columns, 0 on the diagonal.

    Raises
    ------
    ValueError
        Names the argument, what was expected and what was found.
    """

    n_in: int = 3
    n_hidden: int = 50
    n_out: int = 3
    dt: float = 20.0
    tau: float | tuple = 100.0
    e_ratio: float = 0.8
    sigma_rec: float = 0.15
    dynamics: str = "song2016"
    loss: str = "cross_entropy"
    train_x0: bool = False
    mask: np.ndarray | None = None
    exc_number: int | None = None  # what was given as n_exc; a field, so that dataclasses.replace keeps it apart

    def __post_init__(self):
        put = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731  (frozen)
        for name in ("n_in", "n_hidden", "n_out"):
            put(name, check_integer(name, getattr(self, name), 1, 2**24 - 1))
        for name, least in (("dt", -math.inf), ("sigma_rec", 0)):
            put(name, check_float(name, getattr(self, name), low=least))
        put("e_ratio", check_float("e_ratio", self.e_ratio, above=0, below=1))
        if self.exc_number is not None:
            put("exc_number", check_integer("n_exc", self.exc_number, 1, self.n_hidden))
        elif self.n_exc < 1:
            raise ValueError(
                f"e_ratio must leave at least one excitatory unit, found {self.e_ratio} of {self.n_hidden} units"
            )
        if isinstance(self.tau, list | tuple) or (isinstance(self.tau, np.ndarray) and self.tau.ndim):
            put("tau", tuple(check_array("tau", self.tau, (self.n_hidden,), np.float64).tolist()))
        else:
            put("tau", check_float("tau", self.tau))
        if self.dt <= 0 or np.min(self.tau) < self.dt:
            raise ValueError(f"dt must be above 0 and at most tau, found dt {self.dt} ms, tau {np.min(self.tau)} ms")
        for name, allowed in (("dynamics", DYNAMICS), ("loss", LOSSES)):
            check_choice(name, getattr(self, name), allowed)
        put("train_x0", check_bool("train_x0", self.train_x0))
        if self.mask is not None:
            shape = self.n_hidden, self.n_hidden
            mask = check_array("mask", self.mask, shape).astype(np.float64)
            put("mask", np.frombuffer(mask.tobytes()).reshape(shape))  # on bytes: nobody can make it writeable

    @property
    def n_exc(self) -> int:
        """E, the number of excitatory units: they come first."""
        return _share(self.e_ratio, self.n_hidden) if self.exc_number is None else self.exc_number

    @property
    def alpha(self) -> np.ndarray:
        """dt / tau for each unit, (H,) float64."""
        return np.full(self.n_hidden, self.dt) / np.asarray(self.tau)

    @property
    def noise_scale(self) -> np.ndarray:
        """sqrt(2 alpha) sigma_rec for each unit, (H,) float64."""
        return np.sqrt(2 * self.alpha) * self.sigma_rec

    def to_dict(self) -> dict:
        """Plain values for JSON; the mask, which can be large, is not among them.

        n_exc is None where E follows from e_ratio.
        """
        d = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "mask"}
        d["n_exc"] = d.pop("exc_number")
        return {k: list(v) if isinstance(v, tuple) else v for k, v in d.items()}

    @classmethod
    def from_dict(cls, d, mask=None) -> "ModelConfig":
        known = {f.name for f in fields(cls)} - {"mask", "exc_number"} | {"n_exc"}
        if not isinstance(d, dict) or not set(d) <= known:
            found = sorted(set(d) - known) if isinstance(d, dict) else type(d).__name__
            raise ValueError(f"model configuration: expected the fields {sorted(known)}, found {found}")
        return cls(**d, mask=mask)

    def __eq__(self, other):
        """Are the equations the same? E counts, not how it was given; M counts, not where it came from."""
        if not isinstance(other, ModelConfig):
            return NotImplemented
        mine, theirs = ({**c.to_dict(), "e_ratio": None, "n_exc": c.n_exc} for c in (self, other))
        return mine == theirs and np.array_equal(sign_mask(self), sign_mask(other))

    __hash__ = None  # type: ignore[assignment]

    def __copy__(self) -> "ModelConfig":
        return ModelConfig.from_dict(self.to_dict(), self.mask)

    def __reduce__(self):  # by the constructor: NumPy's own copies of a read-only mask would be writeable
        return ModelConfig.from_dict, (self.to_dict(), self.mask)


_init = ModelConfig.__init__


@functools.wraps(_init)
def _init_with_n_exc(self, *args, n_exc=None, **given):
    """n_exc is read as E, whichever way E was given, and so it cannot be the field that tells the two ways apart."""
    _init(self, *args, **(given if n_exc is None else {**given, "exc_number": n_exc}))


ModelConfig.__init__ = _init_with_n_exc  # type: ignore[method-assign]


def _share(ratio: float, n: int) -> int:
    """`ratio` of n units, rounded down, but for the rounding of their product: 0.82 * 150 is 122.99999999999999."""
    nearest = round(ratio * n)
    return min(nearest, n - 1) if abs(ratio * n - nearest) < 1e-9 * n else int(ratio * n)


def sign_mask(config: ModelConfig) -> np.ndarray:
    """M of eq. (F1), (H, H) float64: the configuration's own mask, or else signs by cell type.

    In "song2016" the sign goes with the column, the presynaptic unit (Dale's principle); in "brainpy"
    with the row, as in that tutorial. The diagonal is 0.
    """
    if config.mask is not None:
        return config.mask
    signs = np.where(np.arange(config.n_hidden) < config.n_exc, 1.0, -1.0)
    mask = np.tile(signs, (config.n_hidden, 1))
    if config.dynamics == "brainpy":
        mask = mask.T.copy()
    np.fill_diagonal(mask, 0.0)
    return mask


def sparse_mask(config: ModelConfig, p: float, seed: int = 0) -> np.ndarray:
    """`sign_mask` in which each connection is kept with probability `p`, by a draw of its own; (H, H).

    Raises ValueError for p outside [0, 1].
    """
    p = check_float("p", p, 0, 1)
    H = config.n_hidden
    return sign_mask(config) * (uniforms(seed, MASK_STREAM, H * H).reshape(H, H) < p)


def block_mask(config: ModelConfig, areas: np.ndarray, connections: np.ndarray) -> np.ndarray:
    """`sign_mask` scaled block by block, for networks of several areas; (H, H).

    Parameters
    ----------
    areas : (H,) integers
        The area 0 .. A-1 of each unit. The first E units are the excitatory ones, whatever their area.
    connections : (A, A) array
        Factor for each pair of areas, ``[to, from]``; 0 for no connection.

    Raises
    ------
    ValueError
        If the shapes or the numbers of the areas do not fit.
    """
    areas = check_array("areas", areas, (config.n_hidden,))
    connections = check_array("connections", connections, (None, None), np.float64)
    n = connections.shape[0]
    if connections.shape != (n, n):
        raise ValueError(f"connections must be square, found {connections.shape}")
    if areas.dtype.kind not in "iu" or areas.min() < 0 or areas.max() >= n:
        raise ValueError(f"areas must be integers in 0 .. {n - 1}, found {areas.min()} .. {areas.max()}")
    return sign_mask(config) * connections[np.ix_(areas, areas)]
