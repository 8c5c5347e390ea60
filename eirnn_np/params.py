"""What a network is: its configuration, its parameters, masks, and how they start. Knows nothing of training.

Shapes: I inputs, H units, E excitatory units, O outputs; weights are [to, from].
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType

import numpy as np
from numpy.typing import DTypeLike

from .checks import check_array, check_bool, check_choice, check_dtype, check_float, check_integer
from .files import load_tensors, save_tensors
from .noise import INIT_STREAM, MASK_STREAM, uniforms

DYNAMICS = ("song2016", "brainpy")
LOSSES = ("cross_entropy", "squared_error")

# Our attribute -> key in the state_dict of the PyTorch original (gyyang/nn-brain, EI_RNN.ipynb).
STATE_DICT_KEYS = {
    "w_in": "rnn.input2h.weight",
    "b_in": "rnn.input2h.bias",
    "w_rec": "rnn.h2h.weight",
    "b_rec": "rnn.h2h.bias",
    "w_out": "fc.weight",
    "b_out": "fc.bias",
    "x0": "rnn.x0",  # only in networks with a trained initial state; the original has none
}
MASK_KEY = "mask"


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
    n_exc: int = None  # type: ignore[assignment]  # never None once the object is there

    def __post_init__(self):
        put = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731  (frozen)
        for name in ("n_in", "n_hidden", "n_out"):
            put(name, check_integer(name, getattr(self, name), 1, 2**24 - 1))
        for name, least in (("dt", -math.inf), ("sigma_rec", 0)):
            put(name, check_float(name, getattr(self, name), low=least))
        put("e_ratio", check_float("e_ratio", self.e_ratio, above=0, below=1))
        if self.n_exc is None or isinstance(self.n_exc, _ByRatio):
            put("n_exc", _ByRatio(_share(self.e_ratio, self.n_hidden)))
            if self.n_exc < 1:
                raise ValueError(
                    f"e_ratio must leave at least one excitatory unit, found {self.e_ratio} of {self.n_hidden} units"
                )
        else:
            put("n_exc", check_integer("n_exc", self.n_exc, 1, self.n_hidden))
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
        d["n_exc"] = None if isinstance(self.n_exc, _ByRatio) else self.n_exc
        return {k: list(v) if isinstance(v, tuple) else v for k, v in d.items()}

    @classmethod
    def from_dict(cls, d, mask=None) -> "ModelConfig":
        known = {f.name for f in fields(cls)} - {"mask"}
        if not isinstance(d, dict) or not set(d) <= known:
            found = sorted(set(d) - known) if isinstance(d, dict) else type(d).__name__
            raise ValueError(f"model configuration: expected the fields {sorted(known)}, found {found}")
        return cls(**d, mask=mask)

    def __eq__(self, other):
        """Are the equations the same? E counts, not how it was given; M counts, not where it came from."""
        if not isinstance(other, ModelConfig):
            return NotImplemented
        mine, theirs = ({**c.to_dict(), "e_ratio": None, "n_exc": int(c.n_exc)} for c in (self, other))
        return mine == theirs and np.array_equal(sign_mask(self), sign_mask(other))

    __hash__ = None  # type: ignore[assignment]

    def __copy__(self) -> "ModelConfig":
        return ModelConfig.from_dict(self.to_dict(), self.mask)

    def __reduce__(self):  # by the constructor: NumPy's own copies of a read-only mask would be writeable
        return ModelConfig.from_dict, (self.to_dict(), self.mask)


class _ByRatio(int):
    """E as it follows from e_ratio: `dataclasses.replace` with another n_hidden or e_ratio finds it anew."""


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


def _parameter(name: str) -> property:
    """A parameter of Params by its name: reading gives the view on the flat buffer, assigning writes into it."""

    def read(self) -> np.ndarray:
        return self._views[name]

    def write(self, value) -> None:
        view = self._views[name]
        one = isinstance(value, int | float | np.number)
        view[...] = check_float(name, value) if one else check_array(name, value, view.shape)

    return property(read, write)


class Params:
    """The trained numbers of one network: named arrays that are views on one flat buffer.

    There is one truth for each number. ``params.w_out = array`` copies into the view; copies, deep copies and pickles
    have a buffer of their own, and their arrays are views on it.

    Attributes
    ----------
    flat : (n,) array
        All parameters in the order below; what the optimiser works on.
    w_in, b_in, w_rec, b_rec, w_out, b_out, x0 : arrays
        (H, I), (H,), (H, H), (H,), (O, E), (O,), and (H,) or None. ``w_rec`` is the raw theta: its
        absolute value and the mask are taken in use (F1).
    shapes : mapping
        Name to shape, in the order of the buffer.

    Raises
    ------
    ValueError
        A buffer of another size or dtype than is asked for; an assigned array of another shape.
    """

    __slots__ = ("__weakref__", "_flat", "_views", "shapes")

    w_in, b_in, w_rec, b_rec = (_parameter(name) for name in ("w_in", "b_in", "w_rec", "b_rec"))
    w_out, b_out = _parameter("w_out"), _parameter("b_out")

    def __init__(
        self,
        n_in: int,
        n_hidden: int,
        n_out: int,
        n_exc: int,
        dtype: DTypeLike = "float32",
        with_x0: bool = False,
        flat: np.ndarray | None = None,
    ) -> None:
        shapes = parameter_shapes(n_in, n_hidden, n_out, n_exc, with_x0)
        size = sum(math.prod(shape) for shape in shapes.values())
        if flat is None:
            flat = np.zeros(size, check_dtype(dtype))
        elif not isinstance(flat, np.ndarray) or flat.shape != (size,):
            raise ValueError(f"flat must have shape ({size},), found {np.shape(flat)}")
        check_dtype(flat.dtype)
        self._flat, self._views, self.shapes = flat, {}, MappingProxyType(shapes)
        start = 0
        for name, shape in shapes.items():
            stop = start + math.prod(shape)
            self._views[name] = flat[start:stop].reshape(shape)
            start = stop

    @property
    def flat(self) -> np.ndarray:
        return self._flat

    @flat.setter
    def flat(self, value) -> None:
        self._flat[...] = check_array("flat", value, self._flat.shape)

    @property
    def x0(self) -> np.ndarray | None:
        return self._views.get("x0")

    @x0.setter
    def x0(self, value) -> None:
        if "x0" not in self._views:
            raise ValueError("x0 is no parameter of this network: its configuration has train_x0=False")
        _parameter("x0").__set__(self, value)

    @classmethod
    def like(cls, config: ModelConfig, dtype: DTypeLike = "float32", flat: np.ndarray | None = None) -> "Params":
        """Zeros of the shapes that `config` asks for, or views on a given flat buffer."""
        return cls(config.n_in, config.n_hidden, config.n_out, config.n_exc, dtype, config.train_x0, flat)

    @property
    def dtype(self) -> np.dtype:
        return self.flat.dtype

    def items(self) -> list[tuple[str, np.ndarray]]:
        """Pairs (name, array), in the order of the flat buffer."""
        return [(name, getattr(self, name)) for name in self.shapes]

    def copy(self) -> "Params":
        return self.astype(self.dtype)

    def astype(self, dtype: DTypeLike) -> "Params":
        return Params(**self._sizes(), flat=self.flat.astype(check_dtype(dtype)))

    __copy__ = copy

    def __reduce__(self):  # for pickle and deepcopy: the sizes and the buffer, from which the views are made anew
        return _of_buffer, (self._sizes(), self.flat)

    def _sizes(self):
        (H, I), (O, E) = self.w_in.shape, self.w_out.shape
        return {"n_in": I, "n_hidden": H, "n_out": O, "n_exc": E, "with_x0": self.x0 is not None}

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of the arrays under the PyTorch original's keys."""
        return {STATE_DICT_KEYS[name]: array.copy() for name, array in self.items()}

    @classmethod
    def from_state_dict(cls, d: Mapping[str, np.ndarray]) -> "Params":
        """Read arrays (or tensors) under the PyTorch original's keys; sizes come from the shapes.

        Raises ValueError for a key that is missing or unknown, and for shapes that do not fit.
        """
        missing = [k for name, k in STATE_DICT_KEYS.items() if k not in d and name != "x0"]
        unknown = sorted(set(d) - set(STATE_DICT_KEYS.values()))
        if missing or unknown:
            raise ValueError(f"state_dict: missing keys {missing}, unknown keys {unknown}")
        arrays = {name: np.asarray(d[k]) for name, k in STATE_DICT_KEYS.items() if k in d}
        if arrays["w_in"].ndim != 2 or arrays["w_out"].ndim != 2:
            raise ValueError("state_dict: rnn.input2h.weight and fc.weight must be matrices")
        (H, I), (O, E) = arrays["w_in"].shape, arrays["w_out"].shape
        dtype = check_dtype(np.result_type(*arrays.values()))
        params = cls(I, H, O, E, dtype, with_x0="x0" in arrays)
        for name, view in params.items():
            view[...] = check_array(STATE_DICT_KEYS[name], arrays[name], view.shape)
        return params

    def __repr__(self):
        return f"Params({', '.join(f'{n} {a.shape}' for n, a in self.items())}, {self.dtype})"


