"""SSA: values, operations, blocks, regions.

An op holds operands, results, attributes (inherent and discardable in one dict), regions, successor
blocks and a location. Ops of a block form a doubly linked list. A value knows its users with
multiplicity, so replacing and counting uses never scans the IR.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from iree_core_ir.ir.attributes import Attribute, SymbolRefAttr, Type
from iree_core_ir.ir.location import UNKNOWN, Location

if TYPE_CHECKING:
    from iree_core_ir.ir.declaration import Signature

OpT = TypeVar("OpT", bound="Op")


class Value:
    """An SSA value: ``owner`` is the defining Op (OpResult) or Block (BlockArgument)."""

    __slots__ = ("hint", "index", "owner", "type", "uses")
    type: Any
    owner: Any
    index: int
    uses: dict[Op, int]
    """User -> how many of its operands are this value, in order of first use."""
    hint: str | None
    """Preferred name when printed."""

    def __init__(self, type: Type, owner: Any, index: int) -> None:
        self.type = type
        self.owner = owner
        self.index = index
        self.uses = {}
        self.hint = None

    @property
    def users(self) -> list[Op]:
        """The distinct users, as a list that stays valid while they change."""
        return list(self.uses)

    @property
    def has_one_use(self) -> bool:
        return len(self.uses) == 1 and next(iter(self.uses.values())) == 1

    @property
    def defining_op(self) -> Op | None:
        """The op this is a result of; None for block arguments."""
        owner = self.owner
        return owner if isinstance(owner, Op) else None

    @property
    def parent_block(self) -> Block | None:
        """The block in which the value is defined."""
        owner = self.owner
        return owner if isinstance(owner, Block) else owner.parent

    def replace_all_uses_with(self, new: Value) -> None:
        if new is self:
            return
        uses, self.uses = self.uses, {}
        for op, count in uses.items():
            op.operands = tuple([new if v is self else v for v in op.operands])
            new.uses[op] = new.uses.get(op, 0) + count

    def replace_uses_in(self, op: Op, new: Value) -> None:
        """Replace this value by ``new`` among ``op``'s operands."""
        op.set_operands([new if v is self else v for v in op.operands])

    def __repr__(self) -> str:
        where = self.owner.name if isinstance(self.owner, Op) else "block"
        return f"<{type(self).__name__} {self.hint or ''} : {self.type} of {where}>"


class OpResult(Value):
    __slots__ = ()
    owner: Op


class BlockArgument(Value):
    __slots__ = ()
    owner: Block


class OpMeta(type):
    """Gives every op class ``__slots__``: ops by the hundred thousand carry no dict."""

    def __new__(
        cls, class_name: str, bases: tuple[type, ...], namespace: dict[str, Any], /, **kwargs: Any
    ) -> OpMeta:
        namespace.setdefault("__slots__", ())
        return super().__new__(cls, class_name, bases, namespace, **kwargs)

    def __init__(
        cls, class_name: str, bases: tuple[type, ...], namespace: dict[str, Any], /, **kwargs: Any
    ) -> None:
        super().__init__(class_name, bases, namespace)


