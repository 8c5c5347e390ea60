"""Sweeps: every network is the run that `train` would make of its options, whoever trains it and whatever happens."""

import csv
import json
import math
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest

import eirnn_np as ei
from eirnn_np.cli import main
from eirnn_np.runs import crew
from eirnn_np.sweeps import Plan, network, pictures
from eirnn_np.sweeps.plan import parse_grid, parse_seeds, seeds_text
from eirnn_np.tasks import batches

ROOT = Path(ei.__file__).parent.parent
SMALL = {"steps": 30, "batch_size": 3, "seq_len": 20, "trials": 30, "checkpoint_every": 20}
GRID = {"lr": [0.001, 0.01]}
SEEDS = [4, 7, 11]


class Here(Executor):
    """Does what it is asked in this process, at once."""

    def submit(self, function, /, *args, **kwargs):
        future = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def sweep(folder, **changes):
    how = {
        "seeds": SEEDS,
        "grid": GRID,
        "executor": Here(),
        "figures": False,
        "report": lambda line: None,
        "n_hidden": 7,
    }
    how |= changes
    settings = how.pop("settings", SMALL)
    return ei.sweep(ei.Settings(**settings), folder, **how)


def files(folder):
    """{name: bytes} of the run folders of a sweep."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted((folder / "runs").rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A sweep that nothing happened to."""
    folder = tmp_path_factory.mktemp("sweeps") / "whole"
    sweep(folder, figures=True)
    return folder


def test_each_network_is_the_run_that_train_makes_of_its_options(whole, tmp_path):
    alone = tmp_path / "alone"
    options = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]
    assert (
        main(["train", "-q", *options, "--hidden=7", "--lr=0.01", "--seed=7", "--no-figures", "--out", str(alone)]) == 0
    )
    found = {p.name: p.read_bytes() for p in (whole / "runs" / "lr=0.01__seed=7").iterdir()}
    assert found == {p.name: p.read_bytes() for p in alone.iterdir()}
    assert {"config.json", "params.safetensors", "checkpoint.safetensors", "loss.csv", "evaluation.json"} <= set(found)


def test_the_table_says_what_the_runs_say(whole):
    table = ei.read_sweep(whole)
    assert table["run"].tolist() == [f"lr={lr}__seed={seed}" for lr in GRID["lr"] for seed in SEEDS]
    assert table["seed"].tolist() == SEEDS * 2
    assert table["seed"].dtype == table["steps"].dtype == np.int64
    assert table["lr"].tolist() == [0.001] * 3 + [0.01] * 3
    assert set(table["status"]) == {"done"}
    for k, name in enumerate(table["run"]):
        run = whole / "runs" / name
        with (run / "loss.csv").open() as file:
            losses = [float(row["loss"]) for row in csv.DictReader(file)]
        assert table["steps"][k] == len(losses) == SMALL["steps"]
        assert math.isclose(table["final_loss"][k], sum(losses[-3:]) / 3, rel_tol=1e-14)
        said = json.loads((run / "evaluation.json").read_text())
        assert table["accuracy"][k] == said["performance"]["n_correct"] / SMALL["trials"]
        assert [table["accuracy_low"][k], table["accuracy_high"][k]] == said["performance"]["interval_95"]
        assert table["accuracy_in_stream"][k] == said["performance_in_stream"]["accuracy"]
    assert np.isnan(table["trials_to_criterion"]).all()
    assert (table["attempts"] == 1).all()
    assert (table["seconds"] > 0).all()


def test_pictures(whole):
    assert {p.name for p in (whole / "figures").iterdir()} == {"learning_curves.png", "performance.png"}


def test_a_curve_has_the_means_of_its_steps_and_ends_where_the_network_does(tmp_path):
    for name, n in (("a", 250), ("b", 97)):
        (tmp_path / "runs" / name).mkdir(parents=True)
        rows = "".join(f"{k},{float(k)}\n" for k in range(1, n + 1))
        (tmp_path / "runs" / name / "loss.csv").write_text("step,loss\n" + rows)
    steps, losses = pictures._curves(tmp_path, {"run": ["a", "b", "lost"]}, [0, 1, 2])
    assert losses.shape == (2, 84)
    assert losses[0, :2].tolist() == [2.0, 5.0]
    assert losses[0, -1] == 250.0
    assert np.isfinite(losses[1]).sum() == 32  # whole bins of three
    assert steps[0] == 1.5


