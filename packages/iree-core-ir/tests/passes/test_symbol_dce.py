"""symbol-dce keeps what a public symbol or a plain op reaches."""

from __future__ import annotations

from collections.abc import Callable

Transform = Callable[[str, str, str], None]


def test_unreachable_private_symbols_go(transform: Transform) -> None:
    transform(
        "symbol_dce",
        "symbol-dce",
        """
        func.func @main() {
          call @used() : () -> ()
          "t.op"() {deep = [{x = @in_attribute}]} : () -> ()
          return
        }
        func.func private @used() {
          call @used_by_used() : () -> ()
          return
        }
        func.func private @used_by_used()
        func.func private @in_attribute()
        func.func private @dead_a() {
          call @dead_b() : () -> ()
          return
        }
        func.func private @dead_b() {
          call @dead_a() : () -> ()
          return
        }
        builtin.module @nested {
          func.func @public() {
            return
          }
          func.func private @dead()
        }
        builtin.module @entered {
          func.func private @named_from_outside()
        }
        "t.op"() {r = @entered::@named_from_outside} : () -> ()
        """,
    )
