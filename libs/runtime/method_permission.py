"""What a method asks of its callers, as its proto says."""

from functools import cache

from google.protobuf import descriptor_pool

from inkwright.common.v1 import permission_pb2
from libs.runtime.errors import Forbidden


def method_name(path: str) -> str:
    """``/inkwright.dataset.v1.DatasetService/GetDataset`` as the protos write it, with points."""
    return path.strip("/").replace("/", ".")


@cache
def permission_of(path: str) -> str:
    """The name of the permission that the method at a gRPC path carries; whoever is signed in may ask the reflection service.

    Raises:
        Forbidden: the method carries none, so nobody may call it.
    """
    if path.startswith("/grpc.reflection."):
        return "SIGNED_IN"
    method = descriptor_pool.Default().FindMethodByName(method_name(path))
    permission = method.GetOptions().Extensions[permission_pb2.permission]
    if not permission:
        raise Forbidden(f"{path} carries no permission, so nobody may call it.", path=path)
    return permission_pb2.Permission.Name(permission)
