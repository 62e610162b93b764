"""Grammars as llguidance reads them, in its Lark.

https://github.com/guidance-ai/llguidance
"""

import json

from llguidance import regex_to_lark

from specialists.engine.compiling import LAYOUT


def literal(text: str) -> str:
    """A text as Lark writes it."""
    return json.dumps(text, ensure_ascii=False)


def json_rule(schema: str) -> str:
    """JSON of a schema (an object, as text), as a part of a grammar."""
    return f"%json {json.dumps(json.loads(schema) | {'x-guidance': LAYOUT})}"


def matching(expression: str) -> str:
    """Texts that match a regular expression whole."""
    return f"start: TEXT\nTEXT: /{regex_to_lark(expression)}/"


def one_of(choices: str) -> str:
    """One of a JSON list's texts.

    As one token of the grammar: of many apart each would be looked at in each step.
    """
    return f"start: TEXT\nTEXT: {' | '.join(map(literal, json.loads(choices)))}"
