<?php
// True when $body was signed with $secret within the last five minutes.
function verify(string $secret, array $headers, string $body): bool
{
    $sent_at = (int) $headers['webhook-timestamp'];
    if (abs(time() - $sent_at) > 300) {
        return false;
    }
    $key = base64_decode(substr($secret, strlen('whsec_')));
    $right = base64_encode(hash_hmac('sha256', "{$headers['webhook-id']}.$sent_at.$body", $key, true));
    foreach (explode(' ', $headers['webhook-signature']) as $part) {
        if (hash_equals("v1,$right", $part)) {
            return true;
        }
    }
    return false;
}
