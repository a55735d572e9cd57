"""THE op table: everything else about an op is derived from its row here.

A row is ``(opcode, name, operands, template, doc)``. ``operands`` lists what the encoder writes, in
order, as words ``[>]name:kind``; ``>`` marks a register that is written:

    i32 i64 f32 f64 ref      one register of that bank
    *                        any number of registers of any bank
    #i32 #i64 #f32 #f64      an immediate;  #text a string immediate
    rodata                   an entry of the rodata table
    global.T                 an entry of the globals table whose type is T (``>global.T``: is stored to)
    callee                   a function or import
    segments                 lengths of the variadic segments of a call
    ^                        a branch target with arguments;  ^* any number of them

``template`` is the op's meaning as Python statements over its operand names: registers become Python
variables, immediates literals. ``numerics.NAMESPACE`` and ``values.NAMESPACE`` hold the helpers.
Control flow and calls have no template: ``translate`` emits them by name.

Names are those of IREE's vm dialect where it has the op. Opcodes are part of the format: never reuse one.
"""

from __future__ import annotations

from typing import NamedTuple

from iree_base.records import record
from iree_vm.bytecode.types import BANK, TYPES


class Operand(NamedTuple):
    """One operand of a row; ``kind`` as in the module's docstring without the ``>``."""

    name: str
    kind: str
    written: bool


@record(frozen=True, eq=False)
class Op:
    """One row. ``terminator`` ops end a block; ``constant`` names the operand the result always equals."""

    opcode: int
    name: str
    operands: tuple[Operand, ...]
    template: str
    doc: str
    terminator: bool = False
    constant: str = ""

    @property
    def results(self) -> tuple[Operand, ...]:
        """The operands that are written registers."""
        return tuple(o for o in self.operands if o.written and (o.kind in BANK or o.kind == "*"))

    def __repr__(self) -> str:
        return f"<op {self.name}>"


OPS: dict[str, Op] = {}
BY_OPCODE: dict[int, Op] = {}


def _row(
    opcode: int,
    name: str,
    operands: str,
    template: str,
    doc: str,
    *,
    terminator: bool = False,
    constant: str = "",
) -> None:
    parsed = []
    for word in operands.split():
        label, _, kind = word.partition(":")
        parsed.append(Operand(label.removeprefix(">"), kind, label.startswith(">")))
    op = Op(opcode, name, tuple(parsed), template, doc, terminator, constant)
    assert name not in OPS and opcode not in BY_OPCODE, f"{name} {opcode:#x}"
    OPS[name] = op
    BY_OPCODE[opcode] = op


_LOW = {"i32": "-0x80000000", "i64": "-0x8000000000000000"}
_HIGH = {"i32": "0x7fffffff", "i64": "0x7fffffffffffffff"}
_MASK = {"i32": "0xffffffff", "i64": "0xffffffffffffffff"}
_BITS = {"i32": "32", "i64": "64"}
_INTS = ("i32", "i64")
_FLOATS = ("f32", "f64")


def _wrapped(type_name: str, expression: str) -> str:
    """``r`` = expression brought back into range; the test is cheaper than masking each time."""
    return (
        f"{{r}} = {expression}\n"
        f"if not {_LOW[type_name]} <= {{r}} <= {_HIGH[type_name]}: {{r}} = _wrap{_BITS[type_name]}({{r}})"
    )


def _rounded(type_name: str, expression: str) -> str:
    return f"{{r}} = _f32({expression})" if type_name == "f32" else f"{{r}} = {expression}"


# fmt: off
# 0x01 constants
for _k, _t in enumerate(TYPES[:4]):
    _row(0x01 + _k, f"const.{_t}", f">r:{_t} value:#{_t}", "{r} = {value}", "An immediate.", constant="value")
_row(0x05, "const.ref.zero", ">r:ref", "{r} = None", "The null reference.", constant="null")
_row(0x06, "const.ref.rodata", ">r:ref data:rodata", "{r} = {data}", "A read-only buffer of the module.",
     constant="data")

# 0x10 globals
for _k, _t in enumerate(TYPES):
    _row(0x10 + _k, f"global.load.{_t}", f">r:{_t} source:global.{_t}", "{r} = {source}", "Read a global.")
    _row(0x18 + _k, f"global.store.{_t}", f"value:{_t} >target:global.{_t}", "{target} = {value}",
         "Write a global; an immutable one only in the initializer.")

# 0x20 selection
for _k, _t in enumerate(TYPES):
    _row(0x20 + _k, f"select.{_t}", f">r:{_t} condition:i32 true:{_t} false:{_t}",
         "{r} = {true} if {condition} else {false}", "``true`` if condition is not 0, else ``false``.")

