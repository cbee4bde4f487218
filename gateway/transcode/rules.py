"""From service descriptors to bindings: which HTTP request stands for which gRPC method."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from google.api import annotations_pb2, http_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from gateway.transcode.templates import PathTemplate, compile_template
from inkwright.common.v1 import permission_pb2, process_service_pb2
from inkwright.dataset.v1 import dataset_service_pb2
from inkwright.gateway.v1 import audit_service_pb2, event_service_pb2, status_service_pb2, user_service_pb2
from inkwright.inference.v1 import inference_service_pb2, instance_service_pb2
from inkwright.labeling.v1 import labeling_service_pb2
from inkwright.trainer.v1 import trainer_service_pb2

API_FILES: tuple[FileDescriptor, ...] = (
    dataset_service_pb2.DESCRIPTOR,
    labeling_service_pb2.DESCRIPTOR,
    trainer_service_pb2.DESCRIPTOR,
    inference_service_pb2.DESCRIPTOR,
    instance_service_pb2.DESCRIPTOR,
    audit_service_pb2.DESCRIPTOR,
    event_service_pb2.DESCRIPTOR,
    user_service_pb2.DESCRIPTOR,
    status_service_pb2.DESCRIPTOR,
    process_service_pb2.DESCRIPTOR,
)
"""Every file that declares a service of the installation."""


@dataclass(frozen=True)
class Binding:
    """One HTTP form of one method.

    Args:
        service: short name of the called service, e.g. ``dataset``.
        body: ``""`` for none, ``"*"`` for the whole request, else the field that the body fills.
        permission: a value of ``Permission``.
    """

    service: str
    method: MethodDescriptor
    http_method: str
    template: PathTemplate
    body: str
    permission: permission_pb2.Permission.ValueType

    @property
    def rpc_path(self) -> str:
        """``/inkwright.dataset.v1.DatasetService/GetDataset``."""
        return rpc_path(self.method)

    @property
    def body_type(self) -> Descriptor:
        """The message that the body says; only where there is a body."""
        if self.body == "*":
            return self.method.input_type
        kind = field_at(self.method.input_type, self.body).message_type
        assert kind is not None
        return kind

    def new_request(self) -> Message:
        """An empty request."""
        return GetMessageClass(self.method.input_type)()


def rpc_path(method: MethodDescriptor) -> str:
    """The path of a method on the wire of gRPC."""
    return f"/{method.containing_service.full_name}/{method.name}"


def methods(files: Iterable[FileDescriptor] = API_FILES) -> Iterator[MethodDescriptor]:
    """Every method of every service in the files."""
    for file in files:
        for service in file.services_by_name.values():
            yield from service.methods


def permission_of(method: MethodDescriptor) -> permission_pb2.Permission.ValueType:
    """The permission a method asks for.

    Raises:
        ValueError: it carries none.
    """
    permission: permission_pb2.Permission.ValueType = method.GetOptions().Extensions[permission_pb2.permission]
    if not permission:
        raise ValueError(f"{method.full_name} carries no permission")
    return permission


def bindings(files: Iterable[FileDescriptor] = API_FILES) -> list[Binding]:
    """Compile all annotations, the more precise template first.

    Raises:
        ValueError: a method without permission, an internal or streaming method with an HTTP rule, or a rule that names a field
            which does not exist. The gateway then does not start.
    """
    found = [binding for method in methods(files) for binding in _of_method(method)]
    return sorted(found, key=lambda binding: binding.template.rank)


def _of_method(method: MethodDescriptor) -> Iterator[Binding]:
    permission = permission_of(method)
    options = method.GetOptions()
    if not options.HasExtension(annotations_pb2.http):
        return
    if permission == permission_pb2.INTERNAL_CALL:
        raise ValueError(f"{method.full_name} is internal and must have no HTTP rule")
    if method.client_streaming or method.server_streaming:
        raise ValueError(f"{method.full_name} streams and must have no HTTP rule")
    rule = options.Extensions[annotations_pb2.http]
    for form in (rule, *rule.additional_bindings):
        yield _binding(method, form, permission)


def _binding(method: MethodDescriptor, rule: http_pb2.HttpRule, permission: permission_pb2.Permission.ValueType) -> Binding:
    kind = rule.WhichOneof("pattern")
    if kind is None or kind == "custom":
        raise ValueError(f"{method.full_name} has an HTTP rule of an unknown kind")
    template = compile_template(getattr(rule, kind))
    for path in template.fields:
        if field_at(method.input_type, path).type != FieldDescriptor.TYPE_STRING:
            raise ValueError(f"{method.full_name}: the path field {path} is no string")
    if rule.body not in ("", "*") and field_at(method.input_type, rule.body).message_type is None:
        raise ValueError(f"{method.full_name}: the body field {rule.body} is no message")
    service = method.containing_service.file.package.split(".")[1]
    return Binding(service, method, kind.upper(), template, rule.body, permission)


def field_at(message: Descriptor, path: str) -> FieldDescriptor:
    """The field at a dotted path of proto names.

    Raises:
        ValueError: there is none.
    """
    head, _, rest = path.partition(".")
    field: FieldDescriptor | None = message.fields_by_name.get(head)
    if field is None:
        raise ValueError(f"{message.full_name} has no field {head}")
    if not rest:
        return field
    if field.message_type is None:
        raise ValueError(f"{message.full_name}.{head} has no fields")
    return field_at(field.message_type, rest)