def _of_buffer(sizes, flat):
    return Params(**sizes, flat=flat)


def init_params(config: ModelConfig, seed: int = 0, dtype: DTypeLike = "float32") -> Params:
    """Starting parameters, distributed as the original's; a pure function of (config, seed, dtype).

    Weights and biases are uniform on (-k, k), k = 1 / sqrt(fan_in); then the part of w_rec that
    belongs to excitatory units is divided by E / (H - E), so that excitation and inhibition balance
    (EI_RNN.ipynb, EIRecLinear.reset_parameters). With dynamics="brainpy" weights have
    k = sqrt(3 / fan_in), b_in is 0, and the division falls on the rows, as in that tutorial.
    The numbers come from Philox (noise.py), so they are the same on every machine. x0 starts at 0, with
    dynamics="brainpy" at 0.1: there relu'(0) = 0 is in its only path to the loss and would hold it at 0.
    """
    H, I, E = config.n_hidden, config.n_in, config.n_exc
    brainpy = config.dynamics == "brainpy"
    params = Params.like(config, dtype)
    fan_in = {"w_in": I, "b_in": I, "w_rec": H, "b_rec": H, "w_out": E, "b_out": E}
    draws = Params.like(config, "float64", flat=uniforms(seed, INIT_STREAM, params.flat.size))
    for name, fan in fan_in.items():
        k = np.sqrt((3.0 if brainpy and name.startswith("w") else 1.0) / fan)
        getattr(params, name)[...] = k * (2 * getattr(draws, name) - 1)
    excitatory = params.w_rec[:E] if brainpy else params.w_rec[:, :E]
    if E < H:
        excitatory /= E / (H - E)
    if brainpy:
        params.b_in[...] = 0
        if params.x0 is not None:
            params.x0[...] = 0.1
    return params


