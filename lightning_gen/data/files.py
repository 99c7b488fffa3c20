"""Folders and zip archives of image files, read through one interface."""

import io
import os
import posixpath
import stat
import zipfile
from functools import cached_property
from pathlib import Path
from typing import Any

from lightning_gen.errors import InputError

READ_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
"""Flags with which opening a pipe returns at once."""
HIDDEN = (".", "__MACOSX")
"""What the names of hidden files and folders start with."""
IMAGE_EXTENSIONS = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif"}


class Folder:
    """A folder and all files below it."""

    def __init__(self, path: Path):
        self.path = path

    def names(self) -> list[str]:
        """All files below the folder: relative paths with forward slashes.

        Links to folders are followed, but not those that lead back to a folder that contains them.
        """
        names = []
        prefix = len(os.path.join(self.path, ""))  # noqa: PTH118 (strings: a path object for each file takes longer)
        ancestors: dict[str, frozenset[tuple[int, int]]] = {}
        for folder, subfolders, files in os.walk(self.path, followlinks=True):
            status = Path(folder).stat()
            identity = (status.st_dev, status.st_ino)
            above = ancestors.pop(folder, frozenset())
            if identity in above:
                subfolders.clear()
                continue
            ancestors |= {str(Path(folder) / name): above | {identity} for name in subfolders}
            relative = f"{folder[prefix:]}/".replace(os.sep, "/").lstrip("/")
            names += [relative + file for file in files]
        return names

    def read(self, name: str) -> bytes:
        """Read a file; a ``ValueError`` is raised for a pipe or a device, whose content may never end."""
        descriptor = os.open(self._location(name), READ_FLAGS)
        with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ValueError("it is not a regular file")
            return file.read()

    def signature(self, name: str) -> tuple[str, float]:
        """A string that changes whenever the file does, and the file's change time in seconds since the epoch."""
        try:
            status = os.stat(self._location(name))  # noqa: PTH116
        except OSError:  # a broken link; decoding reports its name
            return "unreadable", 0.0
        return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}", status.st_ctime

    def _location(self, name: str) -> str:
        """The path of a file; pathlib takes as long to build it as a small file takes to be read."""
        return f"{self.path}/{name}"


class Zip:
    """A zip archive; a truncated one, or another kind of file, raises an :class:`InputError`."""

    def __init__(self, path: Path):
        self.path = path
        try:
            _ = self._archive
        except (zipfile.BadZipFile, OSError) as error:
            raise InputError(f"{path} is not a complete zip archive ({error}); download or copy it again") from None

    @cached_property
    def _archive(self) -> zipfile.ZipFile:
        return zipfile.ZipFile(_PositionalFile(self.path) if hasattr(os, "pread") else self.path)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}  # an open file cannot be pickled; the archive is opened again on first use

    def names(self) -> list[str]:
        """All files in the archive."""
        return [info.filename for info in self._archive.infolist() if not info.is_dir()]

    def read(self, name: str) -> bytes:
        """Read a file and check its CRC."""
        return self._archive.read(name)

    def signature(self, name: str) -> tuple[str, float]:
        """Size and CRC of a file, and 0 in place of a change time, which a CRC does not need."""
        info = self._archive.getinfo(name)
        return f"{info.file_size} {info.CRC}", 0.0


class _PositionalFile(io.FileIO):
    """A file whose position is not that of its descriptor, which forked processes share."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._position = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Set the position."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position}
        self._position = offset + (start[whence] if whence in start else os.fstat(self.fileno()).st_size)
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        """Read from the position."""
        if size is None or size < 0:
            size = os.fstat(self.fileno()).st_size - self._position
        data = os.pread(self.fileno(), size, self._position)
        self._position += len(data)
        return data


FileTree = Folder | Zip


def open_tree(path: Path) -> FileTree:
    """Open a folder or zip archive; any other path raises an :class:`InputError`."""
    if path.is_dir():
        return Folder(path)
    if path.is_file() and path.suffix.lower() == ".zip":
        return Zip(path)
    problem = "is not a zip archive" if path.exists() else "does not exist"
    raise InputError(f"{path} {problem}; give a folder or .zip of images")


def open_images(path: Path) -> tuple[FileTree, list[str]]:
    """Open a folder, a zip archive or one file, and list its images.

    Args:
        path: one file may have any ending; in a folder or an archive, names decide what is an image.

    Returns:
        The files, and the sorted names of the images.

    Raises:
        InputError: if the path does not exist, or a folder or an archive has no images.
    """
    if path.is_file() and path.suffix.lower() != ".zip":
        return Folder(path.parent), [path.name]
    if not path.exists():
        raise InputError(f"{path} does not exist; give an image file, or a folder or .zip of images")
    tree = open_tree(path)
    return tree, image_names(tree)


def image_names(tree: FileTree) -> list[str]:
    """The sorted names of all image files, without hidden ones and ``__MACOSX``; none raises an :class:`InputError`."""
    names = sorted(filter(_is_image, tree.names()))
    if not names:
        raise InputError(f"{tree.path} contains no images ({', '.join(sorted(IMAGE_EXTENSIONS))})")
    return names


def _is_image(name: str) -> bool:
    hidden = any(part.startswith(HIDDEN) and part != "." for part in name.split("/"))
    return not hidden and posixpath.splitext(name)[1].lower() in IMAGE_EXTENSIONS
