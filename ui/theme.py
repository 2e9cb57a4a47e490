"""Our theme: quiet warm greys around the picture, one viridian accent, IBM Plex, dark and light."""

from __future__ import annotations

from typing import Any

from gradio.themes import Base, Color, Size
from gradio.themes.utils.fonts import LocalFont

ACCENT = Color(
    name="viridian",
    c50="#effaf6",
    c100="#d5f2e7",
    c200="#aee5d2",
    c300="#78d1b6",
    c400="#42b796",
    c500="#1f9b7c",
    c600="#107d64",
    c700="#0d6452",
    c800="#0d5043",
    c900="#0c4238",
    c950="#052620",
)
GREY = Color(
    name="stone",
    c50="#faf9f7",
    c100="#f3f1ee",
    c200="#e6e3de",
    c300="#d2cec7",
    c400="#a19d96",
    c500="#76736d",
    c600="#57554f",
    c700="#3d3c39",
    c800="#272725",
    c900="#1c1c1b",
    c950="#131312",
)
SPACING = Size(name="spacing_ours", xxs="2px", xs="4px", sm="6px", md="8px", lg="12px", xl="16px", xxl="24px")
RADIUS = Size(name="radius_ours", xxs="3px", xs="4px", sm="6px", md="8px", lg="10px", xl="14px", xxl="20px")
TEXT = Size(name="text_ours", xxs="11px", xs="12px", sm="13px", md="14px", lg="15px", xl="18px", xxl="24px")

# The fonts lie inside Gradio's package and are served from here; nothing is asked of another host.
SANS = (
    LocalFont("IBM Plex Sans", weights=(400, 700)),
    "system-ui",
    "Noto Sans CJK SC",
    "Microsoft YaHei",
    "sans-serif",
)
MONO = (LocalFont("IBM Plex Mono", weights=(400,)), "ui-monospace", "Consolas", "monospace")


def build_theme() -> Base:
    """The theme that `mount_page` hands to Gradio."""
    theme = Base(
        primary_hue=ACCENT,
        secondary_hue=ACCENT,
        neutral_hue=GREY,
        spacing_size=SPACING,
        radius_size=RADIUS,
        text_size=TEXT,
        font=SANS,
        font_mono=MONO,
    )
    theme.name = "diffusers-webui"
    theme.set(**_surfaces(), **_inputs(), **_buttons())
    return theme


def _surfaces() -> dict[str, Any]:
    return {
        "body_background_fill": "*neutral_100",
        "body_background_fill_dark": "*neutral_950",
        "body_text_color": "#22211f",
        "body_text_color_dark": "#eceae6",
        "body_text_color_subdued": "#625f59",
        "body_text_color_subdued_dark": "#a8a49c",
        "background_fill_primary": "#ffffff",
        "background_fill_primary_dark": "*neutral_900",
        "background_fill_secondary": "*neutral_50",
        "background_fill_secondary_dark": "#222221",
        "border_color_primary": "*neutral_200",
        "border_color_primary_dark": "#323230",
        "border_color_accent": "*primary_400",
        "border_color_accent_dark": "*primary_600",
        "link_text_color": "*primary_700",
        "link_text_color_dark": "*primary_300",
        "color_accent": "*primary_600",
        "color_accent_soft": "*primary_50",
        "color_accent_soft_dark": "#15302a",
        "block_background_fill": "transparent",
        "block_background_fill_dark": "transparent",
        "block_border_width": "0px",
        "block_border_width_dark": "0px",
        "block_shadow": "none",
        "block_shadow_dark": "none",
        "block_padding": "0",
        "block_radius": "*radius_md",
        "block_label_background_fill": "transparent",
        "block_label_background_fill_dark": "transparent",
        "block_label_border_width": "0px",
        "block_label_text_color": "*body_text_color_subdued",
        "block_label_text_color_dark": "*body_text_color_subdued",
        "block_title_text_color": "*body_text_color_subdued",
        "block_title_text_color_dark": "*body_text_color_subdued",
        "block_title_text_size": "*text_sm",
        "block_title_text_weight": "400",
        "block_info_text_size": "*text_xs",
        "panel_background_fill": "#ffffff",
        "panel_background_fill_dark": "*neutral_900",
        "panel_border_width": "1px",
        "layout_gap": "12px",
        "form_gap_width": "0px",
        "section_header_text_size": "*text_md",
        "accordion_text_color": "*body_text_color",
        "accordion_text_color_dark": "*body_text_color",
        "loader_color": "*primary_600",
    }


