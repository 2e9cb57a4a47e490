"""The program's version, and how infotexts name it."""

VERSION = "0.1.0"

INFOTEXT_VERSION = f"v1.10.1+diffusers-webui.{VERSION}"
"""Written as `Version`.

A1111 and its forks read it as release 1.10.1, so that pasting our infotext there switches on none of the settings
they keep for pictures of older releases. The part after `+` is a local version label of PEP 440.
"""
