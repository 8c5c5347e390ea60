"""The benchmarks run at toy size, and refuse to time what computes something else."""

import importlib
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
import common
import contestants
import machines
import peers
import scaling
import sweeps

FOLDER = Path(common.__file__).parent


@pytest.fixture
def run(capsys):
    """Run a script in this process, where the kernels are loaded; returns what it prints."""

    def run(script, *arguments):
        capsys.readouterr()
        status = importlib.import_module(script).main([str(a) for a in arguments])
        assert not status or isinstance(status, list | dict)
        return capsys.readouterr().out

    return run


def is_summary(d, n):
    return 0 < d["low"] <= d["median"] <= d["high"] and d["n"] >= n


def test_peers_at_toy_size(tmp_path, run):
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- peers -->\nold\n<!-- /peers -->\nafter\n")
    files = "--json", tmp_path / "peers.json", "--figure", tmp_path / "peers.png"
    peers = "--peers", "ours", "torch"
    run("peers", "--size", "toy", *peers, "--repeats", 2, "--sample-seconds", 0.002, "--threads", 1, *files)
    result = json.loads((tmp_path / "peers.json").read_text())
    assert result["machine"]["cpu"]
    assert result["versions"]["torch"]
    part = result["sizes"]["toy"]
    assert part["size"] == {"n_hidden": 7, "n_batch": 3, "n_time": 5, "flop": 6 * 5 * 3 * 49}
    assert is_summary(part["peak"], 2)
    assert set(part["contestants"]) == {"ours", "torch"}
    for row in part["contestants"].values():
        assert len(row["samples"]) == part["peak"]["n"]
        assert all(is_summary(row[key], 2) for key in ("seconds", "ratio", "mfu"))
        assert 0 < row["share_of_tolerance"] < 1
        assert row["options"]["threads"] == 1
    assert part["contestants"]["ours"]["ratio"]["median"] == 1
    assert (tmp_path / "peers.png").stat().st_size > 5000

    run("peers", "--load", tmp_path / "peers.json", "--markdown", readme)
    lines = readme.read_text().splitlines()
    assert (lines[0], lines[1], lines[-2], lines[-1]) == ("before", "<!-- peers -->", "<!-- /peers -->", "after")
    assert "old" not in lines
    assert sum(line.startswith("| PyTorch") for line in lines) == 1


def test_scaling_at_toy_size(tmp_path, run):
    files = "--json", tmp_path / "scaling.json", "--figure", tmp_path / "scaling.png"
    printed = run("scaling", "--quick", "--repeats", 2, "--sample-seconds", 0.002, "--threads", 1, *files)
    assert "| threads | toy |" in printed
    result = json.loads((tmp_path / "scaling.json").read_text())
    assert set(result["sweeps"]) == {"H", "B", "T"}
    for sweep in result["sweeps"].values():
        assert np.isfinite(sweep["slope"])
        for row in sweep["rows"]:
            assert is_summary(row["seconds"], 2)
            assert is_summary(row["mfu"], 2)
    for key in ("peak", "sgemm", "triad"):
        assert is_summary(result[key], 2)
    assert (tmp_path / "scaling.png").stat().st_size > 5000


@pytest.fixture(scope="module")
def expected():
    return contestants.Expected(common.TOY)


def test_verify_passes_the_torch_contestants_and_ours(expected):
    for kind in (contestants.Ours, contestants.TorchOriginal, contestants.TorchFused):
        contestant = kind(expected.problem, expected.batches, threads=1)
        loss, grads = contestant.loss_and_grads(*expected.batches[0], expected.noise)
        assert common.verify(kind.__name__, loss, expected.losses[0]) < 1
        assert common.verify(kind.__name__, grads, expected.grads) < 1


@pytest.mark.parametrize("wrong", [1.001, 0.999, 0, -1, np.nan, np.inf])
def test_verify_refuses_a_wrong_loss(expected, wrong):
    loss = expected.losses[0]
    common.verify("right", loss * (1 + 1e-6), loss)
    with pytest.raises(common.VerificationError, match=r"loss: off by"):
        common.verify("wrong", loss * wrong, loss)


