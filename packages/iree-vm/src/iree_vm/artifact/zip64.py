"""The container: a ZIP64 of stored, aligned members, written in one pass and read without trust.

Every member is stored, has zip64 sizes, date 1980-01-01 and data aligned by an extra field in its local
header (and by zero bytes before it where no extra field has the right length). So all headers are a pure
function of (name, header offset, data offset, size, crc) per member, and the reader compares what it finds
against that: any damage to a header is noticed. The archive comment carries the
digest of the manifest, which in turn holds the digests of all other members.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable
from typing import BinaryIO, NamedTuple

from iree_vm.errors import VmError

_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_LOCAL_EXTRA = struct.Struct("<HHQQ")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_CENTRAL_EXTRA = struct.Struct("<HHQQQ")
_END64 = struct.Struct("<4sQHHIIQQQQ")
_LOCATOR = struct.Struct("<4sIQI")
_END = struct.Struct("<4sHHHHIIH")
_COMMENT = b"iree artifact, manifest blake2b-256 "
_COMMENT_LENGTH = len(_COMMENT) + 64
_TAIL = _END64.size + _LOCATOR.size + _END.size + _COMMENT_LENGTH

_AGAIN = "copy or compile it again"
_VERSION = 45
_DATE = 0x21  # 1980-01-01
_UNSET = 0xFFFFFFFF
_UNIX = 3 << 8
_MODE = 0o100644 << 16
_PADDING_ID = 0xD935  # the field zipalign uses
_MAX_PADDING = 0xFFFF - _LOCAL_EXTRA.size


class Member(NamedTuple):
    """One stored member; ``header`` is the offset of its local header, ``offset`` that of its data."""

    name: str
    header: int
    offset: int
    size: int
    crc: int

    @property
    def least_offset(self) -> int:
        """Where the data would begin without padding."""
        return self.header + _LOCAL.size + len(self.name) + _LOCAL_EXTRA.size


def _place(name: str, position: int, alignment: int) -> Member:
    """Where a member that may begin at ``position`` goes. A padding field has at least its own 4 bytes."""
    least = Member(name, position, 0, 0, 0).least_offset
    padding = -least % alignment
    gap = 0
    if 0 < padding < 4:
        if padding + alignment <= _MAX_PADDING:
            padding += alignment
        else:
            gap = padding
    elif padding > _MAX_PADDING:
        gap = 64
    return Member(name, position + gap, least + padding, 0, 0)


def _local(member: Member) -> bytes:
    name = member.name.encode("ascii")
    padding = member.offset - member.least_offset
    head = _LOCAL.pack(
        b"PK\3\4",
        _VERSION,
        0,
        0,
        0,
        _DATE,
        member.crc,
        _UNSET,
        _UNSET,
        len(name),
        _LOCAL_EXTRA.size + padding,
    )
    field = struct.pack("<HH", _PADDING_ID, padding - 4) + b"\0" * (padding - 4) if padding else b""
    return head + name + _LOCAL_EXTRA.pack(1, 16, member.size, member.size) + field


def _central(member: Member) -> bytes:
    name = member.name.encode("ascii")
    head = _CENTRAL.pack(
        b"PK\1\2", _UNIX | _VERSION, _VERSION, 0, 0, 0, _DATE, member.crc, _UNSET, _UNSET,
        len(name), _CENTRAL_EXTRA.size, 0, 0, 0, _MODE, _UNSET,
    )  # fmt: skip
    return head + name + _CENTRAL_EXTRA.pack(1, 24, member.size, member.size, member.header)


def _tail(members: list[Member], start: int, length: int, manifest_digest: str) -> bytes:
    count = len(members)
    end64 = _END64.pack(
        b"PK\6\6", _END64.size - 12, _UNIX | _VERSION, _VERSION, 0, 0, count, count, length, start
    )
    locator = _LOCATOR.pack(b"PK\6\7", 0, start + length, 1)
    end = _END.pack(b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, _UNSET, _UNSET, _COMMENT_LENGTH)
    return end64 + locator + end + _COMMENT + manifest_digest.encode("latin-1")


class ZipWriter:
    """Appends members to a seekable file that starts empty."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.members: list[Member] = []
        self.position = 0

    def add(
        self,
        name: str,
        chunks: Iterable[bytes | memoryview],
        alignment: int,
        checksum: Callable[[], int] | None = None,
    ) -> Member:
        """Stream one member; sizes and checksum (which ``checksum`` knows then, if given) are filled in
        afterwards.
        """
        placed = _place(name, self.position, alignment)
        self.file.write(b"\0" * (placed.offset - self.position))
        size = crc = 0
        for chunk in chunks:
            view = memoryview(chunk).cast("B")
            self.file.write(view)
            if checksum is None:
                crc = zlib.crc32(view, crc)
            size += len(view)
        if checksum is not None:
            crc = checksum()
        member = placed._replace(size=size, crc=crc)
        self.file.seek(member.header)
        self.file.write(_local(member))
        self.position = member.offset + size
        self.file.seek(self.position)
        self.members.append(member)
        return member

    def finish(self, manifest_digest: str) -> None:
        """Write the directory."""
        directory = b"".join(map(_central, self.members))
        self.file.write(directory + _tail(self.members, self.position, len(directory), manifest_digest))


