"""Training as the paper has it: networks at the start, the update against torch, resuming, folders, learning."""

import json
import shutil
import signal
from dataclasses import replace

import numpy as np
import pytest

import eirnn_np as ei
from eirnn_np import song2016
from eirnn_np.connectivity import spectral_radius
from eirnn_np.song2016 import structures
from eirnn_np.song2016 import training as song2016_training
from eirnn_np.song2016.folder import folder_of
from eirnn_np.song2016.tasks import TASKS

NAMES = list(TASKS)


def small(name="rdm_dense", units=12, **changes):
    """rdm_dense with few units and trials."""
    return replace(
        TASKS[name], structure=lambda: structures.dense(2, units), **{"batch_size": 3, "rounds": 2, **changes}
    )


# --- networks at the start ---


@pytest.mark.parametrize("name", NAMES)
def test_the_network_at_the_start(name):
    """Spectral radius, signs, zeros, ranges; nothing connects to itself; biases 0, x_0 0.1."""
    task = TASKS[name]
    config, c = task.config, task.connectivity
    params = task.init_params(7, "float64")
    w_in, w_rec, w_out = (ei.effective_weights(config, params, which) for which in ("w_in", "w_rec", "w_out"))
    E = config.n_exc
    assert spectral_radius(w_rec) == pytest.approx(1.1 if name == "rdm_nodale" else 1.5, rel=1e-9)
    assert not w_rec.diagonal().any()
    assert (params.x0 == 0.1).all()
    assert not params.b_in.any()
    assert not params.b_rec.any()
    assert not params.b_out.any()
    assert ((w_rec != 0) == (c.c_rec != 0)).all()
    assert ((w_in != 0) == (c.c_in != 0)).all()
    if name == "rdm_nodale":
        assert (w_rec < 0).any(axis=0).all()
        assert (w_rec > 0).any(axis=0).all()
        assert config.readout == "all"
        values = w_rec[c.c_rec != 0]
        assert abs(values.mean() / values.std()) < 4 / np.sqrt(values.size)
    else:
        assert (w_rec[:, :E] >= 0).all()
        assert (w_rec[:, E:] <= 0).all()
        assert (w_in >= 0).all()
        assert (w_out[:, :E] >= 0).all()
        drawn = (params.w_rec / np.where(c.c_rec > 0, c.c_rec, 1))[c.c_rec > 0]  # Gamma of shape 2: cv 1 / sqrt 2
        assert drawn.std() / drawn.mean() == pytest.approx(0.5**0.5, abs=0.05)
        if name != "lee":
            np.testing.assert_allclose(np.linalg.norm(c.c_rec, axis=1), 1)
    assert np.abs(params.w_in).max() < 0.1
    assert np.abs(params.w_out).max() < 0.1
    assert np.abs(params.w_out).max() > 0.08
    assert config.readout == ("all" if name in ("rdm_nodale", "lee") else "excitatory")
    if name == "rdm_dense":
        again, other = task.init_params(7, "float64"), task.init_params(8, "float64")
        assert again.flat.tobytes() == params.flat.tobytes() != other.flat.tobytes()


