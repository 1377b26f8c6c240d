"""What every combination must show: derivatives, adjoint, round trips and translations.

Each check returns the sentence of a fault, or None. Shared by the tests and by the evidence.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import functional_call

from analysis.methods import method
from pdenet.config import from_toml, to_toml
from pdenet.layers.block import Block
from pdenet.layers.time_step import TimeStep
from pdenet.network_config import NetworkConfig
from pdenet.networks import PDENet
from pdenet.operators.jacobian import dot_test, taylor_test
from tests.pdenet.combinations import SIZE, block_of, images, network

ITERATIONS = 1e-9
"""Solves by iteration agree that well with themselves."""

KINKED = ("relu", "smooth-relu")
"""Activations whose first or second derivative jumps."""

Vector = Callable[[Tensor], Tensor]


def as_vector_map(block: Block, y: Tensor) -> tuple[Vector, Tensor]:
    """``(y, weights) -> block(y)`` on flat vectors, and the vector that stands for now."""
    names = {name: p.detach() for name, p in block.named_parameters() if p.requires_grad}
    sizes = [y.numel(), *(p.numel() for p in names.values())]

    def mapping(vector: Tensor) -> Tensor:
        first, *rest = vector.split(sizes)
        weights = {
            name: part.reshape(p.shape) for (name, p), part in zip(names.items(), rest, strict=True)
        }
        return functional_call(block, weights, (first.reshape(y.shape),)).flatten()

    return mapping, torch.cat([y.flatten(), *(p.flatten() for p in names.values())])


def random_vectors(*sizes: int, dtype: torch.dtype) -> list[Tensor]:
    """Vectors of unit length."""
    generator = torch.Generator().manual_seed(7)
    vectors = [torch.randn(n, generator=generator, dtype=dtype) for n in sizes]
    return [v / v.norm() for v in vectors]


def derivative_faults(config: NetworkConfig, size: tuple[int, int] = SIZE) -> list[str]:
    """Forward and reverse derivative of a block in images and weights, and one another.

    ``<J u, v> = <u, J^T v>`` up to rounding, ordinary back-propagation gives ``J^T v``, and where
    the activation is smooth the Taylor remainder is of second order and ``<u, J^T v>`` is the
    difference quotient.
    """
    block = block_of(network(config))
    y = images(config.widths[0], size, batch=1)
    # What reversible back-propagation must give is the derivative of the same steps stored.
    kept, block.backpropagation = block.backpropagation, "stored"
    mapping, point = as_vector_map(block, y)
    image, pull_back = torch.func.vjp(mapping, point)
    u, v = random_vectors(len(point), len(image), dtype=y.dtype)
    pushed = torch.func.jvp(mapping, (point,), (u,))[1]
    pulled = pull_back(v)[0]
    faults = []
    defect = dot_test(lambda _: pushed, lambda _: pulled, u, v)
    if not defect < ITERATIONS:
        faults.append(f"<J u, v> and <u, J^T v> differ by {defect:.1e}")
    if config.activation not in KINKED:
        faults += difference_faults(mapping, point, (u / 1000, v), pushed / 1000, pulled)
    block.backpropagation = kept
    gradient = plain_gradient(block, y, v)
    error = float((gradient - pulled).norm() / pulled.norm())
    if not error < ITERATIONS:
        faults.append(f"back-propagation differs from J^T v by {error:.1e}")
    return faults


def difference_faults(
    mapping: Vector,
    point: Tensor,
    directions: tuple[Tensor, Tensor],
    pushed: Tensor,
    pulled: Tensor,
) -> list[str]:
    """``J u`` beside the Taylor remainder, ``<u, J^T v>`` beside a quotient of fourth order."""
    u, v = directions
    faults = []
    order = taylor_test(mapping, point, u, pushed)
    if not order > 1.9:
        faults.append(f"the Taylor remainder has order {order:.2f}")
    with torch.no_grad():
        near, far = (
            (mapping(point + t * u) - mapping(point - t * u)) @ v / (2 * t) for t in (1, 2)
        )
    quotient, product = float((4 * near - far) / 3), float(pulled @ u)
    if not abs(quotient - product) < 1e-7 * float(pulled.norm() * u.norm()):
        faults.append(f"<u, J^T v> is {product:.9g}, the difference quotient {quotient:.9g}")
    return faults


def plain_gradient(block: Block, y: Tensor, v: Tensor) -> Tensor:
    """``J^T v`` in images and weights by the backward pass that training takes."""
    at = y.clone().requires_grad_()
    weights = [p for p in block.parameters() if p.requires_grad]
    found = torch.autograd.grad(block(at).flatten() @ v, [at, *weights], allow_unused=True)
    parts = zip([at, *weights], found, strict=True)
    return torch.cat(
        [torch.zeros_like(p).flatten() if g is None else g.flatten() for p, g in parts]
    )


def round_trip_faults(config: NetworkConfig, size: tuple[int, int] = SIZE) -> list[str]:
    """TOML and back is the same configuration; weights of a state dict give the same values."""
    faults = []
    again = from_toml(NetworkConfig, to_toml(config))
    if again != config:
        faults.append(f"from TOML: {again}")
    model, other = network(config), network(again, seed=3)
    x = images(config.in_channels, size)
    with torch.no_grad():
        expected, before = model(x), other(x)
        other.load_state_dict(model.state_dict())
        after = other(x)
    if torch.equal(before, expected):
        faults.append("weights do not matter")
    if not torch.equal(after, expected):
        faults.append("the state dict does not hold all of the network")
    return faults


def translation_defect(model: PDENet, size: tuple[int, int] = SIZE) -> float:
    """``|B(T y) - T B(y)| / |B(y)|`` for the first block and a translation of the pixels."""
    block = block_of(model)
    y = images(model.config.widths[0], size)
    with torch.no_grad():
        moved = block(y.roll((2, 1), (2, 3)))
        expected = block(y).roll((2, 1), (2, 3))
    return float((moved - expected).norm() / expected.norm())


STEPS = {1: 64, 2: 32, 3: 20, 4: 14, 5: 10, 6: 12}
"""Over a unit of time the leading term of the error rules, by order."""


def order_faults(config: NetworkConfig) -> list[str]:
    """The error of the whole integration falls as the order of the method says.

    Methods of order five and more come to their slope where rounding begins.
    """
    term = block_of(network(config)).first.term
    y = images(config.widths[0], batch=1)

    def solved(name: str, steps: int) -> Tensor:
        with torch.no_grad():
            return Block([TimeStep(term, name, 0.8 / steps)], steps)(y)

    order = method(config.method).order
    exact = solved("dopri5", 200)
    steps = STEPS[order]
    errors = [float((solved(config.method, n) - exact).norm()) for n in (steps, 2 * steps)]
    observed = math.log2(errors[0] / errors[1])
    allowed = 0.3 if order <= 4 else 0.7
    if abs(observed - order) < allowed or max(errors) < 1e-13 * float(exact.norm()):
        return []
    return [f"observed order {observed:.2f} of {order}"]
