"""The contestants of peers.py: one training step of the same network in PyTorch, JAX, BrainPy, and here.

Each is built in a process of its own from (problem, batches, variant) and imports its library only then; none but
`Ours` imports eirnn_np, and `Expected`, which holds what all must compute. A step is the whole of it: noise, forward
pass, loss, backward pass, Adam, from host arrays, float32. `loss_and_grads` runs the code that is timed with the
noise given as an array, for verification.
Shapes: T time steps, B trials, I inputs, H units, E excitatory units, O outputs; weights are [to, from].
"""

from dataclasses import dataclass
from itertools import cycle

import numpy as np
from common import Timed, make_batches, make_config

W_IN, B_IN, W_REC, B_REC = "rnn.input2h.weight", "rnn.input2h.bias", "rnn.h2h.weight", "rnn.h2h.bias"
W_OUT, B_OUT = "fc.weight", "fc.bias"


@dataclass
class Problem:
    """What every contestant is given: starting parameters (float32) under the original's keys, and constants."""

    state: dict
    n_exc: int
    alpha: float
    noise_scale: float
    lr: float = 1e-3

    @property
    def mask(self):
        """Signs by column and no self-connection, (H, H) float32."""
        H = len(self.state[B_REC])
        mask = np.tile(np.where(np.arange(H) < self.n_exc, 1, -1).astype(np.float32), (H, 1))
        np.fill_diagonal(mask, 0)
        return mask


class Expected:
    """What the float64 NumPy reference computes from the same arrays: gradients of the first step, losses of n steps.

    The noise of step k is that of Trainer's step k, so that `losses` is what `Ours.first_losses` must give.
    """

    def __init__(self, size, dynamics="song2016", n_steps=3):
        import eirnn_np as ei

        self.config, self.batches = make_config(size, dynamics), make_batches(size)
        start = ei.init_params(self.config, seed=0)
        self.problem = Problem(
            start.state_dict(), self.config.n_exc, float(self.config.alpha[0]), float(self.config.noise_scale[0])
        )
        params, adam, self.losses = start.astype("float64"), ei.Adam(self.problem.lr), []
        shape = size.n_time, size.n_batch
        self.noise = ei.recurrent_noise(self.config, 0, 0, *shape)
        for k, (inputs, labels) in enumerate(self.batches[:n_steps]):
            noise = ei.recurrent_noise(self.config, 0, k, *shape)  # that of Trainer's step k
            loss, grads = ei.loss_and_grads(self.config, params, inputs, labels, noise, backend="numpy")
            self.losses.append(loss)
            if k == 0:
                self.grads = grads.state_dict()
            adam.update(params, grads)
        if dynamics == "brainpy":  # it has no bias on the input
            del self.grads[B_IN]


# --- here -------------------------------------------------------------------------------------------


class Ours(Timed):
    def __init__(self, problem, batches, threads, dynamics="song2016"):
        import eirnn_np as ei

        self.ei, params = ei, ei.Params.from_state_dict(problem.state)
        H, I = params.w_in.shape
        self.config = ei.ModelConfig(n_in=I, n_hidden=H, n_out=len(params.b_out), dynamics=dynamics)
        self.start, self.batches = params.copy(), cycle(batches)
        self.trainer = ei.Trainer(self.config, params, lr=problem.lr, seed=0, threads=threads)

    def loss_and_grads(self, inputs, labels, noise):
        loss, grads = self.ei.loss_and_grads(self.config, self.start, inputs, labels, noise)
        return loss, grads.state_dict()

    def first_losses(self, n):
        """Losses of the first n steps of what is timed, noise and Adam included."""
        return [self.trainer.step(*next(self.batches)) for _ in range(n)]

    def steps(self, k):
        for _ in range(k):
            self.trainer.step(*next(self.batches))


# --- PyTorch ----------------------------------------------------------------------------------------


