-- Admit one call under the limits of several scopes, all or nothing.
-- KEYS: for each scope its minute log and its queue, and at the end when counting began. ARGV: token, lease in ms,
-- clock in ms ("" = this server's), retry hint of a full queue in ms, then per scope its limit per minute and its
-- queued limit (-1 = no such limit).
-- Answer: allowed, index of the telling scope, what refused (0 nothing, 1 minute, 2 queued), limit, remaining,
-- ms until `remaining` grows, ms since counting began.
local LEAVES_AFTER = 60001
local token, lease, queued_retry = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[4])
local now = tonumber(ARGV[3])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

-- A server that was emptied, or whose clock was set back, counts from now on.
local began = tonumber(redis.call('GET', KEYS[#KEYS]))
if not began or began > now then
  began = now
  redis.call('SET', KEYS[#KEYS], string.format('%.0f', now))
end

local function leaves_in(log, position)
  local entry = redis.call('ZRANGE', log, position, position, 'WITHSCORES')
  return entry[2] and entry[2] + LEAVES_AFTER - now or LEAVES_AFTER
end

-- After the clock was set back, entries of the future would refuse until it catches up: they count from now on.
local function heal(log)
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', log, '(' .. string.format('%.0f', now), '+inf')) do
    redis.call('ZADD', log, now, member)
  end
end

-- A limit that already counts this call (an admission repeated after a lost answer) lets it pass and counts no more.
local scopes, answer = {}, nil
for i = 1, (#KEYS - 1) / 2 do
  local one = {log = KEYS[2 * i - 1], queue = KEYS[2 * i], used = 0,
               minute = tonumber(ARGV[3 + 2 * i]), queued = tonumber(ARGV[4 + 2 * i])}
  if one.minute >= 0 then
    redis.call('ZREMRANGEBYSCORE', one.log, '-inf', now - LEAVES_AFTER)
    one.used = redis.call('ZCARD', one.log)
    one.logged = redis.call('ZSCORE', one.log, token)
    if not one.logged and one.used >= one.minute then
      heal(one.log)
      local wait = leaves_in(one.log, one.used - one.minute)
      if not answer or wait > answer[6] then answer = {0, i, 1, one.minute, 0, wait} end
    end
  end
  if one.queued >= 0 then
    redis.call('ZREMRANGEBYSCORE', one.queue, '-inf', now)
    one.waits = redis.call('ZSCORE', one.queue, token)
    if not one.waits and redis.call('ZCARD', one.queue) >= one.queued then
      if not answer or queued_retry > answer[6] then answer = {0, i, 2, one.queued, 0, queued_retry} end
    end
  end
  scopes[i] = one
end

if not answer then
  answer = {1, 1, 0, -1, -1, 0}
  for i, one in ipairs(scopes) do
    if one.minute >= 0 then
      if not one.logged then
        redis.call('ZADD', one.log, now, token)
        redis.call('PEXPIRE', one.log, 2 * LEAVES_AFTER)
        one.used = one.used + 1
      end
      local remaining = math.max(one.minute - one.used, 0)
      if answer[5] < 0 or remaining < answer[5] then
        answer = {1, i, 0, one.minute, remaining, leaves_in(one.log, 0)}
      end
    end
    if one.queued >= 0 and not one.waits then
      redis.call('ZADD', one.queue, now + lease, token)
      if redis.call('PTTL', one.queue) < 2 * lease then redis.call('PEXPIRE', one.queue, 2 * lease) end
    end
  end
end
answer[7] = now - began
return answer