def _inputs() -> dict[str, Any]:
    return {
        "input_background_fill": "#ffffff",
        "input_background_fill_dark": "#141413",
        "input_background_fill_focus": "#ffffff",
        "input_background_fill_focus_dark": "#141413",
        "input_border_color": "*neutral_300",
        "input_border_color_dark": "#3a3937",
        "input_border_color_focus": "*primary_500",
        "input_border_color_focus_dark": "*primary_400",
        "input_border_width": "1px",
        "input_padding": "9px 12px",
        "input_radius": "*radius_md",
        "input_shadow": "none",
        "input_shadow_dark": "none",
        "input_shadow_focus": "0 0 0 3px rgb(31 155 124 / 0.22)",
        "input_shadow_focus_dark": "0 0 0 3px rgb(66 183 150 / 0.25)",
        "input_placeholder_color": "#77736c",
        "input_placeholder_color_dark": "#8d8982",
        "slider_color": "*primary_600",
        "slider_color_dark": "*primary_400",
        "checkbox_background_color": "#ffffff",
        "checkbox_background_color_dark": "#141413",
        "checkbox_background_color_selected": "*primary_600",
        "checkbox_background_color_selected_dark": "*primary_600",
        "checkbox_border_color": "#8b877f",
        "checkbox_border_color_dark": "#77736c",
        "checkbox_border_color_selected": "*primary_600",
        "checkbox_border_color_selected_dark": "*primary_500",
        "checkbox_label_background_fill": "transparent",
        "checkbox_label_background_fill_dark": "transparent",
        "checkbox_label_background_fill_hover": "*neutral_100",
        "checkbox_label_background_fill_hover_dark": "#2b2b29",
        "checkbox_label_background_fill_selected": "*primary_50",
        "checkbox_label_background_fill_selected_dark": "#15302a",
        "checkbox_label_border_color": "*neutral_300",
        "checkbox_label_border_color_dark": "#3a3937",
        "checkbox_label_border_color_selected": "*primary_500",
        "checkbox_label_border_color_selected_dark": "*primary_500",
        "checkbox_label_padding": "7px 12px",
        "checkbox_label_shadow": "none",
        "checkbox_label_text_color_selected": "*body_text_color",
        "checkbox_label_text_color_selected_dark": "*body_text_color",
    }


def _buttons() -> dict[str, Any]:
    return {
        "button_border_width": "1px",
        "button_large_radius": "*radius_md",
        "button_small_radius": "*radius_md",
        "button_medium_radius": "*radius_md",
        "button_large_text_size": "*text_lg",
        "button_large_text_weight": "600",
        "button_medium_text_weight": "400",
        "button_small_text_weight": "400",
        "button_transform_hover": "none",
        "button_primary_background_fill": "*primary_600",
        "button_primary_background_fill_dark": "*primary_600",
        "button_primary_background_fill_hover": "*primary_700",
        "button_primary_background_fill_hover_dark": "#128e71",
        "button_primary_border_color": "transparent",
        "button_primary_border_color_dark": "transparent",
        "button_primary_text_color": "#ffffff",
        "button_primary_text_color_dark": "#ffffff",
        "button_primary_shadow": "0 1px 2px rgb(5 38 32 / 0.25)",
        "button_primary_shadow_hover": "0 1px 2px rgb(5 38 32 / 0.25)",
        "button_secondary_background_fill": "#ffffff",
        "button_secondary_background_fill_dark": "#2a2a28",
        "button_secondary_background_fill_hover": "*neutral_100",
        "button_secondary_background_fill_hover_dark": "#353532",
        "button_secondary_border_color": "*neutral_300",
        "button_secondary_border_color_dark": "#3d3c39",
        "button_secondary_text_color": "*body_text_color",
        "button_secondary_text_color_dark": "*body_text_color",
        "button_secondary_shadow": "none",
        "button_cancel_background_fill": "#b3402f",
        "button_cancel_background_fill_dark": "#a83c2c",
        "button_cancel_background_fill_hover": "#98331f",
        "button_cancel_background_fill_hover_dark": "#bd4a39",
        "button_cancel_border_color": "transparent",
        "button_cancel_border_color_dark": "transparent",
        "button_cancel_text_color": "#ffffff",
        "button_cancel_text_color_dark": "#ffffff",
    }
