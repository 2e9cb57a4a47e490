"""What `/sdapi/v1/script-info` says, against A1111's recorded answer."""

import json
from pathlib import Path
from typing import Any

from pipelines.sampling.catalogue import SAMPLERS, SCHEDULES

RECORDED = Path(__file__).parents[1] / "data" / "api" / "script-info.json"
NOT_HERE = "img2img alternative test"
"""The one script of A1111 that this program does not have."""


def comparable(scripts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without what depends on the files of an installation."""
    for script in scripts:
        for argument in script["args"]:
            if argument["label"] in ("Checkpoint", "Upscaler"):
                argument["choices"] = bool(argument["choices"])
    return scripts


def test_every_script_is_described_as_a1111_does(client):
    ours = client.get("/sdapi/v1/script-info").json()
    recorded = [script for script in json.loads(RECORDED.read_text()) if script["name"] != NOT_HERE]
    assert comparable(ours) == comparable(recorded)
    sampler = next(script for script in ours if script["name"] == "sampler")
    assert sampler["args"][1]["choices"] == SAMPLERS.names
    assert sampler["args"][2]["choices"] == SCHEDULES.names


def test_a_wrong_axis_value_is_a_422_that_names_it(client):
    body = {"script_name": "x/y/z plot", "script_args": [4, "0, 5", [], 0, "", [], 0, "", []]}
    answer = client.post("/sdapi/v1/txt2img", json=body)
    assert answer.status_code == 422
    assert "X/Y/Z plot, X values: steps cannot be 0" in answer.text