def test_structures_by_the_table():
    """rdm_fixed, mante_areas, multisensory, romo, lee: who reaches whom, unit by unit."""
    fixed, areas, thirds, sparse, lee = (TASKS[n].connectivity for n in
                                         ("rdm_fixed", "mante_areas", "multisensory", "romo", "lee"))  # fmt: skip

    def kind(i):
        return "IN" if i < 20 else "OUT" if i < 40 else "NS" if i < 80 else "I"

    allowed = {
        "IN": {"IN", "NS", "I"},
        "OUT": {"OUT", "NS", "I"},
        "NS": {"IN", "OUT", "NS", "I"},
        "I": {"IN", "OUT", "NS", "I"},
    }
    for i in range(100):
        for j in range(100):
            assert (fixed.c_rec[i, j] > 0) == (i != j and kind(j) in allowed[kind(i)])
        assert fixed.c_in[i].tolist() == [kind(i) == "IN", kind(i) == "OUT"]
        assert fixed.c_out[:, i].tolist() == [kind(i) == "IN", kind(i) == "OUT"]
        excitation = np.count_nonzero(fixed.c_rec[i, :80])
        np.testing.assert_allclose(fixed.c_rec[i, 80 if i != 80 else 81] / fixed.c_rec[i, :80].max(), excitation / 20)

    def area(i):
        return ("E" if i < 120 else "I") + ("S" if i < 60 or 120 <= i < 135 else "M")

    receive = {"ES": {"ES": 1, "EM": 0.2, "IS": 1}, "EM": {"ES": 1, "EM": 1, "IM": 1},
               "IS": {"ES": 1, "EM": 0.2, "IS": 1}, "IM": {"ES": 1, "EM": 1, "IM": 1}}  # fmt: skip
    for to, rules in receive.items():
        rows = [i for i in range(150) if area(i) == to]
        for one in receive:
            block = areas.c_rec[np.ix_(rows, [j for j in range(150) if area(j) == one])] > 0
            p = rules.get(one, 0)
            n = block.size - (len(rows) if to == one else 0)
            assert abs(block.sum() / n - p) <= (0 if p in (0, 1) else 4 * np.sqrt(p * (1 - p) / n))
    for i in range(150):
        assert areas.c_in[i].all() == (area(i)[1] == "S")
        assert areas.c_in[i].any() == (area(i)[1] == "S")
        assert areas.c_out[:, i].tolist() == [float(area(i) == "EM")] * 2
        third = 0 if i < 40 or 120 <= i < 130 else 1 if i < 80 or 130 <= i < 140 else 2
        assert thirds.c_in[i].tolist() == [[1, 0, 1, 0, 0], [0, 1, 0, 1, 0], [0] * 5][third]
    assert not thirds.c_in[:, 4].any()
    for part, p in ((sparse.c_rec[:, :400], 0.1), (sparse.c_rec[:, 400:], 0.5)):
        assert abs((part > 0).mean() - p) < 4 * np.sqrt(p * (1 - p) / part.size) + p / 500
    np.testing.assert_allclose(sparse.c_rec[:, :400].sum(axis=1), sparse.c_rec[:, 400:].sum(axis=1))
    mask = TASKS["lee"].config.mask_out
    assert (mask[:, :160] == 1).all()
    assert (mask[:, 160:] == -1).all()
    assert lee.c_out.all()


# --- the update ---


@pytest.mark.parametrize("name", ["dense", "nodale", "all_read"])
def test_fifty_updates_are_torch_s(name):
    """Gradient, Omega, clip over all trained tensors, in float64: the parameters stay equal to 1e-10."""
    import song2016_torch
    import torch

    build = {"dense": lambda: structures.dense(2, 12), "nodale": lambda: structures.no_dale(2, 11),
             "all_read": lambda: structures.all_read(2, 13)}[name]  # fmt: skip
    epochs = [replace(e, duration=d) for e, d in zip(TASKS["rdm_dense"].epochs, (60, 200, 100))]
    catch = song2016.Catch(0.3, 300)
    task = replace(
        TASKS["rdm_dense"], structure=build, batch_size=3, epochs=epochs, catch=catch, train_x0=name != "all_read"
    )
    training = song2016.Training(task, song2016.Plan(seed=5, dtype="float64"), threads=1)
    config, params = training.config, training.trainer.params
    params.w_out = (60 if name == "nodale" else 12) * params.w_out  # the first gradients are clipped
    which = ("w_in", "w_rec", "w_out", "x0")
    theta = {key: torch.tensor(np.array(getattr(params, key))) for key in which}
    masks = {key: torch.tensor(np.array(mask)) for key, mask in
             (("w_in", config.mask_in), ("w_rec", config.mask), ("w_out", config.mask_out))}  # fmt: skip
    clipped = 0
    for k in range(50):
        batch = [torch.tensor(np.asarray(array, np.float64)) for array in task.batch(5, k)]
        size = 5, k, *batch[2].shape, "float64"
        noise, drawn = (torch.tensor(make(config, *size)) for make in (ei.recurrent_noise, ei.input_noise))
        theta, loss, omega, norm = song2016_torch.update(
            theta, masks, batch, noise, drawn, alpha=0.2, baseline=0.2, omega=2.0, lr=0.01, clip=1.0,
            dale=name != "nodale", trained=None if task.train_x0 else which[:3],
        )  # fmt: skip
        assert training.step() == pytest.approx(loss, rel=1e-10)
        clipped += norm > 1
        assert omega > 0
        for key in which:
            ours, theirs = getattr(params, key), theta[key].numpy()
            assert np.abs(ours - theirs).max() <= 1e-10 * max(np.linalg.norm(theirs), 1e-3), (k, key)
    assert 0 < clipped < 50
    assert not training.safeguards


