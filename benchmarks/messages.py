"""Short messages about very many topics, as the base of a running server writes them.

Most of what the encoder that ships was adapted on, see docs/benchmarks/routing.md: nobody's texts,
and of no set that routing is measured on, though what many say is in both.
"""

import argparse
import asyncio
import time
from pathlib import Path
from random import Random

from rich.progress import Progress

from benchmarks.load import session

TOPICS = Path(__file__).with_name("topics.txt")
SHOWN = {
    "bees": (
        "How do bees make honey?",
        "I was stung by a bee and my hand is swelling.",
        "Where can I buy a bee hive?",
        "Tell me which flowers bees like best.",
        "Is it true that bees die in winter?",
    ),
    "elevators": (
        "Why is the elevator stuck?",
        "Call the elevator to the fifth floor.",
        "Who do I contact when the lift is out of order?",
        "What's the maximum weight for this elevator?",
        "Add a monthly elevator inspection to my list.",
    ),
    "umbrellas": (
        "Do I need an umbrella today?",
        "Find me a cheap folding umbrella.",
        "I left my umbrella on the bus, what now?",
        "What are umbrellas made of?",
        "Remind me to take my umbrella when I leave.",
    ),
    "postage stamps": (
        "How many stamps does a letter to Canada need?",
        "Order a sheet of stamps.",
        "What is the most valuable stamp in the world?",
        "Can I return stamps I didn't use?",
        "How much do stamps cost now?",
    ),
    "bridges": (
        "What is the longest bridge in Europe?",
        "Is the harbour bridge closed tonight?",
        "How are suspension bridges built?",
        "Do I have to pay to cross the bridge?",
        "Show me bridges near here.",
    ),
    "candles": (
        "How do I get wax out of a tablecloth?",
        "Which candles smell like pine?",
        "Set a timer for the candle, two hours.",
        "Is it safe to burn a candle overnight?",
        "My candle keeps going out.",
    ),
}
"""What the base is shown of how people write."""
TOKENS, TEMPERATURE, TOP_P = 120, 0.9, 0.95
ENDS = ("\n\n", "\nAbout")
SHORTEST, LONGEST, FEWEST_WORDS = 8, 160, 2
EACH, AT_ONCE = 4, 10
"""Answers to each prompt, and prompts at once."""


def prompt(draw: Random, topic: str) -> str:
    """Messages about three things, and the beginning of those about another one."""
    low = draw.random() < 0.5  # as half of all people write
    parts = ["Messages that people sent to an assistant."]
    for shown in draw.sample(sorted(SHOWN), 3):
        lines = draw.sample(SHOWN[shown], len(SHOWN[shown]))
        written = [line.lower().rstrip("?.") if low else line for line in lines]
        parts.append("\n".join((f"About {shown}:", *(f"- {line}" for line in written))))
    return "\n\n".join((*parts, f"About {topic}:\n-"))


def messages(text: str, cut: bool) -> list[str]:
    """Those in an answer; the last one of an answer that was cut off is left out."""
    lines = text.split("\n")[: -1 if cut else None]
    found = (line.strip().removeprefix("-").strip().strip('"') for line in lines)
    return [
        line
        for line in found
        if SHORTEST <= len(line) <= LONGEST and len(line.split()) >= FEWEST_WORDS
    ]


async def write(url: str, model: str, count: int, seed: int, seconds: float) -> list[str]:
    """So many messages, each once, or those that there are after so many seconds."""
    ends = time.monotonic() + seconds
    draw, found = Random(seed), dict[str, str]()
    topics = TOPICS.read_text("utf-8").splitlines()
    with Progress() as bars:
        bar = bars.add_task("messages", total=count)

        async def ask() -> None:
            while len(found) < count and time.monotonic() < ends:
                body = {
                    "model": model, "prompt": prompt(draw, draw.choice(topics)),
                    "max_tokens": TOKENS, "temperature": TEMPERATURE, "top_p": TOP_P,
                    "stop": ENDS, "seed": draw.getrandbits(31), "n": EACH,
                }  # fmt: skip
                async with http.post("/v1/completions", json=body) as answer:
                    choices = (await answer.json())["choices"]
                for choice in choices:
                    for line in messages(choice["text"], choice["finish_reason"] == "length"):
                        found.setdefault(line.lower(), line)
                bars.update(bar, completed=len(found))

        async with session(url, raise_for_status=True) as http:
            await asyncio.gather(*(ask() for _ in range(AT_ONCE)))
    return list(found.values())[:count]


def main() -> None:
    """Have them written, into a file of one a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--model", default="SmolLM2-135M-Instruct")
    parser.add_argument("--count", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=3600)
    options = parser.parse_args()
    found = asyncio.run(
        write(options.url, options.model, options.count, options.seed, options.seconds)
    )
    options.output.write_text("".join(f"{line}\n" for line in found), "utf-8")


if __name__ == "__main__":
    main()
