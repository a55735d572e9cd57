"""A kernel function in invocation form -> a SPIR-V module: control flow, arguments, entry point.

Every construct is structured: a loop is one header with its phis, a selection names where its branches
meet. A failed assertion writes the dispatch's status word and returns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from iree_codegen.dispatch import scalar_words
from iree_codegen.errors import UNSUPPORTED_OP, CodegenError
from iree_codegen.kernel import BINDINGS, INDEX_BITS, SUBGROUP_SIZE, WORKGROUP_SIZE
from iree_codegen.kernel_builder import ERROR_KIND
from iree_core_ir.dialects.gpu_matrix import MMAMatrixType, ui8
from iree_core_ir.ir.attributes import IntegerAttr
from iree_core_ir.ir.operation import Block
from iree_core_ir.ir.traits import PURE
from iree_core_ir.ir.types import FloatType, IndexType, i8, index
from iree_target_vulkan.description import VulkanDescription
from iree_target_vulkan.errors import LIMIT, VulkanError
from iree_target_vulkan.executable_format import MAX_PUSH_CONSTANT_BYTES, EntryPoint, SpirvExecutable
from iree_target_vulkan.printer import conversions, floats, integers, matrices, memory, subgroups, vectors
from iree_target_vulkan.printer.matrices import fragment_type
from iree_target_vulkan.printer.memory import BINDING, SCRATCH, Memory
from iree_target_vulkan.printer.subgroups import SubgroupPrinter
from iree_target_vulkan.spirv.module import Module

DONT_UNROLL = "iree.dont_unroll"
ASSERTION = 3
"""Kind of a failed check that says no other."""
SCOPE_DEVICE = 1
NO_HINT, KEEP_LOOP = 0, 2
"""Selection and loop controls: None, DontUnroll."""
FLOAT_CONTROLS = ("SignedZeroInfNanPreserve", "RoundingModeRTE")
LOADS = frozenset({"memref.load", "vector.load", "gpu.subgroup_mma_load_matrix"})
STORES = {"memref.store": 1, "vector.store": 1, "gpu.subgroup_mma_store_matrix": 1}
"""Op -> position of the memory."""


class KernelPrinter(SubgroupPrinter):
    """Prints one function; ``print`` gives the executable."""

    def new_type(self, type: Any) -> int:
        """Matrix fragments too: loops carry them."""
        return fragment_type(self, type) if isinstance(type, MMAMatrixType) else super().new_type(type)

    def __init__(self, function: Any, description: VulkanDescription, scratch_bytes: int) -> None:
        name = function.attributes["sym_name"].value
        uses_matrices = any(op.name.startswith("gpu.subgroup_mma") for op in function.walk())
        version = (1, 6) if uses_matrices else (1, 3)
        super().__init__(Module(version), description, name, function.attributes[INDEX_BITS].value)
        self.function = function
        self.scratch_bytes = scratch_bytes
        self.vulkan_model = uses_matrices
        self.unsigned_sums = any(
            getattr(v.type, "element_type", None) is ui8 for op in function.walk() for v in op.results
        )
        self.n_asserts = 0
        self.args = function.regions[0].block.args
        self.n_bindings = int(function.attributes[BINDINGS].value)
        scalars = self.args[self.n_bindings : -4]
        self.n_constants = sum(scalar_words(a.type, name) for a in scalars)
        checks = any(op.name == "cf.assert" for op in function.walk())
        numbers = iter(range(self.n_bindings, self.n_bindings + 3))
        in_buffer = 4 * self.n_constants > MAX_PUSH_CONSTANT_BYTES
        self.constants_binding = next(numbers) if in_buffer else None
        self.scratch_binding = next(numbers) if self.args[-1].uses else None
        self.status_binding = next(numbers) if checks else None
        self.push_words = (0 if in_buffer else self.n_constants) + (1 if checks else 0)
        self._push_constants = 0

    # -- the whole ----------------------------------------------------------------------------------------

    def print(self) -> SpirvExecutable:
        m = self.module
        function = m.id()
        self._find_shared()
        self._arguments()
        m.code = []
        self.block_id = m.id()
        self.print_block(self.function.regions[0].block)
        body, m.code = m.code, []
        m.do("Function", m.void_type(), function, "None", m.type("TypeFunction", m.void_type()))
        # The entry block: variables first, then what every block may use.
        m.label(self.entry_id)
        m.code += self.local_variables
        m.code += self.prologue
        m.do("Branch", self.first_id)
        m.code += body
        m.do("FunctionEnd")
        size = tuple(int(n) for n in self.function.attributes[WORKGROUP_SIZE].values)
        self._check_limits(size)
        self._mark_aliases()
        self._float_controls(function)
        if self.vulkan_model:
            self.require("vulkanMemoryModel")
        m.compute_entry(self.kernel, function, size, vulkan_model=self.vulkan_model)
        subgroup = self.function.attributes.get(SUBGROUP_SIZE)
        entry = EntryPoint(
            workgroup_size=size,  # type: ignore[arg-type]
            bindings=self.n_bindings,
            push_constant_words=self.push_words,
            constants_binding=self.constants_binding,
            scratch_binding=self.scratch_binding,
            status_binding=self.status_binding,
            index_bits=self.index_bits,
            subgroup_size=subgroup.value if self.counts_on_subgroups else None,
        )
        return SpirvExecutable(
            {self.kernel: entry},
            m.serialize(),
            m.version,
            tuple(m.capabilities),
            tuple(sorted(self.features)),
        )

    def _check_limits(self, size: tuple[int, ...]) -> None:
        """The same limits that strategies keep, for kernels that come from elsewhere."""
        d = self.description
        total = size[0] * size[1] * size[2]
        over = [f"{n} > {limit}" for n, limit in zip(size, d.max_workgroup_size, strict=True) if n > limit]
        if over or total > d.max_workgroup_invocations:
            raise VulkanError(
                LIMIT,
                f"'{self.kernel}' has workgroups of {size}",
                cause=f"the device allows {d.max_workgroup_size}, {d.max_workgroup_invocations} in all",
            )
        if 4 * self.push_words > d.push_constant_bytes:
            raise VulkanError(LIMIT, f"'{self.kernel}' has {self.push_words} push constants")

    def _find_shared(self) -> None:
        """Which buffers invocations exchange values through."""
        self.written = self._touched(STORES)
        if any(op.name == "gpu.barrier" for op in self.function.walk()):
            self.shared = self.written & self._touched(dict.fromkeys(LOADS, 0))

    def _touched(self, positions: dict[str, int]) -> set[int]:
        """Bindings of the buffers that ops of these names access."""
        found: set[int] = set()
        numbers = {argument: i for i, argument in enumerate(self.args[: self.n_bindings])}
        if self.scratch_binding is not None:
            numbers[self.args[-1]] = self.scratch_binding
        for op in self.function.walk():
            position = positions.get(op.name)
            if position is None:
                continue
            value = op.operands[position]
            while (made := value.defining_op) is not None and made.name == "memref.view":
                value = made.operands[0]
            if value in numbers:
                found.add(numbers[value])
        return found

    def _mark_aliases(self) -> None:
        """Several variables at one binding that is written may overlap."""
        by_binding: dict[int, list[int]] = {}
        for (binding, _), variable in self.buffers.items():
            by_binding.setdefault(binding, []).append(variable)
        for binding, variables in by_binding.items():
            if len(variables) > 1 and binding in self.written:
                for variable in variables:
                    self.module.decorate(variable, "Aliased")

    def _float_controls(self, function: int) -> None:
        """Ask for exact NaN, infinities, signed zeros and rounding where the device can promise them."""
        m = self.module
        widths = [bits for bits in (16, 32, 64) if m.has_type("TypeFloat", bits)]
        for name in FLOAT_CONTROLS:
            for bits in widths:
                if self.prefer(f"shader{name}Float{bits}"):
                    m.capability(name)
                    m.emit("modes", "ExecutionMode", function, name, bits)

    # -- arguments ----------------------------------------------------------------------------------------

    def _arguments(self) -> None:
        m = self.module
        self.entry_id, self.first_id = m.id(), m.id()
        for i, argument in enumerate(self.args[: self.n_bindings]):
            self.memories[argument] = Memory(BINDING, argument.type.element_type, i)
        m.code = self.prologue
        word = 0
        for argument in self.args[self.n_bindings : -4]:
            if argument.uses:
                self.ids[argument] = self._scalar_argument(argument.type, word)
            word += scalar_words(argument.type, self.kernel)
        for axis, argument in enumerate(self.args[-4:-1]):
            if argument.uses:
                self.ids[argument] = self.builtin("WorkgroupId", axis)
        if self.scratch_binding is not None:
            self.memories[self.args[-1]] = Memory(SCRATCH, i8, self.scratch_binding, self._slice_start())

    def _slice_start(self) -> int:
        """Byte offset of this workgroup's scratch."""
        type = self.type(index)
        x, y, z = (self.builtin("WorkgroupId", axis) for axis in range(3))
        columns, rows = (self.builtin("NumWorkgroups", axis) for axis in range(2))
        self.module.code = self.prologue
        row = self.emit("IAdd", type, self.emit("IMul", type, z, rows), y)
        linear = self.emit("IAdd", type, self.emit("IMul", type, row, columns), x)
        return self.emit("IMul", type, linear, self.word(self.scratch_bytes, index))

    def _constant_word(self, word: int) -> int:
        m, u32 = self.module, self.u32
        if self.constants_binding is not None:
            key = (self.constants_binding, u32)
            if key not in self.buffers:
                self.buffers[key] = m.storage_buffer(self.constants_binding, u32, 4)
            pointer = m.pointer("StorageBuffer", u32)
            chain = m.op(
                "AccessChain", pointer, self.buffers[key], self.u32_constant(0), self.u32_constant(word)
            )
            return m.op("Load", u32, chain)
        return self._pushed_word(word)

    def _pushed_word(self, word: int) -> int:
        m, u32 = self.module, self.u32
        if not self._push_constants:
            self._push_constants = m.push_constants(self.push_words)
        chain = m.op(
            "AccessChain", m.pointer("PushConstant", u32), self._push_constants, self.u32_constant(word)
        )
        return m.op("Load", u32, chain)

    def _scalar_argument(self, type: Any, word: int) -> int:
        low = self._constant_word(word)
        register = self.type(type)
        if isinstance(type, IndexType) and self.index_bits == 32:
            return low
        if scalar_words(type, self.kernel) == 2:
            pair = self.module.vector(self.u32, 2)
            both = self.emit("CompositeConstruct", pair, low, self._constant_word(word + 1))
            return self.emit("Bitcast", register, both)
        if isinstance(type, FloatType) and type.width == 32:
            return self.emit("Bitcast", register, low)
        if conversions.is_native_half(self, type):
            self.require("shaderInt16")
            return self.emit("Bitcast", register, self.emit("UConvert", self.module.int_type(16), low))
        if isinstance(type, FloatType):
            return self.emit("BitwiseAnd", self.u32, low, self.u32_constant((1 << type.width) - 1))
        return self.wrapped(low, type)

    # -- blocks -------------------------------------------------------------------------------------------

    def start(self, label: int) -> None:
        self.module.label(label)
        self.block_id = label

    def print_block(self, block: Block) -> None:
        self.start(self.first_id)
        for op in block:
            self.op(op)

    def ops_before_terminator(self, block: Block) -> None:
        last = block.last
        for op in block:
            if op is not last:
                self.op(op)

    def op(self, op: Any) -> None:
        name = op.name
        results = op.results
        if results and not results[0].uses and PURE in op.traits and not any(r.uses for r in results):
            return
        if name == "arith.constant":
            self.ids[results[0]] = self.constant(op.attributes["value"])
            return
        handler = HANDLERS.get(name)
        if handler is None:
            raise CodegenError(UNSUPPORTED_OP, f"{name} in kernel IR", source=op.location.user_text())
        result = handler(self, op)
        if result is None:
            return
        if result.__class__ is int:
            self.ids[results[0]] = result
        else:
            self.ids.update(zip(results, result, strict=True))