@pytest.mark.parametrize(("name", "factor"), [("mante", 1e4), ("lee", 1e5)])
def test_an_update_at_full_size_is_torch_s(name, factor):
    """All time steps, trials and units of the paper, in float32, with an Omega that is not drowned by the loss."""
    import song2016_torch
    import torch

    task = TASKS[name]
    training = song2016.Training(task, song2016.Plan(seed=3, omega=factor), threads=1)
    config, params = training.config, training.trainer.params
    params.w_rec = params.w_rec * np.float32(0.6)
    which = ("w_in", "w_rec", "w_out", "x0")
    theta = {key: torch.tensor(np.array(getattr(params, key), np.float64)) for key in which}
    masks = {key: torch.tensor(np.array(mask)) for key, mask in
             (("w_in", config.mask_in), ("w_rec", config.mask), ("w_out", config.mask_out))}  # fmt: skip
    batch = [torch.tensor(np.asarray(array, np.float64)) for array in task.batch(3, 0)]
    size = 3, 0, *batch[2].shape, "float32"
    noise, drawn = (torch.tensor(make(config, *size)).double() for make in (ei.recurrent_noise, ei.input_noise))
    (new, loss, *_), (without, *_) = (
        song2016_torch.update(
            theta, masks, batch, noise, drawn, alpha=0.2, baseline=0.2, omega=omega, lr=0.01, clip=1.0,
            trained=None if task.train_x0 else which[:3],
        ) for omega in (factor, 0.0)
    )  # fmt: skip
    assert training.step() == pytest.approx(loss, rel=1e-4)

    def far(a, b):
        return float(torch.linalg.vector_norm(a - b))

    for key in which:
        moved = far(new[key], theta[key])
        off = far(torch.tensor(np.array(getattr(params, key), np.float64)), new[key])
        rounding = 1e-7 * float(torch.linalg.vector_norm(theta[key]))
        assert off <= 2e-3 * moved + rounding, (key, off, moved)
    assert far(new["w_rec"], without["w_rec"]) > 0.02 * far(new["w_rec"], theta["w_rec"])


