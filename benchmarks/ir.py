"""What the IR costs, beside xdsl: parse, build, verify, print, passes, large constants.

    python benchmarks/ir.py [--json] [--no-xdsl]

CPU time, best of several runs, each in a process that does nothing else. ``budget`` is what the
project promises; the script fails when one is missed.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SIZES = (1_000, 10_000, 100_000)
MB = 1 << 20


def arith_module(n: int) -> str:
    """Pretty text of a function of ``n`` ops: a tenth constants, the rest binary."""
    kinds = ("arith.addf", "arith.mulf", "arith.subf", "arith.maximumf")
    lines = ["builtin.module {", "  func.func @f(%a: f32, %b: f32) -> f32 {"]
    last, before = "%b", "%a"
    for i in range(n - 1):
        name = f"%v{i}"
        if i % 10 == 0:
            lines.append(f"    {name} = arith.constant {i}.5 : f32")
        else:
            lines.append(f"    {name} = {kinds[i % 4]} {last}, {before} : f32")
        last, before = name, last
    lines += [f"    func.return {last} : f32", "  }", "}"]
    return "\n".join(lines) + "\n"


def best(function: Callable[[], Any], runs: int = 5) -> float:
    """Seconds of CPU time, the least of ``runs``."""
    times = []
    for _ in range(runs):
        gc.collect()
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


# -- measurements; each runs in its own process --------------------------------------------------


def parse_ours(n: int = 10_000) -> float:
    from iree_core_ir.text.parser import parse_module

    text = arith_module(n)
    parse_module(text)
    return best(lambda: parse_module(text))


def parse_xdsl(n: int = 10_000) -> float:
    from xdsl.context import Context
    from xdsl.dialects import arith, builtin, func
    from xdsl.parser import Parser

    text = arith_module(n)

    def parse() -> None:
        context = Context()
        for dialect in (builtin.Builtin, arith.Arith, func.Func):
            context.load_dialect(dialect)
        Parser(context, text).parse_module()

    return best(parse, 3)


def create_ours(n: int = 10_000) -> float:
    from iree_core_ir.dialects import arith
    from iree_core_ir.ir.builder import Builder
    from iree_core_ir.ir.operation import Block, Value
    from iree_core_ir.ir.types import f32

    def create() -> None:
        block = Block([f32, f32])
        builder = Builder(block)
        x: Value = block.args[0]
        y: Value = block.args[1]
        for _ in range(n):
            x, y = y, builder.create(arith.AddF, x, y).results[0]

    return best(create) / n


def create_xdsl(n: int = 10_000) -> float:
    from xdsl.builder import Builder
    from xdsl.dialects.arith import AddfOp
    from xdsl.dialects.builtin import f32
    from xdsl.ir import Block
    from xdsl.rewriter import InsertPoint

    def create() -> None:
        block = Block(arg_types=[f32, f32])
        builder = Builder(InsertPoint.at_end(block))
        x: Any = block.args[0]
        y: Any = block.args[1]
        for _ in range(n):
            x, y = y, builder.insert(AddfOp(x, y)).results[0]

    return best(create, 3) / n


def scaling() -> dict[str, list[float]]:
    """Microseconds per op for each size of module."""
    from iree_core_ir.garbage import frozen_gc
    from iree_core_ir.pass_manager import PassContext, PassManager
    from iree_core_ir.text.parser import parse_module
    from iree_core_ir.text.printer import print_op
    from iree_core_ir.verifier import verify

    def cloned(module: Any) -> Any:
        with frozen_gc():  # as inside a pass
            return module.clone()

    rows: dict[str, list[float]] = {}
    for n in SIZES:
        text = arith_module(n)
        module = parse_module(text)
        context = PassContext()

        def transformed(pipeline: str, text: str = text, context: PassContext = context) -> float:
            times = []
            for _ in range(3):
                fresh = parse_module(text)
                gc.collect()
                start = time.process_time()
                PassManager.parse(pipeline, verify_end=False).run(fresh, context)
                times.append(time.process_time() - start)
            return min(times)

        seconds = {
            "parse": best(lambda text=text: parse_module(text), 3),  # type: ignore[misc]
            "print": best(lambda module=module: print_op(module), 3),  # type: ignore[misc]
            "verify": best(lambda module=module: verify(module), 3),  # type: ignore[misc]
            "clone": best(lambda module=module: cloned(module), 3),  # type: ignore[misc]
            "cse": transformed("cse"),
            "canonicalize": transformed("canonicalize"),
            "dce": transformed("dce"),
        }
        for name, value in seconds.items():
            rows.setdefault(name, []).append(value / n * 1e6)
    return rows


CONSTANT_PIPELINE = "canonicalize,cse,licm,inline,dce,symbol-dce"


def _constant_module(megabytes: int, folder: str) -> tuple[Any, Any]:
    """A module of 1,000 ops that uses a constant of ``megabytes`` kept in a file."""
    from iree_core_ir.constants import ConstantStore
    from iree_core_ir.text.parser import parse_module

    path = Path(folder) / "weights.bin"
    with open(path, "wb") as file:
        file.truncate(megabytes * MB)
    store = ConstantStore()
    store.add_file(path, 0, (megabytes * MB // 4,), "f32", "w")
    type = f"tensor<{megabytes * MB // 4}xf32>"
    text = arith_module(1000).replace(
        "    func.return",
        f"    %w = arith.constant dense_resource<w> : {type}\n"
        f"    %c = arith.constant 0 : index\n"
        f"    %e = tensor.extract %w[%c] : {type}\n"
        "    %sum = arith.addf %e, %a : f32\n    func.call @use(%sum) : (f32) -> ()\n    func.return",
    )
    text = text.replace("builtin.module {\n", "builtin.module {\n  func.func private @use(f32)\n")
    return parse_module(text), store


def constant_cost(megabytes: int) -> dict[str, float]:
    """Peak memory in MB and seconds of passes, writing of all constants included."""
    from iree_core_ir.pass_manager import PassContext, PassManager

    with tempfile.TemporaryDirectory() as folder:
        times = []
        for _ in range(5):
            module, store = _constant_module(megabytes, folder)
            start = time.process_time()
            PassManager.parse(CONSTANT_PIPELINE).run(module, PassContext(constants=store))
            times.append(time.process_time() - start)
        key = store.add_transform("reshape", ["w"], (megabytes * MB // 4096, 1024), "f32")
        for name in ("w", key):
            with open(Path(folder) / "out.bin", "wb") as file:
                for chunk in store.chunks(name):
                    file.write(chunk)
        store.digest("w")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"peak_mb": peak, "pass_seconds": min(times)}


# -- the report -----------------------------------------------------------------------------------


def measure(name: str, *arguments: int) -> Any:
    """Run a measurement above in a fresh process."""
    call = f"{name}({', '.join(map(str, arguments))})"
    code = f"import sys, json; sys.path.insert(0, {str(Path(__file__).parent)!r}); from ir import *; "
    out = subprocess.run(
        [sys.executable, "-c", code + f"print(json.dumps({call}))"],
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(out.stdout)


def collect(with_xdsl: bool) -> dict[str, Any]:
    report: dict[str, Any] = {
        "parse_10k_seconds": measure("parse_ours"),
        "create_binary_us": measure("create_ours") * 1e6,
        "us_per_op": measure("scaling"),
    }
    small, large = measure("constant_cost", 1), measure("constant_cost", 101)
    report["constant_100mb_peak_mb"] = large["peak_mb"] - small["peak_mb"]
    report["constant_pass_seconds"] = [small["pass_seconds"], large["pass_seconds"]]
    if with_xdsl:
        report["xdsl_parse_10k_seconds"] = measure("parse_xdsl")
        report["xdsl_create_binary_us"] = measure("create_xdsl") * 1e6
    return report


def budgets(report: dict[str, Any]) -> list[tuple[str, float, float]]:
    """(what, measured, at most)."""
    rows = [
        ("peak memory a 100 MB constant adds (MB)", report["constant_100mb_peak_mb"], 5.0),
        (
            "pass time with 101 MB over with 1 MB",
            report["constant_pass_seconds"][1] / report["constant_pass_seconds"][0],
            1.25,
        ),
    ]
    if "xdsl_parse_10k_seconds" in report:
        rows += [
            ("parse over xdsl", report["parse_10k_seconds"] / report["xdsl_parse_10k_seconds"], 0.2),
            ("create over xdsl", report["create_binary_us"] / report["xdsl_create_binary_us"], 0.2),
        ]
    rows += [
        (f"{name}: us/op at 100k over 1k", costs[-1] / costs[0], 2.0)
        for name, costs in report["us_per_op"].items()
    ]
    return rows


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--json", action="store_true", help="print the figures as JSON")
    arguments.add_argument("--no-xdsl", action="store_true", help="leave xdsl out")
    options = arguments.parse_args()
    report = collect(not options.no_xdsl)
    rows = budgets(report)
    if options.json:
        print(json.dumps({**report, "budgets": [[*row, row[1] <= row[2]] for row in rows]}, indent=1))
    else:
        print(f"parse 10,000 ops        {report['parse_10k_seconds'] * 1e3:8.1f} ms")
        print(f"create a binary op      {report['create_binary_us']:8.2f} us")
        if "xdsl_parse_10k_seconds" in report:
            print(f"xdsl: parse             {report['xdsl_parse_10k_seconds'] * 1e3:8.1f} ms")
            print(f"xdsl: create            {report['xdsl_create_binary_us']:8.2f} us")
        print(f"\n{'us per op at':<16}" + "".join(f"{n:>10,}" for n in SIZES))
        for name, costs in report["us_per_op"].items():
            print(f"{name:<16}" + "".join(f"{c:>10.2f}" for c in costs))
        print(f"\n{'budget':<44}{'measured':>10}{'at most':>10}")
        for what, value, limit in rows:
            print(f"{what:<44}{value:>10.3f}{limit:>10.3f}  {'ok' if value <= limit else 'MISSED'}")
    return 0 if all(value <= limit for _, value, limit in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