def test_verify_refuses_wrong_gradients_and_losses_of_steps(expected):
    def refuse(found):
        with pytest.raises(common.VerificationError):
            common.verify("wrong", found, expected.grads)

    grads, key = expected.grads, contestants.W_REC
    refuse({k: 1.001 * g for k, g in grads.items()})
    refuse(grads | {key: grads[key].T})
    refuse(grads | {key: np.zeros_like(grads[key])})
    refuse(grads | {key: np.full_like(grads[key], np.nan)})
    refuse(grads | {key: grads[key][:-1]})
    refuse({k: g for k, g in grads.items() if k != key})
    common.verify("right", expected.losses, expected.losses)
    with pytest.raises(common.VerificationError):
        common.verify("Adam that does nothing", [expected.losses[0]] * 3, expected.losses)
    with pytest.raises(common.VerificationError):
        common.verify("too short", expected.losses[:2], expected.losses)


def test_a_worker_that_fails_says_so():
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        common.Worker(divmod, 1, 0, threads=1)


def marked(page, name):
    return page.read_text().partition(f"<!-- {name} -->\n")[2].partition(f"<!-- /{name} -->")[0]


def test_tables_are_those_of_the_numbers():
    results, page = FOLDER / "results", FOLDER / "README.md"
    for name, mark, tables in (("peers", "peers", peers.markdown), ("scaling", "scaling", scaling.markdown),
                               ("peers_restricted_to_avx2", "peers-avx2", peers.markdown),
                               ("peers_zen5", "peers-zen5", peers.markdown)):  # fmt: skip
        if (file := results / f"{name}.json").exists():
            assert marked(page, mark) == tables(json.loads(file.read_text())), name
    if any((results / "machines").glob("*.json")):
        assert machines.main(["--check"]) == 0
    overview = marked(FOLDER.parent / "README.md", "overview")
    assert not overview or overview == peers.overview(json.loads((results / "peers.json").read_text()))


def test_what_is_asked_stands_beside_what_was_found():
    """The columns behind "asked", made of the files of the peers."""
    page, results = (FOLDER / "README.md").read_text(), FOLDER / "results"
    columns = []
    for name in ("peers_zen5", "peers", "peers_restricted_to_avx2"):
        sizes = json.loads((results / f"{name}.json").read_text())["sizes"]
        found = {size: part["contestants"] for size, part in sizes.items()}
        rows = [
            ", ".join(f"{found[size][peer]['ratio']['median']:.1f}x" for peer in ("torch", "jax", "brainpy"))
            for size in found
        ]
        rows.append(", ".join(f"{found[size]['torch-fast']['ratio']['median']:.1f}x" for size in found))
        rows.append(", ".join(f"{100 * found[size]['ours']['mfu']['median']:.0f}" for size in found) + " %")
        columns.append(rows)
    tables = re.findall(r"^\| \| asked .*\n\|[-|]+\|\n((?:\|.*\n)+)", page, re.M)
    cells = [[row.strip("| ").split(" | ")[2:] for row in table.splitlines()] for table in tables]
    assert cells == [[list(pair) for pair in zip(*columns[:2])], [[text] for text in columns[2]]]


def row(share, ratio=1.0):
    seconds = {"median": 0.01, "low": 0.009, "high": 0.011}
    return {"title": "somebody", "options": {"threads": 1}, "seconds": seconds, "mfu": {"median": share},
            "ratio": {"median": ratio, "low": ratio, "high": ratio}}  # fmt: skip


def test_a_contestant_above_the_peak_is_an_error_and_one_that_beats_us_is_named(tmp_path, capsys):
    size = {"n_hidden": 7, "n_batch": 3, "n_time": 5}
    part = {"size": size, "peak": {"n": 2, "median": 1e9}, "peak_samples": [1e9], "other_load_cores": 0.0,
            "contestants": {"ours": row(0.5), "torch": row(0.5, 0.8)}}  # fmt: skip
    result = {
        "machine": {"cpu": "X", "cores": 2, "date": "today"},
        "versions": {},
        "threads": 2,
        "sizes": {"toy": part},
    }
    path = tmp_path / "peers.json"
    path.write_text(json.dumps(result))
    assert peers.main(["--load", str(path), "--overview", "--markdown"]) == 0
    printed = capsys.readouterr().out
    assert "| somebody **faster than ours** | 1 |" in printed
    assert "| PyTorch original, eager | **10.0, 0.8x** |" in printed
    assert "Faster than ours: PyTorch original, eager at toy." in printed
    part["contestants"]["torch"] = row(1.25)
    path.write_text(json.dumps(result))
    assert peers.main(["--load", str(path)]) == 1
    printed = capsys.readouterr()
    assert "**above the peak: an error**" in printed.out
    assert "ERROR torch, toy: 125 % of the FMA peak, which nothing can exceed" in printed.err


