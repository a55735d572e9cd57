"""Several modules: linking, versions, unloading, state per load, threads and forks."""

from __future__ import annotations

import gc
import os
import threading
import weakref

import pytest

from iree_vm import Context, NativeModule, VmError
from iree_vm.bytecode.assembler import assemble
from iree_vm.bytecode.program import Program
from iree_vm.module import BytecodeModule

LIBRARY = """module @library version 3
global @count : i64 mutable
func @next() -> (i64) {
  %l0 = global.load.i64 @count
  %l1 = const.i64 1
  %l2 = add.i64 %l0, %l1
  global.store.i64 %l2, @count
  return %l2
}
func @twice(%i0) -> (i32) {
  %i1 = add.i32 %i0, %i0
  return %i1
}
export @next
export @twice
"""
USER = """module @user
import @library.next() -> (i64) version 3
import @library.twice(i32) -> (i32)
func @run(%i0) -> (i32, i64) {
  %i1 = call @library.twice(%i0)
  %l0 = call @library.next()
  return %i1, %l0
}
export @run
"""


OTHER_TYPE = """module @user
import @library.next() -> (i32)
func @run() -> (i32) {
  %i0 = call @library.next()
  return %i0
}
export @run
"""


def library() -> Program:
    return assemble(LIBRARY)


def user(text: str = USER) -> Program:
    return assemble(text)


def test_bytecode_imports_bytecode() -> None:
    context = Context([library(), user()])
    assert context.call("user.run", 4) == (8, 1)
    assert context.call("library.next") == 2
    assert context.call("user.run", 5) == (10, 3)


def test_a_native_module_may_take_the_place_of_bytecode() -> None:
    native = NativeModule("library", version=7)
    native.export("next", "() -> (i64)")(lambda: 1 << 70)
    native.export("twice", "(i32) -> (i32)")(lambda x: x + x)
    assert Context([native, user()]).call("user.run", 1 << 30) == (-(1 << 31), 0), (
        "results wrap into their type"
    )


def test_state_is_per_context() -> None:
    program = library()
    first, second = Context([program]), Context([program])
    assert [first.call("library.next") for _ in range(3)] == [1, 2, 3]
    assert second.call("library.next") == 1


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (USER.replace("library.next", "library.nxt"), 5, "has no function 'nxt'"),
        (USER.replace("@library", "@other"), 5, "module 'other' is not loaded"),
        (USER.replace("version 3", "version 4"), 6, "version 4 wanted, 3 loaded"),
        (OTHER_TYPE, 6, "wanted () -> (i32), provided () -> (i64)"),
    ],
)  # fmt: skip
def test_links_that_do_not_fit(text: str, code: int, message: str) -> None:
    context = Context([library()])
    with pytest.raises(VmError) as caught:
        context.load(user(text))
    assert caught.value.number == code
    assert message in str(caught.value)
    assert context.modules == ("library",)


def test_names_are_taken_until_unloaded() -> None:
    context = Context([library(), user()])
    with pytest.raises(VmError, match=r"IREE-VM-013"):
        context.load(library())
    with pytest.raises(VmError, match=r"IREE-VM-015.*user"):
        context.unload("library")
    context.unload("user")
    context.unload("library")
    context.load(library())
    assert context.call("library.next") == 1
    context.close()
    with pytest.raises(VmError, match=r"IREE-VM-018"):
        context.call("library.next")


def test_an_unloaded_module_lets_go_of_what_it_holds() -> None:
    class Held:
        pass

    native = NativeModule("n")
    held: list[weakref.ref[Held]] = []

    @native.export("make", "() -> (ref)")
    def make() -> Held:
        value = Held()
        held.append(weakref.ref(value))
        return value

    text = """module @m
        import @n.make() -> (ref)
        global @g : ref
        func @__init() {
          %r0 = call @n.make()
          global.store.ref %r0, @g
          return
        }
        func @f() -> (ref) {
          %r0 = global.load.ref @g
          return %r0
        }
        export @f"""
    context = Context([native, user(text)])
    module = context.module("m")
    assert isinstance(module, BytecodeModule)
    gc.disable()
    try:
        assert held[0]() is not None
        context.unload("m")
        assert held[0]() is None
    finally:
        gc.enable()
    with pytest.raises(VmError, match=r"IREE-VM-014"):
        module.call("f")


def test_unload_while_a_call_runs() -> None:
    native = NativeModule("n")
    entered, leave = threading.Event(), threading.Event()

    @native.export("wait", "()")
    def wait() -> None:
        entered.set()
        assert leave.wait(30)

    text = """module @m
        import @n.wait()
        global @g : ref
        func @__init() {
          %i0 = const.i32 1
          %r0 = list.alloc %i0
          global.store.ref %r0, @g
          return
        }
        func @f() -> (i32) {
          call @n.wait()
          %r0 = global.load.ref @g
          %i0 = list.size %r0
          return %i0
        }
        export @f"""
    context = Context([native, user(text)])
    results: list[int] = []
    thread = threading.Thread(target=lambda: results.append(context.call("m.f")))
    thread.start()
    assert entered.wait(30)
    context.unload("m")
    leave.set()
    thread.join(30)
    assert results == [0]


def test_calls_that_write_globals_are_serialized() -> None:
    native = NativeModule("n")
    inside = threading.Semaphore(1)

    @native.export("slow", "()")
    def slow() -> None:
        assert inside.acquire(blocking=False), "two calls at once"
        for _ in range(200):
            pass
        inside.release()

    text = """module @m
    import @n.slow()
    global @n : i64 mutable
    func @bump() {
      %l0 = global.load.i64 @n
      call @n.slow()
      %l1 = const.i64 1
      %l0 = add.i64 %l0, %l1
      global.store.i64 %l0, @n
      return
    }
    func @f() {
      call @bump()
      return
    }
    func @get() -> (i64) {
      %l0 = global.load.i64 @n
      return %l0
    }
    export @f
    export @get
    """
    context = Context([native, user(text)])
    threads = [threading.Thread(target=lambda: [context.call("m.f") for _ in range(200)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert context.call("m.get") == 800


def test_functions_without_mutable_globals_run_side_by_side() -> None:
    native = NativeModule("n")
    barrier = threading.Barrier(2)
    native.export("meet", "()")(lambda: barrier.wait(30))
    context = Context(
        [native, user("module @m\nimport @n.meet()\nfunc @f() {\n call @n.meet()\n return\n}\nexport @f")]
    )
    thread = threading.Thread(target=lambda: context.call("m.f"))
    thread.start()
    context.call("m.f")
    thread.join(30)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is POSIX")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_a_forked_child_can_call_although_the_lock_was_held() -> None:
    native = NativeModule("n")
    entered, leave = threading.Event(), threading.Event()

    @native.export("wait", "(i32)")
    def wait(block: int) -> None:
        if block:
            entered.set()
            leave.wait(30)

    text = """module @m
        import @n.wait(i32)
        global @g : i32 mutable
        func @f(%i0) {
          global.store.i32 %i0, @g
          call @n.wait(%i0)
          return
        }
        export @f"""
    context = Context([native, user(text)])
    thread = threading.Thread(target=lambda: context.call("m.f", 1))
    thread.start()
    assert entered.wait(30)
    child = os.fork()
    if not child:
        try:
            context.call("m.f", 0)
            os._exit(0)
        finally:
            os._exit(1)
    leave.set()
    thread.join(30)
    assert os.waitpid(child, 0)[1] == 0
