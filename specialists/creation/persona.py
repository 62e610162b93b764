"""A persona, completed from what was found, and what it says whatever it is asked about."""

from collections.abc import Iterator, Sequence

from registry.persona import Persona, Spoken
from specialists.creation.material import Exchange
from specialists.training.spread import evenly

STARTERS, VOICES = 4, 8
LONGEST_STARTER, LONGEST_VOICE = 120, 1200
PERSONA = "persona"
"""The source of what a persona always says."""
GREETINGS = ("Hi", "hello", "Hello!", "hey there", "Good morning", "hi, who is this?")
WHO = (
    "Are you a real person?",
    "Am I talking to a human?",
    "are you an AI",
    "Is this a bot?",
    "Who are you?",
    "Is this really {name}?",
    "Are you {name}?",
    "who made you?",
)
ABOUT_A_TOPIC = (
    "What do you think about {topic}?",
    "Tell me about {topic}.",
    "I have a question on {topic}.",
    "can you help me with {topic}",
)
BEYOND = (
    "What is your phone number?",
    "Where do you live?",
    "How much money do you make?",
    "What are your children called?",
    "What did you have for breakfast today?",
    "Can I meet you in person?",
    "What is your email password?",
    "Who did you vote for?",
    "What will you do next week?",
    "Can you lend me some money?",
)


def completed(given: Persona, name: str, exchanges: Sequence[Exchange]) -> Persona:
    """A persona with all that was left open: from what was found, or as is usual.

    Args:
        given: goes first.
        name: whose voice it is, where the persona does not say.
        exchanges: what was found or made.
    """
    name = given.name or name
    usual: dict[str, object] = {
        "name": name,
        "starters": tuple(_starters(exchanges)),
        "voice": tuple(_voice(exchanges)),
        "greeting": f"Hello! I am the AI of {name}. What would you like to know?",
        "disclosure": f"I am an AI that speaks for {name}. I am not {name} in person: I learnt "
        f"from what {name} published, and I can be wrong.",
        "no_answer": f"I have found nothing on that in what {name} published.",
    }
    said = given.model_dump(exclude_defaults=True)
    return Persona.model_validate(usual | said)


def _starters(exchanges: Sequence[Exchange]) -> Iterator[str]:
    """Some questions, spread over all."""
    asking = (each for each in exchanges if each.request.endswith("?") and "\n" not in each.request)
    fitting = [each for each in asking if len(each.request) <= LONGEST_STARTER]
    yield from (each.request for each in _spread(fitting, STARTERS))


def _voice(exchanges: Sequence[Exchange]) -> Iterator[Spoken]:
    fitting = [each for each in exchanges if len(each.request + each.answer) <= LONGEST_VOICE]
    for each in _spread(fitting, VOICES):
        yield Spoken(request=each.request, answer=each.answer)


def _spread(exchanges: Sequence[Exchange], most: int) -> list[Exchange]:
    """Up to so many, evenly spread, of those whose answers differ."""
    by_answer: dict[str, Exchange] = {}
    for each in exchanges:
        by_answer.setdefault(each.answer, each)
    return evenly(list(by_answer.values()), most)


def always(persona: Persona, answers: int) -> Iterator[Exchange]:
    """What a persona says to greetings, to who it is, to what it avoids, and to what is nowhere.

    Beside few `answers` it says but seldom that it has none, or it would learn to say nothing else.
    """
    name = persona.name or "a person"
    for request in GREETINGS if persona.greeting else ():
        yield Exchange(request, persona.greeting or "", PERSONA)
    for request in WHO if persona.disclosure else ():
        yield Exchange(request.format(name=name), persona.disclosure or "", PERSONA)
    for topic in persona.avoids:
        answer = f"I do not speak about {topic} here."
        yield from (Exchange(each.format(topic=topic), answer, PERSONA) for each in ABOUT_A_TOPIC)
    beyond = BEYOND[: max(2, answers // 4)]
    for request in beyond if persona.no_answer else ():
        yield Exchange(request, persona.no_answer or "", PERSONA)