def test_marked_places_must_be_there(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("<!-- peers -->\n")
    with pytest.raises(ValueError, match="expected one"):
        common.fill_marked(path, "peers", "text")


def test_slope_is_the_exponent():
    x = np.array([1, 2, 5, 10])
    assert common.slope(x, 3 * x**1.7) == pytest.approx(1.7)


def test_the_small_scripts_run(tmp_path, run):
    printed = run("end_to_end", "--steps", 20, "--peer-steps", 3, "--rounds", 2, "--json", tmp_path / "e.json")
    assert "PyTorch original" in printed
    rows = json.loads((tmp_path / "e.json").read_text())["contestants"]
    assert rows["eirnn-np"]["ratio"]["median"] == 1
    assert "| float32 | 7 | 5 |" in run("gradient_error", "--quick", "--figure", tmp_path / "g.png")
    assert (tmp_path / "g.png").stat().st_size > 5000
    assert "accuracy" in run("learning", "--seeds", 1, "--steps", 5, "--trials", 20)
    run("shares", "--size", "toy", "--repeats", 2, "--json", tmp_path / "s.json")
    shares = json.loads((tmp_path / "s.json").read_text())
    (toy,) = shares["sizes"].values()
    assert sum(toy["parts"].values()) == pytest.approx(toy["seconds"])
    assert len(toy["parts"]) == 8
    assert 0 < 3 * toy["flop"] < toy["seconds"] * toy["peak"]


def test_sweeps_at_toy_size(tmp_path, run):
    files = "--json", tmp_path / "s.json"
    printed = run("sweeps", "--part", "organisation", "parent", "many", "--rounds", 1, "--many", 20, *files)
    result = json.loads((tmp_path / "s.json").read_text())
    assert set(result["parts"]) == {"organisation", "parent", "many"}
    assert result["parts"]["organisation"]["network_ms"]["n"] == 20
    assert [part["networks"] for part in result["parts"]["parent"]] == [20, 200]
    assert len(result["parts"]["many"]["parent_mb"]) == 10
    assert printed == sweeps.markdown(result) + "\n"


def test_the_page_on_sweeps_says_what_its_file_says():
    result = json.loads((FOLDER / "results" / "sweeps.json").read_text())
    assert set(result["parts"]) == set(sweeps.PARTS)
    page = (FOLDER.parent / "docs" / "sweeps.md").read_text()
    assert page.partition("<!-- sweeps -->\n")[2].partition("\n<!-- /sweeps -->")[0] == sweeps.markdown(result)


@pytest.mark.parametrize("peer", ["Jax", "BrainPy"])
def test_loss_and_all_gradients_are_those_of_the_peer_itself(peer):
    """Where the extra [bench] is installed: JAX, and BrainPy's own layers for dynamics="brainpy"."""
    pytest.importorskip(peer.lower(), reason="extra [bench]")
    expected = contestants.Expected(common.TOY, "brainpy" if peer == "BrainPy" else "song2016")
    contestant = getattr(contestants, peer)(expected.problem, expected.batches, 1)
    loss, grads = contestant.loss_and_grads(*expected.batches[0], expected.noise)
    assert common.verify(peer, loss, expected.losses[0]) < 1
    assert common.verify(peer, grads, expected.grads) < 1


def test_the_page_says_what_fixed_points_took():
    found = json.loads((FOLDER / "results" / "fixed_points.json").read_text())
    page = " ".join((FOLDER.parent / "docs" / "analyse.md").read_text().split())
    ours, torch, brainpy = (found["contestants"][name] for name in ("ours", "torch", "brainpy"))
    (first, median, third), (low, middle, high) = torch["wall_ratio"], brainpy["wall_ratio"]
    for said in (
        f"{found['starts']:,} starts on the tutorial's network take {ours['wall_s'][1]:.2f} s",
        f"{median:.0f} times as long ({first:.0f} - {third:.0f})",
        f"`SlowPointFinder` {middle:.0f} times ({low:.0f} - {high:.0f}): medians",
        f"quartiles of {found['repeats']} rounds",
        f"starts {torch['near']} and {brainpy['near']} end near the point, of ours {found['ours_found']:,}",
    ):
        assert said in page, said
