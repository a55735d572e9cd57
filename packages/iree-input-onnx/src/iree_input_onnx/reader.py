"""ONNX file, bytes or ModelProto -> ``ModelFile``: the graph as protobuf, the weights where they lie.

After reading, every large tensor of the proto refers to a byte range: of the model file itself (see
``wire``), of an external data file beside it, or of the caller's bytes. ``TensorData`` says which, so that
the ConstantStore can map it without a copy. Damage of any kind ends in an OnnxError, never in a crash.
"""

from __future__ import annotations

import functools
import math
import mmap
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.descriptor import FieldDescriptor  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import numpy_helper

from iree_base.element_types import ElementType
from iree_base.packed_rows import from_bytes, packed_bytes
from iree_base.records import record
from iree_input_onnx.elements import from_code
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
from iree_input_onnx.wire import SELF, strip

OLDEST_OPSET = 7
NEWEST_OPSET = 28
"""The newest operator set whose definitions the lowering table was checked against."""

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
    """A parsed model. ``proto`` holds no large data; ask ``tensor`` for the elements of a TensorProto."""

    proto: Any
    path: Path | None
    view: memoryview | None
    """The serialized model, when data may refer into it (location ``SELF``)."""

    @property
    def directory(self) -> Path:
        return self.path.parent if self.path is not None else Path()

    @property
    def name(self) -> str:
        """How locations and messages call the model."""
        return self.path.name if self.path is not None else (self.proto.graph.name or "model")

    def tensor(self, tensor: Any, where: str) -> TensorData:
        """The elements of ``tensor``; ``where`` names it in errors (OnnxError 7, 8, 9)."""
        element = from_code(tensor.data_type, where)
        shape = _shape(tensor.dims, where)
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            return self._external(tensor, element, shape, where)
        if tensor.HasField("segment"):
            raise OnnxError(UNSUPPORTED_TYPE, "tensor in segments", source=where)
        try:
            array = numpy_helper.to_array(tensor)
        except (ValueError, TypeError, OverflowError, MemoryError) as error:
            raise OnnxError(INVALID_TENSOR, source=where, cause=str(error)) from error
        return TensorData(element, shape, _canonical(array, element, shape, where))

    def _external(self, tensor: Any, element: ElementType, shape: tuple[int, ...], where: str) -> TensorData:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        packed = element.kind in "iu" and element.bits < 8
        count = math.prod(shape)
        nbytes = (count * element.bits + 7) // 8
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
        if location == SELF and self.view is not None:
            path, size = self.path, len(self.view)
        else:
            path = self._external_path(location, where)
            size = path.stat().st_size
        if offset + nbytes > size:
            text = f"bytes {offset} to {offset + nbytes} of '{path}', which has {size}"
            raise OnnxError(EXTERNAL_DATA, text, source=where, hint="fetch the data file again")
        # In ONNX, rows of elements of less than a byte do not begin with a byte; some happen to.
        in_place = not packed or math.prod(shape[:-1]) == 1 or shape[-1] * element.bits % 8 == 0
        if path is not None and in_place and element.kind != "b":
            return TensorData(element, shape, None, path, offset)
        if path is None:
            assert self.view is not None
            raw: Any = np.frombuffer(self.view, np.uint8, nbytes, offset)
        else:
            raw = np.fromfile(path, np.uint8, nbytes, offset=offset)
        if packed:
            proto = onnx.TensorProto(data_type=tensor.data_type, dims=shape, raw_data=raw.tobytes())
            return TensorData(element, shape, _canonical(numpy_helper.to_array(proto), element, shape, where))
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

    def sparse(self, sparse: Any, where: str) -> TensorData:
        """A SparseTensorProto, made dense."""
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


def _canonical(array: Any, element: ElementType, shape: tuple[int, ...], where: str) -> np.ndarray[Any, Any]:
    """``array`` with exactly the dtype and shape of the tensor."""
    if array.shape != shape:
        raise OnnxError(INVALID_TENSOR, f"{array.size} elements for shape {list(shape)}", source=where)
    if array.dtype != element.dtype:
        if array.dtype.itemsize != element.dtype.itemsize:
            raise OnnxError(INVALID_TENSOR, f"elements of {array.dtype} for {element.name}", source=where)
        array = array.view(element.dtype)
    return np.asarray(array)


