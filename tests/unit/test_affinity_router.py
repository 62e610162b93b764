"""Affinity as Serve's request router: every call gets the replica that was chosen for it."""

import asyncio
from types import SimpleNamespace

import pytest
from patience import HANGS
from ray.exceptions import ActorUnavailableError
from ray.serve._private.common import (
    DeploymentHandleSource,
    DeploymentID,
    ReplicaID,
    RequestMetadata,
)
from ray.serve._private.request_router.common import PendingRequest
from ray.serve.request_router import RunningReplica

from deploy import affinity_router
from deploy.affinity_router import AffinityRouter, PromptReplica
from deploy.call import Call
from router.engine import Generation
from specialists.engine.report import Report, marks

DIGESTS = [f"sha256:{number:016x}{0:048x}" for number in range(12)]
ENGINE = DeploymentID("engine", "myriad")


class Replica:
    """A running replica that says how many requests it has."""

    def __init__(self, name, *, resident=(), ongoing=0, most=10):
        self.replica_id = ReplicaID(name, ENGINE)
        self.routing_stats = Report(resident=marks(resident)).told()
        self.max_ongoing_requests = most
        self.ongoing = ongoing

    async def get_queue_len(self, *, deadline_s):
        return self.ongoing


def request(adapter, shared="one"):
    """A call as the router gets it; all calls of one HTTP request share an internal id."""
    metadata = RequestMetadata(request_id="r", internal_request_id=shared)
    call = Call(Generation("r", adapter, "hi"))
    return PendingRequest(args=[call], kwargs={}, metadata=metadata)


def routed(replicas, *adapters, retries=()):
    """Where calls that come at once are sent, in their order."""

    async def choose():
        router = AffinityRouter(
            ENGINE, DeploymentHandleSource.REPLICA, use_replica_queue_len_cache=True
        )
        router.initialize_state()
        router.update_replicas(replicas)
        calls = [request(adapter) for adapter in adapters]
        async with asyncio.timeout(HANGS):
            chosen = await asyncio.gather(*map(router._choose_replica_for_request, calls))
        for call, replica in zip(calls, chosen, strict=True):
            router.on_request_routed(call, replica.replica_id, None)
        return router, calls, [replica.replica_id.unique_id for replica in chosen]

    return asyncio.run(choose())


def test_calls_that_share_an_id_all_get_their_own_replica():
    replicas = [Replica("a", resident=DIGESTS[::2]), Replica("b", resident=DIGESTS[1::2])]
    _, calls, chosen = routed(replicas, *DIGESTS)
    assert chosen == ["a", "b"] * 6
    assert [call.args[0].replica for call in calls] == chosen
    assert {call.args[0].choices for call in calls} == {2}


def test_a_call_waits_for_a_place_without_holding_up_others():
    class Filling(Replica):
        """Full when it is asked first, with a place from then on."""

        async def get_queue_len(self, *, deadline_s):
            self.ongoing, told = 0, self.ongoing
            return told

    _, _, chosen = routed([Filling("a", ongoing=10)], DIGESTS[0], DIGESTS[1])
    assert chosen == ["a", "a"]


def test_hints_and_other_calls_are_routed_too():
    async def choose(*arguments):
        router = AffinityRouter(ENGINE, DeploymentHandleSource.REPLICA)
        router.initialize_state()
        router.update_replicas([Replica("a"), Replica("b", resident=DIGESTS[:1])])
        metadata = RequestMetadata(request_id="r", internal_request_id="x")
        pending = PendingRequest(args=list(arguments), kwargs={}, metadata=metadata)
        found = await router._choose_replica_for_request(pending)
        router.on_request_routed(pending, found.replica_id, SimpleNamespace())
        return found.replica_id.unique_id

    assert asyncio.run(choose(DIGESTS[0], True)) == "b"
    assert asyncio.run(choose()) in ("a", "b")


def test_a_replica_that_died_is_not_chosen_again():
    router, _, _ = routed([Replica("a"), Replica("b")], None)
    router.on_replica_actor_died(ReplicaID("a", ENGINE))
    assert router._affinity.ranked(DIGESTS[0]) == ["b"]


def test_one_that_does_not_say_whether_it_takes_a_call_is_given_up(monkeypatch):
    class Sent:
        """A request at a replica that hangs, or not."""

        left = False

        async def get_rejection_response(self):
            try:
                return await answer()
            except asyncio.CancelledError:
                self.left = True
                raise

    async def takes():
        return "taken"

    async def hangs():
        await asyncio.Event().wait()

    sent, answer = Sent(), takes
    monkeypatch.setattr(RunningReplica, "try_send_request", lambda *_: sent)
    replica = PromptReplica.__new__(PromptReplica)
    assert asyncio.run(replica.try_send_request(None, True).get_rejection_response()) == "taken"
    monkeypatch.setattr(affinity_router, "GREETING_SECONDS", 0.01)
    sent, answer = Sent(), hangs
    with pytest.raises(ActorUnavailableError, match="it says nothing"):
        asyncio.run(replica.try_send_request(None, True).get_rejection_response())
    assert sent.left


def test_one_that_says_nothing_is_chosen_last():
    router, _, _ = routed([Replica("a", resident=DIGESTS[:1]), Replica("b")], None)
    assert router._affinity.ranked(DIGESTS[0]) == ["a", "b"]
    router.on_replica_actor_unavailable(ReplicaID("a", ENGINE))
    assert router._affinity.ranked(DIGESTS[0]) == ["b", "a"]


@pytest.mark.parametrize("count", [1, 40])
def test_many_calls_at_once(count):
    _, _, chosen = routed([Replica("a", most=100), Replica("b", most=100)], *[None] * count)
    assert len(chosen) == count
