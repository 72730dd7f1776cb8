"""Sixteen float32 lanes as one Numba value: vector code that does not depend on the auto-vectoriser.

LLVM turns each operation into packed instructions of whatever width the machine has (one AVX-512 register,
two AVX, four SSE or NEON). In the rasterizer the lanes are the pixels of a 4 x 4 block, row by row.

Only what the kernels use exists: ``+ - *`` and ``/`` between lanes or lanes and a float32, comparisons
giving `Mask`, and the functions below. Masks are not combined: without AVX-512 LLVM packs and unpacks them
for that (docs/rasterizer.md). A float64 operand is a typing error on purpose.
"""

import operator
from functools import partial

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
    vector = _VECTOR

    def __init__(self) -> None:
        super().__init__(name="Float32x16")


class MaskType(types.Type):
    vector = _BITS

    def __init__(self) -> None:
        super().__init__(name="Bool16")


lanes, mask = LanesType(), MaskType()


@register_model(LanesType)
@register_model(MaskType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, kind) -> None:
        super().__init__(manager, kind, kind.vector)


def _constant(values) -> ir.Constant:
    """A vector of these numbers; one number stands in every lane."""
    return ir.Constant(_VECTOR, [ir.Constant(_FLOAT, float(v)) for v in np.broadcast_to(values, LANES)])


def _whole(number: int) -> ir.Constant:
    return ir.Constant(_INTS, [number] * LANES)


def _splat(builder, value):
    """A vector with the same float in every lane; vectors pass through."""
    if value.type == _VECTOR:
        return value
    first = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, ir.Constant(_VECTOR, ir.Undefined), _whole(0))


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


def _arithmetic(name, builder, a, b):
    return getattr(builder, name)(_splat(builder, a), _splat(builder, b), flags=_FUSE)


def _comparison(symbol, builder, a, b):
    return builder.fcmp_ordered(symbol, _splat(builder, a), _splat(builder, b))


_PAIRS = [(lanes, lanes), (lanes, types.float32), (types.float32, lanes)]
for _operation, _name in {"add": "fadd", "sub": "fsub", "mul": "fmul", "truediv": "fdiv"}.items():
    _register(getattr(operator, _operation), partial(_arithmetic, _name), lanes, _PAIRS)
for _operation, _name in {"lt": "<", "le": "<=", "gt": ">", "ge": ">="}.items():
    _register(getattr(operator, _operation), partial(_comparison, _name), mask, _PAIRS)
_register(operator.neg, lambda builder, a: builder.fneg(a), lanes, [(lanes,)])


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


def _inline(emit):
    """The code generator of an intrinsic that needs its operands alone."""
    return lambda context, builder, sig, args: emit(builder, *args)


@intrinsic
def splat(typing, value):
    """The same float32 in every lane."""
    return lanes(types.float32), _inline(_splat)


@intrinsic
def lane_x(typing):
    """Column of each lane in its block."""
    return lanes(), _inline(lambda builder: _constant(np.arange(LANES) % BLOCK))


@intrinsic
def lane_y(typing):
    """Row of each lane in its block."""
    return lanes(), _inline(lambda builder: _constant(np.arange(LANES) // BLOCK))


@intrinsic
def select(typing, condition, yes, no):
    """``yes`` where the mask holds, ``no`` elsewhere; each lanes or float32."""

    def emit(builder, condition, yes, no):
        return builder.select(condition, _splat(builder, yes), _splat(builder, no))

    return lanes(mask, yes, no), _inline(emit)


@intrinsic
def negative(typing, value):
    """Minus the absolute value of each lane."""

    def emit(builder, value):
        bits = builder.or_(builder.bitcast(value, _INTS), _whole(1 << 31))
        return builder.bitcast(bits, _VECTOR)

    return lanes(lanes), _inline(emit)


@intrinsic
def some(typing, condition):
    """Whether the mask holds in any lane."""

    def emit(builder, condition):
        bits = builder.bitcast(condition, ir.IntType(LANES))
        return builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))

    return types.boolean(mask), _inline(emit)


@intrinsic
def float_bits(typing, value):
    """The bit pattern of a float32: for positive floats it sorts as they do."""
    return types.int32(types.float32), _inline(lambda builder, value: builder.bitcast(value, ir.IntType(32)))


# Minimax polynomial of 2^x on [0, 1), relative error 1.6e-7 in float32 arithmetic.
_EXP2 = (0.99999994, 0.6931531, 0.24015361, 0.05582632, 0.00898934, 0.00187758)


@intrinsic
def exp2(typing, value):
    """2 to the power of each lane, for -15 <= lane < 100; outside that the lane is unspecified."""

    def emit(builder, x):
        # Truncation rounds down once the number is made positive.
        whole = builder.sub(builder.fptosi(builder.fadd(x, _constant(LANES)), _INTS), _whole(LANES))
        rest = builder.fsub(x, builder.sitofp(whole, _VECTOR))
        power = _constant(_EXP2[-1])
        for coefficient in _EXP2[-2::-1]:
            product = builder.fmul(power, rest, flags=_FUSE)
            power = builder.fadd(product, _constant(coefficient), flags=_FUSE)
        exponent = builder.shl(builder.add(whole, _whole(127)), _whole(23))
        return builder.fmul(power, builder.bitcast(exponent, _VECTOR))

    return lanes(lanes), _inline(emit)


@intrinsic
def sums(typing, vectors):
    """Lane sums of a tuple of up to sixteen vectors: lane k of the result is the sum of vector k's lanes.

    Pairs of vectors are folded into one, four times: with two shuffles and an addition a fold this is
    about a third of the work of separate reductions, and the sums come out ready to be stored together.
    """

    def emit(builder, vectors):
        level = cgutils.unpack_tuple(builder, vectors)
        level += [_constant(0.0)] * (LANES - len(level))
        for step in (8, 4, 2, 1):
            # Vector k and vector k + step share a register afterwards: lanes whose bit ``step`` is clear
            # belong to the first, the others to the second.
            source = [0 if lane & step == 0 else LANES for lane in range(LANES)]
            low = ir.Constant(_INTS, [source[lane] + (lane & ~step) for lane in range(LANES)])
            high = ir.Constant(_INTS, [source[lane] + (lane | step) for lane in range(LANES)])
            pairs = list(zip(level[:step], level[step:]))
            level = [
                builder.fadd(builder.shuffle_vector(*pair, low), builder.shuffle_vector(*pair, high))
                for pair in pairs
            ]
        return level[0]

    return lanes(vectors), _inline(emit)
