"""Every option of the program under A1111's key, with its page, default and infotext name."""

from collections.abc import Mapping
from functools import cache, partial
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic import Field as P

from schema.errors import SettingsError
from schema.fields import Control, Field, Infotext, fields_of

_saving_images_grids = partial(Control, section="Saving images/grids")
_paths_for_saving = partial(Control, section="Paths for saving")
_saving_to_a_directory = partial(Control, section="Saving to a directory")
_upscaling = partial(Control, section="Upscaling")
_face_restoration = partial(Control, section="Face restoration")
_system = partial(Control, section="System")
_api = partial(Control, section="API")
_stable_diffusion = partial(Control, section="Stable Diffusion")
_stable_diffusion_xl = partial(Control, section="Stable Diffusion XL")
_stable_diffusion_3 = partial(Control, section="Stable Diffusion 3")
_vae = partial(Control, section="VAE")
_img2img = partial(Control, section="img2img")
_optimizations = partial(Control, section="Optimizations")
_compatibility = partial(Control, section="Compatibility")
_interrogate = partial(Control, section="Interrogate")
_extra_networks = partial(Control, section="Extra Networks")
_prompt_editing = partial(Control, section="Prompt editing")
_gallery = partial(Control, section="Gallery")
_ui_alternatives = partial(Control, section="UI alternatives")
_user_interface = partial(Control, section="User interface")
_infotext = partial(Control, section="Infotext")
_live_previews = partial(Control, section="Live previews")
_sampler_parameters = partial(Control, section="Sampler parameters")
_postprocessing = partial(Control, section="Postprocessing")
_controlnet = partial(Control, section="ControlNet")

WITHOUT_EFFECT = frozenset(
    [
        "font",
        "grid_text_active_color",
        "grid_text_inactive_color",
        "DAT_tile",
        "DAT_tile_overlap",
        "auto_launch_browser",
        "enable_console_prompts",
        "show_warnings",
        "show_gradio_deprecation_warnings",
        "samples_log_stdout",
        "multiple_tqdm",
        "enable_upscale_progressbar",
        "print_hypernet_extra",
        "hide_ldm_prints",
        "dump_stacks_on_signal",
        "profiling_enable",
        "profiling_activities",
        "profiling_record_shapes",
        "profiling_profile_memory",
        "profiling_with_stack",
        "profiling_filename",
        "unload_models_when_training",
        "pin_memory",
        "save_optimizer_state",
        "save_training_settings_to_txt",
        "dataset_filename_word_regex",
        "dataset_filename_join_string",
        "training_image_repeats_per_epoch",
        "training_write_csv_every",
        "training_xattention_optimizations",
        "training_enable_tensorboard",
        "training_tensorboard_save_images",
        "training_tensorboard_flush_every",
        "enable_quantization",
        "upcast_attn",
        "interrogate_keep_models_in_memory",
        "interrogate_clip_dict_limit",
        "interrogate_clip_skip_categories",
        "extra_networks_card_description_is_html",
        "textual_inversion_print_at_load",
        "sd_hypernetwork",
        "js_modal_lightbox_gamepad",
        "js_modal_lightbox_gamepad_repeat",
        "txt2img_settings_accordion",
        "img2img_settings_accordion",
        "gradio_themes_cache",
        "enable_reloading_ui_scripts",
        "restore_config_state_file",
        "sd_checkpoint_hash",
        "sd_lora",
        "lora_functional",
    ]
)
"""Keys of A1111 that are accepted and kept but change nothing here."""


NOT_SHOWN = frozenset(
    [
        "grid_zip_filename_pattern",
        "save_images_before_highres_fix",
        "temp_dir",
        "clean_temp_dir_at_start",
        "realesrgan_enabled_models",
        "dat_enabled_models",
        "list_hidden_files",
        "disable_mmap_load_safetensors",
        "memmon_poll_rate",
        "api_enable_requests",
        "api_forbid_local_requests",
        "api_useragent",
        "sd_checkpoint_cache",
        "sd_unet",
        "enable_batch_seeds",
        "sd3_enable_t5",
        "sd_vae_checkpoint_cache",
        "auto_vae_precision_bfloat16",
        "auto_vae_precision",
        "sd_vae_encode_method",
        "sd_vae_decode_method",
        "cross_attention_optimization",
        "persistent_cond_cache",
        "no_dpmpp_sde_batch_determinism",
        "interrogate_return_ranks",
        "interrogate_clip_num_beams",
        "interrogate_clip_min_length",
        "interrogate_clip_max_length",
        "interrogate_deepbooru_score_threshold",
        "deepbooru_sort_alpha",
        "deepbooru_use_spaces",
        "deepbooru_escape",
        "deepbooru_filter_tags",
        "extra_networks_show_hidden_directories",
        "extra_networks_dir_button_function",
        "extra_networks_hidden_models",
        "extra_networks_default_multiplier",
        "extra_networks_card_width",
        "extra_networks_card_height",
        "extra_networks_card_text_scale",
        "extra_networks_card_show_desc",
        "extra_networks_card_order_field",
        "extra_networks_card_order",
        "extra_networks_tree_view_style",
        "extra_networks_tree_view_default_enabled",
        "extra_networks_tree_view_default_width",
        "extra_networks_add_text_separator",
        "ui_extra_networks_tab_reorder",
        "lora_preferred_name",
        "lora_bundled_ti_to_infotext",
        "lora_show_all",
        "lora_hide_unknown_for_versions",
        "lora_in_memory_limit",
        "lora_not_found_warning_console",
        "lora_not_found_gradio_warning",
        "samplers_in_dropdown",
        "ui_reorder_list",
        "gradio_theme",
        "extra_options_txt2img",
        "extra_options_img2img",
        "extra_options_cols",
        "extra_options_accordion",
        "canvas_hotkey_overlap",
        "canvas_auto_expand",
        "live_preview_allow_lowvram_full",
        "live_preview_fast_interrupt",
        "ddim_discretize",
        "postprocessing_enable_in_main_ui",
        "postprocessing_disable_in_extras",
        "postprocessing_operation_order",
        "upscaling_max_images_in_cache",
        "postprocessing_existing_caption_action",
        "cache_fp16_weight",
        "fp8_storage",
    ]
)
"""Keys whose values are kept for A1111's config.json and the API, but which nothing reads: not on the Settings page."""