class TorchOriginal(Timed):
    """The tutorial's network and loop (gyyang/nn-brain, EI_RNN.ipynb): eager, one cell call per time step."""

    def __init__(self, problem, batches, threads):
        import torch
        from torch import nn

        torch.set_num_threads(threads)

        class EILinear(nn.Module):
            def __init__(self):
                super().__init__()
                self.weight = nn.Parameter(torch.tensor(problem.state[W_REC]))
                self.bias = nn.Parameter(torch.tensor(problem.state[B_REC]))
                self.mask = torch.tensor(problem.mask)

            def forward(self, r):
                return nn.functional.linear(r, torch.abs(self.weight) * self.mask, self.bias)

        class EIRNN(nn.Module):
            def __init__(self, n_in, hidden):
                super().__init__()
                self.input2h, self.h2h, self.hidden = nn.Linear(n_in, hidden), EILinear(), hidden
                self.alpha, self.scale = problem.alpha, problem.noise_scale

            def cell(self, u, x, r, noise):
                x = x * (1 - self.alpha) + (self.input2h(u) + self.h2h(r)) * self.alpha
                x = x + (self.scale * torch.randn_like(x) if noise is None else noise)
                return x, torch.relu(x)

            def forward(self, u, noise):
                x = r = torch.zeros(u.shape[1], self.hidden)
                rates = []
                for t in range(len(u)):
                    x, r = self.cell(u[t], x, r, None if noise is None else noise[t])
                    rates.append(r)
                return torch.stack(rates)

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                (hidden, n_in), n_out = problem.state[W_IN].shape, len(problem.state[B_OUT])
                self.rnn, self.fc = EIRNN(n_in, hidden), nn.Linear(problem.n_exc, n_out)

            def forward(self, u, noise=None):
                return self.fc(self.rnn(u, noise)[:, :, : problem.n_exc])

        self.torch, self.batches, self.net = torch, cycle(batches), Net()
        self.net.load_state_dict({key: torch.tensor(array) for key, array in problem.state.items()})
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr=problem.lr)

    def _loss(self, inputs, labels, noise=None):
        outputs = self.net(self.torch.from_numpy(inputs), noise)
        return self.torch.nn.functional.cross_entropy(outputs.flatten(0, 1), self.torch.from_numpy(labels).flatten())

    def loss_and_grads(self, inputs, labels, noise):
        self.optimiser.zero_grad()
        loss = self._loss(inputs, labels, self.torch.from_numpy(noise))
        loss.backward()
        return loss.item(), {key: p.grad.numpy().copy() for key, p in self.net.named_parameters()}

    def steps(self, k):
        for _ in range(k):
            self.optimiser.zero_grad()
            loss = self._loss(*next(self.batches))
            loss.backward()
            self.optimiser.step()
            loss.item()


class TorchFused(Timed):
    """The fastest eager PyTorch that we found: everything that can leave the time loop has left it.

    The input currents, the noise and the effective weights are made at once before the loop; a time step is three
    calls forward and four back that write in place; the gradient of W is one product after the loop. `core` is "manual"
    for that, with BPTT by hand in an autograd.Function; "autograd" leaves BPTT to autograd; "compile" gives the
    latter to torch.compile, which unrolls the loop.
    """

    def __init__(self, problem, batches, threads, core="manual"):
        import torch

        torch.set_num_threads(threads)
        self.torch, self.batches, self.problem = torch, cycle(batches), problem
        self.params = {key: torch.nn.Parameter(torch.tensor(array)) for key, array in problem.state.items()}
        self.scaled_mask = torch.tensor(problem.alpha * problem.mask)
        self.optimiser = torch.optim.Adam(self.params.values(), lr=problem.lr, fused=True)
        leak = 1 - problem.alpha

        class Scan(torch.autograd.Function):
            """x_t = leak x_{t-1} + current_t + r_{t-1} w, r_t = relu(x_t); w is [from, to] and carries alpha."""

            @staticmethod
            def forward(context, current, w):
                r = torch.empty_like(current)
                xs, rs = current.clone().unbind(0), r.unbind(0)
                torch.clamp_min(xs[0], 0, out=rs[0])
                for t in range(1, len(xs)):
                    xs[t].add_(xs[t - 1], alpha=leak).addmm_(rs[t - 1], w)
                    torch.clamp_min(xs[t], 0, out=rs[t])
                context.save_for_backward(r, w)
                return r

            @staticmethod
            def backward(context, dr):
                r, w = context.saved_tensors
                dx, w_back = dr.clone(memory_format=torch.contiguous_format), w.t().contiguous()
                dxs, active = dx.unbind(0), (r > 0).to(r.dtype).unbind(0)
                dxs[-1].mul_(active[-1])
                for t in range(len(dxs) - 2, -1, -1):
                    dxs[t].addmm_(dxs[t + 1], w_back).mul_(active[t]).add_(dxs[t + 1], alpha=leak)
                return dx, r[:-1].flatten(0, 1).t() @ dx[1:].flatten(0, 1)

        def scan_autograd(current, w):
            x = current[0]
            rates = [torch.relu(x)]
            for now in current.unbind(0)[1:]:
                x = torch.addmm(torch.add(now, x, alpha=leak), rates[-1], w)
                rates.append(torch.relu(x))
            return torch.stack(rates)

        self.scan = Scan.apply if core == "manual" else scan_autograd
        if core == "compile":
            self._loss = torch.compile(self._loss)

    def _loss(self, inputs, labels, noise):
        p, alpha, functional = self.params, self.problem.alpha, self.torch.nn.functional
        w = (p[W_REC].abs() * self.scaled_mask).t()
        current = functional.linear(inputs, alpha * p[W_IN], alpha * (p[B_IN] + p[B_REC])) + noise
        outputs = functional.linear(self.scan(current, w)[:, :, : self.problem.n_exc], p[W_OUT], p[B_OUT])
        return functional.cross_entropy(outputs.flatten(0, 1), labels.flatten())

    def _gradients(self, inputs, labels, noise):
        self.optimiser.zero_grad()
        loss = self._loss(self.torch.from_numpy(inputs), self.torch.from_numpy(labels), noise)
        loss.backward()
        return loss

    def loss_and_grads(self, inputs, labels, noise):
        loss = self._gradients(inputs, labels, self.torch.from_numpy(noise))
        return loss.item(), {key: p.grad.numpy().copy() for key, p in self.params.items()}

    def steps(self, k):
        for _ in range(k):
            inputs, labels = next(self.batches)
            noise = self.torch.randn(*inputs.shape[:2], len(self.scaled_mask)).mul_(self.problem.noise_scale)
            loss = self._gradients(inputs, labels, noise)
            self.optimiser.step()
            loss.item()


