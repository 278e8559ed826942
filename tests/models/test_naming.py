import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.naming import Spec, UsageError, near, parse_spec, split_list, value_of

NAME = st.from_regex(r"[a-z][a-z0-9\-]{0,12}", fullmatch=True)
VALUE = st.one_of(
    st.integers(-99, 99), st.booleans(), NAME.filter(lambda text: text not in ("true", "false", "inf", "nan"))
)
PARAMS = st.dictionaries(NAME, VALUE, max_size=3).map(lambda d: tuple(sorted(d.items())))
SPECS = st.recursive(st.builds(Spec, NAME, PARAMS), lambda inner: st.builds(Spec, NAME, PARAMS, inner), max_leaves=3)


@given(SPECS)
def test_a_specification_survives_writing_and_reading(spec):
    assert parse_spec(str(spec)) == spec


@given(st.lists(SPECS, min_size=1, max_size=4))
def test_a_list_is_split_only_outside_brackets(specs):
    assert split_list(", ".join(map(str, specs))) == [str(spec) for spec in specs]


def test_the_order_of_parameters_does_not_matter():
    assert parse_spec("lrp[beta=1,alpha=2]") == parse_spec("lrp[ alpha=2, beta=1 ]")


@pytest.mark.parametrize("text", ["", "a[b", "a(b", "a[b]", "a[b=1,b=2]", "a)b", "a[=1]", "a(b)c"])
def test_ill_formed_text_is_a_usage_error(text):
    with pytest.raises(UsageError):
        parse_spec(text)


def test_values_keep_their_type():
    assert [value_of(v) for v in ("7", "0.5", "True", "blur", "inf", "nan")] == [7, 0.5, True, "blur", "inf", "nan"]


def test_near_names():
    assert "saliency" in near("salency", ["saliency", "gradcam"])
    assert near("zzzz", ["saliency"]) == ""
