"""Decide in sentences whether the findings of the paper hold on this network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compsrt_plugin.analysis.paired import format_p
from compsrt_plugin.analysis.tensors.transform_tests import MEASURES, PLACE_KINDS, SIGNIFICANCE, TransformTest

HOLDS, OPPOSITE, OPEN = "holds", "does not hold", "not shown"


@dataclass(frozen=True)
class PaperFinding:
    """One finding of the paper.

    Attributes:
        name: key in results.
        about: display name.
        measures: the measures that decide it. The first provides the figures of the sentence.
    """

    name: str
    about: str
    measures: tuple[str, ...]


FINDINGS = (
    PaperFinding("range", "smaller range", ("range",)),
    PaperFinding("near_zero", "more values near zero", ("near_zero_relative_0.1",)),
    PaperFinding("error_2", "lower error at 2 bits", ("error_2",)),
    PaperFinding("error_3", "lower error at 3 bits", ("error_3",)),
    PaperFinding("error_4", "lower error at 4 bits", ("error_4",)),
    PaperFinding("normality", "values not more normal", tuple(n for n in MEASURES if n.startswith("normality_"))),
)
"""The findings of CompSRT (arXiv 2601.21069) on the Hadamard transform."""


@dataclass(frozen=True)
class Verdict:
    """The verdict on one finding for one kind of tensor.

    Attributes:
        finding: name of the finding.
        kind: `weights` or `activations`.
        outcome: `holds`, `does not hold` (the opposite is shown) or `not shown`.
        sentence: the same with figures.
    """

    finding: str
    kind: str
    outcome: str
    sentence: str


def judge_findings(comparisons: Sequence[TransformTest]) -> list[Verdict]:
    """Return the verdict on each finding, by the Wilcoxon tests of one transform after Holm's correction, at 5 %.

    A finding holds if differences in its direction are significant. It does not hold if the opposite is significant.
    Otherwise it is not shown. "Not more normal" holds unless most of the four tests show more normal values.
    """
    found = []
    for finding in FINDINGS:
        for kind in PLACE_KINDS:
            members = [one for one in comparisons if one.kind == kind and one.measure in finding.measures]
            if members:
                found.append(_judge(finding, kind, members))
    return found


def _judge(finding: PaperFinding, kind: str, members: Sequence[TransformTest]) -> Verdict:
    if finding.name == "normality":
        return _judge_normality(finding, kind, members)
    (one,) = members
    outcome = HOLDS if one.p < SIGNIFICANCE else OPPOSITE if one.p_against < SIGNIFICANCE else OPEN
    p, sign_p = (one.p_against, one.sign_p_against) if outcome == OPPOSITE else (one.p, one.sign_p)
    size = "" if one.evidence.d_z is None else f", d_z {one.evidence.d_z:.2f}"
    which = " for the opposite" if outcome == OPPOSITE else ""
    sentence = (
        f"{kind.capitalize()}, {finding.about}: {outcome}. {_figures(one)} It is so at {one.evidence.positive} of "
        f"{one.evidence.pairs} places (Wilcoxon p {format_p(p)}{which}, sign test p {format_p(sign_p)}{size})."
    )
    return Verdict(finding.name, kind, outcome, sentence)


def _figures(one: TransformTest) -> str:
    if one.measure == "range":
        change = 2**-one.evidence.median - 1
        return f"The median change of the range is {change:+.0%}."
    if one.measure.startswith("error"):
        change = -one.evidence.median
        return f"The median change of the error is {change:+.2f} dB."
    return f"The {MEASURES[one.measure].about} has medians {one.before:.1%} and {one.after:.1%}."


def _judge_normality(finding: PaperFinding, kind: str, members: Sequence[TransformTest]) -> Verdict:
    more = [one for one in members if one.p_against < SIGNIFICANCE]
    less = [one for one in members if one.p < SIGNIFICANCE]
    outcome = OPPOSITE if 2 * len(more) > len(members) else HOLDS
    first = members[0]
    sentence = (
        f"{kind.capitalize()}, {finding.about}: {outcome}. Of {len(members)} tests {len(more)} show more normal values "
        f"after the transform and {len(less)} less normal ones. {MEASURES[first.measure].about} has medians "
        f"{first.before:.4f} and {first.after:.4f} (1 is normal) and rises at {first.evidence.negative} of "
        f"{first.evidence.pairs} places."
    )
    return Verdict(finding.name, kind, outcome, sentence)
