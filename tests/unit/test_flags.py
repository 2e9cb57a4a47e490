"""The command line: A1111's flags are kept, mapped, or warned about."""

import pytest

from schema.accepted_flags import ACCEPTED
from schema.errors import StartupError
from schema.flags import Flags, parse_flags


def parse(line: str, **environment: str) -> Flags:
    return parse_flags(line.split(), environment)[0]


def notices(line: str) -> list[str]:
    return parse_flags(line.split(), {})[1]


def test_nothing_given_gives_loopback_defaults():
    flags = parse("")
    assert flags == Flags()
    assert not flags.listen and not flags.share and flags.port is None


def test_flags_keep_their_names_and_types():
    flags = parse("--listen --port 7900 --ckpt-dir a --ckpt-dir b --vae-dir v --theme dark --timeout-keep-alive 5")
    assert (flags.listen, flags.port, flags.theme, flags.timeout_keep_alive) == (True, 7900, "dark", 5)
    assert [str(folder) for folder in flags.ckpt_dir] == ["a", "b"]
    assert str(flags.vae_dir) == "v"


def test_no_half_means_full_precision():
    assert parse("--no-half").precision == "full"
    assert parse("--precision full").precision == "full"
    assert parse("--precision autocast").precision == "auto"
    assert parse("--no-half-vae").no_half_vae


@pytest.mark.parametrize(
    ("line", "device"),
    [
        ("", "auto"),
        ("--device mps", "mps"),
        ("--use-cpu all", "cpu"),
        ("--use-cpu SD VAE", "cpu"),
        ("--use-cpu", "cpu"),
        ("--use-cpu gfpgan", "auto"),
        ("--always-cpu", "cpu"),
        ("--device-id 1", "cuda:1"),
        ("--use-ipex", "xpu"),
        ("--use-cpu all --device cuda", "cuda"),
    ],
)
def test_device_is_one_name_whichever_flag_says_it(line: str, device: str):
    assert parse(line).device == device


def test_every_accepted_flag_is_read_and_never_fatal():
    for entry in ACCEPTED:
        for name in entry.names.split():
            words = [f"--{name}"] + (["1"] if entry.values == "one" else [])
            _, said = parse_flags(words, {})
            assert len(said) == bool(entry.note), name


def test_safe_unpickle_cannot_be_disabled():
    assert notices("--disable-safe-unpickle") == ["--disable-safe-unpickle is ignored: it is refused for safety."]


def test_unknown_flag_warns_names_the_closest_and_goes_on():
    flags, said = parse_flags(["--lissten", "--made-up=3", "word", "--port", "1234"], {})
    assert flags.port == 1234 and not flags.listen
    assert said[0] == "Unknown flag --lissten is ignored. Closest: --listen."
    assert said[1] == "Unknown flag --made-up=3 is ignored."
    assert "'word'" in said[2]


def test_environment_is_read_and_the_command_line_wins():
    flags = parse("--port 2", COMMANDLINE_ARGS='--port 1 --theme dark --data-dir "my folder"')
    assert (flags.port, flags.theme, str(flags.data_dir)) == (2, "dark", "my folder")


def test_windows_paths_survive_the_environment():
    from schema.flags import _split_words

    assert _split_words(r'--ckpt-dir "C:\my models\a"', windows=True) == ["--ckpt-dir", r"C:\my models\a"]


def test_login_may_come_from_the_environment():
    assert parse("", WEBUI_AUTH="ann:secret").gradio_auth == "ann:secret"
    assert parse("--gradio-auth bob:x", WEBUI_AUTH="ann:secret").gradio_auth == "bob:x"


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--port", "seven"], "seven"),
        (["--port", "70000"], "70000"),
        (["--precision", "some"], "some"),
        (["--data-dir"], "--data-dir"),
    ],
)
def test_unusable_value_is_one_sentence(words: list[str], part: str):
    with pytest.raises(StartupError, match=part) as problem:
        parse_flags(words, {})
    assert "\n" not in str(problem.value)


def test_broken_quotes_in_the_environment_are_one_sentence():
    with pytest.raises(StartupError, match="COMMANDLINE_ARGS"):
        parse_flags([], {"COMMANDLINE_ARGS": '--theme "dark'})


def test_public_flags_hold_no_credentials():
    flags = parse("--gradio-auth ann:secret --api-auth bob:hidden --gradio-auth-path logins.txt --ckpt-dir a")
    public = flags.public()
    assert "secret" not in str(public) and "hidden" not in str(public) and "logins" not in str(public)
    assert public["ckpt_dir"] == ["a"] and public["port"] is None
