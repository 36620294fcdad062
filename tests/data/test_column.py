"""The type of a column, by its training part, and what a cell of that type may be."""

import datetime
from decimal import Decimal

import numpy as np
import pandas
import pytest
import torch

from autoopt.data.column import Column
from autoopt.data.files import declared_schema
from autoopt.data.learn_column import Schema, learn_column
from autoopt.data.table import Columns, Table, encode_columns
from autoopt.errors import BadInput

DATE, DAY = datetime.date(2020, 3, 1), 18322


def column_of(values, name="a", **schema) -> Column:
    column = pandas.Series(values, name=name)
    return learn_column(column, np.arange(len(column)), True, Schema(**schema))


def numbers(values, how: Column) -> list[float]:
    return how.readings(pandas.Series(values))[0].tolist()


@pytest.mark.parametrize(
    ("values", "kind", "first"),
    [
        (["1.5", "2", "-3e2"], "number", 1.5),
        (["1,5", "2", "1.000,25"], "number", 1.5),
        (["1,234.5", "2", "3"], "number", 1234.5),
        (["1.234", "0.5", "2"], "number", 1.234),
        (["1.234", "2.500,5", "3"], "number", 1234),
        (["1 234", "2 000 000", "3"], "number", 1234),
        (["1.234.567", "2.000", "3"], "number", 1234567),
        (["1'234.5", "2", "3"], "number", 1234.5),
        (["$1,230.00", "$5.10", "$3"], "number", 1230),
        (["12 %", "5 %", "7.5 %"], "number", 12),
        ([Decimal("5.45"), Decimal("1"), None], "number", 5.45),
        (["True", "False", "true"], "truth value", 1),
        (["2020-03-01", "2021-01-01", "2022-12-31"], "date", DAY),
        (["01.03.2020", "31.12.2020", "05.06.2020"], "date", DAY),
        (["3/1/2020", "12/31/2020", "5/6/2020"], "date", DAY),
        (["1/3/2020", "31/12/2020", "5/6/2020"], "date", DAY),
        (["1 Mar 2020", "31 Dec 2020", "5 Jun 2020"], "date", DAY),
        (["2020/03/01 12:00", "2020/03/02 13:00", "2020/04/01 06:00"], "date", DAY + 0.5),
        (["2020-03-01T02:00+02:00", "2020-03-02T13:00Z", "2020-04-01"], "date", DAY),
        ([DATE, DATE, None], "date", DAY),
        (pandas.period_range("2020-03", periods=3, freq="M"), "date", DAY),
        (["12:30", "06:00", "23:59"], "time", 45000),
        ([datetime.time(12, 30), datetime.time(6), datetime.time(1)], "time", 45000),
        (pandas.to_timedelta(["1 days 00:00:01", "0 days", "-1 days"]), "time", 86401),
        ([datetime.timedelta(days=1, seconds=1), datetime.timedelta(0), datetime.timedelta(days=-1)], "time", 86401),
        (pandas.array([1, None, 3], dtype="Int64"), "number", 1),
        (pandas.array([True, None, False], dtype="boolean"), "truth value", 1),
    ],
)
def test_types_and_how_they_are_written_are_told(values, kind, first):
    how = column_of(values)
    assert how.type == kind and numbers(values, how)[0] == first
    assert Column.of(how.described()) == how


@pytest.mark.parametrize("values", [["01234", "90210", "10001"], ["007", "008", "009"], ["01022020", "11022020", "12022020"]])
def test_codes_with_leading_zeros_are_categories(values):
    assert column_of(values).type == "category"
    assert column_of(values, types={"a": "number"}).type == "number"


def test_numbers_without_marks_are_no_dates_unless_they_are_said_to_be():
    values = ["20200301", "20201231", "20200606"]
    assert column_of(values).type == "number" and column_of(["2020", "2021", "2022"]).type == "number"
    assert numbers(values, column_of(values, types={"a": "date"}))[0] == DAY


