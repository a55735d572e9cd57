"""The first use of a dialect may come from several threads at once."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import threading
from iree_core_ir.interpreter import Interpreter
from iree_core_ir.text.parser import parse_module

TEXT = '''
func.func @main(%x: f32, %n: index) -> f32 {
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  %r = scf.for %i = %zero to %n step %one iter_args(%a = %x) -> (f32) {
    %b = math.absf %a : f32
    %c = arith.addf %a, %b : f32
    scf.yield %c : f32
  }
  return %r : f32
}
'''
interpreter = Interpreter(parse_module(TEXT))
start = threading.Barrier(8)
wrong = []

def run():
    start.wait()
    try:
        if interpreter.call("main", 1.0, 3) != (8.0,):
            wrong.append("another number")
    except Exception as error:
        wrong.append(repr(error))

threads = [threading.Thread(target=run) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(*wrong)
"""


def test_meanings_are_complete_when_a_thread_gets_them() -> None:
    for _ in range(3):  # a fresh process each: meanings are imported once
        done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == ""
