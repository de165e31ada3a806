-- What a scope has used; changes nothing. KEYS: minute log, queue. ARGV: clock in ms ("" = this server's).
-- Answer: calls of the last minute, queued calls, ms until the oldest call leaves.
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local since = now - 60000
local oldest = redis.call('ZRANGE', KEYS[1], since, '+inf', 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
return {
  redis.call('ZCOUNT', KEYS[1], since, '+inf'),
  redis.call('ZCOUNT', KEYS[2], '(' .. string.format('%.0f', now), '+inf'),
  oldest[2] and oldest[2] + 60001 - now or 60001,
}