def _not_onnx(view: memoryview, name: str) -> OnnxError:
    """What the file begins with says most about what it is."""
    cause = f"it begins with {bytes(view[:8])!r}" if len(view) else "the file is empty"
    return OnnxError(NOT_ONNX, name, cause=cause, hint=_NOT_ONNX_HINT)


def _parse(view: memoryview, name: str) -> Any:
    looks_right = len(view) > 2 and view[0] == 0x08 and 0 < view[1] < 0x80  # field 1, varint: ir_version
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(strip(view))
    except OnnxError as error:
        if looks_right:
            raise OnnxError(DAMAGED, f"{name} {error.detail}", cause=error.cause, hint=error.hint) from None
        raise _not_onnx(view, name) from None
    except (DecodeError, RuntimeError, ValueError, MemoryError) as error:
        if looks_right:
            hint = "fetch or export the model again"
            raise OnnxError(DAMAGED, name, cause=str(error), hint=hint) from None
        raise _not_onnx(view, name) from None
    _check_text(proto, name)
    return proto


def _check_text(message: Any, name: str) -> None:
    """Names are text: ONNX's protobuf dialect hands out bytes where they are not UTF-8."""
    fields = _fields(message.DESCRIPTOR)
    for field in fields.texts:
        if isinstance(getattr(message, field), bytes):
            raise _no_text(message, field, name)
    for field in fields.lists:
        for item in getattr(message, field):
            if isinstance(item, bytes):
                raise _no_text(message, field, name)
    for field in fields.children:
        for item in getattr(message, field):
            _check_text(item, name)
    for field in fields.single_children:
        if message.HasField(field):
            _check_text(getattr(message, field), name)


@record(frozen=True)
class _Fields:
    """The names of a message's fields that hold a text, texts, messages, a message."""

    texts: tuple[str, ...]
    lists: tuple[str, ...]
    children: tuple[str, ...]
    single_children: tuple[str, ...]


@functools.cache
def _fields(descriptor: Any) -> _Fields:
    def of(type: int, repeated: bool) -> tuple[str, ...]:
        # In ONNX's dialect all fields know whether they were given, but for repeated ones.
        return tuple(f.name for f in descriptor.fields if f.type == type and f.has_presence != repeated)

    text, message = FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_MESSAGE
    return _Fields(of(text, False), of(text, True), of(message, True), of(message, False))


def _no_text(message: Any, field: str, name: str) -> OnnxError:
    cause = f"{message.DESCRIPTOR.name}.{field} is not UTF-8 text"
    return OnnxError(DAMAGED, name, cause=cause, hint="fetch or export the model again")


def _check_header(proto: Any, name: str) -> None:
    if proto.ir_version <= 0 or not proto.HasField("graph"):
        cause = "it holds no graph" if proto.ir_version > 0 else "it says no version of the format"
        raise OnnxError(NOT_ONNX, name, cause=cause, hint=_NOT_ONNX_HINT)
    if not proto.opset_import:
        raise OnnxError(INVALID_GRAPH, f"{name} imports no operator set", hint="export the model again")
    if proto.ir_version > onnx.IR_VERSION:
        raise OnnxError(
            VERSION,
            f"IR version {proto.ir_version}",
            cause=f"the installed onnx knows versions up to {onnx.IR_VERSION}",
            hint="pip install -U onnx iree-input-onnx",
        )
    for entry in proto.opset_import:
        if entry.domain in ("", "ai.onnx") and not OLDEST_OPSET <= entry.version <= NEWEST_OPSET:
            raise OnnxError(
                VERSION,
                f"operator set {entry.version}",
                cause=f"supported are {OLDEST_OPSET} to {NEWEST_OPSET}",
                hint="convert the model with onnx.version_converter",
            )


def read(source: Any) -> ModelFile:
    """The model in ``source``: a path, the bytes of a file, or a ModelProto (not changed).

    Raises OnnxError 1 (cannot be opened), 2 (not ONNX), 3 (damaged), 6 (no operator set), 12 (version).
    """
    if isinstance(source, onnx.ModelProto):
        _check_header(source, source.graph.name or "model")
        return ModelFile(source, None, None)
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
