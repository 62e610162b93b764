"""Requests go straight to a router of this machine, and the long way where there is none."""

import asyncio
import socket
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from patience import HANGS

from deploy import nearby
from deploy.direct import ABNORMAL, Direct, directly
from deploy.entrance import Entrance
from deploy.nearby import ROUTERS, Nearby

TOLD = [{"type": "http.response.start", "status": 200, "headers": [(b"a", b"\xff")]}]
PART = {"type": "http.response.body", "body": b"\x00part", "more_body": True}
LAST = {"type": "http.response.body", "body": b"", "more_body": False}
REQUEST = {"type": "http.request", "body": b"", "more_body": False}


class Client:
    """What a server knows of one request."""

    def __init__(self, *messages, kind="http", path="/v1/models"):
        self.messages = list(messages or (REQUEST,))
        self.scope = {
            "type": kind,
            "path": path,
            "headers": [(b"x", b"\xfe")],
            "client": ("127.0.0.1", 7),
            "state": object(),
        }
        self.got = []
        self.leaves = asyncio.Event()

    async def receive(self):
        if not self.messages:
            await self.leaves.wait()
            return {"type": "http.disconnect"}
        return self.messages.pop(0)

    async def send(self, message):
        self.got.append(message)

    async def ask(self, front):
        await front(self.scope, self.receive, self.send)
        return self.got


class Router:
    """An application that notes what it is asked, and answers once it may."""

    def __init__(self, *answer):
        self.answer = answer or (*TOLD, PART, LAST)
        self.scopes = []
        self.bodies = []
        self.may = asyncio.Event()
        self.may.set()

    async def __call__(self, scope, receive, send):
        self.scopes.append(scope)
        self.bodies.append(await body_of(receive))
        await self.may.wait()
        for message in self.answer:
            await send(message)


async def body_of(receive):
    parts, more = [], True
    while more:
        message = await receive()
        parts.append(message["body"])
        more = message["more_body"]
    return b"".join(parts)


async def until(holds):
    while not holds():  # noqa: ASYNC110 - plain values, as applications know them
        await asyncio.sleep(0)


async def turns(count):
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.fixture
def machine(tmp_path):
    """A front, the long way behind it, and routers on sockets."""

    @asynccontextmanager
    async def opened(*apps):
        long_way = Router()
        entrances = [Entrance(directly(app), tmp_path / f"r{at}") for at, app in enumerate(apps)]
        async with AsyncExitStack() as stack:
            for entrance in entrances:
                await entrance.open()
                stack.push_async_callback(entrance.close)
            yield Direct(long_way, Nearby(ROUTERS, tmp_path)), long_way, entrances

    return opened


def test_requests_and_answers_pass_as_they_are(machine):
    async def scenario():
        router = Router()
        async with machine(router) as (front, long_way, _):
            client = Client(
                {"type": "http.request", "body": b"\xff\x00", "more_body": True},
                {"type": "http.request", "body": b"x" * 9_000_000, "more_body": False},
            )
            assert await client.ask(front) == [*TOLD, PART, LAST]
        assert router.bodies == [b"\xff\x00" + b"x" * 9_000_000]
        assert router.scopes == [
            {
                "type": "http",
                "path": "/v1/models",
                "headers": [(b"x", b"\xfe")],
                "client": ("127.0.0.1", 7),
            }
        ]
        assert long_way.scopes == []

    asyncio.run(scenario())


@pytest.mark.parametrize("client", [{"path": "/-/healthz"}, {"kind": "lifespan"}])
def test_what_is_not_the_routers_goes_the_long_way(machine, client):
    async def scenario():
        router = Router()
        async with machine(router) as (front, long_way, _):
            await Client(**client).ask(front)
        assert (len(router.scopes), len(long_way.scopes)) == (0, 1)

    asyncio.run(scenario())


def test_where_no_router_is_here_the_long_way_is_there(machine):
    async def scenario():
        async with machine() as (front, long_way, _):
            assert await Client().ask(front) == [*TOLD, PART, LAST]
        assert len(long_way.scopes) == 1

    asyncio.run(scenario())


def test_who_is_busy_is_asked_last(machine):
    async def scenario():
        routers = Router(), Router()
        async with machine(*routers) as (front, _, _):
            for router in routers:
                router.may.clear()
            waiting = [asyncio.create_task(Client().ask(front)) for _ in range(6)]
            await until(lambda: sum(len(router.bodies) for router in routers) == 6)
            assert [len(router.bodies) for router in routers] == [3, 3]
            for router in routers:
                router.may.set()
            await asyncio.gather(*waiting)

    asyncio.run(scenario())


