"""The matrix-free Jacobian against dense ones, closed forms and finite differences."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from analysis.errors import InputError
from analysis.nonnormal import log_norm
from analysis.transients import product_growth
from pdenet.operators.jacobian import jacobian_operator


def small_network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 2, 3, padding=1, stride=2)
    ).double()


def features(*shape: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def dense(operator) -> np.ndarray:
    return np.stack([operator.matvec(e) for e in np.eye(operator.shape[1])], axis=1)


def test_products_are_those_of_the_dense_jacobian() -> None:
    network, y = small_network(), features(1, 2, 6, 4)
    operator = jacobian_operator(network, y)
    exact = torch.autograd.functional.jacobian(network, y).reshape(operator.shape).numpy()
    assert operator.shape == (2 * 3 * 2, 2 * 6 * 4) and operator.dtype == np.float64
    assert dense(operator) == pytest.approx(exact, abs=1e-13)
    transposed = np.stack([operator.rmatvec(e) for e in np.eye(operator.shape[0])])
    assert transposed == pytest.approx(exact, abs=1e-13)


def test_products_are_limits_of_finite_differences() -> None:
    network, y, step = small_network(2), features(2, 2, 4, 4), 1e-6
    v = features(2, 2, 4, 4, seed=3)
    with torch.no_grad():
        difference = (network(y + step * v) - network(y - step * v)).numpy().ravel() / (2 * step)
    product = jacobian_operator(network, y) @ v.numpy().ravel()
    assert product == pytest.approx(difference, abs=1e-8)


def test_nothing_is_left_on_the_module_or_the_point() -> None:
    network, y = small_network(), features(1, 2, 4, 4).requires_grad_(True)
    before = [p.clone() for p in network.parameters()]
    with torch.no_grad():
        operator = jacobian_operator(network, y)
    operator.rmatvec(operator @ np.ones(32))
    assert y.grad is None and all(p.grad is None for p in network.parameters())
    assert all(p.requires_grad for p in network.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_integers_and_columns_are_vectors_too() -> None:
    operator = jacobian_operator(lambda y: torch.relu(y) * 2, torch.tensor([[1.0, -1.0, 3.0]]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (operator @ np.array([1, 1, 1])).tolist() == [2.0, 0.0, 2.0]
    assert (operator.H @ np.eye(3)).tolist() == np.diag([2.0, 0.0, 2.0]).tolist()


def test_it_serves_the_non_normal_tools() -> None:
    # theory §4.1: y' = -K^T relu(K y), whose Jacobian is symmetric and never grows.
    K = features(100, 90, seed=5) / 10
    operator = jacobian_operator(lambda y: -K.T @ torch.relu(K @ y), features(90, seed=6))
    assert log_norm(operator).value <= 1e-12
    U = torch.tensor([[0.5, 2.0], [0.0, 0.5]], dtype=torch.float64)
    y = features(2)
    layers = [jacobian_operator(lambda y: U @ y, y), jacobian_operator(lambda y: U.T @ y, y)]
    assert product_growth(layers).norms[-1] == pytest.approx(4.486, abs=5e-4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_products_on_a_gpu_are_those_on_the_cpu() -> None:
    network, y = small_network(), features(1, 2, 6, 4)
    here = dense(jacobian_operator(network, y))
    there = dense(jacobian_operator(network.cuda(), y.cuda()))
    assert there == pytest.approx(here, abs=1e-12)


@pytest.mark.parametrize(
    ("mapping", "point", "text"),
    [
        (nn.Linear(3, 3), torch.ones(3), "double"),
        (lambda y: y.float(), torch.ones(3), "float64"),
        (lambda y: (y, y), torch.ones(3), "float64"),
        (torch.relu, torch.tensor([1.0, torch.nan]), "finite"),
        (torch.relu, torch.ones(0), "finite entries"),
    ],
)
def test_maps_and_points_that_cannot_be_used_are_refused(mapping, point, text: str) -> None:
    with pytest.raises(InputError, match=text):
        jacobian_operator(mapping, point)