class Op(metaclass=OpMeta):
    """Base of all operations. Subclasses declare their signature in the class body.

    See ``iree_core_ir.ir.declaration`` for the fields and ``make`` for the usual way to build one.
    """

    __slots__ = (
        "__weakref__",
        "_location",
        "attributes",
        "next",
        "operands",
        "parent",
        "prev",
        "regions",
        "results",
        "successors",
    )
    name: ClassVar[str] = "builtin.unregistered"
    traits: ClassVar[frozenset[str]] = frozenset()
    signature: ClassVar[Signature]
    assembly_format: ClassVar[str | None] = None
    """MLIR's declarative assembly format; None with no ``parse``/``print`` means generic form."""
    default_dialect: ClassVar[str] = ""
    """Ops of this dialect print without prefix directly inside this op's regions."""
    implicit_terminator: ClassVar[str | None] = None
    """Terminator that pretty assembly leaves out when it has no operands and no attributes."""

    operands: tuple[Value, ...]
    results: tuple[OpResult, ...]
    attributes: dict[str, Attribute]
    regions: tuple[Region, ...]
    successors: tuple[Block, ...]
    parent: Block | None
    prev: Op | None
    next: Op | None
    _location: Any

    def __init_subclass__(cls, name: str | None = None, traits: Iterable[str] = (), **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        from iree_core_ir.ir.declaration import declare

        declare(cls, name, traits)

    def __init__(
        self,
        operands: Iterable[Value] = (),
        result_types: Iterable[Type] = (),
        attributes: dict[str, Attribute] | None = None,
        regions: Sequence[Region] = (),
        successors: Sequence[Block] = (),
        location: Location = UNKNOWN,
    ) -> None:
        self.operands = operands = tuple(operands)
        self.attributes = attributes if attributes is not None else {}
        self.parent = self.prev = self.next = None
        self._location = location
        self.successors = tuple(successors)
        self.regions = regions = tuple(regions)
        for region in regions:
            region.parent = self
        for value in operands:
            uses = value.uses
            uses[self] = uses.get(self, 0) + 1
        i = -1
        self.results = tuple([OpResult(t, self, (i := i + 1)) for t in result_types])

    # -- shape of the op -----------------------------------------------------------------

    @property
    def location(self) -> Location:
        """Where the op comes from. The parser stores (source, offset); resolved when first asked."""
        location = self._location
        if location.__class__ is tuple:
            source, offset = location
            self._location = location = source.location(offset)
        return location  # type: ignore[no-any-return]

    @location.setter
    def location(self, location: Location) -> None:
        self._location = location

    @property
    def result(self) -> OpResult:
        """The single result. Raises ValueError when there is none or more."""
        if len(self.results) != 1:
            raise ValueError(f"{self.name} has {len(self.results)} results")
        return self.results[0]

    @property
    def dialect(self) -> str:
        return self.name.partition(".")[0]

    @property
    def parent_op(self) -> Op | None:
        """The op whose region holds this one."""
        block = self.parent
        return block.parent.parent if block is not None and block.parent is not None else None

    def ancestor(self, cls: type[OpT]) -> OpT | None:
        """The nearest enclosing op of class ``cls``."""
        op = self.parent_op
        while op is not None and not isinstance(op, cls):
            op = op.parent_op
        return op

    def is_ancestor_of(self, other: Op) -> bool:
        """True when ``other`` is this op or lies inside it."""
        op: Op | None = other
        while op is not None:
            if op is self:
                return True
            op = op.parent_op
        return False

    # -- changing ------------------------------------------------------------------------

    def set_operands(self, operands: Iterable[Value]) -> None:
        for value in self.operands:
            value_uses = value.uses
            count = value_uses[self]
            if count == 1:
                del value_uses[self]
            else:
                value_uses[self] = count - 1
        self.operands = operands = tuple(operands)
        for value in operands:
            uses = value.uses
            uses[self] = uses.get(self, 0) + 1

    def set_operand(self, index: int, value: Value) -> None:
        operands = list(self.operands)
        operands[index] = value
        self.set_operands(operands)

    def set_result_types(self, types: Sequence[Type]) -> None:
        """Retype the existing results in place."""
        for value, new in zip(self.results, types, strict=True):
            value.type = new

    def add_region(self, region: Region) -> Region:
        region.parent = self
        self.regions = (*self.regions, region)
        return region

    def detach(self: OpT) -> OpT:
        """Take the op out of its block; it can be inserted elsewhere."""
        block = self.parent
        if block is None:
            return self
        before, after = self.prev, self.next
        if before is None:
            block.first = after
        else:
            before.next = after
        if after is None:
            block.last = before
        else:
            after.prev = before
        self.parent = self.prev = self.next = None
        return self

    def erase(self) -> None:
        """Remove the op and everything in it. Raises ValueError while results are in use."""
        for value in self.results:
            if value.uses:
                user = next(iter(value.uses))
                raise ValueError(f"cannot erase '{self.name}': result {value.index} is used by '{user.name}'")
        self.detach()
        self.drop_all_references()

    def drop_all_references(self) -> None:
        """Forget operands of this op and of all ops inside."""
        self.set_operands(())
        self.successors = ()
        for region in self.regions:
            for block in region.blocks:
                for op in block:
                    op.drop_all_references()

    def move_before(self, other: Op) -> None:
        self.detach()
        assert other.parent is not None
        other.parent.insert_before(self, other)

    def move_after(self, other: Op) -> None:
        self.detach()
        assert other.parent is not None
        other.parent.insert_after(self, other)

    def replace_by(self, values: Sequence[Value]) -> None:
        """Replace all results by ``values`` and erase the op."""
        for old, new in zip(self.results, values, strict=True):
            old.replace_all_uses_with(new)
        self.erase()

    # -- walking and copying ---------------------------------------------------------------

    def walk(self) -> Iterator[Op]:
        """This op and all ops inside, parents first. The op just yielded may be erased."""
        yield self
        # What is still to come, innermost last: blocks, and the op behind one whose regions are walked.
        pending: list[Op | Block | None] = [b for r in reversed(self.regions) for b in reversed(r.blocks)]
        while pending:
            item = pending.pop()
            op = item.first if isinstance(item, Block) else item
            while op is not None:
                following = op.next
                yield op
                if op.regions:
                    pending.append(following)
                    pending.extend([b for r in reversed(op.regions) for b in reversed(r.blocks)])
                    break
                op = following

    def clone(self: OpT, mapping: dict[Any, Any] | None = None) -> OpT:
        """A deep copy. ``mapping`` (values and blocks, old -> new) is read for operands and extended."""
        if mapping is None:
            mapping = {}
        get = mapping.get
        copy: OpT = object.__new__(self.__class__)
        self._copy_extra(copy)
        Op.__init__(
            copy,
            [get(v, v) for v in self.operands],
            [r.type for r in self.results],
            dict(self.attributes),
            [region.clone(mapping) for region in self.regions] if self.regions else (),
            [get(s, s) for s in self.successors] if self.successors else (),
            self._location,
        )
        for old, new in zip(self.results, copy.results, strict=True):
            mapping[old] = new
            new.hint = old.hint
        return copy

    def _copy_extra(self, copy: Any) -> None:
        """Hook for classes with slots of their own."""

    # -- hooks that dialects override ----------------------------------------------------------

    def verify_op(self) -> None:
        """Raise ``VerifyError(self, message)`` when the op is invalid beyond its signature."""

    def fold(self, constants: Sequence[Attribute | None]) -> Sequence[Value | Attribute] | None:
        """Existing values or constant attributes equal to the results, or None.

        ``constants`` holds per operand its constant attribute, if it is one.
        """
        return None

    @classmethod
    def infer_types(cls, types: dict[str, list[Any]], attributes: dict[str, Attribute]) -> None:
        """Fill in the types that the assembly format leaves out.

        ``types`` maps group names to their types; an operand group of unknown type holds None
        entries, an unknown result group is absent.
        """

    parse: ClassVar[Any] = None
    """``classmethod parse(cls, parser) -> Op``: custom assembly where no format string fits."""
    print: ClassVar[Any] = None
    """``print(self, printer) -> None``: counterpart of ``parse``; writes what follows the name."""

    def __str__(self) -> str:
        from iree_core_ir.text.printer import print_op

        return print_op(self)

    def __repr__(self) -> str:
        return f"<{self.name} at {self.location}>"


class Block:
    """A list of ops with arguments; the last op is the terminator (where one is required)."""

    __slots__ = ("args", "first", "last", "parent")

    def __init__(self, arg_types: Iterable[Type] = ()) -> None:
        self.args: list[BlockArgument] = [BlockArgument(t, self, i) for i, t in enumerate(arg_types)]
        self.first: Op | None = None
        self.last: Op | None = None
        self.parent: Region | None = None

    def __iter__(self) -> Iterator[Op]:
        op = self.first
        while op is not None:
            following = op.next
            yield op
            op = following

    def __reversed__(self) -> Iterator[Op]:
        op = self.last
        while op is not None:
            before = op.prev
            yield op
            op = before

    @property
    def ops(self) -> list[Op]:
        return list(self)

    @property
    def terminator(self) -> Op:
        """The last op. Raises ValueError for an empty block."""
        if self.last is None:
            raise ValueError("the block is empty")
        return self.last

    def append(self, op: OpT) -> OpT:
        op.parent = self
        last = self.last
        op.prev = last
        if last is None:
            self.first = op
        else:
            last.next = op
        self.last = op
        return op

    def insert_before(self, op: OpT, reference: Op) -> OpT:
        op.parent = self
        before = reference.prev
        op.prev = before
        op.next = reference
        reference.prev = op
        if before is None:
            self.first = op
        else:
            before.next = op
        return op

    def insert_after(self, op: OpT, reference: Op) -> OpT:
        return self.append(op) if reference.next is None else self.insert_before(op, reference.next)

    def add_arg(self, type: Type, hint: str | None = None) -> BlockArgument:
        arg = BlockArgument(type, self, len(self.args))
        arg.hint = hint
        self.args.append(arg)
        return arg

    def erase_arg(self, index: int) -> None:
        """Remove an unused argument."""
        if self.args[index].uses:
            raise ValueError("the block argument is in use")
        del self.args[index]
        for i, arg in enumerate(self.args):
            arg.index = i

    def split_before(self, op: Op) -> Block:
        """Move ``op`` and what follows to a new block, inserted after this one; returns it."""
        new = Block()
        moving: Op | None = op
        while moving is not None:
            following = moving.next
            new.append(moving.detach())
            moving = following
        if self.parent is not None:
            blocks = self.parent.blocks
            blocks.insert(blocks.index(self) + 1, new)
            new.parent = self.parent
        return new


class Region:
    """A list of blocks; the first is the entry."""

    __slots__ = ("blocks", "parent")

    def __init__(self, blocks: Iterable[Block] = ()) -> None:
        self.blocks: list[Block] = []
        self.parent: Op | None = None
        for block in blocks:
            self.append(block)

    def append(self, block: Block) -> Block:
        block.parent = self
        self.blocks.append(block)
        return block

    @property
    def block(self) -> Block:
        """The entry block."""
        return self.blocks[0]

    def clone(self, mapping: dict[Any, Any]) -> Region:
        """A deep copy; see Op.clone."""
        copy = Region()
        for block in self.blocks:
            new = copy.append(Block([a.type for a in block.args]))
            mapping[block] = new
            for old_arg, new_arg in zip(block.args, new.args, strict=True):
                mapping[old_arg] = new_arg
                new_arg.hint = old_arg.hint
        for block in self.blocks:
            new = mapping[block]
            for op in block:
                new.append(op.clone(mapping))
        # Uses before definitions (graph regions, loops over blocks) are patched afterwards.
        if len(self.blocks) > 1:
            for block in copy.blocks:
                for op in block:
                    if any(v in mapping for v in op.operands):
                        op.set_operands([mapping.get(v, v) for v in op.operands])
        return copy

    def take_blocks(self, other: Region) -> None:
        """Move all blocks of ``other`` to the end of this region."""
        for block in other.blocks:
            self.append(block)
        other.blocks = []


def single_block_region(arg_types: Iterable[Type] = ()) -> Region:
    """A region with one empty block."""
    return Region([Block(arg_types)])


def symbol_name(op: Op) -> str | None:
    """The op's ``sym_name``, if it is a symbol."""
    attribute: Any = op.attributes.get("sym_name")
    return None if attribute is None else attribute.value


def lookup_symbol(table: Op, reference: SymbolRefAttr | str) -> Op | None:
    """The op that ``reference`` names, starting in the symbol table ``table``.

    Linear in the table; build a ``SymbolTable`` for repeated lookups.
    """
    path = reference.path if isinstance(reference, SymbolRefAttr) else (reference,)
    found: Op | None = table
    for name in path:
        assert found is not None
        found = next(
            (op for r in found.regions for b in r.blocks for op in b if symbol_name(op) == name), None
        )
        if found is None:
            return None
    return found


class SymbolTable:
    """Name -> op of one symbol-table op, with unique naming. Keep it in step through its methods."""

    def __init__(self, op: Op) -> None:
        self.op = op
        self.symbols: dict[str, Op] = {}
        for region in op.regions:
            for block in region.blocks:
                for inner in block:
                    name = symbol_name(inner)
                    if name is not None:
                        self.symbols[name] = inner

    def lookup(self, reference: SymbolRefAttr | str) -> Op | None:
        path = reference.path if isinstance(reference, SymbolRefAttr) else (reference,)
        found = self.symbols.get(path[0])
        return found if len(path) == 1 or found is None else lookup_symbol(found, SymbolRefAttr(path[1:]))

    def unique(self, name: str) -> str:
        """``name``, or ``name_0``, ``name_1`` ... when taken."""
        if name not in self.symbols:
            return name
        i = 0
        while f"{name}_{i}" in self.symbols:
            i += 1
        return f"{name}_{i}"

    def insert(self, op: Op, before: Op | None = None) -> str:
        """Insert a symbol op into the table's body under a unique name; returns the name."""
        from iree_core_ir.ir.attributes import StringAttr

        name = self.unique(symbol_name(op) or "symbol")
        op.attributes["sym_name"] = StringAttr(name)
        block = self.op.regions[0].block
        if before is None:
            block.append(op)
        else:
            block.insert_before(op, before)
        self.symbols[name] = op
        return name

    def erase(self, op: Op) -> None:
        name = symbol_name(op)
        if name is not None:
            self.symbols.pop(name, None)
        op.erase()
