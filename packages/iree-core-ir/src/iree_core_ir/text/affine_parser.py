"""Affine expressions and maps in text."""

from __future__ import annotations

from collections.abc import Callable

from iree_core_ir.ir.affine import AffineConstant, AffineDim, AffineExpr, AffineMap, AffineSymbol, combine
from iree_core_ir.text.lexer import NUMBER, WORD, Lexer

_PRODUCTS = ("*", "floordiv", "ceildiv", "mod")


class AffineParser(Lexer):
    """Adds ``affine_map`` (what stands between ``affine_map<`` and ``>``)."""

    def affine_map(self) -> AffineMap:
        names: dict[str, AffineExpr] = {}
        dims = self.comma_list(self.keyword)
        for i, name in enumerate(dims):
            self._declare(names, name, AffineDim(i))
        symbols = self.comma_list(self.keyword, "[", "]") if self.at("[") else []
        for i, name in enumerate(symbols):
            self._declare(names, name, AffineSymbol(i))
        self.expect("->")
        results = self.comma_list(lambda: self.affine_expr(names))
        return AffineMap(len(dims), len(symbols), results)

    def _declare(self, names: dict[str, AffineExpr], name: str, expr: AffineExpr) -> None:
        if name in names:
            self.fail(f"'{name}' is declared twice")
        names[name] = expr

    def affine_expr(
        self, names: dict[str, AffineExpr], leaf: Callable[[], AffineExpr] | None = None
    ) -> AffineExpr:
        """A sum; ``leaf`` parses operands that are no names, such as SSA values."""
        expr = self._product(names, leaf)
        while self.tok in ("+", "-"):
            minus = self.tok == "-"
            self.next()
            rhs = self._product(names, leaf)
            expr = expr - rhs if minus else expr + rhs
        return expr

    def _product(self, names: dict[str, AffineExpr], leaf: Callable[[], AffineExpr] | None) -> AffineExpr:
        expr = self._operand(names, leaf)
        while self.tok in _PRODUCTS:
            kind = self.tok
            self.next()
            rhs = self._operand(names, leaf)
            if kind != "*" and isinstance(rhs, AffineConstant) and rhs.value <= 0:
                self.fail_at_previous(f"{kind} by a number that is not positive")
            expr = combine(kind, expr, rhs)
        return expr

    def _operand(self, names: dict[str, AffineExpr], leaf: Callable[[], AffineExpr] | None) -> AffineExpr:
        if self.accept("-"):
            return -self._operand(names, leaf)
        if self.accept("("):
            expr = self.affine_expr(names, leaf)
            self.expect(")")
            return expr
        if self.kind == NUMBER:
            return AffineConstant(self.integer())
        if self.kind == WORD and self.tok in names:
            return names[self.keyword()]
        if leaf is not None:
            return leaf()
        return self.fail(f"expected an affine expression, got {self.shown()}")
