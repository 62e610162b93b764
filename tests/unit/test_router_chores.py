"""What chat interfaces send of their own accord goes to the base; what people ask does not."""

import time

import pytest

from router.routing.chores import is_chore

CHAT = "<chat_history>\nUSER: I was offered 62k\nASSISTANT: Ask for 70k.\n</chat_history>"
OPEN_WEBUI = [
    "### Task:\nGenerate a concise, 3-5 word title with an emoji summarizing the chat history.\n"
    "### Guidelines:\n- Write the title in the chat's primary language\n### Chat History:\n" + CHAT,
    "### Task:\nGenerate 1-3 broad tags categorizing the main themes of the chat history, along "
    "with 1-3 more specific subtopic tags.\n### Chat History:\n" + CHAT,
    "### Task:\nSuggest 3-5 relevant follow-up questions or prompts that the user might naturally "
    "ask next in this conversation as a **user**, based on the chat history.\n### Chat History:\n"
    + CHAT,
    "### Task:\nAnalyze the chat history to determine the necessity of generating search queries, "
    "in the given language.\n### Chat History:\n" + CHAT,
]
OTHERS = [
    "Provide a concise, 5-word-or-less title for the conversation, using title case conventions.",
    "Please write a short title for this chat: I was offered 62k but hoped for 70k",
    "Summarize the conversation in a title of at most five words.",
]
PEOPLE = [
    "I was offered 62k but hoped for 70k",
    "Write a title for my essay on whales",
    "Suggest tags for this blog post about sourdough",
    "Give me a summary of this meeting: Ann sends the report by Friday.",
    "We had a long conversation about my title at work, and I want a raise",
    "What follow-up questions should I ask in the interview?",
    "Generate an emoji for pizza",
    "create a commit message: title of chat page fixed",
    "",
]


@pytest.mark.parametrize("text", OPEN_WEBUI + OTHERS)
def test_a_chore_is_known(text):
    assert is_chore(text)


@pytest.mark.parametrize("text", PEOPLE)
def test_what_people_ask_is_none(text):
    assert not is_chore(text)


@pytest.mark.parametrize("text", ["#" * 2_000_000, "title " * 300_000, "generate " * 200_000])
def test_a_hostile_text_takes_no_longer_than_another(text):
    began = time.process_time()
    is_chore(f"generate a title {text}")
    assert time.process_time() - began < 5