def test_a_router_that_closes_ends_what_it_took_and_takes_no_more(machine):
    async def scenario():
        leaving, staying = Router(), Router()
        async with machine(leaving, staying) as (front, _, (entrance, _)):
            leaving.may.clear()
            staying.may.clear()
            taken = asyncio.create_task(Client().ask(front))
            await until(lambda: leaving.bodies or staying.bodies)
            taken = [taken, asyncio.create_task(Client().ask(front))]
            await until(lambda: leaving.bodies and staying.bodies)
            staying.may.set()
            closing = asyncio.create_task(entrance.close())
            for _ in range(5):
                assert await Client().ask(front) == [*TOLD, PART, LAST]
            assert len(leaving.bodies) == 1
            assert not closing.done()
            leaving.may.set()
            await closing
            assert [await each for each in taken] == [[*TOLD, PART, LAST]] * 2

    asyncio.run(scenario())


def test_who_connects_while_a_router_closes_asks_elsewhere(machine):
    async def scenario():
        router = Router()
        async with machine(router) as (front, long_way, (entrance,)):
            asking = asyncio.create_task(Client().ask(front))
            await asyncio.sleep(0)  # Connecting, and not let in yet.
            await entrance.close()
            assert await asking == [*TOLD, PART, LAST]
        assert len(router.scopes) + len(long_way.scopes) == 1

    asyncio.run(scenario())


def test_who_waits_to_be_let_in_may_leave(tmp_path):
    async def scenario():
        with socket.socket(socket.AF_UNIX) as hanging:
            hanging.bind(str(tmp_path / "r0"))
            hanging.listen()
            routers = Nearby(ROUTERS, tmp_path)
            asking = asyncio.create_task(Client().ask(Direct(Router(), routers)))
            await until(lambda: routers._ongoing["r0"])
            await turns(20)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            assert routers._ongoing["r0"] == 0
            assert routers.visits("r0") is None

    asyncio.run(scenario())


def test_another_router_answers_for_one_that_hangs(machine, tmp_path, monkeypatch):
    monkeypatch.setattr(nearby, "GREETING_SECONDS", 0.05)

    async def scenario():
        router = Router()
        async with machine(router) as (front, long_way, _):
            with socket.socket(socket.AF_UNIX) as hanging:
                hanging.bind(str(tmp_path / "a-hanging"))
                hanging.listen()
                async with front._routers.entered("a-hanging") as pipe:
                    assert pipe is None
                monkeypatch.setattr(nearby, "GREETING_SECONDS", HANGS)
                # Though the other one is busier.
                front._routers._ongoing["r0"] = 1
                for _ in range(3):
                    assert await Client().ask(front) == [*TOLD, PART, LAST]
                assert front._routers.names() == ["r0", "a-hanging"]
        assert (len(router.scopes), len(long_way.scopes)) == (3, 0)

    asyncio.run(scenario())


def test_a_router_tells_of_those_that_others_asked(machine, tmp_path):
    async def scenario():
        router = Router()
        async with machine(router) as (front, _, _):
            router.may.clear()
            theirs = [asyncio.create_task(Client().ask(front)) for _ in range(3)]
            await until(lambda: len(router.bodies) == 3)
            routers = Nearby(ROUTERS, tmp_path)
            ours = asyncio.create_task(Client().ask(Direct(Router(), routers)))
            await until(lambda: routers.visits("r0") == 4)
            router.may.set()
            await asyncio.gather(ours, *theirs)

    asyncio.run(scenario())


def test_what_a_killed_router_left_is_cleared_away(machine, tmp_path):
    async def scenario():
        router = Router()
        async with machine(router) as (front, _, _):
            with socket.socket(socket.AF_UNIX) as killed:
                killed.bind(str(tmp_path / "a-killed"))
            for _ in range(3):
                await Client().ask(front)
        assert len(router.scopes) == 3
        assert not list(tmp_path.iterdir())

    asyncio.run(scenario())


def test_a_router_is_not_asked_before_it_listens(machine, tmp_path):
    async def scenario():
        async with machine() as (front, long_way, _):
            with socket.socket(socket.AF_UNIX) as starting:
                starting.bind(str(tmp_path / ".starting"))
                await Client().ask(front)
            assert len(long_way.scopes) == 1
            assert list(tmp_path.iterdir()) == [tmp_path / ".starting"]

    asyncio.run(scenario())


