"""What takes the time in one training step? Its parts alone, each in a compiled loop, as shares of the whole.

    python benchmarks/shares.py [--size tutorial medium large] [--repeats 30] [--json FILE] [--markdown FILE]

The parts are the very functions of eirnn_np/kernels, called on the workspace of a trainer after a step. A part that
runs alone finds its arrays in the caches, so the shares of the parts are lower bounds; what they leave of the whole is
in the last row.
"""

import argparse
import time

import common
import numpy as np

import eirnn_np as ei
from eirnn_np import kernels as k
from eirnn_np.jit import entry

LANES = 16  # of float32 in 64 bytes


@entry
def noise(ws, m, T, H, n):
    normals = ws.normals[0, : m * ws.dw.shape[2]].reshape((m, ws.dw.shape[2]))
    for _ in range(n):
        for t in range(T):
            k.normal_rows(normals, ws.words[0], np.uint64(3), 1, t, False, 0, m, H)


@entry
def forward_product(ws, m, T, H, I, O, n):
    stride = ws.dw.shape[2]
    x, rows = ws.x[0], ws.rows[0]
    vecs = (H + O + LANES - 1) // LANES
    for _ in range(n):
        x[:] = 0
        for s in range(T + 1):
            k.product(x, 0, stride, rows, s * m * stride, stride, 1, ws.wf, 0, 0, m, H + I + 1, vecs)


@entry
def backward_product(ws, m, T, H, O, n):
    stride, block = ws.dw.shape[2], ws.errs.shape[1] // ws.x.shape[1]
    dr, errs = ws.dr[0], ws.errs[0]
    vecs = (H + LANES - 1) // LANES
    for _ in range(n):
        dr[:] = 0
        for s in range(T + 1):
            row = (s % block) * m * stride
            k.product(dr, 0, stride, errs, row, stride, 1, ws.wb, 0, 0, m, H + O, vecs)


@entry
def weight_product(ws, m, T, H, I, O, n):
    stride, block = ws.dw.shape[2], ws.errs.shape[1] // ws.x.shape[1]
    dw, rows, errs = ws.dw[0].reshape(ws.dw[0].size), ws.rows[0], ws.errs[0]
    vecs = (H + I + LANES) // LANES
    for _ in range(n):
        dw[:] = 0
        for s in range(0, T + 1, block):
            length = min(block, T + 1 - s) * m
            k.product(dw, 0, stride, errs, 0, 1, stride, rows, s * m * stride, stride, H + O, length, vecs)


@entry
def loss(ws, m, T, O, labels, weights, n):
    z = ws.z[0, : O * T * m].reshape((O, T * m))
    for _ in range(n):
        k.cross_entropy(ws.loss[0], z, ws.soft[0], labels, weights, 0, m)


@entry
def pack(ws, network, I, O, n):
    for _ in range(n):
        for q in range((network.mask.shape[0] + O + LANES - 1) // LANES):
            k.pack_units(ws, network, True, I, O, q)


@entry
def gather_and_adam(out, ws, network, update, I, O, n):
    H, R, params = network.mask.shape[0], network.n_read, network.params
    coefficients = k.adam_coefficients(np.float32, update)
    for _ in range(n):
        for q in range((H + O + LANES - 1) // LANES):
            lo, hi = q * LANES, min(q * LANES + LANES, H + O)
            k.gather_units(out, ws, network, lo, hi, I, O)
            k.update_units(params, update, out.grads, coefficients, True, lo, hi, I, H, R, O)


def parts(trainer, batch):
    """{name: (function(n), times a step)} for one thread: what is done for each chunk counts once per chunk."""
    config, model = trainer.config, trainer._model
    ws, weights = trainer._room(batch[0].shape)
    (T, B, I), H, O = batch[0].shape, config.n_hidden, config.n_out
    chunks = len(ws.dw)
    m, network = -(-B // chunks), model.network(trainer.params)
    out = model.outputs(trainer.grads, model._no_update)
    update = trainer.optimiser.next_update(trainer.params)._replace(
        done=np.array([999.0, 0.0, 0.0]), lr=0.0
    )  # the weights stay
    return {
        "forward product": (lambda n: forward_product(ws, m, T, H, I, O, n), chunks),
        "backward product": (lambda n: backward_product(ws, m, T, H, O, n), chunks),
        "weight gradient product": (lambda n: weight_product(ws, m, T, H, I, O, n), chunks),
        "noise": (lambda n: noise(ws, m, T, H, n), chunks),
        "softmax and loss": (lambda n: loss(ws, m, T, O, batch[1], weights, n), chunks),
        "packing the weights": (
            lambda n: pack(ws, network, I, O, n), 1),
        "gathering gradients, Adam": (
            lambda n: gather_and_adam(out, ws, network, update, I, O, n), 1),
    }  # fmt: skip


def measure(size, repeats):
    """{"seconds" of a step, "parts": {name: seconds a step}}: medians over rounds in which all take turns."""
    config = common.make_config(size)
    batch = common.make_batches(size, 1)[0]
    trainer = ei.Trainer(config, ei.init_params(config), threads=1)
    trainer.step(*batch)

    def whole(n):
        for _ in range(n):
            trainer.step(*batch)

    contestants = {"whole step": (whole, 1), **parts(trainer, batch)}
    loops = min(200, max(1, int(0.004 / (size.flop / 1e11))))
    samples = {name: [] for name in contestants}
    for function, _ in contestants.values():
        function(1)
    for _ in range(repeats):
        for name, (function, times) in contestants.items():
            start = time.perf_counter()
            function(loops)
            samples[name].append((time.perf_counter() - start) / loops * times)
    median = {name: float(np.median(values)) for name, values in samples.items()}
    total = median.pop("whole step")
    median["the rest: leak, ReLU, masks, copies, the call"] = total - sum(median.values())
    return {"size": str(size), "seconds": total, "parts": median}


def markdown(result):
    """The machine, and a table with two columns for each size."""
    machine, sizes = result["machine"], result["sizes"]
    lines = [f"One thread; {machine['cpu']}, {common.vectors_text(machine['vectors'])}; {machine['date']}.", ""]
    lines.append("| part | " + " | ".join(f"{name}, us | share" for name in sizes) + " |")
    lines.append("|---|" + "---:|---:|" * len(sizes))
    for part in next(iter(sizes.values()))["parts"]:
        each = [(found["parts"][part], found["seconds"]) for found in sizes.values()]
        lines.append(
            f"| {part} | " + " | ".join(f"{1e6 * t:.1f} | {100 * t / total:.0f} %" for t, total in each) + " |"
        )
    lines.append("| a step on one thread | " + " | ".join(f"{1e6 * f['seconds']:.0f} |" for f in sizes.values()) + " |")
    return "\n".join(lines) + "\n"


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", nargs="+", default=["tutorial", "medium"], choices=[*common.SIZES, "toy"])
    parser.add_argument("--repeats", type=int, default=30, help="rounds (30)")
    parser.add_argument("--json", metavar="FILE", help="write everything that was measured")
    parser.add_argument("--markdown", metavar="FILE", help="put the table between the marks <!-- shares --> of a file")
    arguments = parser.parse_args(argv)
    sizes = common.SIZES | {"toy": common.TOY}
    found = {name: measure(sizes[name], arguments.repeats) for name in arguments.size}
    result = {"machine": common.machine(), "sizes": found}
    print(markdown(result), end="")
    if arguments.json:
        common.write_json(arguments.json, result)
    if arguments.markdown:
        common.fill_marked(arguments.markdown, "shares", markdown(result))
    return 0


if __name__ == "__main__":
    main()