# -- control ------------------------------------------------------------------------------------------


def for_(p: KernelPrinter, op: Any) -> list[int]:
    m = p.module
    lower, upper, step = (p.operand(v) for v in op.operands[:3])
    inits = [p.operand(v) for v in op.operands[3:]]
    block = op.regions[0].block
    index = p.type(block.args[0].type)
    header, body, latch, done = m.id(), m.id(), m.id(), m.id()
    phis = [m.id() for _ in block.args]
    following = m.id()
    before = p.block_id
    m.do("Branch", header)
    saved, m.code = m.code, []
    p.start(body)
    p.ids.update(zip(block.args, phis, strict=True))
    p.scopes.append({})
    p.ops_before_terminator(block)
    p.scopes.pop()
    yielded = [p.operand(v) for v in block.terminator.operands]
    m.do("Branch", latch)
    p.start(latch)
    m.do("IAdd", index, following, phis[0], step)
    m.do("Branch", header)
    inner, m.code = m.code, saved
    p.start(header)
    types = [index, *(p.type(a.type) for a in block.args[1:])]
    for type, phi, init, value in zip(types, phis, [lower, *inits], [following, *yielded], strict=True):
        m.phi(type, phi, (init, before, value, latch))
    more = p.emit("SLessThan", p.bool, phis[0], upper)
    m.do("LoopMerge", done, latch, KEEP_LOOP if DONT_UNROLL in op.attributes else NO_HINT)
    m.do("BranchConditional", more, body, done)
    m.code += inner
    p.start(done)
    return phis[1:]


