"""Dispatch functions as text for the strategies that take no contraction, small devices, and the comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from iree_base.element_types import element_type
from iree_codegen.decompose import decomposed
from iree_codegen.dispatch import Dispatch
from iree_codegen.invocation_description import InvocationDescription
from iree_codegen.kernel import Kernel
from iree_codegen.testing import check_kernel
from iree_core_ir.text.parser import parse_module
from iree_core_ir.verifier import verify

TYPES = ("f16", "f64", "i8", "i16", "i64")
SMALL = InvocationDescription(
    "test", subgroup_size=4, max_workgroup_invocations=16, max_workgroup_size=(16, 16, 1),
    max_workgroup_count=(5, 65535, 65535), subgroup_ops=("arithmetic", "shuffle"), shared_memory_bytes=4096,
    fma=True, arithmetic=TYPES, storage=TYPES,
)  # fmt: skip
DEVICES = {
    "gpu": SMALL,
    "no subgroups": replace(SMALL, subgroup_ops=(), max_workgroup_invocations=8),
    "cpu": replace(SMALL, prefers_barriers=False),
}


def function(text: str) -> Any:
    """The only function of a module text, verified."""
    module = parse_module(text)
    verify(module)
    return next(iter(module.regions[0].block))


def random(shape: tuple[int, ...], type: str = "f32", seed: int = 0) -> Any:
    """Fresh numbers of an element type: small integers, floats among them NaN and infinities when large."""
    rng = np.random.default_rng(seed)
    dtype = element_type(type).dtype
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.kind in "iu":
        return rng.integers(-9, 9, shape).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)


def check(
    text: str,
    inputs: Mapping[int, Any],
    strategy: Any,
    device: InvocationDescription,
    *,
    tolerance: float = 1e-5,
    invocations: int = 150,
    declined: bool = False,
) -> Kernel | None:
    """The kernel of ``strategy`` computes what the dispatch means; about ``invocations`` of it are run."""
    func = function(text)
    kernel: Kernel | None = strategy(Dispatch(decomposed(func)), device)
    assert (kernel is None) == declined
    if kernel is not None:
        workgroups = max(4, invocations // int(np.prod(kernel.notes["workgroup_size"])))
        check_kernel(kernel, func, inputs, device, tolerance=tolerance, workgroups=workgroups)
    return kernel


def elementwise(
    shape: tuple[int | None, ...], body: str, type: str = "f32", result: str = "", more: str = ""
) -> str:
    """``body`` computes ``%r`` from ``%x``; dynamic dims are further arguments."""
    result = result or type
    rank = len(shape)
    names = ", ".join(f"d{i}" for i in range(rank))
    dims = "x".join("?" if n is None else str(n) for n in shape)
    positions = [2 + i for i in range(sum(n is None for n in shape))]
    a, b = f"tensor<{dims}x{type}>", f"tensor<{dims}x{result}>"
    given = iter(range(1, 1 + len(positions)))
    places = ", ".join(str(next(given)) if n is None else "-1" for n in shape)
    attribute = f" {{iree.dims = [{places}]}}" if positions else ""
    sizes = "".join(f", %n{i}: index" for i in range(len(positions)))
    maps = ", ".join([f"affine_map<({names}) -> ({names})>"] * 2)
    kinds = ", ".join(['"parallel"'] * rank)
    return f"""
func.func @f(%a: {a}{attribute}{sizes}, %out: {b}{attribute}) -> {b} {{
  %0 = linalg.generic {{indexing_maps = [{maps}], iterator_types = [{kinds}]}}
      ins(%a : {a}) outs(%out : {b}) {{
  ^bb0(%x: {type}, %o: {result}):
    {body}
    linalg.yield %r : {result}
  }} -> {b}
  return %0 : {b}
}}"""


def reduction(
    op: str, type: str, shape: tuple[int, ...], dims: tuple[int, ...], initial: str, then: str = ""
) -> str:
    """``op`` over ``dims``, and ``then`` (computes ``%t`` from ``%s``) on each result."""
    rank = len(shape)
    names = [f"d{i}" for i in range(rank)]
    kept = [i for i in range(rank) if i not in dims]
    kinds = ", ".join('"reduction"' if i in dims else '"parallel"' for i in range(rank))
    full = f"affine_map<({', '.join(names)}) -> ({', '.join(names)})>"
    reduced = f"affine_map<({', '.join(names)}) -> ({', '.join(names[i] for i in kept)})>"
    outer = f"affine_map<({', '.join(names[: len(kept)])}) -> ({', '.join(names[: len(kept)])})>"
    a = f"tensor<{'x'.join(map(str, shape))}x{type}>"
    b = "tensor<" + "".join(f"{shape[i]}x" for i in kept) + f"{type}>"
    constant = initial if type == "i1" else f"{initial} : {type}"
    end = "return %r : " + b
    start = "%out"
    if then:
        start = "%e"
        end = f"""%q = linalg.generic {{indexing_maps = [{outer}, {outer}],
      iterator_types = [{", ".join(['"parallel"'] * len(kept))}]}} ins(%r : {b}) outs(%out : {b}) {{
  ^bb0(%s: {type}, %o: {type}):
    {then}
    linalg.yield %t : {type}
  }} -> {b}
  return %q : {b}"""
    return f"""
func.func @reduce(%a: {a}, %out: {b}) -> {b} {{
  %z = arith.constant {constant}
  %e = tensor.empty() : {b}
  %f = linalg.fill ins(%z : {type}) outs({start} : {b}) -> {b}
  %r = linalg.generic {{indexing_maps = [{full}, {reduced}], iterator_types = [{kinds}]}}
      ins(%a : {a}) outs(%f : {b}) {{
  ^bb0(%x: {type}, %o: {type}):
    %s = {op} %o, %x : {type}
    linalg.yield %s : {type}
  }} -> {b}
  {end}
}}"""


def softmax(shape: tuple[int, ...], dimension: int, type: str = "f32") -> str:
    t = f"tensor<{'x'.join(map(str, shape))}x{type}>"
    return f"""
func.func @softmax(%a: {t}, %out: {t}) -> {t} {{
  %r = linalg_ext.softmax dimension({dimension}) ins(%a : {t}) outs(%out : {t}) -> {t}
  return %r : {t}
}}"""
