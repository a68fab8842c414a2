"""An image file without what says nothing about its pixels: comments, profiles, thumbnails.

Decoders read such parts on their way to the pixels and give up on those that are damaged or
large: a text chunk with a wrong checksum, a colour profile of 2 MB. `without_metadata` copies a
file without them, byte for byte otherwise, so that the pixels can be judged alone. Pixels are
never repaired: a part that decides them stays, however damaged.
"""

import struct
import zlib

_PNG = b"\x89PNG\r\n\x1a\n"
_XMP_PNG = b"XML:com.adobe.xmp\0\0"  # not compressed
_LARGEST = 2**20  # bytes of a kept chunk; more than any EXIF has


def without_metadata(data: bytes, *, orientation: bool) -> bytes | None:
    """``data`` (PNG, JPEG, WebP or GIF) without metadata, or None for any other file.

    Args:
        data: the file.
        orientation: keep EXIF and XMP, which may say which side is up, where they look whole.
    """
    if data.startswith(_PNG):
        return _png(data, orientation)
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg(data, orientation)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp(data, orientation)
    if data.startswith((b"GIF87a", b"GIF89a")):
        return _gif(data)
    return None


def _png(data: bytes, orientation: bool) -> bytes:
    kept, at = [_PNG], len(_PNG)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, end = data[at + 4 : at + 8], at + 12 + length
        # Upper case: critical. tRNS alone of the others decides pixels.
        if kind[:1].isupper() or kind == b"tRNS" or not kind.isalpha():
            if end > len(data) or not kind.isalpha():
                return b"".join([*kept, data[at:]])  # cut off or astray: for the decoder to say
            kept.append(data[at:end])
            if kind == b"IEND":
                return b"".join(kept)
        elif end <= len(data) and orientation and length <= _LARGEST:
            chunk = data[at:end]
            shows = kind == b"eXIf" or (kind == b"iTXt" and chunk[8:].startswith(_XMP_PNG))
            if shows and zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big"):
                kept.append(chunk)
        at = end
    # The file ends within metadata: the end mark it lacks says nothing about pixels either.
    return b"".join([*kept, struct.pack(">I", 0), b"IEND", struct.pack(">I", zlib.crc32(b"IEND"))])


def _jpeg(data: bytes, orientation: bool) -> bytes:
    kept, at = [data[:2]], 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker in (0xDA, 0xD9) or marker < 0xC0:  # the scan begins, or nothing known
            break
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : end]
        match marker:
            case 0xE0 if body.startswith(b"JFIF\0"):  # tells the colours of odd files
                kept.append(b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0")
            case 0xEE if body.startswith(b"Adobe") and len(body) >= 12:  # likewise
                kept.append(data[at:end])
            case 0xE1 if orientation and body.startswith((b"Exif\0", b"http://ns.adobe.com/xap/")):
                kept.append(data[at:end])
            case _ if 0xE0 <= marker <= 0xEF or marker == 0xFE:
                pass
            case _:
                kept.append(data[at:end])
        at = end
    return b"".join([*kept, data[at:]])


def _webp(data: bytes, orientation: bool) -> bytes:
    kept, at, flags = [], 12, 0
    while at + 8 <= len(data):
        kind = data[at : at + 4]
        end = at + 8 + int.from_bytes(data[at + 4 : at + 8], "little")
        end += end % 2
        whole = end <= len(data) + 1 and end - at <= _LARGEST
        if kind in (b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF"):
            kept.append(data[at:end])
        elif orientation and whole and kind in (b"EXIF", b"XMP "):
            kept.append(data[at:end].ljust(end - at, b"\0"))
            flags |= 8 if kind == b"EXIF" else 4
        at = end
    if kept and kept[0][:4] == b"VP8X" and len(kept[0]) > 8:
        head = bytearray(kept[0])
        head[8] = head[8] & ~0b101100 | flags  # no colour profile; EXIF and XMP as they are now
        kept[0] = bytes(head)
    body = b"WEBP" + b"".join(kept)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _gif(data: bytes) -> bytes:
    if len(data) < 13:
        return data
    at = 13 + (3 * 2 ** (data[10] % 8 + 1) if data[10] & 0x80 else 0)
    kept = [data[:at]]
    while data[at : at + 1] == b"!":
        end = at + 2
        while end < len(data) and data[end]:
            end += data[end] + 1
        end += 1
        if data[at + 1] == 0xF9:  # delay and transparency
            kept.append(data[at:end])
        at = end
    return b"".join([*kept, data[at:]])
