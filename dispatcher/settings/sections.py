"""The sections of dispatcher.yaml: keys, defaults, and what each one is for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import time, timedelta
from enum import Enum
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from dispatcher.core.certificate import PdfText
from dispatcher.core.retention import Months, Undelivered
from dispatcher.errors import InvariantBroken
from dispatcher.settings import values
from dispatcher.settings.secret import Secret


class Security(Enum):
    """How a connection is protected."""

    TLS = "tls"
    STARTTLS = "starttls"
    PLAINTEXT = "plaintext"


class Watch(Enum):
    """How new mail is noticed."""

    IDLE = "idle"
    POLL = "poll"


class Login(Enum):
    """What opens a mailbox. A client certificate may come beside the other two."""

    PASSWORD = "password"  # noqa: S105 - the word for one
    CERTIFICATE = "certificate"
    TOKEN = "token"  # noqa: S105 - the word for one


_IMAP_PORTS: Final = {"tls": 993, "starttls": 143, "plaintext": 143}
_SMTP_PORTS: Final = {"tls": 465, "starttls": 587, "plaintext": 25}


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class _Guarded(_Section):
    """A section with secrets, whose places are set when the file is loaded."""

    _secrets: dict[str, Secret] = PrivateAttr(default_factory=dict)

    def guard(self, secret: Secret) -> None:
        """Say where one secret may stand."""
        self._secrets[secret.name] = secret

    def password(self) -> str | None:
        """Read the password, afresh at each call; None: there is none.

        Raises Refused when a secret file is missing, damaged or open to every user.
        """
        return self._secret("password").read()

    def _secret(self, name: str) -> Secret:
        if name not in self._secrets:
            raise InvariantBroken("these settings were not made by settings.load")
        return self._secrets[name]


class MailboxSettings(_Guarded):
    """One IMAP mailbox."""

    host: values.Host = Field(
        description="The IMAP server of the MSSanté operator.",
        examples=["imap.operateur.example"],
    )
    port: values.Port = Field(
        default=993,
        description="Default: 993 for tls, 143 for starttls and plaintext.",
        examples=[993],
    )
    security: Security = Field(
        default=Security.TLS,
        description="tls, starttls, or plaintext to this machine only.",
        examples=["tls"],
    )
    ca_file: values.FilePath | None = Field(
        default=None,
        description="Authorities to trust in place of the system's (IGC-Santé), PEM.",
    )
    username: values.Text | None = Field(
        default=None,
        description="Login name of the BAL.",
        examples=["sidep@lbm.example.mssante.fr"],
    )
    password_file: values.FilePath | None = Field(
        default=None,
        description="A file that holds the password alone, readable by the service only.",
    )
    client_certificate: values.FilePath | None = Field(
        default=None,
        description="A client certificate, PEM or PKCS#12; alone it is the login (EXTERNAL).",
    )
    client_key: values.FilePath | None = Field(
        default=None,
        description="Its private key, when it is not in the same file, PEM.",
    )
    client_passphrase_file: values.FilePath | None = Field(
        default=None,
        description="A file that holds the passphrase of the PKCS#12 file or key alone.",
    )
    token_command: values.Command | None = Field(
        default=None,
        description="A command that prints a fresh OAuth 2 token; run at each login.",
        examples=["/usr/local/bin/token"],
    )
    proxy: values.Proxy | None = Field(
        default=None,
        description="An HTTP proxy that connects to the server (CONNECT).",
        examples=["http://proxy.example:3128"],
    )
    proxy_username: values.Text | None = Field(
        default=None, description="Login name at the proxy, if it wants one."
    )
    proxy_password_file: values.FilePath | None = Field(
        default=None,
        description="A file that holds the password at the proxy alone.",
    )
    folder: values.Text = Field(default="INBOX", description="The mailbox inside the BAL.")
    since: values.Day | None = Field(
        default=None,
        description="Mail that arrived before this day is left alone.",
        examples=["2021-06-29"],
    )
    watch: Watch = Field(
        default=Watch.IDLE,
        description="idle: the server announces mail; poll: only the interval.",
    )
    poll_interval: values.Interval = Field(
        default=timedelta(seconds=60),
        description="How often the mailbox is looked at in any case.",
        json_schema_extra={"default": "60s"},
    )
    settled_keyword: values.Keyword | None = Field(
        default="SidepDispatched",
        description="IMAP keyword put on settled messages; null: none.",
        examples=["SidepDispatched"],
    )
    max_message_size: values.Size = Field(
        default=10 * 1000**2,
        description="Larger messages are held unread (too-large).",
        json_schema_extra={"default": "10 MB"},
    )
    fetch_batch: values.Size = Field(
        default=4 * 1024**2,
        description="The most that one command fetches.",
        json_schema_extra={"default": "4 MiB"},
    )

    _name: str = PrivateAttr("")

    @model_validator(mode="before")
    @classmethod
    def _usual_port(cls, given: Any) -> Any:  # whatever stands in the file
        return _with_port(given, _IMAP_PORTS)

    @property
    def name(self) -> str:
        """The mailbox's key in the file, as logs and commands show it."""
        return self._name

    @property
    def login(self) -> Login:
        """What the login itself is made with, as it is configured now."""
        if self.token_command is not None:
            return Login.TOKEN
        alone = self.client_certificate is not None and not self._secret("password").sources()
        return Login.CERTIFICATE if alone else Login.PASSWORD

    def client_passphrase(self) -> str | None:
        """Read the passphrase of the client's key; as `password`."""
        return self._secret("client_passphrase").read()

    def proxy_password(self) -> str | None:
        """Read the password at the proxy; as `password`."""
        return self._secret("proxy_password").read()

    def christen(self, name: str) -> None:
        """Say which key of the file this mailbox has."""
        self._name = name


