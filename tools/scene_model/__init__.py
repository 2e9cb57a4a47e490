"""The small model that ships with the program: scene renderer, training and evaluation."""

from tools.scene_model.libraries import declare_torchvision_operators

declare_torchvision_operators()
