"""Preprocessors whose work is done during sampling: reference."""

from preprocessors.base import Parameter, Preprocessor, unchanged

_FIDELITY = (Parameter(label="Style Fidelity (only for Balanced mode)", minimum=0, maximum=1, default=0.5, step=0.01),)

PREPROCESSORS = tuple(
    Preprocessor(
        name=name,
        types=("Reference",),
        run=unchanged,
        priority=priority,
        resolution=None,
        sliders=_FIDELITY,
        model_free=True,
    )
    for name, priority in (("reference_only", 100), ("reference_adain", 0), ("reference_adain+attn", 0))
)
