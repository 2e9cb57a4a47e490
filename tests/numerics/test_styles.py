"""Styles: merging and finding them again as recorded, and their files."""

from pathlib import Path

import pytest

from schema.errors import OutputError
from schema.styles import Style, StyleLibrary, apply_style, apply_styles, extract_styles, read_styles, remove_style
from tests.numerics.recorded import recorded_cases


def recorded_operation(given):
    if given["op"] == "merge":
        return apply_style(given["style"], given["prompt"])
    if given["op"] == "apply":
        return apply_styles(given["styles"], given["prompt"])
    if given["op"] == "extract_text":
        rest = remove_style(given["style"], given["prompt"])
        return [rest is not None, given["prompt"] if rest is None else rest]
    styles = [
        Style(name=name, prompt=prompt, negative_prompt=negative)
        for name, (prompt, negative) in given["database"].items()
    ]
    return list(extract_styles(styles, given["prompt"], given["negative"]))


@pytest.mark.parametrize(("given", "expected"), recorded_cases("styles"))
def test_styles_act_as_recorded(given, expected):
    assert recorded_operation(given) == expected


def test_a_file_of_the_reference_program_is_read(tmp_path: Path):
    path = tmp_path / "styles.csv"
    path.write_bytes(
        b"\xef\xbb\xbfname,prompt,negative_prompt\r\n"
        b'oil,"oil painting, (thick:1.2)","photo, blurry"\r\n'
        b"#comment,x,y\r\n"
        b'wrap,"a drawing of {prompt}\nink",\r\n'
    )
    assert read_styles(path) == [
        Style(name="oil", prompt="oil painting, (thick:1.2)", negative_prompt="photo, blurry", path=path),
        Style(name="wrap", prompt="a drawing of {prompt}\nink", path=path),
    ]


def test_the_column_of_early_files_is_read(tmp_path: Path):
    path = tmp_path / "styles.csv"
    path.write_text("name,text\nold,some text\n", encoding="utf-8")
    assert read_styles(path) == [Style(name="old", prompt="some text", path=path)]


def test_a_missing_file_holds_no_styles(tmp_path: Path):
    assert StyleLibrary([tmp_path / "styles.csv"]).styles == {}


def test_saved_styles_are_read_back_and_the_file_before_is_kept(tmp_path: Path):
    path = tmp_path / "styles.csv"
    library = StyleLibrary([path])
    library.save(Style(name="a", prompt='say "hi", ünï'))
    library.save(Style(name="b", negative_prompt="x"))
    library.save(Style(name="a", prompt="changed"))
    assert [(style.name, style.prompt) for style in read_styles(path)] == [("a", "changed"), ("b", "")]
    assert [style.prompt for style in read_styles(path.with_name("styles.csv.bak"))] == ['say "hi", ünï', ""]
    assert path.read_bytes().startswith(b"\xef\xbb\xbfname,prompt,negative_prompt\r\n")
    library.delete("a")
    library.delete("never there")
    assert list(StyleLibrary([path]).styles) == ["b"]


def test_styles_of_several_files_stay_in_their_files(tmp_path: Path):
    for name in ("one", "two"):
        StyleLibrary([tmp_path / f"{name}.csv"]).save(Style(name=name, prompt=name))
    library = StyleLibrary([tmp_path / "styles.csv", tmp_path / "o*.csv", tmp_path / "two.csv"])
    assert list(library.styles) == ["one", "two"]
    library.save(Style(name="two", prompt="changed"))
    library.save(Style(name="three"))
    assert [style.prompt for style in read_styles(tmp_path / "two.csv")] == ["changed"]
    assert [style.name for style in read_styles(tmp_path / "styles.csv")] == ["three"]


def test_named_styles_are_applied_in_order_and_unknown_ones_ignored(tmp_path: Path):
    library = StyleLibrary([tmp_path / "styles.csv"])
    library.save(Style(name="a", prompt="{prompt}, ink", negative_prompt="photo"))
    library.save(Style(name="b", prompt="paper"))
    assert library.apply(["b", "None", "a"], "a cat", "") == ("a cat, paper, ink", "photo")
    assert library.extract("a cat, paper, ink", "photo") == (["b", "a"], "a cat", "")


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "styles.csv").mkdir()
    with pytest.raises(OutputError, match=r"styles\.csv"):
        StyleLibrary([tmp_path / "styles.csv"]).save(Style(name="a"))
