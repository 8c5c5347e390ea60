"""Sweeps on dask.distributed, with workers that are threads; tests/sweep_faults.py has processes, and kills them."""

import signal
import time
from pathlib import Path

import pytest

import eirnn_np as ei
from eirnn_np.cli import main
from eirnn_np.sweeps import network

distributed = pytest.importorskip("distributed")
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:distributed"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

SMALL = ei.Settings(steps=30, batch_size=3, seq_len=20, trials=30, checkpoint_every=20)
OPTIONS = ["--steps=30", "--batch-size=3", "--seq-len=20", "--trials=30", "--checkpoint-every=20", "--hidden=7"]


def files(folder, but=""):
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted((folder / "runs").rglob("*"))
        if p.is_file() and p.name != but
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweeps") / "whole"
    for seed in range(3):
        ei.run(SMALL.__class__(**{**vars(SMALL), "seed": seed}), folder / "runs" / f"seed={seed}", figures=False,
               report=lambda line: None, n_hidden=7)  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None,
                                  protocol="tcp://", host="127.0.0.1") as cluster:  # fmt: skip
        yield cluster


def test_by_the_address_of_a_scheduler(whole, cluster, tmp_path):
    address, folder = cluster.scheduler_address, str(tmp_path / "s")
    assert main(["sweep", "-q", *OPTIONS, "--seeds=0:3", "--scheduler", address, "--out", folder]) == 0
    assert files(tmp_path / "s") == files(whole)
    assert ei.read_sweep(tmp_path / "s")["status"].tolist() == ["done"] * 3


def test_the_executor_of_a_client_and_no_shared_file_system(whole, cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(network, "sees", lambda *_: False)
    with distributed.Client(cluster) as client:
        ei.sweep(SMALL, tmp_path / "s", seeds=range(3), executor=client.get_executor(pure=False), n_hidden=7,
                 report=lambda line: None)  # fmt: skip
    assert files(tmp_path / "s") == files(whole)


def test_ctrl_c_reaches_the_workers_and_it_goes_on(whole, cluster, tmp_path):
    """Two networks, one that would take for ever: stopped by Ctrl-C when the other is done, its steps are kept."""
    folder = tmp_path / "s"
    said = []

    def report(line):
        said.append(line)
        if line.startswith("1/2"):
            signal.raise_signal(signal.SIGINT)

    with distributed.Client(cluster) as client:
        with pytest.raises(ei.runs.Stopped, match=r"1 of 2 networks are done; eirnn-np sweep --resume \S+ goes on"):
            ei.sweep(SMALL, folder, seeds=[2], grid={"steps": [30, 10**6]}, executor=client, n_hidden=7, report=report)
        stopped = folder / "runs" / "steps=1000000__seed=2"
        deadline = 100
        while not (stopped / "loss.csv").exists() and deadline:
            deadline -= 1
            time.sleep(0.1)
        losses = (stopped / "loss.csv").read_text().splitlines()
        assert 1 < len(losses) < 10**6
    alone = (whole / "runs" / "seed=2" / "loss.csv").read_text().splitlines()
    assert losses[:31] == alone[: len(losses)]
    done = Path(folder / "runs" / "steps=30__seed=2" / "params.safetensors").read_bytes()
    assert done == (whole / "runs" / "seed=2" / "params.safetensors").read_bytes()


def test_workers_of_another_release_are_refused_at_once(cluster, tmp_path, monkeypatch):
    with distributed.Client(cluster) as client:
        for there, says in (
            (lambda: "0.0.1", "has eirnn-np 0.0.1: install"),
            (lambda: {}[0], "has no eirnn-np: install"),
        ):
            monkeypatch.setattr("eirnn_np.sweeps.cluster._version", there)
            with pytest.raises(ei.RunError, match=says):
                ei.sweep(SMALL, tmp_path / "s", seeds=[1], executor=client)
    assert not (tmp_path / "s").exists()


def test_a_scheduler_that_is_not_there(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("eirnn_np.sweeps.cluster.TIMEOUT", 0.5)
    (tmp_path / "file.json").write_text('{"address": "tcp://127.0.0.1:9"}')
    for where in (["--scheduler", "tcp://127.0.0.1:9"], ["--scheduler-file", str(tmp_path / "file.json")]):
        assert main(["sweep", *where, "--out", str(tmp_path / "s")]) == 1
        err = capsys.readouterr().err
        assert "no dask scheduler answers at" in err
        assert err.count("\n") == 1
    (tmp_path / "file.json").write_text("[]")
    assert main(["sweep", "--scheduler-file", str(tmp_path / "file.json")]) == 1
    assert "it is no scheduler file" in capsys.readouterr().err
