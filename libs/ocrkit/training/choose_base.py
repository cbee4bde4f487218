"""Which base to begin with."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import closing

from libs.ocrkit.bundle import Bundle
from libs.ocrkit.engines.engine import load_engine
from libs.ocrkit.metrics import cer
from libs.ocrkit.reader import Reader
from libs.ocrkit.training.data import LineSample
from libs.ocrkit.training.tried_lines import cut_some
from libs.runtime.errors import Fault

__all__ = ["choose_base"]

log = logging.getLogger(__name__)

_NUM_LINES = 100
_MARGIN = 0.1
_TIE = 0.005


def choose_base(bases: Mapping[str, Bundle], samples: Sequence[LineSample], *, num_threads: int) -> tuple[str, dict[str, float]]:
    """The base that reads labelled lines best before any training; the first where others are not clearly better.

    Args:
        bases: by name, the default first.
        samples: labelled lines.
        num_threads: cores to use.

    Returns:
        Its name, and the CER (case and white space folded) of each; 1 of one that could not be run.
    """
    lines = cut_some(samples, [_MARGIN], num_lines=_NUM_LINES, seed=0)
    rates: dict[str, float] = {}
    for name, bundle in bases.items():
        try:
            with closing(load_engine(bundle, num_threads=num_threads)) as engine:
                rates[name] = cer(lines.compared(_MARGIN, Reader(bundle, engine).read_crops))
        except Fault as fault:
            # The others can still be begun with.
            log.warning("base_not_tried", extra={"base": name, "cause": fault.message})
            rates[name] = 1.0
    return next(name for name, rate in rates.items() if rate <= min(rates.values()) + _TIE), rates