# --- JAX --------------------------------------------------------------------------------------------


class Jax(Timed):
    """lax.scan with optax Adam in one jitted call whose state is donated; autodiff does the gradients.

    The effective weights and the noise are made before the scan; with `hoist` so are the input currents, which is
    faster at the tutorial's size and slower above it. Tried and slower: XLA's own generator ("rbg"), noise drawn inside
    the scan, r beside x in the carry, jax.checkpoint.
    """

    def __init__(self, problem, batches, threads, hoist=True):
        import jax
        import jax.numpy as jnp
        import optax

        alpha, n_exc, mask, H = problem.alpha, problem.n_exc, jnp.array(problem.mask), len(problem.state[B_REC])

        def loss(p, inputs, labels, noise):
            w, w_in, b = (alpha * jnp.abs(p[W_REC]) * mask).T, alpha * p[W_IN].T, alpha * (p[B_IN] + p[B_REC])
            scanned = (inputs @ w_in + b + noise,) if hoist else (inputs, noise)

            def cell(x, now):
                current = now[0] if hoist else now[0] @ w_in + b + now[1]
                x = (1 - alpha) * x + current + jax.nn.relu(x) @ w
                return x, x

            states = jax.lax.scan(cell, jnp.zeros((inputs.shape[1], H)), scanned)[1]
            outputs = jax.nn.relu(states)[:, :, :n_exc] @ p[W_OUT].T + p[B_OUT]
            return optax.softmax_cross_entropy_with_integer_labels(outputs, labels).mean()

        optimiser = optax.adam(problem.lr)

        def step(p, moments, key, inputs, labels):
            key, now = jax.random.split(key)
            noise = problem.noise_scale * jax.random.normal(now, (*inputs.shape[:2], H))
            value, grads = jax.value_and_grad(loss)(p, inputs, labels, noise)
            updates, moments = optimiser.update(grads, moments, p)
            return optax.apply_updates(p, updates), moments, key, value

        self.jax, self.batches, self.plain_step = jax, cycle(batches), step
        self.start = {key: jnp.array(array) for key, array in problem.state.items()}
        self.value_and_grad, self.step = jax.jit(jax.value_and_grad(loss)), jax.jit(step, donate_argnums=(0, 1, 2))
        copy = jax.tree.map(jnp.copy, self.start)
        self.carry = copy, optimiser.init(copy), jax.random.key(0)

    def loss_and_grads(self, inputs, labels, noise):
        loss, grads = self.value_and_grad(self.start, inputs, labels, noise)
        return float(loss), {key: np.asarray(array) for key, array in grads.items()}

    def steps(self, k):
        for _ in range(k):
            *self.carry, loss = self.step(*self.carry, *next(self.batches))
        self.jax.block_until_ready(loss)


