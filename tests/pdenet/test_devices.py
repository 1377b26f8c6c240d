"""Networks and symbols on another device: nothing they make is left behind on the CPU.

The `meta` device has shapes and no numbers; PyTorch lets some operations mix it with the CPU, so
every operation is looked at.
"""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from analysis import coupling as coupling_module
from analysis import diagonal_couplings as diagonal_module
from analysis import taps as taps_module
from analysis.coupling import Coupling
from analysis.couplings import COUPLINGS
from analysis.stacked import Stacked
from pdenet.networks import NetworkConfig, PDENet
from pdenet.operators.boundary import BOUNDARY_OF_PADDING, OrderedPadding, pad
from pdenet.operators.conv import OPERATORS, make_operator
from pdenet.operators.solves.implicit import solve_implicit_diffusion


class OneDevice(TorchDispatchMode):
    """Raises where an operation sees tensors with axes on two devices."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        devices = {t.device.type for t in tensors if t.ndim}
        assert len(devices) <= 1, f"{operation} on {sorted(devices)}"
        return operation(*args, **(kwargs or {}))


def test_the_check_can_fail() -> None:
    with OneDevice(), pytest.raises(AssertionError, match=r"add.*'cpu', 'meta'"):
        torch.zeros(3) + torch.zeros(3, device="meta")


def step(config: NetworkConfig, device: str = "meta") -> torch.Tensor:
    network = PDENet(config).to(device)
    images = torch.zeros(4, config.in_channels, 8, 8, device=device)
    with OneDevice():
        scores = network(images)
        functional.cross_entropy(scores, torch.zeros(4, dtype=torch.long, device=device)).backward()
    return scores


@pytest.mark.parametrize("block", ["parabolic", "residual", "diffusion-reaction"])
@pytest.mark.parametrize("padding_mode", BOUNDARY_OF_PADDING)
@pytest.mark.parametrize("coupling", OPERATORS)
def test_a_step_stays_on_its_device(coupling: str, padding_mode: str, block: str) -> None:
    for stencil in ("nine-point", "five-point"):
        config = NetworkConfig(
            widths=(4, 4),
            steps=1,
            coupling=coupling,
            padding_mode=padding_mode,
            block=block,
            stencil=stencil,
        )
        assert step(config).device.type == "meta"


@pytest.mark.parametrize("five_point", [False, True])
@pytest.mark.parametrize("coupling", OPERATORS)
def test_an_implicit_solve_stays_on_its_device(coupling, five_point, monkeypatch) -> None:
    """Autocast knows no `meta`, and five-point stencils are looked at when a coupling is made."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    monkeypatch.setattr(coupling_module, "to_numpy", lambda a: np.zeros(a.shape))
    operator = make_operator(coupling, 4, 4, padding_mode="circular", five_point=five_point)
    operator = operator.to("meta")
    with OneDevice():
        solved = solve_implicit_diffusion(operator, torch.zeros(2, 4, 8, 9, device="meta"), 0.5)
        solved.sum().backward()
    assert solved.device.type == "meta" and solved.shape == (2, 4, 8, 9)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kind", [*COUPLINGS, "stacked"])
def test_symbols_stay_on_the_device_of_the_weights(kind: str, stride: int, monkeypatch) -> None:
    for module in (coupling_module, diagonal_module, taps_module):
        monkeypatch.setattr(module, "to_numpy", lambda a: np.zeros(a.shape))
    frequencies = np.random.default_rng(0).uniform(0, 6, (5, 2))
    operator: Coupling
    if kind == "stacked":
        parts = (make_operator(k, 4, 4).to("meta").coupling() for k in ("depthwise", "pointwise"))
        operator, stride = Stacked(tuple(parts)), 1
    else:
        groups = 2 if kind == "grouped" else 1
        operator = make_operator(kind, 4, 4, stride=stride, groups=groups).to("meta").coupling()
    double = operator.double()
    with OneDevice():
        symbols = [double.symbol_at(frequencies), double.times(0.5).symbol_at(frequencies)]
        scale = torch.ones(double.channels_out, dtype=torch.float64, device="meta")
        symbols.append(double.scale_rows(scale).symbol_at(frequencies))
        for symbol in symbols:
            found = [symbol.blocks(), symbol.norms(), double.gram().at(frequencies)]
            found.append(double.dense_weight())
            if stride == 1 and kind != "stacked":
                found.append(symbol.eigenvalues())
            assert {array.device.type for array in found} == {"meta"}
    assert symbols[0].blocks().dtype == torch.complex128


@pytest.mark.parametrize("radius", [(1, 1), (2, 0), (1, 2)])
@pytest.mark.parametrize("padding_mode", ["reflect", "replicate"])
def test_padding_with_an_ordered_gradient_is_the_padding(padding_mode: str, radius) -> None:
    """What other devices use: values and derivatives of all kinds are those of PyTorch."""

    def ordered(x: torch.Tensor) -> torch.Tensor:
        return OrderedPadding.apply(x, radius, padding_mode)

    def plain(x: torch.Tensor) -> torch.Tensor:
        return pad(x, radius, padding_mode)

    generator = torch.Generator().manual_seed(0)
    x, t = (torch.randn(2, 2, 4, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    torch.testing.assert_close(ordered(x), plain(x), rtol=0, atol=0)
    assert torch.autograd.gradcheck(ordered, x.requires_grad_(), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(lambda y: ordered(y).square(), x)
    for mapping in (torch.func.jvp, lambda f, at, along: (f(*at), torch.func.vjp(f, *at)[1](f(t)))):
        for one, other in zip(
            mapping(ordered, (x,), (t,)), mapping(plain, (x,), (t,)), strict=True
        ):
            one, other = (v[0] if isinstance(v, tuple) else v for v in (one, other))
            torch.testing.assert_close(one, other)


def test_gradients_of_other_devices_take_the_ordered_padding(monkeypatch) -> None:
    seen = []
    apply = OrderedPadding.apply
    monkeypatch.setattr(
        OrderedPadding, "apply", lambda *words: (seen.append(words[1:]), apply(*words))[1]
    )
    for padding_mode in BOUNDARY_OF_PADDING:
        for device in ("cpu", "meta"):
            pad(torch.zeros(1, 1, 4, 4, device=device), (1, 1), padding_mode)
    assert seen == [((1, 1), "reflect"), ((1, 1), "replicate")]
