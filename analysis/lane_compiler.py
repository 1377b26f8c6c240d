"""Compiles ``analysis.lane_kernels``: numba is taught vectors of lanes, as LLVM has them."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import cache
from typing import Any

from analysis.lane_kernels import PARTS, fill, load, pick, root, solve, store


def _address(context: Any, builder: Any, rows: Any, args: Any, form: Any) -> Any:
    """Where a row begins."""
    from llvmlite import ir

    array, at = context.make_array(rows)(context, builder, args[0]), args[1]
    # A constant distance becomes part of the instruction.
    distance = ir.Constant(at.type, 8 * form.count)
    if rows.layout != "C":
        distance = builder.extract_value(array.strides, 0)
    start = builder.bitcast(array.data, ir.IntType(8).as_pointer())
    return builder.bitcast(builder.gep(start, [builder.mul(at, distance)]), form.as_pointer())


def _lower_load(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    at = _address(context, builder, signature.args[0], args, signature.return_type.form)
    return builder.load(at, align=8)


def _lower_store(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    at = _address(context, builder, signature.args[0], args, signature.args[2].form)
    builder.store(args[2], at, align=8)
    return context.get_dummy_value()


def _lower_fill(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    from llvmlite import ir

    form, index = signature.return_type.form, ir.IntType(32)
    empty = ir.Constant(form, ir.Undefined)
    one = builder.insert_element(empty, args[1], ir.Constant(index, 0))
    order = ir.Constant(ir.VectorType(index, form.count), [0] * form.count)
    return builder.shuffle_vector(one, empty, order)


def _lower_root(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    from llvmlite import ir
    from numba.core.cgutils import get_or_insert_function

    form = signature.return_type.form
    name = f"llvm.sqrt.v{form.count}f64"
    instruction = get_or_insert_function(builder.module, ir.FunctionType(form, [form]), name)
    return builder.call(instruction, args)


def _lower_pick(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", args[0], args[1]), args[2], args[3])


def _lower_arithmetic(name: str) -> Callable[..., Any]:
    def lower(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        # A product and a sum may become one instruction, which only saves a rounding.
        return getattr(builder, name)(*args, flags=("contract",))

    return lower


def _always(result: Any) -> Callable[[Any], Any]:
    return lambda context: result


def _teach(lanes: int) -> None:
    """Make vectors of so many lanes, and of twice as many, known to numba."""
    from llvmlite import ir
    from numba.core import types
    from numba.extending import (
        lower_builtin,
        models,
        register_jitable,
        register_model,
        type_callable,
    )

    kind = type("Lanes", (types.Type,), {})
    register_model(kind)(lambda manager, own: models.PrimitiveModel(manager, own, own.form))
    vectors = {}
    for axes, width in ((2, lanes), (3, 2 * lanes)):
        vectors[axes] = kind(f"lanes{width}")
        vectors[axes].form = ir.VectorType(ir.DoubleType(), width)

    def same(x: Any, y: Any) -> Any:
        return x if isinstance(x, kind) and x == y else None

    # From the types of the arguments to the type of the result, and to instructions.
    operations: tuple[tuple[Any, Callable[..., Any], Callable[..., Any], tuple[Any, ...]], ...] = (
        (load, lambda rows, at: vectors[rows.ndim], _lower_load, (types.Array, types.Integer)),
        (store, lambda rows, at, x: types.none, _lower_store, (types.Array, types.Integer, kind)),
        (fill, lambda rows, x: vectors[rows.ndim], _lower_fill, (types.Array, types.Float)),
        (root, lambda x: x, _lower_root, (kind,)),
        (pick, lambda x, bound, above, otherwise: x, _lower_pick, (kind,) * 4),
        (operator.add, same, _lower_arithmetic("fadd"), (kind, kind)),
        (operator.sub, same, _lower_arithmetic("fsub"), (kind, kind)),
        (operator.mul, same, _lower_arithmetic("fmul"), (kind, kind)),
        (operator.truediv, same, _lower_arithmetic("fdiv"), (kind, kind)),
    )
    for function, result, lower, arguments in operations:
        type_callable(function)(_always(result))
        lower_builtin(function, *arguments)(lower)
    for part in PARTS:
        register_jitable(part)


@cache
def compiled() -> tuple[Callable[..., bool], int]:
    """The machine code of ``solve``, and its lanes."""
    import numba
    from numba import types
    from numba.core.registry import cpu_target

    # What the code is compiled for, which is also what the cache on disk knows it by.
    features = cpu_target.target_context.codegen().magic_tuple()[2]
    lanes = 8 if "+avx512f" in features.split(",") else 4
    _teach(lanes)
    single, double = types.float64[:, ::1], types.float64[:, :, ::1]
    matrices = types.Array(types.float64, 4, "C", readonly=True)
    signature = types.boolean(
        matrices, single, single, single, double, double, double, double, types.int64[::1]
    )
    options: dict[str, Any] = {"error_model": "numpy", "nogil": True}
    try:
        return numba.njit(signature, cache=True, **options)(solve), lanes
    except (RuntimeError, OSError):  # no folder to keep the code in, or no room
        return numba.njit(signature, **options)(solve), lanes