@pytest.mark.parametrize("word", ["?", "n/a", "error", "12 %", "-", "unknown"])
def test_a_few_unreadable_cells_among_numbers_are_gaps_and_told(word):
    values = [f"{n}.5" for n in range(60)]
    values[7] = values[52] = word
    how = column_of(values)
    assert how.type == "number" and how.indicator and how.fill == 30
    assert np.isnan(numbers([word], how)).all()
    assert how.note == ("" if word == "n/a" else f"column 'a': 2 cells cannot be read as a number and count as missing; "
                        f"the first is '{word}' in 7")  # fmt: skip


def test_many_gaps_by_few_words_are_gaps_too():
    how = column_of(["?" if n % 3 else str(n) for n in range(90)])
    assert how.type == "number" and how.indicator and "60 cells" in how.note
    assert column_of(["low" if n % 2 else str(n % 5) for n in range(90)]).type == "category"


def test_what_the_held_out_parts_hold_decides_no_type():
    values = pandas.Series([*map(str, range(50)), "error", "2020-01-01", "12,5"], name="a")
    how = learn_column(values, np.arange(50), True, place=lambda row: f"row {row + 1}")
    assert how.type == "number" and not how.indicator and how.gaps == ()
    assert how.note == "column 'a': 3 cells cannot be read as a number and count as missing; the first is 'error' in row 51"
    late = learn_column(pandas.Series(["u", "v", "w"] * 10 + ["1", "2"], name="a"), np.arange(30), True)
    assert late.type == "category" and late.levels == ("u", "v", "w")


def test_words_for_gaps_can_be_added_and_taken_away():
    assert column_of(["x", "unknown", "y", "x"], gaps=frozenset(["", "unknown"])).levels == ("x", "y")
    assert column_of(["x", "NA", "y"]).levels == ("x", "y")
    assert column_of(["x", "NA", "y", ""], types={"a": "category"}).levels == ("NA", "x", "y")
    assert column_of(["x", "NA", "y", ""], gaps=frozenset([""])).levels == ("NA", "x", "y")


def test_a_type_that_no_cell_has_is_refused():
    with pytest.raises(BadInput, match="column 'a' cannot be a number, as no cell of the training part can be read as one"):
        column_of(["u", "v"], types={"a": "number"})


@pytest.mark.parametrize(
    ("values", "kind", "why"),
    [
        ([f"word{n}" for n in range(30)], "category", "every value is different"),
        ([[1, 2]] * 3, "number", "it holds lists"),
        (["", "NA", None], "date", "it is empty in the training part"),
    ],
)
def test_a_column_whose_type_is_declared_is_refused_rather_than_left_out(values, kind, why):
    assert column_of(values).ignored == why
    with pytest.raises(BadInput, match=rf"column 'a' is of no use as a {kind}: {why}; leave it out \(drop=\[a\]\)$"):
        column_of(values, types={"a": kind})
    assert column_of(values, types={"a": kind}, drop=frozenset("a")).ignored == "as asked"


def test_a_constant_column_and_a_small_category_of_distinct_values_are_inputs():
    assert column_of(["x"] * 30, types={"a": "category"}).levels == ("x",) and not column_of(["1"] * 30, types={"a": "number"}).ignored
    assert len(column_of([f"word{n}" for n in range(20)], types={"a": "category"}).levels) == 20


