# verify SECRET ID TIMESTAMP SIGNATURES < body
verify() {
  age=$(( $(date +%s) - $3 ))
  [ "${age#-}" -le 300 ] || return 1
  key=$(printf %s "${1#whsec_}" | base64 -d | od -An -v -tx1 | tr -d ' \n')
  right=$({ printf '%s.%s.' "$2" "$3"; cat; } |
    openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | base64)
  for given in $4; do
    [ "$given" = "v1,$right" ] && return 0
  done
  return 1
}