# 0x40 integer arithmetic: i32 at even, i64 at odd opcodes
for _k, _t in enumerate(_INTS):
    _two = f">r:{_t} a:{_t} b:{_t}"
    _one = f">r:{_t} a:{_t}"
    _m = _MASK[_t]
    for _n, (_name, _operands, _template, _doc) in enumerate(
        (
            ("add", _two, _wrapped(_t, "{a} + {b}"), "Sum, wrapping."),
            ("sub", _two, _wrapped(_t, "{a} - {b}"), "Difference, wrapping."),
            ("mul", _two, _wrapped(_t, "{a} * {b}"), "Product, wrapping."),
            ("div.{}.s", _two, _wrapped(_t, "_div_s({a}, {b})"), "Signed quotient toward zero; by 0: 0."),
            ("div.{}.u", _two, _wrapped(_t, f"_div_u({{a}} & {_m}, {{b}} & {_m})"), "Unsigned; by 0: 0."),
            ("rem.{}.s", _two, "{r} = _rem_s({a}, {b})", "Signed remainder, dividend's sign; by 0: 0."),
            ("rem.{}.u", _two, _wrapped(_t, f"_rem_u({{a}} & {_m}, {{b}} & {_m})"), "Unsigned; by 0: 0."),
            ("fma", f"{_two} c:{_t}", _wrapped(_t, "{a} * {b} + {c}"), "``a * b + c``, wrapping."),
            ("abs", _one, _wrapped(_t, "abs({a})"), "Absolute value; of MIN it is MIN."),
            ("min.{}.s", _two, "{r} = {a} if {a} < {b} else {b}", "Signed minimum."),
            ("min.{}.u", _two, f"{{r}} = {{a}} if {{a}} & {_m} < {{b}} & {_m} else {{b}}", "Unsigned."),
            ("max.{}.s", _two, "{r} = {a} if {a} > {b} else {b}", "Signed maximum."),
            ("max.{}.u", _two, f"{{r}} = {{a}} if {{a}} & {_m} > {{b}} & {_m} else {{b}}", "Unsigned."),
            ("not", _one, "{r} = ~{a}", "Bitwise complement."),
            ("and", _two, "{r} = {a} & {b}", "Bitwise and."),
            ("or", _two, "{r} = {a} | {b}", "Bitwise or."),
            ("xor", _two, "{r} = {a} ^ {b}", "Bitwise exclusive or."),
            ("ctlz", _one, f"{{r}} = {_BITS[_t]} - ({{a}} & {_m}).bit_length()", "Leading zero bits."),
            ("shl", f">r:{_t} a:{_t} amount:i32",
             f"{{r}} = _wrap{_BITS[_t]}({{a}} << {{amount}}) if 0 <= {{amount}} < {_BITS[_t]} else 0",
             "Shift left; 0 when the amount is not below the width."),
            ("shr.{}.s", f">r:{_t} a:{_t} amount:i32",
             f"{{r}} = {{a}} >> ({{amount}} if 0 <= {{amount}} < {_BITS[_t]} else {_BITS[_t]})",
             "Arithmetic shift right; the sign when the amount is not below the width."),
            ("shr.{}.u", f">r:{_t} a:{_t} amount:i32",
             f"{{r}} = _wrap{_BITS[_t]}(({{a}}&{_m}) >> {{amount}}) if -1 < {{amount}} < {_BITS[_t]} else 0",
             "Logical shift right; 0 when the amount is not below the width."),
        )
    ):
        _full = _name.format(_t) if "{}" in _name else f"{_name}.{_t}"
        _row(0x40 + 2 * _n + _k, _full, _operands, _template, _doc)

# 0x80 integer comparisons: result is i32 0 or 1
for _k, _t in enumerate(_INTS):
    _two = f">r:i32 a:{_t} b:{_t}"
    _m = _MASK[_t]
    for _n, (_name, _operands, _test, _doc) in enumerate(
        (
            ("cmp.eq.{}", _two, "{a} == {b}", "Equal."),
            ("cmp.ne.{}", _two, "{a} != {b}", "Not equal."),
            ("cmp.lt.{}.s", _two, "{a} < {b}", "Signed less."),
            ("cmp.lt.{}.u", _two, f"({{a}} & {_m}) < ({{b}} & {_m})", "Unsigned less."),
            ("cmp.lte.{}.s", _two, "{a} <= {b}", "Signed less or equal."),
            ("cmp.lte.{}.u", _two, f"({{a}} & {_m}) <= ({{b}} & {_m})", "Unsigned less or equal."),
            ("cmp.gt.{}.s", _two, "{a} > {b}", "Signed greater."),
            ("cmp.gt.{}.u", _two, f"({{a}} & {_m}) > ({{b}} & {_m})", "Unsigned greater."),
            ("cmp.gte.{}.s", _two, "{a} >= {b}", "Signed greater or equal."),
            ("cmp.gte.{}.u", _two, f"({{a}} & {_m}) >= ({{b}} & {_m})", "Unsigned greater or equal."),
            ("cmp.nz.{}", f">r:i32 a:{_t}", "{a}", "Not zero."),
        )
    ):
        _row(0x80 + 2 * _n + _k, _name.format(_t), _operands, f"{{r}} = 1 if {_test} else 0", _doc)
