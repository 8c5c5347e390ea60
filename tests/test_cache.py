"""The cache of compiled kernels, on a package of its own: other processes, changed sources, damage, no folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from eirnn_np import cache

INNER = """
from eirnn_np.jit import inlined, kernel

@inlined
def factor():
    return FACTOR

@kernel
def scaled(a, i):
    return factor() * a[i]
"""
OUTER = """
from eirnn_np.jit import entry, in_parallel, kernel, thread_count
from .inner import scaled

@kernel
def put(out, a, i):
    if a[i] < 0:
        raise ValueError("below zero")
    out[i] += scaled(a, i)

put_all = in_parallel(put)

@kernel(late=True)
def put_late(out, a, i):
    out[i] += scaled(a, i)

@kernel
def maybe_late(out, a, use, i):
    if use:
        put_late(out, a, i)

maybe_all = in_parallel(maybe_late)

@entry
def put_if(out, a, use):
    maybe_all(a.size, thread_count(), out, a, use)

@entry
def put_each(out, a):
    put_all(a.size, thread_count(), out, a)

@entry
def total(a):
    s = a[0] * 0
    for i in range(a.size):
        s += scaled(a, i)
    return s
"""
# Prints the sum of 0 .. 4 times the factor for each dtype, and what was compiled for it.
MAIN = """
import sys
import numpy as np
from numba.core import event
from toy.outer import total

names = []

class Compiled(event.Listener):
    def on_start(self, found):
        names.append(found.data["dispatcher"].py_func.__name__)

    def on_end(self, found):
        pass

event.register("numba:compile", Compiled())
for dtype in sys.argv[1:]:
    del names[:]
    print(total(np.arange(5, dtype=dtype)), *(name for name in names if name in ("scaled", "total")))
"""


PARALLEL = """
import numba
import numpy as np
from toy.outer import put_each

for threads in (1, 2):
    numba.set_num_threads(threads)
    for n in (1, 2, 7, 1000):
        a, out = np.arange(n, dtype=float), np.zeros(n)
        put_each(out, a)
        assert (out == 2 * a).all(), out
    try:
        put_each(np.zeros(9), np.arange(-1.0, 8.0))
    except ValueError as error:
        print(error)
"""

# A late kernel is compiled by the threads that meet it first, both at once; not before it is called.
LATE = """
import numpy as np
from toy import outer
from eirnn_np import jit

