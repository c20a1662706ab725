"""The baseline: a Flask view that returns the same number of bytes and does nothing else.

BENCH_SAMPLES is the path of a JSON file with the response body of each hot path.
"""

import json
import os
from pathlib import Path

from flask import Flask, Response, request

app = Flask("bare", static_folder=None)
app.extensions["watch_clock"] = lambda: None  # gunicorn_conf.py calls it in each worker
SAMPLES = json.loads(Path(os.environ["BENCH_SAMPLES"]).read_text()) if "BENCH_SAMPLES" in os.environ else {}


@app.get("/<path>")
def constant(path):
    return Response(SAMPLES.get(path, "{}"), content_type="application/json")


@app.route("/<path>", methods=["POST", "PUT"])
def constant_for_json(path):
    request.get_json()
    return Response(SAMPLES.get(path, "{}"), content_type="application/json")
