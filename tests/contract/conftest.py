"""The toy manager of the tiny tests, and a client of its REST API."""

import pytest
from fastapi.testclient import TestClient

from api.app import build_api
from tests.tiny.conftest import checkpoints, make_manager, manager

__all__ = ["checkpoints", "client", "make_client", "make_manager", "manager"]


@pytest.fixture(scope="session")
def make_client():
    """Makes a client of a manager's API; errors come back as answers."""
    return lambda manager: TestClient(build_api(manager, version="test"), raise_server_exceptions=False)


@pytest.fixture(scope="session")
def client(make_client, manager):
    """A client of the shared toy manager."""
    return make_client(manager)
