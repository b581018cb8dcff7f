"""Another user of the machine wants the ports of a service, to collect the tokens of those who reconnect."""

from __future__ import annotations

import signal
from pathlib import Path

import grpc
from tritonclient.grpc.service_pb2 import ServerMetadataRequest
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from tests.helpers.service_process import worker_of
from tests.helpers.thief import Thief
from tests.helpers.waiting import until
from tests.server.real_service import started


def test_neither_port_can_be_had_while_workers_die_and_restart(tmp_path: Path) -> None:
    with started(tmp_path, "--grpc-port", "0") as serve:
        ports = [int(address.rpartition(":")[2]) for address in (serve.address, serve.grpc)]
        token = serve.token
        with Thief(ports) as thief, grpc.insecure_channel(serve.grpc) as channel:
            for end in (lambda: worker_of(serve).kill(), lambda: serve.process.send_signal(signal.SIGUSR1)):
                before = worker_of(serve).pid
                end()
                # Waits for the next worker instead of failing: whoever listens there now gets the token.
                call = GRPCInferenceServiceStub(channel).ServerMetadata.future(
                    ServerMetadataRequest(),
                    metadata=(("authorization", f"Bearer {token}"),),
                    wait_for_ready=True,
                    timeout=60,
                )
                until(lambda before=before: worker_of(serve).pid != before)  # type: ignore[misc]
                assert call.result().name
                serve.ready()
                assert not thief.took
            assert not thief.got
