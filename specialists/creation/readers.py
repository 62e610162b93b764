"""Files of any kind, as material."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from specialists.creation.character_card import read_picture
from specialists.creation.documents import read_markdown, read_text
from specialists.creation.material import Material, cleaned, together
from specialists.creation.portable import read_pdf
from specialists.creation.subtitles import read_subtitles
from specialists.creation.tables import read_csv, read_json, read_json_lines
from specialists.progress import Progress

LARGEST = 256 * 1024 * 1024
Read = Callable[[bytes, str, str], Material]
READERS: dict[str, Read] = {
    ".md": read_markdown,
    ".markdown": read_markdown,
    ".txt": read_text,
    ".text": read_text,
    ".json": read_json,
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".csv": read_csv,
    ".tsv": read_csv,
    ".pdf": read_pdf,
    ".png": read_picture,
    ".srt": read_subtitles,
    ".vtt": read_subtitles,
}


def read_material(paths: Sequence[Path], voice: str, report: Progress) -> Material:
    """What files hold, and the files in folders, hidden ones left out.

    Args:
        paths: files and folders.
        voice: whose words are wanted, where several people speak.
        report: told after each file.
    """
    files = [each for path in paths for each in _files(path)]
    parts = []
    for number, (file, name) in enumerate(files, 1):
        parts.append(_read(file, name, voice))
        report("Reading", number, len(files))
    return together(parts)


def _files(path: Path) -> Iterator[tuple[Path, str]]:
    """Files, and what they are called in sources."""
    if not path.is_dir():
        yield path, path.name
        return
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path)
        if file.is_file() and not any(part.startswith(".") for part in name.parts):
            yield file, name.as_posix()


def _read(file: Path, name: str, voice: str) -> Material:
    read = READERS.get(file.suffix.lower())
    if read is None:
        return Material(unused=(f"{name}: files of that kind are not read",))
    try:
        if file.stat().st_size > LARGEST:
            raise ValueError(f"is larger than {LARGEST:,} bytes")
        return cleaned(read(file.read_bytes(), name, voice))
    except (OSError, ValueError) as error:
        return Material(unused=(f"{name}: {error}",))
    except RecursionError:
        return Material(unused=(f"{name}: is nested too deeply",))
