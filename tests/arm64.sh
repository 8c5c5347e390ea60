#!/bin/sh
# Does ARM give the committed bytes? Runs tests/same_bytes.py, both dtypes, in an emulated Debian for arm64.
#
#   tests/arm64.sh [FOLDER]        about 25 minutes on two cores; needs Debian, root and 1.5 GB in FOLDER
#
# FOLDER (/var/tmp/eirnn-arm64 by default) is kept: with it a second run takes only the time of the training. The
# packages have the versions of the Python that `python3`, or $PYTHON, runs here.
set -eu

tree=$(realpath -m "${1:-/var/tmp/eirnn-arm64}")
repository=$(realpath "$(dirname "$0")/..")
python=${PYTHON:-python3}
[ "$(id -u)" = 0 ] || { echo "arm64.sh: must be run as root" >&2; exit 2; }

if [ ! -e "$tree/ready" ]; then
    apt-get install -qq -y debootstrap qemu-user-static binfmt-support >/dev/null
    mountpoint -q /proc/sys/fs/binfmt_misc || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
    update-binfmts --enable qemu-aarch64
    rm -rf "$tree"
    debootstrap --foreign --arch=arm64 --variant=minbase --include=python3,libgomp1 bookworm "$tree" >"$tree.log"
    chroot "$tree" /debootstrap/debootstrap --second-stage >>"$tree.log"
    for name in numpy numba llvmlite safetensors; do
        version=$("$python" -c "import importlib.metadata as m; print(m.version('$name'))")
        "$python" -m pip download -q --no-deps --only-binary=:all: --python-version 3.11 --dest "$tree/wheels" \
            --platform manylinux2014_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux_2_28_aarch64 \
            "$name==$version"
    done
    for wheel in "$tree"/wheels/*.whl; do
        "$python" -m zipfile -e "$wheel" "$tree/usr/lib/python3/dist-packages"
    done
    touch "$tree/ready"
fi

rm -rf "$tree/eirnn"
mkdir "$tree/eirnn"
cp -r "$repository/eirnn_np" "$repository/tests" "$tree/eirnn"
rm -rf "$tree"/eirnn/*/__pycache__
[ -e "$tree/proc/cpuinfo" ] || mount -t proc proc "$tree/proc"
trap 'umount "$tree/proc"' EXIT
for dtype in float32 float64; do
    chroot "$tree" /usr/bin/env -i PATH=/usr/bin:/bin PYTHONPATH=/eirnn NUMBA_NUM_THREADS=1 NUMBA_CACHE_DIR=/tmp/numba \
        python3 /eirnn/tests/same_bytes.py "$dtype"
done
