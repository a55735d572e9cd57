"""What the tests of convolutions share, on planes and on blocks: sizes, and what is fused behind."""

from __future__ import annotations


class Slides:
    """A window that slides over an image: base of the cases."""

    size: tuple[int, int]
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]
    """Top, left, bottom, right."""

    @property
    def out_size(self) -> tuple[int, int]:
        low, high = self.pads[:2], self.pads[2:]
        sizes = zip(self.size, low, high, self.kernel, self.dilations, self.strides, strict=True)
        height, width = ((n + a + b - (k - 1) * d - 1) // s + 1 for n, a, b, k, d, s in sizes)
        return height, width


EPILOGUES = {
    "bias": "%r = arith.addf %x, %b : f32",
    "relu": "%s = arith.addf %x, %b : f32\n%r = arith.maximumf %s, %zero : f32",
    "relu6": "%s = arith.addf %x, %b : f32\n%t = arith.maximumf %s, %zero : f32\n%r = arith.minimumf %t, %six : f32",
    "residual": "%s = arith.addf %x, %b : f32\n%t = arith.addf %s, %y : f32\n%r = arith.maximumf %t, %zero : f32",
    "columns": "%s = arith.addf %x, %b : f32\n%r = arith.mulf %s, %c : f32",
}
"""By name: ``%r`` from the sum ``%x``, a bias ``%b``, a residual ``%y``, a factor of the column ``%c``."""
