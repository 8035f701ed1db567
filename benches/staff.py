"""Invented staff: documents for the benchmarks, the same at each run."""

import json
import random

# Member, type of its leaf. Longer ones carry text like real records do.
MEMBERS = [
    "id", "employeeNumber", "firstName", "lastName", "displayName", "workEmail", "jobTitle",
    "department", "division", "location", "hireDate", "status", "isManager", "ftePercent",
    "managerId", "workPhone", "timeZone", "locale", "updatedAt", "about",
]
ADDRESS = ["street", "city", "postalCode", "country"]
JOBS = ["title", "from", "to"]

# Every leaf, in the order of the document, and every second one.
ALL_FIELDS = (
    MEMBERS[:10]
    + [f"address.{name}" for name in ADDRESS]
    + MEMBERS[10:]
    + [f"jobs[].{name}" for name in JOBS]
)
HALF_OF_FIELDS = ALL_FIELDS[::2]

_WORDS = "weir lock sluice river bank mill race pond ford bridge spillway gate crest flow".split()
_CITIES = ["Weirtown", "Lockport", "Millford", "Pondside", "Zürich", "Łódź", "São Paulo"]


def employee(rng, number, about_bytes=180):
    def words(count):
        return " ".join(rng.choice(_WORDS) for _ in range(count))

    first, last = rng.choice(_WORDS).title(), rng.choice(_WORDS).title()
    about = ""
    while len(about) < about_bytes:
        about += words(6) + (". " if rng.random() < 0.5 else ' "quoted" ')
    return {
        "id": number,
        "employeeNumber": f"E-{number:06}",
        "firstName": first,
        "lastName": last,
        "displayName": f"{first} {last}",
        "workEmail": f"{first.lower()}.{last.lower()}.{number}@example.com",
        "jobTitle": words(2),
        "department": words(1),
        "division": words(2),
        "location": rng.choice(_CITIES),
        "address": {
            "street": f"{words(1).title()} Lane {rng.randint(1, 200)}",
            "city": rng.choice(_CITIES),
            "postalCode": f"{rng.randint(0, 99999):05}",
            "country": rng.choice(["CH", "PL", "BR", "US"]),
        },
        "hireDate": f"20{rng.randint(10, 26)}-0{rng.randint(1, 9)}-1{rng.randint(0, 9)}",
        "status": rng.choice(["active", "on leave", "left"]),
        "isManager": rng.random() < 0.2,
        "ftePercent": round(rng.uniform(20, 100), 1),
        "managerId": rng.randint(1, 500),
        "workPhone": f"+1-555-01{rng.randint(0, 99):02}",
        "timeZone": rng.choice(["Europe/Zurich", "America/New_York", "Asia/Tokyo"]),
        "locale": rng.choice(["de-CH", "en-US", "ja-JP"]),
        "updatedAt": f"2026-0{rng.randint(1, 9)}-1{rng.randint(0, 9)}T08:15:30Z",
        "about": about[:about_bytes].strip(),
        "jobs": [
            {"title": words(2), "from": "2019-01-01", "to": "2021-12-31"}
            for _ in range(rng.randint(1, 2))
        ],
    }


def dumps(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def padded(value, record, size):
    """The document's text in exactly `size` bytes, filled up in one record's `about`."""
    record["about"] = ""
    missing = size - len(dumps(value).encode())
    assert missing >= 0, f"too long by {-missing}"
    record["about"] = ("about " * size)[:missing]
    text = dumps(value)
    assert len(text.encode()) == size
    return text


def one_kilobyte():
    record = employee(random.Random(1), 1)
    return padded(record, record, 1024)


def sixteen_kilobytes():
    rng = random.Random(2)
    records = []
    page = {"results": records, "next": None}
    while len(dumps(page).encode()) < 16_384 - 1_000:
        records.append(employee(rng, len(records) + 1))
    return padded(page, records[-1], 16_384)


def write_large(path, size):
    """One document of at least `size` bytes: many records in an envelope."""
    rng = random.Random(3)
    # A thousand different records, repeated: as good for parsers, and made in seconds.
    pool = [dumps(employee(rng, number)) for number in range(1_000)]
    with open(path, "w", encoding="utf-8", newline="") as file:
        written = file.write('{"results":[')
        index = 0
        while written < size:
            written += file.write(("," if index else "") + pool[index % len(pool)])
            index += 1
        file.write('],"next":null}')
    return index


def description():
    """An OpenAPI 3.0 description of the two documents."""
    text = {"type": "string"}
    leaves = {name: text for name in MEMBERS}
    leaves |= {
        "id": {"type": "integer"},
        "managerId": {"type": "integer"},
        "isManager": {"type": "boolean"},
        "ftePercent": {"type": "number"},
        "address": {"type": "object", "properties": {name: text for name in ADDRESS}},
        "jobs": {
            "type": "array",
            "items": {"type": "object", "properties": {name: text for name in JOBS}},
        },
    }
    record = {"$ref": "#/components/schemas/Employee"}
    page = {
        "type": "object",
        "properties": {
            "results": {"type": "array", "items": record},
            "next": {"type": "string", "nullable": True},
        },
    }

    def operation(name, schema):
        content = {"application/json": {"schema": schema}}
        return {
            "get": {
                "operationId": name,
                "responses": {"200": {"description": "it", "content": content}},
            }
        }

    return dumps(
        {
            "openapi": "3.0.3",
            "info": {"title": "Staff", "version": "1"},
            "paths": {"/1k": operation("get_one", record), "/16k": operation("list", page)},
            "components": {"schemas": {"Employee": {"type": "object", "properties": leaves}}},
        }
    )
