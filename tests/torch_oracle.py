"""The PyTorch original's equations (gyyang/nn-brain, EI_RNN.ipynb), written out. Imports torch and numpy only.

Noise is an input, never drawn here. Gradients are autograd's. The original's recurrent layer always takes
e_prop 0.8; here it follows e_ratio. Shares no code with eirnn_np.
"""

import numpy as np
import torch
from torch import nn


class EIRecLinear(nn.Module):
    def __init__(self, hidden, n_exc):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(hidden, hidden))
        self.bias = nn.Parameter(torch.zeros(hidden))
        mask = np.tile([1.0] * n_exc + [-1.0] * (hidden - n_exc), (hidden, 1))
        np.fill_diagonal(mask, 0)
        self.mask = torch.tensor(mask)

    def forward(self, r):
        return nn.functional.linear(r, torch.abs(self.weight) * self.mask, self.bias)


class EIRNN(nn.Module):
    """x_t = (1 - alpha) x_{t-1} + alpha (h2h(r_{t-1}) + input2h(u_t)) + noise_t, as `rnn` of the original."""

    def __init__(self, n_in, hidden, n_exc, alpha):
        super().__init__()
        self.input2h = nn.Linear(n_in, hidden)
        self.h2h = EIRecLinear(hidden, n_exc)
        self.alpha = torch.as_tensor(alpha, dtype=torch.float64)

    def forward(self, u, noise, x0=None):
        x = torch.zeros(u.shape[1], self.h2h.weight.shape[0], dtype=u.dtype)
        if x0 is not None:
            x = x + x0
        r = torch.relu(x)
        states, rates = [], []
        for t in range(len(u)):
            total = self.input2h(u[t]) + self.h2h(r)
            x = x * (1 - self.alpha) + total * self.alpha + noise[t]
            r = torch.relu(x)
            states.append(x)
            rates.append(r)
        return torch.stack(states), torch.stack(rates)


class Net(nn.Module):
    def __init__(self, n_in, hidden, n_out, e_ratio=0.8, alpha=0.2, dtype=torch.float64):
        super().__init__()
        self.n_exc = int(e_ratio * hidden)
        self.rnn = EIRNN(n_in, hidden, self.n_exc, alpha)
        self.fc = nn.Linear(self.n_exc, n_out)
        self.to(dtype)
        self.rnn.h2h.mask = self.rnn.h2h.mask.to(dtype)
        self.rnn.alpha = self.rnn.alpha.to(dtype)

    def forward(self, u, noise, x0=None):
        states, rates = self.rnn(u, noise, x0)
        return states, rates, self.fc(rates[:, :, : self.n_exc])


class BrainPyNet(nn.Module):
    """The BrainPy tutorial's equations: ``h @ (|w| * mask)`` with w[from, to], the leak on the rectified state.

    Its parameters have that tutorial's names and shapes: w_ir (I, H), w_rr (H, H), b_rr, w_ro (E, O), b_ro.
    """

    def __init__(self, w_ir, w_rr, b_rr, w_ro, b_ro, alpha):
        super().__init__()
        arrays = {"w_ir": w_ir, "w_rr": w_rr, "b_rr": b_rr, "w_ro": w_ro, "b_ro": b_ro}
        for name, array in arrays.items():
            setattr(self, name, nn.Parameter(torch.tensor(np.array(array))))
        self.n_exc, hidden = w_ro.shape[0], w_rr.shape[0]
        mask = np.tile([1.0] * self.n_exc + [-1.0] * (hidden - self.n_exc), (hidden, 1))
        np.fill_diagonal(mask, 0)
        self.mask, self.alpha = torch.tensor(mask), alpha

    def forward(self, u, noise):
        h = torch.zeros(u.shape[1], self.w_rr.shape[0], dtype=u.dtype)
        rates = []
        for t in range(len(u)):
            ins = u[t] @ self.w_ir + h @ (torch.abs(self.w_rr) * self.mask) + self.b_rr
            h = torch.relu(h * (1 - self.alpha) + ins * self.alpha + noise[t])
            rates.append(h)
        rates = torch.stack(rates)
        return rates, rates[:, :, : self.n_exc] @ self.w_ro + self.b_ro


def cross_entropy(outputs, labels, weights=None):
    """Mean over all time steps and trials, or with weights (T, B) their weighted mean."""
    nll = nn.functional.cross_entropy(outputs.flatten(0, 1), labels.flatten(), reduction="none")
    if weights is None:
        return nll.mean()
    return (weights.flatten() * nll).sum() / weights.sum()


def squared_error(outputs, targets, weights=None):
    error = ((outputs - targets) ** 2).mean(dim=-1)
    return error.mean() if weights is None else (weights * error).sum() / weights.sum()


def loss_and_grads(state_dict, inputs, labels, noise, e_ratio, alpha, mask=None, x0=None, weights=None, squared=False):
    """(loss, {key: gradient}, states, rates, outputs) in float64, all as numpy."""
    w_in, w_out = np.asarray(state_dict["rnn.input2h.weight"]), np.asarray(state_dict["fc.weight"])
    net = Net(w_in.shape[1], w_in.shape[0], w_out.shape[0], e_ratio, alpha)
    as64 = lambda a: torch.tensor(np.asarray(a, dtype=np.float64))  # noqa: E731
    net.load_state_dict({k: as64(v) for k, v in state_dict.items() if k != "rnn.x0"})
    if mask is not None:
        net.rnn.h2h.mask = as64(mask)
    start = None if x0 is None else as64(x0).requires_grad_()
    states, rates, outputs = net(as64(inputs), as64(noise), start)
    weights = None if weights is None else as64(weights)
    if squared:
        loss = squared_error(outputs, as64(labels), weights)
    else:
        loss = cross_entropy(outputs, torch.tensor(np.asarray(labels)), weights)
    loss.backward()
    grads = {name: p.grad.numpy() for name, p in net.named_parameters()}
    if start is not None:
        grads["rnn.x0"] = start.grad.numpy()
    return loss.item(), grads, states.detach().numpy(), rates.detach().numpy(), outputs.detach().numpy()


