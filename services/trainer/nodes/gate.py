"""``gate``: whether the model may replace its base, in words. A model that does not pass is kept all the same."""

from libs.ocrkit.gate import judge
from services.trainer.nodes.measured import report_from_json
from services.trainer.nodes.report import Report
from services.trainer.nodes.spec import NodeSpec, read_json, write_json


def run(spec: NodeSpec, report: Report) -> None:
    """Judge; hands on the verdict."""
    evaluation = read_json(spec.evaluation_file)
    trained, base = (report_from_json(evaluation["reports"][which]) for which in ("trained", "base"))
    verdict = judge(trained, base, parity={"rec": read_json(spec.training_file)["parity"]})
    first = "Passed: it may replace the base." if verdict.passed else "Not passed: it should not replace the base."
    parity = evaluation["parity"]
    engines = f"{parity['engines'][0]} and {parity['engines'][1]} read {parity['alike']} of {parity['compared']} lines alike."
    reasons = (first, *verdict.reasons, engines)
    for reason in reasons:
        report.log(reason, level="info" if verdict.passed else "warning")
    mean, low, high = verdict.cer_change
    report.info(passed=str(verdict.passed).lower(), cer_change=f"{mean:+.4f}", cer_change_low=f"{low:+.4f}", cer_change_high=f"{high:+.4f}")
    write_json(spec.verdict_file, {"passed": verdict.passed, "reasons": reasons})
