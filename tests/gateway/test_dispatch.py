"""The dispatcher's policy: fair between accounts, bounded affinity, nothing starves."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dispatch import PASSED_MAX, Fairness, Slots, Waiting, assign


def waits(generation_id, account_id=1, *, model_id="demo", work=1.0, weight=1, priority=0):
    return Waiting(
        generation_id=generation_id,
        account_id=account_id,
        model_id=model_id,
        work=work,
        weight=weight,
        priority=priority,
    )


def one_slot(**changes):
    return Slots(**{"worker": "w", "free": 1} | changes)


def served(waiting, fairness=None, slots=None):
    """The whole queue, one slot at a time: the order in which generations are served."""
    fairness, left, order = fairness or Fairness(), list(waiting), []
    while left:
        (assignment,) = assign(left, [slots() if slots else one_slot()], fairness)
        order.append(assignment.generation_id)
        left = [item for item in left if item.generation_id != assignment.generation_id]
    return order


def test_one_account_is_served_by_age():
    assert served([waits(1), waits(2), waits(3)]) == [1, 2, 3]


def test_a_single_image_is_not_behind_fifteen_of_another_customer():
    queue = [waits(n) for n in range(1, 16)] + [waits(99, account_id=2)]
    assert served(queue).index(99) <= 1


def test_work_counts_and_not_calls():
    """One call of big work against small ones: the small customer gets several while the big one gets one."""
    queue = [waits(1, work=10), waits(2, work=10)] + [waits(10 + n, account_id=2, work=1) for n in range(10)]
    order = served(queue)
    assert order.index(2) >= 10


def test_a_heavier_plan_gets_its_share():
    queue = [waits(n, account_id=1, weight=3) for n in range(12)] + [waits(100 + n, account_id=2) for n in range(12)]
    first = served(queue)[:8]
    assert sum(generation_id < 100 for generation_id in first) == 6


def test_rest_earns_no_credit():
    fairness = Fairness()
    served([waits(n, account_id=1) for n in range(20)], fairness)
    order = served(
        [waits(50 + n, account_id=2) for n in range(4)] + [waits(80 + n, account_id=1) for n in range(4)], fairness
    )
    assert 80 in order[:3], "the newcomer must not be served all four before the other's first"


def test_priority_goes_first():
    assert served([waits(1), waits(2, priority=5)])[0] == 2


def test_a_worker_gets_what_it_may_serve_only():
    assert assign([waits(1, model_id="flux")], [one_slot(serves=frozenset({"demo"}))], Fairness()) == []


def test_an_owned_worker_serves_its_owner_alone_and_first():
    slots = [one_slot(worker="common"), one_slot(worker="owned", owner_account_id=7)]
    result = {a.generation_id: a.worker for a in assign([waits(1), waits(2, account_id=7)], slots, Fairness())}
    assert result == {1: "common", 2: "owned"}


def test_a_resident_model_may_pass_but_not_for_ever():
    cold = waits(1, account_id=1, model_id="cold")
    warm = [waits(10 + n, account_id=2 + n, model_id="warm") for n in range(60)]
    order = served([cold, *warm], slots=lambda: one_slot(resident=frozenset({"warm"})))
    assert 0 < order.index(1) <= PASSED_MAX


def test_full_slots_take_nothing():
    assert assign([waits(1)], [one_slot(free=0)], Fairness()) == []


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.sampled_from(["a", "b", "c"]), st.floats(0.1, 50), st.integers(1, 5)),
        max_size=40,
    )
)
def test_everything_is_served_exactly_once(items):
    queue = [
        waits(number, account_id=account, model_id=model, work=work, weight=weight)
        for number, (account, model, work, weight) in enumerate(items)
    ]
    order = served(queue, slots=lambda: one_slot(resident=frozenset({"a"})))
    assert sorted(order) == list(range(len(items)))
