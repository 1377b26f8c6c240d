"""Networks for other programs: as a ``torch.export`` program and as an ONNX file.

Both hold the network in inference mode for images of one size in batches of any size.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import importlib.util
import logging
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from analysis.errors import InputError
from pdenet import __version__
from pdenet.config import to_toml
from pdenet.files import open_atomic
from pdenet.layers.terms import DiffusionReactionTerm
from pdenet.layers.time_step import TimeStep
from pdenet.networks import PDENet
from pdenet.operators.base import StencilOperator
from pdenet.operators.solves.implicit import is_iterative

ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
"""What ``to_onnx`` needs beside torch: the extra ``onnx``."""
INPUT, OUTPUT = "images", "logits"
"""Names of the input and the output of the graph."""
_TRACED, _CHECKED = 2, 3  # sizes of batches; another one shows that the graph takes any


@dataclass(frozen=True)
class OnnxFile:
    """What ``to_onnx`` wrote.

    Attributes:
        path: of the file.
        opset: version of the ONNX operators.
        image_shape: ``(C, H, W)`` of an image; the batch is free.
        deviation: largest difference to the network on random images, relative to the largest
            output.
        size: bytes.
    """

    path: Path
    opset: int
    image_shape: tuple[int, int, int]
    deviation: float
    size: int


def export_program(network: nn.Module, image_shape: tuple[int, int, int]) -> ExportedProgram:
    """The network in inference mode as a graph of PyTorch operations for batches of any size.

    Iterative solves are one operation of the graph each, so that a program with them runs where
    ``pdenet`` is imported.

    Args:
        network: from images to a tensor; it stays as it is.
        image_shape: ``(C, H, W)`` of its images.

    Returns:
        A program whose ``module()`` maps ``(B, C, H, W)`` in the precision of the network.

    Raises:
        InputError: for a shape that is none, and what the network says of such images.

    >>> from pdenet.networks import NetworkConfig
    >>> network = PDENet(NetworkConfig(in_channels=3, widths=(4,), classes=5)).eval()
    >>> program = export_program(network, (3, 8, 8))
    >>> images = torch.randn(7, 3, 8, 8)
    >>> bool(torch.allclose(program.module()(images), network(images), atol=1e-6))
    True
    """
    _check_shape(image_shape)
    parameter = next(network.parameters(), torch.zeros(()))
    example = torch.zeros(_TRACED, *image_shape, dtype=parameter.dtype, device=parameter.device)
    frozen = copy.deepcopy(network).eval().requires_grad_(False)
    with torch.no_grad():
        frozen(example)  # what is wrong with the images is said by the network itself
        return torch.export.export(frozen, (example,), dynamic_shapes=({0: Dim("batch")},))


def to_onnx(
    network: nn.Module,
    path: str | os.PathLike[str],
    image_shape: tuple[int, int, int],
    *,
    tolerance: float = 1e-4,
) -> OnnxFile:
    """Write the network in inference mode as an ONNX file, which is run before it is kept.

    The graph maps ``images`` ``(B, C, H, W)`` to ``logits`` in float32, for any ``B``. The file
    takes its name only if ``onnxruntime`` computes what the network does on random images.
    Implicit steps of periodic images become matrix products. The version of the package and the
    configuration of a ``PDENet`` are in the metadata.

    Args:
        network: without iterative solves; it stays as it is.
        path: of the file; it appears whole or not at all.
        image_shape: ``(C, H, W)`` of its images.
        tolerance: largest deviation, relative to the largest output.

    Raises:
        InputError: for networks with iterative solves, which ONNX has no operations for; where
            packages are missing; for a shape that is none; for operations that ONNX does not have;
            and for a file that deviates.

    >>> import tempfile
    >>> from pdenet.networks import NetworkConfig
    >>> network = PDENet(NetworkConfig(in_channels=3, widths=(4,), steps=1, classes=5))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     written = to_onnx(network, f"{folder}/network.onnx", (3, 8, 8))
    >>> written.deviation < 1e-5
    True
    """
    _check_shape(image_shape)
    if not tolerance > 0:
        raise InputError("a positive tolerance", tolerance, "pass 1e-4")
    for name, module in network.named_modules():
        check_without_iteration(name, module)
    _check_packages()
    single = copy.deepcopy(network).float().cpu().eval()
    program = _onnx_program(single, image_shape)
    with open_atomic(path) as temporary:
        program.save(str(temporary))
        deviation = _deviation(single, temporary, image_shape)
        if not deviation <= tolerance:  # not-a-number deviates as well
            raise InputError(
                f"an ONNX file within {tolerance:g} of the network",
                f"a deviation of {deviation:.2g} on random images",
                "raise the tolerance, or check the weights for values that are not finite",
            )
        size = temporary.stat().st_size
    opset = program.model.opset_imports[""]
    channels, height, width = image_shape
    return OnnxFile(Path(path), opset, (channels, height, width), deviation, size)


def check_without_iteration(name: str, module: nn.Module) -> None:
    """Raise InputError for a time step that iterates at run time, which ONNX cannot hold.

    Args:
        name: what the step is called in the message.
        module: any module; only a ``TimeStep`` can be refused.
    """
    if not isinstance(module, TimeStep) or module.family not in ("implicit", "implicit-explicit"):
        return
    term = module.term
    linear = isinstance(term, DiffusionReactionTerm) and term.diffusion == "linear"
    if not linear:
        raise InputError(
            "a network without iterative solves for ONNX",
            f"{name}, whose {module.method} steps solve nonlinear equations by Newton's method",
            "train with an explicit method, or use export_program",
        )
    operator = term.diffusion_operator
    assert isinstance(operator, StencilOperator)
    if is_iterative(operator):
        raise InputError(
            "a network without iterative solves for ONNX",
            f"{name}, whose {module.method} steps solve by conjugate gradients at edges of "
            f"padding {operator.padding_mode!r}",
            "train with padding_mode='circular' or an explicit method, or use export_program",
        )


def _onnx_program(network: nn.Module, image_shape: tuple[int, int, int]) -> Any:
    """The graph by ``torch.onnx`` with names, a free batch and the origin in the metadata."""
    example = torch.zeros(_TRACED, *image_shape)
    with torch.no_grad():
        network(example)
    with _without_complaints():
        try:
            program = torch.onnx.export(
                network.requires_grad_(False),
                (example,),
                dynamo=True,
                dynamic_shapes=({0: Dim("batch")},),
                input_names=[INPUT],
                output_names=[OUTPUT],
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise InputError(
                "a network whose operations ONNX has",
                _innermost(error),
                "use export_program",
            ) from error
    assert program is not None
    program.model.metadata_props["pdenet"] = __version__
    if isinstance(network, PDENet):
        program.model.metadata_props["configuration"] = to_toml(network.config)
    return program


def _innermost(error: BaseException) -> str:
    """The first line of what began it all."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().partition("\n")[0]