def if_(p: KernelPrinter, op: Any) -> list[int]:
    m = p.module
    condition = p.operand(op.operands[0])
    then, done = m.id(), m.id()
    otherwise = m.id() if op.regions[1].blocks else done
    m.do("SelectionMerge", done, NO_HINT)
    m.do("BranchConditional", condition, then, otherwise)
    ends: list[tuple[list[int], int]] = []
    for label, region in ((then, op.regions[0]), (otherwise, op.regions[1])):
        if not region.blocks:
            continue
        p.start(label)
        p.scopes.append({})
        p.ops_before_terminator(region.block)
        p.scopes.pop()
        ends.append(([p.operand(v) for v in region.block.terminator.operands], p.block_id))
        m.do("Branch", done)
    p.start(done)
    results = []
    for n, result in enumerate(op.results):
        phi = m.id()
        m.phi(p.type(result.type), phi, [word for values, end in ends for word in (values[n], end)])
        results.append(phi)
    return results


def while_(p: KernelPrinter, op: Any) -> list[int]:
    m = p.module
    test, body = op.regions[0].block, op.regions[1].block
    inits = [p.operand(v) for v in op.operands]
    header, first, inside, latch, done = (m.id() for _ in range(5))
    phis = [m.id() for _ in test.args]
    before = p.block_id
    m.do("Branch", header)
    saved, m.code = m.code, []
    p.start(first)
    p.ids.update(zip(test.args, phis, strict=True))
    p.scopes.append({})
    p.ops_before_terminator(test)
    condition = test.terminator
    forwarded = [p.operand(v) for v in condition.operands[1:]]
    m.do("BranchConditional", p.operand(condition.operands[0]), inside, done)
    p.start(inside)
    p.ids.update(zip(body.args, forwarded, strict=True))
    p.ops_before_terminator(body)
    p.scopes.pop()
    yielded = [p.operand(v) for v in body.terminator.operands]
    m.do("Branch", latch)
    p.start(latch)
    m.do("Branch", header)
    inner, m.code = m.code, saved
    p.start(header)
    for argument, phi, init, value in zip(test.args, phis, inits, yielded, strict=True):
        m.phi(p.type(argument.type), phi, (init, before, value, latch))
    m.do("LoopMerge", done, latch, NO_HINT)
    m.do("Branch", first)
    m.code += inner
    p.start(done)
    return forwarded


