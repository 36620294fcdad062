"""Text for people on a terminal."""

from test_terminal import in_a_terminal

from autoopt.prose import folded, print_prose

ROW = "  schedule_free_adamw  AdamW's steps for z with the gradient at a point between z and x, which is evaluated"


def test_a_line_continues_below_its_last_column():
    first, *more = folded(ROW, 60).split("\n")
    assert first.startswith("  schedule_free_adamw  AdamW's") and more
    assert all(line.startswith(" " * 23) and line[23] != " " for line in more) and max(map(len, [first, *more])) <= 60
    assert " ".join([first.strip(), *(line.strip() for line in more)]) == ROW.strip()
    assert folded("", 60) == "" and folded("a_word_that_is_longer_than_the_line", 10) == "a_word_that_is_longer_than_the_line"


def test_lines_stay_whole_where_the_output_is_no_terminal(capsys):
    print_prose(f"head\n\n{ROW}")
    assert capsys.readouterr().out == f"head\n\n{ROW}\n"


def test_the_list_of_techniques_breaks_no_word_on_a_terminal():
    lines = in_a_terminal("from autoopt.cli import main; main(['plugins', 'optimizer'])", 80).replace("\r", "").splitlines()
    assert max(map(len, lines)) <= 80 and any(line.startswith(" " * 23) for line in lines)