_row(0x98, "cmp.eq.ref", ">r:i32 a:ref b:ref", "{r} = 1 if {a} is {b} else 0", "Same object, or both null.")
_row(0x99, "cmp.ne.ref", ">r:i32 a:ref b:ref", "{r} = 1 if {a} is not {b} else 0", "Different objects.")
_row(0x9A, "cmp.nz.ref", ">r:i32 a:ref", "{r} = 1 if {a} is not None else 0", "Not null.")

# 0xA0 float comparisons: .o is false, .u is true when an operand is NaN; f32 at even opcodes
for _k, _t in enumerate(_FLOATS):
    _two = f">r:i32 a:{_t} b:{_t}"
    for _n, (_name, _operands, _test, _doc) in enumerate(
        (
            ("cmp.eq.{}.o", _two, "{a} == {b}", "Ordered and equal."),
            ("cmp.eq.{}.u", _two, "{a} == {b} or {a} != {a} or {b} != {b}", "Unordered or equal."),
            ("cmp.ne.{}.o", _two, "{a} < {b} or {a} > {b}", "Ordered and not equal."),
            ("cmp.ne.{}.u", _two, "{a} != {b}", "Unordered or not equal."),
            ("cmp.lt.{}.o", _two, "{a} < {b}", "Ordered and less."),
            ("cmp.lt.{}.u", _two, "not {a} >= {b}", "Unordered or less."),
            ("cmp.lte.{}.o", _two, "{a} <= {b}", "Ordered and less or equal."),
            ("cmp.lte.{}.u", _two, "not {a} > {b}", "Unordered or less or equal."),
            ("cmp.gt.{}.o", _two, "{a} > {b}", "Ordered and greater."),
            ("cmp.gt.{}.u", _two, "not {a} <= {b}", "Unordered or greater."),
            ("cmp.gte.{}.o", _two, "{a} >= {b}", "Ordered and greater or equal."),
            ("cmp.gte.{}.u", _two, "not {a} < {b}", "Unordered or greater or equal."),
            ("cmp.nan.{}", f">r:i32 a:{_t}", "{a} != {a}", "Is NaN."),
        )
    ):
        _row(0xA0 + 2 * _n + _k, _name.format(_t), _operands, f"{{r}} = 1 if {_test} else 0", _doc)

# 0xC0 integer casts
for _n, (_from, _to, _bits) in enumerate(
    (("i32", "i8", 8), ("i32", "i16", 16), ("i64", "i8", 8), ("i64", "i16", 16), ("i64", "i32", 32))
):
    _result = "i64" if _from == "i64" and _to != "i32" else "i32"
    _half = 1 << (_bits - 1)
    _row(0xC0 + _n, f"trunc.{_from}.{_to}", f">r:{_result} a:{_from}",
         f"{{r}} = {{a}} & {(1 << _bits) - 1:#x}" if _to != "i32" else "{r} = _wrap32({a})",
         f"The low {_bits} bits" + (", zero-extended." if _to != "i32" else "."))
    if _to != "i32":
        _row(0xC8 + 2 * _n, f"ext.{_to}.{_from}.s", f">r:{_result} a:{_from}",
             f"{{r}} = ({{a}} + {_half:#x} & {(1 << _bits) - 1:#x}) - {_half:#x}",
             f"Sign-extend the low {_bits} bits.")
        _row(0xC9 + 2 * _n, f"ext.{_to}.{_from}.u", f">r:{_result} a:{_from}",
             f"{{r}} = {{a}} & {(1 << _bits) - 1:#x}", f"Zero-extend the low {_bits} bits.")
_row(0xD0, "ext.i32.i64.s", ">r:i64 a:i32", "{r} = {a}", "Sign-extend.")
_row(0xD1, "ext.i32.i64.u", ">r:i64 a:i32", "{r} = {a} & 0xffffffff", "Zero-extend.")

