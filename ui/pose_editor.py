"""The pose editor: assets/pose.js edits OpenPose JSON in a dialog, the engine draws what it sends back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from pipelines.control.service import DetectedMap
from schema.errors import InvalidRequest
from ui.control_tools import data_url, map_html
from ui.controlnet_units import ControlUnits
from ui.events import Answer, on

if TYPE_CHECKING:
    from pipelines.manager import PipelineManager

MAX_CHARACTERS = 2_000_000
NOT_JSON = "The pose is not JSON. Load another file, or start with a new person."

JOINTS = (
    "Nose",
    "Neck",
    "Right shoulder",
    "Right elbow",
    "Right wrist",
    "Left shoulder",
    "Left elbow",
    "Left wrist",
    "Right hip",
    "Right knee",
    "Right ankle",
    "Left hip",
    "Left knee",
    "Left ankle",
    "Right eye",
    "Left eye",
    "Right ear",
    "Left ear",
)
"""OpenPose's 18 points of a body, in its order."""

WORDS = {
    "title": "Pose editor",
    "person": "Person {number}",
    "people": "People",
    "joints": "Joints of this person",
    "no_people": "Nobody is here yet. Add a person.",
    "add": "Add a person",
    "remove": "Remove this person",
    "undo": "Undo (Ctrl+Z)",
    "redo": "Redo (Ctrl+Shift+Z)",
    "smaller": "Zoom out (-)",
    "larger": "Zoom in (+)",
    "fit": "Fit (0)",
    "load": "Load JSON",
    "text": "JSON as text",
    "use_text": "Use this text",
    "save": "Save JSON",
    "cancel": "Cancel",
    "send": "Send pose to ControlNet",
    "dimmed": "Picture",
    "hand": "Left hand, point {number}",
    "other_hand": "Right hand, point {number}",
    "face": "Face, point {number}",
    "help": "Drag joints, or choose one with Tab and move it by arrow keys (Shift: far). Delete hides it. "
    "Drag a limb to move the whole person.",
    "bad_json": "This is no OpenPose JSON: it needs people, canvas_width and canvas_height.",
}


def bind_pose_editor(page: gr.Blocks, manager: PipelineManager, groups: Sequence[ControlUnits]) -> None:
    """Binds drawing of an edited pose: it becomes the unit's preview, and the browser makes it the unit's picture."""
    units = {unit.form.prefix: unit for group in groups for unit in group.units}
    with gr.Row(elem_classes="control-buttons"):
        send = gr.Button("send", elem_id="controlnet_pose_send")
    sent = gr.Textbox(visible=False, elem_id="controlnet_pose_sent")
    drawn = gr.Textbox(visible=False, elem_id="controlnet_pose_drawn")
    previews = [unit.preview for unit in units.values()]
    checks = [unit.shows_preview for unit in units.values()]

    def draw(text: str) -> Answer:
        name, pose = read_pose(text)
        unit = units.get(name)
        image = manager.control.render_poses([pose])[0]
        answer: Answer = {drawn: json.dumps({"unit": name, "image": data_url(image)})}
        if unit is not None:
            made = DetectedMap(image=image, poses=pose)
            answer |= {unit.preview: map_html(made, name, "openpose"), unit.shows_preview: True}
        return answer

    words = json.dumps({"words": WORDS, "joints": JOINTS}, ensure_ascii=False)
    on(page.load, None, js=f"() => webui.pose.opened({words})")
    done = on(send.click, draw, inputs=[sent], outputs=[drawn, *previews, *checks], js="() => webui.pose.sent()")
    on(done.success, None, inputs=[drawn], js="(text) => webui.pose.drawn(text)")


def read_pose(text: str) -> tuple[str, dict[str, Any]]:
    """A unit's prefix and the pose that the browser sends for it.

    Raises:
        InvalidRequest: If it is not JSON, or too long.
    """
    if len(text or "") > MAX_CHARACTERS:
        raise InvalidRequest(NOT_JSON)
    try:
        found = json.loads(text or "")
    except ValueError as error:
        raise InvalidRequest(NOT_JSON) from error
    if not isinstance(found, dict) or not isinstance(found.get("pose"), dict):
        raise InvalidRequest(NOT_JSON)
    return str(found.get("unit", "")), found["pose"]
