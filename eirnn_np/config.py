"""What fixes the equations of a network: its configuration, its penalties, and the masks of its connections.

Shapes: I inputs, H units, E excitatory units, O outputs, R units that are read out; masks are [to, from].
"""

import functools
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

import numpy as np

from .checks import check_array, check_bool, check_choice, check_float, check_integer, meant
from .functions import ACTIVATIONS, CONSTRAINTS
from .noise import MASK_STREAM, uniforms

DYNAMICS = ("song2016", "brainpy")
LOSSES = ("cross_entropy", "squared_error")
READOUTS = ("excitatory", "all")
MASKS = ("mask", "mask_in", "mask_out")


@dataclass(frozen=True)
class Penalties:
    """What is added to the loss, (F10) of docs/derivation.md, and to the gradient alone, (F12); all 0 or more.

    Parameters
    ----------
    l1_in, l1_rec, l1_out : float
        Factors of mean |theta| of each weight matrix, over all its entries.
    l2_in, l2_rec, l2_out : float
        Factors of mean theta^2.
    l2_rates : float
        Factor of mean r^2 over all time steps, trials and units.
    omega : float
        Factor of the gradient of Omega, Song et al.'s (2016) regulariser against vanishing gradients. No part of the
        loss.

    Raises
    ------
    ValueError
        For a factor below 0, or that is no finite number.
    """

    l1_in: float = 0.0
    l1_rec: float = 0.0
    l1_out: float = 0.0
    l2_in: float = 0.0
    l2_rec: float = 0.0
    l2_out: float = 0.0
    l2_rates: float = 0.0
    omega: float = 0.0

    def __post_init__(self):
        for each in fields(self):
            value = check_float(f"penalties.{each.name}", getattr(self, each.name), low=0)
            object.__setattr__(self, each.name, value)  # frozen


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
    activation : {"relu", "softplus", "tanh", "retanh", "sigmoid"}
        f of r = f(x); "retanh" is max(0, tanh x).
    constraint, constraint_in, constraint_out : {"abs", "rectify", "free"}
        g of W = g(theta) M, for W_rec, W_in and W_out: the absolute value, max(theta, 0), or theta itself. With a free
        W_rec there is no Dale's principle: its default M is 1 off the diagonal.
    mask_in : (H, I) array of float, optional
        M_in, 1 by default: which input reaches which unit.
    mask_out : (O, R) array of float, optional
        M_out, 1 by default; with readout "all" and a constraint on W_out, the sign of the unit.
    readout : {"excitatory", "all"}
        The R units that are read out: the first E, or all H.
    sigma_in, tau_in, baseline_in, rectify_inputs : float, float, float, bool
        u = f_in(baseline_in + input + sqrt(2 tau_in / dt) sigma_in N(0, 1)), where f_in is max(., 0) if the inputs are
        rectified, and nothing otherwise; tau_in in ms. (F9)
    penalties : Penalties, or a dict of its fields

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
    activation: str = "relu"
    constraint: str = "abs"
    constraint_in: str = "free"
    constraint_out: str = "free"
    mask_in: np.ndarray | None = None
    mask_out: np.ndarray | None = None
    readout: str = "excitatory"
    sigma_in: float = 0.0
    tau_in: float = 100.0
    baseline_in: float = 0.0
    rectify_inputs: bool = False
    penalties: Penalties = Penalties()
    exc_number: int | None = None  # what was given as n_exc; a field, so that dataclasses.replace keeps it apart

    def __post_init__(self):
        put = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731  (frozen)
        for name in ("n_in", "n_hidden", "n_out"):
            put(name, check_integer(name, getattr(self, name), 1, 2**24 - 1))
        for name, least in (("dt", -math.inf), ("sigma_rec", 0), ("sigma_in", 0), ("baseline_in", -math.inf)):
            put(name, check_float(name, getattr(self, name), low=least))
        put("tau_in", check_float("tau_in", self.tau_in, above=0))
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
        for name, allowed in (
            ("dynamics", DYNAMICS), ("loss", LOSSES), ("activation", tuple(ACTIVATIONS)), ("readout", READOUTS),
            *((f"constraint{which}", tuple(CONSTRAINTS)) for which in ("", "_in", "_out")),
        ):  # fmt: skip
            check_choice(name, getattr(self, name), allowed)
        for name in ("train_x0", "rectify_inputs"):
            put(name, check_bool(name, getattr(self, name)))
        shapes = (self.n_hidden, self.n_hidden), (self.n_hidden, self.n_in), (self.n_out, self.n_read)
        for name, shape in zip(MASKS, shapes):
            if getattr(self, name) is not None:
                mask = check_array(name, getattr(self, name), shape).astype(np.float64)
                put(name, np.frombuffer(mask.tobytes()).reshape(shape))  # on bytes: nobody can make it writeable
        put("penalties", _penalties(self.penalties))
        check_penalties(self, self.penalties)

    @property
    def n_exc(self) -> int:
        """E, the number of excitatory units: they come first."""
        return _share(self.e_ratio, self.n_hidden) if self.exc_number is None else self.exc_number

    @property
    def n_read(self) -> int:
        """R, the number of units that are read out: they come first."""
        return self.n_hidden if self.readout == "all" else self.n_exc

    @property
    def alpha(self) -> np.ndarray:
        """dt / tau for each unit, (H,) float64."""
        return np.full(self.n_hidden, self.dt) / np.asarray(self.tau)

    @property
    def noise_scale(self) -> np.ndarray:
        """sqrt(2 alpha) sigma_rec for each unit, (H,) float64."""
        return np.sqrt(2 * self.alpha) * self.sigma_rec

    @property
    def input_noise_scale(self) -> float:
        """sqrt(2 tau_in / dt) sigma_in."""
        return math.sqrt(2 * self.tau_in / self.dt) * self.sigma_in

    @property
    def changes_inputs(self) -> bool:
        """Is u another than the input that is given? (F9)"""
        return bool(self.sigma_in or self.baseline_in or self.rectify_inputs)

    @property
    def masks(self) -> dict[str, np.ndarray]:
        """The masks that were given, by name; what `to_dict` leaves out."""
        return {name: getattr(self, name) for name in MASKS if getattr(self, name) is not None}

    def to_dict(self) -> dict:
        """Plain values for JSON; the masks, which can be large, are not among them.

        n_exc is None where E follows from e_ratio.
        """
        d = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in MASKS}
        d["n_exc"], d["penalties"] = d.pop("exc_number"), asdict(self.penalties)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in d.items()}

    @classmethod
    def from_dict(cls, d, mask=None, mask_in=None, mask_out=None) -> "ModelConfig":
        """The configuration of what `to_dict` and `masks` gave; a field that is missing has its default."""
        known = {f.name for f in fields(cls)} - {*MASKS, "exc_number"} | {"n_exc"}
        if not isinstance(d, dict) or not set(d) <= known:
            found = sorted(set(d) - known) if isinstance(d, dict) else type(d).__name__
            raise ValueError(f"model configuration: expected the fields {sorted(known)}, found {found}")
        return cls(**d, mask=mask, mask_in=mask_in, mask_out=mask_out)

    def __eq__(self, other):
        """Are the equations the same? E counts, not how it was given; M counts, not where it came from."""
        if not isinstance(other, ModelConfig):
            return NotImplemented
        mine, theirs = ({**c.to_dict(), "e_ratio": None, "n_exc": c.n_exc} for c in (self, other))
        return mine == theirs and all(np.array_equal(mask(self), mask(other)) for mask in EFFECTIVE_MASKS.values())

    __hash__ = None  # type: ignore[assignment]

    def __copy__(self) -> "ModelConfig":
        return ModelConfig.from_dict(self.to_dict(), **self.masks)

    def __reduce__(self):  # by the constructor: NumPy's own copies of a read-only mask would be writeable
        return ModelConfig.from_dict, (self.to_dict(), self.mask, self.mask_in, self.mask_out)


