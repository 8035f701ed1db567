#!/usr/bin/env python3
"""How long `weirgate provider import` takes: every description of the corpus, the largest in detail.

The corpus is not part of the repository: it is looked for beside the clone, or named by --corpus.

usage: benches/import.py [--corpus DIR] [--runs N]
"""

import argparse
import csv
import pathlib
import time

import common


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    beside = common.REPO.parent / "shared/openapi-corpus"
    parser.add_argument("--corpus", type=pathlib.Path, default=beside)
    parser.add_argument("--runs", type=int, default=5, help="of each of the slowest and largest")
    options = parser.parse_args()
    index = options.corpus / "INDEX.tsv"
    if not index.is_file():
        common.stop(f"there is no {index}; name the corpus by --corpus")
    with index.open(encoding="utf-8", newline="") as file:
        documents = {row["file"]: row for row in csv.DictReader(file, delimiter="\t")}
    about, rounds, found = common.machine(), common.Rounds(), {}
    with common.scratch() as home:
        weirgate = common.Weirgate(home)
        weirgate.verb("init")

        def measure(name):
            path = options.corpus / name
            started = time.monotonic()
            # What some documents say of their servers is not usable as it stands.
            found[name] = weirgate.verb(
                "provider", "import", path, "--name", "it", "--server", "https://api.example.com"
            )
            rounds.add(name, ms=(time.monotonic() - started) * 1e3)
            common.talk(f"{name}: {rounds.figures[name]['ms'][-1]:.0f} ms")

        for name in documents:
            measure(name)
        slowest = sorted(documents, key=lambda name: -rounds.median(name, "ms"))[:3]
        largest = sorted(documents, key=lambda name: -(options.corpus / name).stat().st_size)[:3]
        chosen = list(dict.fromkeys(largest + slowest))
        for _ in range(options.runs - 1):
            for name in chosen:
                measure(name)
        version = common.version(str(weirgate.binary), "--version")
    rows = [
        [
            f"{documents[name]['title']} ({pathlib.Path(name).suffix[1:]}, {documents[name]['oas_version']})",
            f"{(options.corpus / name).stat().st_size / 1e6:.2f}",
            found[name]["operations"],
            found[name]["objects"],
            rounds.shown(name, "ms", ".0f"),
        ]
        for name in chosen
    ]
    common.table(["description", "MB", "operations", "objects", "ms"], rows)
    total = sum(rounds.figures[name]["ms"][0] for name in documents)
    wrong = [name for name in documents if found[name]["operations"] != int(documents[name]["operations"])]
    print(
        f"The three largest and the three slowest of {len(documents)} descriptions; the whole verb, "
        f"from start to exit: reading, compiling, storing, audit entry. Median (range) of "
        f"{options.runs} runs. All {len(documents)} once: {total / 1e3:.1f} s. {version}; {about}."
    )
    if wrong:
        common.stop(f"another number of operations than the index says: {', '.join(wrong)}")


main()