# 0xD8 casts between integers and floats
for _n, (_i, _f) in enumerate((i, f) for i in _INTS for f in _FLOATS):
    _exact = _f == "f64" or _i == "i32"
    _signed = ("{a}" if _exact else "") and ("float({a})" if _f == "f64" else "_f32({a})")
    _unsigned = f"{{a}} & {_MASK[_i]}"
    _row(0xD8 + 4 * _n, f"cast.s{_i}.{_f}", f">r:{_f} a:{_i}",
         f"{{r}} = {_signed or '_int_to_f32({a})'}", "Signed integer to the nearest float.")
    _row(0xD9 + 4 * _n, f"cast.u{_i}.{_f}", f">r:{_f} a:{_i}",
         f"{{r}} = float({_unsigned})" if _f == "f64" else f"{{r}} = _int_to_f32({_unsigned})",
         "Unsigned integer to the nearest float.")
    _row(0xDA + 4 * _n, f"cast.{_f}.s{_i}", f">r:{_i} a:{_f}",
         f"{{r}} = _saturate({{a}}, {_LOW[_i]}, {_HIGH[_i]})", "Toward zero, saturating; NaN is 0.")
    _row(0xDB + 4 * _n, f"cast.{_f}.u{_i}", f">r:{_i} a:{_f}",
         f"{{r}} = _wrap{_BITS[_i]}(_saturate({{a}}, 0, {_MASK[_i]}))", "Toward zero, saturating unsigned.")
_row(0xE8, "ext.f32.f64", ">r:f64 a:f32", "{r} = {a}", "The same number.")
_row(0xE9, "trunc.f64.f32", ">r:f32 a:f64", "{r} = _f32({a})", "The nearest f32.")
for _n, (_i, _f) in enumerate(zip(_INTS, _FLOATS, strict=True)):
    _row(0xEA + 2 * _n, f"bitcast.{_i}.{_f}", f">r:{_f} a:{_i}", f'{{r}} = _bits_float("{_i}", {{a}})',
         "Same bits.")
    _row(0xEB + 2 * _n, f"bitcast.{_f}.{_i}", f">r:{_i} a:{_f}", f'{{r}} = _float_bits("{_i}", {{a}})',
         "Same bits.")

# 0x100 float arithmetic: f32 at even, f64 at odd opcodes
for _k, _t in enumerate(_FLOATS):
    _two = f">r:{_t} a:{_t} b:{_t}"
    _one = f">r:{_t} a:{_t}"
    for _n, (_name, _operands, _expression, _doc) in enumerate(
        (
            ("add", _two, "{a} + {b}", "Sum."),
            ("sub", _two, "{a} - {b}", "Difference."),
            ("mul", _two, "{a} * {b}", "Product."),
            ("div", _two, "_fdiv({a}, {b})", "Quotient."),
            ("rem", _two, "_frem({a}, {b})", "Remainder with the dividend's sign (fmod)."),
            ("fma", f"{_two} c:{_t}", "", "``a * b + c`` rounded once."),
            ("abs", _one, "abs({a})", "Absolute value."),
            ("neg", _one, "-{a}", "Negation."),
            ("min", _two, "_fmin({a}, {b})", "Minimum; NaN if either is."),
            ("max", _two, "_fmax({a}, {b})", "Maximum; NaN if either is."),
            ("copysign", _two, "_copysign({a}, {b})", "Magnitude of a, sign of b."),
            ("atan2", _two, "_atan2({a}, {b})", "Angle of the point (b, a)."),
            ("pow", _two, "_power({a}, {b})", "Power."),
            *((name, _one, f"_{name}({{a}})", f"{name}(a).") for name in (
                "ceil", "floor", "trunc", "round", "roundeven", "sqrt", "rsqrt", "exp", "exp2", "expm1",
                "log", "log10", "log1p", "log2", "sin", "cos", "atan", "tanh", "erf")),
        )
    ):
        if _name == "fma":
            _template = "{r} = _fma32({a}, {b}, {c})" if _t == "f32" else "{r} = _fma64({a}, {b}, {c})"
        else:
            _template = _rounded(_t, _expression)
        _full = f"trunc.{_t}" if _name == "trunc" else f"{_name}.{_t}"
        _row(0x100 + 2 * _n + _k, _full, _operands, _template, _doc)