_init = ModelConfig.__init__
_KNOWN = [f.name for f in fields(ModelConfig)] + ["n_exc"]


@functools.wraps(_init)
def _init_with_n_exc(self, *args, n_exc=None, **given):
    """n_exc is read as E, whichever way E was given, and so it cannot be the field that tells the two ways apart."""
    for name in given:
        if name not in _KNOWN:
            raise TypeError(f"ModelConfig has no field {name!r}{meant(name, _KNOWN)}")
    _init(self, *args, **(given if n_exc is None else {**given, "exc_number": n_exc}))


ModelConfig.__init__ = _init_with_n_exc  # type: ignore[method-assign]


def _penalties(given) -> Penalties:
    """Penalties, or a dict of its fields, as Penalties."""
    if isinstance(given, Penalties):
        return given
    known = {f.name for f in fields(Penalties)}
    if not isinstance(given, Mapping) or not set(given) <= known:
        found = sorted(map(str, set(given) - known)) if isinstance(given, Mapping) else repr(given)
        raise ValueError(f"penalties must be Penalties or a dict of {sorted(known)}, found {found}")
    return Penalties(**given)


def check_penalties(config: ModelConfig, penalties: Penalties) -> None:
    """ValueError where Omega is asked for and not defined."""
    if penalties.omega and config.dynamics == "brainpy":
        raise ValueError(
            'Omega is defined for dynamics="song2016" alone: with "brainpy" the leak acts on the rate, and no gradient '
            "passes a silent unit"
        )
    if penalties.omega and (config.alpha == 1).all():
        raise ValueError("Omega needs a dt below tau: its factor 1 - dt / tau would be 0 throughout")


