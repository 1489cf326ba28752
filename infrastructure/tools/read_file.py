"""read_file: read a text file, or list a folder, inside the one folder that the runner was given.

Its one rule: what is opened lies inside that folder after every symbolic link is resolved, and is checked
again once it is open.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from infrastructure.tools.spec import Arguments, ToolContext, ToolError, ToolSpec

MAX_BYTES = 64 * 1024
MAX_ENTRIES = 200


def read_file(arguments: Arguments, context: ToolContext) -> str:
    if context.settings.files_dir is None:
        raise ToolError("read_file: no folder is configured on this runner (KASAL_FILES_DIR)")
    named = str(arguments["path"])
    path = inside(context.settings.files_dir, named)
    if path.is_dir():
        return listing(path)
    return part_of(path, context.settings.files_dir, named, int(str(arguments.get("offset", 0))))


def inside(folder: Path, named: str) -> Path:
    """The real path of a name; refuses one that leads out of the folder."""
    try:
        path = (folder / named).resolve(strict=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise ToolError(f"read_file: path: there is no file {named!r}") from error
    if not path.is_relative_to(folder.resolve()):
        raise ToolError(f"read_file: path: {named!r} leads out of the folder")
    return path


def listing(folder: Path) -> str:
    """The names in a folder, sorted, folders with a slash at the end."""
    names = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in folder.iterdir())
    more = [f"… and {len(names) - MAX_ENTRIES} more"] if len(names) > MAX_ENTRIES else []
    return "\n".join([*names[:MAX_ENTRIES], *more]) or "(empty folder)"


def part_of(path: Path, folder: Path, named: str, offset: int) -> str:
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise ToolError(f"read_file: path: {named!r} can not be read: {error.strerror}") from error
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or not os.path.samestat(status, inside(folder, named).stat()):
            raise ToolError(f"read_file: path: {named!r} is not a file")
        file.seek(offset)
        return text_of(file.read(MAX_BYTES), offset, status.st_size, named)


def text_of(piece: bytes, offset: int, size: int, named: str) -> str:
    if b"\0" in piece:
        raise ToolError(f"read_file: path: {named!r} is not a text file")
    end = offset + len(piece)
    rest = f"\n[bytes {offset}..{end} of {size}; go on with offset {end}]" if end < size else ""
    return piece.decode("utf-8", errors="replace") + rest


TOOL = ToolSpec(
    name="read_file",
    description=(
        "Read a text file of the shared folder, or list a folder of it ('.' for the whole). "
        "Long files come in parts: the answer says which offset to go on with."
    ),
    parameters={
        "type": "object",
        "properties": {
            "path": {
                "type": "string",
                "minLength": 1,
                "maxLength": 1_000,
                "description": "relative to the folder",
                "examples": ["."],
            },
            "offset": {
                "type": "integer",
                "minimum": 0,
                "maximum": 2**53,
                "default": 0,
                "description": "in bytes",
            },
        },
        "required": ["path"],
        "additionalProperties": False,
    },
    run=read_file,
)
