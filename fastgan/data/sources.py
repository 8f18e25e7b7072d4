"""Where files come from: a folder or a zip archive behind one small interface.

Archives are only ever read in memory, never extracted, and names found inside them are never
used as paths on disk. Decoding lives in decode.py.
"""

from __future__ import annotations

import os
import threading
import zipfile
from pathlib import Path, PurePosixPath
from typing import IO, TypeAlias

from fastgan.errors import DataError

IMAGE_EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})
MAX_FILE_BYTES = 1 << 30


class FolderSource:
    """Files below a folder, by their path relative to it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = tuple(sorted(self._walk()))

    def _walk(self) -> list[str]:
        found = []
        for folder, _, names in os.walk(self.root):
            relative = Path(folder).relative_to(self.root)
            found += [(relative / name).as_posix() for name in names]
        return [name for name in found if not is_hidden(name)]

    def open(self, name: str) -> IO[bytes]:
        """Open one file for reading."""
        return open(self.root / name, "rb")

    def read(self, name: str) -> bytes:
        """Return one file's bytes; safe to call from several threads."""
        return (self.root / name).read_bytes()


class ZipSource:
    """Entries of a zip archive (stored or deflated), by their name inside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._owner = -1
        self._archive: zipfile.ZipFile | None = None
        entries = [entry for entry in self._handle().infolist() if not entry.is_dir()]
        names = [entry.filename for entry in entries if not is_hidden(entry.filename)]
        if len(set(names)) != len(names):
            twice = sorted({name for name in names if names.count(name) > 1})[:10]
            raise DataError(f"{path} holds several files of the same name: {', '.join(twice)}")
        self.files = tuple(sorted(names))

    def __reduce__(self) -> tuple[type[ZipSource], tuple[Path]]:
        return ZipSource, (self.path,)

    def _handle(self) -> zipfile.ZipFile:
        # A forked process shares the file offset with its parent, so it opens its own handle.
        if self._archive is None or self._owner != os.getpid():
            try:
                self._archive = zipfile.ZipFile(self.path)
            except (zipfile.BadZipFile, OSError) as error:
                raise DataError(f"{self.path} is not a readable zip archive: {error}") from error
            self._owner = os.getpid()
        return self._archive

    def open(self, name: str) -> IO[bytes]:
        """Open one entry for reading, from one thread at a time."""
        archive = self._handle()
        size = archive.getinfo(name).file_size
        if size > MAX_FILE_BYTES:
            raise OSError(f"unpacks to {size} bytes, above the limit of {MAX_FILE_BYTES}")
        return archive.open(name)

    def read(self, name: str) -> bytes:
        """Return one entry's bytes; safe to call from several threads."""
        with self._lock, self.open(name) as file:
            return file.read()


FileSource: TypeAlias = FolderSource | ZipSource


def is_hidden(name: str) -> bool:
    """Return whether a file is bookkeeping of an operating system rather than content."""
    parts = PurePosixPath(name).parts
    return any((p.startswith(".") and p != "..") or p == "__MACOSX" for p in parts)


def open_source(path: str | os.PathLike[str]) -> FileSource:
    """Open a folder or a zip archive.

    Raises:
        DataError: the path does not exist, or is neither a folder nor a zip archive.
    """
    location = Path(path)
    if not location.exists():
        raise DataError(
            f"no dataset at {location}: expected an existing image folder or zip archive"
        )
    if location.is_dir():
        return FolderSource(location)
    if not zipfile.is_zipfile(location):
        raise DataError(
            f"{location} is neither a folder nor a zip archive: "
            "give the folder that holds the images, or a zip of it"
        )
    return ZipSource(location)


def image_names(source: FileSource, path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return the sorted names of all images in `source`.

    Raises:
        DataError: there is none.
    """
    names = tuple(n for n in source.files if PurePosixPath(n).suffix.lower() in IMAGE_EXTENSIONS)
    if not names:
        wanted = " ".join(sorted(IMAGE_EXTENSIONS))
        others = f"{len(source.files)} other files" if source.files else "no files at all"
        raise DataError(f"no images in {path}: expected files ending in {wanted}, found {others}")
    return names


def read_text(source: FileSource, name: str) -> str | None:
    """Return a UTF-8 file's contents, or None when `source` has no such file."""
    return source.read(name).decode("utf-8-sig") if name in source.files else None