class AgreementSettings(_Section):
    """What must agree beyond subject, attachment and body."""

    pdf_text: PdfText = Field(
        default=PdfText.WARN,
        description="The patient's name in the PDF's text: off, warn or require.",
        examples=["warn"],
    )


class RetentionSettings(_Section):
    """How long certificates are kept; the guide fixes the first two."""

    negative: values.Term = Field(
        default=timedelta(hours=72),
        description="From the sampling time; the guide says 72 hours.",
        json_schema_extra={"default": "72h"},
    )
    positive: values.Term = Field(
        default=Months(6),
        description="From the sampling date; the guide says 6 months.",
        json_schema_extra={"default": "6 months"},
    )
    other: values.Term = Field(
        default=timedelta(hours=72),
        description="A recognised result that is neither.",
        json_schema_extra={"default": "72h"},
    )
    unreadable: values.Term = Field(
        default=Months(6),
        description="Result or sampling time unreadable; counted from reception.",
        json_schema_extra={"default": "6 months"},
    )
    site_copy_grace: values.Duration = Field(
        default=timedelta(hours=24),
        description="A certificate that arrives late stays this long on the site.",
        json_schema_extra={"default": "24h"},
    )
    undelivered: Undelivered = Field(
        default=Undelivered.HOLD,
        description="When the term comes before the delivery: hold or expire.",
        examples=["hold"],
    )
    max_deletions_per_run: values.Count = Field(
        default=500,
        description="At most so many certificates a run; the rest waits for the next one.",
        examples=[500],
    )
    max_share: values.Share = Field(
        default=0.5,
        description="A brake: deleting a larger share of the mailbox needs a person.",
        json_schema_extra={"default": "50%"},
        examples=["50%"],
    )
    purge_every: values.Duration = Field(
        default=timedelta(hours=1),
        description="How often the service deletes what is past its term.",
        json_schema_extra={"default": "1h"},
    )
    audit: values.Term = Field(
        default=Months(6),
        description="How long the audit trail is kept.",
        json_schema_extra={"default": "6 months"},
    )


class SmtpSettings(_Guarded):
    """The server that takes alerts."""

    host: values.Host = Field(description="The SMTP server.", examples=["smtp.example.fr"])
    port: values.Port = Field(
        default=587,
        description="Default: 587 for starttls, 465 for tls, 25 for plaintext.",
        examples=[587],
    )
    security: Security = Field(
        default=Security.STARTTLS,
        description="tls, starttls, or plaintext to this machine only.",
        examples=["starttls"],
    )
    ca_file: values.FilePath | None = Field(
        default=None,
        description="Authorities to trust in place of the system's, PEM.",
    )
    username: values.Text | None = Field(
        default=None, description="Login name, if one is needed."
    )
    password_file: values.FilePath | None = Field(
        default=None,
        description="A file that holds the password alone, readable by the service only.",
    )

    @model_validator(mode="before")
    @classmethod
    def _usual_port(cls, given: Any) -> Any:  # whatever stands in the file
        return _with_port(given, _SMTP_PORTS)


