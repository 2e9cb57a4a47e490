"""The two small networks that ship with the program: depth and poses of the simple scenes the shipped model draws."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NATIVE_SIDE = 256
"""Short side, in pixels, at which both networks see a picture; train them at and around it."""

KEYPOINTS = 18
"""OpenPose's body points, in its order: nose, neck, right arm (3), left arm (3), right leg (3), left leg (3), right
and left eye, right and left ear."""

HEATMAP_STRIDE = 4
"""Picture pixels for each cell of the pose network's output."""

_WIDTHS = (24, 48, 80, 128, 176)
_GROUPS = 8


class _Residual(nn.Module):
    """Two 3x3 convolutions, each after GroupNorm and SiLU, beside a shortcut."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.norm_1 = nn.GroupNorm(_GROUPS, channels_in)
        self.conv_1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.norm_2 = nn.GroupNorm(_GROUPS, channels_out)
        self.conv_2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.shortcut = (
            nn.Identity() if channels_in == channels_out else nn.Conv2d(channels_in, channels_out, 1, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels_in, h, w) to (B, channels_out, h, w)."""
        inner = self.conv_1(F.silu(self.norm_1(x)))
        return self.shortcut(x) + self.conv_2(F.silu(self.norm_2(inner)))


class SceneUNet(nn.Module):
    """A U-Net over a picture whose finest level is half the picture's size.

    Going down, each level halves the size; going up, it is resized to the level beside it, so height and width may be
    any multiples of 8.

    Args:
        finest: The level the result has: 0 for half the picture's size, 1 for a quarter.
        widths: Channels of the levels, multiples of 8.
    """

    def __init__(self, *, finest: int, widths: tuple[int, ...] = _WIDTHS) -> None:
        super().__init__()
        self.finest = finest
        self.stem = nn.Conv2d(3, widths[0], 5, stride=2, padding=2)
        self.down = nn.ModuleList(_Residual(width, width) for width in widths)
        self.halve = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(widths))
        self.middle = _Residual(widths[-1], widths[-1])
        self.narrow = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(widths[finest:]))
        self.up = nn.ModuleList(_Residual(width, width) for width in widths[finest:-1])
        self.norm = nn.GroupNorm(_GROUPS, widths[finest])
        self.channels = widths[finest]

    def forward(self, pictures: Tensor) -> Tensor:
        """Features of RGB pictures.

        Args:
            pictures: (B, 3, H, W), float in [0, 1]; H and W multiples of 8.

        Returns:
            (B, `channels`, H/2, W/2), or a quarter of the size for `finest` 1.
        """
        x = self.stem(pictures * 2 - 1)
        levels: list[Tensor] = []
        for index, block in enumerate(self.down):
            x = block(x)
            levels.append(x)
            if index < len(self.halve):
                x = self.halve[index](x)
        x = self.middle(x)
        for index in reversed(range(len(self.up))):
            beside = levels[self.finest + index]
            x = F.interpolate(self.narrow[index](x), size=beside.shape[-2:], mode="bilinear", align_corners=False)
            x = self.up[index](x + beside)
        return F.silu(self.norm(x))


