"""The whole of dispatcher.yaml, checked and frozen."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_settings import BaseSettings, SettingsConfigDict

from dispatcher.core.certificate import PdfText
from dispatcher.core.retention import Months, Terms
from dispatcher.settings import values
from dispatcher.settings.secret import PREFIX
from dispatcher.settings.sections import (
    AgreementSettings,
    AlertSettings,
    BordereauSettings,
    CupsSettings,
    LogSettings,
    MailboxSettings,
    MetricsSettings,
    RetentionSettings,
)

SIDEP: Final = "noreply.sidep@enovacom.easycrypt.fr"

_MailboxName = Annotated[
    str, StringConstraints(pattern=f"^{values.MAILBOX_NAME}$", max_length=40)
]


class Settings(BaseSettings):
    """Everything dispatcher.yaml says, checked; paths are absolute."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=False,
        env_prefix=PREFIX,
        env_nested_delimiter="__",
    )

    mailboxes: Annotated[
        Mapping[_MailboxName, MailboxSettings], AfterValidator(MappingProxyType)
    ] = Field(
        min_length=1,
        description="The BAL's IMAP mailboxes, by names of your own.",
        json_schema_extra={"additionalProperties": False},
        examples=["{lbm: {host: imap.operateur.example, username: …, password_file: …}}"],
    )
    routing: values.FilePath = Field(
        default=Path("routing.yaml"),
        description="The routing rules; reloaded when they change.",
    )
    ledger: values.LedgerUrl = Field(
        default="sqlite:////var/lib/sidep-dispatcher/ledger.sqlite3",
        description="Where the record of every message is kept, as a SQLite URL.",
    )
    senders: values.AddressSet = Field(
        default=frozenset({SIDEP}),
        description="Who sends certificates.",
        json_schema_extra={"default": [SIDEP]},
        examples=[f"[{SIDEP}]"],
    )
    agreement: AgreementSettings = Field(
        default_factory=AgreementSettings,
        description="What must agree.",
        examples=["{pdf_text: warn}"],
    )
    retention: RetentionSettings = Field(
        default_factory=RetentionSettings,
        description="How long things are kept.",
    )
    cups: CupsSettings = Field(
        default_factory=CupsSettings,
        description="Where printing is done.",
    )
    bordereau: BordereauSettings = Field(
        default_factory=BordereauSettings,
        description="The list of the day.",
    )
    alerts: AlertSettings | None = Field(default=None, description="Alerts by mail.")
    metrics: MetricsSettings | None = Field(default=None, description="Prometheus metrics.")
    log: LogSettings = Field(default_factory=LogSettings, description="The log.")

    @property
    def ledger_path(self) -> Path:
        """The ledger's file."""
        return Path(self.ledger.removeprefix("sqlite:///"))

    @property
    def pdf_text(self) -> PdfText:
        """What the names in a PDF's text are asked for."""
        return self.agreement.pdf_text

    @property
    def terms(self) -> Terms:
        """The terms of retention, as the core counts with them."""
        return Terms(
            negative=self.retention.negative,
            positive=self.retention.positive,
            other=self.retention.other,
            unreadable=self.retention.unreadable,
            site_copy_grace=self.retention.site_copy_grace,
            undelivered=self.retention.undelivered,
        )

    def warnings(self) -> tuple[str, ...]:
        """Return one sentence for each setting that is allowed and yet strange."""
        found = []
        if not _within(self.retention.negative, timedelta(hours=72)):
            found.append("retention.negative is longer than the 72 hours of the guide")
        if not _within(self.retention.positive, Months(6)):
            found.append("retention.positive is longer than the 6 months of the guide")
        if self.retention.purge_every > timedelta(hours=24):
            found.append(
                "retention.purge_every is longer than a day: what is due stays as long"
            )
        if self.cups.server is not None and _elsewhere(self.cups.server):
            found.append(
                "cups.server is another machine: certificates cross the network openly unless "
                "the client.conf of this one says `Encryption Required`"
            )
        return tuple(found)


def _elsewhere(server: str) -> bool:
    name = server.rpartition(":")[0].removeprefix("[").removesuffix("]")
    return not server.startswith("/") and not values.loopback(name)


def _within(span: timedelta | Months, most: timedelta | Months) -> bool:
    if isinstance(span, Months) and isinstance(most, Months):
        return span.count <= most.count
    # 6 months are 181 days at least; a month is 28.
    days = [
        timedelta(days=28 * value.count if value is span else 181)
        if isinstance(value, Months)
        else value
        for value in (span, most)
    ]
    return days[0] <= days[1]
