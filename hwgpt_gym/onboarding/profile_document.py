"""What a profile says that is no array: the schema of the JSON document in its metadata."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from hwgpt_gym.onboarding.records import Clock, Conditions, Record

SCHEMA_VERSION: Final = 1


class Checks(Record):
    """What the architectures that were kept out of the fit say of it.

    Attributes:
        kind: ``"held out"``: measured and never fitted; ``"cross-validation"``: each left out in turn.
        number: How many.
        median_error_pct: Median error of the predictions, in percent of what was measured.
        greatest_error_pct: The greatest.
        kendall_tau: Rank correlation of predicted and measured; NaN is not JSON, so ``None`` of fewer than three.
        within_two: Share that is predicted within two combined standard errors.
        coverage_90: Share within the central 90 % intervals.
    """

    kind: Literal["held out", "cross-validation"]
    number: int = Field(ge=1)
    median_error_pct: float
    greatest_error_pct: float
    kendall_tau: float | None
    within_two: float
    coverage_90: float


class MetricDocument(Record):
    """What is not an array of a metric at a scale."""

    sigma: float = Field(gt=0.0, allow_inf_nan=False)
    clock: Clock | None
    prior: str
    layers: int = Field(ge=0)
    checks: Checks | None


class ScaleDocument(Record):
    """What is known of a scale."""

    conditions: Conditions
    metrics: dict[str, MetricDocument] = Field(min_length=1)


class ProfileDocument(Record):
    """What is not an array of a profile."""

    schema_version: Literal[1] = 1
    kind: Literal["device-profile"] = "device-profile"
    name: str
    label: str
    scales: dict[str, ScaleDocument] = Field(min_length=1)
    sha256: str = ""
