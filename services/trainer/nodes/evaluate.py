"""``evaluate``: the packaged bundle and its base on the validation and on the test pages, through the engines that run here."""

from collections.abc import Callable

from libs.ocrkit.bundle import Bundle, open_bundle
from libs.ocrkit.evaluate import EvaluationReport, evaluate_bundle
from libs.ocrkit.reader import Reader
from libs.ocrkit.retained import Retained, RetainedCheck
from libs.ocrkit.training.data import plain_text
from services.trainer.nodes.measured import agreement, apart_metrics, metrics_of, report_to_json
from services.trainer.nodes.pages import split_pages
from services.trainer.nodes.report import Report
from services.trainer.nodes.spec import NodeSpec, read_json, write_json

MAX_COMPARED_PAGES = 4
"""On so many pages the second engine is asked too: enough to see that the engines agree, without paying for all of it twice."""


def run(spec: NodeSpec, report: Report) -> None:
    """Measure; hands on the measures and, line by line, what was read.

    Raises:
        BundleInvalid, ForwardFailed: an engine refuses the bundle or fails on a page.
    """
    parts = split_pages(spec)
    learnt, pages = parts.train, parts.validation
    bundle, base = open_bundle(spec.bundle_file), open_bundle(spec.base_bundle)
    training = read_json(spec.training_file)

    def measured(which: Bundle, end: float, message: str, retained: Callable[[Reader], Retained | None]) -> EvaluationReport:
        def tell(part: float) -> None:
            report.progress(end - 0.4 * (1 - part), message)

        return evaluate_bundle(which, pages, engine="openvino", num_threads=spec.num_threads, retained=retained, progress=tell)

    labels = (plain_text(box.text) for page in learnt for box in page.boxes if not box.unreadable)
    check = RetainedCheck(base.charset, labels)
    before = measured(base, 0.4, "Reading with the base", check.of_base)
    trained = measured(bundle, 0.8, "Reading with the trained model", check.of_trained)
    report.progress(0.8, "Reading with the other engine")
    other = evaluate_bundle(bundle, pages[:MAX_COMPARED_PAGES], engine="onnxruntime", num_threads=spec.num_threads)
    alike, compared = agreement(trained, other)
    # Apart: nothing was chosen by the test pages, so that they say more about pages nobody has seen.
    apart = [
        evaluate_bundle(one, parts.test, engine="openvino", num_threads=spec.num_threads) if parts.test else None for one in (bundle, base)
    ]
    metrics = metrics_of(trained, loss=training["validation"]["loss"]) | apart_metrics(apart[0])
    base_metrics = metrics_of(before, loss=training["base_validation"]["loss"]) | apart_metrics(apart[1])
    _tell(trained, metrics, base_metrics, report)
    _tell_retained(check, trained, before, report)
    report.log(f"{trained.engine} and {other.engine} read {alike} of {compared} lines alike")
    report.info(num_validation_lines=len(trained.lines), num_test_lines=0 if apart[0] is None else len(apart[0].lines))
    report.info(engine=trained.engine, lines_alike=f"{alike} of {compared}")
    reports = {"trained": report_to_json(trained), "base": report_to_json(before)}
    parity = {"engines": [trained.engine, other.engine], "alike": alike, "compared": compared}
    write_json(spec.evaluation_file, {"metrics": metrics, "base_metrics": base_metrics, "parity": parity, "reports": reports})


def _tell_retained(check: RetainedCheck, trained: EvaluationReport, before: EvaluationReport, report: Report) -> None:
    if trained.retained is None or before.retained is None:
        report.log("No font was found on this machine, so it is not known which characters the model has kept", level="warning")
        return
    if check.unrendered:
        report.log(f"No font shows these characters, so they are not checked: {' '.join(sorted(check.unrendered))}", level="warning")
    report.log(f"{len(check.absent)} characters that the base reads are not in the training labels: {' '.join(sorted(check.absent))}")
    pairs = [("the whole base alphabet", trained.retained.alphabet, before.retained.alphabet)]
    if trained.retained.absent is not None and before.retained.absent is not None:
        pairs.append(("characters the labels do not show", trained.retained.absent, before.retained.absent))
    for name, after, base in pairs:
        report.log(
            f"{after.num_lines} synthetic lines of {name}: {after.character_accuracy:.4f} of the characters and "
            f"{after.line_accuracy:.4f} of the lines right, with the base {base.character_accuracy:.4f} and {base.line_accuracy:.4f}"
        )


def _tell(trained: EvaluationReport, metrics: dict[str, float], base_metrics: dict[str, float], report: Report) -> None:
    for name, value in metrics.items():
        report.log(f"{name}: {value:.4f}, the base {base_metrics[name]:.4f}")
    report.info(
        **{name: f"{value:.4f}" for name, value in metrics.items()},
        **{f"base_{name}": f"{value:.4f}" for name, value in base_metrics.items()},
    )
    report.progress(1.0, "", **metrics)
    for page in trained.unread_pages:
        report.log(f"{page} could not be read", level="warning")
