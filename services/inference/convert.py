"""Domain to messages and back."""

from collections.abc import Sequence

from inkwright.inference.v1 import deployment_pb2, inference_events_pb2, instance_service_pb2
from libs.runtime.times import to_timestamp
from services.inference.domain import Deployment
from services.inference.instances import InstanceView
from services.inference.placement import Assignment
from services.inference.quota import Quota, ResourceType


def deployment_to_proto(deployment: Deployment, assignments: Sequence[Assignment]) -> deployment_pb2.Deployment:
    """A deployment with those of the assignments that are its own and have a process; the token stays out."""
    views = [each.report.view for each in assignments if each.deployment == deployment.name and each.report.view]
    return deployment_pb2.Deployment(
        name=deployment.name,
        model=deployment.model,
        bundle_digest=deployment.bundle_digest,
        resource_type=deployment.resource_type,
        num_instances=deployment.num_instances,
        quota=quota_to_proto(deployment.quota),
        state=deployment_pb2.Deployment.State.Value(deployment.state.value),
        reason=deployment.reason.value,
        message=deployment.message,
        instances=[instance_to_proto(view) for view in views],
        predict_path=f"/api/predict/{deployment.deployment_id}",
        purpose=deployment_pb2.Deployment.Purpose.Value(deployment.purpose.value),
        etag=deployment.etag,
        create_time=to_timestamp(deployment.create_time),
        update_time=to_timestamp(deployment.update_time),
    )


def instance_to_proto(view: InstanceView) -> deployment_pb2.Instance:
    """One instance."""
    return deployment_pb2.Instance(
        instance_id=view.instance_id,
        state=deployment_pb2.Instance.State.Value(view.state.value),
        endpoint=view.endpoint,
        bundle_digest=view.bundle_digest,
        engine=view.engine,
        num_in_flight=view.num_in_flight,
        start_time=to_timestamp(view.start_time),
        last_error=view.last_error,
    )


def quota_to_proto(quota: Quota) -> deployment_pb2.Quota:
    """A quota."""
    return deployment_pb2.Quota(cores=quota.cores, memory_mb=quota.memory_mb, gpus=quota.gpus)


def quota_from_proto(quota: deployment_pb2.Quota) -> Quota:
    """A quota as a caller sent it; 0 where a field was left out.

    Raises:
        InvalidInput: a negative number.
    """
    return Quota(quota.cores, quota.memory_mb, quota.gpus)


def resource_type_to_proto(entry: ResourceType, *, num_available: int) -> deployment_pb2.ResourceType:
    """One entry of the catalogue with what is free of it."""
    return deployment_pb2.ResourceType(type_id=entry.type_id, quota=quota_to_proto(entry.quota), num_available=num_available)


def route_to_proto(deployment: Deployment) -> instance_service_pb2.DeploymentRoute:
    """What the gateway must know; the token stays encrypted under the installation's key, its purpose is the deployment's name."""
    return instance_service_pb2.DeploymentRoute(
        deployment=deployment.name,
        model=deployment.model,
        bundle_digest=deployment.bundle_digest,
        encrypted_tokens=[deployment.encrypted_token],
    )


def change_to_proto(deployment: Deployment, *, deleted: bool) -> inference_events_pb2.DeploymentStateChanged:
    """The fact of a change."""
    return inference_events_pb2.DeploymentStateChanged(
        deployment=deployment.name,
        model=deployment.model,
        state=deployment_pb2.Deployment.State.Value(deployment.state.value),
        reason=deployment.reason.value,
        message=deployment.message,
        deleted=deleted,
    )
