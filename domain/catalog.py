"""The catalogue: the models, tools, schemas and prompt templates that workflow documents can name.

One stream a kind (`catalog-models`, `catalog-tools`, ...). Its one rule: what a seed plants never overwrites
or brings back what a person has changed or removed.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Literal, TypeAlias, assert_never, get_args

import msgspec

from domain.definition import JsonSchema, ModelName, Name, Text
from domain.errors import Invalid, NotFound
from domain.message import Aggregate, Command, Event

Kind = Literal["models", "tools", "schemas", "templates"]
KINDS: tuple[Kind, ...] = get_args(Kind)

Line = Annotated[str, msgspec.Meta(max_length=2_000)]
Price = Annotated[float, msgspec.Meta(ge=0, le=1)]


class CatalogEntry(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="kind"
):
    """What the four kinds have in common: a tag `kind`, one of `Kind`."""


class Model(CatalogEntry, frozen=True, tag="models"):
    """How a model is called.

    name                        provider/model, as litellm has it
    temperature, max_tokens     None: the provider's own
    timeout_s                   of one call
    context_window              tokens; None: litellm's own map
    *_cost_per_token            USD; None: litellm's offline price map
    default                     used by agents that name no model; the first default, by name, counts
    """

    name: ModelName
    description: Line = ""
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] | None = None
    timeout_s: Annotated[int, msgspec.Meta(ge=1, le=3_600)] = 120
    context_window: Annotated[int, msgspec.Meta(ge=1_000, le=100_000_000)] | None = None
    input_cost_per_token: Price | None = None
    output_cost_per_token: Price | None = None
    default: bool = False


class Tool(CatalogEntry, frozen=True, tag="tools"):
    """A tool that runners have. parameters: JSON Schema of its arguments. idempotent: safe to send twice."""

    name: Name
    description: Text
    parameters: JsonSchema
    idempotent: bool = False


class Schema(CatalogEntry, frozen=True, tag="schemas"):
    """A JSON Schema (an object) that a task's output can be asked to be an instance of."""

    name: Name
    schema: JsonSchema
    description: Line = ""


class Template(CatalogEntry, frozen=True, tag="templates"):
    """A prompt text that documents take over by `{template: <name>}` where a prompt is expected."""

    name: Name
    text: Text
    description: Line = ""


Entry: TypeAlias = Model | Tool | Schema | Template
ENTRY_TYPES: dict[Kind, type[Model] | type[Tool] | type[Schema] | type[Template]] = {
    "models": Model,
    "tools": Tool,
    "schemas": Schema,
    "templates": Template,
}


# --- commands


class CatalogCommand(Command, frozen=True):
    kind: Kind

    @property
    def stream(self) -> str:
        return f"catalog-{self.kind}"


class PlantEntry(CatalogCommand, frozen=True, tag="PlantEntry"):
    """A seed's wish: there should be this entry, unless a person decided otherwise."""

    entry: Entry


class SetEntry(CatalogCommand, frozen=True, tag="SetEntry"):
    """A person's wish: the entry is so."""

    entry: Entry


class RemoveEntry(CatalogCommand, frozen=True, tag="RemoveEntry"):
    """A person's wish: no such entry. Documents saved before keep what they copied."""

    name: str


# --- events


class CatalogEntryPlanted(Event, frozen=True, tag="catalog.entry_planted"):
    entry: Entry


class CatalogEntrySet(Event, frozen=True, tag="catalog.entry_set"):
    entry: Entry


class CatalogEntryRemoved(Event, frozen=True, tag="catalog.entry_removed"):
    kind: Kind
    name: str


CatalogCommands: TypeAlias = PlantEntry | SetEntry | RemoveEntry
CatalogEvents: TypeAlias = CatalogEntryPlanted | CatalogEntrySet | CatalogEntryRemoved


# --- state


class Shelf(msgspec.Struct, frozen=True, dict=True):
    """The entries of one kind, by name. `by_people`: names that a person has set or removed."""

    entries: dict[str, Entry] = {}
    by_people: frozenset[str] = frozenset()

    @cached_property
    def of_models(self) -> Catalog:
        """Of the shelf of models: a catalogue with nothing else in it."""
        return Catalog(
            models={name: entry for name, entry in self.entries.items() if isinstance(entry, Model)}
        )


class Catalog(msgspec.Struct, frozen=True, dict=True):
    """All four shelves, as the checks of a document see them. What is worked out is worked out once."""

    models: dict[str, Model] = {}
    tools: dict[str, Tool] = {}
    schemas: dict[str, Schema] = {}
    templates: dict[str, Template] = {}

    @cached_property
    def providers(self) -> tuple[str, ...]:
        """litellm prefixes that at least one model of the catalogue has."""
        return tuple(sorted({name.partition("/")[0] for name in self.models}))

    @cached_property
    def default_model(self) -> str | None:
        return next((name for name in sorted(self.models) if self.models[name].default), None)

    def has_model(self, name: str) -> bool:
        """In the catalogue, or of a provider in it."""
        return name in self.models or name.partition("/")[0] in self.providers

    def model(self, name: str) -> Model:
        """The entry, or one with the provider's defaults for a model that only its provider is known of."""
        return self.models.get(name) or Model(name=name)


def catalog_of(shelves: dict[Kind, Shelf]) -> Catalog:
    """One catalogue from the four shelves."""
    return msgspec.convert(
        {kind: shelf.entries for kind, shelf in shelves.items()}, type=Catalog, from_attributes=True
    )


# --- decide and evolve


def decide(state: Shelf, command: CatalogCommands) -> tuple[CatalogEvents, ...]:
    match command:
        case PlantEntry(entry=entry):
            check_kind(command.kind, entry)
            settled = entry.name in state.by_people or state.entries.get(entry.name) == entry
            return () if settled else (CatalogEntryPlanted(entry=entry),)
        case SetEntry(entry=entry):
            check_kind(command.kind, entry)
            settled = entry.name in state.by_people and state.entries.get(entry.name) == entry
            return () if settled else (CatalogEntrySet(entry=entry),)
        case RemoveEntry(kind=kind, name=name):
            if name not in state.entries:
                raise NotFound(f"there is no entry {name!r} in {kind}")
            return (CatalogEntryRemoved(kind=kind, name=name),)
        case _:
            assert_never(command)


def check_kind(kind: Kind, entry: Entry) -> None:
    if not isinstance(entry, ENTRY_TYPES[kind]):
        raise Invalid(f"the entry is not one of {kind}")


def evolve(state: Shelf, event: CatalogEvents) -> Shelf:
    match event:
        case CatalogEntryPlanted(entry=entry):
            return Shelf({**state.entries, entry.name: entry}, state.by_people)
        case CatalogEntrySet(entry=entry):
            return Shelf({**state.entries, entry.name: entry}, state.by_people | {entry.name})
        case CatalogEntryRemoved(name=name):
            return Shelf({k: v for k, v in state.entries.items() if k != name}, state.by_people | {name})
        case _:
            assert_never(event)


CATALOG = Aggregate(
    category="catalog",
    initial=Shelf(),
    decide=decide,
    evolve=evolve,
    commands=(PlantEntry, SetEntry, RemoveEntry),
    events=(CatalogEntryPlanted, CatalogEntrySet, CatalogEntryRemoved),
)
