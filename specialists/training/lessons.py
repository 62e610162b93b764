"""What is learnt from: chats, preference pairs, or plain documents; a file holds one kind."""

from collections.abc import Sequence
from typing import TypeAlias

from registry.method import Method
from specialists.training.data import Reading, Row, read, usable
from specialists.training.documents import Document, are_documents, read_documents
from specialists.training.pairs import Pair, are_pairs, read_pairs

Lesson: TypeAlias = Row | Pair | Document


def read_lessons(content: bytes, name: str, method: Method | None = None) -> Reading[Lesson]:
    """The lessons of a file, row by row: what can be used, and what cannot.

    Args:
        content: of the file.
        name: the file's; those of `.txt` and `.md` are a document each.
        method: by which they are learnt; None goes by the first row.

    Raises:
        TrainingDataError: it is no text, or empty.
    """
    if method == "dpo" or (method is None and are_pairs(content)):
        found: Reading[Pair] | Reading[Document] | Reading[Row] = read_pairs(content, name)
    elif are_documents(content, name):
        found = read_documents(content, name)
    else:
        found = read(content, name)
    return Reading([*found.rows], found.problems)


def lessons_of(content: bytes, name: str, method: Method | None = None) -> Sequence[Lesson]:
    """All lessons of a file.

    Raises:
        TrainingDataError: it is empty, or rows cannot be used; it names all of them.
    """
    return usable(read_lessons(content, name, method), name)