class MiniDepth(nn.Module):
    """Inverse depth of a picture: 1 nearest, 0 farthest."""

    def __init__(self) -> None:
        super().__init__()
        self.body = SceneUNet(finest=0)
        self.head = nn.Conv2d(self.body.channels, 4, 3, padding=1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits of inverse depth; their sigmoid is the depth map (train with BCE or after the sigmoid).

        Args:
            pictures: (B, 3, H, W), float in [0, 1]; H and W multiples of 8.

        Returns:
            (B, 1, H, W), float.
        """
        return F.pixel_shuffle(self.head(self.body(pictures)), 2)

    @torch.inference_mode()
    def predict(self, pictures: Tensor) -> Tensor:
        """(B, 1, H, W) inverse depth in [0, 1], for `pictures` as in `forward`."""
        return torch.sigmoid(self(pictures))


class MiniPose(nn.Module):
    """Body points of all persons in a picture.

    For each cell of 4x4 pixels: how sure it is that one of the 18 points lies there (one map for each), the same for
    a person's centre, and the way from there to the centre of the person whose point it is, in cells. Persons are the
    peaks of the centre map; a point belongs to the person whose centre its way ends nearest to.
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = SceneUNet(finest=1)
        self.head = nn.Conv2d(self.body.channels, KEYPOINTS + 1 + 2, 1)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Heatmap logits and ways to the centre.

        Args:
            pictures: (B, 3, H, W), float in [0, 1]; H and W multiples of 8.

        Returns:
            Logits (B, 19, H/4, W/4), the centre last, their sigmoid being a Gaussian of deviation `HEATMAP_SIGMA`
            around each point; and ways (B, 2, H/4, W/4), x then y in cells, meaningful near points only.
        """
        out: Tensor = self.head(self.body(pictures))
        return out[:, : KEYPOINTS + 1], out[:, KEYPOINTS + 1 :]

    @torch.inference_mode()
    def predict(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Heatmaps (B, 19, H/4, W/4) in [0, 1] and ways (B, 2, H/4, W/4), for `pictures` as in `forward`."""
        logits, ways = self(pictures)
        return torch.sigmoid(logits), ways


HEATMAP_SIGMA = 1.5
"""Deviation of a heatmap's Gaussians, in cells."""

_WAY_RADIUS = 3.0
_CENTRE_POINTS = (1, 8, 11)


def person_centre(points: Tensor) -> Tensor | None:
    """(2,) mean of neck and hips of one person, of those that are there, else of all its points; None without any.

    Args:
        points: (18, 3): x, y in any unit, and 1 for a visible point or 0.
    """
    torso = points[list(_CENTRE_POINTS)]
    seen = torso[torso[:, 2] > 0]
    if len(seen) == 0:
        seen = points[points[:, 2] > 0]
    return seen[:, :2].mean(0) if len(seen) else None


def pose_targets(people: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """What `MiniPose` should answer for a picture whose persons are known.

    Args:
        people: (N, 18, 3): x and y in pixels, and 1 for a visible point or 0; N may be 0.
        height: Of the picture, a multiple of 8; likewise `width`.

    Returns:
        Heatmaps (19, height/4, width/4) in [0, 1], ways (2, height/4, width/4) in cells, and where the ways count
        (1, height/4, width/4), 0 or 1.
    """
    rows, columns = height // HEATMAP_STRIDE, width // HEATMAP_STRIDE
    y = torch.arange(rows, dtype=torch.float32)[:, None]
    x = torch.arange(columns, dtype=torch.float32)[None, :]
    heatmaps = torch.zeros(KEYPOINTS + 1, rows, columns)
    ways, nearest = torch.zeros(2, rows, columns), torch.full((rows, columns), _WAY_RADIUS**2)

    def distance(point: Tensor) -> Tensor:
        return (x - point[0]) ** 2 + (y - point[1]) ** 2

    for person in people:
        cells = person.clone()
        # The centre of cell i lies at pixel 4 i + 1.5.
        cells[:, :2] = (cells[:, :2] - (HEATMAP_STRIDE - 1) / 2) / HEATMAP_STRIDE
        centre = person_centre(cells)
        if centre is None:
            continue
        heatmaps[-1] = torch.maximum(heatmaps[-1], torch.exp(-distance(centre) / (2 * HEATMAP_SIGMA**2)))
        for index in range(KEYPOINTS):
            if cells[index, 2] <= 0:
                continue
            away = distance(cells[index])
            heatmaps[index] = torch.maximum(heatmaps[index], torch.exp(-away / (2 * HEATMAP_SIGMA**2)))
            closer = away < nearest
            nearest = torch.where(closer, away, nearest)
            ways = torch.where(closer, torch.stack(torch.broadcast_tensors(centre[0] - x, centre[1] - y)), ways)
    return heatmaps, ways, (nearest < _WAY_RADIUS**2).float()[None]
