#!/bin/sh
# Everything that the tables are made of, in one go, on a machine that does nothing else (about 20 minutes on two cores).
#
#     PYTHON=.venv/bin/python benchmarks/quiet.sh [FOLDER]
#
# Writes JSON and logs into FOLDER (benchmarks/results) and fills the marked places of benchmarks/README.md. PYTHON needs
# the extra [bench]. The table of options.py is in its log. On a CPU with AVX-512 the peers run a second time restricted to AVX2, and are labelled so.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python} out=${1:-benchmarks/results} page=benchmarks/README.md
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"  # this tree, whatever is installed
mkdir -p "$out/machines"
now() { date +%s; }
timed() {  # NAME COMMAND ...: its output goes to a log of that name; a failure is told and does not stop the rest
    name=$1 start=$(now)
    shift
    "$@" > "$out/$name.log" 2>&1 || echo "$name FAILED, see $out/$name.log"
    echo "$name: $(($(now) - start)) s"
}
cpu=$("$python" -c 'from eirnn_np.bench.hardware import compiled_for, vectors; v = vectors(); print(v["compiled_for"], v["bytes"])')
bytes=${cpu#* } cpu=${cpu% *}

timed bench "$python" -m eirnn_np bench --json "$out/machines/$cpu.json"
timed peers "$python" benchmarks/peers.py --size all --no-compile --json "$out/peers.json" --figure "$out/peers.png" \
    --markdown "$page"
if [ "$bytes" -gt 32 ]; then
    timed peers_avx2 "$python" benchmarks/peers.py --size all --no-compile --repeats 10 --avx2 \
        --json "$out/peers_restricted_to_avx2.json" --markdown "$page"
    timed bench_avx2 env NUMBA_CPU_NAME=znver3 NUMBA_CPU_FEATURES=+sse2 "$python" -m eirnn_np bench \
        --json "$out/machines/$cpu-as-znver3.json"
fi
timed shares "$python" benchmarks/shares.py --json "$out/shares.json" --markdown "$page"
timed ladder "$python" benchmarks/ladder.py --json "$out/ladder.json" --figure docs/figures/ladder.png --markdown "$page"
timed options "$python" benchmarks/options.py
timed end_to_end "$python" benchmarks/end_to_end.py --json "$out/end_to_end.json" --figure docs/figures/end_to_end.png
timed machines "$python" benchmarks/machines.py
