"""ONNX file, bytes or ModelProto -> ``ModelFile``: the graph as messages, the weights where they lie.

``TensorData`` says where the elements of a tensor are: in the model file itself, in an external data file
beside it, or in the caller's bytes, so that the ConstantStore can map them without a copy. Damage of any kind
ends in an OnnxError, never in a crash. The package ``onnx`` is imported only for what is rare: elements of
less than a byte whose rows do not begin with one, data in fields that are hardly ever used, and models that
are given as ModelProto.
"""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from iree_base.element_types import ElementType
from iree_base.packed_rows import from_bytes, packed_bytes
from iree_base.records import record
from iree_input_onnx.elements import from_code, to_code
from iree_input_onnx.errors import (
    CANNOT_READ,
    DAMAGED,
    EXTERNAL_DATA,
    INVALID_GRAPH,
    INVALID_TENSOR,
    NOT_ONNX,
    UNSUPPORTED_TYPE,
    VERSION,
    OnnxError,
)
from iree_input_onnx.messages import Model, SparseTensor, Tensor, integers

OLDEST_OPSET = 7
NEWEST_OPSET = 28
"""The newest operator set whose definitions the lowering table was checked against."""
NEWEST_FORMAT = 14
"""The newest version of the file format (``onnx.IR_VERSION``) that is known."""

MIN_BYTES = 1024
"""Data of a model file that is smaller is read at once."""
EXTERNAL = 1
"""``TensorProto.DataLocation`` of data in another file."""

_FIELDS = {
    "f32": "float_data",
    "complex<f32>": "float_data",
    "f64": "double_data",
    "complex<f64>": "double_data",
    "i64": "int64_data",
    "i32": "int32_data",
}
"""Element type -> the field of a tensor that holds its elements where ``raw_data`` does not."""
_PACKED_INTEGERS = ("int64_data", "int32_data")
_FEW_BYTES = 1 << 16
"""More packed integers than these are left to the protobuf library, which reads them faster."""

MAX_RANK = 32
_MAX_SPARSE_ELEMENTS = 1 << 28
_NOT_ONNX_HINT = "pass a .onnx file as an ONNX exporter writes it"


@record(frozen=True)
class TensorData:
    """Where the elements of a constant tensor are: in ``array``, or in ``path`` from byte ``offset`` on."""

    element: ElementType
    shape: tuple[int, ...]
    array: np.ndarray[Any, Any] | None = None
    path: Path | None = None
    offset: int = 0

    @property
    def n_elements(self) -> int:
        return math.prod(self.shape)

    def to_array(self) -> np.ndarray[Any, Any]:
        """The elements; those of a file are copied."""
        if self.array is not None:
            return self.array
        assert self.path is not None
        count = packed_bytes(self.shape, self.element)
        return from_bytes(
            np.fromfile(self.path, np.uint8, count, offset=self.offset), self.shape, self.element
        )


