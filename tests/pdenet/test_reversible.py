"""Back-propagation that recomputes the states: the same gradients, in memory that does not grow."""

import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pdenet.layers.block import Block
from pdenet.layers.normalization import make_normalization
from pdenet.layers.time_step import TimeStep
from pdenet.layers.wave_terms import HamiltonianTerm, SecondOrderTerm
from pdenet.networks import NetworkConfig, PDENet
from pdenet.operators.conv import make_operator


def block(kind, normalization, method, backpropagation, steps=5, shared=False, h=0.3):
    torch.manual_seed(1)
    bias = normalization == "none"

    def term():
        if kind == "hamiltonian":
            parts = [
                part
                for _ in range(2)
                for part in (
                    make_operator("lean", 4, 4, bias=bias),
                    make_normalization(normalization, 4),
                )
            ]
            return HamiltonianTerm(*parts, "tanh")
        operator = make_operator("full", 8, 8, bias=bias)
        return SecondOrderTerm(operator, make_normalization(normalization, 8), "tanh")

    distinct = [TimeStep(term(), method, h) for _ in range(1 if shared else steps)]
    return Block(distinct, steps, backpropagation=backpropagation).double()


def images():
    return torch.randn(3, 8, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("method", ["verlet", "symplectic-euler", "ruth3"])
@pytest.mark.parametrize("normalization", ["none", "batch", "tv", "layer"])
@pytest.mark.parametrize("kind", ["hamiltonian", "second order"])
def test_gradients_are_those_of_plain_back_propagation(kind, normalization, method, shared):
    found = []
    for backpropagation in ("stored", "reversible"):
        module = block(kind, normalization, method, backpropagation, shared=shared)
        x = images().requires_grad_()
        seen = module(x)
        (seen**3).sum().backward()
        gradients = [x.grad, *(p.grad for p in module.parameters())]
        found.append((seen.detach(), gradients, [b.clone() for b in module.buffers()]))
    (seen, gradients, statistics), (again, recomputed, counted) = found
    torch.testing.assert_close(again, seen, rtol=0, atol=0)
    for plain, other in zip(gradients, recomputed, strict=True):
        assert float((other - plain).norm() / plain.norm()) < 1e-12
    for plain, other in zip(statistics, counted, strict=True):  # every batch counts once
        torch.testing.assert_close(other, plain, rtol=1e-14, atol=1e-14)


def test_frozen_weights_and_images_get_no_gradient():
    module = block("second order", "none", "verlet", "reversible")
    frozen = module.steps[1].term.operator.weight.requires_grad_(False)
    module(images()).sum().backward()
    assert frozen.grad is None
    assert module.steps[0].term.operator.weight.grad is not None


class LargestMemory(TorchDispatchMode):
    """Bytes of all tensors that are alive at once, as far as operations made them."""

    def __init__(self):
        super().__init__()
        self.alive, self.most, self._now = {}, 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        return made

    def _count(self, storage):
        key = storage._cdata
        if key in self.alive:
            return
        size = storage.nbytes()
        self.alive[key] = size
        self._now += size
        self.most = max(self.most, self._now)
        weakref.finalize(storage, self._freed, key)

    def _freed(self, key):
        self._now -= self.alive.pop(key, 0)


def peak_memory(backpropagation, steps):
    options = {"shared": True, "h": 0.01}
    module = block("hamiltonian", "none", "symplectic-euler", backpropagation, steps, **options)
    x = images()[:1, :, :4, :4].clone().requires_grad_()
    with LargestMemory() as memory:
        module(x).sum().backward()
    return memory.most


def test_memory_is_flat_in_the_number_of_steps():
    assert peak_memory("reversible", 1000) == peak_memory("reversible", 10)
    assert peak_memory("stored", 100) > 5 * peak_memory("stored", 10)


def test_a_thousand_steps_come_back():
    """Rounding grows slowly where no mode does: gradients agree to 1e-6 after 1000 steps."""
    gradients = []
    for backpropagation in ("stored", "reversible"):
        options = {"shared": True, "h": 0.05}
        module = block("hamiltonian", "none", "symplectic-euler", backpropagation, 1000, **options)
        x = images()[:1].clone().requires_grad_()
        module(x).square().sum().backward()
        gradients.append([x.grad, *(p.grad for p in module.parameters())])
    for plain, other in zip(*gradients, strict=True):
        assert float((other - plain).norm() / plain.norm()) < 1e-6


@pytest.mark.parametrize("block_name", ["hamiltonian", "second-order"])
def test_networks_train_reversibly(block_name):
    gradients = []
    for backpropagation in ("stored", "reversible"):
        torch.manual_seed(0)
        config = NetworkConfig(
            block=block_name, method="verlet", widths=(4, 8), step_size=0.2,
            backpropagation=backpropagation,
        )  # fmt: skip
        network = PDENet(config).double()
        network(images()[:, :1]).square().sum().backward()
        gradients.append([p.grad for p in network.parameters()])
    for plain, other in zip(*gradients, strict=True):
        torch.testing.assert_close(other, plain, rtol=1e-9, atol=1e-12)


def test_function_transforms_see_the_same_map():
    """Inspection differentiates forward and backward through blocks."""
    module = block("hamiltonian", "batch", "verlet", "reversible").eval()
    plain = block("hamiltonian", "batch", "verlet", "stored").eval()
    x, direction = images(), torch.ones_like(images())
    forward = torch.func.jvp(module, (x,), (direction,))[1]
    torch.testing.assert_close(forward, torch.func.jvp(plain, (x,), (direction,))[1])
    (backward,) = torch.func.vjp(module, x)[1](direction)
    torch.testing.assert_close(backward, torch.func.vjp(plain, x)[1](direction)[0])


def test_the_backward_pass_is_in_the_precision_of_the_forward_pass():
    """Autocast around the forward pass alone, as PyTorch recommends."""
    found = []
    for backpropagation in ("stored", "reversible"):
        module = block("hamiltonian", "none", "verlet", backpropagation).float()
        with torch.autocast("cpu", torch.bfloat16):
            seen = module(images().float())
        seen.float().sum().backward()
        found.append([p.grad for p in module.parameters()])
    for plain, other in zip(*found, strict=True):
        torch.testing.assert_close(other, plain, rtol=0.05, atol=0.02)


def test_the_backward_pass_is_in_the_mode_of_the_forward_pass():
    found = []
    for backpropagation in ("stored", "reversible"):
        module = block("hamiltonian", "batch", "verlet", backpropagation)
        seen = module.train()(images())
        module.eval()
        seen.square().sum().backward()
        assert not any(m.training for m in module.modules())
        found.append([p.grad for p in module.parameters()])
    for plain, other in zip(*found, strict=True):
        torch.testing.assert_close(other, plain, rtol=1e-9, atol=1e-12)


def test_what_changes_between_the_passes_is_found_out():
    module = block("hamiltonian", "none", "verlet", "reversible")
    seen = module(images())
    with torch.no_grad():
        module.steps[0].term.first.pointwise.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        seen.sum().backward()
    module = block("hamiltonian", "batch", "verlet", "reversible").eval()
    seen = module(images())
    module.train()(images())  # other running statistics
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        seen.sum().backward()


def test_weights_from_outside_get_their_gradients():
    found = []
    for backpropagation in ("stored", "reversible"):
        module = block("second order", "none", "verlet", backpropagation)
        weights = {n: (2 * p.detach()).requires_grad_() for n, p in module.named_parameters()}
        seen = torch.func.functional_call(module, weights, (images(),))
        found.append(torch.autograd.grad(seen.square().sum(), list(weights.values())))
    for plain, other in zip(*found, strict=True):
        torch.testing.assert_close(other, plain, rtol=1e-9, atol=1e-12)


def test_replicas_without_parameters_keep_their_states():
    """As torch.nn.DataParallel makes them: weights are plain attributes of copies."""
    found = []
    for backpropagation in ("stored", "reversible"):
        module = block("second order", "none", "verlet", backpropagation)
        weight = (2 * module.steps[0].term.operator.weight.detach()).requires_grad_()
        for child in module.modules():
            tensors = dict(child._parameters)
            child._parameters.clear()
            for name, tensor in tensors.items():
                object.__setattr__(child, name, tensor)
        object.__setattr__(module.steps[0].term.operator, "weight", weight)
        (gradient,) = torch.autograd.grad(module(images()).square().sum(), weight)
        found.append(gradient)
    torch.testing.assert_close(found[1], found[0], rtol=1e-9, atol=1e-12)