@contextlib.contextmanager
def _without_complaints() -> Iterator[None]:
    """Silence what ``torch.onnx`` says of its future and of packages that nothing here needs."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for category in (DeprecationWarning, FutureWarning):
                module = r"(torch|onnx|copyreg).*"
                warnings.filterwarnings("ignore", category=category, module=module)
            yield
    finally:
        logger.setLevel(level)


def _deviation(network: nn.Module, file: Path, image_shape: tuple[int, int, int]) -> float:
    """Largest difference of the file and the network on random images, relative."""
    onnxruntime = importlib.import_module("onnxruntime")  # where there are no packages of ONNX
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # what it thinks of optimisations is no error
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(
        file.read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(_CHECKED, *image_shape, generator=generator)
    with torch.no_grad():
        expected: Tensor = network(images)
    found = torch.from_numpy(session.run([OUTPUT], {INPUT: images.numpy()})[0])
    if found.shape != expected.shape:
        return float("inf")
    largest = expected.abs().max().clamp_min(torch.finfo(torch.float32).tiny)
    return float((found - expected).abs().max() / largest)


def _check_shape(image_shape: tuple[int, int, int]) -> None:
    """Raise InputError unless there are three positive whole numbers."""
    whole = isinstance(image_shape, list | tuple) and len(image_shape) == 3
    if not whole or not all(type(n) is int and n > 0 for n in image_shape):
        raise InputError(
            "the shape (channels, height, width) of an image", repr(image_shape), "pass (3, 32, 32)"
        )


def _check_packages() -> None:
    """Raise InputError where a package of the extra is missing."""
    missing = [name for name in ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"the packages {', '.join(ONNX_PACKAGES)} for ONNX files",
            f"no {' and no '.join(missing)}",
            "run pip install 'pdenet[onnx]'",
        )
