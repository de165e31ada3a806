"""What the operator does from the command line, and the rules between settings."""

import io

import pytest
from django.core.management import CommandError, call_command
from django.core.management.base import SystemCheckError

from accounts.models import User
from billing.checks import payments
from billing.models import LedgerEntry, Wallet
from gateway.models import StaffAction
from tests.support.money import fund, wallet_of


def run(*arguments):
    out = io.StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def staff(db):
    return User.objects.create_user("ops@example.org", is_staff=True)


class TestFunds:
    def adjust(self, alice, *more):
        return run("funds_adjust", str(alice.account.pk), "--by", "ops@example.org", *more)

    def test_a_correction_names_its_reason_and_its_author(self, alice, staff):
        fund(alice.account, 5_000_000)
        self.adjust(alice, "--adjust=-1.25", "--reason", "charged by mistake elsewhere")
        entry = LedgerEntry.objects.latest("id")
        assert (entry.kind, entry.amount_microusd, entry.made_by) == ("adjustment", -1_250_000, staff)
        assert entry.note == "charged by mistake elsewhere"

    def test_a_named_action_is_done_once(self, alice, staff):
        for _ in range(2):
            self.adjust(alice, "--grant", "3", "--reason", "welcome", "--key", "welcome-1")
        assert wallet_of(alice.account).balance_microusd == 3_000_000

    def test_an_invoice_that_was_paid_elsewhere_settles_the_debt(self, alice, staff):
        Wallet.objects.filter(pk=alice.account.pk).update(postpaid_limit_microusd=9_000_000)
        self.adjust(alice, "--adjust=-4", "--reason", "what was drawn")
        for _ in range(2):
            self.adjust(alice, "--invoice", "4", "--reason", "bank transfer of 3 May", "--key", "2026-04")
        assert wallet_of(alice.account).balance_microusd == 0
        entry = LedgerEntry.objects.latest("id")
        assert (entry.kind, entry.op_key, entry.made_by) == ("invoice", "invoice:2026-04", staff)

    @pytest.mark.parametrize(
        "arguments",
        [
            ("--adjust=-1", "--reason", "x"),
            ("--grant", "many", "--reason", "x"),
            ("--grant", "1", "--reason", " "),
            ("--grant=-1", "--reason", "x"),
            ("--invoice", "0", "--reason", "x"),
        ],
    )
    def test_what_cannot_be_is_one_sentence_and_no_entry(self, alice, staff, arguments):
        with pytest.raises(CommandError):
            self.adjust(alice, *arguments)
        assert LedgerEntry.objects.count() == 0

    def test_only_staff_decide(self, alice):
        with pytest.raises(CommandError, match="no member of staff"):
            run("funds_adjust", str(alice.account.pk), "--grant", "1", "--reason", "x", "--by", "alice@example.org")


class TestPlans:
    def assign(self, alice, *more):
        return run("account_plan", str(alice.account.pk), *more, "--reason", "signed", "--by", "ops@example.org")

    def test_the_post_paid_plan_comes_with_its_limit_and_is_recorded(self, alice, staff):
        assert "metered, up to $500.00 a month" in self.assign(alice, "metered", "--limit", "500")
        wallet = wallet_of(alice.account)
        assert (wallet.plan_code, wallet.postpaid_limit_microusd) == ("metered", 500_000_000)
        action = StaffAction.objects.get()
        assert (action.actor, action.reason) == (staff, "signed")
        assert action.after == {"plan": "metered", "postpaid_limit_microusd": 500_000_000}

    @pytest.mark.parametrize(
        "arguments", [("metered",), ("metered", "--limit", "0"), ("gold",), ("metered", "--limit", "x")]
    )
    def test_without_a_limit_or_a_plan_nothing_changes(self, alice, staff, arguments):
        with pytest.raises(CommandError):
            self.assign(alice, *arguments)
        assert wallet_of(alice.account).plan_code == "free"
        assert not StaffAction.objects.exists()


class TestSetUp:
    def test_it_makes_the_prices_once(self, alice, stripe):
        first = run("stripe_setup")
        assert "premium" in first
        assert run("stripe_setup") == first

    def test_without_payments_it_says_so(self, db, settings):
        settings.STRIPE_API_KEY = settings.BILLING_PROVIDER = ""
        with pytest.raises(CommandError, match="not configured"):
            run("stripe_setup")


@pytest.mark.parametrize(
    ("provider", "key", "base", "expected"),
    [
        ("", "", "", []),
        ("sandbox", "", "http://127.0.0.1:8046", []),
        ("sandbox", "sk_live_1", "http://127.0.0.1:8046", ["billing.E002", "billing.W001"]),
        ("sandbox", "", "", ["billing.E003"]),
        ("paypal", "", "", ["billing.E001"]),
        ("stripe", "sk_test_1", "", ["billing.W001"]),
        ("stripe", "rk_live_1", "http://127.0.0.1:1", ["billing.E004", "billing.W001"]),
    ],
)
def test_settings_that_contradict_each_other_are_told(settings, provider, key, base, expected):
    settings.BILLING_PROVIDER, settings.STRIPE_API_KEY, settings.STRIPE_API_BASE = provider, key, base
    settings.STRIPE_WEBHOOK_SECRETS = []
    assert [message.id for message in payments(None)] == expected


@pytest.mark.parametrize("prepare", ["migrate", "dispatcher"])
def test_nothing_starts_on_settings_that_contradict_each_other(db, settings, monkeypatch, prepare):
    monkeypatch.setattr("gateway.management.commands.dispatcher.Dispatcher", lambda: pytest.fail("It started."))
    settings.BILLING_PROVIDER = "paypal"
    with pytest.raises(SystemCheckError, match=r"billing\.E001"):
        call_command(prepare, skip_checks=False)
