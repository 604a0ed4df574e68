"""dispatcher.yaml, environment and credentials into frozen settings, or every problem."""

from __future__ import annotations

from dispatcher.settings.loading import json_schema, load
from dispatcher.settings.secret import PREFIX
from dispatcher.settings.sections import (
    AlertSettings,
    BordereauSettings,
    CupsSettings,
    LogFormat,
    Login,
    LogLevel,
    LogSettings,
    MailboxSettings,
    MetricsSettings,
    ReportSettings,
    RetentionSettings,
    Security,
    SmtpSettings,
    Watch,
)
from dispatcher.settings.shape import Settings

__all__ = [
    "PREFIX",
    "AlertSettings",
    "BordereauSettings",
    "CupsSettings",
    "LogFormat",
    "LogLevel",
    "LogSettings",
    "Login",
    "MailboxSettings",
    "MetricsSettings",
    "ReportSettings",
    "RetentionSettings",
    "Security",
    "Settings",
    "SmtpSettings",
    "Watch",
    "json_schema",
    "load",
]