class JaxMany(Timed):
    """`n` networks at once: vmap of the step above, one jitted call; each network has its own batches and noise."""

    def __init__(self, problem, batches, threads, n):
        one = Jax(problem, batches, threads)
        self.jax, self.one, self.n = one.jax, one, n
        self.step = self.jax.jit(self.jax.vmap(one.plain_step), donate_argnums=(0, 1, 2))
        self.batches = cycle([
            [np.stack([batches[(k + i) % len(batches)][part] for i in range(n)]) for part in (0, 1)]
            for k in range(len(batches))
        ])  # fmt: skip
        many = lambda tree: self.jax.tree.map(lambda a: self.jax.numpy.stack([a] * n), tree)  # noqa: E731
        params, moments, key = one.carry
        self.carry = many(params), many(moments), self.jax.random.split(key, n)
        self.first = many(params), many(moments), self.jax.numpy.stack([key] * n)

    def first_losses(self):
        """(n,) losses of a step in which all have the same batch and noise; and that of one network alone."""
        batch = next(self.one.batches)
        *_, losses = self.step(*self.first, *(np.stack([part] * self.n) for part in batch))
        *_, alone = self.one.step(*self.one.carry, *batch)
        return np.asarray(losses), float(alone)

    def steps(self, k):
        for _ in range(k):
            *self.carry, losses = self.step(*self.carry, *next(self.batches))
        self.jax.block_until_ready(losses)


# --- BrainPy ----------------------------------------------------------------------------------------


class BrainPy(Timed):
    """BrainPy's tutorial (brainpy-examples, Song_2016_EI_RNN): its dynamics, its weights [from, to], its loop.

    Less work than the others' step: one noise vector (H,) per time step, shared by the batch; no bias on the input.
    """

    dynamics = "brainpy"

    def __init__(self, problem, batches, threads):
        import brainpy as bp
        import brainpy.math as bm

        bm.set_platform("cpu")

        class Net(bp.DynamicalSystem):
            def __init__(self, n_batch):
                super().__init__()
                state, self.n_exc, self.alpha = problem.state, problem.n_exc, problem.alpha
                self.scale, self.hidden = problem.noise_scale, len(state[B_REC])
                self.mask, self.rng = bm.asarray(problem.mask), bm.random.RandomState(0)
                self.w_ir = bm.TrainVar(bm.asarray(state[W_IN].T))
                self.w_rr = bm.TrainVar(bm.asarray(state[W_REC].T))
                self.b_rr = bm.TrainVar(bm.asarray(state[B_REC]))
                self.w_ro = bm.TrainVar(bm.asarray(state[W_OUT].T))
                self.b_ro = bm.TrainVar(bm.asarray(state[B_OUT]))
                self.h = bm.Variable(bm.zeros((n_batch, self.hidden)))
                self.o = bm.Variable(bm.zeros((n_batch, len(state[B_OUT]))))

            def update(self, u, noise=None):
                ins = u @ self.w_ir + self.h @ (bm.abs(self.w_rr) * self.mask) + self.b_rr
                noise = self.scale * self.rng.randn(self.hidden) if noise is None else noise
                self.h.value = bm.relu(self.h * (1 - self.alpha) + ins * self.alpha + noise)
                self.o.value = self.h[:, : self.n_exc] @ self.w_ro + self.b_ro
                return self.h.value, self.o.value

            def loss(self, inputs, labels, *noise):
                self.h[:] = 0.0
                _, outputs = bm.for_loop(self.update, (inputs, *noise))
                return bp.losses.cross_entropy_loss(outputs.reshape((-1, outputs.shape[-1])), labels.flatten())

        self.bm, self.batches = bm, cycle(batches)
        self.net = net = Net(batches[0][0].shape[1])
        variables = net.train_vars().unique()
        optimiser = bp.optim.Adam(lr=problem.lr, train_vars=variables)
        gradient = bm.grad(net.loss, grad_vars=variables, return_value=True)

        @bm.jit
        def train(inputs, labels):
            grads, loss = gradient(inputs, labels)
            optimiser.update(grads)
            return loss

        self.train, self.gradient = train, bm.jit(gradient)

    def loss_and_grads(self, inputs, labels, noise):
        if not (noise == noise[:, :1]).all():
            raise ValueError("the tutorial's noise is the same for all trials")
        arrays = (self.bm.asarray(array) for array in (inputs, labels, noise[:, 0]))
        grads, loss = self.gradient(*arrays)
        keys = {"w_ir": W_IN, "w_rr": W_REC, "b_rr": B_REC, "w_ro": W_OUT, "b_ro": B_OUT}
        found = {keys[name.rpartition(".")[2]]: np.asarray(self.bm.as_jax(grad)).T for name, grad in grads.items()}
        return float(loss), found

    def steps(self, k):
        for _ in range(k):
            inputs, labels = next(self.batches)
            loss = self.train(self.bm.asarray(inputs), self.bm.asarray(labels))
        self.bm.as_jax(loss).block_until_ready()
