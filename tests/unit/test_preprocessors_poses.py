"""OpenPose JSON and drawing."""

import json

import numpy as np
import pytest
import torch

from preprocessors.mini import people_of
from preprocessors.mini_networks import MiniDepth, MiniPose, pose_targets
from preprocessors.onnx_pose import boxes_of, person_of
from preprocessors.openpose import face_box, hand_box
from preprocessors.pose_drawing import JOINT_COLORS, LIMBS, draw_poses, render_openpose_json
from preprocessors.poses import BODY_POINTS, Person, Poses
from schema.errors import InvalidRequest

# A person of 200 by 300 pixels, arms away from the body.
BODY = (
    (100, 40), (100, 80), (70, 80), (50, 120), (40, 160), (130, 80), (150, 120), (160, 160), (80, 170),
    (78, 220), (76, 270), (120, 170), (122, 220), (124, 270), (94, 34), (106, 34), (86, 38), (114, 38),
)  # fmt: skip


def relative(points):
    return tuple((x / 200, y / 300) for x, y in points)


def flat(points):
    return [value for x, y in points for value in (x, y, 1)]


@pytest.fixture
def person():
    return Poses(width=200, height=300, people=(Person(body=relative(BODY)),))


def test_joints_have_their_colours(person):
    canvas = draw_poses(person)
    assert canvas.shape == (300, 200, 3) and canvas.dtype == np.uint8
    for (x, y), color in zip(BODY, JOINT_COLORS, strict=True):
        assert tuple(canvas[y, x]) == color
        assert tuple(canvas[y, x + 3]) != (0, 0, 0)


def test_limbs_are_darker_than_joints(person):
    canvas = draw_poses(person)
    for (start, end), color in list(zip(LIMBS, JOINT_COLORS, strict=False))[:12]:
        middle = np.mean([BODY[start], BODY[end]], axis=0).astype(int)
        assert tuple(canvas[middle[1], middle[0]]) == tuple(int(0.6 * value) for value in color)


def test_eighteen_points_seventeen_limbs():
    assert len(JOINT_COLORS) == BODY_POINTS and len(LIMBS) == 17
    assert {point for limb in LIMBS for point in limb} == set(range(18))


def test_missing_points_take_their_limbs_along():
    points = list(relative(BODY))
    points[3] = None
    canvas = draw_poses(Poses(width=200, height=300, people=(Person(body=tuple(points)),)))
    assert not canvas[120, 50].any() and not canvas[140, 45].any() and canvas[160, 40].any()


def test_parts_can_be_left_out(person):
    hand = tuple((0.3 + 0.01 * index, 0.5) for index in range(21))
    full = Poses(
        width=200,
        height=300,
        people=(Person(body=relative(BODY), left_hand=hand, face=((0.9, 0.9), (0.95, 0.9))),),
    )
    assert not draw_poses(full, body=False, hands=False, face=False).any()
    only_face = draw_poses(full, body=False, hands=False)
    assert tuple(only_face[270, 180]) == (255, 255, 255)
    assert set(map(tuple, only_face.reshape(-1, 3).tolist())) == {(0, 0, 0), (255, 255, 255)}
    only_hand = draw_poses(full, body=False, face=False)
    assert tuple(only_hand[150, 60]) == (0, 0, 255)
    assert np.array_equal(draw_poses(full, hands=False, face=False), draw_poses(person))


def test_fingers_go_around_the_colour_circle():
    hand = [None] * 21
    hand[0], hand[17] = (20, 20), (20, 80)
    canvas = draw_poses(Poses(width=100, height=100, people=(Person(right_hand=tuple(hand)),)))
    # The little finger's first bone is the 17th of 20: hue 16/20.
    assert tuple(canvas[50, 20]) == (204, 0, 255)


def test_animals_are_lines_without_joints():
    points = [None] * 17
    points[0], points[1], points[3], points[8] = (10, 10), (90, 10), (10, 60), (90, 60)
    canvas = draw_poses(Poses(width=100, height=100, animals=(tuple(points),)))
    assert tuple(canvas[10, 50]) == (255, 255, 255) and tuple(canvas[60, 50]) == (50, 150, 200)
    assert not canvas[35].any() and canvas[8:13, 50].all() and not canvas[5, 50].any()
    assert draw_poses(Poses(width=100, height=100, animals=((None,) * 17,))).sum() == 0


