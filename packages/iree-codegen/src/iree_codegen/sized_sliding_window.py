"""Sliding windows over images whose size is known when the dispatch runs.

Tiles that lie inside of the image are as in static kernels. Those at a border skip the input rows outside
by a branch each, and mask the columns outside of their loads and stores.
"""

from __future__ import annotations

from iree_codegen.dims import Dim
from iree_codegen.dispatch import Dispatch
from iree_codegen.image_columns import load_columns
from iree_codegen.kernel import Kernel
from iree_codegen.kernel_builder import Index
from iree_codegen.sliding_tiles import SlidingTiles
from iree_codegen.window import Window
from iree_codegen.workgroup_description import WorkgroupDescription
from iree_core_ir.ir.operation import Value

POSITIONS = 1 << 12
"""Elements an output plane is taken to have when work is shared out."""


def sized_sliding_window(
    dispatch: Dispatch, description: WorkgroupDescription, window: Window[Dim]
) -> Kernel:
    """The kernel for ``window``, whose sizes may be dims."""
    return _Emitter(dispatch, description, window).emit()


class _Emitter(SlidingTiles[Dim]):
    def emit(self) -> Kernel:
        k, w = self.kernel, self.window
        self.height, self.width = k.dim(w.height), k.dim(w.width)
        self.out_height, self.out_width = k.dim(w.out_height), k.dim(w.out_width)
        return self.run(POSITIONS, k.mul(self.height, self.width))

    def emit_channel(self) -> None:
        k = self.kernel
        k.loop(0, self.out_height, self.rows, (), self._tile_row)

    def _tile_row(self, y: Index) -> None:
        k, w, lanes = self.kernel, self.window, self.lanes
        sy, sx = w.strides
        top = k.add(k.mul(y, sy), -w.pad[0])
        bottom = k.add(top, (self.rows - 1) * sy + max(t for t, _ in w.taps))
        rows_inside = self._all(
            k.compare("sge", top, 0),
            k.compare("slt", bottom, self.height),
            k.compare("sle", k.add(y, self.rows), self.out_height),
        )

        def columns(x: Index) -> None:
            left = k.add(k.mul(x, sx), -w.pad[1])
            # Strided loads come in pairs of vectors.
            right = k.add(left, max(t for _, t in w.taps) + sx * lanes - 1)
            inside = self._all(
                rows_inside,
                k.compare("sge", left, 0),
                k.compare("slt", right, self.width),
                k.compare("sle", k.add(x, lanes), self.out_width),
            )
            k.if_(inside, lambda: self._inner(y, x, top, left), lambda: self._border(y, x, top, left))

        k.loop(0, self.out_width, lanes, (), columns)

    def _all(self, *conditions: Value) -> Value:
        result = conditions[0]
        for other in conditions[1:]:
            result = self.kernel.binary("arith.andi", result, other)
        return result

    def _uses(self, row: int) -> list[tuple[int, int, int]]:
        """(output row, tap, column) of everything that reads input row ``row`` of a tile."""
        sy = self.window.strides[0]
        found = []
        for t, (ty, tx) in enumerate(self.window.taps):
            r, rest = divmod(row - ty, sy)
            if not rest and 0 <= r < self.rows:
                found.append((r, t, tx))
        return found

    def _input_rows(self) -> list[int]:
        w = self.window
        return sorted({r * w.strides[0] + ty for r in range(self.rows) for ty, _ in w.taps})

    def _line(self, top: Index, left: Index, row: int) -> Index:
        """The element of input row ``row`` below ``top`` that column ``left`` is."""
        k = self.kernel
        return k.add(self.base, k.add(k.mul(k.add(top, row), self.width), left))

    def _inner(self, y: Index, x: Index, top: Index, left: Index) -> None:
        k = self.kernel
        sums: list[Value] = [k.splat(self.rest, self.lanes)] * self.rows
        started = [False] * self.rows
        for row in self._input_rows():
            line = self._line(top, left, row)
            loaded: dict[int, Value] = {}
            for r, tap, tx in self._uses(row):
                if tx not in loaded:
                    loaded[tx] = self._load(k.add(line, tx), None)
                sums[r] = self.combine(sums[r], loaded[tx], tap, started[r])
                started[r] = True
        for r, total in enumerate(sums):
            self.store(total, k.add(y, r), x, None)

    def _border(self, y: Index, x: Index, top: Index, left: Index) -> None:
        k, lanes = self.kernel, self.lanes
        sums: list[Value] = [k.splat(self.rest, lanes)] * self.rows
        for row in self._input_rows():

            def used(row: int = row, sums: list[Value] = sums) -> list[Value]:
                line = self._line(top, left, row)
                found = list(sums)
                loaded: dict[int, Value] = {}
                for r, tap, tx in self._uses(row):
                    if tx not in loaded:
                        loaded[tx] = self._load(k.add(line, tx), k.add(left, tx))
                    found[r] = self.combine(found[r], loaded[tx], tap, True)
                return found

            kept = sums
            sums = k.if_(k.compare("ult", k.add(top, row), self.height), used, lambda kept=kept: kept)  # type: ignore[misc]
        mask = k.mask_below(k.sub(self.out_width, x), lanes)
        for r, total in enumerate(sums):

            def stored(r: int = r, total: Value = total) -> None:
                self.store(total, k.add(y, r), x, mask)

            k.if_(k.compare("slt", k.add(y, r), self.out_height), stored)

    def _load(self, at: Index, first: Index | None) -> Value:
        """The input of one tap for all lanes; ``first``: lane 0's column, where some may lie outside."""
        border = None if first is None else (first, self.width, self.rest)
        return load_columns(self.kernel, self.source, at, self.window.strides[1], self.lanes, border)