def effective_weights(config: ModelConfig, params: Params) -> np.ndarray:
    """W_rec = |theta_rec| * M, (H, H) [to, from], in the dtype of the parameters. (F1)"""
    check_params(config, params)
    return np.abs(params.w_rec) * sign_mask(config).astype(params.dtype)


def save_params(path: str | os.PathLike, config: ModelConfig, params: Params) -> None:
    """Write parameters and configuration to one safetensors file, by way of a temporary name."""
    check_params(config, params)
    tensors = params.state_dict()
    if config.mask is not None:
        tensors[MASK_KEY] = config.mask
    save_tensors(path, tensors, {"config": config.to_dict()})


def load_params(path: str | os.PathLike) -> tuple[ModelConfig, Params]:
    """Read (config, params) from a file that `save_params` wrote.

    Raises ValueError if it is not such a file or its parts do not fit, OSError if it cannot be read.
    """
    tensors, metadata = load_tensors(path)
    if not isinstance(metadata, dict) or "config" not in metadata:
        raise ValueError(f"{path}: not a parameter file of eirnn-np (it holds no configuration)")
    try:
        config = ModelConfig.from_dict(metadata["config"], mask=tensors.pop(MASK_KEY, None))
        params = Params.from_state_dict(tensors)
        check_params(config, params)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
    return config, params


def parameter_shapes(n_in, n_hidden, n_out, n_exc, with_x0):
    """The shapes of the parameters by name, in the order of the flat buffer."""
    I, H, O, E = n_in, n_hidden, n_out, n_exc
    shapes = {"w_in": (H, I), "b_in": (H,), "w_rec": (H, H), "b_rec": (H,), "w_out": (O, E), "b_out": (O,)}
    return shapes | {"x0": (H,)} if with_x0 else shapes


def check_params(config, params):
    """ValueError unless `params` has the shapes that `config` asks for."""
    expected = parameter_shapes(config.n_in, config.n_hidden, config.n_out, config.n_exc, config.train_x0)
    if params.shapes != expected:
        wrong = sorted(set(params.shapes.items()) ^ set(expected.items()))
        raise ValueError(f"params do not fit config: {', '.join(f'{n} {s}' for n, s in wrong)}")
