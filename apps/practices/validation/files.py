"""What a file is, told by its first bytes rather than by its name or by what its sender says of it (ASVS 5.0, 5.2.2)."""

import codecs

HEAD_BYTES = 8192

# Files that people take for text by mistake: a spreadsheet saved as such, what a browser printed, a compressed export.
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
    """Give what a file is instead of UTF-8 text, by its first ``HEAD_BYTES`` (or all of it when shorter); None for text.

    Bytes that are not UTF-8 further on, or here and there, are for the reader of the rows to name.
    """
    for signature, kind in _SIGNATURES.items():
        if head.startswith(signature):
            return kind
    if head.count(0) * 8 > len(head):  # a few, where text should be, are for the fields that hold them to refuse
        return "binary, or text in UTF-16"
    return None
