"""Recognize an image by its first bytes, because a suffix may be missing or wrong.

Nothing is decoded, so Pillow is not needed.
"""

from pathlib import Path

HEAD_BYTES = 64

AVIF_BRANDS = (b"avif", b"avis")
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")
# Brands of the container that AVIF and HEIC share.
CONTAINER_BRANDS = (b"mif1", b"msf1")


def find_image_format(path: str | Path) -> str | None:
    """The format of an image, such as `JPEG`, or None for a file that is no photo.

    Raises:
        OSError: The file cannot be opened.
    """
    with open(path, "rb") as file:
        return recognize_format(file.read(HEAD_BYTES), Path(path).suffix.lower())


def recognize_format(head: bytes, suffix: str) -> str | None:
    """The format of an image by its first bytes."""
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WebP"
    if head.startswith(b"BM") and head[6:10] == bytes(4):  # these four are always zero
        return "BMP"
    # The raw files of cameras begin like a TIFF, too, and have suffixes of their own.
    if head.startswith((b"II*\0", b"MM\0*")) and suffix in ("", ".tif", ".tiff"):
        return "TIFF"
    if head[4:8] == b"ftyp":
        return recognize_brand(head)
    return None


def recognize_brand(head: bytes) -> str | None:
    """AVIF or HEIC by the brands in the header of a file; None for a film."""
    size = int.from_bytes(head[:4], "big")
    brand = head[8:12]
    compatible = head[16:size]
    if brand in AVIF_BRANDS:
        return "AVIF"
    if brand in HEIC_BRANDS:
        return "HEIC"
    if brand in CONTAINER_BRANDS:
        return "AVIF" if b"avif" in compatible else "HEIC"
    return None