def test_json_round_trip(person):
    again = Poses.from_json(json.loads(json.dumps(person.to_json())))
    assert again == person
    made = person.to_json()
    assert made["canvas_width"] == 200 and made["canvas_height"] == 300 and made["animals"] == []
    assert made["people"][0]["face_keypoints_2d"] is None
    assert len(made["people"][0]["pose_keypoints_2d"]) == 54


def test_pixels_and_fractions_draw_the_same():
    value = {"people": [{"pose_keypoints_2d": flat(BODY)}], "canvas_width": 256, "canvas_height": 512}
    in_pixels = render_openpose_json(value)
    fractions = tuple((x / 256, y / 512) for x, y in BODY)
    poses = Poses(width=256, height=512, people=(Person(body=fractions),))
    assert in_pixels.any() and np.array_equal(in_pixels, draw_poses(poses))
    assert np.array_equal(render_openpose_json(poses.to_json()), in_pixels)


def test_low_confidence_is_a_missing_point():
    points = flat(BODY)
    points[2] = 0.9
    poses = Poses.from_json({"people": [{"pose_keypoints_2d": points}], "canvas_width": 200, "canvas_height": 300})
    assert poses.people[0].body[0] is None and poses.people[0].body[1] == (100, 80)


def test_several_people_and_animals():
    animal = [value for index in range(17) for value in (0.5, index / 20, 1.0)]
    value = {
        "people": [{"pose_keypoints_2d": flat(relative(BODY))}, {"hand_left_keypoints_2d": None}],
        "animals": [animal],
        "canvas_width": 200,
        "canvas_height": 300,
    }
    poses = Poses.from_json(value)
    assert len(poses.people) == 2 and poses.people[1] == Person() and len(poses.animals[0]) == 17
    assert render_openpose_json(value).shape == (300, 200, 3)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"people": 3}, "people"),
        ({"people": [3]}, "people"),
        ({"canvas_width": None}, "canvas_width"),
        ({"canvas_height": 0}, "canvas_height"),
        ({"canvas_height": 1e9}, "canvas_height"),
        ({"canvas_width": True}, "canvas_width"),
        ({"people": [{"pose_keypoints_2d": "x"}]}, "pose_keypoints_2d"),
        ({"people": [{"pose_keypoints_2d": [1, 2]}]}, "pose_keypoints_2d"),
        ({"people": [{"pose_keypoints_2d": [1, 2, "3"]}]}, "pose_keypoints_2d"),
        ({"people": [{"pose_keypoints_2d": [1, 2, float("nan")]}]}, "pose_keypoints_2d"),
        ({"people": [{"face_keypoints_2d": [0.0] * 300}]}, "face_keypoints_2d"),
        ({"animals": [["a"] * 3]}, "animals"),
        ({"people": [], "animals": []}, "neither people nor animals"),
    ],
)
def test_wrong_json_is_refused_by_field(change, named):
    value = {"people": [{"pose_keypoints_2d": flat(BODY)}], "canvas_width": 200, "canvas_height": 300} | change
    with pytest.raises(InvalidRequest, match=named):
        render_openpose_json(value)


def test_no_object_is_refused():
    with pytest.raises(InvalidRequest, match="JSON object"):
        render_openpose_json([1, 2])


def test_points_far_outside_do_not_break_drawing():
    body = flat([(x * 1e12, y) for x, y in BODY])
    canvas = render_openpose_json({"people": [{"pose_keypoints_2d": body}], "canvas_width": 200, "canvas_height": 300})
    assert canvas.shape == (300, 200, 3)


def test_boxes_around_hands_and_faces():
    left = hand_box(BODY, 5, width=200, height=300)
    assert left is not None
    x, y, side = left
    assert x <= 160 <= x + side and y <= 160 <= y + side and side == int(1.5 * np.hypot(10, 40))
    assert hand_box((None,) * 18, 5, width=200, height=300) is None
    face = face_box(BODY, width=200, height=300)
    assert face == (79, 19, 42)
    assert face_box((None,) * 18, width=200, height=300) is None


