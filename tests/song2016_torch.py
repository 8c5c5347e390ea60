"""One update as the paper has it, in torch by autograd: gradient, Omega, clip, safeguard. Imports torch alone.

Shapes: T time steps, B trials, I inputs, H units, O outputs, R units that are read out; weights are [to, from].
"""

import torch


def update(theta, masks, batch, noise, input_noise, *, alpha, baseline, omega, lr, clip, dale=True, trained=None):
    """Parameters after one step, and what happened: (theta, loss, Omega, norm).

    theta is {"w_in", "w_rec", "w_out", "x0"}, masks the same without x0. Omega's gradient is the immediate one: delta
    and x are held constant.
    """
    inputs, targets, weights = batch
    g = (lambda w: torch.clamp(w, min=0)) if dale else (lambda w: w)
    leaves = {name: value.clone().requires_grad_(True) for name, value in theta.items()}
    w_in, w_rec, w_out = (g(leaves[name]) * masks[name] for name in ("w_in", "w_rec", "w_out"))
    u = torch.relu(baseline + inputs + input_noise)
    T, B, _ = u.shape
    x = leaves["x0"].expand(B, -1)
    states, outputs = [], []
    for t in range(T):
        x = (1 - alpha) * x + alpha * (torch.relu(x) @ w_rec.T + u[t] @ w_in.T) + noise[t]
        states.append(x)
        outputs.append(torch.relu(x)[:, : w_out.shape[1]] @ w_out.T)
    z = torch.stack(outputs)
    mask = weights[..., None].expand_as(z)
    loss = (mask * (z - targets) ** 2).sum() / mask.sum()
    names = trained or list(leaves)
    found = torch.autograd.grad(
        loss, [*states, *(leaves[name] for name in names)], retain_graph=True, allow_unused=True
    )
    delta, grads = found[:T], dict(zip(names, found[T:]))
    value = torch.zeros((), dtype=z.dtype)
    if omega:
        terms = []
        for k in range(T - 1):  # delta[k + 1] is that of the step after x_k = states[k]
            e = ((1 - alpha) * delta[k + 1]).detach()
            v = (1 - alpha) * e + ((alpha * e) @ w_rec) * (states[k].detach() > 0)
            square = (e**2).sum(dim=1)
            there = square >= 1e-20
            terms.append((((v**2).sum(dim=1)[there] / square[there]) - 1) ** 2)
        terms = torch.cat(terms)
        value = terms.sum() / max(len(terms), 1)
        if len(terms):
            grads["w_rec"] = grads["w_rec"] + omega * torch.autograd.grad(value, leaves["w_rec"])[0]
    norm = torch.sqrt(sum((grad**2).sum() for grad in grads.values()))
    norm = norm.detach()
    if not bool(torch.isfinite(norm)) or float(norm) > 1e10:
        grads = {"w_rec": 0.02 * theta["w_rec"]}
    elif float(norm) > clip:
        grads = {name: grad * (clip / norm) for name, grad in grads.items()}
    new = {name: value.detach() - lr * grads[name] if name in grads else value for name, value in theta.items()}
    return new, *(float(number.detach()) for number in (loss, value, norm))
