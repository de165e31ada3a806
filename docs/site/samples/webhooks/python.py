import base64
import hashlib
import hmac
import time


def verify(secret, headers, body):
    """True when `body` (bytes) was signed with `secret` within the last five minutes."""
    sent_at = int(headers["webhook-timestamp"])
    if abs(time.time() - sent_at) > 300:
        return False
    signed = f"{headers['webhook-id']}.{sent_at}.".encode() + body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    right = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    given = [part.partition(",")[2] for part in headers["webhook-signature"].split(" ")]
    return any(hmac.compare_digest(right, signature) for signature in given)
