"""The small model that ships with the program: scene renderer, training and evaluation."""
