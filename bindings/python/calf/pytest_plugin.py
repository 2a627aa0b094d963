"""Fixtures: `calf_server`, one temporary database for the session; `calf_dsn`, a fresh one in it per test."""

import itertools

import pytest

import calf

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def calf_server():
    with calf.open() as db:
        yield db


@pytest.fixture
def calf_dsn(calf_server):
    name = "test%d" % next(_numbers)
    admin = calf_server.connect()
    admin.autocommit = True
    admin.cursor().execute("create database " + name)
    yield calf_server.dsn + " dbname=" + name
    admin.cursor().execute("drop database %s with (force)" % name)
    admin.close()
