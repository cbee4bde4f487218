"""What the kernel tells while it trains, as a node's report."""

from collections.abc import Callable, Mapping

from libs.ocrkit.training.events import TrainingEvent
from services.trainer.nodes.report import Report


def told_to(report: Report, stages: Mapping[str, str]) -> Callable[[TrainingEvent], None]:
    """Hands the kernel's events to the worker; ``stages`` has a sentence for each."""

    def tell(event: TrainingEvent) -> None:
        if event.kind == "log":
            report.log(event.message)
        else:
            report.progress(event.fraction, _message(event, stages), **{name: float(value) for name, value in event.values.items()})

    return tell


def _message(event: TrainingEvent, stages: Mapping[str, str]) -> str:
    message = stages.get(event.stage, event.stage)
    if "epoch" in event.values:
        return f"{message}: epoch {event.values['epoch']:.0f}, step {event.values['step']:.0f} of {event.values['total_steps']:.0f}"
    return message
