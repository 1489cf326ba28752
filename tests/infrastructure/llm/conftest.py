"""The same runner's world as for crews."""

from tests.infrastructure.crew.conftest import runner_home

__all__ = ["runner_home"]
