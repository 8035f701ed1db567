"""Reads OTLP exports with the classes that OpenTelemetry generates for Python.

usage: decode.py traces|metrics FILE

Prints the export as JSON, by the names of its schema. Fails where the bytes are no such export, or
hold a field that the schema does not know.
"""

import sys

from google.protobuf import json_format, unknown_fields
from google.protobuf.message import Message
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

KINDS = {"traces": ExportTraceServiceRequest, "metrics": ExportMetricsServiceRequest}


def look(message, path):
    if len(unknown_fields.UnknownFieldSet(message)) > 0:
        sys.exit(f"{path} holds a field that the schema does not know")
    for field, value in message.ListFields():
        for one in value if isinstance(value, (list, tuple)) or hasattr(value, "append") else [value]:
            if isinstance(one, Message):
                look(one, f"{path}.{field.name}")


def main():
    kind, file = sys.argv[1:]
    with open(file, "rb") as bytes_of:
        export = KINDS[kind].FromString(bytes_of.read())
    look(export, kind)
    print(json_format.MessageToJson(export, preserving_proto_field_name=True, indent=None))


main()
