"""The verifier: structure, signature, types, dominance, isolation, terminators, symbols.

``verify(op)`` raises ``VerifyError`` at the first invalid op; cost is linear in the IR.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iree_base.errors import IreeError
from iree_core_ir.errors import VerifyError
from iree_core_ir.ir import traits
from iree_core_ir.ir.attributes import Attribute, DenseArrayAttr, SymbolRefAttr
from iree_core_ir.ir.declaration import (
    ONE,
    OPERAND_SEGMENTS,
    OPTIONAL,
    RESULT_SEGMENTS,
    constraint_accepts,
    constraint_text,
)
from iree_core_ir.ir.dominance import dominator_tree
from iree_core_ir.ir.operation import Block, Op, Region, SymbolTable, Value, symbol_name
from iree_core_ir.ir.types import DYNAMIC, ShapedType
from iree_core_ir.ir.unregistered import UnregisteredOp


def verify(op: Op) -> None:
    """Check ``op`` and everything inside. Raises VerifyError."""
    Verifier().run(op)


class _Checks:
    """What the verifier needs of an op class, prepared once."""

    __slots__ = (
        "attributes",
        "elementwise",
        "graph",
        "isolated",
        "keys",
        "n_operands",
        "n_regions",
        "n_results",
        "n_successors",
        "needs_terminator",
        "operands",
        "own",
        "results",
        "same_operands",
        "same_type",
        "single_block",
        "symbol_hook",
        "symbol_table",
        "symbol_uses",
        "terminator",
        "valid",
    )

    def __init__(self, cls: type[Op]) -> None:
        signature = cls.signature
        self.operands = tuple(
            (i, f.name, f.constraint) for i, f in enumerate(signature.operands) if f.constraint is not None
        )
        self.results = tuple(
            (i, f.name, f.constraint) for i, f in enumerate(signature.results) if f.constraint is not None
        )
        self.n_operands = len(signature.operands) if signature.n_variable_operands == 0 else -1
        self.n_results = len(signature.results) if signature.n_variable_results == 0 else -1
        self.attributes = tuple((f.key or f.name, f.cls, f.required, f.type) for f in signature.attributes)
        self.keys = tuple(signature.inherent)
        self.valid: set[Any] = set()
        """Types, inherent attributes and counts that agree with the signature: as they are interned, what was
        right once is right for every op that has the same.
        """
        variadic = bool(signature.regions) and signature.regions[-1].arity != ONE
        self.n_regions = (len(signature.regions) - variadic, variadic)
        variadic = bool(signature.successors) and signature.successors[-1].arity != ONE
        self.n_successors = (len(signature.successors) - variadic, variadic)
        own: Any = cls.traits
        self.terminator = traits.TERMINATOR in own
        self.isolated = traits.ISOLATED in own
        self.graph = traits.GRAPH_REGION in own
        self.needs_terminator = traits.NO_TERMINATOR not in own and traits.GRAPH_REGION not in own
        self.single_block = traits.SINGLE_BLOCK in own
        self.same_type = traits.SAME_TYPE in own
        self.same_operands = traits.SAME_OPERAND_TYPES in own
        self.elementwise = traits.ELEMENTWISE in own
        self.symbol_table = traits.SYMBOL_TABLE in own
        self.own = cls.verify_op is not Op.verify_op
        self.symbol_hook = hasattr(cls, "verify_symbol_uses")
        self.symbol_uses = tuple(
            f.key or f.name for f in signature.attributes if f.cls is SymbolRefAttr and f.required
        )


_checks: dict[type[Op], _Checks] = {}


class Verifier:
    """One verification; holds the values visible at the op under check."""

    def __init__(self) -> None:
        self._tables: dict[Op, SymbolTable] = {}

    def run(self, op: Op) -> None:
        live: set[Value] = set()
        for value in op.operands:  # defined outside of what is verified
            live.add(value)
        ancestor = op.parent_op
        if ancestor is not None and traits.ISOLATED not in op.traits:
            self._add_outer_values(op, live)
        self._op(op, live, None)

    def _add_outer_values(self, op: Op, live: set[Value]) -> None:
        """Verifying a part of the IR: every value used inside but defined outside counts as visible."""
        inside = set(op.walk())
        for inner in inside:
            for value in inner.operands:
                block = value.parent_block
                owner = block.parent.parent if block is not None and block.parent is not None else None
                if owner is not None and not op.is_ancestor_of(owner) and value.owner is not op:
                    live.add(value)

    # -- one op -----------------------------------------------------------------------------------

    def _op(self, op: Op, live: set[Value], block: Block | None) -> None:
        cls = op.__class__
        checks = _checks.get(cls)
        if checks is None:
            checks = _checks[cls] = _Checks(cls)
        operands = op.operands
        for value in operands:
            if value not in live:
                self._not_visible(op, value)
            if op not in value.uses:
                raise VerifyError(op, "is missing from the use list of an operand")
        if cls is not UnregisteredOp:
            get = op.attributes.get
            signed = (
                tuple([v.type for v in operands]),
                tuple([v.type for v in op.results]),
                tuple([get(k) for k in checks.keys]),
                len(op.regions),
                len(op.successors),
            )
            if signed not in checks.valid:
                self._signature(op, checks)
                checks.valid.add(signed)
            if checks.own:
                self._own(op)
            if checks.symbol_hook:
                hook: Any = op
                hook.verify_symbol_uses(lambda reference: self._lookup(op, reference))
            else:
                for key in checks.symbol_uses:
                    self._symbol_use(op, key)
            if checks.symbol_table:
                self._symbol_table(op)
        if op.successors:
            self._successors(op, block)
        for region in op.regions:
            if region.parent is not op:
                raise VerifyError(op, "holds a region whose parent is another op")
            if region.blocks:
                self._region(op, region, checks, set() if checks.isolated else live)

    def _own(self, op: Op) -> None:
        try:
            op.verify_op()
        except IreeError:
            raise
        except Exception as error:
            raise VerifyError(op, f"cannot be verified ({type(error).__name__}: {error})") from error

    def _signature(self, op: Op, checks: _Checks) -> None:
        operands, results, attributes = op.operands, op.results, op.attributes
        if checks.n_operands >= 0:
            if len(operands) != checks.n_operands:
                raise VerifyError(op, f"has {len(operands)} operands, expected {checks.n_operands}")
            for i, name, constraint in checks.operands:
                if not constraint_accepts(constraint, operands[i].type):
                    self._bad_type(op, f"operand '{name}'", operands[i], constraint)
        else:
            self._groups(op, op.signature.operands, operands, OPERAND_SEGMENTS, "operand")
        if checks.n_results >= 0:
            if len(results) != checks.n_results:
                raise VerifyError(op, f"has {len(results)} results, expected {checks.n_results}")
            for i, name, constraint in checks.results:
                if not constraint_accepts(constraint, results[i].type):
                    self._bad_type(op, f"result '{name}'", results[i], constraint)
        else:
            self._groups(op, op.signature.results, results, RESULT_SEGMENTS, "result")
        for key, cls, required, type in checks.attributes:
            attribute = attributes.get(key)
            if attribute is None:
                if required:
                    raise VerifyError(op, f"requires attribute '{key}'")
            elif not isinstance(attribute, cls):
                self._bad_attribute(op, key, attribute, cls)
            elif type is not None and self._number_type(attribute) is not type:
                raise VerifyError(op, f"attribute '{key}' must have type {type}, got {attribute}")
        self._counts(op, checks)
        if checks.same_type or checks.same_operands:
            self._same_types(op, checks)
        if checks.elementwise:
            self._elementwise(op)

    def _number_type(self, attribute: Attribute) -> Any:
        if isinstance(attribute, DenseArrayAttr):
            return attribute.element_type
        return getattr(attribute, "type", None)

    def _counts(self, op: Op, checks: _Checks) -> None:
        for what, actual, (fixed, variadic) in (
            ("regions", len(op.regions), checks.n_regions),
            ("successors", len(op.successors), checks.n_successors),
        ):
            if actual < fixed or (actual > fixed and not variadic):
                at_least = "at least " if variadic else ""
                raise VerifyError(op, f"has {actual} {what}, expected {at_least}{fixed}")

    def _groups(self, op: Op, fields: Sequence[Any], values: Sequence[Value], key: str, what: str) -> None:
        """Sizes and types of operand or result groups of which some are variadic."""
        variable = [f for f in fields if f.arity != ONE]
        if len(variable) == 1:
            fixed = len(fields) - 1
            extra = len(values) - fixed
            if extra < 0 or (variable[0].arity == OPTIONAL and extra > 1):
                raise VerifyError(op, f"has {len(values)} {what}s, expected at least {fixed}")
        else:
            sizes = op.attributes.get(key)
            if not isinstance(sizes, DenseArrayAttr) or len(sizes) != len(fields):
                raise VerifyError(op, f"requires attribute '{key}' with {len(fields)} entries")
            if sum(sizes.values) != len(values) or min(sizes.values) < 0:
                raise VerifyError(op, f"'{key}' is {sizes.values} but there are {len(values)} {what}s")
            for field, size in zip(fields, sizes.values, strict=True):
                if (field.arity == ONE and size != 1) or (field.arity == OPTIONAL and size > 1):
                    raise VerifyError(op, f"'{key}' gives {size} values to {what} '{field.name}'")
        for field in fields:
            if field.constraint is not None:
                for value in field.slice(op):
                    if not constraint_accepts(field.constraint, value.type):
                        self._bad_type(op, f"{what} '{field.name}'", value, field.constraint)

    def _bad_type(self, op: Op, what: str, value: Value, constraint: Any) -> None:
        raise VerifyError(op, f"{what} has type {value.type}, expected {constraint_text(constraint)}")

    def _bad_attribute(self, op: Op, key: str, attribute: Attribute, cls: Any) -> None:
        classes = cls if isinstance(cls, tuple) else (cls,)
        expected = " or ".join(c.__name__ for c in classes)
        raise VerifyError(op, f"attribute '{key}' is {attribute}, expected {expected}")

    def _same_types(self, op: Op, checks: _Checks) -> None:
        values = (*op.operands, *op.results) if checks.same_type else op.operands
        for value in values[1:]:
            if value.type is not values[0].type:
                what = "operands and results" if checks.same_type else "operands"
                found = ", ".join(dict.fromkeys(str(v.type) for v in values))
                raise VerifyError(op, f"requires one type for all {what}, got {found}")

    def _elementwise(self, op: Op) -> None:
        shape: list[int] | None = None
        for value in (*op.operands, *op.results):
            type = value.type
            if not isinstance(type, ShapedType):
                continue
            if shape is None:
                shape = list(type.shape)
                continue
            compatible = len(shape) == len(type.shape) and all(
                a == b or DYNAMIC in (a, b) for a, b in zip(shape, type.shape, strict=True)
            )
            if not compatible:
                raise VerifyError(op, "requires one shape for all operands and results")
        if shape is None:
            return
        for value in op.results:
            if not isinstance(value.type, ShapedType):
                raise VerifyError(op, "has shaped operands but a scalar result")

    # -- regions and blocks ---------------------------------------------------------------------------

    def _region(self, op: Op, region: Region, checks: _Checks, live: set[Value]) -> None:
        blocks = region.blocks
        if len(blocks) == 1:
            added: list[Value] = []
            if checks.graph:
                self._announce(blocks[0], live, added)
            self._block(op, region, blocks[0], checks, live, added)
            live.difference_update(added)
            return
        if checks.single_block:
            raise VerifyError(op, f"has a region of {len(blocks)} blocks, expected one")
        tree = dominator_tree(region)
        # (block, values it added) with None for "not entered yet"; explicit, for chains of any length.
        stack: list[tuple[Block, list[Value] | None]] = [(blocks[0], None)]
        while stack:
            block, added_here = stack.pop()
            if added_here is not None:
                live.difference_update(added_here)
                continue
            added = []
            self._block(op, region, block, checks, live, added)
            stack.append((block, added))
            stack.extend((child, None) for child in tree[block])
        unreachable = [block for block in blocks if block not in tree]
        if unreachable:
            # Any value dominates code that never runs: only the rest of the rules is checked.
            added = []
            for block in blocks:
                self._announce(block, live, added)
            for block in unreachable:
                self._block(op, region, block, checks, live, added)
            live.difference_update(added)

    def _announce(self, block: Block, live: set[Value], added: list[Value]) -> None:
        for value in (*block.args, *(r for inner in block for r in inner.results)):
            if value not in live:
                live.add(value)
                added.append(value)

    def _block(
        self, parent: Op, region: Region, block: Block, checks: _Checks, live: set[Value], added: list[Value]
    ) -> None:
        if block.parent is not region:
            raise VerifyError(parent, "holds a block whose parent is another region")
        for argument in block.args:
            live.add(argument)
            added.append(argument)
        op = block.first
        while op is not None:
            if op.parent is not block:
                raise VerifyError(op, "is linked into a block that is not its parent")
            self._op(op, live, block)
            if op.next is not None and _checks[op.__class__].terminator:
                raise VerifyError(op, "is a terminator but not the last op of its block")
            results = op.results
            if results:
                live.update(results)
                added.extend(results)
            op = op.next
        if checks.needs_terminator and not isinstance(parent, UnregisteredOp):
            last = block.last
            if last is None:
                raise VerifyError(parent, "has an empty block where a terminator is required")
            if not _checks[last.__class__].terminator and not isinstance(last, UnregisteredOp):
                raise VerifyError(last, "ends a block but is no terminator")

    def _successors(self, op: Op, block: Block | None) -> None:
        if op.next is not None:
            raise VerifyError(op, "has successors but is not the last op of its block")
        region = block.parent if block is not None else None
        for successor in op.successors:
            if successor.parent is not region:
                raise VerifyError(op, "branches to a block of another region")
            if region is not None and successor is region.blocks[0]:
                raise VerifyError(op, "branches to the entry block of its region")

    def _not_visible(self, op: Op, value: Value) -> None:
        from iree_core_ir.text.context import value_text

        position = value_text(value, op.operands.index(value))
        owner = value.owner
        defined = f"result {value.index} of '{owner.name}'" if isinstance(owner, Op) else "a block argument"
        block = value.parent_block
        if block is None or block.parent is None:
            raise VerifyError(op, f"{position} ({defined}) is defined by an op outside the IR")
        region_op = block.parent.parent
        ancestor: Op | None = op.parent_op
        while ancestor is not None and ancestor is not region_op:
            if traits.ISOLATED in ancestor.traits:
                raise VerifyError(
                    op, f"{position} ({defined}) is defined outside the isolated '{ancestor.name}'"
                )
            ancestor = ancestor.parent_op
        raise VerifyError(op, f"{position} ({defined}) does not dominate this use")

    # -- symbols --------------------------------------------------------------------------------------

    def _symbol_table(self, op: Op) -> None:
        seen: dict[str, Op] = {}
        for region in op.regions:
            for block in region.blocks:
                for inner in block:
                    name = symbol_name(inner)
                    if name is None:
                        continue
                    if name in seen:
                        raise VerifyError(inner, f"redefines symbol @{name}")
                    seen[name] = inner

    def _lookup(self, op: Op, reference: SymbolRefAttr) -> Op | None:
        """The op that ``reference`` names in the nearest symbol table that has its root."""
        table: Op | None = op.parent_op
        while table is not None:
            if traits.SYMBOL_TABLE in table.traits:
                symbols = self._tables.get(table)
                if symbols is None:
                    symbols = self._tables[table] = SymbolTable(table)
                found = symbols.lookup(reference)
                if found is not None:
                    return found
            table = table.parent_op
        return None

    def _symbol_use(self, op: Op, key: str) -> None:
        reference = op.attributes[key]
        assert isinstance(reference, SymbolRefAttr)
        if self._lookup(op, reference) is None and self._in_symbol_table(op):
            raise VerifyError(op, f"attribute '{key}' refers to {reference}, which is not defined")

    def _in_symbol_table(self, op: Op) -> bool:
        table = op.parent_op
        while table is not None:
            if traits.SYMBOL_TABLE in table.traits:
                return True
            table = table.parent_op
        return False
