"""From what a person wrote to a definition that can run: templates, shape, meaning; all faults at once.

Called by `application.requests` while a command is prepared. Its one rule: what passes here runs as written;
what does not is named by JSON pointer, and nothing is stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, lru_cache
from itertools import islice
from typing import Any, TypeGuard, cast

import jsonschema
import msgspec
from referencing.exceptions import Unresolvable

from application.schema_work import MAX_CHECKS, MAX_WORK, schema_work, values_in
from domain.catalog import Catalog
from domain.checks import definition_faults, pointer
from domain.definition import Definition, Json, JsonSchema
from domain.errors import Fault, Invalid, TooLarge

MAX_DEFINITION_BYTES = 128 * 1024
"""A document above this, as JSON with its schemas, is refused: it travels in one event (256 KiB)."""

PLAIN_TYPES = {"string": str, "boolean": bool, "integer": int, "object": dict, "array": list}
PLAIN_KEYWORDS = {"type", "title", "description", "default", "examples"}
"""A schema of no others says only of what type a value is: most inputs have such a one."""

PROMPTS = {"agents": ("role", "goal", "backstory"), "tasks": ("description", "expected_output")}
"""Where a document may say `{template: <name>}` in place of a text."""

REFUSED_KEYWORDS = ("pattern", "patternProperties", "uniqueItems", "$dynamicRef", "$recursiveRef")
"""JSON Schema keywords that could stall a process (regular expressions, every item against every other) or
loop."""

MAX_FAULTS = 100
"""Of a document's shape that are named at once."""


def read_definition(document: object, catalog: Catalog) -> Definition:
    """The definition that a document describes, with the catalogue's texts and schemas copied in.

    Raises `Invalid` with every fault, `TooLarge` above `MAX_DEFINITION_BYTES`.
    """
    check_size(document)
    faults: list[Fault] = []
    document = with_templates(document, catalog, faults)
    faults.extend(islice(shape_faults(document), MAX_FAULTS))
    check(faults)
    definition = msgspec.convert(document, type=Definition)
    faults.extend(definition_faults(definition, catalog))
    faults.extend(schemas_faults(definition))
    check(faults)
    definition = with_schemas(definition, catalog)
    check_size(definition)
    return definition


def check_size(document: object) -> None:
    if (size := len(msgspec.json.encode(document))) > MAX_DEFINITION_BYTES:
        raise TooLarge(f"the definition has {size} bytes as JSON; expected at most {MAX_DEFINITION_BYTES}")


def check(faults: list[Fault]) -> None:
    if faults:
        count = "one fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise Invalid(
            f"the request has {count}; the first: {faults[0].pointer} {faults[0].message}", (*faults,)
        )


def with_templates(document: object, catalog: Catalog, faults: list[Fault]) -> object:
    """The document with each `{template: <name>}` replaced by the catalogue's text."""
    if not is_object(document):
        return document
    result = dict(document)
    for section, fields in PROMPTS.items():
        items = result.get(section)
        if not is_object(items):
            continue
        result[section] = {
            name: {
                key: text_of(value, pointer(section, name, key), catalog, faults)
                for key, value in item.items()
            }
            if is_object(item) and any(is_object(item.get(field)) for field in fields)
            else item
            for name, item in items.items()
        }
    return result


def text_of(value: object, at: str, catalog: Catalog, faults: list[Fault]) -> object:
    if not is_object(value) or set(value) != {"template"}:
        return value
    name = value["template"]
    if isinstance(name, str) and name in catalog.templates:
        return catalog.templates[name].text
    known = ", ".join(sorted(catalog.templates)) or "none is there yet"
    faults.append(Fault(at, f"unknown template {name!r}; expected one of: {known}"))
    return "unknown template"


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def with_schemas(definition: Definition, catalog: Catalog) -> Definition:
    """The definition with the catalogue's schemas that it names: it depends on nothing outside."""
    tasks = definition.tasks.values()
    named = {task.output_schema for task in tasks if task.output_schema}
    named |= {task.guardrail.schema for task in tasks if task.guardrail and task.guardrail.schema}
    signals = [step.signal for step in definition.steps.values() if step.signal]
    named |= {signal.payload_schema for signal in signals if signal.payload_schema}
    copied = {name: catalog.schemas[name].schema for name in sorted(named - definition.schemas.keys())}
    return msgspec.structs.replace(definition, schemas={**definition.schemas, **copied})


@cache
def definition_validator() -> jsonschema.Draft202012Validator:
    """Stricter than JSON Schema in one point: 5.0 is no integer here, nor is it one to msgspec."""
    checker = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine("integer", is_integer)
    strict = jsonschema.validators.extend(jsonschema.Draft202012Validator, type_checker=checker)  # type: ignore[no-untyped-call]
    return cast("jsonschema.Draft202012Validator", strict(msgspec.json.schema(Definition)))


