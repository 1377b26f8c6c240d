"""Weights that are functions of time: blocks of basis coefficients, and how smooth weights are.

``theta(t) = sum_i p_i(t) theta_i`` with the functions of ``analysis.time_basis`` (theory §3).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from analysis.errors import InputError
from analysis.time_basis import step_times, time_basis
from pdenet.layers.block import Block
from pdenet.layers.time_step import TimeStep


class BasisBlock(Block):
    """A block whose weights are a combination of a few sets of coefficients at every time step.

    All trained numbers of a step (stencils, biases, scales, shifts) follow the basis; the running
    statistics of batch norms belong to each application.

    Args:
        coefficients: the ``theta_i`` as time steps of their own, at least one.
        applications: number of steps taken.
        basis: a name in ``analysis.time_basis.BASES``.

    Attributes:
        steps: the coefficients, a ``ModuleList`` (not the steps that are taken: see
            ``per_step``).
        applications: number of steps taken.
        basis: its name.
        values: ``p_i(t_j)``, one row an application.
        statistics: one module of buffers for each application.

    Raises:
        InputError: without coefficients or for an unknown basis.
    """

    def __init__(self, coefficients: Iterable[TimeStep], applications: int, basis: str) -> None:
        super().__init__(coefficients, applications)
        self.basis = basis
        values = time_basis(basis, len(self.steps), step_times(applications))
        self.values = tuple(map(tuple, values.tolist()))
        self.statistics = nn.ModuleList(Statistics(self.first) for _ in range(applications))
        for step in self.steps:
            _drop_statistics(step)
        self._begin_constant_in_time()

    def _check(self) -> None:
        if self.applications < 1 or not len(self.steps):
            raise InputError(
                "at least one coefficient and one application",
                f"{len(self.steps)} and {self.applications}",
                "pass one time step for each function of the basis",
            )

    def _begin_constant_in_time(self) -> None:
        """Legendre polynomials beyond the first start at zero: they do not sum to one."""
        if self.basis != "legendre":
            return
        with torch.no_grad():
            for step in self.steps[1:]:
                for parameter in step.parameters():
                    parameter.zero_()

    def tensors(self, index: int) -> dict[str, Tensor]:
        """Weights and statistics of one application by their names in a time step."""
        sets = [dict(step.named_parameters()) for step in self.steps]
        tensors = {name: self._combined(index, [s[name] for s in sets]) for name in sets[0]}
        statistics = self.statistics[index]
        assert isinstance(statistics, Statistics)
        return tensors | statistics.by_name()

    def _combined(self, index: int, coefficients: list[Tensor]) -> Tensor:
        found = None
        for value, theta in zip(self.values[index], coefficients, strict=True):
            if value:
                found = theta * value if found is None else found.add(theta, alpha=value)
        return torch.zeros_like(coefficients[0]) if found is None else found

    def weights_in_time(self) -> Iterator[dict[str, Tensor]]:
        """The trained numbers of every step by name, in order, differentiable."""
        names = dict(self.first.named_parameters())
        for index in range(self.applications):
            tensors = self.tensors(index)
            yield {name: tensors[name] for name in names}

    def forward(self, y: Tensor) -> Tensor:
        """What is seen after all steps, images ``(B, C, H, W)`` to the same shape."""
        step = self.first
        term: Any = step.term
        carried = step.stepper.begin(term, term.initial(y))
        for index in range(self.applications):
            carried = functional_call(step, self.tensors(index), (carried,))
        return term.observed(step.stepper.end(carried))

    def multiply_adds(self, height: int, width: int) -> int:
        """Multiply-adds of all steps for one image."""
        return sum(self.first.multiply_adds(height, width, n) for n in range(self.applications))

    @torch.no_grad()
    def per_step(self) -> Block:
        """The same map as a block with weights of its own for every step."""
        steps = []
        for index in range(self.applications):
            step = copy.deepcopy(self.first)
            tensors = self.tensors(index)
            for name, parameter in step.named_parameters():
                parameter.copy_(tensors.pop(name))
            for name, tensor in tensors.items():
                owner, _, own = name.rpartition(".")
                step.get_submodule(owner)._buffers[own] = tensor.clone()
            steps.append(step)
        return Block(steps, self.applications)


class Statistics(nn.Module):
    """Copies of the running statistics of a time step, under names without dots.

    Args:
        step: whose statistics are copied.

    Attributes:
        names: the names of the buffers in the step, in the order of the copies.
    """

    def __init__(self, step: nn.Module) -> None:
        super().__init__()
        self.names = tuple(name for name, _ in step.named_buffers() if _is_statistic(name))
        for name in self.names:
            self.register_buffer(name.replace(".", "_"), step.get_buffer(name).clone())

    def by_name(self) -> dict[str, Tensor]:
        """The buffers by their names in the step."""
        return {name: getattr(self, name.replace(".", "_")) for name in self.names}


def _is_statistic(name: str) -> bool:
    # The counter of batches stays with the coefficients: torch asks for it when it loads them.
    return name.rpartition(".")[2] in ("running_mean", "running_var")


def _drop_statistics(step: nn.Module) -> None:
    """Coefficients have no running statistics: each application has its own."""
    for name, _ in list(step.named_buffers()):
        if _is_statistic(name):
            owner, _, own = name.rpartition(".")
            step.get_submodule(owner)._buffers[own] = None


def time_smoothness(module: nn.Module) -> Tensor:
    """``sum_j h |(theta_{j+1} - theta_j) / h|^2 / 2`` over all blocks: how much weights move.

    The regulariser in time of Haber & Ruthotto (arXiv 1705.03341, §4.1), zero for weights shared in
    time and for blocks of one step.

    Args:
        module: a network or any module with blocks.

    Returns:
        A number, differentiable.
    """
    total: Tensor | None = None
    for block in module.modules():
        if not isinstance(block, Block):
            continue
        before: dict[str, Tensor] | None = None
        for weights in block.weights_in_time():
            if before is not None:
                moved = [(weights[n] - before[n]).square().sum() for n in weights]
                change = torch.stack(moved).sum() / (2 * block.first.step_size)
                total = change if total is None else total + change
            before = weights
    return torch.zeros(()) if total is None else total