def _share(ratio: float, n: int) -> int:
    """`ratio` of n units, rounded down, but for the rounding of their product: 0.82 * 150 is 122.99999999999999."""
    nearest = round(ratio * n)
    return min(nearest, n - 1) if abs(ratio * n - nearest) < 1e-9 * n else int(ratio * n)


def sign_mask(config: ModelConfig) -> np.ndarray:
    """M of eq. (F1), (H, H) float64: the configuration's own mask, or else signs by cell type.

    In "song2016" the sign goes with the column, the presynaptic unit (Dale's principle); in "brainpy"
    with the row, as in that tutorial. With constraint "free" all are +1. The diagonal is 0.
    """
    if config.mask is not None:
        return config.mask
    signs = np.ones(config.n_hidden) if config.constraint == "free" else unit_signs(config)
    mask = np.tile(signs, (config.n_hidden, 1))
    if config.dynamics == "brainpy":
        mask = mask.T.copy()
    np.fill_diagonal(mask, 0.0)
    return mask


def input_mask(config: ModelConfig) -> np.ndarray:
    """M_in of eq. (F1), (H, I) float64: the configuration's own, or ones."""
    return np.ones((config.n_hidden, config.n_in)) if config.mask_in is None else config.mask_in


def output_mask(config: ModelConfig) -> np.ndarray:
    """M_out of eq. (F1), (O, R) float64: the configuration's own, or ones.

    Where all units are read out by constrained weights, the sign of the unit: what leaves it has one sign there too.
    """
    if config.mask_out is not None:
        return config.mask_out
    if config.readout == "all" and config.constraint_out != "free":
        return np.tile(unit_signs(config), (config.n_out, 1))
    return np.ones((config.n_out, config.n_read))


def unit_signs(config: ModelConfig) -> np.ndarray:
    """+1 for the excitatory units, which come first, -1 for the others; (H,)."""
    return np.where(np.arange(config.n_hidden) < config.n_exc, 1.0, -1.0)


EFFECTIVE_MASKS = {"w_in": input_mask, "w_rec": sign_mask, "w_out": output_mask}


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