class ReportSettings(_Section):
    """The reports of each day and week, one line a site."""

    at: values.TimeOfDay = Field(
        default=time(7),
        description="When they are made, Paris time: of the day before, on Mondays the week.",
        json_schema_extra={"default": "07:00"},
        examples=['"07:00"'],
    )
    daily: values.Switch = Field(
        default=True, description="A report of each day.", examples=["true"]
    )
    weekly: values.Switch = Field(
        default=True, description="A report of each week.", examples=["true"]
    )
    directory: values.FilePath | None = Field(
        default=None,
        description="Where each report is also written as CSV; null: by mail only.",
        examples=["/var/lib/sidep-dispatcher/reports"],
    )


class AlertSettings(_Section):
    """Who is told when something needs a person. Mail needs `smtp`, `from` and `to`."""

    smtp: SmtpSettings | None = Field(
        default=None,
        description="The server that takes the mails; never the watched mailbox's account.",
        examples=["{host: smtp.example.fr}"],
    )
    sender: values.Address | None = Field(
        alias="from",
        default=None,
        description="The alerts' sender.",
        examples=["sidep@example.fr"],
    )
    to: values.Addresses = Field(
        default=(),
        description="Who receives them; never SI-DEP or a watched mailbox.",
        json_schema_extra={"default": []},
        examples=["[it@example.fr]"],
    )
    per_hour: values.Count = Field(
        default=10,
        description="At most so many mails in any hour; what is more waits for one digest.",
        examples=[10],
    )
    printer_down: values.Duration = Field(
        default=timedelta(minutes=15),
        description="A printer or a folder may be out of service for so long.",
        json_schema_extra={"default": "15 min"},
        examples=["15 min"],
    )
    disk_share: values.Share = Field(
        default=0.9,
        description="A disk or a share that is this full is an alarm.",
        json_schema_extra={"default": "90%"},
        examples=["90%"],
    )
    reports: ReportSettings | None = Field(
        default=None,
        description="Reports by mail and as files.",
        examples=["{}"],
    )
    ping_url: values.PingUrl | None = Field(
        default=None,
        description="A dead man's switch, called after a good check of all mailboxes.",
        examples=["https://ping.example/ID"],
    )


class CupsSettings(_Section):
    """The print server of every printer."""

    server: values.CupsServer | None = Field(
        default=None,
        description="Its socket's path or host:port; null: as `lp` finds it on this machine.",
        examples=["/run/cups/cups.sock"],
    )


class BordereauSettings(_Section):
    """The list of each site's day."""

    at: values.TimeOfDay | None = Field(
        default=None,
        description="When the service makes every site's list, Paris time; null: never.",
        examples=['"18:30"'],
    )


class MetricsSettings(_Section):
    """Figures for a monitoring system; none of them is a patient's."""

    listen: values.Listen = Field(
        default="127.0.0.1:9464",
        description="A loopback address and a port; IPv6 in brackets.",
        examples=['"127.0.0.1:9464"'],
    )

    @property
    def address(self) -> tuple[str, int]:
        """Host, without brackets, and port."""
        return values.endpoint(self.listen, "")


class LogFormat(Enum):
    """How log lines look."""

    JSON = "json"
    CONSOLE = "console"


class LogLevel(Enum):
    """The least important lines that are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogSettings(_Section):
    """The log, on standard error."""

    format: LogFormat = Field(
        default=LogFormat.JSON,
        description="json for machines, console for people.",
        examples=["json"],
    )
    level: LogLevel = Field(
        default=LogLevel.INFO,
        description="debug, info, warning or error.",
        examples=["info"],
    )


def _with_port(given: Any, usual: Mapping[str, int]) -> Any:
    """Fill in the port that goes with the security that is asked for."""
    if not isinstance(given, dict) or "port" in given:
        return given
    security = given.get("security")
    port = usual.get(security) if isinstance(security, str) else None
    return given if port is None else {**given, "port": port}
