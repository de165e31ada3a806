"""The ledger: append-only, once per key, balance and rows together."""

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from billing import ledger
from billing.errors import LedgerConflict
from billing.models import EntryKind, LedgerEntry, Wallet
from tests.support.money import fund, wallet_of


def post(account, **changes):
    fields = {"kind": EntryKind.GRANT, "amount_microusd": 1_000, "op_key": "grant:1"} | changes
    with transaction.atomic():
        return ledger.entry_post(account_id=account.pk, now=timezone.now(), **fields)


def test_an_entry_moves_the_balance_with_it(alice):
    assert post(alice.account)
    assert wallet_of(alice.account).balance_microusd == 1_000


def test_posting_twice_posts_once(alice):
    post(alice.account)
    assert not post(alice.account)
    assert wallet_of(alice.account).balance_microusd == 1_000
    assert LedgerEntry.objects.count() == 1


def test_the_same_key_with_another_amount_is_a_conflict(alice):
    post(alice.account)
    with pytest.raises(LedgerConflict):
        post(alice.account, amount_microusd=2_000)
    assert wallet_of(alice.account).balance_microusd == 1_000


def test_entries_never_change_through_the_orm(alice):
    post(alice.account)
    with pytest.raises(TypeError):
        LedgerEntry.objects.update(amount_microusd=5)
    with pytest.raises(TypeError):
        LedgerEntry.objects.filter(op_key="grant:1").delete()
    with pytest.raises(TypeError):
        LedgerEntry.objects.get().delete()


@pytest.mark.parametrize(
    "statement", ["UPDATE billing_ledgerentry SET amount_microusd = 5", "DELETE FROM billing_ledgerentry"]
)
def test_entries_never_change_through_sql_either(alice, statement):
    post(alice.account)
    with pytest.raises(DatabaseError, match="never change"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert LedgerEntry.objects.get().amount_microusd == 1_000


def test_a_wallet_cannot_be_overspent_even_by_hand(alice):
    fund(alice.account, 1_000)
    with pytest.raises(DatabaseError), transaction.atomic():
        Wallet.objects.filter(pk=alice.account.pk).update(held_microusd=1_001)


@pytest.mark.django_db(transaction=True)
def test_the_ledger_writes_only_inside_a_transaction(alice):
    with pytest.raises(transaction.TransactionManagementError):
        ledger.entry_post(
            account_id=alice.account.pk, kind=EntryKind.GRANT, amount_microusd=1, op_key="x", now=timezone.now()
        )