def test_a_router_hears_of_a_client_that_left(machine):
    async def scenario():
        heard = []

        async def router(scope, receive, send):
            await body_of(receive)
            waiting = asyncio.ensure_future(receive())
            await asyncio.sleep(0)
            waiting.cancel()  # As those do who wait for something else meanwhile.
            await asyncio.gather(waiting, return_exceptions=True)
            client.leaves.set()
            heard.extend([await receive(), await receive()])

        async with machine(router) as (front, _, _):
            client = Client()
            assert await client.ask(front) == []
        assert heard == [{"type": "http.disconnect"}] * 2

    asyncio.run(scenario())


def test_an_answer_arrives_though_its_router_did_not_read_the_request(machine):
    async def scenario():
        async def router(scope, receive, send):
            await turns(50)  # More comes than is read ahead, and lies in the socket.
            await send(*TOLD)
            await until(lambda: client.got)
            await send(LAST)

        class Slow(Client):
            async def send(self, message):
                await super().send(message)
                await turns(50)  # Meanwhile the router has ended.

        async with machine(router) as (front, _, _):
            part = {"type": "http.request", "body": bytes(30_000), "more_body": True}
            client = Slow(*[part] * 50)
            assert await client.ask(front) == [*TOLD, LAST]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("headers", "passed"), [([(b"content-length", b"5")], 0), ([(b"content-type", b"x")], 1)]
)
def test_of_an_answer_in_one_piece_nothing_goes_out_before_its_body(machine, headers, passed):
    async def scenario():
        start = {"type": "http.response.start", "status": 200, "headers": headers}
        body = {"type": "http.response.body", "body": b"whole"}
        answers = [(start,), (start, body)]

        async def router(scope, receive, send):
            for message in answers.pop(0):
                await send(message)

        async with machine(router) as (front, _, _):
            assert len(await Client().ask(front)) == passed
            assert await Client().ask(front) == [start, body]

    asyncio.run(scenario())


def test_an_answer_that_a_router_breaks_off_just_ends(machine, caplog):
    async def scenario():
        async def router(scope, receive, send):
            await send(TOLD[0])
            raise RuntimeError("lost")

        async with machine(router) as (front, long_way, _):
            assert await Client().ask(front) == TOLD
        assert not long_way.scopes

    asyncio.run(scenario())
    assert "a request broke off" in caplog.text


def test_a_client_that_reads_slowly_holds_its_router_back(machine):
    async def scenario():
        sent, reads = 0, asyncio.Event()

        async def router(scope, receive, send):
            nonlocal sent
            while sent < 100:
                await send({**PART, "body": bytes(100_000)})
                sent += 1

        class Slow(Client):
            async def send(self, message):
                await reads.wait()
                await super().send(message)

        async with machine(router) as (front, _, _):
            client = Slow()
            asking = asyncio.create_task(client.ask(front))
            before = -1
            while before < sent or not sent:
                before = sent
                await asyncio.sleep(0.05)  # Longer would find more held back, not less.
            assert sent < 50
            reads.set()
            await asking
            assert len(client.got) == 100

    asyncio.run(scenario())


def test_web_sockets_pass_both_ways(machine):
    async def scenario():
        async def router(scope, receive, send):
            assert await receive() == {"type": "websocket.connect"}
            await send({"type": "websocket.accept", "subprotocol": None})
            said = await receive()
            await send({"type": "websocket.send", "text": said["text"].upper()})

        async with machine(router) as (front, _, _):
            client = Client(
                {"type": "websocket.connect"},
                {"type": "websocket.receive", "text": "grüß"},
                kind="websocket",
            )
            _, answer = await client.ask(front)
        assert answer == {"type": "websocket.send", "text": "GRÜSS"}

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("kind", "told"), [("http", {"type": "http.disconnect"}), ("websocket", ABNORMAL)]
)
def test_a_router_whose_front_was_lost_has_lost_the_client(machine, kind, told):
    async def scenario():
        heard = []

        async def router(scope, receive, send):
            await receive()
            asking.cancel()
            heard.append(await receive())
            await send(LAST)

        async with machine(router) as (front, _, _):
            asking = asyncio.create_task(Client(kind=kind).ask(front))
            await asyncio.gather(asking, return_exceptions=True)
            await until(lambda: heard)
        assert heard == [told]

    asyncio.run(scenario())
