"""The registry of `forebay up` as confluent-kafka's client meets it: SchemaRegistryClient, AvroSerializer, AvroDeserializer.

Usage: client.py REGISTRY_URL. Fails on the first answer that is not Schema Registry's.
"""

import datetime
import json
import sys

from confluent_kafka.schema_registry import (
    Schema,
    SchemaReference,
    SchemaRegistryClient,
    ServerConfig,
    header_schema_id_serializer,
)
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.schema_registry.schema_registry_client import ConfigCompatibilityLevel
from confluent_kafka.schema_registry.serde import SchemaId
from confluent_kafka.serialization import MessageField, SerializationContext

USER = json.dumps({"type": "record", "name": "t.User", "fields": [{"name": "id", "type": "long"}]})
NICK = json.dumps(
    {
        "type": "record",
        "name": "t.User",
        "fields": [
            {"name": "id", "type": "long"},
            {"name": "nick", "type": ["null", "string"], "default": None},
        ],
    }
)
AGE = json.dumps(
    {"type": "record", "name": "t.User", "fields": [{"name": "id", "type": "long"}, {"name": "age", "type": "int"}]}
)
TEAM = json.dumps(
    {
        "type": "record",
        "name": "t.Team",
        "fields": [{"name": "lead", "type": "t.User"}, {"name": "day", "type": {"type": "int", "logicalType": "date"}}],
    }
)
SUBJECT = "a/b users-value"


def refused(code, call, *args, **kwargs):
    """The call must be refused with this error code."""
    try:
        answer = call(*args, **kwargs)
    except SchemaRegistryError as error:
        assert error.error_code == code, (code, error)
        assert error.http_status_code == int(str(code)[:3]), error
    else:
        raise AssertionError(f"{call.__name__} answered {answer!r}, not {code}")


def versions(url, client):
    """Registering, looking up and comparing."""
    refused(40401, client.get_latest_version, SUBJECT)
    first = client.register_schema(SUBJECT, Schema(USER, "AVRO"))
    full = client.register_schema_full_response(SUBJECT, Schema(NICK, "AVRO"))
    assert full.schema_id == first + 1 and full.version == 2 and full.guid, full
    refused(409, client.register_schema, SUBJECT, Schema(AGE, "AVRO"))
    assert client.get_schema(first).schema_str == USER
    assert client.get_schema_by_guid(full.guid).schema_str == NICK
    assert client.get_schema_types() == ["AVRO"]
    assert client.get_subjects_by_schema_id(first) == [SUBJECT]
    assert [(v.subject, v.version) for v in client.get_schema_versions(first)] == [(SUBJECT, 1)]
    assert client.lookup_schema(SUBJECT, Schema(NICK, "AVRO")).version == 2
    refused(40403, client.lookup_schema, SUBJECT, Schema(AGE, "AVRO"))
    latest = client.get_latest_version(SUBJECT)
    assert (latest.subject, latest.version, latest.schema.schema_str) == (SUBJECT, 2, NICK), latest
    assert client.get_version(SUBJECT, 1).schema_id == first
    refused(40402, client.get_version, SUBJECT, 9)
    assert client.get_versions(SUBJECT) == [1, 2]
    assert SUBJECT in client.get_subjects() and client.get_subjects(subject_prefix="no") == []
    assert client.test_compatibility(SUBJECT, Schema(NICK, "AVRO")) is True
    assert client.test_compatibility(SUBJECT, Schema(AGE, "AVRO"), verbose=True) is False
    assert client.test_compatibility_all_versions(SUBJECT, Schema(AGE, "AVRO")) is False
    assert client.register_schema("normal", Schema(USER, "AVRO"), normalize_schemas=True)
    fresh = SchemaRegistryClient({"url": url})
    assert fresh.lookup_schema("normal", Schema(USER, "AVRO"), normalize_schemas=True).version == 1
    assert client.get_contexts() == ["."]
    refused(42201, client.register_schema, "json", Schema('{"type":"object"}', "JSON"))


