"""The checks that all public functions share: one for each kind of value.

Each returns the value in the type that the code works with, or raises a ValueError that names the argument, what was
expected and what was found. Imports numpy alone.
"""

import difflib
import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike


def check_integer(name: str, value, low: int, high: int | None = None) -> int:
    """`value` as an int from `low` to `high`, both included; a bool, a float and a string are none."""
    right = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not right or value < low or (high is not None and value > high):
        allowed = f"of at least {low}" if high is None else f"from {low} to {_power_text(high)}"
        raise ValueError(f"{name} must be an integer {allowed}, found {value!r}")
    return int(value)


def check_float(
    name: str, value, low: float = -math.inf, high: float = math.inf, *, above: float = -math.inf,
    below: float = math.inf, infinite: bool = False,
) -> float:  # fmt: skip
    """`value` as a float with low <= value <= high and above < value < below.

    It is finite, unless `infinite` allows infinity (never NaN). A bool and a string are no numbers.
    """
    try:
        if isinstance(value, str | bytes | bool | np.bool_) or np.ndim(value):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} must be a number, found {value!r}") from None
    if not (math.isfinite(number) or (infinite and not math.isnan(number))):
        raise ValueError(f"{name} must be a finite number, found {value!r}")
    if not (low <= number <= high and number > above and (number < below or below == math.inf)):
        bounds = [(low, "at least"), (above, "above"), (high, "at most"), (below, "below")]
        text = " and ".join(f"{word} {bound:g}" for bound, word in bounds if math.isfinite(bound))
        raise ValueError(f"{name} must be a number {text}, found {value!r}")
    return number


def check_choice(name: str, value, allowed: Sequence[str]) -> str:
    """`value` if it is one of the strings `allowed`."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, found {value!r}")
    return value


def check_bool(name: str, value) -> bool:
    """`value` as True or False; 0 and 1 are neither."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, found {value!r}")
    return bool(value)


def check_path(name: str, value) -> Path:
    """`value` as a Path; an empty name, as of a shell's variable that is not set, would be the current folder."""
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise ValueError(f"{name} must be a path, found {value!r}")
    return Path(value)


def meant(given, known) -> str:
    """ "; did you mean 'timing'?", or nothing where no name of `known` is like `given`."""
    near = difflib.get_close_matches(str(given), known, 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def check_dtype(dtype: DTypeLike) -> np.dtype:
    """float32 or float64 as a dtype, in the machine's own byte order."""
    try:
        found = None if dtype is None else np.dtype(dtype)  # NumPy takes None for float64
    except (TypeError, ValueError):
        found = None
    if found not in (np.float32, np.float64):
        raise ValueError(f"dtype must be float32 or float64, found {dtype!r}")
    return found


def check_array(name: str, value, shape: tuple, dtype: DTypeLike = None) -> np.ndarray:
    """`value` as an array of real finite numbers of `shape`, where None stands for any size; cast to `dtype`."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:  # ragged lists, objects that refuse
        raise ValueError(f"{name} must be an array of shape {_shape_text(shape)}: {error}") from None
    check_unmasked(name, value)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} must hold real numbers, found dtype {array.dtype}")
    if array.ndim != len(shape) or any(want not in (None, got) for want, got in zip(shape, array.shape)):
        raise ValueError(f"{name} must have shape {_shape_text(shape)}, found {array.shape}")
    if dtype is not None:
        with np.errstate(over="ignore"):
            array = array.astype(dtype, copy=False)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(f"{name} must be finite, found {array[bad]} at {bad}")
    return array


def check_unmasked(name: str, value) -> None:
    """ValueError for a masked array with masked entries: as a plain array they would count like the rest."""
    if np.ma.is_masked(value):
        raise ValueError(f"{name} must have no masked entries, found {np.ma.count_masked(value)}")


def _shape_text(shape):
    return "(" + ", ".join("any" if s is None else str(s) for s in shape) + ("," if len(shape) == 1 else "") + ")"


def _power_text(high):
    """2**32 - 1 is easier to read than 4294967295."""
    exponent = (high + 1).bit_length() - 1
    return f"2**{exponent} - 1" if high > 10**6 and high + 1 == 1 << exponent else f"{high}"
