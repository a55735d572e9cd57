"""Kernels assembled by hand: those of the conformance suite, and a way to write more."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from iree_hal.conformance import kernels
from iree_hal.executable import ExecutableSpec, ExportSpec
from iree_target_vulkan.executable_format import FORMAT, EntryPoint, SpirvExecutable
from iree_target_vulkan.spirv.module import Module

LIMIT_WORDS = 16


class Shader:
    """One entry point of ``module``; its body is written between construction and :meth:`finish`.

    ``buffers`` are the element types of the bindings, ``n_words`` how many push constants there are.
    """

    def __init__(self, module: Module, buffers: Sequence[str], n_words: int) -> None:
        m = self.m = module
        self.u32, self.bool, self.f32 = m.int_type(32), m.bool_type(), m.float_type(32)
        self.types = {"u32": self.u32, "f32": self.f32}
        self.elements = [self.types[name] for name in buffers]
        self.buffers = [m.storage_buffer(i, element, 4) for i, element in enumerate(self.elements)]
        self._pushed = m.push_constants(n_words) if n_words else 0
        v3 = m.vector(self.u32, 3)
        group = m.builtin("WorkgroupId", v3)
        counts = m.builtin("NumWorkgroups", v3)
        self.function = m.id()
        void = m.void_type()
        m.do("Function", void, self.function, "None", m.type("TypeFunction", void))
        m.label()
        ids = m.op("Load", v3, group)
        self.x, self.y, self.z = (m.op("CompositeExtract", self.u32, ids, axis) for axis in range(3))
        grid = m.op("Load", v3, counts)
        self.cx, self.cy = (m.op("CompositeExtract", self.u32, grid, axis) for axis in range(2))

    def c(self, value: int) -> int:
        return self.m.constant(self.u32, value)

    def op(self, name: str, a: int, b: int, type: int | None = None) -> int:
        return self.m.op(name, self.u32 if type is None else type, a, b)

    def push(self, member: int) -> int:
        pointer = self.m.pointer("PushConstant", self.u32)
        return self.m.op("Load", self.u32, self.m.op("AccessChain", pointer, self._pushed, self.c(member)))

    def at(self, buffer: int, index: int) -> int:
        pointer = self.m.pointer("StorageBuffer", self.elements[buffer])
        return self.m.op("AccessChain", pointer, self.buffers[buffer], self.c(0), index)

    def load(self, buffer: int, index: int) -> int:
        return self.m.op("Load", self.elements[buffer], self.at(buffer, index))

    def store(self, buffer: int, index: int, value: int) -> None:
        self.m.do("Store", self.at(buffer, index), value)

    def loop(self, start: int, end: int, body: Callable[[int], None]) -> None:
        """``body(i)`` for i from ``start`` below ``end``; carries nothing."""
        m = self.m
        before, header, test, inside, after, done = (m.id() for _ in range(6))
        following = m.id()
        m.do("Branch", before)
        m.label(before)
        m.do("Branch", header)
        m.label(header)
        i = m.id()
        m.phi(self.u32, i, [start, before, following, after])
        m.do("LoopMerge", done, after, "None")
        m.do("Branch", test)
        m.label(test)
        m.do("BranchConditional", self.op("ULessThan", i, end, self.bool), inside, done)
        m.label(inside)
        body(i)
        m.do("Branch", after)
        m.label(after)
        m.code += [5 << 16 | 128, self.u32, following, i, self.c(1)]  # OpIAdd with the id made before
        m.do("Branch", header)
        m.label(done)

    def when(self, condition: int, body: Callable[[], None]) -> None:
        m = self.m
        inside, done = m.id(), m.id()
        m.do("SelectionMerge", done, "None")
        m.do("BranchConditional", condition, inside, done)
        m.label(inside)
        body()
        m.do("Branch", done)
        m.label(done)

    def finish(self, name: str, workgroup_size: tuple[int, int, int] = (1, 1, 1)) -> None:
        m = self.m
        m.do("Return")
        m.do("FunctionEnd")
        if not m.sections["memory_model"]:
            m.compute_entry(name, self.function, workgroup_size, vulkan_model=False)
        else:
            m.emit("entry_points", "EntryPoint", "GLCompute", self.function, name, *m.interface)
            m.emit("modes", "ExecutionMode", self.function, "LocalSize", *workgroup_size)


def _add(m: Module) -> tuple[Shader, EntryPoint]:
    s = Shader(m, ("f32", "f32", "f32"), 1)
    first = s.op("IMul", s.x, s.c(64))
    end = m.glsl("UMin", s.u32, s.op("IAdd", first, s.c(64)), s.push(0))
    s.loop(first, end, lambda i: s.store(2, i, s.op("FAdd", s.load(0, i), s.load(1, i), s.f32)))
    return s, EntryPoint((1, 1, 1), 3, 1)


def _scale(m: Module) -> tuple[Shader, EntryPoint]:
    s = Shader(m, ("f32", "f32"), 1)
    factor = m.op("Bitcast", s.f32, s.push(0))
    s.store(1, s.x, s.op("FMul", s.load(0, s.x), factor, s.f32))
    return s, EntryPoint((1, 1, 1), 2, 1)


def _store_constants(m: Module) -> tuple[Shader, EntryPoint]:
    s = Shader(m, ("u32",), 2)
    for i in range(2):
        s.store(0, s.c(i), s.push(i))
    return s, EntryPoint((1, 1, 1), 1, 2)


def _store_ids(m: Module) -> tuple[Shader, EntryPoint]:
    s = Shader(m, ("u32",), 2)
    row = s.op("IAdd", s.y, s.op("IMul", s.push(1), s.z))
    linear = s.op("IMul", s.c(3), s.op("IAdd", s.x, s.op("IMul", s.push(0), row)))
    for axis, value in enumerate((s.x, s.y, s.z)):
        s.store(0, s.op("IAdd", linear, s.c(axis)), value)
    return s, EntryPoint((1, 1, 1), 1, 2)


def _count(m: Module) -> tuple[Shader, EntryPoint]:
    s = Shader(m, ("u32",), 0)
    m.op("AtomicIAdd", s.u32, s.at(0, s.x), s.c(1), s.c(0), s.c(1))
    return s, EntryPoint((1, 1, 1), 1)


def _check_index(m: Module) -> tuple[Shader, EntryPoint]:
    s = Shader(m, ("u32",), 2)
    outside = s.op("UGreaterThanEqual", s.x, s.push(0), s.bool)
    s.when(outside, lambda: s.store(0, s.push(1), s.c(kernels.CHECK_INDEX_CODE)))
    return s, EntryPoint((1, 1, 1), 0, 2, status_binding=0)


def _use_scratch(m: Module) -> tuple[Shader, EntryPoint]:
    s = Shader(m, ("u32", "u32"), 0)
    words = kernels.SCRATCH_BYTES // 4
    linear = s.op("IAdd", s.x, s.op("IMul", s.cx, s.op("IAdd", s.y, s.op("IMul", s.cy, s.z))))
    base = s.op("IMul", linear, s.c(words))
    s.loop(s.c(0), s.c(words), lambda i: s.store(1, s.op("IAdd", base, i), s.op("IAdd", s.x, i)))
    s.store(0, s.x, s.c(0))

    def sum_up(i: int) -> None:
        value = s.load(1, s.op("IAdd", base, i))
        s.store(0, s.x, s.op("IAdd", s.load(0, s.x), value))

    s.loop(s.c(0), s.c(words), sum_up)
    return s, EntryPoint((1, 1, 1), 1, scratch_binding=1)


def _spin(m: Module) -> tuple[Shader, EntryPoint]:
    s = Shader(m, (), 1)
    s.loop(s.c(0), s.push(0), lambda i: None)
    return s, EntryPoint((1, 1, 1), 0, 1)


def _sum_of_8(m: Module) -> tuple[Shader, EntryPoint]:
    s = Shader(m, ("u32",) * 9, 0)
    total = s.load(0, s.x)
    for buffer in range(1, 8):
        total = s.op("IAdd", total, s.load(buffer, s.x))
    s.store(8, s.x, total)
    return s, EntryPoint((1, 1, 1), 9)


def _reverse(m: Module) -> tuple[Shader, EntryPoint]:
    s = Shader(m, ("u32", "u32"), 1)
    at = s.op("ISub", s.op("ISub", s.push(0), s.c(1)), s.x)
    s.store(1, s.x, s.op("IAdd", s.load(0, at), s.c(1)))
    return s, EntryPoint((1, 1, 1), 2, 1)


def _constants(n: int) -> Callable[[Module], tuple[Shader, EntryPoint]]:
    def write(m: Module) -> tuple[Shader, EntryPoint]:
        pushed = n <= LIMIT_WORDS
        s = Shader(m, ("u32",) if pushed else ("u32", "u32"), n if pushed else 0)
        for i in range(n):
            s.store(0, s.c(i), s.push(i) if pushed else s.load(1, s.c(i)))
        s.store(0, s.c(n), s.c(n))
        if pushed:
            return s, EntryPoint((1, 1, 1), 1, n)
        return s, EntryPoint((1, 1, 1), 1, constants_binding=1)

    return write


WRITERS: dict[str, Callable[[Module], tuple[Shader, EntryPoint]]] = {
    "add": _add,
    "scale": _scale,
    "store_constants": _store_constants,
    "store_ids": _store_ids,
    "count": _count,
    "check_index": _check_index,
    "use_scratch": _use_scratch,
    "spin": _spin,
    "sum_of_8": _sum_of_8,
    "reverse": _reverse,
    **{f"constants_{n}": _constants(n) for n in kernels.CONSTANT_COUNTS},
}


def executable(
    writers: dict[str, Callable[[Module], tuple[Shader, EntryPoint]]],
    exports: Sequence[ExportSpec],
    name: str = "handwritten",
    features: tuple[str, ...] = (),
) -> ExecutableSpec:
    """An executable of one module with an entry point per writer."""
    module = Module((1, 3))
    entries: dict[str, EntryPoint] = {}
    for export in exports:
        shader, entries[export.name] = writers[export.name](module)
        shader.finish(export.name)
    data = SpirvExecutable(entries, module.serialize(), (1, 3), tuple(module.capabilities), features)
    return ExecutableSpec(FORMAT, data.serialize(), tuple(exports), name=name)


def conformance_executable() -> ExecutableSpec:
    """The kernels of the suite."""
    return executable(WRITERS, kernels.EXPORTS, "conformance")
