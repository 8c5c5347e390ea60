"""Nothing of a user's is overwritten or deleted: links, leftovers, other writers, devices, empty names."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest

import eirnn_np as ei
from eirnn_np.cli import main
from eirnn_np.files import inner_folder, load_tensors, read_text, remove_leftovers, save_tensors, write_file
from eirnn_np.runs import read_run

OURS = ".eirnn-np-" + "0123456789abcdef" * 2 + ".tmp"


def error_line(capsys):
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert ".tmp" not in lines[0]
    assert "Errno" not in lines[0]
    return lines[0]


@pytest.fixture
def run(short_run, tmp_path):
    """A copy of the finished run, to spoil."""
    return shutil.copytree(short_run, tmp_path / "run")


# --- links -----------------------------------------------------------------------------------------


def test_a_stranger_s_folder_of_links_overwrites_nothing(run, tmp_path, capsys):
    outside = tmp_path / "outside"
    outside.mkdir()
    precious = outside / "precious"
    precious.write_text("mine")
    for name in ("evaluation.json", "report.html"):
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(precious)
        for pid in (os.getpid(), os.getpid() + 1):  # what the names once were
            (run / f".{name}.{pid}.tmp").symlink_to(precious)
    assert main(["evaluate", str(run)]) == 0
    assert main(["report", str(run)]) == 0
    assert not (run / "evaluation.json").is_symlink()
    assert "<html" in (run / "report.html").read_text()
    shutil.rmtree(run / "figures")
    (run / "figures").symlink_to(outside)
    capsys.readouterr()
    assert main(["figures", str(run)]) == 1
    assert "figures must be a folder, and no link to one" in error_line(capsys)
    assert main(["train", "--resume", str(run), "--steps", "31"]) == 1
    assert "figures must be a folder" in error_line(capsys)
    assert precious.read_text() == "mine"
    assert list(outside.iterdir()) == [precious]
    assert ei.load_checkpoint(run)[0].k == 31


def test_a_new_run_goes_into_no_folder_of_dangling_links(tmp_path, capsys):
    (tmp_path / "params.safetensors").symlink_to(tmp_path / "elsewhere")
    assert main(["train", "--out", str(tmp_path)]) == 1
    assert "already holds a run (params.safetensors)" in error_line(capsys)


@pytest.mark.parametrize("writer", [write_file, lambda path, text: save_tensors(path, {"a": np.zeros(2)}, {})])
def test_a_link_is_replaced_and_not_followed(tmp_path, writer):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    writer(tmp_path / "link", "new")
    assert (tmp_path / "mine").read_text() == "mine"
    assert not (tmp_path / "link").is_symlink()


def test_an_inner_folder_is_a_folder(tmp_path):
    inner_folder(tmp_path / "figures")
    inner_folder(tmp_path / "figures")
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "figures")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("file", "link", "loop"):
        with pytest.raises(NotADirectoryError, match=f"{name} must be a folder"):
            inner_folder(tmp_path / name)


# --- devices, pipes --------------------------------------------------------------------------------


def test_what_is_no_file_is_neither_replaced_nor_waited_for(tmp_path, run, capsys):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "link").symlink_to(pipe)
    for path in (pipe, tmp_path / "link"):
        with pytest.raises(OSError, match="would be replaced"):
            write_file(path, "new")
        with pytest.raises(ValueError, match="not a file"):
            read_text(path)
    assert main(["golden", str(pipe)]) == 1
    assert f"{pipe}: is a device or a pipe" in error_line(capsys)
    assert pipe.is_fifo()
    for name in ("config.json", "loss.csv"):
        shutil.move(run / name, tmp_path / name)
        (run / name).symlink_to(pipe)
        assert main(["evaluate", str(run)]) == 1
        assert "not a file" in error_line(capsys)
        shutil.move(tmp_path / name, run / name)


# --- several writers -------------------------------------------------------------------------------


def test_many_threads_may_write_one_path(tmp_path):
    path, previous, errors = tmp_path / "file", tmp_path / "before", []
    contents = [bytes([k]) * 10_000 for k in range(8)]

    def write(content):
        for _ in range(20):
            try:
                write_file(path, content, previous)
                write_file(tmp_path / "other", content)
                remove_leftovers(tmp_path)  # what another writes is none
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert sorted(each.name for each in tmp_path.iterdir()) == ["before", "file", "other"]
    for each in tmp_path.iterdir():
        assert each.read_bytes() in contents


# --- leftovers -------------------------------------------------------------------------------------


def test_only_our_own_leftovers_go(tmp_path):
    theirs = [".notes.2026.tmp", ".a.1.tmp", "x.tmp", OURS[1:], OURS[:-5] + ".tmp", OURS.upper(), OURS + "~"]
    for name in (*theirs, OURS, OURS.replace("0", "1")):
        (tmp_path / name).write_text("")
    (tmp_path / OURS.replace("0", "2")).mkdir()
    (tmp_path / OURS.replace("0", "3")).symlink_to(tmp_path / "x.tmp")
    os.mkfifo(tmp_path / OURS.replace("0", "4"))
    kept = {*theirs, *(OURS.replace("0", digit) for digit in "1234")}
    with (tmp_path / OURS.replace("0", "1")).open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # another process is writing it
        remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == kept


def test_training_into_a_folder_with_files_of_yours_leaves_them(tmp_path, capsys):
    (tmp_path / ".notes.2026.tmp").write_text("mine")
    (tmp_path / OURS).write_text("")
    assert main(["train", "--steps", "2", "--trials", "5", "--no-figures", "--out", str(tmp_path)]) == 0
    assert (tmp_path / ".notes.2026.tmp").read_text() == "mine"
    assert not (tmp_path / OURS).exists()


# --- names, errors ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--out", ""], ["train", "--out="], ["train", "--resume", ""], ["evaluate", ""], ["figures", ""],
        ["report", ""], ["report", "run", "--out", ""], ["gradcheck", ""], ["gradcheck", "--figure", ""],
        ["golden", ""], ["golden", "file", "--compare", ""], ["study", "rtrl", ""], ["study", "rtrl", "--out", ""],
        ["train", "--task", ""],
    ],
)  # fmt: skip
def test_an_empty_name_is_refused(tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    try:
        status = main(arguments)
    except SystemExit as error:
        status = error.code
    assert status == 2
    assert "must not be empty" in error_line(capsys)
    assert not list(tmp_path.iterdir())


def test_an_empty_name_is_refused_by_the_functions_too(tmp_path, monkeypatch):
    from eirnn_np.runs.report import write_report

    monkeypatch.chdir(tmp_path)
    for call in (lambda: ei.run(out=""), lambda: ei.resume(""), lambda: read_run(""), lambda: write_report(""),
                 lambda: ei.resume(None), lambda: ei.run(out=3)):  # fmt: skip
        with pytest.raises(ValueError, match="must be a path, found"):
            call()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("path", "why"),
    [("/nope/x", "No such file or directory"), ("folder", "Is a directory"),
                                           ("file/x", "Not a directory"), ("l" * 300, "File name too long")],
)  # fmt: skip
def test_what_cannot_be_written_is_named_in_one_line(tmp_path, monkeypatch, capsys, path, why):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    assert main(["golden", path]) == 1
    assert error_line(capsys) == f"eirnn-np: {path}: {why}"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "folder"]


def test_a_long_name_is_written(tmp_path):
    path = tmp_path / ("l" * 255)
    write_file(path, "new")
    assert path.read_text() == "new"


# --- loss.csv --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda rows: [*rows[:4], "4,nan", *rows[5:]], "finite numbers, found nan at step 4"),
        (lambda rows: [*rows[:4], "4,-inf", *rows[5:]], "finite numbers, found -inf at step 4"),
        (lambda rows: rows[:10], "a row for each of 30 steps, found 9"),
        (lambda rows: [*rows, "31,0.5"], "a row for each of 30 steps, found 31"),
        (lambda rows: rows[:4] + rows[5:], "count its steps, found 5 in row 4"),
        (lambda rows: [*rows[:4], "4", *rows[5:]], "cannot be read"),
        (lambda rows: [*rows[:4], "4,0.5,0.5", *rows[5:]], "cannot be read"),
        (lambda rows: rows[:1], "holds no steps"),
        (lambda rows: [], "holds no steps"),
    ],
)
@pytest.mark.parametrize("checkpoint", [True, False])
def test_a_damaged_loss_csv_is_refused(run, capsys, spoil, said, checkpoint):
    if not checkpoint:
        for path in run.glob("checkpoint*"):
            path.unlink()
    rows = (run / "loss.csv").read_text().splitlines()
    (run / "loss.csv").write_text("\n".join(spoil(rows)))
    assert main(["figures", str(run)]) == 1
    assert said in error_line(capsys)


def test_a_run_that_was_stopped_can_be_read(run):
    content = json.loads((run / "config.json").read_text())
    content["training"]["steps"] = 5000
    (run / "config.json").write_text(json.dumps(content))
    assert len(read_run(run)[3]) == 30
    assert load_tensors(run / "checkpoint.safetensors")[0]["losses"].size == 30


def test_no_locks_is_said_of_a_new_run_too(tmp_path, monkeypatch, capsys):
    def unsupported(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    assert main(["train", "--steps", "2", "--trials", "5", "--no-figures", "--out", str(tmp_path / "run")]) == 0
    assert "cannot be locked (Operation not supported)" in capsys.readouterr().out
    write_file(tmp_path / "file", "new")


def test_a_stranger_s_sweep_writes_nothing_outside_itself(tmp_path):
    from eirnn_np.sweeps.sweeping import _check_inside

    (tmp_path / "sweep" / "runs" / "seed-0").mkdir(parents=True)
    _check_inside(tmp_path / "sweep")
    (tmp_path / "sweep" / "runs" / "seed-1").symlink_to(tmp_path)
    with pytest.raises(ei.RunError, match="seed-1 must be a folder, and no link to one"):
        _check_inside(tmp_path / "sweep")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "runs").symlink_to(tmp_path)
    with pytest.raises(ei.RunError, match="runs must be a folder"):
        _check_inside(tmp_path / "other")


def test_a_stranger_s_networks_of_the_paper_write_nothing_outside_themselves(tmp_path, capsys):
    outside = tmp_path / "outside"
    outside.mkdir()
    for out, link in (("a", "rdm_dense"), ("b", "rdm_dense/seed-000")):
        (tmp_path / out / link).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / out / link).symlink_to(outside)
        assert main(["paper", "rdm_dense", "--out", str(tmp_path / out)]) == 1
        assert f"{tmp_path / out / link} must be a folder, and no link to one" in error_line(capsys)
        assert not list(outside.iterdir())
    (outside / "config.json").write_text('{"paper": {}}')
    assert main(["paper", "figures", str(tmp_path / "b")]) == 1
    assert "must be a folder, and no link to one" in error_line(capsys)


def test_a_table_is_appended_to_a_file_and_to_nothing_else(tmp_path):
    from eirnn_np.sweeps.plan import Plan
    from eirnn_np.sweeps.table import RESULTS, Table

    mine, path = tmp_path / "mine.csv", tmp_path / RESULTS
    Table(tmp_path, Plan()).begin()
    path.rename(mine)  # of the same sweep: its first line fits
    before = mine.read_bytes()
    os.mkfifo(tmp_path / "pipe")
    for target in (mine, tmp_path / "pipe"):
        path.symlink_to(target)
        with pytest.raises(ei.RunError, match="must be a file, and no link to one"):
            Table(tmp_path, Plan()).begin()
        path.unlink()
    os.mkfifo(path)
    for read in (Table(tmp_path, Plan()).begin, lambda: ei.read_sweep(tmp_path)):
        with pytest.raises(ei.RunError, match=RESULTS):
            read()
    assert mine.read_bytes() == before


def test_text_is_utf_8_in_any_locale(tmp_path):
    write_file(tmp_path / "text", "東京 Ω")
    code = f"from eirnn_np.files import read_text; print(ascii(read_text({str(tmp_path / 'text')!r})))"
    done = subprocess.run([sys.executable, "-X", "utf8=0", "-c", code], capture_output=True, text=True,
                          env={**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"})  # fmt: skip
    assert done.stdout == "'\\u6771\\u4eac \\u03a9'\n", done.stderr
