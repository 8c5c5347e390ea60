"""Training is a pure function to the bit: of its inputs, not of the CPU or the number of threads."""

import os
import subprocess
import sys
from pathlib import Path

import patience
import pytest
import same_bytes

from eirnn_np.kernels.tile import registers

DIGESTS, OPTION_DIGESTS = same_bytes.DIGESTS, same_bytes.OPTION_DIGESTS


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", DIGESTS)
def test_committed_digest_for_any_number_of_threads(dtype, threads):
    assert same_bytes.digest(same_bytes.final_params(dtype, threads=threads)) == DIGESTS[dtype]


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("name", OPTION_DIGESTS)
def test_committed_digest_of_the_options_for_any_number_of_threads(name, threads):
    assert same_bytes.options_digest(name.removeprefix("options-"), threads) == OPTION_DIGESTS[name]


def test_the_digest_sees_a_single_bit():
    params = same_bytes.final_params("float32")
    params.flat.view("int32")[17] ^= 1
    assert same_bytes.digest(params) != DIGESTS["float32"]


@pytest.mark.skipif(os.uname().machine not in ("x86_64", "amd64"), reason="names of x86 CPUs")
def test_committed_digest_compiled_for_other_cpus():
    """For registers that are not this machine's: AVX-512, AVX2, and neither AVX nor FMA, where llvm.fma becomes the C
    library's fmaf. In child processes."""
    cases = {"skylake-avx512": ["float32"], "haswell": ["float32", "float64"], "nehalem": ["float32", "float64"]}
    kinds = {"skylake-avx512": ("zmm", "avx512f"), "haswell": ("ymm", " avx2"), "nehalem": ("xmm", "")}
    flags = Path("/proc/cpuinfo").read_text() if os.path.exists("/proc/cpuinfo") else ""
    for cpu, (kind, flag) in kinds.items():
        if flag not in flags or kind == registers():  # it cannot run here, or the other tests of this file are of it
            del cases[cpu]
    cases = {cpu: [*dtypes, *(f"options-{dtype}" for dtype in dtypes)] for cpu, dtypes in cases.items()}
    expected, running = {**DIGESTS, **OPTION_DIGESTS}, {}
    for cpu, dtypes in cases.items():  # side by side: most of the time is compilation
        variables = {**os.environ, "NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": "+sse2"}
        running[cpu] = subprocess.Popen(
            [sys.executable, same_bytes.__file__, *dtypes],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=variables,
        )  # fmt: skip
    for cpu, process in running.items():
        out, err = patience.finish(process)
        assert process.returncode == 0, err
        assert dict(line.split() for line in out.splitlines()) == {d: expected[d] for d in cases[cpu]}, cpu
