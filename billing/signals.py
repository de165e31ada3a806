"""What others may want to know of money as it happens, without billing knowing who they are."""

from django.dispatch import Signal

# In the transaction that notes a fact about spending or a balance: `account_id`, `notice_id`, `facts` (plain values,
# with an "event" and a "message"), `now`.
money_told = Signal()
