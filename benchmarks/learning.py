"""Does training here end where the PyTorch original ends? Loss and accuracy over seeds, both on the same neurogym.

    python benchmarks/learning.py [--seeds 5] [--steps 5000] [--trials 5000] [--json FILE]

The seeds are 0, 1000, 2000 ...: stream b of a batch is drawn by seed + b, so neighbouring seeds would share trials.
Each seed trains both networks from their own starting parameters on the same batches. Reported: the mean loss
of the last 200 steps and the accuracy over new trials at 500/500 ms, evaluated by one code for both.
Needs torch (extra [test]).
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
import torch_oracle

import eirnn_np as ei
from eirnn_np.analysis import performance


def train_ours(config, seed, steps):
    params = ei.init_params(config, seed)
    trainer = ei.Trainer(config, params, seed=seed)
    losses, _ = ei.train(trainer, ei.make_batches(seed=seed), steps)
    return params, losses


def train_original(config, seed, steps):
    """The PyTorch original: eager, its own initialisation and noise, torch.optim.Adam."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)  # the faster choice at this size
    net = torch_oracle.Net(config.n_in, config.n_hidden, config.n_out, dtype=torch.float32)
    layer, n_exc = net.rnn.h2h, config.n_exc
    torch.nn.init.kaiming_uniform_(layer.weight, a=5**0.5)
    layer.weight.data[:, :n_exc] /= n_exc / (config.n_hidden - n_exc)
    torch.nn.init.uniform_(layer.bias, -(config.n_hidden**-0.5), config.n_hidden**-0.5)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
    batches, losses = ei.make_batches(seed=seed), []
    for _ in range(steps):
        inputs, labels = next(batches)
        noise = float(config.noise_scale[0]) * torch.randn(*inputs.shape[:2], config.n_hidden)
        optimiser.zero_grad()
        loss = torch_oracle.cross_entropy(net(torch.from_numpy(inputs), noise)[2], torch.from_numpy(labels))
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return ei.Params.from_state_dict(net.state_dict()), np.array(losses)


CONTESTANTS = {"eirnn-np": train_ours, "PyTorch original": train_original}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="how many (default 5)")
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--trials", type=int, default=5000)
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args(argv)
    config, rows = ei.ModelConfig(), []
    for seed in tqdm(range(0, 1000 * arguments.seeds, 1000), unit="seed", disable=None):
        for name, train in CONTESTANTS.items():
            params, losses = train(config, seed, arguments.steps)
            evaluation = ei.evaluate(config, params, n_trials=arguments.trials, seed=seed)
            result = performance(evaluation)
            rows.append({"seed": seed, "network": name, "loss": float(losses[-200:].mean()), **result})
    for name in CONTESTANTS:
        for key, title in (("loss", name), ("accuracy", "")):
            values = np.array([row[key] for row in rows if row["network"] == name])
            text = f"{values.mean():.4f} +- {values.std(ddof=1) if len(values) > 1 else 0:.4f} (sd)"
            print(f"{title:18}{key:>10} {text}   " + " ".join(f"{v:.4f}" for v in values))
    if arguments.json:
        Path(arguments.json).write_text(json.dumps({"steps": arguments.steps, "rows": rows}, indent=1) + "\n")
    return rows


if __name__ == "__main__":
    main()
