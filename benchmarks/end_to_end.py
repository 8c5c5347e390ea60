"""From batches to a trained network: start-up and compilation apart, how long do the tutorial's 5,000 steps take?

    python benchmarks/end_to_end.py [--steps 5000] [--rounds 5] [--json FILE] [--figure FILE]

Contestants: eirnn-np on its compiled replay, eirnn-np on neurogym itself, and on neurogym as their tutorials have it
the PyTorch original and, if it is installed (extra [bench]), BrainPy's network. The slow ones run `--peer-steps` steps
a round and are scaled to `--steps`; rounds are interleaved in one process, one contestant at a time. Needs torch
(extra [test]).
"""

import argparse
import importlib.util
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
import contestants
import torch_oracle

import eirnn_np as ei


class Ours:
    def __init__(self, source):
        config = ei.ModelConfig()
        self.batches = ei.make_batches(source=source)
        self.trainer = ei.Trainer(config, ei.init_params(config))

    def step(self, inputs, labels):
        return self.trainer.step(inputs, labels)


class Original:
    """The PyTorch original: eager, one thread, which is its fastest at this size."""

    def __init__(self):
        torch.manual_seed(0)
        torch.set_num_threads(1)
        self.batches = ei.make_batches(source="neurogym")
        self.net = torch_oracle.Net(3, 50, 3, dtype=torch.float32)
        start = ei.init_params(ei.ModelConfig()).state_dict()
        self.net.load_state_dict({k: torch.from_numpy(v) for k, v in start.items()})
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr=1e-3)

    def step(self, inputs, labels):
        noise = 0.0948683298 * torch.randn(*inputs.shape[:2], 50)  # sqrt(2 alpha) sigma_rec
        self.optimiser.zero_grad()
        outputs = self.net(torch.from_numpy(inputs), noise)[2]
        loss = torch_oracle.cross_entropy(outputs, torch.from_numpy(labels))
        loss.backward()
        self.optimiser.step()
        return loss.item()


class BrainPy:
    """BrainPy's tutorial network, jitted; its dynamics, so its first loss is another one."""

    def __init__(self):
        config = ei.ModelConfig(dynamics="brainpy")
        start = ei.init_params(config).state_dict()
        problem = contestants.Problem(start, config.n_exc, float(config.alpha[0]), float(config.noise_scale[0]))
        self.batches = ei.make_batches(source="neurogym")
        self.peer = contestants.BrainPy(problem, [next(ei.make_batches())], threads=None)

    def step(self, inputs, labels):
        return float(self.peer.train(self.peer.bm.asarray(inputs), self.peer.bm.asarray(labels)))


def verify(racers):
    """Same batches for all, and from the same parameters the same first loss, to what the noise allows.

    BrainPy's has dynamics of its own, and one noise for all trials: its loss is compared with that of our
    dynamics="brainpy" on the same noise.
    """
    firsts = {name: next(c.batches) for name, c in racers.items()}
    reference = next(iter(firsts.values()))
    for name, batch in firsts.items():
        assert all(np.array_equal(a, b) for a, b in zip(batch, reference)), f"{name}: other batches"
    if "BrainPy's tutorial" in racers:
        config = ei.ModelConfig(dynamics="brainpy")
        noise = ei.recurrent_noise(config, 1, 0, *reference[0].shape[:2])
        expected, _ = ei.loss_and_grads(config, ei.init_params(config), *reference, noise)
        found, _ = racers["BrainPy's tutorial"].peer.loss_and_grads(*reference, noise)
        assert abs(found / expected - 1) < 1e-4, f"loss of BrainPy {found} instead of {expected}"
    losses = {name: c.step(*firsts[name]) for name, c in racers.items() if name != "BrainPy's tutorial"}
    assert max(losses.values()) - min(losses.values()) < 0.02, f"first losses differ: {losses}"


def measure(contestant, steps):
    """(seconds for batches, seconds for training) of `steps` steps."""
    batches = training = 0.0
    for _ in range(steps):
        start = time.perf_counter()
        batch = next(contestant.batches)
        middle = time.perf_counter()
        contestant.step(*batch)
        batches += middle - start
        training += time.perf_counter() - middle
    return batches, training


def draw(path, rows, steps):
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from eirnn_np import figures

    with mpl.rc_context(figures.STYLE):
        figure = Figure(figsize=(6.8, 2.8), layout="constrained")
        ax = figure.subplots()
        names = list(rows)[::-1]
        batches, training = (
            np.array([rows[name][part]["median"] for name in names]) for part in ("batches", "training")
        )
        ax.barh(names, batches, color="#e08214", label="batches")
        ax.barh(names, training, left=batches, color="#1f5fa8", label="training")
        for y, total in enumerate(batches + training):
            ax.text(total, y, f" {total:.1f} s", va="center")
        ax.set(xlabel=f"Seconds for {steps:,} steps", xlim=(0, 1.15 * (batches + training).max()))
        ax.legend(loc="upper right")
        figures.save_figure(path, figure)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--peer-steps", type=int, default=100, help="of the slow contestants in a round (default 100)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--figure", metavar="FILE")
    arguments = parser.parse_args(argv)
    racers = {
        "eirnn-np": Ours("compiled"),
        "eirnn-np on neurogym": Ours("neurogym"),
        "PyTorch original": Original(),
    }
    if importlib.util.find_spec("brainpy"):
        racers["BrainPy's tutorial"] = BrainPy()
    verify(racers)
    samples = {name: [] for name in racers}
    for _ in range(arguments.rounds):
        for name, contestant in racers.items():
            steps = arguments.steps if name == "eirnn-np" else min(arguments.steps, arguments.peer_steps)
            samples[name].append(np.array(measure(contestant, steps)) * arguments.steps / steps)
    ours = np.array([sum(s) for s in samples["eirnn-np"]])
    rows = {}
    print(f"{'':24}{'batches':>12}{'training':>12}{'total':>12}{'ratio':>28}   (s for {arguments.steps} steps)")
    for name, values in samples.items():
        values = np.array(values)
        ratio = values.sum(axis=1) / ours
        rows[name] = {
            "batches": {"median": float(np.median(values[:, 0]))},
            "training": {"median": float(np.median(values[:, 1]))},
            "ratio": {"median": float(np.median(ratio)), "min": float(ratio.min()), "max": float(ratio.max())},
            "samples": values.tolist(),
        }
        batches, training, total = np.median(np.column_stack([values, values.sum(axis=1)]), axis=0)
        spread = f"{np.median(ratio):.1f} ({ratio.min():.1f} - {ratio.max():.1f})"
        print(f"{name:24}{batches:12.2f}{training:12.2f}{total:12.2f}{spread:>28}")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps({"steps": arguments.steps, "contestants": rows}, indent=1) + "\n")
    if arguments.figure:
        draw(arguments.figure, rows, arguments.steps)
    return rows


if __name__ == "__main__":
    main()
