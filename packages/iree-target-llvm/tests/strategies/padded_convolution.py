"""Sizes of a convolution whose image is padded first, and the text of that."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PaddedConvolution:
    """``batch`` images of ``size`` (height, width), ``pad`` on all sides."""

    channels: int
    filters: int
    size: tuple[int, int]
    window: tuple[int, int] = (1, 1)
    stride: int = 1
    dilation: int = 1
    pad: int = 0
    batch: int = 1

    @property
    def padded(self) -> tuple[int, int]:
        return self.size[0] + 2 * self.pad, self.size[1] + 2 * self.pad

    @property
    def out(self) -> tuple[int, int]:
        found = [
            (p - (k - 1) * self.dilation - 1) // self.stride + 1
            for p, k in zip(self.padded, self.window, strict=True)
        ]
        return found[0], found[1]

    def image(self, channels: int, size: tuple[int, int], element: str) -> str:
        """The type of images."""
        return f"tensor<{self.batch}x{channels}x{size[0]}x{size[1]}x{element}>"

    def padding(self, value: str, element: str) -> str:
        """``%p``: ``%x`` with ``value`` around it; nothing where there is no padding."""
        if not self.pad:
            return ""
        image, padded = (self.image(self.channels, size, element) for size in (self.size, self.padded))
        return f"""
  %p = tensor.pad %x low[0, 0, {self.pad}, {self.pad}] high[0, 0, {self.pad}, {self.pad}] {{
  ^bb0(%i: index, %j: index, %k: index, %l: index):
    tensor.yield {value} : {element}
  }} : {image} to {padded}"""