@pytest.mark.parametrize("name", ["id", "ID", "customer_id", "PassengerId", "Unnamed: 0", "userid"])
def test_identifiers_are_left_out_unless_they_are_asked_for(name):
    values = [*range(100, 160)]
    assert column_of(values, name).ignored == "every value is different, an identifier"
    assert column_of(list(map(str, values)), name).ignored and not column_of(values, name, types={name: "number"}).ignored
    assert not column_of([v // 2 for v in values], name).ignored and not column_of([v + 0.5 for v in values], name).ignored


def test_a_year_and_an_amount_are_no_identifiers():
    assert not column_of([*range(1950, 2010)], "year").ignored
    assert not column_of([n * n for n in range(50)], "paid").ignored


@pytest.mark.parametrize(
    ("value", "what"), [([1, 2], "lists"), (np.ones(2), "lists"), ({"x": 1}, "mappings"), (b"abc", "bytes"), (1j, "complex numbers")]
)
def test_what_is_no_cell_is_left_out_by_name(value, what):
    found = Table(pandas.DataFrame({"a": [value] * 3, "x": [1, 2, 4]})).encoded(torch.arange(3), (), True)
    assert found.notes == (f"columns left out: 'a' (it holds {what})",) and found.inputs.tolist() == [[1], [2], [4]]
    assert Table(pandas.DataFrame({"a": [value] * 3})).content() and Table(pandas.DataFrame({"self": [value] * 3})).content()


def test_dates_give_their_parts_as_far_as_they_vary():
    how = column_of(["2020-03-01 10:00", "2020-03-02 11:00", "2020-04-01 11:00"])
    assert how.parts == ("month", "weekday", "hour") and how.treatment == "days since 1970, month, weekday, hour"
    assert [part.tolist() for part in how.encoded(pandas.Series(["2021-12-26 23:30", None]))][1:] == [[12, 3], [6, 0], [23, 11]]


def test_the_format_of_dates_is_told_by_all_of_them():
    hours = pandas.date_range("2020-02-01", periods=1000, freq="h").strftime("%d/%m/%Y %H:%M")  # 288 of them are dates in both orders
    how = column_of(hours)
    assert (how.type, how.style.format) == ("date", "%d/%m/%Y %H:%M") and not how.note


def test_large_numbers_keep_their_differences():
    frame = pandas.DataFrame({"jd": 2459000 + np.arange(4) / 1e5, "s": 1_700_000_000 + np.arange(4), "t": ["1700000000.25"] * 4})
    found = Table(frame).encoded(torch.arange(4), (), True).inputs
    assert found.dtype == torch.float64 and found[:, :2].unique(dim=0).shape == (4, 2) and found[0, 2] == 1700000000.25


# ---------------------------------------------------------------------------------------------------------- rows after training


def learnt_table(frame: dict) -> list[dict]:
    table = pandas.DataFrame(frame)
    return Table(table).encoded(torch.arange(len(table)), (), True).words["columns"]


TRAINED = {
    "day": ["2020-01-01", "2020-01-02", "2020-01-03"],
    "member": ["True", "False", "True"],
    "amount": ["2,164.89", "5", "7"],
    "plain": ["1.5", "2.5", "4"],
    "floor": pandas.Series([1.0, 2.0, np.nan]).astype("Int64").astype("category"),
}
ROW = {"day": "2020-01-02", "member": "False", "amount": "5", "plain": "2.5", "floor": 2}


@pytest.mark.parametrize(
    "change",
    [
        {"day": datetime.date(2020, 1, 2)},
        {"day": pandas.Timestamp("2020-01-02", tz="UTC")},
        {"day": datetime.datetime(2020, 1, 2)},
        {"day": np.datetime64("2020-01-02")},
        {"member": False},
        {"member": "false"},
        {"member": 0},
        {"amount": 5},
        {"amount": Decimal("5.00")},
        {"amount": "5.0"},
        {"floor": 2.0},
        {"floor": "2"},
    ],
)
def test_the_same_value_in_another_form_is_the_same(change):
    columns = learnt_table(TRAINED)
    alone = encode_columns(pandas.DataFrame([ROW | change]), columns)
    assert torch.equal(alone, encode_columns(pandas.DataFrame([ROW]), columns))
    among = encode_columns(pandas.DataFrame([ROW | change, dict.fromkeys(ROW), ROW | {"floor": 1}, ROW | {"amount": "2,000"}]), columns)
    assert torch.equal(among[:1], alone)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"day": "2022-13-45"}, r"column 'day', row 2: '2022-13-45' is not a date$"),
        ({"day": "29/06/2023"}, r"column 'day', row 2: '29/06/2023' is not a date$"),
        ({"day": 20200102}, r"column 'day', row 2: 20200102 is not a date$"),
        ({"member": "no"}, r"column 'member', row 2: 'no' is neither True nor False$"),
        ({"member": 2}, r"column 'member', row 2: 2 is neither True nor False$"),
        ({"plain": "2,164.89"}, r"column 'plain', row 2: '2,164.89' is not a number$"),
        ({"plain": "3,5"}, r"column 'plain', row 2: '3,5' is not a number$"),
        ({"amount": "1,2"}, r"column 'amount', row 2: '1,2' is not a number \(thousands ','\)$"),
        ({"plain": True}, r"column 'plain', row 2: True is not a number$"),
        ({"plain": [1]}, r"column 'plain', row 2: \[1\] is not a number$"),
        ({"plain": "error"}, r"column 'plain', row 2: 'error' is not a number$"),
        ({"plain": np.inf}, r"column 'plain', row 2: inf is infinite$"),
    ],
)
def test_what_cannot_be_read_is_refused_by_column_row_and_value(change, said):
    with pytest.raises(BadInput, match=said):
        encode_columns(pandas.DataFrame([ROW, ROW | change]), learnt_table(TRAINED))


