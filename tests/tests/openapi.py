"""An OpenAPI document against the standard, and its examples against itself and the service: openapi.py URL."""

import json
import sys
import urllib.request

from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator


def send(url, body=None):
    request = urllib.request.Request(url, body, {"content-type": "application/json"} if body else {})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.status, json.loads(answer.read())


def main(url):
    _, document = send(f"{url}/openapi.json")
    OpenAPIV31SpecValidator(document).validate()
    examples = 0
    for path, item in document["paths"].items():
        content = item.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json", {})
        if "example" not in content:
            continue
        schema = content["schema"] | {"components": document["components"]}
        Draft202012Validator.check_schema(schema)
        Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(content["example"])
        if item["post"]["operationId"].startswith("publish."):
            answer = send(f"{url}{path}/validate", json.dumps(content["example"]).encode())
            assert answer == (200, {"valid": True}), (path, answer)
            examples += 1
    print(examples)


main(sys.argv[1])