@record
class ModelFile:
    """A model. ``proto`` holds no large data; ask ``tensor`` for the elements of a tensor."""

    proto: Model
    path: Path | None
    view: memoryview | None
    """The serialized model; None when it came as a ModelProto."""

    @property
    def directory(self) -> Path:
        return self.path.parent if self.path is not None else Path()

    @property
    def name(self) -> str:
        """How locations and messages call the model."""
        return self.path.name if self.path is not None else (self.proto.graph.name or "model")

    def tensor(self, tensor: Tensor, where: str) -> TensorData:
        """The elements of ``tensor``; ``where`` names it in errors (OnnxError 7, 8, 9)."""
        element = from_code(tensor.data_type, where)
        shape = _shape(tensor.dims, where)
        if tensor.data_location == EXTERNAL:
            return self._external(tensor, element, shape, where)
        if tensor.has("segment"):
            raise OnnxError(UNSUPPORTED_TYPE, "tensor in segments", source=where)
        if not isinstance(tensor.origin, memoryview) or tensor.scattered:
            return _by_onnx(tensor.origin, element, shape, where)
        field = "raw_data" if tensor.has("raw_data") else _FIELDS.get(element.name, "")
        if not tensor.has(field):
            if 0 in shape:
                return TensorData(element, shape, np.zeros(shape, element.dtype))
            return _by_onnx(tensor.origin, element, shape, where)
        offset, view = getattr(tensor, field)
        if field in _PACKED_INTEGERS:
            if len(view) > _FEW_BYTES:
                return _by_onnx(tensor.origin, element, shape, where)
            array = np.array(integers(view, 0, len(view)), np.int64).astype(element.dtype)
            return TensorData(element, shape, _shaped(array, shape, where))
        if len(view) != _n_bytes(shape, element):
            text = f"{len(view)} bytes for shape {list(shape)} of {element.name}"
            raise OnnxError(INVALID_TENSOR, text, source=where)
        # Small data is read at once; that of a function of the standard is in no file.
        in_file = len(view) >= MIN_BYTES and self.view is not None and view.obj is self.view.obj
        return self._placed(self.path if in_file else None, view, offset, element, shape, where)

    def _external(
        self, tensor: Tensor, element: ElementType, shape: tuple[int, ...], where: str
    ) -> TensorData:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        count = math.prod(shape)
        nbytes = _n_bytes(shape, element)
        try:
            offset = int(entries.get("offset") or 0)
            length = int(entries["length"]) if entries.get("length") else nbytes
        except ValueError:
            raise OnnxError(
                INVALID_TENSOR, "offset or length of its data is no number", source=where
            ) from None
        if length != nbytes or offset < 0:
            text = f"{length} bytes at {offset} for {count} elements of {element.name}"
            raise OnnxError(INVALID_TENSOR, text, source=where, cause=f"{nbytes} bytes are needed")
        path = self._external_path(entries.get("location", ""), where)
        size = path.stat().st_size
        if offset + nbytes > size:
            text = f"bytes {offset} to {offset + nbytes} of '{path}', which has {size}"
            raise OnnxError(EXTERNAL_DATA, text, source=where, hint="fetch the data file again")
        return self._placed(path, None, offset, element, shape, where)

    def _placed(
        self,
        path: Path | None,
        view: memoryview | None,
        offset: int,
        element: ElementType,
        shape: tuple[int, ...],
        where: str,
    ) -> TensorData:
        """Elements that lie in a file from ``offset`` on; without ``path``, in the bytes ``view``."""
        packed = element.kind in "iu" and element.bits < 8
        # In ONNX, rows of elements of less than a byte do not begin with a byte; some happen to.
        in_place = not packed or math.prod(shape[:-1]) == 1 or shape[-1] * element.bits % 8 == 0
        if path is not None and in_place and element.kind != "b":
            return TensorData(element, shape, None, path, offset)
        if view is not None:
            raw: Any = np.frombuffer(view, np.uint8)
            if self.path is not None:
                raw = raw.copy()  # small; the file need not stay mapped
        else:
            assert path is not None
            raw = np.fromfile(path, np.uint8, _n_bytes(shape, element), offset=offset)
        if packed:
            import onnx

            proto = onnx.TensorProto(data_type=to_code(element), dims=shape, raw_data=raw.tobytes())
            return _by_onnx(proto, element, shape, where)
        if element.kind == "b":
            return TensorData(element, shape, (raw != 0).reshape(shape))
        return TensorData(element, shape, raw.view(element.dtype).reshape(shape))

    def _external_path(self, location: str, where: str) -> Path:
        """The data file, which must lie in the model's directory or below."""
        pure = Path(location)
        if not location or "\0" in location or pure.is_absolute() or ".." in pure.parts:
            raise OnnxError(
                EXTERNAL_DATA, repr(location), source=where, cause="it must name a file beside the model"
            )
        path = self.directory / pure
        if not path.is_file():
            raise OnnxError(
                EXTERNAL_DATA, f"'{path}' does not exist", source=where, hint="keep it beside the model file"
            )
        return path

    def sparse(self, sparse: SparseTensor, where: str) -> TensorData:
        """A sparse tensor, made dense."""
        shape = _shape(sparse.dims, where)
        values = self.tensor(sparse.values, where)
        indices = self.tensor(sparse.indices, where).to_array()
        count = math.prod(shape)
        if count > _MAX_SPARSE_ELEMENTS or indices.dtype != np.int64:
            raise OnnxError(INVALID_TENSOR, "sparse tensor", source=where)
        dense = np.zeros(count, values.element.dtype)
        try:
            flat = np.ravel_multi_index(tuple(indices.T), shape) if indices.ndim == 2 else indices
            dense[flat] = values.to_array()
        except (ValueError, IndexError, TypeError) as error:
            raise OnnxError(INVALID_TENSOR, "sparse tensor", source=where, cause=str(error)) from error
        return TensorData(values.element, shape, dense.reshape(shape))


def _shape(dims: Sequence[int], where: str) -> tuple[int, ...]:
    shape = tuple(dims)
    if len(shape) > MAX_RANK or any(dim < 0 for dim in shape) or math.prod(shape) >= 1 << 62:
        raise OnnxError(INVALID_TENSOR, f"shape {list(shape[:MAX_RANK])}", source=where)
    return shape


