"""Write ``examples/files``: a small file of each of several kinds, the same bytes every time.

The text files are kept as they are; this makes the binary ones, whose formats need checksums and offsets.
"""

from __future__ import annotations

import gzip
import io
import math
import sqlite3
import struct
import tarfile
import tempfile
import wave
import zipfile
import zlib
from pathlib import Path

FOLDER = Path(__file__).parent / "files"
TEXT = "The quick brown fox jumps over the lazy dog, and the dog does not mind.\n"


def png(width: int = 24, height: int = 24) -> bytes:
    """A colour gradient."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(
        b"\0" + b"".join(bytes((x * 10 % 256, y * 10 % 256, (x * y) % 256)) for x in range(width))
        for y in range(height)
    )
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def bmp(width: int = 16, height: int = 16) -> bytes:
    """A grey gradient, uncompressed."""
    pixels = b"".join(bytes((x * 16 % 256,)) * 3 for y in range(height) for x in range(width))
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(pixels), 2835, 2835, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(pixels), 0, 0, 54) + header + pixels


def pdf() -> bytes:
    """One page that says hello."""
    stream = b"BT /F1 24 Tf 72 720 Td (Hello from a PDF page) Tj ET"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources 6 0 R >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Font << /F1 5 0 R >> >>",
    ]
    out = io.BytesIO()
    out.write(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(out.tell())
        out.write(b"%d 0 obj\n%s\nendobj\n" % (number, body))
    start = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    out.write(b"".join(b"%010d 00000 n \n" % offset for offset in offsets))
    out.write(b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start))
    return out.getvalue()


def zip_archive() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("notes/first.txt", "notes/second.txt", "readme.txt"):
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), TEXT * 3 + name)
    return out.getvalue()


def tar_archive() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name in ("notes/first.txt", "notes/second.txt"):
            data = (TEXT * 3 + name).encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def gzip_stream() -> bytes:
    return gzip.compress((TEXT * 8).encode(), mtime=0)


def sqlite_database() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.sqlite"
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA page_size=512")
        connection.execute("CREATE TABLE animal (id INTEGER PRIMARY KEY, name TEXT, legs INTEGER)")
        connection.executemany("INSERT INTO animal (name, legs) VALUES (?, ?)", [("dog", 4), ("hen", 2)])
        connection.commit()
        connection.close()
        return path.read_bytes()


def wav(samples: int = 800) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(
            b"".join(struct.pack("<h", round(9000 * math.sin(i * 0.35))) for i in range(samples))
        )
    return out.getvalue()


MAKERS = {
    "archive.tar": tar_archive,
    "archive.zip": zip_archive,
    "database.sqlite": sqlite_database,
    "gradient.bmp": bmp,
    "gradient.png": png,
    "hello.pdf": pdf,
    "notes.txt.gz": gzip_stream,
    "tone.wav": wav,
}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, make in MAKERS.items():
        (FOLDER / name).write_bytes(make())


if __name__ == "__main__":
    main()