def is_artifact_end(data: memoryview) -> bool:
    """Whether the file's end is that of an artefact."""
    return bytes(data[len(data) - _COMMENT_LENGTH :]).startswith(_COMMENT)


def read_directory(data: memoryview) -> tuple[dict[str, Member], str]:
    """The members of an artefact and its manifest's digest. Raises VmError 51 or 52."""
    if len(data) < _TAIL or not is_artifact_end(data):
        if bytes(data[:4]) != b"PK\3\4":
            raise VmError(51, "the file does not begin like one", hint="give a .vmfb made by iree compile")
        raise VmError(52, "the end of the file is missing", hint=_AGAIN)
    digest = bytes(data[len(data) - 64 :]).decode("latin-1")
    tail = bytes(data[len(data) - _TAIL :])
    length, start = _END64.unpack_from(tail)[8:10]
    if start + length + _TAIL != len(data):
        raise VmError(52, "the directory is not where the file says", hint=_AGAIN)
    members: dict[str, Member] = {}
    position = start
    end = start + length
    while position < end:
        member, position = _read_central(data, position, end)
        if member.name in members:
            raise VmError(52, f"member {member.name} is there twice", hint=_AGAIN)
        outside = not 0 <= member.header < member.offset <= start - member.size
        if outside or bytes(data[member.header : member.offset]) != _local(member):
            raise VmError(52, f"header of member {member.name}", hint=_AGAIN)
        members[member.name] = member
    if _tail(list(members.values()), start, length, digest) != tail:
        raise VmError(52, "the end record", hint=_AGAIN)
    return members, digest


def _read_central(data: memoryview, position: int, end: int) -> tuple[Member, int]:
    name_start = position + _CENTRAL.size
    if name_start > end:
        raise VmError(52, "the directory ends inside an entry", hint=_AGAIN)
    fields = _CENTRAL.unpack_from(data, position)
    extra = name_start + fields[10]
    after = extra + _CENTRAL_EXTRA.size
    if after > end:
        raise VmError(52, "the directory ends inside an entry", hint=_AGAIN)
    name = bytes(data[name_start:extra]).decode("latin-1")
    _, _, size, _, header = _CENTRAL_EXTRA.unpack_from(data, extra)
    extra_length = 0
    if header + _LOCAL.size <= position:
        extra_length = _LOCAL.unpack_from(data, header)[10]
    offset = header + _LOCAL.size + len(name) + extra_length
    member = Member(name, header, offset, size, fields[7])
    if (
        offset < member.least_offset
        or 0 < offset - member.least_offset < 4
        or not name.isascii()
        or _central(member) != bytes(data[position:after])
    ):
        raise VmError(52, f"a directory entry ({name!r})", hint=_AGAIN)
    return member, after


def padding(data: memoryview, members: Iterable[Member]) -> list[str]:
    """Names of the members whose alignment padding is not zero."""
    wrong = []
    position = 0
    for member in sorted(members, key=lambda m: m.offset):
        if any(data[position : member.header]):
            wrong.append(member.name)
        position = member.offset + member.size
    return wrong
