"""Templates of bases that think before they answer."""

from pathlib import Path

from transformers import AutoTokenizer

from specialists.engine.text import Tokenizer

# As of what was distilled from DeepSeek's R1: whoever is to answer thinks first, and what was
# thought in earlier turns is forgotten.
OPENED = (
    "{% for message in messages %}{% set content = message['content'] %}"
    "{% if message['role'] == 'assistant' and '</think>' in content %}"
    "{% set content = content.split('</think>')[-1] %}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + content + '<|im_end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n<think>\\n' }}{% endif %}"
)
# As of Qwen's: it may think, its last thoughts are shown again, and it can be told not to.
CLOSABLE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if loop.last and message['reasoning_content'] %}"
    "{{ '<think>\\n' + message['reasoning_content'] + '\\n</think>\\n\\n' }}{% endif %}"
    "{{ message['content'] + '<|im_end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}"
    "{% if enable_thinking is false %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}{% endif %}"
)
# As of Nemotron's: it thinks if it is told to in words; the template drops what it thought.
TOLD = OPENED.replace("<think>\\n", "")
# As of QwQ's in llama.cpp: nothing is thought unless that is asked for.
SHUT = OPENED.replace("<think>\\n", "<think>\\n</think>")
# As of GLM's: an answer that was not thought over has one of the marks, or both.
HALF = OPENED.replace(
    "+ content +", "+ ('</think>' if message['role'] == 'assistant' else '') + content +"
)
EMPTY = HALF.replace("'</think>' if", "'<think></think>' if")


def with_template(folder: Path, template: str) -> Tokenizer:
    """A base's tokenizer with another template."""
    theirs = AutoTokenizer.from_pretrained(folder)
    theirs.chat_template = template
    return Tokenizer(theirs, frozenset({theirs.eos_token_id}))