def test_gaps_of_every_kind_are_gaps_after_training():
    columns = learnt_table(TRAINED)
    wanted = encode_columns(pandas.DataFrame([ROW | {"day": None, "member": None, "plain": None}]), columns)
    for gap in (np.nan, pandas.NA, pandas.NaT, "", "NA", "n/a"):
        assert torch.equal(encode_columns(pandas.DataFrame([ROW | {"day": gap, "member": gap, "plain": gap}]), columns), wanted)


def test_an_unknown_level_is_none_of_those_known():
    columns = learnt_table({"c": ["1", "2", "x"]})
    assert encode_columns(pandas.DataFrame({"c": [1.0, "1", "y", 3]}), columns).tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_a_number_is_the_level_that_is_written_otherwise():
    """As pandas reads a file with codes: 007 as 7, and as 7.0 where there are gaps."""
    columns = learnt_table({"c": ["007", "010", "x", "01.0"]})  # sorted: 007, 01.0, 010, x
    for value, code in [(7, 0), (7.0, 0), ("7", None), ("007", 0), (10, 2), (1, 1), (1.0, 1), (11, None), (True, None)]:
        wanted = [float(n == code) for n in range(4)]
        for others in ([], ["x"], [None]):
            assert encode_columns(pandas.DataFrame({"c": [value, *others]}), columns)[0].tolist() == wanted, (value, others)
    twice = learnt_table({"c": ["07", "007", "08"]})
    assert encode_columns(pandas.DataFrame({"c": [7.0, 8.0]}), twice).tolist() == [[0, 0, 0], [0, 0, 1]]
    users = learnt_table({"u": pandas.Categorical([str(10**17), "03"])})
    assert encode_columns(pandas.DataFrame({"u": [10**17 + 1, 3]}), users).tolist() == [[0, 0], [1, 0]]


def test_columns_may_be_named_by_numbers_but_only_once():
    columns = learnt_table({"0": [1.5, 2], "1": ["u", "v"]})
    assert encode_columns(pandas.DataFrame([[1.5, "u"]]), columns).tolist() == [[1.5, 1, 0]]
    with pytest.raises(BadInput, match="the table has several columns '0'"):
        encode_columns(pandas.DataFrame([[1.5, "u", 1]], columns=["0", "1", 0]), columns)


@pytest.mark.slow
def test_a_split_reads_columns_as_the_inputs_are_read():
    frame = pandas.DataFrame({"day": [DATE, None], "eu": ["31.12.2020", "05.06.2020"], "zip": ["01", "02"], "n": ["1,5", "2"]})
    columns = Columns(Table(frame))
    assert columns["day"][0] == DAY and np.isnan(columns["day"][1]) and columns["eu"][0] > columns["eu"][1]
    assert columns["zip"].tolist() == ["01", "02"] and columns["n"].tolist() == [1.5, 2]


