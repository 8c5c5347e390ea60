"""Coverage-guided fuzzing of everything that reads a file, with atheris (`pip install atheris`; Linux).

    python tests/fuzz/readers.py CORPUS [-max_total_time=3600] [other options of libFuzzer]

Fills the empty folder CORPUS with valid files first. The first byte of a case says what the rest is: a whole file of
one kind, or the metadata of one with right tensors and, for a checkpoint, a right digest. The outcome must be a value
or one of our errors, in at most -timeout seconds and -rss_limit_mb of memory, and no other file may appear.
"""

import contextlib
import io
import json
import sys
import tempfile
from pathlib import Path

import atheris

import eirnn_np as ei
from eirnn_np import checkpoint, params
from eirnn_np.files import digest_of, load_tensors, save_tensors
from eirnn_np.runs import Settings, read_run

# What follows coverage. Not whole modules: Numba compiles bytecode, and must not find atheris's in it.
for function in (
    *(params.load_params, params.load_tensors, params.real_array, params.check_params, params.finite_float),
    *(params.ModelConfig.__post_init__, params.ModelConfig.from_dict.__func__, params.Params.from_state_dict.__func__),
    *(checkpoint.load_checkpoint, checkpoint._parse, checkpoint._read_checked, read_run),
    *(Settings.__post_init__, ei.compare_golden, json.loads, json.JSONDecoder.raw_decode),
):
    atheris.instrument_func(function)

FOLDER = Path(tempfile.mkdtemp())
KINDS = {
    "params": ("run/params.safetensors", ei.load_params),
    "checkpoint": (f"run/{checkpoint.CHECKPOINT}", lambda path: ei.load_checkpoint(path.parent)),
    "golden": ("golden", lambda path: ei.compare_golden(path, path)),
    "config": ("run/config.json", lambda path: read_run(path.parent)),
    "losses": ("run/loss.csv", lambda path: read_run(path.parent)),
    "params' metadata": ("run/params.safetensors", ei.load_params),
    "checkpoint's metadata": (f"run/{checkpoint.CHECKPOINT}", lambda path: ei.load_checkpoint(path.parent)),
}


def prepare():
    from eirnn_np.cli import main

    arguments = "train --hidden 3 --steps 2 --batch-size 2 --seq-len 5 --trials 3 --no-figures --out".split()
    with contextlib.redirect_stdout(io.StringIO()):
        assert main([*arguments, str(FOLDER / "run")]) == 0
    (FOLDER / "run" / checkpoint.PREVIOUS).unlink()
    ei.write_golden(FOLDER / "golden", ei.ModelConfig(n_hidden=3), 2, 2)
    return {name: (FOLDER / name).read_bytes() for name, _ in KINDS.values()}


WHOLE = prepare()
TENSORS = {name: load_tensors(FOLDER / name) for name in WHOLE if name.endswith("safetensors")}
FILES = {str(path) for path in FOLDER.rglob("*")}


def one_case(data):
    if not data:
        return
    kind = list(KINDS)[data[0] % len(KINDS)]
    name, read = KINDS[kind]
    path, content = FOLDER / name, data[1:]
    if kind.endswith("metadata"):
        tensors, _ = TENSORS[name]
        try:
            metadata = json.loads(content)
            if isinstance(metadata, dict):
                metadata["digest"] = digest_of(tensors, {k: v for k, v in metadata.items() if k != "digest"})
            save_tensors(path, tensors, metadata)
        except (ValueError, RecursionError):
            return
    else:
        path.write_bytes(content)
    try:
        read(path)
    except (ValueError, TypeError, checkpoint.RunError):
        pass
    finally:
        path.write_bytes(WHOLE[name])
    found = {str(path) for path in FOLDER.rglob("*")}
    assert found == FILES, found ^ FILES


def main():
    corpus = Path(sys.argv[1])
    corpus.mkdir(parents=True, exist_ok=True)
    for number, (kind, (name, _)) in enumerate(KINDS.items()):
        content = WHOLE[name]
        if kind.endswith("metadata"):
            content = json.dumps(TENSORS[name][1]).encode()
        (corpus / f"valid-{number}").write_bytes(bytes([number]) + content)
    atheris.Setup([sys.argv[0], "-timeout=20", "-rss_limit_mb=2048", "-max_len=20000", *sys.argv[1:]], one_case)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