# --- The model with all its options, from the equations of the paper and of its authors' code ---

RATES = {
    "relu": torch.relu,
    "softplus": nn.functional.softplus,
    "tanh": torch.tanh,
    "retanh": lambda x: torch.relu(torch.tanh(x)),
    "sigmoid": torch.sigmoid,
}
WEIGHTS = {"abs": torch.abs, "rectify": torch.relu, "free": lambda theta: theta}


def effective_inputs(inputs, noise, options):
    u = options["baseline_in"] + inputs + (0 if noise is None else noise)
    return torch.relu(u) if options["rectify_inputs"] else u


def run(theta, u, noise, options):
    """States, rates, outputs, and the effective recurrent weights; theta: dict of tensors by our short names."""
    brainpy, f = options["dynamics"] == "brainpy", RATES[options["activation"]]
    w_in, w_rec, w_out = (
        WEIGHTS[options[kind]](theta[name]) * options[mask]
        for name, kind, mask in (
            ("w_in", "constraint_in", "mask_in"),
            ("w_rec", "constraint", "mask"),
            ("w_out", "constraint_out", "mask_out"),
        )
    )
    bias = theta["b_rec"] if brainpy else theta["b_rec"] + theta["b_in"]
    alpha = options["alpha"]
    x = theta["x0"].expand(u.shape[1], -1) if "x0" in theta else torch.zeros(u.shape[1], len(w_rec), dtype=u.dtype)
    r, states, rates = f(x), [], []
    for t in range(len(u)):
        current = nn.functional.linear(r, w_rec, bias) + nn.functional.linear(u[t], w_in)
        x = (r if brainpy else x) * (1 - alpha) + current * alpha + noise[t]
        r = f(x)
        states.append(x)
        rates.append(r)
    outputs = nn.functional.linear(torch.stack(rates)[..., : w_out.shape[1]], w_out, theta["b_out"])
    return states, rates, outputs, w_rec


def omega_of(loss, states, w_rec, options):
    """Omega of the paper, with the deltas of autograd; a function of w_rec with deltas and states held constant."""
    deltas = [delta.detach() for delta in torch.autograd.grad(loss, states, retain_graph=True)]
    terms, alpha, f = [], options["alpha"], RATES[options["activation"]]
    for k in range(len(states) - 1):
        x = states[k].detach().requires_grad_()
        (slope,) = torch.autograd.grad(f(x).sum(), x)
        e = (1 - alpha) * deltas[k + 1]
        v = (1 - alpha) * e + ((alpha * e) @ w_rec) * slope
        for b in range(len(e)):
            if (size := (e[b] ** 2).sum()) >= 1e-20:
                terms.append(((v[b] ** 2).sum() / size - 1) ** 2)
    return sum(terms) / len(terms) if terms else 0 * w_rec.sum()


def with_options(params, inputs, labels, noise, weights, input_noise, options):
    """(loss, {name: gradient}, outputs, Omega, its gradient at w_rec) in float64, all as numpy.

    options: the fields of a configuration that say more than sizes, with alpha (H,), the three masks as arrays, and
    penalties as a dict.
    """
    as64 = lambda a: torch.tensor(np.asarray(a, dtype=np.float64))  # noqa: E731
    options = {k: as64(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    theta = {name: as64(value).requires_grad_() for name, value in params.items()}
    u = effective_inputs(as64(inputs), None if input_noise is None else as64(input_noise), options)
    states, rates, outputs, w_rec = run(theta, u, as64(noise), options)
    weights = None if weights is None else as64(weights)
    if options["loss"] == "squared_error":
        loss = squared_error(outputs, as64(labels), weights)
    else:
        loss = cross_entropy(outputs, torch.tensor(np.asarray(labels)), weights)
    penalties = options["penalties"]
    total, omega, d_omega = loss, 0.0, torch.zeros_like(w_rec)
    if options["dynamics"] != "brainpy":
        value = omega_of(loss, states, w_rec, options)
        omega, (d_omega,) = value.item(), torch.autograd.grad(value, theta["w_rec"], retain_graph=True)
    for which in ("in", "rec", "out"):
        entries = theta[f"w_{which}"].flatten()
        total = total + penalties[f"l1_{which}"] * torch.linalg.vector_norm(entries, 1) / len(entries)
        total = total + penalties[f"l2_{which}"] * torch.dot(entries, entries) / len(entries)
    total = total + penalties["l2_rates"] * torch.stack(rates).square().mean()
    total.backward()
    grads = {k: np.zeros(v.shape) if v.grad is None else v.grad.numpy() for k, v in theta.items()}
    grads["w_rec"] = grads["w_rec"] + penalties["omega"] * d_omega.numpy()
    return total.item(), grads, outputs.detach().numpy(), omega, d_omega.numpy()