class Settings(BaseModel):
    """One immutable snapshot of all options; a job keeps the one it started with.

    Sections are in the order of the Settings page. Keys that are not declared are ignored by the constructor;
    `override_notes` names them.

    Source: A1111 modules/shared_options.py. Other defaults than A1111's: `export_for_4chan` (its extra JPEG surprises),
    `live_previews_image_format` (a preview as PNG is many times the bytes), `hires_fix_show_sampler` and
    `hires_fix_show_prompts` (they lie in a closed group anyway),
    `api_enable_requests` (a request cannot make this machine fetch addresses), `lora_not_found_gradio_warning`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", validate_default=False)

    # Saving images/grids
    samples_save: Annotated[bool, _saving_images_grids(label="Always save all generated images")] = True
    samples_format: Annotated[
        str, _saving_images_grids(label="File format for images", choices=("png", "jpg", "webp", "avif"))
    ] = "png"
    samples_filename_pattern: Annotated[str, _saving_images_grids(label="Images filename pattern")] = ""
    save_images_add_number: Annotated[bool, _saving_images_grids(label="Add number to filename when saving")] = True
    save_images_replace_action: Annotated[
        str,
        _saving_images_grids(
            label="Saving the image to an existing file", kind="radio", choices=("Replace", "Add number suffix")
        ),
    ] = "Replace"
    grid_save: Annotated[bool, _saving_images_grids(label="Always save all generated image grids")] = True
    grid_format: Annotated[
        str, _saving_images_grids(label="File format for grids", choices=("png", "jpg", "webp", "avif"))
    ] = "png"
    grid_extended_filename: Annotated[
        bool, _saving_images_grids(label="Add extended info (seed, prompt) to filename when saving grid")
    ] = False
    grid_only_if_multiple: Annotated[
        bool, _saving_images_grids(label="Do not save grids consisting of one picture")
    ] = True
    grid_prevent_empty_spots: Annotated[
        bool, _saving_images_grids(label="Prevent empty spots in grid (when set to autodetect)")
    ] = False
    grid_zip_filename_pattern: Annotated[str, _saving_images_grids(label="Archive filename pattern")] = ""
    n_rows: Annotated[
        int,
        P(ge=-1, le=16),
        _saving_images_grids(
            label="Grid row count; use -1 for autodetect and 0 for it to be same as batch size", step=1
        ),
    ] = -1
    grid_background_color: Annotated[
        str, _saving_images_grids(label="Background color for image grids", kind="color")
    ] = "#ffffff"
    save_images_before_face_restoration: Annotated[
        bool, _saving_images_grids(label="Save a copy of image before doing face restoration")
    ] = False
    save_images_before_highres_fix: Annotated[
        bool, _saving_images_grids(label="Save a copy of image before applying highres fix")
    ] = False
    save_images_before_color_correction: Annotated[
        bool, _saving_images_grids(label="Save a copy of image before applying color correction to img2img results")
    ] = False
    save_mask: Annotated[bool, _saving_images_grids(label="For inpainting, save a copy of the greyscale mask")] = False
    save_mask_composite: Annotated[bool, _saving_images_grids(label="For inpainting, save a masked composite")] = False
    jpeg_quality: Annotated[
        int, P(ge=1, le=100), _saving_images_grids(label="Quality for saved jpeg, webp and avif images", step=1)
    ] = 80
    webp_lossless: Annotated[bool, _saving_images_grids(label="Use lossless compression for webp images")] = False
    export_for_4chan: Annotated[bool, _saving_images_grids(label="Save copy of large images as JPG")] = False
    img_downscale_threshold: Annotated[
        float, P(ge=0), _saving_images_grids(label="File size limit for the above option, MB", kind="number")
    ] = 4.0
    target_side_length: Annotated[
        int, P(ge=1), _saving_images_grids(label="Width/height limit for the above option, in pixels", kind="number")
    ] = 4000
    img_max_size_mp: Annotated[
        int, P(ge=1), _saving_images_grids(label="Maximum image size, in megapixels", kind="number")
    ] = 200
    use_original_name_batch: Annotated[
        bool, _saving_images_grids(label="Use original name for output filename during batch process in extras tab")
    ] = True
    use_upscaler_name_as_suffix: Annotated[
        bool, _saving_images_grids(label="Use upscaler name as filename suffix in the extras tab")
    ] = False
    save_selected_only: Annotated[
        bool, _saving_images_grids(label="When using 'Save' button, only save a single selected image")
    ] = True
    save_write_log_csv: Annotated[
        bool, _saving_images_grids(label="Write log.csv when saving images using 'Save' button")
    ] = True
    save_init_img: Annotated[bool, _saving_images_grids(label="Save init images when using img2img")] = False
    temp_dir: Annotated[
        str, _saving_images_grids(label="Directory for temporary images; leave empty for default", restricted=True)
    ] = ""
    clean_temp_dir_at_start: Annotated[
        bool, _saving_images_grids(label="Cleanup non-default temporary directory when starting webui")
    ] = False
    save_incomplete_images: Annotated[bool, _saving_images_grids(label="Save incomplete images")] = False
    notification_audio: Annotated[
        bool, _saving_images_grids(label="Play notification sound after image generation")
    ] = True
    notification_volume: Annotated[
        int, P(ge=0, le=100), _saving_images_grids(label="Notification sound volume", step=1)
    ] = 100

    # Paths for saving
    outdir_samples: Annotated[
        str,
        _paths_for_saving(
            label="Output directory for images; if empty, defaults to three directories below", restricted=True
        ),
    ] = ""
    outdir_txt2img_samples: Annotated[
        str, _paths_for_saving(label="Output directory for txt2img images", restricted=True)
    ] = "outputs/txt2img-images"
    outdir_img2img_samples: Annotated[
        str, _paths_for_saving(label="Output directory for img2img images", restricted=True)
    ] = "outputs/img2img-images"
    outdir_extras_samples: Annotated[
        str, _paths_for_saving(label="Output directory for images from extras tab", restricted=True)
    ] = "outputs/extras-images"
    outdir_grids: Annotated[
        str,
        _paths_for_saving(
            label="Output directory for grids; if empty, defaults to two directories below", restricted=True
        ),
    ] = ""
    outdir_txt2img_grids: Annotated[
        str, _paths_for_saving(label="Output directory for txt2img grids", restricted=True)
    ] = "outputs/txt2img-grids"
    outdir_img2img_grids: Annotated[
        str, _paths_for_saving(label="Output directory for img2img grids", restricted=True)
    ] = "outputs/img2img-grids"
    outdir_save: Annotated[
        str, _paths_for_saving(label="Directory for saving images using the Save button", restricted=True)
    ] = "log/images"
    outdir_init_images: Annotated[
        str, _paths_for_saving(label="Directory for saving init images when using img2img", restricted=True)
    ] = "outputs/init-images"

    # Saving to a directory
    save_to_dirs: Annotated[bool, _saving_to_a_directory(label="Save images to a subdirectory")] = True
    grid_save_to_dirs: Annotated[bool, _saving_to_a_directory(label="Save grids to a subdirectory")] = True
    use_save_to_dirs_for_ui: Annotated[
        bool, _saving_to_a_directory(label='When using "Save" button, save images to a subdirectory')
    ] = False
    directories_filename_pattern: Annotated[str, _saving_to_a_directory(label="Directory name pattern")] = "[date]"
    directories_max_prompt_words: Annotated[
        int, P(ge=1, le=20), _saving_to_a_directory(label="Max prompt words for [prompt_words] pattern", step=1)
    ] = 8

    # Upscaling
    ESRGAN_tile: Annotated[
        int,
        P(ge=0, le=2048),
        _upscaling(label="Tile size for upscalers", step=16, info="0 processes the picture in one piece."),
    ] = 192
    ESRGAN_tile_overlap: Annotated[int, P(ge=0, le=256), _upscaling(label="Tile overlap for upscalers", step=1)] = 8
    realesrgan_enabled_models: Annotated[
        tuple[str, ...],
        _upscaling(label="Real-ESRGAN models to show in the list", kind="multiselect", choices="realesrgan_models"),
    ] = ("R-ESRGAN 4x+", "R-ESRGAN 4x+ Anime6B")
    dat_enabled_models: Annotated[
        tuple[str, ...],
        _upscaling(label="DAT models to show in the list", kind="multiselect", choices=("DAT x2", "DAT x3", "DAT x4")),
    ] = ("DAT x2", "DAT x3", "DAT x4")
    upscaler_for_img2img: Annotated[
        str | None, _upscaling(label="Upscaler for img2img", kind="dropdown", choices="upscalers")
    ] = None
    set_scale_by_when_changing_upscaler: Annotated[
        bool, _upscaling(label="Automatically set the Scale by factor based on the name of the selected upscaler")
    ] = False

    # Face restoration
    face_restoration: Annotated[
        bool, _face_restoration(label="Restore faces", infotext=Infotext(key="Face restoration"))
    ] = False
    face_restoration_model: Annotated[
        str,
        _face_restoration(
            label="Face restoration model",
            kind="radio",
            choices="face_restorers",
            info="CodeFormer's weights may not be used commercially.",
        ),
    ] = "CodeFormer"
    code_former_weight: Annotated[
        float, P(ge=0, le=1), _face_restoration(label="CodeFormer weight; 0 is maximum effect, 1 is minimum", step=0.01)
    ] = 0.5
    face_restoration_unload: Annotated[
        bool, _face_restoration(label="Move face restoration model from VRAM into RAM after processing")
    ] = False

    # System
    list_hidden_files: Annotated[bool, _system(label="Load models/files in hidden directories")] = True
    disable_mmap_load_safetensors: Annotated[
        bool, _system(label="Disable memmapping for loading .safetensors files")
    ] = False
    memmon_poll_rate: Annotated[
        int, P(ge=0, le=40), _system(label="VRAM usage polls per second during generation; 0 to disable", step=1)
    ] = 8
    disabled_extensions: Annotated[
        tuple[str, ...], _system(label="Disabled extensions", kind="hidden", restricted=True)
    ] = ()
    disable_all_extensions: Annotated[str, _system(label="Disable all extensions", kind="hidden", restricted=True)] = (
        "none"
    )

    # API
    api_enable_requests: Annotated[
        bool, _api(label="Allow http:// and https:// URLs for input images in API", restricted=True)
    ] = False
    api_forbid_local_requests: Annotated[bool, _api(label="Forbid URLs to local resources", restricted=True)] = True
    api_useragent: Annotated[str, _api(label="User agent for requests", restricted=True)] = ""

    # Stable Diffusion
    sd_model_checkpoint: Annotated[
        str | None,
        _stable_diffusion(
            label="Stable Diffusion checkpoint",
            kind="dropdown",
            choices="checkpoints",
            infotext=Infotext(key="Model hash"),
        ),
    ] = None
    sd_checkpoints_limit: Annotated[
        int, P(ge=1, le=10), _stable_diffusion(label="Maximum number of checkpoints loaded at the same time", step=1)
    ] = 1
    sd_checkpoints_keep_in_cpu: Annotated[bool, _stable_diffusion(label="Only keep one model on device")] = True
    sd_checkpoint_cache: Annotated[
        int, P(ge=0, le=10), _stable_diffusion(label="Checkpoints to cache in RAM", step=1)
    ] = 0
    sd_unet: Annotated[str, _stable_diffusion(label="SD Unet", kind="dropdown", choices="unets")] = "Automatic"
    emphasis: Annotated[
        str,
        _stable_diffusion(
            label="Emphasis mode",
            kind="radio",
            choices=("None", "Ignore", "Original", "No norm"),
            infotext=Infotext(key="Emphasis"),
        ),
    ] = "Original"
    enable_batch_seeds: Annotated[
        bool,
        _stable_diffusion(
            label="Make K-diffusion samplers produce same images in a batch as when making a single image"
        ),
    ] = True
    comma_padding_backtrack: Annotated[
        int, P(ge=0, le=74), _stable_diffusion(label="Prompt word wrap length limit", step=1)
    ] = 20
    enable_prompt_comments: Annotated[bool, _stable_diffusion(label="Enable comments")] = True
    sdxl_clip_l_skip: Annotated[bool, _stable_diffusion(label="Clip skip SDXL")] = False
    CLIP_stop_at_last_layers: Annotated[
        int, P(ge=1, le=12), _stable_diffusion(label="Clip skip", step=1, infotext=Infotext(key="Clip skip"))
    ] = 1
    randn_source: Annotated[
        str,
        _stable_diffusion(
            label="Random number generator source",
            kind="radio",
            choices=("GPU", "CPU", "NV"),
            infotext=Infotext(key="RNG"),
        ),
    ] = "GPU"
    tiling: Annotated[bool, _stable_diffusion(label="Tiling", infotext=Infotext(key="Tiling"))] = False
    hires_fix_refiner_pass: Annotated[
        str,
        _stable_diffusion(
            label="Hires fix: which pass to enable refiner for",
            kind="radio",
            choices=("first pass", "second pass", "both passes"),
            infotext=Infotext(key="Hires refiner"),
        ),
    ] = "second pass"

    # Stable Diffusion XL
    sdxl_crop_top: Annotated[int, _stable_diffusion_xl(label="crop top coordinate", kind="number")] = 0
    sdxl_crop_left: Annotated[int, _stable_diffusion_xl(label="crop left coordinate", kind="number")] = 0
    sdxl_refiner_low_aesthetic_score: Annotated[
        float, _stable_diffusion_xl(label="SDXL low aesthetic score", kind="number")
    ] = 2.5
    sdxl_refiner_high_aesthetic_score: Annotated[
        float, _stable_diffusion_xl(label="SDXL high aesthetic score", kind="number")
    ] = 6.0

    # Stable Diffusion 3
    sd3_enable_t5: Annotated[bool, _stable_diffusion_3(label="Enable T5")] = False

    # VAE
    sd_vae_checkpoint_cache: Annotated[int, P(ge=0, le=10), _vae(label="VAE Checkpoints to cache in RAM", step=1)] = 0
    sd_vae: Annotated[str, _vae(label="SD VAE", kind="dropdown", choices="vaes", infotext=Infotext(key="VAE"))] = (
        "Automatic"
    )
    sd_vae_overrides_per_model_preferences: Annotated[
        bool, _vae(label="Selected VAE overrides per-model preferences")
    ] = True
    auto_vae_precision_bfloat16: Annotated[bool, _vae(label="Automatically convert VAE to bfloat16")] = False
    auto_vae_precision: Annotated[bool, _vae(label="Automatically revert VAE to 32-bit floats")] = True
    sd_vae_encode_method: Annotated[
        str,
        _vae(
            label="VAE type for encode", kind="radio", choices=("Full", "TAESD"), infotext=Infotext(key="VAE Encoder")
        ),
    ] = "Full"
    sd_vae_decode_method: Annotated[
        str,
        _vae(
            label="VAE type for decode", kind="radio", choices=("Full", "TAESD"), infotext=Infotext(key="VAE Decoder")
        ),
    ] = "Full"

    # img2img
    inpainting_mask_weight: Annotated[
        float,
        P(ge=0, le=1),
        _img2img(
            label="Inpainting conditioning mask strength", step=0.01, infotext=Infotext(key="Conditional mask weight")
        ),
    ] = 1.0
    initial_noise_multiplier: Annotated[
        float,
        P(ge=0, le=1.5),
        _img2img(label="Noise multiplier for img2img", step=0.001, infotext=Infotext(key="Noise multiplier")),
    ] = 1.0
    img2img_extra_noise: Annotated[
        float,
        P(ge=0, le=1),
        _img2img(
            label="Extra noise multiplier for img2img and hires fix", step=0.01, infotext=Infotext(key="Extra noise")
        ),
    ] = 0.0
    img2img_color_correction: Annotated[
        bool, _img2img(label="Apply color correction to img2img results to match original colors")
    ] = False
    img2img_fix_steps: Annotated[
        bool, _img2img(label="With img2img, do exactly the amount of steps the slider specifies")
    ] = False
    img2img_background_color: Annotated[
        str, _img2img(label="With img2img, fill transparent parts of the input image with this color", kind="color")
    ] = "#ffffff"
    img2img_editor_height: Annotated[int, P(ge=80, le=1600), _img2img(label="Height of the image editor", step=1)] = 720
    img2img_sketch_default_brush_color: Annotated[str, _img2img(label="Sketch initial brush color", kind="color")] = (
        "#ffffff"
    )
    img2img_inpaint_mask_brush_color: Annotated[str, _img2img(label="Inpaint mask brush color", kind="color")] = (
        "#ffffff"
    )
    img2img_inpaint_sketch_default_brush_color: Annotated[
        str, _img2img(label="Inpaint sketch initial brush color", kind="color")
    ] = "#ffffff"
    return_mask: Annotated[bool, _img2img(label="For inpainting, include the greyscale mask in results for web")] = (
        False
    )
    return_mask_composite: Annotated[
        bool, _img2img(label="For inpainting, include masked composite in results for web")
    ] = False
    img2img_batch_show_results_limit: Annotated[
        int, P(ge=-1, le=1000), _img2img(label="Show the first N batch img2img results in UI", step=1)
    ] = 32
    overlay_inpaint: Annotated[bool, _img2img(label="Overlay original for inpaint")] = True

    # Optimizations
    cross_attention_optimization: Annotated[
        str, _optimizations(label="Cross attention optimization", kind="dropdown", choices="attention_backends")
    ] = "Automatic"
    s_min_uncond: Annotated[
        float,
        P(ge=0, le=15),
        _optimizations(label="Negative Guidance minimum sigma", step=0.01, infotext=Infotext(key="NGMS")),
    ] = 0.0
    s_min_uncond_all: Annotated[
        bool, _optimizations(label="Negative Guidance minimum sigma all steps", infotext=Infotext(key="NGMS all steps"))
    ] = False
    token_merging_ratio: Annotated[
        float,
        P(ge=0, le=0.9),
        _optimizations(label="Token merging ratio", step=0.1, infotext=Infotext(key="Token merging ratio")),
    ] = 0.0
    token_merging_ratio_img2img: Annotated[
        float, P(ge=0, le=0.9), _optimizations(label="Token merging ratio for img2img", step=0.1)
    ] = 0.0
    token_merging_ratio_hr: Annotated[
        float,
        P(ge=0, le=0.9),
        _optimizations(
            label="Token merging ratio for high-res pass", step=0.1, infotext=Infotext(key="Token merging ratio hr")
        ),
    ] = 0.0
    pad_cond_uncond: Annotated[
        bool, _optimizations(label="Pad prompt/negative prompt", infotext=Infotext(key="Pad conds"))
    ] = False
    pad_cond_uncond_v0: Annotated[
        bool, _optimizations(label="Pad prompt/negative prompt v0", infotext=Infotext(key="Pad conds v0"))
    ] = False
    persistent_cond_cache: Annotated[bool, _optimizations(label="Persistent cond cache")] = True
    batch_cond_uncond: Annotated[bool, _optimizations(label="Batch cond/uncond")] = True
    fp8_storage: Annotated[
        str, _optimizations(label="FP8 weight", kind="radio", choices=("Disable", "Enable for SDXL", "Enable"))
    ] = "Disable"
    cache_fp16_weight: Annotated[bool, _optimizations(label="Cache FP16 weight for LoRA")] = False

    # Compatibility
    auto_backcompat: Annotated[bool, _compatibility(label="Automatic backward compatibility")] = True
    use_old_emphasis_implementation: Annotated[bool, _compatibility(label="Use old emphasis implementation")] = False
    use_old_karras_scheduler_sigmas: Annotated[
        bool, _compatibility(label="Use old karras scheduler sigmas (0.1 to 10)")
    ] = False
    no_dpmpp_sde_batch_determinism: Annotated[
        bool, _compatibility(label="Do not make DPM++ SDE deterministic across different batch sizes")
    ] = False
    use_old_hires_fix_width_height: Annotated[
        bool,
        _compatibility(label="For hires fix, use width/height sliders to set final resolution rather than first pass"),
    ] = False
    hires_fix_use_firstpass_conds: Annotated[
        bool, _compatibility(label="For hires fix, calculate conds of second pass using extra networks of first pass")
    ] = False
    use_old_scheduling: Annotated[
        bool,
        _compatibility(label="Use old prompt editing timelines", infotext=Infotext(key="Old prompt editing timelines")),
    ] = False
    use_downcasted_alpha_bar: Annotated[
        bool,
        _compatibility(
            label="Downcast model alphas_cumprod to fp16 before sampling",
            infotext=Infotext(key="Downcast alphas_cumprod"),
        ),
    ] = False
    refiner_switch_by_sample_steps: Annotated[
        bool,
        _compatibility(
            label="Switch to refiner by sampling steps instead of model timesteps",
            infotext=Infotext(key="Refiner switch by sampling steps"),
        ),
    ] = False

    # Interrogate
    interrogate_return_ranks: Annotated[bool, _interrogate(label="Include ranks of model tags matches in results")] = (
        False
    )
    interrogate_clip_num_beams: Annotated[int, P(ge=1, le=16), _interrogate(label="BLIP: num_beams", step=1)] = 1
    interrogate_clip_min_length: Annotated[
        int, P(ge=1, le=128), _interrogate(label="BLIP: minimum description length", step=1)
    ] = 24
    interrogate_clip_max_length: Annotated[
        int, P(ge=1, le=256), _interrogate(label="BLIP: maximum description length", step=1)
    ] = 48
    interrogate_deepbooru_score_threshold: Annotated[
        float, P(ge=0, le=1), _interrogate(label="deepbooru: score threshold", step=0.01)
    ] = 0.5
    deepbooru_sort_alpha: Annotated[bool, _interrogate(label="deepbooru: sort tags alphabetically")] = True
    deepbooru_use_spaces: Annotated[bool, _interrogate(label="deepbooru: use spaces in tags")] = True
    deepbooru_escape: Annotated[bool, _interrogate(label="deepbooru: escape (\\\\) brackets")] = True
    deepbooru_filter_tags: Annotated[str, _interrogate(label="deepbooru: filter out those tags")] = ""

    # Extra Networks
    extra_networks_show_hidden_directories: Annotated[bool, _extra_networks(label="Show hidden directories")] = True
    extra_networks_dir_button_function: Annotated[
        bool, _extra_networks(label="Add a '/' to the beginning of directory buttons")
    ] = False
    extra_networks_hidden_models: Annotated[
        str,
        _extra_networks(
            label="Show cards for models in hidden directories",
            kind="radio",
            choices=("Always", "When searched", "Never"),
        ),
    ] = "When searched"
    extra_networks_default_multiplier: Annotated[
        float, P(ge=0, le=2), _extra_networks(label="Default multiplier for extra networks", step=0.01)
    ] = 1.0
    extra_networks_card_width: Annotated[
        int, P(ge=0), _extra_networks(label="Card width for Extra Networks", kind="number")
    ] = 0
    extra_networks_card_height: Annotated[
        int, P(ge=0), _extra_networks(label="Card height for Extra Networks", kind="number")
    ] = 0
    extra_networks_card_text_scale: Annotated[
        float, P(ge=0, le=2), _extra_networks(label="Card text scale", step=0.01)
    ] = 1.0
    extra_networks_card_show_desc: Annotated[bool, _extra_networks(label="Show description on card")] = True
    extra_networks_card_order_field: Annotated[
        str,
        _extra_networks(
            label="Default order field for Extra Networks cards",
            choices=("Path", "Name", "Date Created", "Date Modified"),
        ),
    ] = "Path"
    extra_networks_card_order: Annotated[
        str, _extra_networks(label="Default order for Extra Networks cards", choices=("Ascending", "Descending"))
    ] = "Ascending"
    extra_networks_tree_view_style: Annotated[
        str, _extra_networks(label="Extra Networks directory view style", kind="radio", choices=("Tree", "Dirs"))
    ] = "Dirs"
    extra_networks_tree_view_default_enabled: Annotated[
        bool, _extra_networks(label="Show the Extra Networks directory view by default")
    ] = True
    extra_networks_tree_view_default_width: Annotated[
        int, P(ge=0), _extra_networks(label="Default width for the Extra Networks directory tree view", kind="number")
    ] = 180
    extra_networks_add_text_separator: Annotated[str, _extra_networks(label="Extra networks separator")] = " "
    ui_extra_networks_tab_reorder: Annotated[str, _extra_networks(label="Extra networks tab order")] = ""
    textual_inversion_add_hashes_to_infotext: Annotated[
        bool, _extra_networks(label="Add Textual Inversion hashes to infotext")
    ] = True
    lora_preferred_name: Annotated[
        str,
        _extra_networks(
            label="When adding to prompt, refer to Lora by", kind="radio", choices=("Alias from file", "Filename")
        ),
    ] = "Alias from file"
    lora_add_hashes_to_infotext: Annotated[bool, _extra_networks(label="Add Lora hashes to infotext")] = True
    lora_bundled_ti_to_infotext: Annotated[
        bool, _extra_networks(label="Add Lora name as TI hashes for bundled Textual Inversion")
    ] = True
    lora_show_all: Annotated[bool, _extra_networks(label="Always show all networks on the Lora page")] = False
    lora_hide_unknown_for_versions: Annotated[
        tuple[str, ...],
        _extra_networks(
            label="Hide networks of unknown versions for model versions",
            kind="multiselect",
            choices=("SD1", "SD2", "SDXL"),
        ),
    ] = ()
    lora_in_memory_limit: Annotated[
        int, P(ge=0), _extra_networks(label="Number of Lora networks to keep cached in memory", kind="number")
    ] = 0
    lora_not_found_warning_console: Annotated[bool, _extra_networks(label="Lora not found warning in console")] = False
    lora_not_found_gradio_warning: Annotated[bool, _extra_networks(label="Lora not found warning popup in webui")] = (
        True
    )

    # Prompt editing
    keyedit_precision_attention: Annotated[
        float,
        P(ge=0.01, le=0.2),
        _prompt_editing(label="Precision for (attention:1.1) when editing the prompt with Ctrl+up/down", step=0.001),
    ] = 0.1
    keyedit_precision_extra: Annotated[
        float,
        P(ge=0.01, le=0.2),
        _prompt_editing(
            label="Precision for <extra networks:0.9> when editing the prompt with Ctrl+up/down", step=0.001
        ),
    ] = 0.05
    keyedit_delimiters: Annotated[
        str, _prompt_editing(label="Word delimiters when editing the prompt with Ctrl+up/down")
    ] = ".,\\/!?%^*;:{}=`~() "
    keyedit_delimiters_whitespace: Annotated[
        tuple[str, ...],
        _prompt_editing(
            label="Ctrl+up/down whitespace delimiters",
            kind="multiselect",
            choices=("Tab", "Carriage Return", "Line Feed"),
        ),
    ] = ("Tab", "Carriage Return", "Line Feed")
    keyedit_move: Annotated[bool, _prompt_editing(label="Alt+left/right moves prompt elements")] = True
    disable_token_counters: Annotated[bool, _prompt_editing(label="Disable prompt token counters")] = False
    include_styles_into_token_counters: Annotated[bool, _prompt_editing(label="Count tokens of enabled styles")] = True

    # Gallery
    return_grid: Annotated[bool, _gallery(label="Show grid in gallery")] = True
    do_not_show_images: Annotated[bool, _gallery(label="Do not show any images in gallery")] = False
    js_modal_lightbox: Annotated[bool, _gallery(label="Full page image viewer: enable")] = True
    js_modal_lightbox_initially_zoomed: Annotated[
        bool, _gallery(label="Full page image viewer: show images zoomed in by default")
    ] = True
    sd_webui_modal_lightbox_icon_opacity: Annotated[
        float, P(ge=0, le=1), _gallery(label="Full page image viewer: control icon unfocused opacity", step=0.01)
    ] = 1
    sd_webui_modal_lightbox_toolbar_opacity: Annotated[
        float, P(ge=0, le=1), _gallery(label="Full page image viewer: tool bar opacity", step=0.01)
    ] = 0.9
    gallery_height: Annotated[str, _gallery(label="Gallery height")] = ""
    open_dir_button_choice: Annotated[
        str,
        _gallery(
            label="What directory the open images directory button opens",
            kind="radio",
            choices=("Output Root", "Subdirectory", "Subdirectory (even temp dir)"),
        ),
    ] = "Subdirectory"

    # UI alternatives
    compact_prompt_box: Annotated[bool, _ui_alternatives(label="Compact prompt layout")] = False
    samplers_in_dropdown: Annotated[
        bool, _ui_alternatives(label="Use dropdown for sampler selection instead of radio group")
    ] = True
    dimensions_and_batch_together: Annotated[
        bool, _ui_alternatives(label="Show Width/Height and Batch sliders in same row")
    ] = True
    sd_checkpoint_dropdown_use_short: Annotated[
        bool, _ui_alternatives(label="Checkpoint dropdown: use filenames without paths")
    ] = False
    hires_fix_show_sampler: Annotated[
        bool, _ui_alternatives(label="Hires fix: show hires checkpoint and sampler selection")
    ] = True
    hires_fix_show_prompts: Annotated[
        bool, _ui_alternatives(label="Hires fix: show hires prompt and negative prompt")
    ] = True
    interrupt_after_current: Annotated[bool, _ui_alternatives(label="Don't Interrupt in the middle")] = True

    # User interface
    localization: Annotated[str, _user_interface(label="Localization", choices="localizations")] = "None"
    quicksettings_list: Annotated[
        tuple[str, ...], _user_interface(label="Quicksettings list", kind="multiselect", choices="setting_keys")
    ] = ("sd_model_checkpoint",)
    ui_tab_order: Annotated[
        tuple[str, ...], _user_interface(label="UI tab order", kind="multiselect", choices="tabs")
    ] = ()
    hidden_tabs: Annotated[
        tuple[str, ...], _user_interface(label="Hidden UI tabs", kind="multiselect", choices="tabs")
    ] = ()
    ui_reorder_list: Annotated[
        tuple[str, ...],
        _user_interface(label="UI item order for txt2img/img2img tabs", kind="multiselect", choices="ui_items"),
    ] = ()
    gradio_theme: Annotated[str, _user_interface(label="Gradio theme", choices="themes")] = "Default"
    show_progress_in_title: Annotated[bool, _user_interface(label="Show generation progress in window title")] = True
    send_seed: Annotated[bool, _user_interface(label="Send seed when sending prompt or image to other interface")] = (
        True
    )
    send_size: Annotated[bool, _user_interface(label="Send size when sending prompt or image to another interface")] = (
        True
    )
    extra_options_txt2img: Annotated[
        tuple[str, ...], _user_interface(label="Settings for txt2img", kind="multiselect", choices="setting_keys")
    ] = ()
    extra_options_img2img: Annotated[
        tuple[str, ...], _user_interface(label="Settings for img2img", kind="multiselect", choices="setting_keys")
    ] = ()
    extra_options_cols: Annotated[
        int, P(ge=1, le=20), _user_interface(label="Number of columns for added settings", step=1)
    ] = 1
    extra_options_accordion: Annotated[bool, _user_interface(label="Place added settings into an accordion")] = False
    canvas_hotkey_zoom: Annotated[
        str, _user_interface(label="Zoom canvas", kind="radio", choices=("Shift", "Ctrl", "Alt"))
    ] = "Alt"
    canvas_hotkey_adjust: Annotated[
        str, _user_interface(label="Adjust brush size", kind="radio", choices=("Shift", "Ctrl", "Alt"))
    ] = "Ctrl"
    canvas_hotkey_shrink_brush: Annotated[str, _user_interface(label="Shrink the brush size")] = "Q"
    canvas_hotkey_grow_brush: Annotated[str, _user_interface(label="Enlarge the brush size")] = "W"
    canvas_hotkey_move: Annotated[str, _user_interface(label="Moving the canvas")] = "F"
    canvas_hotkey_fullscreen: Annotated[str, _user_interface(label="Fullscreen Mode")] = "S"
    canvas_hotkey_reset: Annotated[str, _user_interface(label="Reset zoom and canvas position")] = "R"
    canvas_hotkey_overlap: Annotated[str, _user_interface(label="Toggle overlap")] = "O"
    canvas_show_tooltip: Annotated[bool, _user_interface(label="Enable tooltip on the canvas")] = True
    canvas_auto_expand: Annotated[
        bool, _user_interface(label="Automatically expands an image that does not fit completely in the canvas area")
    ] = True
    canvas_blur_prompt: Annotated[
        bool, _user_interface(label="Take the focus off the prompt when working with a canvas")
    ] = False
    canvas_disabled_functions: Annotated[
        tuple[str, ...],
        _user_interface(
            label="Disable function that you don't use",
            kind="multiselect",
            choices=(
                "Zoom",
                "Adjust brush size",
                "Hotkey enlarge brush",
                "Hotkey shrink brush",
                "Moving canvas",
                "Fullscreen",
                "Reset Zoom",
                "Overlap",
            ),
        ),
    ] = ("Overlap",)

    # Infotext
    enable_pnginfo: Annotated[bool, _infotext(label="Write infotext to metadata of the generated image")] = True
    save_txt: Annotated[bool, _infotext(label="Create a text file with infotext next to every generated image")] = False
    add_model_name_to_info: Annotated[bool, _infotext(label="Add model name to infotext")] = True
    add_model_hash_to_info: Annotated[bool, _infotext(label="Add model hash to infotext")] = True
    add_vae_name_to_info: Annotated[bool, _infotext(label="Add VAE name to infotext")] = True
    add_vae_hash_to_info: Annotated[bool, _infotext(label="Add VAE hash to infotext")] = True
    add_user_name_to_info: Annotated[bool, _infotext(label="Add user name to infotext when authenticated")] = False
    add_version_to_infotext: Annotated[bool, _infotext(label="Add program version to infotext")] = True
    disable_weights_auto_swap: Annotated[
        bool, _infotext(label="Disregard checkpoint information from pasted infotext")
    ] = True
    infotext_skip_pasting: Annotated[
        tuple[str, ...],
        _infotext(label="Disregard fields from pasted infotext", kind="multiselect", choices="infotext_fields"),
    ] = ()
    infotext_styles: Annotated[
        str,
        _infotext(
            label="Infer styles from prompts of pasted infotext",
            kind="radio",
            choices=("Ignore", "Apply", "Discard", "Apply if any"),
        ),
    ] = "Apply if any"

    # Live previews
    show_progressbar: Annotated[bool, _live_previews(label="Show progressbar")] = True
    live_previews_enable: Annotated[bool, _live_previews(label="Show live previews of the created image")] = True
    live_previews_image_format: Annotated[
        str, _live_previews(label="Live preview file format", kind="radio", choices=("jpeg", "png", "webp"))
    ] = "jpeg"
    show_progress_grid: Annotated[
        bool, _live_previews(label="Show previews of all images generated in a batch as a grid")
    ] = True
    show_progress_every_n_steps: Annotated[
        int,
        P(ge=-1, le=32),
        _live_previews(
            label="Live preview display period", step=1, info="In sampling steps; -1 shows only finished batches."
        ),
    ] = 10
    show_progress_type: Annotated[
        str,
        _live_previews(
            label="Live preview method", kind="radio", choices=("Full", "Approx NN", "Approx cheap", "TAESD")
        ),
    ] = "Approx NN"
    live_preview_allow_lowvram_full: Annotated[
        bool, _live_previews(label="Allow Full live preview method with lowvram/medvram")
    ] = False
    live_preview_content: Annotated[
        str,
        _live_previews(label="Live preview subject", kind="radio", choices=("Combined", "Prompt", "Negative prompt")),
    ] = "Prompt"
    live_preview_refresh_period: Annotated[
        int, P(ge=50), _live_previews(label="Progressbar and preview update period, in milliseconds", kind="number")
    ] = 1000
    live_preview_fast_interrupt: Annotated[
        bool, _live_previews(label="Return image with chosen live preview method on interrupt")
    ] = False
    js_live_preview_in_modal_lightbox: Annotated[
        bool, _live_previews(label="Show Live preview in full page image viewer")
    ] = False
    prevent_screen_sleep_during_generation: Annotated[
        bool, _live_previews(label="Prevent screen sleep during generation")
    ] = True

    # Sampler parameters
    hide_samplers: Annotated[
        tuple[str, ...],
        _sampler_parameters(label="Hide samplers in user interface", kind="multiselect", choices="samplers"),
    ] = ()
    eta_ddim: Annotated[
        float, P(ge=0, le=1), _sampler_parameters(label="Eta for DDIM", step=0.01, infotext=Infotext(key="Eta DDIM"))
    ] = 0.0
    eta_ancestral: Annotated[
        float,
        P(ge=0, le=1),
        _sampler_parameters(label="Eta for k-diffusion samplers", step=0.01, infotext=Infotext(key="Eta")),
    ] = 1.0
    ddim_discretize: Annotated[
        str, _sampler_parameters(label="img2img DDIM discretize", kind="radio", choices=("uniform", "quad"))
    ] = "uniform"
    s_churn: Annotated[
        float,
        P(ge=0, le=100),
        _sampler_parameters(label="sigma churn", step=0.01, infotext=Infotext(key="Sigma churn")),
    ] = 0.0
    s_tmin: Annotated[
        float, P(ge=0, le=10), _sampler_parameters(label="sigma tmin", step=0.01, infotext=Infotext(key="Sigma tmin"))
    ] = 0.0
    s_tmax: Annotated[
        float, P(ge=0, le=999), _sampler_parameters(label="sigma tmax", step=0.01, infotext=Infotext(key="Sigma tmax"))
    ] = 0.0
    s_noise: Annotated[
        float,
        P(ge=0, le=1.1),
        _sampler_parameters(label="sigma noise", step=0.001, infotext=Infotext(key="Sigma noise")),
    ] = 1.0
    sigma_min: Annotated[
        float,
        P(ge=0),
        _sampler_parameters(label="sigma min", kind="number", infotext=Infotext(key="Schedule min sigma")),
    ] = 0.0
    sigma_max: Annotated[
        float,
        P(ge=0),
        _sampler_parameters(label="sigma max", kind="number", infotext=Infotext(key="Schedule max sigma")),
    ] = 0.0
    rho: Annotated[float, _sampler_parameters(label="rho", kind="number", infotext=Infotext(key="Schedule rho"))] = 0.0
    eta_noise_seed_delta: Annotated[
        int, _sampler_parameters(label="Eta noise seed delta", kind="number", infotext=Infotext(key="ENSD"))
    ] = 0
    always_discard_next_to_last_sigma: Annotated[
        bool,
        _sampler_parameters(
            label="Always discard next-to-last sigma", infotext=Infotext(key="Discard penultimate sigma")
        ),
    ] = False
    sgm_noise_multiplier: Annotated[
        bool, _sampler_parameters(label="SGM noise multiplier", infotext=Infotext(key="SGM noise multiplier"))
    ] = False
    uni_pc_variant: Annotated[
        str,
        _sampler_parameters(
            label="UniPC variant",
            kind="radio",
            choices=("bh1", "bh2", "vary_coeff"),
            infotext=Infotext(key="UniPC variant"),
        ),
    ] = "bh1"
    uni_pc_skip_type: Annotated[
        str,
        _sampler_parameters(
            label="UniPC skip type",
            kind="radio",
            choices=("time_uniform", "time_quadratic", "logSNR"),
            infotext=Infotext(key="UniPC skip type"),
        ),
    ] = "time_uniform"
    uni_pc_order: Annotated[
        int, P(ge=1, le=50), _sampler_parameters(label="UniPC order", step=1, infotext=Infotext(key="UniPC order"))
    ] = 3
    uni_pc_lower_order_final: Annotated[
        bool, _sampler_parameters(label="UniPC lower order final", infotext=Infotext(key="UniPC lower order final"))
    ] = True
    sd_noise_schedule: Annotated[
        str,
        _sampler_parameters(
            label="Noise schedule for sampling",
            kind="radio",
            choices=("Default", "Zero Terminal SNR"),
            infotext=Infotext(key="Noise Schedule"),
        ),
    ] = "Default"
    skip_early_cond: Annotated[
        float,
        P(ge=0, le=1),
        _sampler_parameters(
            label="Ignore negative prompt during early sampling", step=0.01, infotext=Infotext(key="Skip Early CFG")
        ),
    ] = 0.0
    beta_dist_alpha: Annotated[
        float,
        P(ge=0.01, le=5),
        _sampler_parameters(label="Beta scheduler - alpha", step=0.01, infotext=Infotext(key="Beta scheduler alpha")),
    ] = 0.6
    beta_dist_beta: Annotated[
        float,
        P(ge=0.01, le=5),
        _sampler_parameters(label="Beta scheduler - beta", step=0.01, infotext=Infotext(key="Beta scheduler beta")),
    ] = 0.6

    # Postprocessing
    postprocessing_enable_in_main_ui: Annotated[
        tuple[str, ...],
        _postprocessing(
            label="Enable postprocessing operations in txt2img and img2img tabs",
            kind="multiselect",
            choices="postprocessing",
        ),
    ] = ()
    postprocessing_disable_in_extras: Annotated[
        tuple[str, ...],
        _postprocessing(
            label="Disable postprocessing operations in extras tab", kind="multiselect", choices="postprocessing"
        ),
    ] = ()
    postprocessing_operation_order: Annotated[
        tuple[str, ...],
        _postprocessing(label="Postprocessing operation order", kind="multiselect", choices="postprocessing"),
    ] = ()
    upscaling_max_images_in_cache: Annotated[
        int, P(ge=0, le=10), _postprocessing(label="Maximum number of images in upscaling cache", step=1)
    ] = 5
    postprocessing_existing_caption_action: Annotated[
        str,
        _postprocessing(
            label="Action for existing captions", kind="radio", choices=("Ignore", "Keep", "Prepend", "Append")
        ),
    ] = "Ignore"

    # ControlNet. Keys are those of the extension sd-webui-controlnet.
    control_net_unit_count: Annotated[
        int, P(ge=1, le=10), _controlnet(label="Multi-ControlNet: ControlNet unit number", step=1)
    ] = 3
    control_net_model_cache_size: Annotated[
        int, P(ge=1, le=10), _controlnet(label="Model cache size", step=1, info="Control models that stay loaded.")
    ] = 2
    control_net_models_path: Annotated[
        str,
        _controlnet(label="Extra path to scan for ControlNet models (e.g. training output directory)", restricted=True),
    ] = ""
    control_net_inpaint_blur_sigma: Annotated[
        int, P(ge=0, le=64), _controlnet(label="ControlNet inpainting Gaussian blur sigma", step=1)
    ] = 7
    control_net_no_detectmap: Annotated[bool, _controlnet(label="Do not append detectmap to output")] = False
    control_net_detectmap_autosaving: Annotated[bool, _controlnet(label="Allow detectmap auto saving")] = False
    control_net_detectedmap_dir: Annotated[
        str, _controlnet(label="Directory for detected maps auto saving", restricted=True)
    ] = "detected_maps"
    control_net_sync_field_args: Annotated[bool, _controlnet(label="Paste ControlNet parameters in infotext")] = True
    controlnet_increment_seed_during_batch: Annotated[
        bool, _controlnet(label="Increment seed after each controlnet batch iteration")
    ] = False
    controlnet_ignore_noninpaint_mask: Annotated[
        bool, _controlnet(label="Ignore mask on ControlNet input image if control type is not inpaint")
    ] = False

    def overridden(self, values: Mapping[str, Any], *, restricted: bool = False) -> "Settings":
        """These settings with `values` over them, each cast to its option's type as A1111 casts pasted text.

        Unknown keys, keys without effect and None are passed over.

        Args:
            restricted: Whether paths, network and code options may change too: the Settings page and config.json
                may, requests and infotexts may not.

        Raises:
            SettingsError: If a value cannot be cast, or is out of its option's bounds.
        """
        known = _fields_by_key()
        changes = {
            key: cast_value(key, value)
            for key, value in values.items()
            if key in known and value is not None and (restricted or not known[key].control.restricted)
        }
        return self.model_copy(update=changes) if changes else self

    def override_notes(self, values: Mapping[str, Any], *, restricted: bool = False) -> tuple[str, ...]:
        """One sentence for each key of `values` that `overridden` passes over, for the user."""
        known = _fields_by_key()
        notes: list[str] = []
        for key in values:
            if key in WITHOUT_EFFECT:
                notes.append(f"Setting '{key}' has no effect in this program.")
            elif key not in known:
                notes.append(f"Setting '{key}' does not exist.")
            elif known[key].control.restricted and not restricted:
                notes.append(f"Setting '{key}' can only be changed on the Settings page of this machine.")
        return tuple(notes)


def cast_value(key: str, value: Any) -> Any:
    """`value` as option `key` holds it: "False" is False, "2.0" is 2 for a whole number, a list is a tuple.

    Raises:
        SettingsError: If it cannot be read as the option's type, or is out of its bounds.

    Source: A1111 modules/options.py, Options.cast_value.
    """
    field = _fields_by_key()[key]
    try:
        cast = _as_type(field.default, value)
        Settings.__pydantic_validator__.validate_assignment(Settings.model_construct(), key, cast)
    except ValidationError as error:
        problem = error.errors()[0]["msg"]
        raise SettingsError(f"Setting '{key}' ({field.control.label}) cannot be {value!r}: {problem}.") from error
    except (TypeError, ValueError, OverflowError) as error:
        kind = type(field.default).__name__
        raise SettingsError(f"Setting '{key}' ({field.control.label}) cannot be {value!r}: not a {kind}.") from error
    choices = field.control.choices
    if field.control.kind == "radio" and isinstance(choices, tuple) and cast not in choices:
        raise SettingsError(f"Setting '{key}' ({field.control.label}) is '{cast}'; choose one of {', '.join(choices)}.")
    return cast


def _as_type(default: Any, value: Any) -> Any:
    if isinstance(default, bool):
        return False if value == "False" else bool(value)
    if isinstance(default, int):
        return _whole(value)
    if isinstance(default, float):
        return float(value)
    if isinstance(default, tuple):
        items = value.split(",") if isinstance(value, str) else value
        return tuple(str(item).strip() for item in items if str(item).strip())
    return str(value)


def _whole(value: Any) -> int:
    try:
        return int(value)
    except ValueError:
        return int(float(value))


@cache
def _fields_by_key() -> Mapping[str, Field]:
    return {field.name: field for field in fields_of(Settings)}


def _infotext_names() -> Mapping[str, str]:
    return {field.control.infotext.key: field.name for field in fields_of(Settings) if field.control.infotext}


OPTION_INFOTEXT: Mapping[str, str] = _infotext_names()
"""Infotext name → option key ("Clip skip" → `CLIP_stop_at_last_layers`), in the order of the Settings page."""