late = jit._by_intrinsic[outer.put_late]._dispatcher
a, out = np.arange(1000.0), np.zeros(1000)
outer.put_if(out, a, False)
print(len(late.overloads), out.any())
outer.put_if(out, a, True)
print(len(late.overloads), (out == 2 * a).all())
"""


@pytest.fixture
def toy(tmp_path):
    (tmp_path / "toy").mkdir()
    for name, source in (("__init__", ""), ("inner", "FACTOR = 2\n" + INNER), ("outer", OUTER)):
        (tmp_path / "toy" / f"{name}.py").write_text(source)
    return tmp_path / "toy"


def start(toy, *dtypes, main=MAIN, **environment):
    """A process that prints the sums; it leaves no compiled Python in __pycache__."""
    keep = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}
    path = os.pathsep.join([str(toy.parent), str(Path(cache.__file__).parents[1])])
    return subprocess.Popen(
        [sys.executable, "-B", "-c", main, *dtypes], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**keep, "PYTHONPATH": path, **environment},
    )  # fmt: skip


def run(toy, *dtypes, **environment):
    out, err = start(toy, *dtypes, **environment).communicate()
    return out.splitlines(), err.splitlines()


def test_what_one_process_compiles_another_loads(toy):
    """Two that start at once, one dtype each, spoil nothing; a later one loads both; each damage is mended."""
    both = start(toy, "float32"), start(toy, "float64")
    assert [process.communicate() for process in both] == [("20.0 total scaled\n", "")] * 2
    assert run(toy, "float32", "float64") == (["20.0", "20.0"], [])
    files = sorted(toy.glob("__pycache__/*"))
    assert [f.name.split("-")[0] for f in files] == ["inner.scaled"] * 2 + ["outer.total"] * 2
    spoilt = [lambda d: d[: len(d) // 2], lambda d: d[:-9] + b"!" + d[-8:], lambda d: b"\x80garbage", lambda d: b""]
    for file, spoil in zip(files, spoilt):
        file.write_bytes(spoil(file.read_bytes()))
    lines, errors = run(toy, "float32", "float64")
    assert lines == ["20.0 total scaled"] * 2
    assert not errors
    assert sorted(toy.glob("__pycache__/*")) == files
    # A change in one file is seen by the functions of all, whatever the times of the files say.
    inner = toy / "inner.py"
    before = inner.stat()
    inner.write_text("FACTOR = 3\n" + INNER)
    os.utime(inner, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert run(toy, "float32") == (["30.0 total scaled"], [])
    assert run(toy, "float32") == (["30.0"], [])


def test_in_parallel(toy):
    """Each item once, on any number of threads; what a kernel raises on one of them reaches the caller."""
    for _ in range(2):  # compiled, then loaded
        assert run(toy, main=PARALLEL, NUMBA_NUM_THREADS="2") == (["below zero"] * 2, [])


def test_a_late_kernel(toy):
    for threads in "12":
        for _ in range(2):  # compiled, then loaded
            assert run(toy, main=LATE, NUMBA_NUM_THREADS=threads) == (["0 False", "1 True"], [])


def test_without_a_folder_that_can_be_written(toy, tmp_path):
    """A private folder among the temporary files, and one line; without that, compiled anew at each start."""
    (toy / "__pycache__").write_text("in the way")
    nowhere = {
        "HOME": "/dev/null",
        "XDG_CACHE_HOME": "/dev/null",
        "NUMBA_CACHE_DIR": "/dev/null",
        "TMPDIR": str(tmp_path),
    }
    for compiled in (" total scaled", ""):
        lines, (line,) = run(toy, "float32", **nowhere)
        assert lines == ["20.0" + compiled]
        assert line.startswith(f"eirnn-np: compiled kernels are kept in {tmp_path}")
        assert "NUMBA_CACHE_DIR=FOLDER" in line
    (private,) = tmp_path.glob("eirnn-np-*")
    assert private.stat().st_mode & 0o777 == 0o700
    private.chmod(0o777)  # others could have put code there
    lines, (line,) = run(toy, "float32", **nowhere)
    assert lines == ["20.0 total scaled"]
    assert line.startswith("eirnn-np: compiled kernels cannot be kept anywhere")
    assert "NUMBA_CACHE_DIR=FOLDER" in line


def test_a_folder_of_ones_own(toy, tmp_path):
    mine = tmp_path / "mine"
    assert run(toy, "float32", NUMBA_CACHE_DIR=str(mine)) == (["20.0 total scaled"], [])
    assert len(list(mine.glob("toy_*/*.kernel"))) == 2
    assert not (toy / "__pycache__").exists()


def test_only_what_was_written_whole_is_read(tmp_path):
    stamp, other, file = b"s" * cache.DIGEST, b"t" * cache.DIGEST, tmp_path / "f.kernel"
    assert cache.read(file, stamp) is None
    cache.write(file, stamp, b"content")
    assert cache.read(file, stamp) == b"content"
    assert cache.read(file, other) is None
    data = file.read_bytes()
    for k in range(len(data)):
        file.write_bytes(data[:k])
        assert cache.read(file, stamp) is None
        file.write_bytes(data[:k] + bytes([data[k] ^ 16]) + data[k + 1 :])
        assert cache.read(file, stamp) is None
    assert [path.name for path in tmp_path.iterdir()] == ["f.kernel"]
    file.write_bytes(data)
    other = file.rename(tmp_path / "g.kernel")  # whole, and another kernel's
    assert cache.read(other, stamp) is None
    other.unlink()
    file.mkdir()
    assert cache.read(file, stamp) is None


def test_a_full_disk_is_told_once_and_leaves_nothing(tmp_path, monkeypatch, capsys):
    def full(old, new):
        raise OSError(28, "No space left on device")

    cache.tell.cache_clear()
    monkeypatch.setattr(cache.os, "replace", full)
    for _ in range(2):
        cache.write(tmp_path / "f.kernel", b"s" * cache.DIGEST, b"content")
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"compiled kernels cannot be written to {tmp_path} (No space left on device). NUMBA_CACHE_DIR=" in said
    assert not list(tmp_path.iterdir())


def test_a_folder_without_sources_keeps_nothing(tmp_path):
    assert cache.stamp(tmp_path) is None
