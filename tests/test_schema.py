"""The OpenAPI document: valid 3.1, stable operation ids, every error described, served with its page by this host only."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from drf_spectacular.validation import validate_schema

from tests.access import SAMPLE, rows

ROOT = Path(__file__).resolve().parents[1]
METHODS = ("get", "post", "put", "patch", "delete")


@pytest.fixture(scope="module")
def document(django_db_blocker):
    from drf_spectacular.drainage import GENERATOR_STATS
    from drf_spectacular.generators import SchemaGenerator

    import project.urls

    GENERATOR_STATS.reset()
    with GENERATOR_STATS.silence():
        document = SchemaGenerator(urlconf=project.urls).get_schema(request=None, public=True)
    warnings = [*GENERATOR_STATS._warn_cache, *GENERATOR_STATS._error_cache]
    assert warnings == []
    return json.loads(json.dumps(document, default=str))


def operations(document):
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, method, item[method]


def test_it_is_openapi_3_1(document):
    assert document["openapi"].startswith("3.1")
    validate_schema(document)


def test_operation_ids_are_stable(document):
    found = sorted(
        f"{operation['operationId']} {method.upper()} {path}" for path, method, operation in operations(document)
    )
    ours = [row for row in rows() if row.operation and row.app != SAMPLE]
    assert found == sorted({f"{row.operation} {row.method} {urlsplit(row.path).path}" for row in ours})


def test_every_operation_names_its_problems(document):
    problem = {"$ref": "#/components/schemas/Problem"}
    for path, method, operation in operations(document):
        answers = operation["responses"]
        wanted = {"400", "403", "406", "429", "500", "503", "504"}
        wanted |= {"401"} if operation.get("security") and {} not in operation["security"] else set()
        wanted |= {"404"} if "{" in path else set()
        wanted |= {"408", "413", "415"} if "requestBody" in operation else set()
        assert wanted <= set(answers), (method, path, wanted - set(answers))
        for status, answer in answers.items():
            if status in {"414", "431"}:  # refused before the application sees the request
                assert answer == {"$ref": f"#/components/responses/{status}"}
            elif status >= "400":
                assert answer["content"]["application/problem+json"]["schema"] == problem, (method, path, status)


def test_every_operation_says_what_authorises_it(document):
    """By the tables of who may what, which the service itself is held to: nobody, and someone whose session has ended."""
    schemes = set(document["components"]["securitySchemes"])
    public = set()
    for path, method, operation in operations(document):
        expected = [row.expected for row in rows() if row.operation == operation["operationId"]]
        security = operation.get("security")
        assert security is not None, (method, path)
        if security == []:
            public.add(operation["operationId"])
            assert all(row["nobody"] == row["ended"] for row in expected), (method, path)
            continue
        assert {name for one in security for name in one} <= schemes, (method, path)
        assert {row["ended"] for row in expected} == {401}, (method, path)
        assert ({} in security) == any(row["nobody"] != 401 for row in expected), (method, path)
        # The tables are walked with bearer tokens.
        assert ({"bearer": []} in security) == any(min(row.values()) < 400 for row in expected), (method, path)
    assert {"auth_register", "auth_login", "auth_refresh"} <= public


def test_texts_say_which_characters_they_take(document):
    """Refuse in the document what the fields refuse, as a fuzzer found."""
    schemas = document["components"]["schemas"]
    password = re.compile(schemas["RegisterRequest"]["properties"]["password"]["pattern"])
    assert password.search("a" * 12)
    assert not password.search("a" * 11)
    email = re.compile(schemas["RegisterRequest"]["properties"]["email"]["pattern"])
    assert email.search("a.b@mail.example.com")
    assert not any(
        email.search(text) for text in ('"a"@example.com', "a@localhost", "a@[127.0.0.1]", "a..b@example.com")
    )
    parameters = {one["name"]: one["schema"] for one in document["paths"]["/api/v1/jobs"]["get"]["parameters"]}
    assert not re.search(parameters["cursor"]["pattern"], "0" * 50)
    assert parameters["cursor"]["maxLength"] == 4000


def test_every_shape_is_spoken_of(document):
    spoken_of = set(re.findall(r"\"#/components/schemas/([^\"]+)\"", json.dumps(document)))
    assert set(document["components"]["schemas"]) == spoken_of


def test_the_document_is_served_and_not_sent_twice(client):
    answer = client.get("/api/schema")
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/vnd.oai.openapi+json"
    assert json.loads(answer.content)["openapi"].startswith("3.1")
    again = client.get("/api/schema", headers={"If-None-Match": answer["ETag"]})
    assert again.status_code == 304
    assert again.content == b""


def test_the_page_loads_from_here_alone(client):
    answer = client.get("/api/docs")
    assert answer.status_code == 200
    page = answer.content.decode()
    assert re.findall(r"(?:src|href)=\"(?!/)[^\"]*\"", page) == []
    assert "<script>" not in page
    assert "<style" not in page
    assert "style=" not in page


def test_the_first_readers_of_a_process_all_get_the_document():
    """drf-spectacular's classes are shared by threads: of generations at the same time all but one would fail."""
    code = """
import threading, django
django.setup()
from django.test import Client
begin, answers = threading.Barrier(8), []
def read():
    begin.wait()
    answers.append(Client(raise_request_exception=False).get("/api/schema").status_code)
threads = [threading.Thread(target=read) for _ in range(8)]
[thread.start() for thread in threads]; [thread.join() for thread in threads]
print(sorted(answers))
"""
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "settings.test"}
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert ran.stdout.strip() == str([200] * 8), ran.stderr[-2000:]
