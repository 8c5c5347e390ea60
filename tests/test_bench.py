"""eirnn-np bench: what it measures, says and compares; and that nothing exceeds the FMA peak unnoticed."""

import copy
import json
import re
import sys

import pytest
from llvmlite import binding as llvm
from llvmlite import ir

from eirnn_np import bench
from eirnn_np.bench import measuring, report
from eirnn_np.bench.hardware import FMA_LOOPS, emit_fma_loop
from eirnn_np.cli import main
from eirnn_np.kernels.tile import TILES, registers

llvm.initialize_all_targets()
llvm.initialize_all_asmprinters()
X86, ARM = "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"
CPUS = {"znver3": "ymm", "haswell": "ymm", "skylake-avx512": "zmm", "znver4": "zmm", "sapphirerapids": "zmm"}


def loop_of(triple, cpu, size, sums):
    """The instructions of the FMA loop, as LLVM writes them for that CPU."""
    module = ir.Module()
    types = ir.FloatType(), ir.IntType(64)
    function = ir.Function(module, ir.FunctionType(ir.FloatType(), types), "peak")
    builder = ir.IRBuilder(function.append_basic_block())
    builder.ret(emit_fma_loop(builder, *function.args, size // 4, sums))
    target = llvm.Target.from_triple(triple).create_target_machine(cpu=cpu, opt=3)
    code = target.emit_assembly(llvm.parse_assembly(str(module)))
    loops = re.findall(r"^(\.L\w+):.*\n((?:\t.*\n)*?\t(?:j|b\.)\w+\t\1\n)", code, re.M)
    assert len(loops) == 1
    return loops[0][1]


@pytest.mark.parametrize("cpu", CPUS)
def test_the_fma_loop_holds_all_in_registers(cpu):
    name = registers(X86, cpu, "")
    assert name == CPUS[cpu]
    size, sums = FMA_LOOPS[name]
    loop = loop_of(X86, cpu, size, sums)
    assert loop.count("vfmadd") == sums
    assert len(set(re.findall(rf"%{name}(\d+)", loop))) == sums + 1
    assert "(%" not in loop  # no memory: nothing is loaded, nothing spills
    assert "(%rsp)" in loop_of(X86, cpu, 64, 20 if name == "ymm" else 40)  # a loop that does not fit is seen here


@pytest.mark.parametrize("cpu", ["neoverse-n1", "apple-m1"])
def test_the_fma_loop_holds_all_in_registers_on_arm(cpu):
    try:
        name = registers(ARM, cpu, "")
    except RuntimeError:
        pytest.skip("this LLVM knows no ARM")
    size, sums = FMA_LOOPS[name]
    loop = loop_of(ARM, cpu, size, sums)
    assert len(re.findall(r"\tfml[as]\t", loop)) == sums
    assert not re.search(r"\t(ld|st|mov)", loop)  # no memory, and no copies: the FMA adds into its addend


def test_every_kind_of_registers_has_its_loop():
    assert set(FMA_LOOPS) == set(TILES)
    assert registers(X86, "nehalem", "") == "xmm"


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    path = tmp_path_factory.mktemp("bench") / "here.json"
    assert main(["bench", "--quick", "--json", str(path)]) == 0
    found = json.loads(path.read_text())
    assert bench.read_result(path) == found
    return found


def test_what_is_measured(result):
    assert result["errors"] == []
    assert result["same_bytes"] == {
        "float32": {"found": bench.DIGESTS["float32"], "expected": bench.DIGESTS["float32"]}
    }
    assert result["threads"][0] == 1
    assert result["vectors"]["bytes"] in (16, 32, 64)
    toy = result["steps"]["toy"]["threads"]
    for threads in map(str, result["threads"]):
        row, peak = toy[threads], result["peak"][threads]
        assert 0 < row["seconds"]["low"] <= row["seconds"]["median"] <= row["seconds"]["high"]
        assert row["seconds"]["n"] == len(row["samples"]) == peak["n"] >= measuring.LEAST
        share = 6 * 5 * 3 * 7**2 / row["seconds"]["median"] / peak["highest"]
        assert share == pytest.approx(row["share"]["median"], rel=0.2)  # quartiles of inverses
        assert row["share"]["median"] < 1
    each = result["each_core"]
    assert each["cores"] == len(each["rates"]) == result["machine"]["cores"]
    assert each["all"] == pytest.approx(sum(each["rates"]))
    assert result["run"]["steps"] == 20
    assert set(result["run"]["parts"]) == {"start-up", "batches", "training", "evaluation"}


def test_what_is_said(result):
    text = "\n".join(report.lines(result))
    assert f"give {bench.DIGESTS['float32']}, the same bytes as every machine so far" in text
    assert "| toy: H 7, B 3, T 5 |" in text
    assert "steps a second and core" in text
    assert "The tutorial's whole run, 20 steps" in text


def another(result):
    """A machine that nobody has."""
    other = copy.deepcopy(result)
    other["machine"].update(cpu="Some(R) Other(TM) CPU", cores=64)
    other["vectors"].update(kind="AVX2", bytes=32, compiled_for="znver3")
    return other


def test_machines_side_by_side_with_a_figure(result, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, each in (("a", result), ("b", another(result))):
        (tmp_path / f"{name}.json").write_text(json.dumps(each))
    (tmp_path / "bench-001.png").write_bytes(b"mine")
    assert main(["bench", "--compare", "a.json", "b.json"]) == 0
    printed = capsys.readouterr().out
    rows = [line.split(" | ") for line in printed.splitlines() if line.startswith("|")]
    assert {len(row) for row in rows} == {3}
    assert "Some Other, znver3, AVX2" in rows[0][2]
    assert any(row[0] == "| cores" and row[2] == "64 |" for row in rows)
    assert (tmp_path / "bench-001.png").read_bytes() == b"mine"
    assert (tmp_path / "bench-002.png").stat().st_size > 10_000
    assert "Figure in bench-002.png" in printed


def test_two_results_of_one_machine_are_told_apart(result):
    later = copy.deepcopy(result)
    later["machine"]["date"] = "2031-01-01"
    assert len(set(report.names([result, later]))) == 2


def test_other_bytes_are_an_error(result, tmp_path, capsys, monkeypatch):
    wrong = copy.deepcopy(result)
    wrong["same_bytes"]["float32"]["found"] = "0" * 32
    assert "NOT the bytes expected" in report.same_bytes(wrong)[0]
    wrong["errors"] = report.find_errors(wrong)
    assert len(wrong["errors"]) == 1
    (tmp_path / "wrong.json").write_text(json.dumps(wrong))
    assert main(["bench", "--compare", str(tmp_path / "wrong.json"), "--figure", str(tmp_path / "f.png")]) == 1
    printed = capsys.readouterr()
    assert "| same bytes | NO |" in printed.out
    assert "every other machine" in printed.err


def test_more_than_the_peak_is_an_error_of_the_benchmark(result):
    wrong = copy.deepcopy(result)
    wrong["steps"]["toy"]["threads"]["1"]["share"]["median"] = 1.25
    assert report.find_errors(result) == []
    (error,) = report.find_errors(wrong)
    assert error.startswith("toy on 1 threads: 125 % of the FMA peak, which nothing can exceed: an error of the bench")


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", '{"machine": 1}', "[" * 100_000])
def test_a_file_that_is_no_result_is_one_line(tmp_path, capsys, content):
    (tmp_path / "x.json").write_text(content)
    assert main(["bench", "--compare", str(tmp_path / "x.json")]) == 2
    assert "is no result of eirnn-np bench --json" in capsys.readouterr().err
    assert main(["bench", "--compare", str(tmp_path / "none.json")]) == 2
    assert "cannot read" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_refused_before_the_work(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(measuring, "measure", lambda *_: pytest.fail("measured"))
    assert main(["bench", "--quick", "--json", str(tmp_path / "no" / "x.json")]) == 2
    assert "there is no folder" in capsys.readouterr().err


def test_a_core_s_process_that_fails_is_said(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match="a process that trains a network on one core failed"):
        measuring.each_core("toy", 0.1)


@pytest.mark.parametrize(
    ("most", "expected"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])]
)
def test_thread_counts(most, expected):
    assert measuring.thread_counts(most) == expected
