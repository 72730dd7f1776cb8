"""Sixteen float32 lanes as one Numba value: vector code that does not depend on the auto-vectoriser.

LLVM turns each operation into packed instructions of whatever width the machine has (one AVX-512 register,
two AVX, four SSE or NEON). In the rasterizer the lanes are the pixels of a 4 x 4 block, row by row.

Only what the kernels use exists: ``+ - *`` and ``/`` between lanes or lanes and a float32, comparisons
giving `Mask`, ``&`` of masks, and the functions below. A float64 operand is a typing error on purpose.
"""

import operator

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

LANES = 16
BLOCK = 4  # the lanes form a BLOCK x BLOCK square of pixels

_FLOAT = ir.FloatType()
_VECTOR = ir.VectorType(_FLOAT, LANES)
_INTS = ir.VectorType(ir.IntType(32), LANES)
_BITS = ir.VectorType(ir.IntType(1), LANES)
# Fusing a multiply with an add rounds once instead of twice; nothing else is relaxed.
_FUSE = ("contract",)


class LanesType(types.Type):
    def __init__(self) -> None:
        super().__init__(name="Float32x16")


class MaskType(types.Type):
    def __init__(self) -> None:
        super().__init__(name="Bool16")


lanes, mask = LanesType(), MaskType()


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, kind) -> None:
        super().__init__(manager, kind, _VECTOR)


@register_model(MaskType)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager, kind) -> None:
        super().__init__(manager, kind, _BITS)


def _constant(values) -> ir.Constant:
    return ir.Constant(_VECTOR, [ir.Constant(_FLOAT, float(v)) for v in values])


def _splat(builder, value):
    """A vector with the same float in every lane; vectors pass through."""
    if value.type == _VECTOR:
        return value
    first = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, ir.Constant(_VECTOR, ir.Undefined), ir.Constant(_INTS, [0] * LANES))


def _register(operation, emit, result, operands) -> None:
    """Teach Numba ``operation`` for the given operand types; ``emit(builder, *vectors)`` writes the code."""

    @infer_global(operation)
    class _Typing(AbstractTemplate):
        def generic(self, args, kws):
            # Exact types only: Numba would otherwise convert a float64 silently.
            return signature(result, *args) if args in operands else None

    def lower(context, builder, sig, args):
        return emit(builder, *args)

    for kinds in operands:
        lower_builtin(operation, *kinds)(lower)


_PAIRS = [(lanes, lanes), (lanes, types.float32), (types.float32, lanes)]
for _operation, _name in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):

    def _arithmetic(builder, a, b, name=_name):
        return getattr(builder, name)(_splat(builder, a), _splat(builder, b), flags=_FUSE)

    _register(_operation, _arithmetic, lanes, _PAIRS)

for _operation, _symbol in ((operator.lt, "<"), (operator.le, "<="), (operator.gt, ">"), (operator.ge, ">=")):

    def _comparison(builder, a, b, symbol=_symbol):
        return builder.fcmp_ordered(symbol, _splat(builder, a), _splat(builder, b))

    _register(_operation, _comparison, mask, _PAIRS)

_register(operator.neg, lambda builder, a: builder.fneg(a), lanes, [(lanes,)])
_register(operator.and_, lambda builder, a, b: builder.and_(a, b), mask, [(mask, mask)])


def _pointer(context, builder, array_type, array, index, element):
    data = context.make_array(array_type)(context, builder, array).data
    at = builder.gep(data, [index])
    return builder.bitcast(at, element.as_pointer())


@intrinsic
def load(typing, array, index):
    """Sixteen consecutive floats of a flat array, from ``index``; neither is checked."""

    def codegen(context, builder, sig, args):
        at = _pointer(context, builder, sig.args[0], args[0], args[1], _VECTOR)
        return builder.load(at, align=4)

    return lanes(array, types.intp), codegen


@intrinsic
def store(typing, array, index, value):
    """Write sixteen consecutive floats of a flat array."""

    def codegen(context, builder, sig, args):
        at = _pointer(context, builder, sig.args[0], args[0], args[1], _VECTOR)
        builder.store(args[2], at, align=4)

    return types.void(array, types.intp, value), codegen


@intrinsic
def element(typing, array, index):
    """One element of a flat array, without the test for a negative index."""

    def codegen(context, builder, sig, args):
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        return builder.load(builder.gep(data, [args[1]]))

    return array.dtype(array, types.intp), codegen


