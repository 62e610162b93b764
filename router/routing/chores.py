"""Prompts that chat interfaces send of their own accord: titles, tags, questions to ask next."""

import re

HEAD = 2000
"""Characters in which such a prompt says what it wants."""
TRANSCRIPT = re.compile(r"<chat_history>|#{1,6} {0,3}chat history|<conversation>|<messages>", re.I)
WANTED = re.compile(
    r"\b(generate|create|write|provide|suggest|give|come up with|summari[sz]e|analy[sz]e)\b"
    r".{0,100}?\b(title|tags?|follow-?up (questions?|prompts?)|search quer(y|ies)|emoji|summary)\b",
    re.I | re.S,
)
THE_CHAT = r"\b(the|this|our|following) (chat|conversation|dialogue)\b"
TITLE = re.compile(
    rf"\btitle\b.{{0,60}}\b(for|of) {THE_CHAT}|\bsummari[sz]e {THE_CHAT}.{{0,40}}\btitle\b",
    re.I | re.S,
)


def is_chore(text: str) -> bool:
    """Whether a message is about a chat that it quotes, and was written by no user.

    The prompts of Open WebUI quote the chat between tags; those of LibreChat and others ask for the
    title of "the conversation" in their first words.
    """
    head = text[:HEAD]
    quotes = WANTED.search(head) is not None and TRANSCRIPT.search(text) is not None
    return quotes or TITLE.search(head) is not None
