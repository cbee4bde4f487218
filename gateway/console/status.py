"""The whole installation at a glance: asks everybody at once and says what is not well."""

# ruff: noqa: N802 - the proto names the methods

import asyncio
import shutil
import time
from collections.abc import Mapping
from datetime import UTC
from pathlib import Path

from gateway.console.diagnosis import problems_of
from inkwright.common.v1 import process_service_pb2, process_service_pb2_grpc
from inkwright.gateway.v1 import status_pb2, status_service_pb2
from inkwright.inference.v1 import deployment_pb2, inference_service_pb2, inference_service_pb2_grpc
from inkwright.trainer.v1 import task_pb2, trainer_service_pb2, trainer_service_pb2_grpc
from libs.runtime import process
from libs.runtime.bus import BUS_ERRORS, Bus
from libs.runtime.bus_state import BusState
from libs.runtime.errors import Fault
from libs.runtime.grpc_client import call, connect, is_serving
from libs.runtime.logs import get_logger
from libs.runtime.names import DEFAULT_PROJECT, PROJECT
from libs.runtime.times import to_timestamp, utc_now
from libs.runtime.trust import Credentials

log = get_logger()

ANSWER_SECONDS = 3.0
NUM_TASKS = 100
NUM_DEPLOYMENTS = 1000

Task = task_pb2.Task
OPEN_STATES = (Task.PENDING, Task.RUNNING, Task.TERMINATING)


class StatusApi:
    """See ``StatusService`` in the protos.

    Args:
        home: folder whose disk counts.
        address: of the gateway itself.
        addresses: of the services, by name; channels are made at once and connect when first used.
        credentials: of whoever asks for the status.
    """

    def __init__(self, bus: Bus, home: Path, address: str, addresses: Mapping[str, str], credentials: Credentials) -> None:
        self._bus = bus
        self._home = home
        self._address = address
        self._addresses = addresses
        self._channels = {service: connect(at, credentials) for service, at in addresses.items()}

    async def close(self) -> None:
        """Close the channels."""
        for channel in self._channels.values():
            await channel.close()

    async def GetStatus(self, request: status_service_pb2.GetStatusRequest) -> status_pb2.Status:
        """See the proto."""
        (bus, tasks, deployments), services = await asyncio.gather(
            asyncio.gather(self._bus_status(), self._tasks(), self._deployments()),
            asyncio.gather(*(self._service(service) for service in self._addresses)),
        )
        status = status_pb2.Status(
            time=to_timestamp(utc_now()),
            services=[self._own(), *services],
            bus=bus,
            tasks=tasks,
            deployments=deployments,
            disk=await asyncio.to_thread(self._disk),
        )
        status.problems.extend(problems_of(status))
        return status

    def _own(self) -> status_pb2.ServiceStatus:
        return status_pb2.ServiceStatus(
            service="gateway",
            address=self._address,
            is_reachable=True,
            is_ready=True,
            version=process.version(),
            start_time=to_timestamp(process.start_time()),
        )

    async def _service(self, service: str) -> status_pb2.ServiceStatus:
        status = status_pb2.ServiceStatus(service=service, address=self._addresses[service])
        channel = self._channels[service]
        asked = process_service_pb2.GetProcessRequest()
        began, asked_at = time.monotonic(), utc_now()
        try:
            said = await call(process_service_pb2_grpc.ProcessServiceStub(channel).GetProcess, asked, deadline_seconds=ANSWER_SECONDS)
            seconds = time.monotonic() - began
        except Fault as fault:
            log.info("service_does_not_answer", peer=service, message=fault.message)
            return status
        status.is_reachable = True
        status.is_ready = await is_serving(channel, within_seconds=ANSWER_SECONDS)
        status.version = said.version
        status.start_time.CopyFrom(said.start_time)
        # Its clock was read about halfway between the question and the answer.
        status.clock_offset_seconds = round((said.current_time.ToDatetime(UTC) - asked_at).total_seconds() - seconds / 2, 3)
        status.answer_ms = round(seconds * 1000, 1)
        return status

    async def _bus_status(self) -> status_pb2.BusStatus:
        if not self._bus.is_connected:
            return status_pb2.BusStatus()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                state = await BusState.read(self._bus)
        except BUS_ERRORS as error:
            log.info("bus_does_not_answer", error=repr(error))
            return status_pb2.BusStatus()
        return status_pb2.BusStatus(
            is_connected=True,
            server_version=self._bus.server_version,
            streams=[
                status_pb2.StreamStatus(name=row.name, num_messages=row.num_messages, size_bytes=row.size_bytes) for row in state.streams
            ],
            consumers=[
                status_pb2.ConsumerStatus(
                    durable=row.durable,
                    stream=row.stream,
                    num_waiting=row.num_waiting,
                    num_in_hand=row.num_in_hand,
                    num_tried_again=row.num_tried_again,
                )
                for row in state.consumers
            ],
            num_dead_letters=state.num_dead_letters,
            num_jobs=sum(row.num_messages for row in state.streams if row.is_work_queue),
        )

    async def _tasks(self) -> list[status_pb2.TaskStatus]:
        stub = trainer_service_pb2_grpc.TrainerServiceStub(self._channels["trainer"])
        request = trainer_service_pb2.ListTasksRequest(parent=PROJECT.format(project=DEFAULT_PROJECT), page_size=NUM_TASKS)
        try:
            found = await call(stub.ListTasks, request, deadline_seconds=ANSWER_SECONDS)
        except Fault as fault:
            log.info("tasks_unknown", message=fault.message)
            return []
        return [_task(task) for task in found.tasks if task.state in OPEN_STATES]

    async def _deployments(self) -> list[status_pb2.DeploymentStatus]:
        stub = inference_service_pb2_grpc.InferenceServiceStub(self._channels["inference"])
        request = inference_service_pb2.ListDeploymentsRequest(
            parent=PROJECT.format(project=DEFAULT_PROJECT), page_size=NUM_DEPLOYMENTS, show_suggestion=True
        )
        try:
            found = await call(stub.ListDeployments, request, deadline_seconds=ANSWER_SECONDS)
        except Fault as fault:
            log.info("deployments_unknown", message=fault.message)
            return []
        return [_deployment(deployment) for deployment in found.deployments]

    def _disk(self) -> status_pb2.DiskStatus:
        usage = shutil.disk_usage(self._home)
        return status_pb2.DiskStatus(path=str(self._home), total_bytes=usage.total, free_bytes=usage.free)


def _task(task: task_pb2.Task) -> status_pb2.TaskStatus:
    return status_pb2.TaskStatus(
        name=task.name,
        state=Task.State.Name(task.state),
        progress=task.progress,
        running_nodes=[node.node_id for node in task.nodes if node.state == task_pb2.Node.RUNNING],
    )


def _deployment(deployment: deployment_pb2.Deployment) -> status_pb2.DeploymentStatus:
    return status_pb2.DeploymentStatus(
        name=deployment.name,
        state=deployment_pb2.Deployment.State.Name(deployment.state),
        num_instances=deployment.num_instances,
        num_ready=sum(instance.state == deployment_pb2.Instance.READY for instance in deployment.instances),
        num_in_flight=sum(instance.num_in_flight for instance in deployment.instances),
        message=deployment.message,
    )
