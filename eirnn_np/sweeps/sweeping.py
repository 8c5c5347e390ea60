"""Sweeps: every network of a grid with every seed, each in a run folder of its own, on all cores or on a cluster.

`sweep` starts one in a new folder, `resume_sweep` goes on with one. What is trained is a `Plan`, how one network is
trained is network.py, who trains is a `Crew` or any executor, what came of it is a `Table`.
"""

import contextlib
import json
import os
import shlex
import sys
import time
import uuid
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path

from ..checks import check_integer, check_path
from ..files import inner_folder, read_text, unsynced, write_file, write_json
from ..runs.crew import AHEAD, Crew, carry_out, cores
from ..runs.folder import environment, locked, next_run_folder, remove_leftovers
from ..runs.lines import terminal, unstoppable
from ..runs.settings import Settings
from ..runs.signals import Signals, Stopped
from ..trainer import RunError
from . import network as one
from .cluster import Cluster
from .plan import Plan, kind_of, parse_seeds
from .table import RESULTS, Table, read_sweep, succeeded

FLUSH, MOST_ROWS = 5.0, 5000  # s between two writes of results.csv, and rows that wait for it
MOST_WORKERS = 4096


def _nothing():
    pass


def sweep(
    settings=None, out=None, *, seeds=None, grid=None, executor=None, workers=None, retries=1, figures=True,
    report=print, **network,
):  # fmt: skip
    """Train a network for every point of a grid and every seed; returns the table of `read_sweep`.

    Parameters
    ----------
    settings : Settings, dict or Plan, optional
        What all networks share, but for what the grid says; the tutorial's by default. A dict has options by name, such
        as ``{"task": "song2016/rdm_dense", "omega": 2}`` of a network of the paper. A Plan says seeds and grid too.
    out : path, optional
        Folder of the sweep: new, or empty. By default the next free sweeps/sweep-NNN.
    seeds : iterable of int or str, optional
        Such as range(20) or "0:20". By default the seed of `settings` alone.
    grid : {str: list}, optional
        Values of fields of Settings or ModelConfig: a network is trained for every combination.
    executor : concurrent.futures.Executor, dask Client, or what has their ``submit``, optional
        Who trains; by default processes of this machine.
    workers : int, optional
        How many processes, where there is no executor; a core each by default.
    retries : int
        How often a network is tried again from its checkpoint when its worker dies or its files cannot be written.
    figures : bool
        Draw those of the sweep at the end.
    report : callable
        Takes a line.
    **network
        Fields of ModelConfig that all networks share.

    Raises
    ------
    ValueError
        A setting is unknown or wrong, or two of them name one folder. Nothing has been written.
    RunError
        The folder holds a sweep already or cannot be written to, or the executor takes no work.
    Stopped
        Ctrl-C or SIGTERM. `resume_sweep` goes on.
    """
    if not isinstance(settings, Plan):
        plan = _plan(Settings() if settings is None else settings, seeds, grid or {}, network)
    elif seeds is None and grid is None and not network:
        plan = settings
    else:
        raise ValueError("a Plan says which networks there are: give no seeds, grid or other settings beside it")
    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(Signals())
        _check_new(out, plan)
        crew = stack.enter_context(_crew(executor, workers, plan))
        total = plan.check()
        crew.check()
        folder = stack.enter_context(_new_folder(out))
        write_json(folder / one.PLAN, {"sweep": 1, "id": uuid.uuid4().hex, "networks": len(plan), **plan.to_dict(),
                                       **environment()})  # fmt: skip
        return _go(folder, plan, total, crew, retries, figures, report, signals)


def _plan(settings, seeds, grid, network):
    if isinstance(settings, dict):
        base, seed = {name: value for name, value in settings.items() if name != "seed"}, settings.get("seed", 0)
    else:
        default, seed = asdict(Settings()), settings.seed
        base = {name: value for name, value in asdict(settings).items()
                if value != default[name] and name != "seed" and name not in grid}  # fmt: skip
    seeds = [seed] if seeds is None else parse_seeds(seeds) if isinstance(seeds, str) else seeds
    return Plan({**base, **network}, grid, seeds)


