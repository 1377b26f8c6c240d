"""Reading arrays that others wrote: every defect of a file becomes one sentence.

Nothing is unpickled, and no array is larger than its file says before the file is read.
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.errors import InputError

if TYPE_CHECKING:
    import numpy as np

LARGEST_ARRAY_FILE = 2**32
"""Bytes that the arrays of one .npz may unpack to: a compressed file can claim any size."""


def existing_file(path: str, expected: str) -> Path:
    """The path of a file that is there, else InputError."""
    try:
        found = "\0" not in path and Path(path).is_file()
        exists = "\0" not in path and Path(path).exists()
    except OSError as error:  # a name too long, a folder that may not be read
        raise InputError(expected, f"{path} ({error.strerror})", "check the path") from None
    if not found:
        what = f"{path}, which is no file" if exists else f"no file '{path}'"
        raise InputError(expected, what, "check the path")
    return Path(path)


def read_eigenvalues(path: str) -> np.ndarray:
    """Eigenvalues from a .npy file, a .npz file with one array, or text with `re im` a line.

    Four numbers a line, or two complex columns, are pairs of an explicit and an implicit one.

    Returns:
        complex128 array of shape (n,) or of pairs (n, 2), n > 0, all finite.

    Raises:
        InputError: where there is no such file or it holds anything else.
    """
    import numpy as np

    file = existing_file(path, "a file of eigenvalues")
    suffix = file.suffix.lower()
    if suffix == ".npz":
        arrays = read_npz(file)
        if len(arrays) != 1:
            names = ", ".join(arrays) or "none"
            raise InputError(f"one array in {file}", f"{len(arrays)} ({names})", "keep one")
        (values,) = arrays.values()
    elif suffix == ".npy":
        values = _guarded(file, lambda: _load_npy(file))
    else:
        values = _read_text(file)
    if values.dtype.kind not in "iufc":
        raise InputError(f"numbers in {file}", f"type {values.dtype}", "save floats or complex")
    if values.dtype.kind != "c" and values.ndim != 1:
        raise InputError(
            f"complex eigenvalues, or real ones in one row, in {file}",
            f"real numbers of shape {values.shape}",
            "save re + 1j * im as a complex array",
        )
    with warnings.catch_warnings():  # a float128 too large for float64 becomes inf, refused below
        warnings.simplefilter("ignore")
        found = np.asarray(values).astype(complex)
        flat = found if found.ndim == 2 and found.shape[1] == 2 else found.ravel()
    if flat.size == 0 or not np.isfinite(flat).all():
        got = "none" if flat.size == 0 else "an infinite or undefined one"
        raise InputError(f"finite eigenvalues in {file}", got, "check how the file was made")
    return flat


def read_npz(file: Path) -> dict[str, np.ndarray]:
    """All arrays of a .npz file by name."""
    import zipfile

    import numpy as np

    def load() -> dict[str, Any]:
        with zipfile.ZipFile(file) as archive:
            size = sum(item.file_size for item in archive.infolist())
        if size > LARGEST_ARRAY_FILE:
            raise ValueError(f"{size} bytes when unpacked")
        with np.load(file, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
        # A member that is no .npy file comes as its bytes.
        wrong = [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]
        if wrong:
            raise ValueError(f"{wrong[0]} is not an array")
        return arrays

    return _guarded(file, load)


def read_safetensors(file: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """All tensors of a .safetensors file by name, and its metadata."""
    from safetensors import safe_open

    def load() -> tuple[dict[str, Any], dict[str, str]]:
        with safe_open(file, framework="numpy") as content:
            metadata = dict(content.metadata() or {})
            names = list(content.keys())
            kinds = {name: content.get_slice(name).get_dtype() for name in names}
            if set(kinds.values()) <= {"F64", "F32", "F16", "I64", "I32", "I16", "I8", "U8"}:
                return {name: content.get_tensor(name) for name in names}, metadata
        # NumPy has no bfloat16 and no 8-bit floats; torch has.
        with safe_open(file, framework="pt", device="cpu") as content:
            return {n: _widened(content.get_tensor(n)) for n in names}, metadata

    return _guarded(file, load)


def safetensors_metadata(file: Path) -> dict[str, str]:
    """The metadata of a .safetensors file, without reading its tensors."""
    from safetensors import safe_open

    def load() -> dict[str, str]:
        with safe_open(file, framework="numpy") as content:
            return dict(content.metadata() or {})

    return _guarded(file, load)


def _widened(tensor: Any) -> Any:
    return (tensor.double() if tensor.is_floating_point() else tensor).numpy()


def _load_npy(file: Path) -> Any:
    """An array whose header does not promise more than the file holds."""
    import numpy as np

    with file.open("rb") as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0
        shape, _, dtype = (read if version == (1, 0) else np.lib.format.read_array_header_2_0)(
            stream
        )
        if math.prod(shape) * dtype.itemsize > file.stat().st_size:
            raise ValueError("fewer numbers than its header says")
    return np.load(file, allow_pickle=False)


def _guarded(file: Path, load: Any) -> Any:
    """The result of `load()`; whatever a corrupt file makes a reader raise becomes InputError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return load()
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"a readable {file.suffix} file at {file}",
            f"'{reason[:120]}'",
            "write it again with numpy.save, numpy.savez or safetensors",
        ) from None


def _read_text(file: Path) -> np.ndarray:
    """Complex numbers from lines `re im` or `re`; `#` begins a comment, a comma is a space."""
    import numpy as np

    values: list[np.ndarray] = []
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise InputError(
            f"text with 're im' a line in {file}", "bytes that are no text", "or save a .npy file"
        ) from None
    for index, line in enumerate(lines, start=1):
        words = line.partition("#")[0].replace(",", " ").split()
        if not words:
            continue
        try:
            parts = [float(word) for word in words]
        except ValueError:
            parts = []
        if len(parts) not in (1, 2, 4) or (values and (len(parts) == 4) != (values[0].size == 2)):
            raise InputError(
                f"'re im' on line {index} of {file}, or 're im re im' on every line",
                f"'{line.strip()[:40]}'",
                "as in -1.5 0.25",
            )
        numbers = parts if len(parts) > 1 else [*parts, 0.0]
        values.append(np.array(numbers).view(complex))
    if values and values[0].size == 2:
        return np.array(values)
    return np.concatenate([np.zeros(0, dtype=complex), *values])
