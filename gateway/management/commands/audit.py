"""Prove the books: one line per check, the contradicting rows below it, and a failure if there are any."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from gateway.audit import audit


class Command(BaseCommand):
    help = "Check every money invariant that SQL can check; exits non-zero on any difference."

    def handle(self, *args: Any, **options: Any) -> None:
        findings = audit()
        for finding in findings:
            self.stdout.write(f"{'ok  ' if finding.passed else 'FAIL'} {finding.check.name}")
            for row in finding.rows:
                self.stdout.write(f"       {row}")
        differences = sum(len(finding.rows) for finding in findings)
        if differences:
            raise CommandError(f"{differences} differences")
        self.stdout.write("0 differences")
