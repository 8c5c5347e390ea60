"""Checks of a training on trials of their own: when it may stop, and which parameters were best.

A run with `until` has three files more: checks.csv, best.safetensors, and at its end criterion.json. They are written
in the order of what can be lost: a row of checks.csv that no checkpoint has reached is dropped by the training that
goes on, and comes again. A checkpoint is written with every new best, before best.safetensors.
"""

import csv
from pathlib import Path

import numpy as np

from .. import tasks
from ..analysis import performance
from ..evaluation import respond
from ..files import read_text, unsynced, write_file
from ..params import Params, load_params, save_params
from ..trainer import RunError
from .criterion import parse_until

CHECKS, BEST, OUTCOME = "checks.csv", "best.safetensors", "criterion.json"
LENGTHS = 1000  # trials whose mean length says how many trials a training has seen


class Checks:
    """The checks of one run up to step `k`; `folder` holds what there is of them."""

    def __init__(self, settings, config, params, folder, k):
        self.criterion, self.every = parse_until(settings.until), settings.check_every
        self._settings, self._config, self._folder = settings, config, Path(folder)
        self.rows = self._read(k)
        self._trials = None
        self.best_params: Params | None = None
        if self.rows and self.best[0] == k:
            self.best_params = params.copy()
        elif self.rows:
            try:
                self.best_params = load_params(self._folder / BEST)[1].astype(params.dtype)
            except (OSError, ValueError) as error:
                raise RunError(f"the run {folder} cannot go on: its best parameters cannot be read ({error})") from None

    def _read(self, k):
        try:
            found = list(csv.reader(read_text(self._folder / CHECKS).splitlines()))[1:]
            return [(int(step), float(value)) for step, value in found if int(step) <= k]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, csv.Error) as error:
            raise RunError(f"the run {self._folder} cannot go on: {CHECKS} cannot be read ({error})") from None

    @property
    def best(self):
        """(step, value) of the best check; the first of equals."""
        best = self.rows[0]
        for row in self.rows[1:]:
            if self.criterion.better(row[1], best[1]):
                best = row
        return best

    @property
    def met(self):
        return bool(self.rows) and self.criterion.met(self.rows[-1][1])

    def due(self, k):
        """Is there a check after step k that has not been done?"""
        at_step = k > 0 and (k % self.every == 0 or k == self._settings.steps)
        return at_step and not (self.rows and self.rows[-1][0] >= k)

    def left(self, k):
        """Steps to the next check, or to the end."""
        return min(self.every - k % self.every, self._settings.steps - k)

    def look(self, params, losses):
        """Check these parameters; is it a new best?"""
        value = self._measure(params, losses)
        self.rows.append((len(losses), value))
        with unsynced():
            write_file(self._folder / CHECKS, "step,value\n" + "".join(f"{k},{v!r}\n" for k, v in self.rows))
        if self.best[0] != len(losses):
            return False
        self.best_params = params.copy()
        return True

    def write_best(self):
        """After the checkpoint of the same step."""
        assert self.best_params is not None
        save_params(self._folder / BEST, self._config, self.best_params)

    def _measure(self, params, losses):
        settings = self._settings
        if self.criterion.measure == "loss":  # since the check before
            return float(np.mean(losses[-((len(losses) - 1) % self.every + 1) :]))
        if self._trials is None:
            env_kwargs = tasks.evaluation_env_kwargs(settings.task, settings.env_kwargs)
            stream = settings.evaluation_stream(tasks.CHECKED)
            self._trials = tasks.make_trials(settings.task, settings.trials, stream, env_kwargs)
        start = "stream" if self.criterion.measure == "accuracy_in_stream" else "rest"
        key = tasks.checking_noise_seed(settings.seed)
        found = performance(respond(self._config, params, self._trials, settings.seed, start, 0, key=key))
        return float(found["steps_right"]["share"] if self.criterion.measure == "steps_right" else found["accuracy"])

    def outcome(self):
        """What criterion.json says. Trials are those that a training of so many steps sees, on average."""
        step, value = self.best
        result = {"until": self._settings.until, "best": value, "best_step": step}
        reached = self.rows[-1][0] if self.met else None
        return {**result, "steps_to_criterion": reached,
                "trials_to_criterion": None if reached is None else self._trials_seen(reached)}  # fmt: skip

    def _trials_seen(self, steps):
        settings = self._settings
        stream = (*settings.evaluation_stream(tasks.CHECKED), 1)
        trials = tasks.make_trials(settings.task, LENGTHS, stream, settings.env_kwargs)
        length = np.mean([len(trial.labels) for trial in trials])
        return round(steps * settings.batch_size * settings.seq_len / length)
