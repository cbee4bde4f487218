"""Roles and permissions as words of the command line."""

from enum import StrEnum

from inkwright.common.v1 import permission_pb2
from inkwright.gateway.v1 import user_pb2


class Role(StrEnum):
    """A role, in small letters."""

    ADMIN = "admin"
    TRAINER = "trainer"
    LABELER = "labeler"
    DEPLOYER = "deployer"
    VIEWER = "viewer"

    @property
    def proto(self) -> user_pb2.Role.ValueType:
        """As the API has it."""
        return user_pb2.Role.Value(self.name)


class Scope(StrEnum):
    """A permission that a token may be narrowed to."""

    VIEW = "view"
    LABEL = "label"
    TRAIN = "train"
    DEPLOY = "deploy"
    PREDICT = "predict"
    ADMINISTER = "administer"

    @property
    def proto(self) -> permission_pb2.Permission.ValueType:
        """As the API has it."""
        return permission_pb2.Permission.Value(self.name)
