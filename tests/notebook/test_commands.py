from __future__ import annotations

import pytest

from workbench.notebook.commands import FLAGS, VERBS, Command, Misuse, help_text, pairs, parse


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("", Command("models")),
        ("  models  # all of them", Command("models")),
        ("load digits clf", Command("load", "digits", "clf")),
        ("load m my model.onnx", Command("load", "m", "my model.onnx")),
        ("load m 'my model.onnx'", Command("load", "m", "'my model.onnx'")),
        ("load m o'hara.onnx --force", Command("load", "m", "o'hara.onnx", {"--force": ""})),
        (
            "load p make_pipeline(StandardScaler(), clf).fit(X, y) --max-batch 8 --sample X[:100, :]",
            Command(
                "load",
                "p",
                "make_pipeline(StandardScaler(), clf).fit(X, y)",
                {"--max-batch": "8", "--sample": "X[:100, :]"},
            ),
        ),
        ("load --device=cpu m clf", Command("load", "m", "clf", {"--device": "cpu"})),
        ("route m v2 --for team-a", Command("route", "m", "v2", {"--for": "team-a"})),
        ("predict m X[0:5,  :]", Command("predict", "m", "X[0:5,  :]")),
        ("predict m a  +  b", Command("predict", "m", "a  +  b")),
        ("predict m {'a b': [1, 2]} --version 2", Command("predict", "m", "{'a b': [1, 2]}", {"--version": "2"})),
        ("predict m f(x, '--version')", Command("predict", "m", "f(x, '--version')")),
        ("predict m x - 1", Command("predict", "m", "x - 1")),
        ("predict m s['#1'] # first", Command("predict", "m", "s['#1']")),
        ("set m max_batch=8 delay=5ms", Command("set", "m", "max_batch=8 delay=5ms")),
        ("logs --lines 5", Command("logs", flags={"--lines": "5"})),
        ("help load", Command("help", rest="load")),
        ("help", Command("help")),
        ("--help", Command("help")),
        ("load --help", Command("help", rest="load")),
        ("load -h", Command("help", rest="load")),
        ("load m clf --help", Command("help", rest="load")),
        ("predict m x -h", Command("predict", "m", "x -h")),
        ("predict m X -o p --bg", Command("predict", "m", "X", {"-o": "p", "--bg": ""})),
        ("predict m -o=p a -b", Command("predict", "m", "a -b", {"-o": "p"})),
    ],
)
def test_a_line_is_read(line: str, command: Command) -> None:
    assert parse(line) == command


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("predict m", Command("predict", "m")),
        ("predict m --bg -o job  # go on", Command("predict", "m", "", {"--bg": "", "-o": "job"})),
        ("load m --sample X[:5]", Command("load", "m", "", {"--sample": "X[:5]"})),
        ("predict --help", Command("help", rest="predict")),
    ],
)
def test_the_first_line_of_a_cell_is_read(line: str, command: Command) -> None:
    assert parse(line, cell=True) == command


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "%%infer takes load, predict or function, and a name"),
        ("models", "%%infer takes load, predict or function, and a name; models goes with %infer"),
        ("predict", "predict needs a model's name: %infer predict NAME"),
        ("predict m X", "in a %%infer cell the last expression is the EXPR; take 'X' off the line"),
        ("load m clf", "in a %%infer cell the last expression is the SOURCE; take 'clf' off the line"),
    ],
)
def test_the_first_line_of_a_cell_that_cannot_be_read_is_one_line(line: str, says: str) -> None:
    with pytest.raises(Misuse) as caught:
        parse(line, cell=True)
    assert str(caught.value).startswith(says)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("lod m x", "there is no verb 'lod', did you mean load; the verbs are load, predict"),
        ("load", "load needs a model's name: %infer load NAME SOURCE"),
        ("load m", "load m needs SOURCE: %infer load NAME SOURCE"),
        ("load m clf --devise cpu", "load has no flag --devise, did you mean --device"),
        ("load m clf --max-batch", "--max-batch needs a value, ROWS"),
        ("load m clf --max-batch --force", "--max-batch needs a value, ROWS"),
        ("load m clf --force=yes", "--force takes no value"),
        ("models extra", "models does not take 'extra'"),
        ("show a b", "show does not take 'b'"),
        ("unload", "unload needs a model's name"),
        ("set m", "set m needs KEY=VALUE"),
        ("help lod", "there is no verb 'lod'"),
        ("status --version 1", "status has no flag --version"),
    ],
)
def test_misuse_is_one_line_that_says_what_to_type(line: str, says: str) -> None:
    with pytest.raises(Misuse) as caught:
        parse(line)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_pairs_are_read_with_or_without_quotes() -> None:
    assert pairs("max_batch=8 delay='5 ms' batching=\"never\"") == {
        "max_batch": "8",
        "delay": "5 ms",
        "batching": "never",
    }
    for wrong in ("max_batch", "=8", "max_batch="):
        with pytest.raises(Misuse, match="KEY=VALUE"):
            pairs(wrong)


def test_help_names_every_verb_and_each_tells_its_flags() -> None:
    everything = "\n".join(help_text())
    for verb in VERBS.values():
        assert verb.name in everything
        assert verb.summary in everything
        for line, (flag, value) in zip(help_text(verb.name)[2:], verb.flags.items(), strict=True):
            assert line.split()[0] == flag
            assert value in line
            assert FLAGS[flag] in line
