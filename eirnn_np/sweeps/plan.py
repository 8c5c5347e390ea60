"""What a sweep trains: every point of a grid with every seed, each network under a name of its own.

A `Plan` is checked whole before anything is made of it: a network that could not be trained is refused here.
"""

import difflib
import itertools
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..checks import check_integer
from ..runs.settings import MAX_SEED
from . import ordinary, paper

MOST = 10**7  # networks of a sweep
SPELLED = {"hidden": "n_hidden", "task_kwargs": "env_kwargs"}  # as the options of the command have them
_PLAIN = re.compile(r"[A-Za-z0-9_.+-]{1,60}")


def kind_of(options):
    """The module that trains a network of these options: `ordinary`, or `paper`."""
    return paper if str(options.get("task", "")).startswith(paper.PREFIX) else ordinary


@dataclass(frozen=True)
class Network:
    """One network of a sweep: its name, which is that of its folder, and the options of its run."""

    name: str
    setting: str  # the name without the seed: what the networks of one point of the grid share
    options: dict


@dataclass(frozen=True)
class Plan:
    """A grid of options, seeds, and the options that all networks share.

    Raises
    ------
    ValueError
        An option is unknown or wrong, twice given, or two of its values would name one folder.
    """

    base: dict = field(default_factory=dict)
    grid: dict[str, list] = field(default_factory=dict)
    seeds: list[int] = field(default_factory=lambda: [0])
    _texts: dict[str, list[str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        if not isinstance(self.grid, Mapping):
            raise ValueError(f'grid must be a dict of lists, such as {{"lr": [0.001, 0.003]}}, found {self.grid!r}')
        for name, values in self.grid.items():
            if not isinstance(values, Iterable) or isinstance(values, str | bytes | Mapping):
                raise ValueError(f"the grid of {name} must be a list of values, such as [{values!r}], found {values!r}")
        object.__setattr__(self, "base", _spelled(self.base))
        object.__setattr__(self, "grid", _spelled({name: list(values) for name, values in self.grid.items()}))
        asked = self.grid.get("task") or [self.base.get("task", "")]
        kinds = {kind_of({"task": task}) for task in asked}
        if len(kinds) > 1:
            raise ValueError(f"tasks of the paper ({paper.PREFIX}...) and others are two sweeps, found {list(asked)}")
        kind = kinds.pop()
        known = kind.option_names()
        for name in (*self.base, *self.grid):
            check_option(name, known, kind.NAME)
        if "seed" in self.base or "seed" in self.grid:
            raise ValueError("the seeds of a sweep are given by seeds, such as 0:20")
        if twice := sorted(set(self.base) & set(self.grid)):
            raise ValueError(f"{twice[0]} is given twice: for all networks, and in the grid")
        if not isinstance(self.seeds, Iterable):
            raise ValueError(f"seeds must be a list of seeds, such as range(5) or '0:5', found {self.seeds!r}")
        seeds = [check_integer("seeds", seed, 0, MAX_SEED) for seed in self.seeds]
        _check_different("seeds", seeds, list(map(str, seeds)))
        object.__setattr__(self, "seeds", seeds)
        grid = {name: [_typed(value, known[name]) for value in values] for name, values in self.grid.items()}
        object.__setattr__(self, "grid", grid)
        object.__setattr__(self, "_texts", {name: _texts(name, values) for name, values in grid.items()})
        if len(self) > MOST:
            raise ValueError(f"a sweep trains at most {MOST:,} networks, found {len(self):,}")

    def __len__(self):
        return len(self.seeds) * math.prod(map(len, self.grid.values()))

    def settings(self):
        """(name, options) of every point of the grid, without a seed."""
        for values in itertools.product(*(zip(self._texts[name], values) for name, values in self.grid.items())):
            name = "__".join(f"{key}={text}" for key, (text, _) in zip(self.grid, values))
            yield name, {**self.base, **{key: value for key, (_, value) in zip(self.grid, values)}}

    def __iter__(self):
        """Every network, made as it is asked for: a large sweep is never in memory."""
        for setting, options in self.settings():
            for seed in self.seeds:
                yield Network(f"{setting}{'__' * bool(setting)}seed={seed}", setting, {**options, "seed": seed})

    def check(self):
        """Try every point of the grid, and its task; ValueError for the first that no network can be trained with.

        Returns the steps of all networks together.
        """
        steps = 0
        seen: set = set()
        for cheap in (True, False):  # what is wrong with a number is said before neurogym is imported for a task
            for name, options in self.settings():
                try:
                    if cheap:
                        steps += kind_of(options).steps(options)
                    else:
                        kind_of(options).check_task(options, seen)
                except (TypeError, ValueError) as error:
                    raise ValueError(f"{error}{f' (in {name})' if name else ''}") from None
        return steps * len(self.seeds)

    def compared(self):
        """Which tasks this process has compared with neurogym's own, once for all networks."""
        of = {(str(o.get("task")), repr(o.get("env_kwargs")), o.get("batch_size"), o.get("dt"), o.get("source")): o
              for _, o in self.settings()}  # fmt: skip
        return [found for found in (kind_of(o).compared(o) for o in of.values()) if found is not None]

    def to_dict(self):
        """Plain values for sweep.json."""
        return {"base": self.base, "grid": self.grid, "seeds": seeds_text(self.seeds)}

    @classmethod
    def from_dict(cls, d):
        return cls(d["base"], d["grid"], parse_seeds(d["seeds"]))


def _spelled(options):
    """The options under their names, some of which the command spells in another way; ValueError for one in both."""
    for theirs, name in SPELLED.items():
        if theirs in options and name in options:
            raise ValueError(f"{theirs} and {name} are one setting: give one of them")
    return {SPELLED.get(name, name): value for name, value in options.items()}


def check_option(name, known, what="a run"):
    """ValueError for an option that no run has, with those that it could have meant."""
    if name not in known:
        near = difflib.get_close_matches(str(name), [*known, *SPELLED], 3, 0.5)
        hint = f"; did you mean {' or '.join(near)}?" if near else f": {what} has {', '.join(sorted(known))}"
        raise ValueError(f"unknown setting {name!r}{' of ' * (what != 'a run')}{what * (what != 'a run')}{hint}")


def _typed(value, default):
    """1 for a setting that is 1.0 by default is the same network, and gets the same name."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise ValueError(f"a grid holds plain values, as JSON has them, found {value!r}") from None
    whole = isinstance(value, int) and not isinstance(value, bool)
    return float(value) if whole and isinstance(default, float) and abs(value) < 2**53 else value


def _texts(name, values):
    """What stands for each value in a folder's name: itself if it is plain and short, its number in the grid if not."""
    if not values:
        raise ValueError(f"the grid of {name} has no values")
    texts = []
    for k, value in enumerate(values, 1):
        text = "none" if value is None else str(value).replace("/", "-")
        plain = not isinstance(value, dict | list | tuple) and _PLAIN.fullmatch(text)
        texts.append(text if plain else str(k))
    _check_different(name, values, texts)
    return texts


def _check_different(name, values, texts):
    seen: dict[str, Any] = {}
    for value, text in zip(values, texts):
        key = text.casefold()  # some file systems do not tell upper from lower case
        if key in seen:
            raise ValueError(f"two settings of {name} name one folder ({text}): {seen[key]!r} and {value!r}")
        seen[key] = value
    if not values:
        raise ValueError(f"{name} must hold at least one value")


def parse_seeds(text):
    """Seeds of a text such as ``0:20`` (0 to 19), ``0:20:5``, ``1,4,9`` or several of them: ``0:3,10:13``."""
    seeds: list[int] = []
    if isinstance(text, str) and re.fullmatch(r"\s*\d+\s*", text):
        n = int(text)
        raise ValueError(f"--seeds {n} may be one seed or many: write {n}:{n + 1} for seed {n}, 0:{n} for {n} seeds")
    try:
        for part in str(text).split(","):
            numbers = [int(word) for word in part.split(":")]
            if len(numbers) == 1:
                seeds.append(*numbers)
                continue
            chosen = range(*numbers)
            if len(chosen) + len(seeds) > MOST:
                raise ValueError(f"a sweep trains at most {MOST:,} networks")
            seeds.extend(chosen)
    except (ValueError, TypeError) as error:
        if "at most" in str(error):
            raise
        raise ValueError(f"seeds must be such as 0:20 (0 to 19), 0:100:10 or 1,4,9, found {text!r}") from None
    if not seeds:
        raise ValueError(f"seeds {text!r} are none")
    return seeds


def seeds_text(seeds):
    """The text that `parse_seeds` makes these of."""
    if len(seeds) == 1:
        return f"{seeds[0]}:{seeds[0] + 1}"
    step = seeds[1] - seeds[0]
    if step > 0 and seeds == list(range(seeds[0], seeds[-1] + 1, step)):
        return f"{seeds[0]}:{seeds[-1] + 1}" + f":{step}" * (step != 1)
    return ",".join(map(str, seeds))


def parse_grid(text):
    """(name, values) of a text such as ``lr=0.001,0.003``: JSON values, or words."""
    name, sign, values = text.partition("=")
    name = name.strip().lstrip("-").replace("-", "_")
    if not sign or not name or not values.strip():
        raise ValueError(f"a grid is NAME=VALUE,VALUE,... such as lr=0.001,0.003, found {text!r}")
    try:
        found = json.loads(f"[{values}]")
    except (ValueError, RecursionError):
        words = [word.strip() for word in values.split(",")]
        if not all(words) or values.strip()[0] in "[{":
            raise ValueError(
                f"the values of a grid are numbers, words or JSON between commas, found {text!r}"
            ) from None
        found = [_word(word) for word in words]
    return SPELLED.get(name, name), found


def _word(word):
    for read in (json.loads, float):
        try:
            return read(word)
        except ValueError:
            pass
    return {"True": True, "False": False, "None": None, "none": None}.get(word, word)