@pytest.mark.parametrize(("low", "high"), [(0.08, 1.1), (0.31, 0.42), (0.004, 7.0), (0.9, 1.2)])
def test_the_axis_of_a_learning_curve_has_several_numbers(low, high):
    losses = np.geomspace(high, low, 40)[None]
    ax = pictures.learning_curves([(np.arange(40), losses)], ["lr 0.1"]).axes[0]
    ax.figure.canvas.draw()
    bottom, top = ax.get_ylim()
    shown = [tick.get_text() for value, tick in zip(ax.get_yticks(), ax.get_yticklabels()) if bottom <= value <= top]
    assert len(set(shown)) == len(shown) >= 3
    assert all(float(text) > 0 for text in shown)


def test_the_heat_map_has_a_mean_in_each_cell():
    groups = [np.array(values) for values in ([0.25, 0.75], [1.0], [np.nan], [0.5, np.nan], [0.0], [0.125])]
    figure = pictures.heat_map(groups, (3, 2), ("lr", "sigma_rec"), ([1, 2, 3], [4, 5]), "accuracy")
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["0.500", "1.000", "–", "0.500", "0.000", "0.125"]
    assert axes.images[0].get_array().filled(-1).tolist() == [[0.5, 1.0], [-1.0, 0.5], [0.0, 0.125]]


def test_sweep_json_is_the_plan(whole):
    content = json.loads((whole / "sweep.json").read_text())
    assert content["networks"] == 6
    assert (content["grid"], content["seeds"]) == (GRID, "4,7,11")
    assert content["base"] == {**SMALL, "n_hidden": 7}
    assert content["versions"]["eirnn-np"]


def test_processes_of_its_own_give_the_same_bytes_and_the_lines_say_how_it_goes(whole, tmp_path):
    lines = []
    table = sweep(tmp_path / "s", executor=None, workers=2, report=lines.append)
    assert files(tmp_path / "s") == files(whole)
    assert table["run"].tolist() == ei.read_sweep(whole)["run"].tolist()  # in the order of the grid again
    assert sum("/6 lr=" in line for line in lines) == 6
    assert any("6 of 6 networks are done" in line for line in lines)


def test_a_network_that_diverges_is_a_row_and_is_not_tried_again(tmp_path):
    table = sweep(tmp_path / "s", seeds=[1, 2], grid={"lr": [0.001, 1e30]})
    assert table["status"].tolist() == ["done", "done", "diverged", "diverged"]
    assert table["attempts"].tolist() == [1, 1, 1, 1]
    assert all("training diverged" in reason for reason in table["reason"][2:])
    assert np.isnan(table["accuracy"][2:]).all()
    assert (table["steps"][2:] < SMALL["steps"]).all()
    again = ei.resume_sweep(tmp_path / "s", executor=Here(), report=lambda line: None)
    assert again["seconds"].tolist() == table["seconds"].tolist()  # nothing was done


class Dies(Here):
    """A worker that is killed the first `times` that it gets the network `name`, after it has begun."""

    def __init__(self, name, times):
        self.name, self.times = name, times

    def submit(self, function, /, *args, **kwargs):
        if args[1].name == self.name and self.times:
            self.times -= 1
            future = Future()
            future.set_exception(BrokenProcessPool("killed"))
            return future
        return super().submit(function, *args, **kwargs)


def test_a_worker_that_dies_takes_no_network_with_it(whole, tmp_path):
    table = sweep(tmp_path / "s", executor=Dies("lr=0.001__seed=7", 1))
    assert files(tmp_path / "s") == files(whole)
    assert table["attempts"].tolist() == [1, 2, 1, 1, 1, 1]
    assert set(table["status"]) == {"done"}


