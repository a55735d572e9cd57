"""``1 + erf(x)``, ``1 + tanh(x)`` and ``1 + exp(x)`` in f32: what GELU and SiLU are made of, in one piece.

Apart, both functions need a form for small arguments that keeps every digit; behind the addition of 1 only
absolute errors count. So one form does, of ``|x|`` or 2 minus that: ``erfc(|x|)``, a power of two whose
exponent is a polynomial, or ``2 p / (1 + p)`` with ``p = exp(-2 |x|)``. Errors stay below 1.5e-7, as those of
the functions apart; negative arguments keep more digits than they do apart.

Where all that becomes of ``1 + erf(x)`` is rounded to bf16 (rows of products on matrix tiles), it is an odd
polynomial of the argument held between -3 and 3: half the instructions.
"""

from __future__ import annotations

from iree_codegen.legalize.emit import Emit
from iree_codegen.legalize.float32 import LN2_HIGH, LN2_LOW
from iree_core_ir.ir.known_values import known_number
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.types import bf16, element_of, f32

SHIFT = 12582912.0 + 127.0
"""Adding it to n leaves n + 127, the exponent field of 2^n, in the low bits."""
POWER = (0.00015353361959569156, 0.0013398873852565885, 0.00961843691766262, 0.055503323674201965,
         0.24022647738456726, 0.6931471824645996)  # fmt: skip
"""(2^f - 1) / f for |f| <= 1/2, relative error of 2^f 2e-9."""
EXP = (0.0013843607157468796, 0.008374195545911789, 0.04166800528764725, 0.16666430234909058,
       0.4999999403953552, 1.0)  # fmt: skip
"""(e^r - 1) / r for |r| <= ln2 / 2, relative error of e^r 2e-9."""
LOG_ERFC = (-1.909612365125213e-06, 3.274278424214572e-05, -0.00024976744316518307, 0.0010867463424801826,
            -0.002619139151647687, 0.00038226728793233633, 0.0275739636272192, -0.14826619625091553,
            -0.9184483885765076, -1.6279070377349854)  # fmt: skip
"""log2(erfc(t)) / t for t >= 0: erfc within 2e-10 up to 4; beyond, it falls on without end."""

ERF_END = 3.0
"""Where erf counts as 1 for numbers of bf16."""
ERF = (3.96120682919219e-08, -1.9005566400664975e-06, 4.034705489175394e-05, -0.0005049397004768252,
       0.004205775447189808, -0.025021126493811607, 0.1109599694609642, -0.3752366900444031,
       1.12825345993042)  # fmt: skip
"""erf(x) / x by x^2 up to ERF_END, where erf is 1: within 3e-5, while rounding to bf16 loses 2^-8."""


def _power(e: Emit, y: Value) -> Value:
    """2^y for -126 <= y <= 0; 0 for -127 (NaN stays)."""
    shifted = e.add(y, SHIFT)
    f = e.sub(y, e.sub(shifted, SHIFT))
    scale = e.float(e.shl(e.bits(shifted), 23))
    return e.mul(e.fma(e.poly(f, POWER), f, 1.0), scale)


def one_plus_erf(e: Emit, x: Value) -> Value:
    t = e.abs(x)
    y = e.mul(t, e.poly(t, LOG_ERFC))
    small = _power(e, e.select(e.compare("olt", y, -127.0), -127.0, y))
    return e.select(e.compare("olt", x, 0.0), small, e.sub(2.0, small))


def one_plus_erf_for_bf16(e: Emit, x: Value) -> Value:
    below = e.compare("olt", x, -ERF_END)
    low = e.select(below, -ERF_END, x)
    held = e.select(e.compare("ogt", low, ERF_END), ERF_END, low)
    # What the polynomial leaves of 0 would be multiplied by an argument of any size.
    return e.select(below, 0.0, e.fma(held, e.poly(e.mul(held, held), ERF), 1.0))


def one_plus_tanh(e: Emit, x: Value) -> Value:
    y = e.mul(e.abs(x), -2.88539008177792681472)
    y = e.select(e.compare("olt", y, -127.0), -127.0, y)
    power = _power(e, y)
    small = e.div(e.add(power, power), e.add(power, 1.0))
    return e.select(e.compare("olt", x, 0.0), small, e.sub(2.0, small))


def one_plus_exp(e: Emit, x: Value) -> Value:
    """Infinite from where exp is; half of the power of two is multiplied first, so that the greatest fits."""
    low = e.select(e.compare("olt", x, -30.0), -30.0, x)
    bounded = e.select(e.compare("ogt", low, 89.0), 89.0, low)
    shifted = e.fma(bounded, 1.44269504088896341, SHIFT - 1.0)
    n = e.sub(shifted, SHIFT - 1.0)
    r = e.fma(n, -LN2_LOW, e.fma(n, -LN2_HIGH, bounded))
    half = e.mul(e.fma(e.poly(r, EXP), r, 1.0), e.float(e.shl(e.bits(shifted), 23)))
    return e.fma(half, 2.0, 1.0)


FORMS = {"math.erf": one_plus_erf, "math.exp": one_plus_exp, "math.tanh": one_plus_tanh}


def joined(op: Op, *, fma_available: bool) -> bool:
    """Replace ``op``, a function of ``FORMS`` on f32, and the addition of 1 behind it. A division of the
    argument of erf by a number is taken along as a product: its rounding is within the error."""
    form = FORMS.get(op.name)
    if form is None or element_of(op.operands[0].type) is not f32 or not op.results[0].has_one_use:
        return False
    (addition,) = op.results[0].users
    if addition.name != "arith.addf" or addition.parent is not op.parent:
        return False
    a, b = addition.operands
    if known_number(b if a is op.results[0] else a) != 1.0:
        return False
    e = Emit(addition, fma_available=fma_available)
    if op.name == "math.erf" and _rounded(addition.results[0]):
        form = one_plus_erf_for_bf16
    x = op.operands[0]
    quotient = x.defining_op
    if op.name == "math.erf" and quotient is not None and quotient.name == "arith.divf":
        divisor = known_number(quotient.operands[1])
        if divisor is not None and 1e-3 < abs(divisor) < 1e3:
            x = e.mul(quotient.operands[0], 1.0 / divisor)
    addition.replace_by([form(e, x)])
    op.erase()
    if quotient is not None and x is not quotient.results[0] and not quotient.results[0].uses:
        quotient.erase()
    return True


def _rounded(value: Value) -> bool:
    """Whether products of ``value`` that are rounded to bf16 are all that becomes of it."""
    for user in value.users:
        if user.name == "arith.truncf":
            if element_of(user.results[0].type) is not bf16:
                return False
        elif user.name != "arith.mulf" or not _rounded(user.results[0]):
            return False
    return True


__all__ = ["FORMS", "joined", "one_plus_erf", "one_plus_erf_for_bf16", "one_plus_exp", "one_plus_tanh"]
