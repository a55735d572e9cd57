"""Convolutions and pooling: the window ops of ``linalg``, named by their layouts as in MLIR.

Letters: n batch, c input channels, f output channels, g groups, m channel multiplier, d h w space. The op
does not pad: along each window the input must have ``(out - 1) * stride + (kernel - 1) * dilation + 1``
elements or more.
"""

from __future__ import annotations

from typing import ClassVar

from iree_core_ir.dialects import linalg_scalars as scalars
from iree_core_ir.dialects.linalg_named import WindowOp
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Value


class Convolution(WindowOp):
    """out += cast(input) * cast(kernel), in the output's type."""

    def build_body(self, builder: Builder, *values: Value) -> Value:
        a, b, out = values
        product = scalars.mul(builder, scalars.cast(builder, a, out.type), scalars.cast(builder, b, out.type))
        return scalars.add(builder, out, product)


class QuantizedConvolution(WindowOp):
    """out += (cast(input) - zero_input) * (cast(kernel) - zero_kernel); zero points are i32 scalars."""

    def build_body(self, builder: Builder, *values: Value) -> Value:
        a, b, zero_a, zero_b, out = values
        centred = [
            scalars.sub(builder, scalars.cast(builder, v, out.type), scalars.cast(builder, zero, out.type))
            for v, zero in ((a, zero_a), (b, zero_b))
        ]
        return scalars.add(builder, out, scalars.mul(builder, *centred))


class Pooling(WindowOp):
    """out = combine(out, cast(input)) over the window; the second input gives only the window's shape."""

    combine: ClassVar[scalars.Scalar]
    unsigned: ClassVar[bool] = False

    def build_body(self, builder: Builder, *values: Value) -> Value:
        value, _, out = values
        cast = scalars.cast(builder, value, out.type, self.unsigned)
        return type(self).combine(builder, out, cast)


class SumPooling(Pooling):
    """Sum over the window."""

    combine = staticmethod(scalars.add)


class MaxPooling(Pooling):
    """Signed maximum over the window; NaN wins."""

    combine = staticmethod(scalars.max_signed)


class MinPooling(Pooling):
    """Signed minimum over the window; NaN wins."""

    combine = staticmethod(scalars.min_signed)


class UnsignedMaxPooling(Pooling):
    """Unsigned maximum over the window."""

    combine = staticmethod(scalars.max_unsigned)
    unsigned = True


class UnsignedMinPooling(Pooling):
    """Unsigned minimum over the window."""

    combine = staticmethod(scalars.min_unsigned)
    unsigned = True


# Loop order is MLIR's, so that generalized ops match its tests.


class Conv1D(Convolution, name="linalg.conv_1d", loops="ow kw", subscripts="ow@kw, kw -> ow"):
    """Input W, kernel W."""


class Conv2D(
    Convolution, name="linalg.conv_2d", loops="oh ow kh kw", subscripts="oh@kh ow@kw, kh kw -> oh ow"
):
    """Input HW, kernel HW."""


class Conv3D(
    Convolution,
    name="linalg.conv_3d",
    loops="od oh ow kd kh kw",
    subscripts="od@kd oh@kh ow@kw, kd kh kw -> od oh ow",
):
    """Input DHW, kernel DHW."""


class Conv1DNwcWcf(
    Convolution,
    name="linalg.conv_1d_nwc_wcf",
    loops="n ow f kw c",
    subscripts="n ow@kw c, kw c f -> n ow f",
):
    """Input NWC, kernel WCF, output NWF."""


class Conv1DNcwFcw(
    Convolution,
    name="linalg.conv_1d_ncw_fcw",
    loops="n f ow c kw",
    subscripts="n c ow@kw, f c kw -> n f ow",
):
    """Input NCW, kernel FCW, output NFW."""


class Conv2DNhwcHwcf(
    Convolution,
    name="linalg.conv_2d_nhwc_hwcf",
    loops="n oh ow f kh kw c",
    subscripts="n oh@kh ow@kw c, kh kw c f -> n oh ow f",
):
    """Input NHWC, kernel HWCF, output NHWF."""


class Conv2DNhwcFhwc(
    Convolution,
    name="linalg.conv_2d_nhwc_fhwc",
    loops="n oh ow f kh kw c",
    subscripts="n oh@kh ow@kw c, f kh kw c -> n oh ow f",
):
    """Input NHWC, kernel FHWC, output NHWF."""


class Conv2DNchwFchw(
    Convolution,
    name="linalg.conv_2d_nchw_fchw",
    loops="n f oh ow c kh kw",
    subscripts="n c oh@kh ow@kw, f c kh kw -> n f oh ow",
):
    """Input NCHW, kernel FCHW, output NFHW."""


class Conv2DNgchwFgchw(
    Convolution,
    name="linalg.conv_2d_ngchw_fgchw",
    loops="n g fg oh ow c kh kw",
    subscripts="n g c oh@kh ow@kw, fg g c kh kw -> n g fg oh ow",
):
    """Grouped: input [N, G, C/G, H, W], kernel [F/G, G, C/G, KH, KW], output [N, G, F/G, OH, OW].

    ONNX's and torch's weights, reshaped to [G, F/G, C/G, KH, KW], are ``conv_2d_ngchw_gfchw``'s kernel.
    """