@pytest.mark.parametrize("size", [1e6, 1e200])
def test_the_safeguard_shrinks_theta_rec_alone(size):
    """A norm above 1e10, or none: theta_rec loses 2 % of the learning rate, nothing else moves, the step counts."""
    training = song2016.Training(small(), song2016.Plan(dtype="float64"), threads=1)
    params = training.trainer.params
    params.w_rec = params.w_rec * size
    before = params.copy()
    training.step()
    assert training.safeguards == training.k == training.trainer.k == 1
    np.testing.assert_allclose(params.w_rec, before.w_rec * (1 - 0.01 * 0.02), rtol=1e-14)
    for key in ("w_in", "w_out", "x0", "b_in", "b_rec", "b_out"):
        assert getattr(params, key).tobytes() == getattr(before, key).tobytes()
    training.step()
    assert training.k == 2


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a timer in a finaliser: no step there
def test_a_loop_of_ones_own_goes_on_to_the_bit_after_ctrl_c(monkeypatch):
    """At random moments, with the safeguard acting in half of the updates, and a check every eight."""
    monkeypatch.setattr(song2016_training, "LARGEST", 0.3)
    task = small(check_every=24)
    plan = song2016.Plan(seed=4, max_trials=600)

    def ended(training, interrupted):
        while not training.over:
            if interrupted:
                signal.setitimer(signal.ITIMER_REAL, float(rng.uniform(2e-5, 2e-3)))
            training.check() if training.due else training.step()
        return training

    def ctrl_c(*_):
        raise KeyboardInterrupt

    rng, before = np.random.default_rng(0), signal.signal(signal.SIGALRM, ctrl_c)
    whole = ended(song2016.Training(task, plan, threads=1), False)
    assert 20 < whole.safeguards < 180
    training, interruptions = song2016.Training(task, plan, threads=1), 0
    try:
        while not training.over:
            try:
                ended(training, True)
            except KeyboardInterrupt:
                interruptions += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert interruptions > 8
    assert training.losses == whole.losses
    assert (training.k, training.trainer.k, training.safeguards) == (200, 200, whole.safeguards)
    assert training.checks == whole.checks
    assert training.trainer.params.flat.tobytes() == whole.trainer.params.flat.tobytes()
    assert training.best.flat.tobytes() == whole.best.flat.tobytes()


# --- run folders ---

FILES = ("params.safetensors", "best.safetensors", "validation.csv", "loss.csv")


