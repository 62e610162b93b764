"""Affinity as a request router of Ray Serve: it runs beside every handle to the engines.

What is called with a `Call`, or with an adapter's digest, first goes where that is best.
"""

import asyncio
from typing import Any

from ray.exceptions import ActorUnavailableError
from ray.serve.request_router import (
    PendingRequest,
    ReplicaID,
    RequestRouter,
    RunningReplica,
)

from deploy.affinity import Affinity
from deploy.call import Call
from deploy.nearby import GREETING_SECONDS
from specialists.engine.report import Report

REPORT_SECONDS = 1.0
"""How often Serve's controller asks a replica for its report."""


class AffinityRouter(RequestRouter):  # type: ignore[misc]
    """Sends each `Call` where it is answered soonest, and notes in it where it went."""

    def initialize_state(self, **_settings: Any) -> None:
        """Serve's hook for the time after the constructor."""
        # Serve shows this object to nobody, and sends this module here by value: what is to be
        # seen by others in the process has to be in another one.
        self._affinity = Affinity.latest = Affinity()

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        """Take in which replicas there are, and their reports."""
        super().update_replicas(replicas)
        self._see()

    def on_replica_actor_died(self, replica_id: ReplicaID) -> None:
        """Do without a replica before the controller has noticed."""
        super().on_replica_actor_died(replica_id)
        self._see()

    def on_replica_actor_unavailable(self, replica_id: ReplicaID) -> None:
        """Ask one last that says nothing."""
        super().on_replica_actor_unavailable(replica_id)
        self._affinity.silent(replica_id.unique_id)

    def create_replica_wrapper(self, replica_info: Any) -> RunningReplica:
        """What requests are sent by to a replica."""
        return PromptReplica(replica_info)

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        """One rank for each replica, the best first."""
        if pending_request is not None:
            # Where none takes it, it is offered again after a pause, and not at once for ever.
            pending_request.routing_context.should_backoff = True
        first = _first(pending_request)
        adapter = first.generation.adapter if isinstance(first, Call) else first
        tried = first.tried if isinstance(first, Call) else ()
        by_name = {each.replica_id.unique_id: each for each in candidate_replicas}
        ranked = self._affinity.ranked(
            adapter, lambda name: self._ongoing(by_name.get(name)), tried
        )
        return [[by_name[name]] for name in ranked if name in by_name]

    def on_request_routed(
        self, pending_request: PendingRequest, replica_id: ReplicaID, _result: Any
    ) -> None:
        """Remember where a request went."""
        call = _first(pending_request)
        if not isinstance(call, Call):
            return
        call.replica, call.choices = replica_id.unique_id, len(self._replicas)
        if call.generation.adapter is not None:
            self._affinity.sent(call.generation.adapter, replica_id.unique_id)

    def _fulfill_next_pending_request(
        self, replica: RunningReplica, request_metadata: Any = None
    ) -> None:
        """Give a request the replica that was chosen for it.

        Serve looks for it by an id that all calls of one HTTP request share, and finds but one.
        """
        for pending in self._pending_requests_to_fulfill:
            if pending.metadata is request_metadata and not pending.future.done():
                self._cancel_routing_task_for_pending_request(pending)
                self._record_queue_wait_time(pending)
                pending.future.set_result(replica)
                self._remove_pending_request_from_indices(pending)
                return

    def _see(self) -> None:
        self._affinity.update(
            {each.unique_id: _report(replica) for each, replica in self._replicas.items()}
        )

    def _ongoing(self, replica: RunningReplica | None) -> int | None:
        """Requests at a replica, by what it said last of those that come by Serve, and since."""
        if replica is None:
            return None
        told = self._replica_queue_len_cache.get(replica.replica_id)
        visits = self._affinity.visits(replica.replica_id.unique_id)
        return None if told is None else told + visits


class PromptReplica(RunningReplica):  # type: ignore[misc]
    """A replica that has to say soon whether it takes a request; Serve waits until it is replaced.

    Who has taken nothing in time is given up, and another is asked.
    """

    def try_send_request(self, pr: PendingRequest, with_rejection: bool) -> Any:
        """Send a request; what comes back tells first whether it is taken."""
        result = super().try_send_request(pr, with_rejection)
        taken = result.get_rejection_response

        async def soon() -> Any:
            try:
                return await asyncio.wait_for(taken(), GREETING_SECONDS)
            except TimeoutError:
                raise ActorUnavailableError("it says nothing", None) from None

        result.get_rejection_response = soon
        return result


def _first(request: PendingRequest | None) -> Call | str | None:
    """The first argument, by which it is decided."""
    first = request.args[0] if request is not None and request.args else None
    return first if isinstance(first, Call | str) else None


def _report(replica: RunningReplica) -> Report | None:
    told = replica.routing_stats
    return Report(**told) if told else None
