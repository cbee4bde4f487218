"""Moments: aware UTC ``datetime`` inside, ``google.protobuf.Timestamp`` on the wire."""

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp


def utc_now() -> datetime:
    """This moment, aware, in UTC."""
    return datetime.now(UTC)


def to_timestamp(moment: datetime | None) -> Timestamp | None:
    """The protobuf form; ``None`` stays ``None``, which protobuf constructors read as "not set".

    Raises:
        ValueError: the moment has no time zone.
    """
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise ValueError("a moment needs a time zone")
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def from_timestamp(stamp: Timestamp) -> datetime | None:
    """The aware UTC form; an empty timestamp (never set) is ``None``."""
    if not stamp.seconds and not stamp.nanos:
        return None
    return stamp.ToDatetime(tzinfo=UTC)