def plan(**changes):
    return song2016.Plan(**{"seed": 3, "max_trials": 60, **changes})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A training of 20 updates with a check every 8, in a run folder."""
    folder = tmp_path_factory.mktemp("paper") / "rdm_dense" / "seed-003"
    said = []
    song2016.train(small(check_every=24), plan(), folder, threads=1, report=said.append)
    assert "NOT learnt after 60 trials" in said[-1]
    assert len(said) == 1
    return folder


def test_a_run_folder_has_all_that_it_should(whole):
    rows = (whole / "validation.csv").read_text().splitlines()
    assert rows[0] == "trials,loss,rmse,performance"
    assert [int(r.split(",")[0]) for r in rows[1:]] == [0, 24, 48]
    losses = [float(row.split(",")[1]) for row in rows[1:]]
    run = song2016.read_run(whole)
    assert run.result["best"]["loss"] == min(losses)
    assert run.result["trials"] == 60
    assert not run.result["reached"]
    config, last = ei.load_params(whole / "params.safetensors")
    assert config == run.config == plan().config(small())
    assert len((whole / "loss.csv").read_text().splitlines()) == 21
    assert last.flat.tobytes() != run.params.flat.tobytes()
    content = json.loads((whole / "config.json").read_text())
    assert content["paper"]["task"] == "rdm_dense"
    assert content["paper"]["seed"] == 3
    assert "versions" in content


@pytest.mark.parametrize("stop", [3, 8, 13])
def test_a_stopped_training_goes_on_to_the_bit(whole, tmp_path, monkeypatch, stop):
    """Stopped in the middle of a validation interval, and right where a check is due."""
    step = song2016.Training.step

    def until(self):
        if self.k == stop:
            raise KeyboardInterrupt
        return step(self)

    folder = tmp_path / "run"
    monkeypatch.setattr(song2016.Training, "step", until)
    with pytest.raises(KeyboardInterrupt, match=f"stopped after {3 * stop} trials"):
        song2016.train(small(check_every=24), plan(), folder, threads=1)
    monkeypatch.setattr(song2016.Training, "step", step)
    song2016.train(small(check_every=24), plan(), folder, threads=1, report=lambda line: None)
    for name in FILES:
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name


def test_a_killed_training_goes_on_from_its_checkpoint(whole, tmp_path, monkeypatch):
    """A kill leaves the last checkpoint, between two checks if checkpoint_every asks; if damaged, the one before."""
    step, folder = song2016.Training.step, tmp_path / "run"

    class Killed(Exception):
        pass

    def until(self):
        if self.k == 15:
            raise Killed
        return step(self)

    monkeypatch.setattr(song2016.Training, "step", until)
    with pytest.raises(Killed):
        song2016.train(small(check_every=24), plan(), folder, threads=1, checkpoint_every=5)
    monkeypatch.setattr(song2016.Training, "step", step)
    damaged = folder / "checkpoint.safetensors"
    data = bytearray(damaged.read_bytes())
    data[-5] ^= 1
    damaged.write_bytes(bytes(data))
    said = []
    song2016.train(small(check_every=24), plan(), folder, threads=1, report=said.append)
    assert "damaged" in said[0]
    for name in FILES:
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name


def test_more_trials_may_be_asked_for(whole, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    song2016.train(small(check_every=24), plan(max_trials=66), folder, threads=1, report=lambda line: None)
    assert len((folder / "loss.csv").read_text().splitlines()) == 23
    before = (folder / "params.safetensors").read_bytes()
    song2016.train(small(check_every=24), plan(max_trials=66), folder, threads=1, report=lambda line: None)
    assert (folder / "params.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("task", "changes", "says"),
    [
        ("rdm_nodale", {}, "holds a training of rdm_dense, not of rdm_nodale"),
        (None, {"seed": 4}, "with seed 3, found 4"),
        (None, {"omega": 0.5}, "with omega 2.0, found 0.5"),
        ("rdm_dense", {}, "another network than rdm_dense has now"),
    ],
)
def test_a_folder_of_something_else_is_refused(whole, task, changes, says):
    with pytest.raises(ei.RunError, match=says) as found:
        song2016.train(small(check_every=24) if task is None else task, plan(**changes), whole, threads=1)
    assert "\n" not in str(found.value)


def test_a_folder_of_eirnn_np_train_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model": {}, "training": {"task": "x"}}')
    with pytest.raises(ei.RunError, match="a run of eirnn-np train, none of the paper"):
        song2016.train(small(), plan(), tmp_path, threads=1)


def test_where_networks_are_kept(tmp_path):
    assert folder_of("paper", "romo", plan()).as_posix() == "paper/romo/seed-003"
    assert folder_of("paper", "romo", plan(omega=0.5)).as_posix() == "paper/romo/omega-0.5-seed-003"


# --- learning ---


def test_the_random_dots_are_learnt_at_a_reduced_size():
    """30 units, four coherences, short trials: the paper's loop ends by its own rule."""
    epochs = [replace(e, duration=d) for e, d in zip(TASKS["rdm_dense"].epochs, (60, 300, 120))]
    conditions = [{"coherence": c} for c in (-16, -8, 8, 16)]
    task = small(units=30, batch_size=20, rounds=40, check_every=5000, sigma_rec=0.05, epochs=epochs,
                 conditions=conditions, catch=song2016.Catch(1 / 7, 480))  # fmt: skip
    training = song2016.Training(task, plan(seed=0, max_trials=150_000), threads=1)
    while not training.over:
        training.check() if training.due else training.step()
    assert 20_000 < training.trials < 150_000
    assert np.mean(training.history[-5:]) > 85
    assert training.checks[-1]["loss"] < 0.6 * training.checks[1]["loss"]


# --- the command, on networks that are not trained long enough to learn ---


@pytest.fixture(scope="module")
def commanded(tmp_path_factory):
    """`eirnn-np paper` on two seeds of 40 trials."""
    from eirnn_np.cli import main

    out = tmp_path_factory.mktemp("paper") / "out"
    assert main(["paper", "rdm_nodale", "--seeds", "2", "--max-trials", "40", "--out", str(out), "--no-figures"]) == 0
    return out


def test_networks_side_by_side_are_those_trained_alone(commanded, tmp_path):
    """Each in a process of its own, on one thread."""
    song2016.train("rdm_nodale", song2016.Plan(seed=1, max_trials=40), tmp_path / "a", report=lambda line: None)
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (commanded / "rdm_nodale" / "seed-001" / name).read_bytes(), name