def test_a_worker_that_is_killed_in_mid_run_is_replaced_and_its_network_goes_on(tmp_path):
    settings, lines = {**SMALL, "steps": 4000, "checkpoint_every": 100}, []
    folder = tmp_path / "s" / "runs" / "seed=4"

    def kill():
        while not (folder / "checkpoint.previous.safetensors").exists():
            time.sleep(0.01)
        for child in multiprocessing.active_children():
            os.kill(child.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    table = sweep(tmp_path / "s", settings=settings, seeds=[4], grid={}, executor=None, workers=1, report=lines.append)
    assert (table["status"][0], table["attempts"][0]) == ("done", 2)
    alone = ei.run(
        ei.Settings(**settings, seed=4), tmp_path / "alone", figures=False, report=lambda line: None, n_hidden=7
    )
    for name in ("params.safetensors", "checkpoint.safetensors", "loss.csv", "evaluation.json", "config.json"):
        assert (folder / name).read_bytes() == (alone / name).read_bytes(), name


def test_a_network_whose_workers_all_die_is_a_row_and_the_next_session_tries_it_again(whole, tmp_path):
    said = []
    table = sweep(tmp_path / "s", executor=Dies("lr=0.01__seed=4", 99), retries=2, report=said.append)
    assert table["status"].tolist() == ["done"] * 3 + ["failed"] + ["done"] * 2
    assert (table["attempts"][3], table["reason"][3]) == (3, "its worker died (killed, or out of memory)")
    assert "1 failed" in said[-2]
    table = ei.resume_sweep(tmp_path / "s", executor=Here(), report=said.append)
    assert set(table["status"]) == {"done"}
    assert files(tmp_path / "s") == files(whole)


def test_it_goes_on_after_a_kill_at_any_place(whole, tmp_path):
    """A line cut short, a network without its row, one that was stopped half way, one that had only its folder."""
    folder = tmp_path / "s"
    shutil.copytree(whole, folder)
    lines = (folder / "results.csv").read_text().splitlines(keepends=True)
    (folder / "results.csv").write_text("".join(lines[:3]) + lines[3][:40])
    runs = folder / "runs"
    half = runs / "lr=0.01__seed=4"
    shutil.rmtree(half)
    ticks = []

    def stop(k, loss):
        ticks.append(k)
        if k == 23:
            raise ei.runs.Stopped("now")

    with pytest.raises(ei.runs.Stopped):
        ei.run(
            ei.Settings(**SMALL, lr=0.01, seed=4),
            half,
            figures=False,
            report=lambda line: None,
            on_step=stop,
            n_hidden=7,
        )
    assert ticks == list(range(1, 24))
    shutil.rmtree(runs / "lr=0.01__seed=7")
    (runs / "lr=0.01__seed=7").mkdir()
    shutil.rmtree(runs / "lr=0.01__seed=11")
    before = ei.read_sweep(folder)
    assert len(before["run"]) == 2
    table = ei.resume_sweep(folder, executor=Here(), report=lambda line: None)
    assert table["run"].tolist() == ei.read_sweep(whole)["run"].tolist()
    expected, found = files(whole), files(folder)
    # The one that was stopped has a previous checkpoint from where it was stopped.
    assert {n: b for n, b in found.items() if "previous" not in n} == {
        n: b for n, b in expected.items() if "previous" not in n
    }


def test_a_run_whose_files_are_lost_beyond_repair_is_made_anew(whole, tmp_path):
    folder = tmp_path / "s"
    shutil.copytree(whole, folder)
    (folder / "results.csv").unlink()
    for name in ("checkpoint.safetensors", "checkpoint.previous.safetensors"):
        (folder / "runs" / "lr=0.01__seed=4" / name).write_bytes(b"")
    ei.resume_sweep(folder, executor=Here(), report=lambda line: None)
    assert files(folder) == files(whole)


def test_results_travel_back_where_the_folder_is_not_seen(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(network, "sees", lambda *_: False)
    table = sweep(tmp_path / "s")
    assert set(table["status"]) == {"done"}
    assert files(tmp_path / "s") == files(whole)


def test_stopped_it_keeps_what_there_is_and_goes_on(whole, tmp_path, monkeypatch):
    """The session's stop file, as a worker of any executor sees it."""
    folder, real, seen = tmp_path / "s", network.train_network, []

    def train(sweep, each, session, given=None):
        seen.append(each.name)
        if len(seen) == 3:
            (folder / ".stop").write_text(session["session"])
        return real(sweep, each, session, given)

    monkeypatch.setattr(network, "train_network", train)
    with pytest.raises(ei.RunError, match=r"2 of 6 networks are done; eirnn-np sweep --resume \S+ goes on"):
        sweep(folder)
    assert len(ei.read_sweep(folder)["run"]) == 2
    assert not (folder / ".stop").exists()
    monkeypatch.undo()
    ei.resume_sweep(folder, executor=Here(), report=lambda line: None)
    ours, theirs = files(folder), files(whole)
    assert {n: b for n, b in ours.items() if "previous" not in n} == {
        n: b for n, b in theirs.items() if "previous" not in n
    }


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--grid", "lr"], "a grid is NAME=VALUE,VALUE,"),
        (["--grid", "lr="], "a grid is NAME=VALUE,VALUE,"),
        (["--grid", "=1"], "a grid is NAME=VALUE,VALUE,"),
        (["--grid", "lr=1,,2"], "the values of a grid"),
        (["--grid", "env_kwargs={"], "the values of a grid"),
        (["--grid", "lr=NaN"], "plain values"),
        (["--grid", "lrr=1,2"], "unknown setting 'lrr'; did you mean lr?"),
        (["--grid", "sigma=1"], "or sigma_rec?"),
        (["--grid", "lr=1e-3,0.001"], "two settings of lr name one folder (0.001): 0.001 and 0.001"),
        (["--grid", "n_hidden=10,10"], "name one folder"),
        (["--grid", "lr=0.1", "--grid", "lr=0.2"], "--grid lr is given twice"),
        (["--grid", "lr=0.1", "--lr", "0.2"], "lr is given twice"),
        (["--grid", "lr=0.1,-1"], "lr must be a number above 0, found -1.0 (in lr=-1.0)"),
        (["--grid", "hidden=10,many"], "n_hidden must be an integer"),
        (["--grid", "seed=1,2"], "given by seeds"),
        (["--grid", "algorithm=bptt,backprop"], "algorithm must be"),
        (["--seeds", "20"], "0:20 for 20 seeds"),
        (["--seeds", "5:5"], "are none"),
        (["--seeds", "1,x"], "seeds must be such as"),
        (["--seeds", "1,1"], "two settings of seeds name one folder"),
        (["--seeds=-1,2"], "seeds must be an integer"),
        (["--task", "PerceptualDecisionMaking"], "unknown task"),
        (["--task", "song2016/rdm_dens"], "no task 'rdm_dens' of the paper: did you mean rdm_dense?"),
        (["--task", "song2016/rdm_dense", "--steps", "5"], "unknown setting 'steps' of a network of the paper"),
        (["--task", "song2016/rdm_dense", "--grid", "omega=1,-1"], "omega must be a number at least 0, found -1.0 (in"),
        (["--grid", "task=song2016/rdm_dense,my:own"], "tasks of the paper (song2016/...) and others are two sweeps"),
        (["--grid", "dtype=float16"], "dtype must be"),
        (["--max-trials", "40"], "unknown setting 'max_trials'"),
        (["--workers", "0"], "workers must be an integer from 1"),
        (["--workers", "2", "--scheduler", "tcp://h:1"], "those of a scheduler are its own"),
        (["--scheduler", "tcp://h:1", "--scheduler-file", "f"], "give one of them"),
        (["--scheduler-file", "no/such/file"], "cannot read the scheduler file no/such/file: No such file"),
        (["--resume", "nowhere"], "nowhere holds no sweep: it has no sweep.json"),
        (["--resume", "nowhere", "--lr", "1"], "--lr cannot be given with --resume"),
        (["--resume", "nowhere", "--grid", "lr=1"], "--grid cannot be given with --resume"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_made(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["sweep", *arguments]) in (1, 2)
    out, err = capsys.readouterr()
    assert says in err
    assert (err.count("\n"), out) == (1, "")
    assert not list(tmp_path.iterdir())


def test_a_folder_of_something_else_is_refused(whole, tmp_path, capsys):
    folder = str(whole)
    before = files(whole)
    common = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()] + ["--hidden=7", "--out", folder]
    assert main(["sweep", *common, "--grid", "lr=0.001,0.01", "--seeds", "4,7,11"]) == 1
    assert f"holds this sweep already: eirnn-np sweep --resume {folder} goes on" in capsys.readouterr().err
    assert main(["sweep", *common, "--grid", "lr=0.001,0.02", "--seeds", "4,7"]) == 1
    assert "holds a sweep of another grid (lr, seeds)" in capsys.readouterr().err
    (tmp_path / "thesis.tex").write_text("words")
    assert main(["sweep", *common[:-1], str(tmp_path)]) == 1
    assert "is not empty (thesis.tex)" in capsys.readouterr().err
    assert (tmp_path / "thesis.tex").read_text() == "words"
    assert files(whole) == before


def test_networks_of_the_paper_go_the_same_way(tmp_path, monkeypatch):
    """Each is the folder that `eirnn-np paper` makes; stopped at a step, it goes on to the same bytes."""
    from eirnn_np import song2016
    from eirnn_np.song2016 import evaluation

    measured, quiet = evaluation.measure, {"threads": 1, "report": lambda line: None}
    few = lambda task, params, seed, **how: measured(task, params, seed, dt=20.0, repeats=4)  # noqa: E731
    monkeypatch.setattr(evaluation, "measure", few)
    folder, task = tmp_path / "s", "song2016/rdm_nodale"
    settings = {"task": task, "max_trials": 60}
    table = ei.sweep(settings, folder, seeds=[3], grid={"omega": [0, 2]}, executor=Here(), report=lambda line: None)
    assert table["run"].tolist() == ["omega=0.0__seed=3", "omega=2.0__seed=3"]
    assert table["status"].tolist() == ["done", "done"]
    for omega, name, k in zip((0.0, 2.0), table["run"], range(2)):
        alone = tmp_path / name
        song2016.train("rdm_nodale", song2016.Plan(seed=3, omega=omega, max_trials=60), alone, **quiet)
        for file in ("params.safetensors", "best.safetensors", "validation.csv", "loss.csv"):
            assert (folder / "runs" / name / file).read_bytes() == (alone / file).read_bytes(), file
        run = song2016.read_run(folder / "runs" / name)
        found = json.loads((run.folder / "evaluation.json").read_text())
        assert table["steps"][k] * 20 == run.result["trials"] == 60
        assert table["accuracy"][k] == found["performance"]["percent_correct"] / 100
        assert table["accuracy_low"][k] < table["accuracy"][k] < table["accuracy_high"][k]
        assert table["best"][k] == run.result["best"]["performance"]
    assert np.isnan(table["trials_to_criterion"]).all()
    assert {p.name for p in (folder / "figures").iterdir()} == {"learning_curves.png", "performance.png"}
    for name in ("checkpoint.safetensors", "checkpoint.previous.safetensors"):
        (folder / "runs" / "omega=2.0__seed=3" / name).write_bytes(b"")
    (folder / "results.csv").unlink()
    ei.resume_sweep(folder, executor=Here(), figures=False, report=lambda line: None)
    again = folder / "runs" / "omega=2.0__seed=3" / "params.safetensors"
    assert again.read_bytes() == (tmp_path / "omega=2.0__seed=3" / "params.safetensors").read_bytes()
    assert (folder / "results.csv").read_text().count(",done,") == 2


def test_a_stop_ends_what_has_not_come_to_a_step(tmp_path):
    with crew.Crew(1) as one:
        future = one.submit(time.sleep, 100)
        one.stop()
        assert isinstance(future.exception(), BrokenProcessPool)


def test_a_worker_need_not_compare_with_neurogym_what_has_been(monkeypatch):
    plan = Plan(
        {"batch_size": 3}, {"lr": [0.1, 0.2], "task": ["PerceptualDecisionMaking-v0", f"{__name__}:trial"]}, [1]
    )
    found = plan.compared()
    assert [(task, size) for task, _, size in found] == [("PerceptualDecisionMaking-v0", 3)]
    monkeypatch.setattr(batches, "_passed", set())
    monkeypatch.setattr(batches, "_told", set())
    monkeypatch.setattr(batches.replay, "self_check", lambda *_: "they differ")
    settings = ei.Settings(batch_size=3)
    _, settings = ei.runs.model_config(settings)
    arguments = settings.task, 3, 20, settings.training_stream, settings.env_kwargs
    with pytest.warns(UserWarning, match="they differ"):
        assert ei.make_batches(*arguments).source == "neurogym"
    batches.tell_replay_passed(found)
    assert ei.make_batches(*arguments).source == "compiled"


def trial(rng):
    label = int(rng.integers(2)) + 1
    return ei.Trial(rng.normal(size=(6, 2)) + label, np.array([0] * 5 + [label]), {}, {})


SCRIPT = """
import sys
import eirnn_np as ei

small = ei.Settings(steps=5, batch_size=2, seq_len=9, trials=5)
table = ei.sweep(small, sys.argv[1], seeds=[0, 1], workers=2, figures=False, report=lambda line: None, n_hidden=5)
print(*table["status"])
"""  # no main guard


def test_a_script_needs_no_main_guard(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "s")]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert (done.returncode, done.stdout, done.stderr) == (0, "done done\n", "")


def test_an_executor_that_takes_no_work_is_refused(tmp_path):
    with pytest.raises(ValueError, match="executor must have a submit"):
        sweep(tmp_path / "s", executor=3)


@pytest.mark.parametrize("text", ["0:1", "0:20", "5:50:5", "3,9,2", "0:3,10:13", "7:8"])
def test_seeds_read_back(text):
    seeds = parse_seeds(text)
    assert parse_seeds(seeds_text(seeds)) == seeds
    assert len(set(seeds)) == len(seeds)


def test_a_grid_is_read_as_json_or_as_words():
    assert parse_grid("lr=0.001,1e-2,.5") == ("lr", [0.001, 0.01, 0.5])
    assert parse_grid("dynamics=song2016,brainpy") == ("dynamics", ["song2016", "brainpy"])
    assert parse_grid("--sigma-rec=0,0.1") == ("sigma_rec", [0, 0.1])
    assert parse_grid('task-kwargs={"sigma": 1},{"sigma": 2}') == ("env_kwargs", [{"sigma": 1}, {"sigma": 2}])
    assert parse_grid("truncation=null,3") == ("truncation", [None, 3])


def test_options_may_be_spelled_as_the_command_has_them():
    assert (
        Plan({"task_kwargs": None}, {"hidden": [5, 7]}).to_dict()
        == Plan({"env_kwargs": None}, {"n_hidden": [5, 7]}).to_dict()
    )
    with pytest.raises(ValueError, match="hidden and n_hidden are one setting"):
        Plan({}, {"hidden": [5], "n_hidden": [6]})
    with pytest.raises(ValueError, match="n_hidden is given twice"):
        Plan({"n_hidden": 5}, {"hidden": [6]})


def test_names_of_folders():
    plan = Plan({"steps": 5}, {"lr": [1, 0.5], "env_kwargs": [{"sigma": 1}, {}], "task": ["a/b", "c d"]}, [3])
    names = [each.name for each in plan]
    assert names[0] == "lr=1.0__env_kwargs=1__task=a-b__seed=3"
    assert names[-1] == "lr=0.5__env_kwargs=2__task=2__seed=3"
    assert len(set(names)) == len(plan) == 8
    assert all("/" not in name and "," not in name for name in names)
    assert next(iter(plan)).options == {"steps": 5, "lr": 1.0, "env_kwargs": {"sigma": 1}, "task": "a/b", "seed": 3}
