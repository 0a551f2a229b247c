"""The type of a file by its first bytes, regardless of its name and Content-Type (ASVS 5.0, 5.2.2)."""

import codecs
from functools import partial
from itertools import chain
from typing import BinaryIO

HEAD_BYTES = 8192
_BLOCK_BYTES = 256 * 1024

# Files that people upload as text by mistake: spreadsheets, printed pages, compressed exports.
_SIGNATURES = {
    b"PK\x03\x04": "a ZIP archive or an office document",
    b"PK\x05\x06": "a ZIP archive",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an old office document",
    b"%PDF-": "a PDF document",
    b"\x89PNG\r\n\x1a\n": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF87a": "a GIF image",
    b"GIF89a": "a GIF image",
    b"RIFF": "an image, a sound or a film",
    b"\x1f\x8b": "compressed (gzip)",
    b"BZh": "compressed (bzip2)",
    b"\xfd7zXZ\x00": "compressed (xz)",
    b"\x28\xb5\x2f\xfd": "compressed (zstd)",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"\x7fELF": "a program",
    b"PAR1": "a Parquet file",
    b"SQLite format 3\x00": "an SQLite database",
    codecs.BOM_UTF32_LE: "text in UTF-32",
    codecs.BOM_UTF32_BE: "text in UTF-32",
    codecs.BOM_UTF16_LE: "text in UTF-16",
    codecs.BOM_UTF16_BE: "text in UTF-16",
}


def text_file_fault(head: bytes) -> str | None:
    """Return what a file is instead of UTF-8 text, by its first ``HEAD_BYTES``; None for text.

    ``utf8_fault`` finds single bytes that are not UTF-8.
    """
    for signature, kind in _SIGNATURES.items():
        if head.startswith(signature):
            return kind
    if head.count(0) * 8 > len(head):  # the fields refuse single control characters
        return "binary, or text in UTF-16"
    return None


def utf8_fault(stream: BinaryIO) -> tuple[int, int] | None:
    """Return the line, from 1, and the value of the first byte of a file that is not UTF-8; None if all of it is."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 1
    for block in chain(iter(partial(stream.read, _BLOCK_BYTES), b""), (b"",)):
        try:
            decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            return line + error.object.count(b"\n", 0, error.start), error.object[error.start]
        line += block.count(b"\n")
    return None
