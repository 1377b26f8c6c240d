"""Image files to one array of pixels: all of one size and one mode, decoded by several threads."""

from __future__ import annotations

import io
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
from PIL import Image, UnidentifiedImageError

from analysis.errors import InputError
from pdenet.data.members import Container, Member

Progress = Callable[[int, int, str], None]
"""Called as ``progress(done, total, text)``; a total of 0 means that it is not known yet."""

# Pillow also reads PostScript, which is a program and would be run: only true images are read.
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "PPM", "TIFF", "JPEG2000", "MPO", "TGA", "AVIF")
_MODES = {
    **dict.fromkeys(("1", "L", "LA"), "L"),
    **dict.fromkeys(("P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"), "RGB"),
}
_CHUNK = 64  # images a thread decodes at a time
_WORKERS = min(8, os.cpu_count() or 1)


@dataclass(frozen=True)
class Form:
    """Size and mode that all images share, and the image that set them."""

    width: int
    height: int
    mode: str
    origin: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        return self.height, self.width, len(self.mode)

    def __str__(self) -> str:
        return f"{self.width}x{self.height} {'grey' if self.mode == 'L' else 'RGB'}"


def read_images(
    requests: Sequence[tuple[Container, Member]], form: Form | None, progress: Progress
) -> tuple[np.ndarray, Form]:
    """Pixels (N, H, W, C) uint8 of the requested images, in their order, and their common form.

    Only the first frame of an animation is read. Palettes and other colour spaces become RGB,
    bilevel images grey; opaque alpha channels are dropped.

    Args:
        requests: container and member of every image.
        form: size and mode to hold the images to; None takes those of the first one read.
        progress: told how far it is.

    Raises:
        InputError: for an image that is broken, of another form, transparent, not of 8 bits a
            channel or too large, naming it; for more images than the memory holds.
    """
    formats = known_formats()
    with warnings.catch_warnings(), ThreadPoolExecutor(_WORKERS) as pool:
        # Pillow warns of damaged metadata, which is not ours to repair, and of large images,
        # which are refused below; its warnings would come from threads in any order.
        warnings.simplefilter("ignore")
        jobs = _read(requests)
        first = next(jobs)
        if form is None:
            form = _form(first[1], first[2], formats)
        pixels = _allocate(len(requests), form)
        jobs = _chain(first, jobs)
        pending: deque[Future[int]] = deque()
        done = 0
        try:
            while chunk := list(islice(jobs, _CHUNK)):
                pending.append(pool.submit(_decode_chunk, chunk, form, formats, pixels))
                if len(pending) > 2 * _WORKERS:
                    done += pending.popleft().result()
                    progress(done, len(requests), "decoding images")
            while pending:
                done += pending.popleft().result()
                progress(done, len(requests), "decoding images")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return pixels, form


def known_formats() -> tuple[str, ...]:
    """Names of the file formats that are read and that this build of Pillow knows."""
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _read(requests: Sequence[tuple[Container, Member]]) -> Iterator[tuple[int, Member, bytes]]:
    """Place in the result, member and bytes: training part first, then as the files lie."""
    chosen: dict[Container, dict[int, tuple[int, Member]]] = {}
    for index, (container, member) in enumerate(requests):
        chosen.setdefault(container, {})[id(member)] = index, member
    parts: dict[Container, str] = {}
    for container, member in requests:
        parts.setdefault(container, member.split)
    for container in sorted(chosen, key=lambda c: (parts[c] != "train", str(c.path))):
        places = chosen[container]
        for member, data in container.read(member for _, member in places.values()):
            yield places[id(member)][0], member, data


def _chain(
    first: tuple[int, Member, bytes], rest: Iterator[tuple[int, Member, bytes]]
) -> Iterator[tuple[int, Member, bytes]]:
    yield first
    yield from rest


def _allocate(count: int, form: Form) -> np.ndarray:
    try:
        return np.empty((count, *form.shape), np.uint8)
    except (MemoryError, ValueError) as error:
        remedy = "use fewer images (train_images, test_images) or smaller ones"
        raise InputError("images that fit into memory", f"{count} of {form}", remedy) from error


def _decode_chunk(
    chunk: Sequence[tuple[int, Member, bytes]],
    form: Form,
    formats: tuple[str, ...],
    pixels: np.ndarray,
) -> int:
    for index, member, data in chunk:
        with _opened(member, data, formats) as image:
            found = Form(*image.size, _mode(image, member), member.origin)
            if (found.shape, found.mode) != (form.shape, form.mode):
                raise InputError(
                    f"images of one size and mode, {form} as {form.origin}",
                    f"{found}: {member.origin}",
                    "bring all images to one size and mode",
                )
            pixels[index] = _pixels(image, member, form)
    return len(chunk)


def _form(member: Member, data: bytes, formats: tuple[str, ...]) -> Form:
    with _opened(member, data, formats) as image:
        return Form(*image.size, _mode(image, member), member.origin)


def _opened(member: Member, data: bytes, formats: tuple[str, ...]) -> Image.Image:
    """The image, its header read and its pixels not yet."""
    try:
        image = Image.open(io.BytesIO(data), formats=formats)
    except Exception as error:  # a decoder meets bad bytes with any error at all
        raise _broken(member, error) from error
    most = Image.MAX_IMAGE_PIXELS
    if most is not None and image.width * image.height > most:
        got = f"{image.width}x{image.height}: {member.origin}"
        raise InputError(f"an image of at most {most} pixels", got, "store smaller images")
    return image


def _mode(image: Image.Image, member: Member) -> str:
    if image.mode not in _MODES:
        raise InputError(
            "an image of 8 bits a channel, grey or RGB",
            f"mode {image.mode}: {member.origin}",
            "convert it",
        )
    return _MODES[image.mode]


def _pixels(image: Image.Image, member: Member, form: Form) -> np.ndarray:
    """Pixels (H, W, C) of an opened image."""
    try:
        if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
            opaque = image.convert("RGBA").getchannel("A").getextrema() == (255, 255)
            if not opaque:
                raise InputError(
                    "an opaque image", f"transparency: {member.origin}", "flatten it first"
                )
        plain = image if image.mode == form.mode else image.convert(form.mode)
        return np.asarray(plain).reshape(form.shape)
    except InputError:
        raise
    except Exception as error:  # a decoder meets bad bytes with any error at all
        raise _broken(member, error) from error


def _broken(member: Member, error: Exception) -> InputError:
    got = f"{member.origin}, which cannot be decoded"
    if not isinstance(error, UnidentifiedImageError):
        got += f" ({str(error) or type(error).__name__})"
    return InputError("an image file", got, "replace or remove it")
