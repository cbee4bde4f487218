"""The gRPC methods: read, call one action, convert."""

# ruff: noqa: N802 - the proto names the methods

from collections.abc import AsyncIterator

import grpc

from inkwright.trainer.v1 import model_pb2, task_pb2, trainer_service_pb2, trainer_service_pb2_grpc
from libs.runtime.errors import InvalidInput
from libs.runtime.names import MODEL, PROJECT, TASK
from libs.runtime.paging import page_cursor, page_size, page_token
from libs.runtime.uploads import whole_upload
from services.trainer import actions, model_actions
from services.trainer.convert import log_line_to_proto, model_to_proto, order_from_proto, task_to_proto
from services.trainer.deps import Deps

DEFAULT_PAGE_SIZE = 100

Context = grpc.aio.ServicerContext[object, object]


class TrainerApi(trainer_service_pb2_grpc.TrainerServiceServicer):
    """See ``TrainerService`` in the protos."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    async def CreateTask(self, request: trainer_service_pb2.CreateTaskRequest, context: Context) -> task_pb2.Task:
        order = order_from_proto(request.task)
        task = await actions.create_task(
            self._deps, request.parent, request.task_id, order, version=request.task.version, request_id=request.request_id
        )
        return task_to_proto(task)

    async def GetTask(self, request: trainer_service_pb2.GetTaskRequest, context: Context) -> task_pb2.Task:
        TASK.parse(request.name)
        async with self._deps.work(read_only=True) as w:
            return task_to_proto(await w.tasks.get(request.name))

    async def ListTasks(self, request: trainer_service_pb2.ListTasksRequest, context: Context) -> trainer_service_pb2.ListTasksResponse:
        project = PROJECT.parse(request.parent)["project"]
        size, cursor = page_size(request, default=DEFAULT_PAGE_SIZE), page_cursor(request)
        async with self._deps.work(read_only=True) as w:
            page = await w.tasks.page(project, size=size, cursor=cursor)
        tasks = [task_to_proto(task) for task in page.items]
        return trainer_service_pb2.ListTasksResponse(tasks=tasks, next_page_token=page_token(request, page.next_cursor))

    async def TerminateTask(self, request: trainer_service_pb2.TerminateTaskRequest, context: Context) -> task_pb2.Task:
        return task_to_proto(await actions.terminate_task(self._deps, request.name))

    async def ListTaskLogs(
        self, request: trainer_service_pb2.ListTaskLogsRequest, context: Context
    ) -> trainer_service_pb2.ListTaskLogsResponse:
        TASK.parse(request.name)
        size, cursor = page_size(request, default=DEFAULT_PAGE_SIZE), page_cursor(request)
        after = int(cursor[0]) if cursor else request.after_sequence
        async with self._deps.work(read_only=True) as w:
            page = await w.logs.page(await w.tasks.get(request.name), node_id=request.node_id, after=after, size=size)
        lines = [log_line_to_proto(line) for line in page.items]
        return trainer_service_pb2.ListTaskLogsResponse(lines=lines, next_page_token=page_token(request, page.next_cursor))

    async def GetModel(self, request: trainer_service_pb2.GetModelRequest, context: Context) -> model_pb2.Model:
        MODEL.parse(request.name)
        async with self._deps.work(read_only=True) as w:
            return model_to_proto(await w.models.get(request.name))

    async def ListModels(self, request: trainer_service_pb2.ListModelsRequest, context: Context) -> trainer_service_pb2.ListModelsResponse:
        project = PROJECT.parse(request.parent)["project"]
        size, cursor = page_size(request, default=DEFAULT_PAGE_SIZE), page_cursor(request)
        async with self._deps.work(read_only=True) as w:
            page = await w.models.page(project, size=size, cursor=cursor)
        models = [model_to_proto(model) for model in page.items]
        return trainer_service_pb2.ListModelsResponse(models=models, next_page_token=page_token(request, page.next_cursor))

    async def RetireModel(self, request: trainer_service_pb2.RetireModelRequest, context: Context) -> model_pb2.Model:
        return model_to_proto(await model_actions.retire_model(self._deps, request.name))

    async def ImportModel(
        self, request_iterator: AsyncIterator[trainer_service_pb2.ImportModelRequest], context: Context
    ) -> model_pb2.Model:
        first = await anext(aiter(request_iterator), None)
        if first is None:
            raise InvalidInput("Nothing was sent; the first message names the model, the others carry its bundle.")
        chunks = whole_upload(first, request_iterator)
        return model_to_proto(await model_actions.import_model(self._deps, first.name, chunks))

    async def ReadBundle(
        self, request: trainer_service_pb2.ReadBundleRequest, context: Context
    ) -> AsyncIterator[trainer_service_pb2.ReadBundleResponse]:
        async for chunk in model_actions.read_bundle(self._deps, model=request.model, digest=request.bundle_digest):
            yield trainer_service_pb2.ReadBundleResponse(chunk=chunk)
