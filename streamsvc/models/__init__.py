"""The models. Import them from here."""

from streamsvc.models.accounts import Account, ApiKey, Profile
from streamsvc.models.audit import AuditEvent
from streamsvc.models.catalog.channels import Channel, ChannelMediaFile, Programme
from streamsvc.models.catalog.facets import Facet, TitleFacet
from streamsvc.models.catalog.imports import Import, ImportChunk, ImportedTitle, ImportRejection
from streamsvc.models.catalog.parts import EpisodePlan, Extra, PartWindow
from streamsvc.models.catalog.people import Person, TitleCredit
from streamsvc.models.catalog.rows import Collection, CollectionItem, HomeRow
from streamsvc.models.catalog.search import ProgrammeEntry, SearchDoc, SearchEntry, SearchWord
from streamsvc.models.catalog.series import Episode, Season
from streamsvc.models.catalog.titles import (
    CatalogState,
    MediaFile,
    Title,
    TitleAgeRating,
    TitleCard,
    TitleDetail,
    TitlePlan,
    TitleRecord,
    TitleWindow,
)
from streamsvc.models.device_codes import DeviceCode
from streamsvc.models.dpop import DpopProof
from streamsvc.models.factors import DeviceTrust, RecoveryCode, TotpFactor
from streamsvc.models.health import ClockReading, HealthCheck
from streamsvc.models.identifiers import Phone, PhoneVerification, Username
from streamsvc.models.identities import Identity
from streamsvc.models.jobs import IdempotencyKey, Job, Worker
from streamsvc.models.mailed_tokens import MailedToken
from streamsvc.models.operators import OperatorAccount, OperatorCode, OperatorSession
from streamsvc.models.passkeys import Passkey
from streamsvc.models.pending_flows import PendingFlow
from streamsvc.models.playback import FreedDevicePlace, Stream, StreamDevice
from streamsvc.models.progress import Play, Progress, TitleRating, WatchlistItem
from streamsvc.models.rate_limits import RateLimitCounter, RateLimitKey
from streamsvc.models.recoveries import AccountRecovery, CredentialChange
from streamsvc.models.restores import Restore
from streamsvc.models.sandbox import AccountClock, SandboxClock, SandboxEmail, SandboxSms
from streamsvc.models.sessions import Device, ServiceEpoch, Session
from streamsvc.models.webhooks import WebhookDelivery, WebhookEndpoint, WebhookEvent

__all__ = [
    "Account",
    "AccountClock",
    "AccountRecovery",
    "ApiKey",
    "AuditEvent",
    "CatalogState",
    "Channel",
    "ChannelMediaFile",
    "ClockReading",
    "Collection",
    "CollectionItem",
    "CredentialChange",
    "Device",
    "DeviceCode",
    "DeviceTrust",
    "DpopProof",
    "Episode",
    "EpisodePlan",
    "Extra",
    "Facet",
    "FreedDevicePlace",
    "HealthCheck",
    "HomeRow",
    "IdempotencyKey",
    "Identity",
    "Import",
    "ImportChunk",
    "ImportRejection",
    "ImportedTitle",
    "Job",
    "MailedToken",
    "MediaFile",
    "OperatorAccount",
    "OperatorCode",
    "OperatorSession",
    "PartWindow",
    "Passkey",
    "PendingFlow",
    "Person",
    "Phone",
    "PhoneVerification",
    "Play",
    "Profile",
    "Programme",
    "ProgrammeEntry",
    "Progress",
    "RateLimitCounter",
    "RateLimitKey",
    "RecoveryCode",
    "Restore",
    "SandboxClock",
    "SandboxEmail",
    "SandboxSms",
    "SearchDoc",
    "SearchEntry",
    "SearchWord",
    "Season",
    "ServiceEpoch",
    "Session",
    "Stream",
    "StreamDevice",
    "Title",
    "TitleAgeRating",
    "TitleCard",
    "TitleCredit",
    "TitleDetail",
    "TitleFacet",
    "TitlePlan",
    "TitleRating",
    "TitleRecord",
    "TitleWindow",
    "TotpFactor",
    "Username",
    "WatchlistItem",
    "WebhookDelivery",
    "WebhookEndpoint",
    "WebhookEvent",
    "Worker",
]