@pytest.mark.parametrize(
    ("texts", "form", "other"),
    [
        (["01/02/2024", "03/04/2024", "?", "05/05/2024"], "%m/%d/%Y", "%d/%m/%Y"),
        (["01-02-2024 10:00", "03-04-2024 11:30"], "%d-%m-%Y %H:%M", "%m-%d-%Y %H:%M"),
        (["01/02/2024", "13/04/2024"], "%d/%m/%Y", ""),
        (["01/01/2024", "05/05/2024"], "%m/%d/%Y", ""),
        (["01.02.2024", "03.04.2024"], "%d.%m.%Y", ""),
        (["2024-01-02", "2024-03-04"], "ISO8601", ""),
    ],
)
def test_dates_that_can_be_read_in_two_ways_are_told(texts, form, other):
    column = pandas.Series(texts * 20, name="day")
    learnt = learn_column(column, np.arange(len(column)), embed=False)
    told = f"column 'day': dates such as {texts[0]} are read as {form}, and could be {other}; types=[day:{other}] reads them so"
    assert (learnt.type, learnt.style.format) == ("date", form)
    assert (told in learnt.note) if other else not learnt.note


def test_the_format_of_dates_is_declared():
    column = pandas.Series(["01/02/2024", "03/04/2024"] * 9, name="day")
    learnt = learn_column(column, np.arange(18), embed=False, schema=declared_schema("data.csv", ["day:%d/%m/%Y"], None, None))
    assert learnt.type == "date" and not learnt.note
    assert learnt.encoded(column)[0][0] == (pandas.Timestamp("2024-02-01") - pandas.Timestamp(0)).days
    with_clock = declared_schema("data.csv", ["a:b:%d/%m/%Y %H:%M", "zip:category"], None, None)
    assert with_clock.formats == {"a:b": "%d/%m/%Y %H:%M"} and with_clock.types == {"zip": "category", "a:b": "date"}
    with pytest.raises(BadInput, match=r"^data\.csv\.types: 'day:%q' is no format of dates, such as %d/%m/%Y or %Y-%m-%d %H:%M$"):
        declared_schema("data.csv", ["day:%q"], None, None)


def test_dates_of_the_split_are_told_too():
    table = Table(pandas.DataFrame({"day": ["01/02/2024", "03/04/2024"] * 9, "x": range(18)}))
    assert "could be %d/%m/%Y" in table.encoded(torch.arange(18), {"day"}, embed=False).notes[0]


def test_dates_of_the_split_are_told_as_it_reads_them_by_all_rows():
    table = Table(pandas.DataFrame({"day": [*["01/02/2024", "03/04/2024"] * 9, "25/12/2024"], "x": range(19)}))
    notes = table.encoded(torch.arange(18), {"day"}, embed=False).notes
    assert not any("could be" in note for note in notes) and Columns(table)["day"][0] == Columns(table)["day"][2]


def test_a_few_texts_in_a_column_of_numbers_are_groups_and_no_gaps():
    texts = [*map(str, range(40)), "7b", ""]
    groups = Columns(Table(pandas.DataFrame({"who": texts})))["who"]
    assert groups[:41].tolist() == texts[:41] and groups[41] != groups[41]


@pytest.mark.parametrize("kind", ["str", "int64", "Int64", "object", "category"])
def test_a_split_tells_long_identifiers_apart(kind):
    users = pandas.Series([10**18 + n for n in range(5)]).astype(kind)
    assert len(set(Columns(Table(pandas.DataFrame({"user": users})))["user"].tolist())) == 5


def test_a_column_that_was_made_the_index_is_encoded_too():
    columns = learnt_table({"c": ["u", "v"], "x": [1.5, 2]})
    rows = pandas.DataFrame({"c": ["v"], "x": [2.5]})
    assert torch.equal(encode_columns(rows.set_index("c"), columns), encode_columns(rows, columns))
    assert torch.equal(encode_columns(rows.set_axis(pandas.Index([7], name="x")), columns), encode_columns(rows, columns))