class Conv2DNgchwGfchw(
    Convolution,
    name="linalg.conv_2d_ngchw_gfchw",
    loops="n g fg oh ow c kh kw",
    subscripts="n g c oh@kh ow@kw, g fg c kh kw -> n g fg oh ow",
):
    """Grouped: input [N, G, C/G, H, W], kernel [G, F/G, C/G, KH, KW], output [N, G, F/G, OH, OW]."""


class Conv2DNhwgcGfhwc(
    Convolution,
    name="linalg.conv_2d_nhwgc_gfhwc",
    loops="n oh ow g fg kh kw c",
    subscripts="n oh@kh ow@kw g c, g fg kh kw c -> n oh ow g fg",
):
    """Grouped: input [N, H, W, G, C/G], kernel [G, F/G, KH, KW, C/G], output [N, OH, OW, G, F/G]."""


class Conv2DNhwcHwcfQ(
    QuantizedConvolution,
    name="linalg.conv_2d_nhwc_hwcf_q",
    loops="n oh ow f kh kw c",
    subscripts="n oh@kh ow@kw c, kh kw c f, , -> n oh ow f",
):
    """Quantized: input NHWC, kernel HWCF, output NHWF."""


class Conv2DNhwcFhwcQ(
    QuantizedConvolution,
    name="linalg.conv_2d_nhwc_fhwc_q",
    loops="n oh ow f kh kw c",
    subscripts="n oh@kh ow@kw c, f kh kw c, , -> n oh ow f",
):
    """Quantized: input NHWC, kernel FHWC, output NHWF."""


class Conv2DNchwFchwQ(
    QuantizedConvolution,
    name="linalg.conv_2d_nchw_fchw_q",
    loops="n f oh ow c kh kw",
    subscripts="n c oh@kh ow@kw, f c kh kw, , -> n f oh ow",
):
    """Quantized: input NCHW, kernel FCHW, output NFHW."""


class Conv3DNdhwcDhwcf(
    Convolution,
    name="linalg.conv_3d_ndhwc_dhwcf",
    loops="n od oh ow f kd kh kw c",
    subscripts="n od@kd oh@kh ow@kw c, kd kh kw c f -> n od oh ow f",
):
    """Input NDHWC, kernel DHWCF, output NDHWF."""


class Conv3DNcdhwFcdhw(
    Convolution,
    name="linalg.conv_3d_ncdhw_fcdhw",
    loops="n od oh ow f kd kh kw c",
    subscripts="n c od@kd oh@kh ow@kw, f c kd kh kw -> n f od oh ow",
):
    """Input NCDHW, kernel FCDHW, output NFDHW."""


class DepthwiseConv1DNwcWc(
    Convolution,
    name="linalg.depthwise_conv_1d_nwc_wc",
    loops="n ow c kw",
    subscripts="n ow@kw c, kw c -> n ow c",
):
    """Input NWC, kernel WC, output NWC."""


class DepthwiseConv1DNcwCw(
    Convolution,
    name="linalg.depthwise_conv_1d_ncw_cw",
    loops="n ow c kw",
    subscripts="n c ow@kw, c kw -> n c ow",
):
    """Input NCW, kernel CW, output NCW."""


class DepthwiseConv1DNwcWcm(
    Convolution,
    name="linalg.depthwise_conv_1d_nwc_wcm",
    loops="n ow c m kw",
    subscripts="n ow@kw c, kw c m -> n ow c m",
):
    """With multiplier: input NWC, kernel WCM, output NWCM."""


class DepthwiseConv2DNhwcHwc(
    Convolution,
    name="linalg.depthwise_conv_2d_nhwc_hwc",
    loops="n oh ow c kh kw",
    subscripts="n oh@kh ow@kw c, kh kw c -> n oh ow c",
):
    """Input NHWC, kernel HWC, output NHWC."""


class DepthwiseConv2DNchwChw(
    Convolution,
    name="linalg.depthwise_conv_2d_nchw_chw",
    loops="n oh ow c kh kw",
    subscripts="n c oh@kh ow@kw, c kh kw -> n c oh ow",
):
    """Input NCHW, kernel CHW, output NCHW."""


class DepthwiseConv2DNhwcHwcm(
    Convolution,
    name="linalg.depthwise_conv_2d_nhwc_hwcm",
    loops="n oh ow c m kh kw",
    subscripts="n oh@kh ow@kw c, kh kw c m -> n oh ow c m",
):
    """With multiplier: input NHWC, kernel HWCM, output NHWCM."""


class DepthwiseConv2DNhwcHwcQ(
    QuantizedConvolution,
    name="linalg.depthwise_conv_2d_nhwc_hwc_q",
    loops="n oh ow c kh kw",
    subscripts="n oh@kh ow@kw c, kh kw c, , -> n oh ow c",
):
    """Quantized: input NHWC, kernel HWC, output NHWC."""