def test_a_step_that_is_told_to_stop_leaves_a_checkpoint(whole, tmp_path):
    def on_step(k, loss):
        if k == 13:
            raise ei.runs.Stopped("now")

    how = {"threads": 1, "report": lambda line: None}
    with pytest.raises(ei.runs.Stopped, match="stopped after 39 trials"):
        song2016.train(small(check_every=24), plan(), tmp_path / "run", on_step=on_step, **how)
    song2016.train(small(check_every=24), plan(), tmp_path / "run", **how)
    for name in FILES:
        assert (tmp_path / "run" / name).read_bytes() == (whole / name).read_bytes(), name


def test_the_command_trains_and_goes_on(commanded, capsys):
    from eirnn_np.cli import main

    assert sorted(path.name for path in (commanded / "rdm_nodale").iterdir()) == ["seed-000", "seed-001"]
    args = [
        "paper",
        "rdm_nodale",
        "--seeds",
        "0-1",
        "--max-trials",
        "40",
        "--out",
        str(commanded),
        "--no-figures",
        "--json",
    ]
    assert main(args) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(each["task"], each["seed"], each["trials"]) for each in found] == [
        ("rdm_nodale", 0, 40),
        ("rdm_nodale", 1, 40),
    ]
    assert all(0 < each["cpu_seconds"] < 100 for each in found)


def test_a_run_of_the_paper_is_evaluated_drawn_and_reported(commanded, capsys, monkeypatch):
    from eirnn_np.cli import main
    from eirnn_np.song2016 import evaluation

    run = commanded / "rdm_nodale" / "seed-000"
    measured = evaluation.measure
    monkeypatch.setattr(
        evaluation, "measure", lambda task, params, seed, **how: measured(task, params, seed, dt=20.0, repeats=4)
    )
    assert main(["evaluate", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["task"] == "rdm_nodale"
    assert main(["figures", str(run)]) == 0
    assert (run / "figures" / "rdm_nodale_psychometric.png").exists()
    assert main(["report", str(run)]) == 0
    page = (run / "report.html").read_text()
    assert "Not learnt after 40 trials" in page
    assert page.count("<svg") >= 5
    capsys.readouterr()
    assert main(["paper", "figures", str(commanded)]) == 0
    assert "figure 9, rdm_nodale: trained to its target (0 of 2)" in capsys.readouterr().out
    assert (commanded / "figures" / "learning.png").exists()
    assert "| rdm_nodale | **does not hold** | 0 of 2 |" in (commanded / "claims.md").read_text()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["rdm_dens"], "did you mean rdm_dense"),
        (["rdm_dense", "--seeds", "0,0"], "seeds overlap"),
        (["rdm_dense", "elsewhere"], "--out"),
        (["rdm_dense", "--max-trials", "0"], "max_trials"),
        (["rdm_dense", "--omega", "-1"], "omega"),
        (["rdm_dense", "--workers", "0"], "workers"),
        (["figures", "nowhere"], "holds no run of the paper"),
    ],
)
def test_a_mistake_is_one_line(words, says, tmp_path, monkeypatch, capsys):
    from eirnn_np.cli import main

    monkeypatch.chdir(tmp_path)
    try:
        status = main(["paper", *words])
    except SystemExit as stopped:
        status = stopped.code
    error = capsys.readouterr().err
    assert status in (1, 2)
    assert says in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_train_does_not_resume_it(commanded, capsys):
    from eirnn_np.cli import main

    assert main(["train", "--resume", str(commanded / "rdm_nodale" / "seed-000")]) == 2
    assert "eirnn-np paper goes on with it" in capsys.readouterr().err


def test_out_must_be_the_folder_above(commanded, capsys):
    from eirnn_np.cli import main

    assert main(["paper", "romo", "--out", str(commanded / "rdm_nodale" / "seed-000")]) == 1
    assert "is the folder of one network" in capsys.readouterr().err
    (commanded / "romo").mkdir()
    shutil.copytree(commanded / "rdm_nodale" / "seed-000", commanded / "romo" / "seed-000")
    assert main(["paper", "romo", "--out", str(commanded)]) == 1
    assert "holds a training of rdm_nodale, not of romo" in capsys.readouterr().err