def settings(client):
    """Levels and modes."""
    assert client.get_compatibility() == "BACKWARD"
    refused(40408, client.get_compatibility, SUBJECT)
    assert client.set_compatibility(SUBJECT, "FULL") == {"compatibility": "FULL"}
    assert client.get_compatibility(SUBJECT) == "FULL"
    config = ServerConfig(compatibility=ConfigCompatibilityLevel.NONE)
    assert client.set_config(SUBJECT, config)["compatibility"] == "NONE"
    assert client.get_config(SUBJECT).compatibility_level == ConfigCompatibilityLevel.NONE
    assert client.delete_config(SUBJECT).compatibility_level == ConfigCompatibilityLevel.NONE
    assert client.get_global_mode() == "READWRITE"
    assert client.update_mode(SUBJECT, "READONLY") == "READONLY"
    assert client.get_mode(SUBJECT) == "READONLY"
    refused(42205, client.register_schema, SUBJECT, Schema('"int"', "AVRO"))
    assert client.delete_mode(SUBJECT) == "READONLY"
    refused(40409, client.get_mode, SUBJECT)
    refused(42205, client.update_global_mode, "IMPORT")
    assert client.update_global_mode("IMPORT", force=True) == "IMPORT"
    assert client.update_global_mode("READWRITE") == "READWRITE"


def records(url, client):
    """Serializer and deserializer, with a reference, by id in the value and by GUID in a header."""
    references = [SchemaReference("t.User", SUBJECT, 2)]
    team = Schema(TEAM, "AVRO", references)
    value = {"lead": {"id": 7, "nick": "ü"}, "day": datetime.date(2024, 5, 1)}
    context = SerializationContext("teams", MessageField.VALUE, [])
    framed = AvroSerializer(client, team)(value, context)
    team_id = client.get_latest_version("teams-value").schema_id
    assert framed[0] == 0 and int.from_bytes(framed[1:5], "big") == team_id
    assert client.get_referenced_by(SUBJECT, 2) == [team_id]
    stranger = SchemaRegistryClient({"url": url})
    assert AvroDeserializer(stranger)(framed, context) == value

    by_guid = AvroSerializer(client, team, conf={"schema.id.serializer": header_schema_id_serializer})
    bare = by_guid(value, context)
    assert context.headers and bare != framed, context.headers
    assert AvroDeserializer(stranger)(bare, context) == value

    latest = {"auto.register.schemas": False, "use.latest.version": True}
    user = AvroSerializer(client, conf=latest | {"subject.name.strategy": lambda _context, _record: SUBJECT})
    old = AvroDeserializer(SchemaRegistryClient({"url": url}), USER)
    assert old(user({"id": 1, "nick": None}, context), SerializationContext("users", MessageField.VALUE)) == {"id": 1}


def deletes(client):
    """Soft, then permanent."""
    refused(42206, client.delete_version, SUBJECT, 2)
    assert client.delete_subject("teams-value") == [1]
    refused(40404, client.delete_subject, "teams-value")
    assert "teams-value" in client.get_subjects(deleted=True)
    assert client.get_subjects(deleted_only=True) == ["teams-value"]
    assert client.delete_subject("teams-value", permanent=True) == [1]
    assert client.delete_version(SUBJECT, 2) == 2
    assert client.get_versions(SUBJECT) == [1] and client.get_versions(SUBJECT, deleted=True) == [1, 2]
    assert client.delete_version(SUBJECT, 2, permanent=True) == 2
    refused(40405, client.delete_subject, SUBJECT, permanent=True)
    assert client.delete_subject(SUBJECT) == [1]
    assert client.delete_subject(SUBJECT, permanent=True) == [1]


def main():
    url = sys.argv[1]
    client = SchemaRegistryClient({"url": url, "max.retries": 0})
    versions(url, client)
    settings(client)
    records(url, client)
    deletes(client)
    print("ok")


if __name__ == "__main__":
    main()
