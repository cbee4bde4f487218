"""Structured logs on stderr: events with fields, request id and resource bound once."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import orjson
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor

LogFormat = Literal["json", "console"]
LogLevel = Literal["debug", "info", "warning", "error"]


def get_logger() -> FilteringBoundLogger:
    """The logger of a module: ``log = get_logger()`` at its top, then ``log.info("node_finished", seconds=1.5)``."""
    logger: FilteringBoundLogger = structlog.get_logger()
    return logger


@contextmanager
def bind(**fields: object) -> Iterator[None]:
    """Every line logged inside the block, in this task and tasks it starts, carries the fields."""
    with structlog.contextvars.bound_contextvars(**fields):
        yield


def configure_logs(service: str, *, level: LogLevel = "info", log_format: LogFormat = "json") -> None:
    """Set up the process's logs once, at its start; the standard library's loggers join in.

    Args:
        service: name in every line.
        level: from which on lines are written.
        log_format: JSON lines, or a form for people.
    """
    number = logging.getLevelNamesMapping()[level.upper()]

    def add_service(_logger: object, _method: str, event: EventDict) -> EventDict:
        event["service"] = service
        return event

    processors: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        add_service,
    ]
    if log_format == "json":
        processors += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_dumps)]
    else:
        # The default formatter prints local variables: tokens and image bytes among them.
        plain = structlog.dev.plain_traceback
        processors.append(structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain))
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers[:] = [_Forward()]
    # Libraries speak up only about trouble; their info lines repeat what our own events say.
    root.setLevel(max(number, logging.WARNING))


def _dumps(event: EventDict, **_options: object) -> str:
    return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


class _Forward(logging.Handler):
    """Hands records of the standard library's loggers to ours."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info)
