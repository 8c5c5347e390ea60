"""What takes the time in one training step? Its parts alone, each in a compiled loop, as shares of the whole.

    python benchmarks/shares.py [--size tutorial medium large] [--repeats 30] [--json FILE] [--markdown FILE]

The parts are the very functions of eirnn_np/kernels, called on the workspace of a trainer after a step. A part that
runs alone finds its arrays in the caches, so the shares of the parts are lower bounds; what they leave of the whole is
in the last row but one. Products are given as a share of the FMA peak of one core, too. Above the table is what the
micro-kernel reaches on a block that stays in the first-level cache: the rest is starts and ends of tiles, and memory.
"""

import argparse
import time

import common
import numpy as np

import eirnn_np as ei
from eirnn_np import kernels as k
from eirnn_np.compiled import aligned_zeros
from eirnn_np.jit import entry, view
from eirnn_np.kernels.tile import DEPTH, ROWS, VECS

LANES = 16  # of float32 in 64 bytes
BLOCK = 2 * ROWS[-1], DEPTH, VECS * LANES  # m, n and columns of a product in the first-level cache


@entry
def noise(ws, m, T, H, n):
    stride = ws.sums.shape[1]
    normals, words = view(ws.normals, 0, (m, stride)), view(ws.words, 0, (m, (stride + 63) // 64 * 64))
    for _ in range(n):
        for t in range(T):
            k.normal_rows(normals, words, np.uint64(3), 1, t, False, 0, m, H)


@entry
def block(c, a, b, parts, depth, columns, n):
    for _ in range(n):
        k.product(c, columns, LANES, a, depth, 1, b, 0, 0, parts, depth, columns // LANES)


@entry
def forward_product(ws, side, m, T, H, I, O, n):
    """Of the first `side` chunks."""
    stride, row, vecs = ws.sums.shape[1], ws.x.shape[1], (H + O + LANES - 1) // LANES
    x, rows = ws.x.reshape(ws.x.size), ws.rows.reshape(ws.rows.size)
    parts = view(ws.parts, 0, (side, k.PART))
    parts[:, 2] = m
    for _ in range(n):
        x[:] = 0
        for s in range(T + 1):
            for c in range(side):
                parts[c, 0], parts[c, 1] = c * row, c * ws.rows.shape[1] + s * m * stride
            k.product(x, stride, LANES, rows, stride, 1, ws.wf, 0, 0, parts, H + I + 1, vecs)


@entry
def backward_product(ws, side, m, T, H, O, n):
    stride, row, vecs = ws.sums.shape[1], ws.x.shape[1], (H + LANES - 1) // LANES
    dr, errs, parts = ws.dr.reshape(ws.dr.size), ws.errs.reshape(ws.errs.size), view(ws.parts, 0, (side, k.PART))
    block = (k.BLOCK + m - 1) // m
    parts[:, 2] = m
    for _ in range(n):
        dr[:] = 0
        for s in range(T + 1):
            for c in range(side):
                parts[c, 0], parts[c, 1] = c * row, c * ws.errs.shape[1] + (s % block) * m * stride
            k.product(dr, stride, LANES, errs, stride, 1, ws.wb, 0, 0, parts, H + O, vecs)


@entry
def weight_product(ws, m, T, n):
    stride, block, part = ws.sums.shape[1], (k.BLOCK + m - 1) // m, view(ws.parts, 0, (1, k.PART))
    dw, M, packed = ws.dw[0].reshape(ws.dw[0].size), ws.dw.shape[2], ws.packed[0]
    parts = view(ws.packed_parts, 0, ((M + k.GROUP - 1) // k.GROUP, k.PART))
    for _ in range(n):
        dw[:] = 0
        for s in range(0, T + 1, block):
            length = min(block, T + 1 - s) * m
            k.weight_product(dw, M, packed, parts, ws.errs[0], 0, ws.rows[0], s * m * stride, stride, part, length)


@entry
def loss(ws, m, T, O, labels, weights, n):
    z, soft = view(ws.z, 0, (O, T * m)), view(ws.soft, 0, (5, T * m))
    for _ in range(n):
        k.cross_entropy(ws.loss[0], z, soft, labels, weights, 0, m)


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
    side = k.desk_count(H, False) if chunks % 2 == 0 else 1  # of a thread
    m, network = -(-B // chunks), model.network(trainer.params)
    out = model.outputs(trainer.grads, model._no_update)
    update = trainer.optimiser.next_update(trainer.params)._replace(
        done=np.array([999.0, 0.0, 0.0]), lr=0.0
    )  # the weights stay
    return {
        "forward product": (lambda n: forward_product(ws, side, m, T, H, I, O, n), chunks // side),
        "backward product": (lambda n: backward_product(ws, side, m, T, H, O, n), chunks // side),
        "weight gradient product": (lambda n: weight_product(ws, m, T, n), chunks),
        "noise": (lambda n: noise(ws, m, T, H, n), chunks),
        "softmax and loss": (lambda n: loss(ws, m, T, O, batch[1], weights, n), chunks),
        "packing the weights": (
            lambda n: pack(ws, network, I, O, n), 1),
        "gathering gradients, Adam": (
            lambda n: gather_and_adam(out, ws, network, update, I, O, n), 1),
    }  # fmt: skip


def block_rate():
    """A function that measures the FLOP/s of the micro-kernel on a block that stays in the first-level cache."""
    rows, depth, columns = BLOCK
    c, a, b = (aligned_zeros((size,), np.float32) for size in (rows * columns, rows * depth, depth * columns))
    part, n = np.zeros((1, k.PART), np.int64), 2000
    part[0, 2] = rows

    def rate():
        start = time.perf_counter()
        block(c, a, b, part, depth, columns, n)
        return 2 * rows * depth * columns * n / (time.perf_counter() - start)

    rate()
    return rate


def measure(size, repeats, peak):
    """Medians over rounds in which all take turns; `peak` is a function that measures one core's FMA rate.

    {"seconds" of a step, "parts": {name: seconds a step}, "flop" of one product, "peak" and "block": FLOP/s}
    """
    config = common.make_config(size)
    batch = common.make_batches(size, 1)[0]
    trainer = ei.Trainer(config, ei.init_params(config), threads=1)
    trainer.step(*batch)

    def whole(n):
        for _ in range(n):
            trainer.step(*batch)

    contestants = {"whole step": (whole, 1), **parts(trainer, batch)}
    loops = min(200, max(1, int(0.004 / (size.flop / 1e11))))
    samples, peaks, blocks, block_of = {name: [] for name in contestants}, [], [], block_rate()
    for function, _ in contestants.values():
        function(1)
    for _ in range(repeats):
        peaks.append(peak(1))
        blocks.append(block_of())
        for name, (function, times) in contestants.items():
            start = time.perf_counter()
            function(loops)
            samples[name].append((time.perf_counter() - start) / loops * times)
    median = {name: float(np.median(values)) for name, values in samples.items()}
    total = median.pop("whole step")
    median["the rest: leak, ReLU, masks, copies, the call"] = total - sum(median.values())
    rates = {"flop": size.flop / 3, "peak": max(peaks), "block": float(np.median(blocks))}
    return {"size": str(size), "seconds": total, "parts": median, "n": repeats, **rates}


def markdown(result):
    """The machine, and a table with two columns for each size."""
    machine, sizes = result["machine"], result["sizes"]
    rounds = next(iter(sizes.values()))["n"]
    lines = [
        f"One thread; medians of {rounds} rounds; {machine['cpu']}, {common.vectors_text(machine['vectors'])}; "
        f"{machine['date']}; FMA peak of a core "
        f"{max(found['peak'] for found in sizes.values()) / 1e9:.0f} GFLOP/s; the micro-kernel on a block in the "
        f"first-level cache: {max(100 * found['block'] / found['peak'] for found in sizes.values()):.0f} % of it.",
        "",
        "| part | " + " | ".join(f"{name}, us | share | of the peak" for name in sizes) + " |",
        "|---|" + "---:|---:|---:|" * len(sizes),
    ]

    def row(name, seconds, product, part):
        cells = []
        for found in sizes.values():
            t = seconds(found)
            share = f"{100 * t / found['seconds']:.0f} %" if part else ""
            of_peak = f"{100 * found['flop'] * product / t / found['peak']:.0f} %" if product else ""
            cells.append(f"{1e6 * t:.1f} | {share} | {of_peak}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")

    for name in next(iter(sizes.values()))["parts"]:
        row(name, lambda found: found["parts"][name], name.endswith("product"), True)  # noqa: B023
    row("a step on one thread", lambda found: found["seconds"], 3, False)
    return "\n".join(lines) + "\n"


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", nargs="+", default=["tutorial", "medium"], choices=[*common.SIZES, "toy"])
    parser.add_argument("--repeats", type=int, default=30, help="rounds (30)")
    parser.add_argument("--json", metavar="FILE", help="write everything that was measured")
    parser.add_argument("--markdown", metavar="FILE", help="put the table between the marks <!-- shares --> of a file")
    arguments = parser.parse_args(argv)
    sizes = common.SIZES | {"toy": common.TOY}
    peak = common.fma_peak()
    found = {name: measure(sizes[name], arguments.repeats, peak) for name in arguments.size}
    result = {"machine": common.machine(), "sizes": found}
    print(markdown(result), end="")
    if arguments.json:
        common.write_json(arguments.json, result)
    if arguments.markdown:
        common.fill_marked(arguments.markdown, "shares", markdown(result))
    return 0


if __name__ == "__main__":
    main()
