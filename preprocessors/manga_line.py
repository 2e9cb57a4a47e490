"""The network of lineart_anime_denoise, which takes the screentones out of manga: a deep residual U-Net.

Source: Li, Liu and Wong, "Deep Extraction of Manga Structural Lines", SIGGRAPH 2017: layers, widths and the names of
the published file's tensors (`erika.pth`).
"""

from __future__ import annotations

from torch import Tensor, nn


class _NormConv(nn.Module):
    """Batch norm, leaky ReLU, convolution; then twice the size for `enlarge`."""

    def __init__(self, wide_in: int, wide_out: int, kernel: int, *, stride: int = 1, enlarge: bool = False) -> None:
        super().__init__()
        layers = [
            nn.BatchNorm2d(wide_in, eps=1e-3),
            nn.LeakyReLU(0.2),
            nn.Conv2d(wide_in, wide_out, kernel, stride=stride, padding=kernel // 2),
        ]
        self.model = nn.Sequential(*layers, *([nn.Upsample(scale_factor=2, mode="nearest")] if enlarge else []))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class _Shortcut(nn.Module):
    """Adds an earlier result, brought to the same width and size by a 1x1 convolution where they differ."""

    def __init__(self, wide_in: int, wide_out: int, *, stride: int = 1, enlarge: bool = False) -> None:
        super().__init__()
        self.model: nn.Sequential | None = None
        if wide_in != wide_out or stride != 1:
            larger = [nn.Upsample(scale_factor=2, mode="nearest")] if enlarge else []
            self.model = nn.Sequential(nn.Conv2d(wide_in, wide_out, 1, stride=stride), *larger)

    def forward(self, earlier: Tensor, x: Tensor) -> Tensor:
        return (earlier if self.model is None else self.model(earlier)) + x


class _Block(nn.Module):
    def __init__(self, wide_in: int, wide_out: int, *, stride: int = 1, enlarge: bool = False) -> None:
        super().__init__()
        self.conv1 = _NormConv(wide_in, wide_out, 3, stride=stride, enlarge=enlarge)
        self.residual = _NormConv(wide_out, wide_out, 3)
        self.shortcut = _Shortcut(wide_in, wide_out, stride=stride, enlarge=enlarge)

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x, self.residual(self.conv1(x)))


class _Stage(nn.Module):
    """`count` blocks; the last halves the size for `halve`, the first doubles it for `enlarge`."""

    def __init__(self, wide_in: int, wide_out: int, count: int, *, halve: bool = False, enlarge: bool = False) -> None:
        super().__init__()
        self.model = nn.Sequential(
            *(
                _Block(
                    wide_out if index else wide_in,
                    wide_out,
                    stride=2 if halve and index == count - 1 else 1,
                    enlarge=enlarge and index == 0,
                )
                for index in range(count)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class MangaLine(nn.Module):
    """(B, 1, H, W) grey in 0..255 to (B, 1, H, W), lines dark; H and W multiples of 16."""

    def __init__(self) -> None:
        super().__init__()
        self.block0 = _Stage(1, 24, 2)
        self.block1 = _Stage(24, 48, 3, halve=True)
        self.block2 = _Stage(48, 96, 5, halve=True)
        self.block3 = _Stage(96, 192, 7, halve=True)
        self.block4 = _Stage(192, 384, 12, halve=True)
        self.block5 = _Stage(384, 192, 7, enlarge=True)
        self.block6 = _Stage(192, 96, 5, enlarge=True)
        self.block7 = _Stage(96, 48, 3, enlarge=True)
        self.block8 = _Stage(48, 24, 2, enlarge=True)
        self.block9 = _Stage(24, 16, 2)
        self.conv15 = _NormConv(16, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The lines of `x`."""
        levels: list[Tensor] = []
        for block in (self.block0, self.block1, self.block2, self.block3, self.block4):
            x = block(x)
            levels.append(x)
        for block, beside in zip((self.block5, self.block6, self.block7, self.block8), levels[-2::-1], strict=True):
            x = beside + block(x)
        return self.conv15(self.block9(x))