def return_(p: KernelPrinter, op: Any) -> None:
    p.module.do("Return")


def assert_(p: KernelPrinter, op: Any) -> None:
    """The largest code of a dispatch stays: it does not depend on who came first."""
    m = p.module
    kind = op.attributes.get(ERROR_KIND)
    code = (p.n_asserts << 16) | (kind.value if isinstance(kind, IntegerAttr) else ASSERTION)
    p.n_asserts += 1
    passed, failed = m.id(), m.id()
    m.do("SelectionMerge", passed, NO_HINT)
    m.do("BranchConditional", p.operand(op.operands[0]), passed, failed)
    p.start(failed)
    index = p._pushed_word(p.push_words - 1)
    assert p.status_binding is not None
    key = (p.status_binding, p.u32)
    if key not in p.buffers:
        p.buffers[key] = m.storage_buffer(p.status_binding, p.u32, 4)
    pointer = m.pointer("StorageBuffer", p.u32)
    word = p.emit("AccessChain", pointer, p.buffers[key], p.u32_constant(0), index)
    scope = p.u32_constant(SCOPE_DEVICE)
    p.emit("AtomicUMax", p.u32, word, scope, p.u32_constant(0), p.u32_constant(code))
    m.do("Return")
    p.start(passed)


HANDLERS: dict[str, Callable[[Any, Any], Any]] = {
    **integers.HANDLERS,
    **floats.HANDLERS,
    **conversions.HANDLERS,
    **memory.HANDLERS,
    **vectors.HANDLERS,
    **subgroups.HANDLERS,
    **matrices.HANDLERS,
    "cf.assert": assert_,
    "func.return": return_,
    "scf.for": for_,
    "scf.if": if_,
    "scf.while": while_,
}
__all__ = ["KernelPrinter"]