def resume_sweep(folder, *, executor=None, workers=None, retries=1, figures=True, report=print):
    """Go on with a sweep that was stopped or killed, or some of whose networks failed; see `sweep`.

    Networks that are done are left alone, and so are those that diverged; the others go on from their checkpoints, and
    end as if nothing had happened, to the bit.
    """
    folder = check_path("folder", folder)
    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(Signals())
        plan, _ = read_plan(folder)
        crew = stack.enter_context(_crew(executor, workers, plan))
        total = plan.check()
        crew.check()
        stack.enter_context(_locked(folder, report))
        remove_leftovers(folder)
        _check_inside(folder)
        return _go(folder, plan, total, crew, retries, figures, report, signals)


def read_plan(folder):
    """(Plan, content of sweep.json) of a sweep's folder; RunError if it holds none."""
    path = Path(folder) / one.PLAN
    try:
        content = json.loads(read_text(path))
        return Plan.from_dict(content), content
    except FileNotFoundError:
        raise RunError(f"{folder} holds no sweep: it has no {one.PLAN}") from None
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise RunError(f"{path} cannot be read: {' '.join(str(error).split())}") from None


def _check_new(out, plan):
    """RunError where a folder holds a sweep already: this one, or another."""
    if out is None or not (Path(out) / one.PLAN).exists():
        return
    there, _ = read_plan(out)
    if there.to_dict() == plan.to_dict():
        raise RunError(f"{out} holds this sweep already: eirnn-np sweep --resume {out} goes on with it")
    mine, theirs = plan.to_dict(), there.to_dict()
    names = {name for part in ("base", "grid") for d in (mine, theirs) for name in d[part]}
    differs = [n for n in sorted(names) if any(mine[p].get(n) != theirs[p].get(n) for p in ("base", "grid"))]
    if mine["seeds"] != theirs["seeds"]:
        differs.append("seeds")
    raise RunError(f"{out} holds a sweep of another grid ({', '.join(differs)}): choose another folder with --out")


def _check_inside(folder):
    """RunError where a folder of a network is a link: a stranger's sweep writes nothing outside itself."""
    if (folder / "runs").is_symlink():
        raise RunError(f"{folder / 'runs'} must be a folder, and no link to one")
    with contextlib.suppress(FileNotFoundError), os.scandir(folder / "runs") as found:
        for each in found:
            if each.is_symlink():
                raise RunError(f"{each.path} must be a folder, and no link to one")


@contextlib.contextmanager
def _new_folder(out):
    try:
        folder = next_run_folder("sweeps", "sweep") if out is None else check_path("out", out)
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            taken = sorted(p.name for p in folder.iterdir() if not p.name.endswith(".tmp"))
            if taken:
                raise RunError(f"{folder} is not empty ({taken[0]}); choose another folder with --out")
            (folder / "runs").mkdir()
            yield folder
    except OSError as error:
        raise RunError(f"cannot write to the folder {out or 'sweeps'}: {error.strerror or error}") from None


@contextlib.contextmanager
def _locked(folder, report=None):
    """As `locked`, in the words of a sweep."""
    try:
        with locked(folder, report):
            yield
    except RunError as error:
        if "another process is training" not in str(error):
            raise
        raise RunError(f"another process works on the sweep {folder}: wait for it, or choose another folder") from None


class _Hands:
    """An executor as the loop of a sweep uses it.

    `ahead()` jobs may be out; `steps()` have been taken, where it is known; `stop()` ends what is out, where that can
    be; `lost()` says why no more will come back.
    """

    def __init__(self, executor, ahead, steps=None, stop=_nothing, check=_nothing, lost=_nothing, here=False):
        self.executor, self.ahead, self.steps, self.stop = executor, ahead, steps, stop
        self.check, self.lost, self.here = check, lost, here