class DepthwiseConv2DNhwcHwcmQ(
    QuantizedConvolution,
    name="linalg.depthwise_conv_2d_nhwc_hwcm_q",
    loops="n oh ow c m kh kw",
    subscripts="n oh@kh ow@kw c, kh kw c m, , -> n oh ow c m",
):
    """Quantized with multiplier: input NHWC, kernel HWCM, output NHWCM."""


class DepthwiseConv3DNdhwcDhwc(
    Convolution,
    name="linalg.depthwise_conv_3d_ndhwc_dhwc",
    loops="n od oh ow kd kh kw c",
    subscripts="n od@kd oh@kh ow@kw c, kd kh kw c -> n od oh ow c",
):
    """Input NDHWC, kernel DHWC, output NDHWC."""


class DepthwiseConv3DNcdhwCdhw(
    Convolution,
    name="linalg.depthwise_conv_3d_ncdhw_cdhw",
    loops="n od oh ow kd kh kw c",
    subscripts="n c od@kd oh@kh ow@kw, c kd kh kw -> n c od oh ow",
):
    """Input NCDHW, kernel CDHW, output NCDHW."""


class DepthwiseConv3DNdhwcDhwcm(
    Convolution,
    name="linalg.depthwise_conv_3d_ndhwc_dhwcm",
    loops="n od oh ow m kd kh kw c",
    subscripts="n od@kd oh@kh ow@kw c, kd kh kw c m -> n od oh ow c m",
):
    """With multiplier: input NDHWC, kernel DHWCM, output NDHWCM."""


_NWC = {"loops": "n ow c kw", "subscripts": "n ow@kw c, kw -> n ow c"}
_NCW = {"loops": "n c ow kw", "subscripts": "n c ow@kw, kw -> n c ow"}
_NHWC = {"loops": "n oh ow c kh kw", "subscripts": "n oh@kh ow@kw c, kh kw -> n oh ow c"}
_NCHW = {"loops": "n c oh ow kh kw", "subscripts": "n c oh@kh ow@kw, kh kw -> n c oh ow"}
_NDHWC = {
    "loops": "n od oh ow c kd kh kw",
    "subscripts": "n od@kd oh@kh ow@kw c, kd kh kw -> n od oh ow c",
}


class PoolingNwcSum(SumPooling, name="linalg.pooling_nwc_sum", **_NWC):
    """Sum pooling of NWC."""


class PoolingNcwSum(SumPooling, name="linalg.pooling_ncw_sum", **_NCW):
    """Sum pooling of NCW."""


class PoolingNwcMax(MaxPooling, name="linalg.pooling_nwc_max", **_NWC):
    """Max pooling of NWC."""


class PoolingNwcMaxUnsigned(UnsignedMaxPooling, name="linalg.pooling_nwc_max_unsigned", **_NWC):
    """Unsigned max pooling of NWC."""


class PoolingNcwMax(MaxPooling, name="linalg.pooling_ncw_max", **_NCW):
    """Max pooling of NCW."""


class PoolingNwcMin(MinPooling, name="linalg.pooling_nwc_min", **_NWC):
    """Min pooling of NWC."""


class PoolingNwcMinUnsigned(UnsignedMinPooling, name="linalg.pooling_nwc_min_unsigned", **_NWC):
    """Unsigned min pooling of NWC."""


class PoolingNhwcSum(SumPooling, name="linalg.pooling_nhwc_sum", **_NHWC):
    """Sum pooling of NHWC."""


class PoolingNchwSum(SumPooling, name="linalg.pooling_nchw_sum", **_NCHW):
    """Sum pooling of NCHW."""


class PoolingNhwcMax(MaxPooling, name="linalg.pooling_nhwc_max", **_NHWC):
    """Max pooling of NHWC."""


class PoolingNhwcMaxUnsigned(UnsignedMaxPooling, name="linalg.pooling_nhwc_max_unsigned", **_NHWC):
    """Unsigned max pooling of NHWC."""


class PoolingNchwMax(MaxPooling, name="linalg.pooling_nchw_max", **_NCHW):
    """Max pooling of NCHW."""


class PoolingNhwcMin(MinPooling, name="linalg.pooling_nhwc_min", **_NHWC):
    """Min pooling of NHWC."""


class PoolingNhwcMinUnsigned(UnsignedMinPooling, name="linalg.pooling_nhwc_min_unsigned", **_NHWC):
    """Unsigned min pooling of NHWC."""


class PoolingNdhwcSum(SumPooling, name="linalg.pooling_ndhwc_sum", **_NDHWC):
    """Sum pooling of NDHWC."""


class PoolingNdhwcMax(MaxPooling, name="linalg.pooling_ndhwc_max", **_NDHWC):
    """Max pooling of NDHWC."""


class PoolingNdhwcMin(MinPooling, name="linalg.pooling_ndhwc_min", **_NDHWC):
    """Min pooling of NDHWC."""
