"""Tolerant reading: the spellings of values, and faults told together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.fields import Fields, as_list, as_number, as_whole, echo, is_absent


@pytest.mark.parametrize("value", [None, "", "  ", "null", "NULL", "none", "None", " null ", [], {}])
def test_absent_is_said_in_many_ways(value):
    assert is_absent(value)
    assert Fields({"seed": value}).value("seed") is None


@pytest.mark.parametrize("value", ["nothing", 0, False, "0", "no", [None], "null and void"])
def test_a_value_is_not_absent_only_because_it_is_small(value):
    assert not is_absent(value)


@pytest.mark.parametrize("value", [512, "512", 512.0, "512.0", " 512 "])
def test_numbers_come_as_texts(value):
    assert Fields({"width": value}).whole("width", default=1, low=0, high=1000) == 512
    assert Fields({"width": value}).number("width", default=1.0, low=0, high=1000) == 512.0


@pytest.mark.parametrize("value", [True, "yes", "true", "1", 1, "on", "YES", " Yes ", "y"])
def test_yes_is_said_in_many_ways(value):
    assert Fields({"temp": value}).flag("temp", default=False) is True


@pytest.mark.parametrize("value", [False, "no", "false", "0", 0, "off", "No"])
def test_no_is_said_in_many_ways(value):
    assert Fields({"temp": value}).flag("temp", default=True) is False


@pytest.mark.parametrize("value", ["abc", "1.5", 1.5, True, [1], {"a": 1}, "12px", float("inf"), "nan", "9" * 5000])
def test_what_is_no_whole_number_is_a_fault_that_names_field_and_value(value):
    fields = Fields({"steps": value})
    assert fields.whole("steps", default=20, low=1, high=50) == 20
    (fault,) = fields.faults
    assert (fault.field, fault.code) == ("steps", "invalid")
    assert fault.message.startswith("steps must be a whole number, not ")


def test_a_number_out_of_range_is_brought_into_it_and_told():
    fields = Fields({"steps": "90"})
    assert fields.whole("steps", default=20, low=1, high=50) == 50
    assert fields.faults == []
    assert fields.adjusted == [{"field": "steps", "asked": 90, "used": 50, "why": "steps is at most 50"}]


def test_the_first_name_that_is_there_counts():
    fields = Fields({"num_inference_steps": "null", "steps": 7})
    assert fields.whole("num_inference_steps", "steps", default=20, low=1, high=50) == 7


def test_a_choice_names_what_there_is():
    fields = Fields({"type": "sepia"})
    assert fields.choice("type", default="blur", choices=("blur", "black")) == "blur"
    assert fields.faults[0].message == "type must be one of black, blur, not 'sepia'."
    assert fields.faults[0].limit == ["black", "blur"]


def test_a_text_that_is_too_long_names_the_limit_and_is_not_echoed_whole():
    fields = Fields({"prompt": "x" * 500})
    fields.text("prompt", chars_max=100)
    told = fields.faults[0].to_dict()
    assert (told["code"], told["limit"]) == ("too_long", 100)
    assert len(told["value"]) < 100


def test_lists_come_as_json_or_between_commas():
    assert as_list("a, b,,null") == ["a", "b"]
    assert as_list(["a", " b ", None]) == ["a", "b"]
    assert as_list(3) == [3]
    assert Fields({"s": "0.5,0.7"}).numbers("s", low=0, high=2) == [0.5, 0.7]


def test_an_error_never_shows_a_structure_a_file_or_a_monster():
    assert echo({"key": "secret"}) == "a structure"
    assert echo(b"bytes") == "a file"
    assert echo(10**30) == "1e+30"
    assert echo(10**400) == "a huge number"


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists))
def test_no_value_whatever_breaks_the_reader(value):
    fields = Fields({"x": value})
    fields.text("x", chars_max=10)
    fields.whole("x", default=1, low=0, high=9)
    fields.number("x", default=1.0, low=0, high=9)
    fields.numbers("x", low=0, high=9)
    fields.flag("x", default=False)
    fields.choice("x", default="a", choices=("a",))
    assert as_whole(value) is None or isinstance(as_whole(value), int)
    assert as_number(value) is None or isinstance(as_number(value), float)
