"""The three Lua scripts that count in Valkey or Redis, each run atomically by the server.

A scope (one tenant, or all of them) has four keys: ``leases`` (a sorted set, lease id to the
second it ends), ``requests`` and ``tokens`` (GCRA arrival times, see ``quota.py``) and ``spent``
(a hash of day and USD). All keys share one hash tag, so a cluster keeps them on one node. The
server's clock is the only clock. ``epoch`` names the life of the data: when it is gone, so are the
leases, and each replica enters its own again before it takes more.

``admit``  KEYS: epoch, then 4 per scope. ARGV: lease, ttl, known epoch, input tokens, all tokens,
           cost; per scope: streams, requests and tokens a minute, budget (-1: none), and the last
           seen requests, tokens, day and USD, which stand in for lost data. Returns texts: the
           word, which scope (from 0), the seconds to wait, now, day, then per scope requests,
           tokens, USD as they are now (nothing of that with ``lost`` and ``grace``).
``close``  KEYS: 4 per scope. ARGV: lease, day, change of cost, then per scope its limit of tokens
           a minute and the change of tokens. Does nothing for a lease that is not there, so it may
           be sent twice.
``renew``  KEYS: epoch, leases. ARGV: known epoch, a new one, ttl, grace, lease ids. Returns the
           epoch. A replica that knew another one has found a loss: for ``grace`` seconds no stream
           is counted anew then, so that every replica can enter what it has first.

Source: Redis documentation, *EVAL* (effects replication lets a script that asks for TIME write).
"""

from typing import Final

ADMIT: Final = """
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local day = math.floor(now / 86400)
local lease, ttl = ARGV[1], tonumber(ARGV[2])
local epoch = redis.call('HMGET', KEYS[1], 'id', 'grace')
if epoch[1] ~= ARGV[3] then return { 'lost', '0', '0', '0', '0' } end
local prompt, all, cost = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local scopes = (#KEYS - 1) / 4

local function fmt(number) return string.format('%.6f', number) end

local known = {}
for i = 0, scopes - 1 do
  local k, a = 1 + i * 4, 6 + i * 8
  local s = {
    leases = KEYS[k + 1], requests_key = KEYS[k + 2], tokens_key = KEYS[k + 3],
    spent_key = KEYS[k + 4],
    streams = tonumber(ARGV[a + 1]), rpm = tonumber(ARGV[a + 2]), tpm = tonumber(ARGV[a + 3]),
    budget = tonumber(ARGV[a + 4]),
  }
  local requests = redis.call('GET', s.requests_key)
  local tokens = redis.call('GET', s.tokens_key)
  s.requests = math.max(now, tonumber(requests or ARGV[a + 5]))
  s.tokens = math.max(now, tonumber(tokens or ARGV[a + 6]))
  local spent = redis.call('HMGET', s.spent_key, 'day', 'usd')
  if not spent[1] then spent = { ARGV[a + 7], ARGV[a + 8] } end
  s.spent = tonumber(spent[1]) == day and tonumber(spent[2]) or 0
  redis.call('ZREMRANGEBYSCORE', s.leases, '-inf', now)
  s.open = redis.call('ZCARD', s.leases)
  s.asked = s.tpm > 0 and math.min(all, s.tpm) or 0
  known[i] = s
  if s.streams >= 0 and now < tonumber(epoch[2] or '0') then
    return { 'grace', '0', fmt(tonumber(epoch[2]) - now), fmt(now), tostring(day) }
  end
end

local word, at, wait = 'ok', 0, 0
for i = 0, scopes - 1 do
  local s = known[i]
  local request_wait = s.rpm > 0 and s.requests + 60 / s.rpm - now - 60 or 0
  local token_wait = s.tpm > 0 and s.tokens + s.asked * 60 / s.tpm - now - 60 or 0
  if s.budget >= 0 and s.spent >= s.budget then
    word, at, wait = 'budget', i, (day + 1) * 86400 - now
  elseif s.streams >= 0 and s.open >= s.streams then
    word, at = 'streams', i
  elseif request_wait > 0.00001 then
    word, at, wait = 'requests', i, request_wait
  elseif s.tpm > 0 and prompt > s.tpm then
    word, at = 'too_large', i
  elseif token_wait > 0.00001 then
    word, at, wait = 'tokens', i, token_wait
  end
  if word ~= 'ok' then break end
end

-- Never shortened: a key that is missing while a replica remembers a later number was lost.
local function keep(key, arrival)
  local rest = math.max(redis.call('PTTL', key), math.ceil((arrival - now + 61) * 1000))
  redis.call('SET', key, fmt(arrival), 'PX', rest)
end

local answer = { word, tostring(at), fmt(wait), fmt(now), tostring(day) }
for i = 0, scopes - 1 do
  local s = known[i]
  if word == 'ok' then
    redis.call('ZADD', s.leases, now + ttl, lease)
    redis.call('PEXPIRE', s.leases, math.ceil(ttl * 2000))
    if s.rpm > 0 then
      s.requests = s.requests + 60 / s.rpm
      keep(s.requests_key, s.requests)
    end
    if s.tpm > 0 then
      s.tokens = s.tokens + s.asked * 60 / s.tpm
      keep(s.tokens_key, s.tokens)
    end
    if s.budget >= 0 then
      s.spent = s.spent + cost
      redis.call('HSET', s.spent_key, 'day', day, 'usd', fmt(s.spent))
      redis.call('EXPIRE', s.spent_key, 172800)
    end
  end
  answer[#answer + 1] = fmt(s.requests)
  answer[#answer + 1] = fmt(s.tokens)
  answer[#answer + 1] = fmt(s.spent)
end
return answer
"""

CLOSE: Final = """
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local lease, day, cost = ARGV[1], ARGV[2], tonumber(ARGV[3])
for i = 0, #KEYS / 4 - 1 do
  local k, a = i * 4, 3 + i * 2
  if redis.call('ZREM', KEYS[k + 1], lease) == 1 then
    local tpm, change = tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2])
    local key = KEYS[k + 3]
    local stored = redis.call('GET', key)
    if tpm > 0 and change ~= 0 and (stored or change > 0) then
      local arrival = math.max(now, tonumber(stored or '0')) + change * 60 / tpm
      local rest = math.max(redis.call('PTTL', key), math.ceil((arrival - now + 61) * 1000))
      if rest > 0 then redis.call('SET', key, string.format('%.6f', arrival), 'PX', rest) end
    end
    if cost ~= 0 and redis.call('HGET', KEYS[k + 4], 'day') == day then
      redis.call('HINCRBYFLOAT', KEYS[k + 4], 'usd', ARGV[3])
    end
  end
end
return 1
"""

RENEW: Final = """
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local known, ttl = ARGV[1], tonumber(ARGV[3])
redis.call('HSETNX', KEYS[1], 'id', ARGV[2])
local epoch = redis.call('HGET', KEYS[1], 'id')
if known ~= '' and known ~= epoch then
  redis.call('HSETNX', KEYS[1], 'grace', string.format('%.6f', now + tonumber(ARGV[4])))
end
for i = 5, #ARGV do redis.call('ZADD', KEYS[2], now + ttl, ARGV[i]) end
if #ARGV > 4 then redis.call('PEXPIRE', KEYS[2], math.ceil(ttl * 2000)) end
return epoch
"""
