"""What a task of the paper is: a description, from which network, trials and measures follow.

A description is laid beside a table, not programmed: tasks.py has the paper's ten, docs/add_a_task.md an eleventh.
Shapes: T time steps, B trials, I inputs, H units, E excitatory units, O outputs, R units that are read out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ..checks import check_array, check_choice, check_float, check_integer
from ..config import ModelConfig, Penalties
from ..connectivity import dale_mask, spectral_radius
from ..params import Params, effective_weights
from ..tasks import EVALUATE, TRAIN
from . import trials
from .trials import CATCH, NO_CHOICE, Epoch, Trials

PAPER = 0x534F4E47  # "SONG": a word in the seed of every stream drawn here
VALIDATION, TEST, WEIGHTS = 1, 2, 3  # after (EVALUATE, seed, PAPER)
X0 = 0.1  # of every unit at the start
MEASURES = ("rmse", "percent_correct", "smallest_condition")  # of them the first alone needs no choice
RADIUS_DALE, RADIUS_FREE = 1.5, 1.1  # spectral radius of the effective W_rec at the start


class Structure(NamedTuple):
    """Who connects to whom: connectivities of values, [to, from], 0 where there is no connection.

    c_in (H, I), c_rec (H, H), c_out (O, H). The values scale the initial weights. The first `n_exc` units are
    excitatory. With `dale` all weights keep a sign, the inputs' and the E units' +, the I units' -. Units that no
    output may read are 0 in c_out; if no I unit is read out, the network's read-out is of the E units alone.
    """

    c_in: np.ndarray
    c_rec: np.ndarray
    c_out: np.ndarray
    n_exc: int
    dale: bool = True


class Catch(NamedTuple):
    """Trials without stimulus or cue: their share in training, and their length in ms."""

    share: float
    duration: float


class Stop(NamedTuple):
    """When training ends: `measure` of `Task.performance`, mean of the last `checks` checks (at most), reaches
    `target`.

    "percent_correct" must exceed it, "smallest_condition" be at least it, "rmse" at most it.
    """

    measure: str
    target: float
    checks: int = 5

    def value(self, history: Sequence[float]) -> float:
        """What is compared, from the measure at all checks so far; NaN where there was none."""
        return float(np.mean(history[-self.checks :])) if len(history) else float("nan")

    def reached(self, history: Sequence[float]) -> bool:
        value = self.value(history)
        if self.measure == "rmse":
            return value <= self.target
        return value > self.target if self.measure == "percent_correct" else value >= self.target


@dataclass(frozen=True, eq=False)
class Task:
    """A task, the network that is trained on it, and when it is learnt.

    Parameters
    ----------
    name, figure, title : str
        As the command knows it; where the paper shows it; what it asks.
    channels : sequence of str
        The I inputs, by name.
    epochs : sequence of Epoch
        One after the other.
    conditions : sequence of dicts
        What a trial may be; training draws them alike.
    inputs : condition -> {epoch: (I,) values}
        Task input in the epochs that have one, 0 in the others. Baseline, noise and rectification are the model's.
    targets : condition -> {epoch: (O,) values}
        `lo` in the epochs that have none.
    structure : () -> Structure
    stop : Stop
    choice : condition -> int or None, optional
        The output that is to be the largest at the trial's end; None where there is no right one. Without it the task
        has no choices.
    catch : Catch, optional
        Those without input, a share of the training trials; the target is `lo` and the weight 1 throughout.
    test_conditions : sequence of dicts, optional
        Those of test trials, where they are not `conditions`.
    n_out, lo, dt, tau, sigma_rec : network and target
    batch_size : int
        Trials of one update.
    train_x0 : bool
        If not, x_0 stays at 0.1.
    rounds : int
        How often a validation set shows every condition.
    check_every : int
        Trials between two validations.

    Raises
    ------
    ValueError
        Something does not fit: an epoch that is not there, values that are not one for each channel or output, and so
        on. The structure is checked where it is first needed.
    """

    name: str
    figure: str
    title: str
    channels: Sequence[str]
    epochs: Sequence[Epoch]
    conditions: Sequence[dict]
    inputs: Callable[[dict], Mapping]
    targets: Callable[[dict], Mapping]
    structure: Callable[[], Structure]
    stop: Stop
    choice: Callable[[dict], int | None] | None = None
    catch: Catch | None = None
    test_conditions: Sequence[dict] | None = None
    n_out: int = 2
    lo: float = 0.2
    dt: float = 20.0
    tau: float = 100.0
    sigma_rec: float = 0.15
    batch_size: int = 20
    train_x0: bool = True
    rounds: int = 100
    check_every: int = 10_000

    def __post_init__(self):
        if not isinstance(self.name, str) or not self.name or not set(self.name).isdisjoint("/\\\0"):
            raise ValueError(f"name must be the name of a folder, found {self.name!r}")
        for name in ("n_out", "batch_size", "rounds", "check_every"):
            check_integer(name, getattr(self, name), 1)
        for name in ("dt", "tau"):
            check_float(name, getattr(self, name), above=0)
        names = [epoch.name for epoch in self.epochs]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"epochs must be one or more, of different names, found {', '.join(names) or 'none'}")
        for epoch in self.epochs:
            for duration in (epoch.duration, epoch.test):
                if duration is not None and not callable(duration):
                    check_float(f"the duration of the epoch {epoch.name}", duration, above=0)
        if self.catch is not None:
            check_float("catch.share", self.catch.share, 0, 1)
            check_float("catch.duration", self.catch.duration, above=0)
        check_choice("stop.measure", self.stop.measure, MEASURES if self.choice else MEASURES[:1])
        check_integer("stop.checks", self.stop.checks, 1)
        if not self.conditions:
            raise ValueError("conditions must be one or more, found none")
        for condition in (*self.conditions, *(self.test_conditions or ())):
            self._check_condition(condition, names)

    def _check_condition(self, condition, names):
        """Inputs, targets and choice of a condition fit channels, outputs and epochs, or ValueError says what not."""
        for what, size in (("inputs", len(self.channels)), ("targets", self.n_out)):
            given = getattr(self, what)(condition)
            unknown = ", ".join(map(str, set(given) - set(names)))
            if unknown:
                raise ValueError(f"{what} of {condition} must be of the epochs {', '.join(names)}, found {unknown}")
            for epoch, values in given.items():
                check_array(f"{what} of {condition} in the epoch {epoch}", values, (size,))
        right = None if self.choice is None else self.choice(condition)
        if right is not None:
            check_integer(f"choice of {condition}", right, 0, self.n_out - 1)

    # --- the network ---

    @cached_property
    def connectivity(self) -> Structure:
        """The structure, checked against channels and outputs."""
        c = self.structure()
        H = check_array("c_rec", c.c_rec, (None, None)).shape[0]
        n_exc = check_integer("n_exc", c.n_exc, 1, H)
        shapes = {"c_in": (H, len(self.channels)), "c_rec": (H, H), "c_out": (self.n_out, H)}
        arrays = {name: check_array(name, getattr(c, name), shape, np.float64) for name, shape in shapes.items()}
        for name, array in arrays.items():
            if c.dale and (array < 0).any():
                raise ValueError(f"{name} must be 0 or more under Dale's principle, found {array.min():g}")
        return Structure(**arrays, n_exc=n_exc, dale=c.dale)

    @cached_property
    def config(self) -> ModelConfig:
        """The paper's network for this task, as the authors' code has it."""
        c = self.connectivity
        R = c.n_exc if not c.c_out[:, c.n_exc :].any() else len(c.c_rec)
        mask, mask_out = ((dale_mask(m, c.n_exc) if c.dale else (m != 0) * 1.0) for m in (c.c_rec, c.c_out))
        constraint = "rectify" if c.dale else "free"
        return ModelConfig(
            n_in=len(self.channels), n_hidden=len(c.c_rec), n_out=self.n_out, exc_number=c.n_exc,
            dt=self.dt, tau=self.tau, sigma_rec=self.sigma_rec,
            constraint=constraint, constraint_in=constraint, constraint_out=constraint,
            mask=mask, mask_in=(c.c_in != 0) * 1.0, mask_out=mask_out[:, :R],
            readout="excitatory" if c.n_exc == R else "all",
            sigma_in=0.01, tau_in=100.0, baseline_in=0.2, rectify_inputs=True,
            loss="squared_error", train_x0=True, penalties=Penalties(omega=2.0),
        )  # fmt: skip

    @property
    def freeze(self) -> dict:
        """What is not trained: there are no biases, and x_0 only in some tasks is a parameter."""
        return {"b_in": True, "b_rec": True, "b_out": True, **({} if self.train_x0 else {"x0": True})}

    def init_params(self, seed: int = 0, dtype="float32") -> Params:
        """Starting parameters; a pure function of (task, seed).

        Under Dale's principle |theta_in| and |theta_out| are uniform on [0, 0.1 C), theta_rec Gamma(2, 0.05 C) scaled
        to a spectral radius of the effective matrix of 1.5. Without, theta_in and theta_out are uniform on +-0.1 C,
        theta_rec normal of standard deviation C, with radius 1.1.
        """
        seed = check_integer("seed", seed, 0, 2**32 - 1)
        rng, c, config = np.random.RandomState([EVALUATE, seed, PAPER, WEIGHTS]), self.connectivity, self.config
        params = Params.like(config, "float64")
        positive = np.abs if c.dale else np.asarray
        params.w_in = positive(rng.uniform(-0.1, 0.1, c.c_in.shape)) * c.c_in
        draw = rng.gamma(2.0, 0.05, c.c_rec.shape) if c.dale else rng.normal(0.0, 1.0, c.c_rec.shape)
        params.w_rec = draw * c.c_rec
        c_out = c.c_out[:, : params.w_out.shape[1]]
        params.w_out = positive(rng.uniform(-0.1, 0.1, c_out.shape)) * c_out
        radius = spectral_radius(effective_weights(config, params))
        params.w_rec = params.w_rec * ((RADIUS_DALE if c.dale else RADIUS_FREE) / radius)
        params.x0 = np.full(config.n_hidden, X0)
        return params.astype(dtype)

    # --- its trials ---

    def batch(self, seed: int, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(inputs, targets, weights) of training batch k, from 0: a pure function of (seed, k)."""
        return self.training_trials(seed, k)[:3]

    def training_trials(self, seed: int, k: int) -> Trials:
        """The trials of training batch k: each a catch trial by its share, else any condition alike."""
        rng = _generator(TRAIN, seed, PAPER, check_integer("k", k, 0, 2**32 - 1))
        u = rng.random_sample((self.batch_size, 2 + len(self.epochs)))
        which = (u[:, 1] * len(self.conditions)).astype(np.int64)
        if self.catch is not None:
            which[u[:, 0] < self.catch.share] = CATCH
        return trials.make(self, which, u[:, 2:], self.dt, self.conditions)

    def batches(self, seed: int, start: int = 0):
        """An endless iterator of `batch`, for `eirnn_np.train`."""
        k = start
        while True:
            yield self.batch(seed, k)
            k += 1

    def validation(self, seed: int, check: int = 0, rounds: int | None = None) -> Trials:
        """A balanced set: every condition `rounds` times, and as often a catch trial; fresh for each `check`."""
        rounds = check_integer("rounds", self.rounds if rounds is None else rounds, 1)
        rng = _generator(EVALUATE, seed, PAPER, VALIDATION, check_integer("check", check, 0, 2**32 - 1))
        once = np.arange(-1 if self.catch is not None else 0, len(self.conditions))
        which = np.tile(once, rounds)
        return trials.make(self, which, rng.random_sample((len(which), len(self.epochs))), self.dt, self.conditions)

    def test(
        self, seed: int = 0, repeats: int = 20, dt: float | None = None, conditions: Sequence[dict] | None = None,
        durations: Mapping[str, float] | None = None,
    ) -> Trials:  # fmt: skip
        """Test trials, condition by condition in turn, with the epochs' durations for tests.

        Parameters
        ----------
        seed, repeats : int
            How often each condition is shown.
        dt : float, optional
            ms; 0.5 in the paper. By default that of the training. Respond to them with `at_dt(dt)`.
        conditions : sequence of dicts, optional
            By default the task's for tests.
        durations : {epoch: ms}, optional
            In place of the described ones.
        """
        rng = _generator(EVALUATE, seed, PAPER, TEST)
        dt = self.dt if dt is None else check_float("dt", dt, above=0)
        unknown = set(durations or ()) - {epoch.name for epoch in self.epochs}
        if unknown:
            raise ValueError(f"durations must name epochs of {self.name}, found {', '.join(sorted(unknown))}")
        if conditions is None:
            conditions = self.test_conditions or self.conditions
        which = np.tile(np.arange(len(conditions)), check_integer("repeats", repeats, 1))
        uniforms = rng.random_sample((len(which), len(self.epochs)))
        return trials.make(self, which, uniforms, dt, conditions, durations, test=True)

    def at_dt(self, dt: float) -> ModelConfig:
        """The network simulated at another time step."""
        return replace(self.config, dt=dt)

    # --- what it did ---

    def performance(self, shown: Trials, outputs: np.ndarray) -> dict[str, float]:
        """Measures of outputs (T, B, O): those that are defined for the task.

        loss: squared error, its mean over what the mask leaves; rmse, its root. percent_correct: trials whose largest
        output at their last step is the right one, catch trials left out; smallest_condition: that of the worst
        condition.
        """
        error = ((outputs - shown.targets).astype(np.float64) ** 2).mean(axis=-1)
        loss = float((shown.weights * error).sum() / shown.weights.sum(dtype=np.float64))
        found = {"loss": loss, "rmse": loss**0.5}
        asked = shown.choice != NO_CHOICE
        if asked.any():
            right = self.choices(shown, outputs) == shown.choice
            found["percent_correct"] = 100 * float(right[asked].mean())
            each = [right[asked & (shown.condition == c)] for c in np.unique(shown.condition[asked])]
            found["smallest_condition"] = 100 * float(min(answers.mean() for answers in each))
        return found

    def choices(self, shown: Trials, outputs: np.ndarray) -> np.ndarray:
        """The largest output at the last step of each trial, (B,)."""
        return outputs[shown.lengths - 1, np.arange(len(shown.lengths))].argmax(axis=-1)


def _generator(stream, seed, *words):
    return np.random.RandomState([stream, check_integer("seed", seed, 0, 2**32 - 1), *words])