def is_integer(checker: object, value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def shape_faults(document: object) -> Iterator[Fault]:
    """Where a document is not of the `Definition`'s shape; each unknown or missing field by its pointer."""
    for error in definition_validator().iter_errors(document):
        yield from faults_of(error)


def faults_of(error: jsonschema.ValidationError, *base: str) -> Iterator[Fault]:
    """What a JSON Schema validator found, in the words of the API."""
    at = pointer(*base, *error.absolute_path)
    schema: dict[str, Any] = error.schema if isinstance(error.schema, dict) else {}
    match error.validator:
        case "additionalProperties" if schema.get("additionalProperties") is False:
            known = ", ".join(schema.get("properties", {})) or "none"
            for key in dict(error.instance):  # type: ignore[arg-type]
                if key not in schema.get("properties", {}):
                    yield Fault(at + pointer(key), f"unknown field; expected one of: {known}")
        case "required":
            for key in schema["required"]:
                if is_object(error.instance) and key not in error.instance and repr(key) in error.message:
                    yield Fault(at + pointer(key), "is missing")
        case "anyOf" if inner := closest(error):
            for each in inner:
                yield from faults_of(each, *base)
        case "anyOf":
            kinds = ", ".join(str(option.get("type", "an object of its own")) for option in schema["anyOf"])
            yield Fault(at, f"expected one of: {kinds}")
        case "pattern":
            name = (
                "name"
                if error.absolute_schema_path and "propertyNames" in error.absolute_schema_path
                else "text"
            )
            yield Fault(at, f"{name} {shown(error.instance)} does not match {schema['pattern']}")
        case _:
            yield Fault(at, error.message if len(error.message) <= 300 else f"{error.message[:300]}…")


def closest(error: jsonschema.ValidationError) -> list[jsonschema.ValidationError]:
    """The faults within the one choice whose kind of value this is; () when there is none, or are several."""
    options: dict[object, list[jsonschema.ValidationError]] = {}
    for inner in error.context or ():
        options.setdefault(inner.schema_path[0], []).append(inner)
    near = [
        faults for faults in options.values() if not any(is_of_other_kind(error, each) for each in faults)
    ]
    return near[0] if len(near) == 1 else []


def is_of_other_kind(error: jsonschema.ValidationError, inner: jsonschema.ValidationError) -> bool:
    return inner.validator in ("type", "const", "enum") and inner.absolute_path == error.absolute_path


def shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def schemas_faults(definition: Definition) -> Iterator[Fault]:
    """The JSON Schemas within a document: of the inputs, with their defaults, and of the outputs."""
    for name, schema in definition.inputs.items():
        faults = tuple(schema_faults(schema, "inputs", name))
        yield from faults
        if not faults and "default" in schema:
            yield from value_faults(schema, schema["default"], "inputs", name, "default")
    for name, schema in definition.schemas.items():
        yield from schema_faults(schema, "schemas", name)
        if schema.get("type") != "object":
            yield Fault(pointer("schemas", name, "type"), "expected 'object': an output is an object")


def schema_faults(schema: JsonSchema, *at: str) -> Iterator[Fault]:
    """Where a JSON Schema is not one (draft 2020-12), uses what is refused here, or is too much work."""
    if schema_work(schema) > MAX_WORK:
        message = f"refers to itself, or has more than {MAX_WORK} keywords with its references written out"
        yield Fault(pointer(*at), f"{message}; expected less")
        return
    validator = jsonschema.Draft202012Validator(jsonschema.Draft202012Validator.META_SCHEMA)
    for error in validator.iter_errors(schema):
        yield Fault(pointer(*at, *error.absolute_path), f"is not a JSON Schema: {error.message[:300]}")
    for path, key, value in keywords(schema, at):
        if key in REFUSED_KEYWORDS:
            yield Fault(pointer(*path, key), f"{key} is not available here; expected a schema without it")
        if key == "$ref" and not str(value).startswith("#"):
            yield Fault(pointer(*path, key), "expected a reference within the schema (#/...)")


def value_faults(schema: JsonSchema, value: Json, *at: str) -> tuple[Fault, ...]:
    """Where a value is not an instance of a schema; a schema without end is a fault too."""
    if type(value) is PLAIN_TYPES.get(str(schema.get("type"))) and schema.keys() <= PLAIN_KEYWORDS:
        return ()
    try:
        validator, work = validator_of(msgspec.json.encode(schema))
        if work > MAX_WORK or work * values_in(value) > MAX_CHECKS:
            return (Fault(pointer(*at), "is too large to be held against its schema; expected less"),)
        errors = list(islice(validator.iter_errors(value), MAX_FAULTS))
    except (RecursionError, Unresolvable):
        return (Fault(pointer(*at), "its schema refers to itself without end, or to what it lacks"),)
    return tuple(fault for error in errors for fault in faults_of(error, *at))


@lru_cache(maxsize=1024)
def validator_of(schema: bytes) -> tuple[jsonschema.Draft202012Validator, int]:
    """Of a schema as JSON, and how much work it is; making one costs ten times as much as asking it."""
    decoded = msgspec.json.decode(schema)
    return jsonschema.Draft202012Validator(decoded), schema_work(decoded)


def keywords(value: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str, object]]:
    """Every key of every object within, with the path to it; the names of properties are not keywords."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from keywords(item, (*path, str(index)))
    if not is_object(value):
        return
    for key, item in value.items():
        yield path, key, item
        if key in ("properties", "$defs") and is_object(item):
            for name, schema in item.items():
                yield from keywords(schema, (*path, key, name))
        elif key not in ("default", "const", "enum", "examples"):
            yield from keywords(item, (*path, key))


def read_inputs(definition: Definition, inputs: dict[str, Json]) -> dict[str, Json]:
    """The inputs, defaults filled in. Raises `Invalid`: each that is missing, unknown or wrong."""
    faults: list[Fault] = []
    for name in inputs:
        if name not in definition.inputs:
            known = ", ".join(definition.inputs) or "none"
            faults.append(Fault(pointer("inputs", name), f"unknown input; expected one of: {known}"))
    filled = {name: schema["default"] for name, schema in definition.inputs.items() if "default" in schema}
    filled.update(inputs)
    for name, schema in definition.inputs.items():
        if name not in filled:
            faults.append(Fault(pointer("inputs", name), "is missing; expected a value for this input"))
        elif name in inputs:
            faults.extend(value_faults(schema, filled[name], "inputs", name))
    check(faults)
    return filled
