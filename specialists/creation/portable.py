"""PDF documents, page by page."""

import io
import logging
import re
import time

from pypdf import PdfReader

from specialists.creation.documents import plain
from specialists.creation.material import Material, together

# It tells at length what is odd about a file whose text it finds all the same.
logging.getLogger("pypdf").setLevel(logging.ERROR)


READ_SECONDS = 300.0
"""Of a processor's time, that a document may take: a small one may name a page a million times."""


def read_pdf(content: bytes, source: str, voice: str) -> Material:
    """The text of the pages, if they have any and are not locked."""
    texts: list[str] = []
    ends = time.thread_time() + READ_SECONDS
    try:
        for page in PdfReader(io.BytesIO(content)).pages:
            if time.thread_time() > ends:
                raise ValueError(f"{READ_SECONDS:g} s do for {len(texts)} pages; send it in parts")
            texts.append(page.extract_text())
    # What a damaged document raises, its reader does not promise.
    except Exception as error:
        raise ValueError(f"cannot be read as PDF: {error}") from error
    if not any(text.strip() for text in texts):
        raise ValueError("has no text, only pictures of it")
    pages = enumerate(map(_flowing, texts), 1)
    return together(plain(text, f"{source}, page {number}", voice) for number, text in pages)


def _flowing(text: str) -> str:
    """Without the ends of lines that only the width of the page made."""
    whole = re.sub(r"(?<=[^\W\d_])[-\u00ad]\n(?=[^\W\d_])", "", text)
    return re.sub(r"(?<!\n)\n(?![^\S\n]*\n)", " ", whole)
