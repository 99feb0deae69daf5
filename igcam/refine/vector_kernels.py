"""A few numbers at once: what compiled loops do with neighbouring numbers in one instruction of the processor.

The compiler does not find by itself that the numbers of one vertex can be handled together, as it cannot know that
arrays do not overlap; here it is told.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

ALIGNMENT = 4
"""Of float32 in bytes: rows of a few numbers may begin anywhere."""


@intrinsic(prefer_literal=True)
def _add_scaled(_: Any, target: Any, to: Any, weight: Any, source: Any, start: Any, width: Any) -> Any:
    """Do `target[to : to + width] += weight * source[start : start + width]`.

    Args:
        target: Contiguous float32 (n,); places are not checked.
        to: uint64.
        weight: float32.
        source: Contiguous float32 (m,).
        start: uint64.
        width: A constant of the compiled function, a power of two.
    """

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        size = width.literal_value
        onto = _place(context, builder, signature.args[0], given[0], given[1], size)
        values = builder.load(_place(context, builder, signature.args[3], given[3], given[4], size), align=ALIGNMENT)
        scaled = builder.fmul(_repeated(builder, given[2], size), values, flags=["contract"])
        total = builder.fadd(builder.load(onto, align=ALIGNMENT), scaled, flags=["contract"])
        builder.store(total, onto, align=ALIGNMENT)
        return context.get_dummy_value()

    return types.void(target, types.uint64, types.float32, source, types.uint64, width), code


@intrinsic(prefer_literal=True)
def _blend(_: Any, target: Any, source: Any, at: Any, before: Any, after: Any, width: Any) -> Any:
    """Do `target[at :] = source[at :] + (source[before :] + source[after :]) / 2` for `width` numbers each.

    Args:
        target: Contiguous float32 (n,), another array than `source`; places are not checked.
        source: Contiguous float32 (n,).
        at: uint64, like `before` and `after`.
        before: See there.
        after: See there.
        width: A constant of the compiled function, a power of two.
    """

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        size = width.literal_value
        middle, first, second = (
            builder.load(_place(context, builder, signature.args[1], given[1], place, size), align=ALIGNMENT)
            for place in given[2:5]
        )
        half = ir.Constant(first.type, [0.5] * size)
        total = builder.fadd(middle, builder.fmul(half, builder.fadd(first, second)), flags=["contract"])
        onto = _place(context, builder, signature.args[0], given[0], given[2], size)
        builder.store(total, onto, align=ALIGNMENT)
        return context.get_dummy_value()

    return types.void(target, source, types.uint64, types.uint64, types.uint64, width), code


# As they are called from compiled code: the first argument is the compiler's.
add_scaled: Any = _add_scaled
blend: Any = _blend


def _place(context: Any, builder: Any, kind: Any, array: Any, index: Any, width: int) -> Any:
    """Return a pointer to `width` numbers of an array, from an index on."""
    first = builder.gep(context.make_array(kind)(context, builder, value=array).data, [index])
    return builder.bitcast(first, ir.PointerType(ir.VectorType(ir.FloatType(), width)))


def _repeated(builder: Any, number: Any, width: int) -> Any:
    """Return a vector of one number."""
    empty = ir.Constant(ir.VectorType(ir.FloatType(), width), ir.Undefined)
    lanes = ir.Constant(ir.VectorType(ir.IntType(32), width), [0] * width)
    return builder.shuffle_vector(builder.insert_element(empty, number, ir.IntType(32)(0)), empty, lanes)
