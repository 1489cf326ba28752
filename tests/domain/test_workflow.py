"""The rules of workflows and of the catalogue."""

from __future__ import annotations

from domain.catalog import (
    CATALOG,
    CatalogEntryPlanted,
    CatalogEntryRemoved,
    CatalogEntrySet,
    Model,
    PlantEntry,
    RemoveEntry,
    SetEntry,
)
from domain.errors import NotFound, Rejected
from domain.workflow import (
    WORKFLOW,
    ArchiveWorkflow,
    CreateWorkflow,
    PlantWorkflow,
    ReviseWorkflow,
    WorkflowArchived,
    WorkflowCreated,
    WorkflowRevised,
)
from tests.domain.examples import blog
from tests.domain.spec import Spec

spec = Spec(WORKFLOW)
first, second = blog(), blog(name="Blog 2")
created = WorkflowCreated(definition=first)
planted = WorkflowCreated(definition=first, planted=True)


def test_a_workflow_is_created_once() -> None:
    command = CreateWorkflow(workflow_id="w", definition=first)
    spec.when(command).then(created)
    spec.given(created).when(command).then_refused(Rejected, "exists already")


def test_a_revision_is_a_new_version_and_the_old_one_stays() -> None:
    revised = WorkflowRevised(definition=second)
    spec.given(created).when(ReviseWorkflow(workflow_id="w", definition=second)).then(revised)
    state = spec.given(created, revised).state()
    assert (state.at(1), state.at(2), state.at(3)) == (first, second, None)


def test_a_revision_that_changes_nothing_is_no_version() -> None:
    spec.given(created).when(ReviseWorkflow(workflow_id="w", definition=first)).then_nothing()


def test_an_archived_workflow_is_not_revised() -> None:
    archived = spec.given(created, WorkflowArchived())
    archived.when(ReviseWorkflow(workflow_id="w", definition=second)).then_refused(Rejected, "while archived")
    archived.when(ArchiveWorkflow(workflow_id="w")).then_nothing()


def test_a_seed_follows_its_release_until_a_person_revises() -> None:
    plant = PlantWorkflow(workflow_id="w", definition=second)
    spec.given(planted).when(plant).then(WorkflowRevised(definition=second, planted=True))
    spec.given(planted, WorkflowRevised(definition=blog(name="Mine"))).when(plant).then_nothing()
    spec.given(planted, WorkflowArchived()).when(plant).then_nothing()


def test_planting_again_appends_nothing() -> None:
    spec.given(planted).when(PlantWorkflow(workflow_id="w", definition=first)).then_nothing()


shelf = Spec(CATALOG)
small, warm = Model(name="demo/small"), Model(name="demo/small", temperature=0.9)
plant_small = PlantEntry(kind="models", entry=small)


def test_an_entry_is_planted_once() -> None:
    shelf.when(plant_small).then(CatalogEntryPlanted(entry=small))
    shelf.given(CatalogEntryPlanted(entry=small)).when(plant_small).then_nothing()


def test_what_an_administrator_set_or_removed_is_never_planted_over() -> None:
    shelf.given(CatalogEntrySet(entry=warm)).when(plant_small).then_nothing()
    removed = CatalogEntryRemoved(kind="models", name="demo/small")
    shelf.given(CatalogEntryPlanted(entry=small), removed).when(plant_small).then_nothing()


def test_setting_what_a_seed_planted_makes_it_the_administrators() -> None:
    shelf.given(CatalogEntryPlanted(entry=small)).when(SetEntry(kind="models", entry=small)).then(
        CatalogEntrySet(entry=small)
    )


def test_an_entry_that_is_not_there_can_not_be_removed() -> None:
    shelf.when(RemoveEntry(kind="models", name="demo/small")).then_refused(NotFound, "no entry")
