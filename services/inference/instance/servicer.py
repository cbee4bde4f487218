"""``Predict`` of an instance."""

import hashlib
import time
from collections.abc import Callable

from google.protobuf.message import Message
from grpc.aio import ServicerContext

from inkwright.common.v1 import geometry_pb2
from inkwright.inference.v1 import instance_service_pb2, instance_service_pb2_grpc
from libs.runtime import call_context
from libs.runtime.errors import ForwardFailed, TooLarge
from services.inference.instance.metrics import STAGE_SECONDS
from services.inference.instance.page_reader import Reading
from services.inference.instance.reading_queue import Read, ReadingQueue

REMEMBERED_SECONDS = 60.0
MAX_REMEMBERED = 1024


class FailedInputs:
    """Inputs that made the model fail lately.

    The public SDK repeats a failed call five times at once; without this memory one such image would cost five full runs.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed: dict[str, tuple[float, ForwardFailed]] = {}

    def check(self, digest: str) -> None:
        """Refuse what failed within the last minute.

        Raises:
            ForwardFailed: as then.
        """
        failed = self._failed.get(digest)
        if failed is None:
            return
        at, fault = failed
        if self._clock() - at >= REMEMBERED_SECONDS:
            del self._failed[digest]
            return
        raise ForwardFailed(fault.message, **fault.metadata)

    def remember(self, digest: str, fault: ForwardFailed) -> None:
        """Note a failure; the oldest one is forgotten when there are too many."""
        if len(self._failed) >= MAX_REMEMBERED:
            del self._failed[next(iter(self._failed))]
        self._failed[digest] = (self._clock(), fault)


class InstanceServicer(instance_service_pb2_grpc.InstanceServiceServicer):
    """Answers callers from the queue.

    Args:
        queue: of the one engine.
        bundle_digest: told with each answer.
        max_image_bytes: of the file.
    """

    def __init__(self, queue: ReadingQueue[Reading], *, bundle_digest: str, max_image_bytes: int) -> None:
        self._queue = queue
        self._bundle_digest = bundle_digest
        self._max_image_bytes = max_image_bytes
        self._failed = FailedInputs()

    async def Predict(  # noqa: N802 - the proto's name
        self, request: instance_service_pb2.PredictRequest, context: ServicerContext[Message, Message]
    ) -> instance_service_pb2.PredictResponse:
        """Read one image."""
        if len(request.image) > self._max_image_bytes:
            raise TooLarge(
                f"The image has {len(request.image)} bytes, more than the {self._max_image_bytes} allowed; make it smaller.",
                num_bytes=len(request.image),
                max_bytes=self._max_image_bytes,
            )
        digest = hashlib.sha256(request.image).hexdigest()
        self._failed.check(digest)
        try:
            read = await self._queue.submit(request.image, remaining_seconds=call_context.remaining_seconds())
        except ForwardFailed as fault:
            self._failed.remember(digest, fault)
            raise
        response = response_of(read, bundle_digest=self._bundle_digest)
        for stage, milliseconds in stages(response.timings):
            STAGE_SECONDS.labels(stage).observe(milliseconds / 1000)
        return response


def stages(timings: instance_service_pb2.Timings) -> list[tuple[str, float]]:
    """Each stage with its milliseconds."""
    return [(field.name.removesuffix("_ms"), getattr(timings, field.name)) for field in timings.DESCRIPTOR.fields]


def response_of(read: Read[Reading], *, bundle_digest: str) -> instance_service_pb2.PredictResponse:
    """The message form of what was read."""
    reading = read.result
    return instance_service_pb2.PredictResponse(
        lines=[
            instance_service_pb2.TextLine(
                text=line.text,
                confidence=line.conf,
                quad=geometry_pb2.Quad(points=[geometry_pb2.Point(x=x, y=y) for x, y in line.quad.tolist()]),
            )
            for line in reading.lines
        ],
        width_px=reading.width_px,
        height_px=reading.height_px,
        bundle_digest=bundle_digest,
        timings=instance_service_pb2.Timings(
            queue_ms=read.queue_ms, decode_ms=reading.decode_ms, detect_ms=reading.detect_ms, recognize_ms=reading.recognize_ms
        ),
    )