@intrinsic
def prefetch(typing, array, index):
    """Prefetch the cache line of an element that will be read soon."""

    def codegen(context, builder, sig, args):
        at = _pointer(context, builder, sig.args[0], args[0], args[1], ir.IntType(8))
        i32 = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [at.type, i32, i32, i32])
        function = builder.module.declare_intrinsic("llvm.prefetch", [at.type], kind)
        # A read, to be kept in all cache levels, of data.
        builder.call(function, [at, i32(0), i32(3), i32(1)])

    return types.void(array, types.intp), codegen


@intrinsic
def splat(typing, value):
    """The same float32 in every lane."""

    def codegen(context, builder, sig, args):
        return _splat(builder, args[0])

    return lanes(types.float32), codegen


@intrinsic
def lane_x(typing):
    """Column of each lane in its block."""
    return lanes(), lambda context, builder, sig, args: _constant(np.arange(LANES) % BLOCK)


@intrinsic
def lane_y(typing):
    """Row of each lane in its block."""
    return lanes(), lambda context, builder, sig, args: _constant(np.arange(LANES) // BLOCK)


@intrinsic
def select(typing, condition, yes, no):
    """``yes`` where the mask holds, ``no`` elsewhere; each lanes or float32."""

    def codegen(context, builder, sig, args):
        return builder.select(args[0], _splat(builder, args[1]), _splat(builder, args[2]))

    return lanes(mask, yes, no), codegen


@intrinsic
def some(typing, condition):
    """Whether the mask holds in any lane."""

    def codegen(context, builder, sig, args):
        bits = builder.bitcast(args[0], ir.IntType(LANES))
        return builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))

    return types.boolean(mask), codegen


# Minimax polynomial of 2^x on [0, 1), relative error 1.6e-7 in float32 arithmetic.
_EXP2 = (0.99999994, 0.6931531, 0.24015361, 0.05582632, 0.00898934, 0.00187758)


@intrinsic
def exp2(typing, value):
    """2 to the power of each lane, for -15 <= lane < 100; outside that the lane is unspecified."""

    def codegen(context, builder, sig, args):
        (x,) = args
        shift = ir.Constant(_INTS, [LANES] * LANES)
        # Truncation rounds down once the number is made positive.
        whole = builder.sub(builder.fptosi(builder.fadd(x, _constant([float(LANES)] * LANES)), _INTS), shift)
        rest = builder.fsub(x, builder.sitofp(whole, _VECTOR))
        power = _constant([_EXP2[-1]] * LANES)
        for coefficient in _EXP2[-2::-1]:
            power = builder.fadd(
                builder.fmul(power, rest, flags=_FUSE), _constant([coefficient] * LANES), flags=_FUSE
            )
        exponent = builder.shl(
            builder.add(whole, ir.Constant(_INTS, [127] * LANES)), ir.Constant(_INTS, [23] * LANES)
        )
        return builder.fmul(power, builder.bitcast(exponent, _VECTOR))

    return lanes(lanes), codegen


@intrinsic
def sums(typing, vectors):
    """Lane sums of a tuple of up to sixteen vectors: lane k of the result is the sum of vector k's lanes.

    Pairs of vectors are folded into one, four times: with two shuffles and an addition a fold this is
    about a third of the work of separate reductions, and the sums come out ready to be stored together.
    """

    def codegen(context, builder, sig, args):
        level = cgutils.unpack_tuple(builder, args[0])
        level += [_constant([0.0] * LANES)] * (LANES - len(level))
        for step in (8, 4, 2, 1):
            # Vector k and vector k + step share a register afterwards: lanes whose bit ``step`` is clear
            # belong to the first, the others to the second.
            low, high = [], []
            for lane in range(LANES):
                source = 0 if lane & step == 0 else LANES
                low.append(source + (lane & ~step))
                high.append(source + (lane | step))
            level = [
                builder.fadd(
                    builder.shuffle_vector(level[k], level[k + step], ir.Constant(_INTS, low)),
                    builder.shuffle_vector(level[k], level[k + step], ir.Constant(_INTS, high)),
                )
                for k in range(step)
            ]
        return level[0]

    return lanes(vectors), codegen


@intrinsic
def float_bits(typing, value):
    """The bit pattern of a float32: for positive floats it sorts as they do."""
    return types.int32(types.float32), lambda context, builder, sig, args: builder.bitcast(
        args[0], ir.IntType(32)
    )