def test_dwpose_points_become_openpose_parts():
    points = np.stack([np.arange(133), np.arange(133) + 0.5], axis=1).astype(np.float32)
    sure = np.ones(133, np.float32)
    sure[[0, 95]] = 0.1
    person = person_of(points, sure)
    assert person.body[0] is None and person.body[1] == (5.5, 6.0)
    assert [int(point[0]) for point in person.body[2:]] == [6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3]
    assert len(person.face) == 70 and person.face[0] == (23, 23.5) and person.face[68:] == person.body[14:16]
    assert len(person.left_hand) == 21 and person.left_hand[4] is None and person.right_hand[0] == (112, 112.5)
    nobody = person_of(points, np.zeros(133, np.float32))
    assert nobody == Person(body=(None,) * 18)


def test_detector_boxes_are_decoded_and_overlaps_dropped():
    answer = np.zeros((8400, 85), np.float32)
    for cell, score in ((81 * 10 + 5, 0.9), (81 * 10 + 6, 0.8), (6400 + 30, 0.7), (100, 0.2)):
        answer[cell, 2:4] = np.log([10, 20])
        answer[cell, 4] = score
        answer[cell, 5] = 1
    answer[7000, 4:] = 1
    answer[7000, 5] = 0
    boxes = boxes_of(answer, 0.5, (0,))
    assert len(boxes) == 2
    first, second = boxes
    row, column = divmod(81 * 10 + 5, 80)
    assert (first.left, first.right) == pytest.approx((16 * column - 80, 16 * column + 80))
    assert (first.top, first.bottom) == pytest.approx((16 * row - 160, 16 * row + 160), abs=1e-3)
    assert second.right - second.left == pytest.approx(320)


def test_our_pose_targets_are_decoded_to_the_same_people():
    draw = np.random.default_rng(0)
    people = torch.ones(2, 18, 3)
    people[0, :, :2] = torch.from_numpy(draw.uniform(20, 120, (18, 2)))
    people[1, :, :2] = torch.from_numpy(draw.uniform(140, 240, (18, 2)))
    people[1, 3, 2] = 0
    heatmaps, ways, counted = pose_targets(people, 256, 264)
    assert heatmaps.shape == (19, 64, 66) and ways.shape == (2, 64, 66) and counted.shape == (1, 64, 66)
    assert heatmaps.min() >= 0 and heatmaps.max() <= 1
    found = sorted(people_of(heatmaps, ways), key=lambda body: body[0][0])
    assert len(found) == 2 and found[1][3] is None
    for body, truth in zip(found, people, strict=True):
        distances = [
            np.hypot(point[0] - truth[index, 0], point[1] - truth[index, 1])
            for index, point in enumerate(body)
            if point is not None
        ]
        assert max(distances) < 0.5


def test_nobody_is_found_in_empty_maps():
    assert people_of(torch.zeros(19, 32, 32), torch.zeros(2, 32, 32)) == []
    heatmaps, ways, counted = pose_targets(torch.zeros(0, 18, 3), 64, 64)
    assert not heatmaps.any() and not ways.any() and not counted.any()


@pytest.mark.parametrize("size", [(64, 64), (72, 200), (136, 64)])
def test_our_networks_take_any_multiple_of_eight(size):
    height, width = size
    picture = torch.rand(1, 3, height, width)
    depth = MiniDepth().predict(picture)
    assert depth.shape == (1, 1, height, width) and depth.min() >= 0 and depth.max() <= 1
    heatmaps, ways = MiniPose().predict(picture)
    assert heatmaps.shape == (1, 19, height // 4, width // 4) and ways.shape == (1, 2, height // 4, width // 4)


def test_our_networks_fit_into_six_megabytes_each():
    for network in (MiniDepth(), MiniPose()):
        assert 2 * sum(parameter.numel() for parameter in network.parameters()) <= 6e6