# 0x160 lists
_row(0x160, "list.alloc", ">r:ref capacity:i32", "{r} = _list_alloc({capacity})", "An empty list.")
_row(0x161, "list.reserve", "list:ref capacity:i32", "_list_reserve({list}, {capacity})", "Room for so many.")
_row(0x162, "list.size", ">r:i32 list:ref", "{r} = _list_size({list})", "Number of elements.")
_row(0x163, "list.resize", "list:ref size:i32", "_list_resize({list}, {size})", "Grow with 0/null, or cut.")
for _k, _t in enumerate(TYPES):
    _get = {
        "i": f"_list_get_int({{list}}, {{index}}, {_t[1:]})",
        "f": f"_list_get_float({{list}}, {{index}}, {_t[1:]})",
        "r": "_list_get_ref({list}, {index})",
    }[_t[0]]
    _row(0x168 + _k, f"list.get.{_t}", f">r:{_t} list:ref index:i32", f"{{r}} = {_get}",
         "An element; an i64 read as i32 is cut, an f64 read as f32 rounded.")
    _row(0x170 + _k, f"list.set.{_t}", f"list:ref index:i32 value:{_t}",
         "_list_set({list}, {index}, {value})", "Replace an element.")
    _row(0x178 + _k, f"list.push.{_t}", f"list:ref value:{_t}", "_list_push({list}, {value})", "Append.")

# 0x180 host buffers: lengths and copy offsets in bytes, load/store/fill offsets in elements
_row(0x180, "buffer.alloc", ">r:ref length:i64", "{r} = _buffer_alloc({length})", "Zeroed bytes.")
_row(0x181, "buffer.length", ">r:i64 buffer:ref", "{r} = _buffer_length({buffer})", "Bytes.")
_row(0x182, "buffer.clone", ">r:ref source:ref offset:i64 length:i64",
     "{r} = _buffer_clone({source}, {offset}, {length})", "A mutable copy of a range.")
_row(0x183, "buffer.copy", "source:ref source_offset:i64 target:ref target_offset:i64 length:i64",
     "_buffer_copy({source}, {source_offset}, {target}, {target_offset}, {length})",
     "Copy bytes; ranges may overlap.")
_row(0x184, "buffer.compare", ">r:i32 a:ref a_offset:i64 b:ref b_offset:i64 length:i64",
     "{r} = _buffer_compare({a}, {a_offset}, {b}, {b_offset}, {length})", "1 if the ranges are equal.")
for _k, (_layout, _t) in enumerate(
    (("i8.s", "i32"), ("i8.u", "i32"), ("i16.s", "i32"), ("i16.u", "i32"),
     ("i32", "i32"), ("i64", "i64"), ("f32", "f32"), ("f64", "f64"))
):
    _row(0x188 + _k, f"buffer.load.{_layout}", f">r:{_t} buffer:ref index:i64",
         f'{{r}} = _buffer_load({{buffer}}, {{index}}, "{_layout}")', "An element.")
    if _layout in ("i8.u", "i16.u"):
        continue
    _store = _layout.removesuffix(".s")
    _row(0x190 + _k, f"buffer.store.{_store}", f"buffer:ref index:i64 value:{_t}",
         f'_buffer_store({{buffer}}, {{index}}, {{value}}, "{_layout}")', "Set an element (low bits).")
    _row(0x198 + _k, f"buffer.fill.{_store}", f"buffer:ref index:i64 count:i64 value:{_t}",
         f'_buffer_fill({{buffer}}, {{index}}, {{count}}, {{value}}, "{_layout}")', "Set elements.")

# 0x1C0 calls and control flow: emitted by translate, by name
_row(0x1C0, "call", ">results:* callee:callee arguments:*", "", "Call a function or a non-variadic import.")
_row(0x1C1, "call.variadic", ">results:* callee:callee segments:segments arguments:*", "",
     "Call an import; arguments are flat, segments gives each variadic segment's number of tuples.")
_row(0x1C2, "import.resolved", ">r:i32 callee:callee", "", "1 if the optional import is there.")
_row(0x1C8, "br", "target:^", "", "Go to a block.", terminator=True)
_row(0x1C9, "cond_br", "condition:i32 true:^ false:^", "", "Go to one of two blocks.", terminator=True)
_row(0x1CA, "br_table", "index:i32 default:^ targets:^*", "", "Go to targets[index], else default.",
     terminator=True)
_row(0x1CB, "return", "values:*", "", "Leave the function.", terminator=True)
_row(0x1CC, "fail", "message:#text", "", "Stop the program with a message.", terminator=True)
_row(0x1CD, "cond_fail", "condition:i32 message:#text", "", "Stop the program if the condition is not 0.")
_row(0x1CE, "discard.ref", ">value:ref", "{value} = None", "Drop a reference: the register becomes null.")
# fmt: on
