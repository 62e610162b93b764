"""All verbs of the registry, by two clients in any order, against plain Python objects.

`pytest tests/unit/test_registry_model.py --hypothesis-profile=long` makes 10,000 steps; the tests
on PostgreSQL make as many as these.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import homes
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tiny_adapter import BASE, card, config, weights

from registry import archive
from registry.collection import collect
from registry.errors import Conflict, InvalidInput, UnknownSpecialist
from registry.reference import parse_reference
from registry.registry import Registry
from registry.view import Visibility

NONE = timedelta(0)
ALIASES = ("prod", "candidate")
NAMES = ("ada/coach", "ada/poet", "bob/coach")
CONTENTS = {number: weights(seed=number) for number in range(3)}


@dataclass
class Specialist:
    """What is expected of one: its contents by version, where its aliases are and were."""

    visibility: Visibility
    contents: list[int] = field(default_factory=list)
    purged: set[int] = field(default_factory=set)
    stacks: dict[str, list[int]] = field(default_factory=lambda: {alias: [] for alias in ALIASES})
    moves: dict[str, list[int | None]] = field(
        default_factory=lambda: {alias: [] for alias in ALIASES}
    )
    tried: tuple[int, float] | None = None
    retired: bool = False

    def now(self, alias: str) -> int:
        """The version that an alias points to; 0 for none."""
        return self.stacks[alias][-1] if self.stacks[alias] else 0

    def has(self, number: int) -> bool:
        """Whether a version is to be had."""
        return 0 < number <= len(self.contents) and number not in self.purged and not self.retired

    @property
    def is_there(self) -> bool:
        """Whether anything of it is to be had."""
        return any(self.has(number + 1) for number in range(len(self.contents)))

    def move(self, alias: str, number: int) -> None:
        """Point an alias to a version."""
        if self.now(alias) != number:
            self.stacks[alias].append(number)
            self.moves[alias].append(number)
            if alias == "prod":
                self.tried = None

    def clear(self, alias: str) -> None:
        """Take an alias away."""
        if self.stacks[alias]:
            self.stacks[alias].clear()
            self.moves[alias].append(None)
            if alias == "prod":
                self.tried = None


class Model(RuleBasedStateMachine):
    """Two clients' registries over one home."""

    who = st.integers(0, 1)
    names = st.sampled_from(NAMES)
    aliases = st.sampled_from(ALIASES)
    numbers = st.integers(1, 3)
    visibilities = st.none() | st.sampled_from(list(Visibility))

    def __init__(self):
        super().__init__()
        self.folder = TemporaryDirectory()
        self.home = Path(self.folder.name, "home")
        self.registries = [homes.open_registry(self.home), Registry.open(self.home, BASE)]
        self.known: dict[str, Specialist] = {}
        self.generation = 0

    @rule(who=who, name=names, content=st.sampled_from(list(CONTENTS)),
          alias=st.none() | aliases, visibility=visibilities)  # fmt: skip
    def register(self, who, name, content, alias, visibility):
        def make():
            made = card(name, tags=[name.replace("/", "-")])
            return self.registries[who].register(
                made, config(), CONTENTS[content], alias, visibility
            )

        there = self.known.get(name)
        if there is not None and visibility not in (None, there.visibility):
            with pytest.raises(Conflict):
                make()
            return
        version, created = make()
        there = self.known.setdefault(name, Specialist(visibility or Visibility.PRIVATE))
        assert created == (content not in there.contents)
        if created:
            there.contents.append(content)
        number = there.contents.index(content) + 1
        assert version.number == number
        there.purged.discard(number)
        if created or alias is not None:
            if there.retired:
                there.retired = False
                for each in ALIASES:
                    there.clear(each)
            there.move(alias or "prod", number)

    @rule(who=who, name=names, alias=aliases, number=numbers,
          expected=st.none() | st.integers(0, 3))  # fmt: skip
    def promote(self, who, name, alias, number, expected):
        def make():
            aliases = self.registries[who].aliases
            return aliases.promote(f"{name}@{number}", alias, expected=expected)

        there = self.known.get(name)
        if there is None or not there.is_there:
            self.refused(UnknownSpecialist, make)
        elif expected not in (None, there.now(alias)):
            self.refused(Conflict, make)
        elif not there.has(number):
            self.refused(UnknownSpecialist, make)
        else:
            assert make().number == number
            there.move(alias, number)

    @rule(who=who, name=names, alias=aliases)
    def roll_back(self, who, name, alias):
        def make():
            return self.registries[who].aliases.roll_back(name, alias)

        there = self.known.get(name)
        if there is None or not there.is_there:
            self.refused(UnknownSpecialist, make)
        elif len(there.stacks[alias]) < 2:
            self.refused(Conflict, make)
        else:
            there.stacks[alias].pop()
            assert make().number == there.now(alias)
            there.moves[alias].append(there.now(alias))
            if alias == "prod":
                there.tried = None

    @rule(who=who, name=names)
    def remove(self, who, name):
        there = self.known.get(name)
        if there is None or not there.is_there or not there.stacks["candidate"]:
            self.refused(
                UnknownSpecialist, lambda: self.registries[who].aliases.remove(name, "candidate")
            )
            return
        self.registries[who].aliases.remove(name, "candidate")
        there.clear("candidate")

    @rule(who=who, name=names, number=numbers, share=st.sampled_from([0.0, 0.25, 1.0]))
    def try_out(self, who, name, number, share):
        def make():
            return self.registries[who].aliases.try_out(f"{name}@{number}", share)

        there = self.known.get(name)
        if there is None or not there.has(number) or (share and not there.now("prod")):
            self.refused(UnknownSpecialist, make)
        elif share and there.now("prod") == number:
            self.refused(InvalidInput, make)
        else:
            make()
            there.tried = (number, share) if share else None

    @rule(who=who, name=names)
    def retire(self, who, name):
        there = self.known.get(name)
        if there is None or not there.is_there:
            self.refused(UnknownSpecialist, lambda: self.registries[who].retire(name))
            return
        self.registries[who].retire(name)
        there.retired = True

    @rule(who=who, name=names)
    def restore(self, who, name):
        there = self.known.get(name)
        gone = there is not None and len(there.purged) == len(there.contents)
        if there is None:
            self.refused(UnknownSpecialist, lambda: self.registries[who].restore(name))
        elif gone and there.retired:
            self.refused(Conflict, lambda: self.registries[who].restore(name))
        else:
            self.registries[who].restore(name)
            there.retired = False

    @rule(who=who, name=names, visibility=st.sampled_from(list(Visibility)))
    def show_to(self, who, name, visibility):
        there = self.known.get(name)
        if there is None or not there.is_there:
            self.refused(UnknownSpecialist, lambda: self.registries[who].show_to(name, visibility))
            return
        self.registries[who].show_to(name, visibility)
        there.visibility = visibility

    @rule()
    def collect_garbage(self):
        collect(self.home, NONE, NONE)
        for there in self.known.values():
            if there.retired:
                there.purged = set(range(1, len(there.contents) + 1))

    @invariant()
    def both_see_the_same(self):
        live = {name: there for name, there in self.known.items() if there.has(there.now("prod"))}
        for registry in self.registries:
            found = {each.id: each for each in registry.live()}
            assert {name: each.number for name, each in found.items()} == {
                name: there.now("prod") for name, there in live.items()
            }
            for name, there in live.items():
                canary = found[name].canary
                assert (canary and (canary.number, canary.share)) == there.tried
                assert found[name].visibility == there.visibility
            listed = {each.id for each in registry.search(None, None, None, 9).data}
            assert listed == set(live)
            for name, there in self.known.items():
                self.check(registry, name, there)
            seen = {each.id for each in registry.seen_by("ada").newest()}
            assert seen == {
                name for name, there in live.items()
                if name.startswith("ada/") or there.visibility == Visibility.PUBLIC
            }  # fmt: skip

    @invariant()
    def the_feed_tells_of_all_that_is(self):
        changes = self.registries[0].changes(self.generation)
        assert [each.seq for each in changes] == list(
            range(self.generation + 1, self.registries[1].generation() + 1)
        )
        self.generation += len(changes)

    def check(self, registry, name, there):
        if not there.is_there:
            self.refused(UnknownSpecialist, lambda: registry.aliases.of(name))
            return
        pointing = {alias.name: alias.number for alias in registry.aliases.of(name)}
        assert pointing == {each: there.now(each) for each in ALIASES if there.stacks[each]}
        for alias in ALIASES:
            history = [move.number for move in registry.aliases.history(name, alias)]
            assert history == there.moves[alias][::-1]
        kept = [number + 1 for number in range(len(there.contents)) if there.has(number + 1)]
        assert [head.number for head in registry.versions(name)] == kept

    def refused(self, error, make):
        with pytest.raises(error):
            make()

    def teardown(self):
        try:
            assert list(archive.problems(self.home)) == []
            for name, there in self.known.items():
                for number in range(1, len(there.contents) + 1):
                    if there.has(number):
                        found = self.registries[0].resolve(parse_reference(f"{name}@{number}"))
                        files = self.registries[1].files(found.digest)
                        assert files.weights.read_bytes() == CONTENTS[there.contents[number - 1]]
        finally:
            for registry in self.registries:
                registry.close()
            self.folder.cleanup()


TestModel = Model.TestCase
TestModel.settings = settings(
    max_examples=8 if settings.get_current_profile_name() != "long" else 200,
    stateful_step_count=25 if settings.get_current_profile_name() != "long" else 50,
    deadline=None,
)