@contextlib.contextmanager
def _crew(executor, workers, plan):
    """Whoever trains, as `_Hands`; what was made for this sweep ends with it."""
    if executor is not None and workers is not None:
        raise ValueError("workers cannot be given with an executor, which has its own")
    if executor is None:
        threads = max([options.get("threads") or 1 for _, options in plan.settings()])
        n = max(1, cores() // threads) if workers is None else check_integer("workers", workers, 1, MOST_WORKERS)
        n = min(n, len(plan))
        kinds = {(options.get("task", ""), options.get("dtype", "")): options for _, options in plan.settings()}
        try:
            crew = Crew(n, threads, one.warm, (list(kinds.values()),))
        except (OSError, ImportError) as error:  # no semaphores: /dev/shm is read-only, or full
            raise RunError(
                f"no worker processes can be started here ({getattr(error, 'strerror', None) or error}; do they have "
                "/dev/shm?): train one network at a time, or pass an executor"
            ) from None
        try:
            yield _Hands(crew, lambda: n, crew.steps, crew.stop, here=True)
        except BaseException:
            crew.kill()
            raise
        finally:
            crew.shutdown()
    elif hasattr(executor, "get_executor"):  # a dask Client
        cluster = Cluster(executor)
        try:
            yield _Hands(cluster.executor, cluster.ahead, cluster.steps, check=cluster.check,
                         lost=cluster.lost)  # fmt: skip
        finally:
            cluster.close()
    elif hasattr(executor, "submit"):
        most = getattr(executor, "_max_workers", None)
        yield _Hands(executor, lambda: 2 * most if most else AHEAD)
    else:
        raise ValueError(
            f"executor must have a submit, as those of concurrent.futures, found {type(executor).__name__}"
        )


class _Sweep:
    """A sweep that goes on: what is left of it, its table, and its progress."""

    def __init__(self, folder, plan, total, hands, report, signals):
        self.folder, self.plan, self.hands, self.report, self.signals = folder, plan, hands, report, signals
        self.table = Table(folder, plan)
        statuses = self.table.begin()
        self.done = {name for name, status in statuses.items() if succeeded(status)}
        self.count, self.unfinished, self.failed, self.fatal, self.stopped = len(self.done), 0, 0, None, False
        self.diverged = sum(status == one.DIVERGED for status in statuses.values())
        self.session = {"id": read_plan(folder)[1]["id"], "session": uuid.uuid4().hex}
        if hands.here:
            self.session["compared"] = plan.compared()
        self.bar = _bar(len(plan), self.count, total)
        self._flushed, self._short = time.monotonic(), 0

    def jobs(self):
        for each in self.plan:
            if each.name not in self.done:
                yield self._job(each)

    def _job(self, network):
        files = None
        folder = self.folder / "runs" / network.name
        if not self.hands.here and folder.is_dir():  # for a worker that does not see it
            files = one.contents(folder)
        return str(self.folder.absolute()), network, self.session, files

    def again(self, outcome):
        """Could another try help? It begins with what this one has left."""
        if outcome.value is not None:
            self._keep(outcome)
            if not outcome.value["again"] or outcome.value["fatal"]:
                return False
        outcome.job = self._job(outcome.job[1])
        return True

    def _keep(self, outcome):
        """Write the files of a worker that did not see the folder."""
        folder, files = self.folder / "runs" / outcome.job[1].name, outcome.value.pop("files", None)
        if files:
            inner_folder(folder)
            with unsynced():
                for name, content in files.items():
                    write_file(folder / name, content)

    def take(self, outcome):
        """A network has ended, one way or another: its row and its line."""
        network, result = outcome.job[1], outcome.value
        ended = isinstance(outcome.error, BrokenProcessPool) and self.stopped  # it was told to
        if ended or isinstance(outcome.error, CancelledError) or (result and result["status"] == one.STOPPED):
            self.unfinished += 1
            return
        if result is None:
            short = kind_of(network.options).steps(network.options)
            found = one.measures(self.folder / "runs" / network.name, network.options)
            result = {"status": one.FAILED, "reason": _why(outcome.error), "seconds": float("nan"), "host": "",
                      "measures": found, "short": short}  # fmt: skip
        if result.get("fatal"):
            self.fatal = self.fatal or result["reason"]
        self.table.add(network, result, outcome.attempts)
        self.failed += result["status"] == one.FAILED
        self.diverged += result["status"] == one.DIVERGED
        self.count += 1
        self._short += result["short"]
        with self.bar.external_write_mode():
            self.report(f"{self.count:,}/{len(self.plan):,} {network.name}: {_line(result)}")

    def beat(self, last=False):
        """Now and then: the bar, and the rows that wait."""
        lost = self.hands.lost()
        self.fatal = self.fatal or lost
        if self.hands.steps is not None:
            self.bar.n = min(max(self.bar.n, self.hands.steps() + self._short), self.bar.total)
        else:
            self.bar.n = min(self._short, self.bar.total)
        self.bar.set_description_str(f"{self.count:,} of {len(self.plan):,} networks", refresh=False)
        self.bar.refresh()
        if last or time.monotonic() - self._flushed >= FLUSH or self.table.waiting >= MOST_ROWS:
            self.table.flush()
            self._flushed = time.monotonic()

    def stopping(self):
        """Is it to end? The first time that it is, all that is out is told so."""
        if self.signals.caught is None and self.fatal is None:
            return False
        if not self.stopped:
            self.stopped = True
            self.hands.stop()
            with contextlib.suppress(OSError):
                write_file(self.folder / one.STOP, self.session["session"])
        return True


def _go(folder, plan, total, hands, retries, figures, report, signals):
    """Train what is left of a sweep; returns its table."""
    report = unstoppable(report)
    going = _Sweep(folder, plan, total, hands, report, signals)
    left = len(plan) - going.count
    with going.bar.external_write_mode():
        report(f"{folder}: {left:,} of {len(plan):,} networks to train")
    onwards = f"eirnn-np sweep --resume {shlex.quote(str(folder))} goes on"
    signals.wait = True
    try:
        with going.bar:
            for outcome in carry_out(hands.executor, one.train_network, going.jobs(), hands.ahead, retries,
                                     going.again, going.beat, going.stopping):  # fmt: skip
                going.take(outcome)
            going.beat(last=True)
    except OSError as error:
        raise RunError(f"cannot write to {folder}: {error.strerror or error}; what is in it is whole, and {onwards} "
                       "once it can be written") from None  # fmt: skip
    finally:
        signals.wait = False
        with contextlib.suppress(OSError):
            (folder / one.STOP).unlink(missing_ok=True)
    done = f"{going.count - going.failed:,} of {len(plan):,} networks are done"
    if going.diverged:
        done += f", {going.diverged:,} of them diverged"
    if signals.caught is not None:
        raise Stopped(f"stopped: {done}; {onwards}", 128 + signals.caught)
    if going.fatal is not None or going.unfinished:
        raise RunError(f"{going.fatal or 'the executor has cancelled networks'}: {done}; {onwards}")
    going.table.finish()
    if figures:
        from .pictures import draw_sweep

        draw_sweep(folder, plan)
    report(f"{done}{f', {going.failed:,} failed (their reasons are in {RESULTS}; {onwards})' if going.failed else ''}")
    report(f"Files in {folder}{os.sep}")
    return read_sweep(folder)


def _bar(networks, done, total):
    """The progress bar, in steps, on a terminal."""
    from tqdm import tqdm

    return tqdm(total=round(total * (1 - done / networks)), unit=" steps", unit_scale=True, leave=False,
                file=sys.stderr, disable=not terminal(), desc=f"{done:,} of {networks:,} networks",
                bar_format="{desc} |{bar}| {rate_noinv_fmt}, {remaining} left")  # fmt: skip


def _line(result):
    """What became of a network, in a line."""
    found = result["measures"]
    if result["status"] != one.DONE:
        at = f" after {found['steps']:,} steps" if "steps" in found else ""
        return f"{result['status']}{at}: {result['reason']}"
    accuracy = f"accuracy {found['accuracy']:.3f} ({found['accuracy_low']:.3f} - {found['accuracy_high']:.3f})"
    text = f"{accuracy}, loss {found['final_loss']:.4f}, {found['steps']:,} steps, {result['seconds']:.1f} s"
    if "trials_to_criterion" in found:
        return f"{text}, criterion after {found['trials_to_criterion']:,} trials"
    return f"{text}, criterion not met" if "best" in found else text


def _why(error):
    """Why a worker gave nothing back."""
    if isinstance(error, BrokenProcessPool) or type(error).__name__ == "KilledWorker":
        return "its worker died (killed, or out of memory)"
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