def _n_bytes(shape: tuple[int, ...], element: ElementType) -> int:
    """How many bytes elements take in ONNX, where those of less than a byte lie without a gap."""
    packed = element.kind in "iu" and element.bits < 8
    return (math.prod(shape) * (element.bits if packed else 8 * element.bytes) + 7) // 8


def _by_onnx(origin: Any, element: ElementType, shape: tuple[int, ...], where: str) -> TensorData:
    """The elements of a TensorProto, or of its bytes, wherever in it they are."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from onnx import numpy_helper

    try:
        proto = onnx.TensorProto.FromString(bytes(origin)) if isinstance(origin, memoryview) else origin
        array = numpy_helper.to_array(proto)
    except (ValueError, TypeError, OverflowError, MemoryError, DecodeError) as error:
        raise OnnxError(INVALID_TENSOR, source=where, cause=str(error)) from error
    if array.dtype != element.dtype:
        if array.dtype.itemsize != element.dtype.itemsize:
            raise OnnxError(INVALID_TENSOR, f"elements of {array.dtype} for {element.name}", source=where)
        array = array.view(element.dtype)
    return TensorData(element, shape, _shaped(np.asarray(array), shape, where))


def _shaped(array: np.ndarray[Any, Any], shape: tuple[int, ...], where: str) -> np.ndarray[Any, Any]:
    if array.size != math.prod(shape):
        raise OnnxError(INVALID_TENSOR, f"{array.size} elements for shape {list(shape)}", source=where)
    return array.reshape(shape)


def _not_onnx(view: memoryview, name: str) -> OnnxError:
    """What the file begins with says most about what it is."""
    cause = f"it begins with {bytes(view[:8])!r}" if len(view) else "the file is empty"
    return OnnxError(NOT_ONNX, name, cause=cause, hint=_NOT_ONNX_HINT)


def _parse(view: memoryview, name: str) -> Model:
    looks_right = len(view) > 2 and view[0] == 0x08 and 0 < view[1] < 0x80  # field 1, varint: ir_version
    try:
        return Model.read(view)
    except OnnxError as error:
        if looks_right:
            raise OnnxError(DAMAGED, f"{name} {error.detail}", cause=error.cause, hint=error.hint) from None
        raise _not_onnx(view, name) from None


def _check_header(proto: Model, name: str) -> None:
    if proto.ir_version <= 0 or not proto.has("graph"):
        cause = "it holds no graph" if proto.ir_version > 0 else "it says no version of the format"
        raise OnnxError(NOT_ONNX, name, cause=cause, hint=_NOT_ONNX_HINT)
    if not proto.opset_import:
        raise OnnxError(INVALID_GRAPH, f"{name} imports no operator set", hint="export the model again")
    if proto.ir_version > NEWEST_FORMAT:
        raise OnnxError(
            VERSION,
            f"IR version {proto.ir_version}",
            cause=f"versions up to {NEWEST_FORMAT} are known",
            hint="pip install -U iree-input-onnx",
        )
    for entry in proto.opset_import:
        if entry.domain in ("", "ai.onnx") and not OLDEST_OPSET <= entry.version <= NEWEST_OPSET:
            raise OnnxError(
                VERSION,
                f"operator set {entry.version}",
                cause=f"supported are {OLDEST_OPSET} to {NEWEST_OPSET}",
                hint="convert the model with onnx.version_converter",
            )


def is_model(source: Any) -> bool:
    """True for a ModelProto, which says so itself: nothing is imported to find out."""
    return getattr(getattr(source, "DESCRIPTOR", None), "full_name", "") == "onnx.ModelProto"


def read(source: Any) -> ModelFile:
    """The model in ``source``: a path, the bytes of a file, or a ModelProto (not changed).

    Raises OnnxError 1 (cannot be opened), 2 (not ONNX), 3 (damaged), 6 (no operator set), 12 (version).
    """
    if is_model(source):
        proto = Model.of(source)
        _check_header(proto, proto.graph.name or "model")
        return ModelFile(proto, None, None)
    if isinstance(source, (bytes, bytearray, memoryview)):
        view = memoryview(source).cast("B")
        model = ModelFile(_parse(view, "the given bytes"), None, view)
        _check_header(model.proto, "the given bytes")
        return model
    path = Path(os.fspath(source))
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            data: Any = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
    except OSError as error:
        raise OnnxError(CANNOT_READ, f"'{path}'", cause=error.strerror or str(error)) from error
    view = memoryview(data)
    proto = _parse(view, f"'{path}'")
    _check_header(proto, f"'{path}'")
    return ModelFile(proto, path, view)
