"""erf and erfc in double precision (fdlibm's ``s_erf``): five intervals, selected."""

from __future__ import annotations

from iree_codegen.legalize.emit import Emit
from iree_codegen.legalize.float64 import exp
from iree_core_ir.ir.operation import Value

PP = (-2.37630166566501626084e-05, -5.77027029648944159157e-03, -2.84817495755985104766e-02,
      -3.25042107247001499370e-01, 1.28379167095512558561e-01)  # fmt: skip
QQ = (-3.96022827877536812320e-06, 1.32494738004321644526e-04, 5.08130628187576562776e-03,
      6.50222499887672944485e-02, 3.97917223959155352819e-01, 1.0)  # fmt: skip
PA = (-2.16637559486879084300e-03, 3.54783043256182359371e-02, -1.10894694282396677476e-01,
      3.18346619901161753674e-01, -3.72207876035701323847e-01, 4.14856118683748331666e-01,
      -2.36211856075265944077e-03)  # fmt: skip
QA = (1.19844998467991074170e-02, 1.36370839120290507362e-02, 1.26171219808761642112e-01,
      7.18286544141962662868e-02, 5.40397917702171048937e-01, 1.06420880400844228286e-01, 1.0)  # fmt: skip
RA = (-9.81432934416914548592e00, -8.12874355063065934246e01, -1.84605092906711035994e02,
      -1.62396669462573470355e02, -6.23753324503260060396e01, -1.05586262253232909814e01,
      -6.93858572707181764372e-01, -9.86494403484714822705e-03)  # fmt: skip
SA = (-6.04244152148580987438e-02, 6.57024977031928170135e00, 1.08635005541779435134e02,
      4.29008140027567833386e02, 6.45387271733267880336e02, 4.34565877475229228821e02,
      1.37657754143519042600e02, 1.96512716674392571292e01, 1.0)  # fmt: skip
RB = (-4.83519191608651397019e02, -1.02509513161107724954e03, -6.37566443368389627722e02,
      -1.60636384855821916062e02, -1.77579549177547519889e01, -7.99283237680523006574e-01,
      -9.86494292470009928597e-03)  # fmt: skip
SB = (-2.24409524465858183362e01, 4.74528541206955367215e02, 2.55305040643316442583e03,
      3.19985821950859553908e03, 1.53672958608443695994e03, 3.25792512996573918826e02,
      3.03380607434824582924e01, 1.0)  # fmt: skip
ERX = 8.45062911510467529297e-01
EFX = 1.28379167095512586316e-01


def _pieces(e: Emit, x: Value) -> tuple[Value, Value, Value, Value]:
    """(|x|, x * P/Q near 0, P/Q around 1, exp(-x*x) R/S / |x|)."""
    a = e.abs(x)
    z = e.mul(x, x)
    small = e.div(e.poly(z, PP), e.poly(z, QQ))
    s = e.sub(a, 1.0)
    middle = e.div(e.poly(s, PA), e.poly(s, QA))
    c = e.select(e.compare("olt", a, 1.0), 1.0, a)
    c = e.select(e.compare("ogt", c, 28.0), 28.0, c)
    t = e.div(1.0, e.mul(c, c))
    near = e.div(e.poly(t, RA), e.poly(t, SA))
    far = e.div(e.poly(t, RB), e.poly(t, SB))
    ratio = e.select(e.compare("olt", c, 1.0 / 0.35), near, far)
    high = e.float(e.iand(e.bits(c), -0x100000000))
    square = exp(e, e.sub(-0.5625, e.mul(high, high)))
    rest = exp(e, e.add(e.mul(e.sub(high, c), e.add(high, c)), ratio))
    return a, small, middle, e.div(e.mul(square, rest), c)


def erf(e: Emit, x: Value) -> Value:
    a, small, middle, tail = _pieces(e, x)
    result = e.select(e.compare("olt", a, 1.25), e.add(middle, ERX), e.sub(1.0, tail))
    result = e.select(e.compare("oge", a, 6.0), 1.0, result)
    result = e.copysign(result, x)
    result = e.select(e.compare("olt", a, 0.84375), e.add(x, e.mul(x, small)), result)
    return e.select(e.is_nan(x), x, result)


def erfc(e: Emit, x: Value) -> Value:
    a, small, middle, tail = _pieces(e, x)
    negative = e.compare("olt", x, 0.0)
    around = e.select(negative, e.add(e.add(middle, ERX), 1.0), e.sub(1.0 - ERX, middle))
    far = e.select(negative, e.sub(2.0, tail), tail)
    result = e.select(e.compare("olt", a, 1.25), around, far)
    beyond = e.select(negative, e.value(2.0, x), e.value(0.0, x))
    result = e.select(e.compare("oge", a, 28.0), beyond, result)
    quarter = e.sub(1.0, e.add(x, e.mul(x, small)))
    half = e.sub(0.5, e.add(e.sub(x, 0.5), e.mul(x, small)))
    inner = e.select(e.compare("olt", x, 0.25), quarter, half)
    result = e.select(e.compare("olt", a, 0.84375), inner, result)
    return e.select(e.is_nan(x), x, result)
