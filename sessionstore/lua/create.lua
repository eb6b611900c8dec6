-- Makes the record of a new session.
--
-- KEYS[1]  record
-- ARGV     1 owner, 2 its address, 3 request, 4 schema version, 5 time to live in ms, 6 static part
-- Returns  {"made", epoch} or {"exists"}
--
-- Race closed: a key is made once, whoever else tries at the same time. A repeated request (the answer to the first one
-- was lost) gets the first one's answer. The epoch comes from the clock, so a record that is made again under an old key
-- has a higher one than any before, and writes of those days stay refused.
local key = KEYS[1]
local was = redis.call('HMGET', key, 'v', 'rq', 'ep')
if was[1] then
  if was[2] == ARGV[3] then
    return {'made', was[3]}
  end
  return {'exists'}
end
local time = redis.call('TIME')
local epoch = string.format('%.0f', time[1] * 1000000 + time[2])
redis.call('HSET', key, 'v', ARGV[4], 'ep', epoch, 'ow', ARGV[1], 'ad', ARGV[2], 'rq', ARGV[3], 'st', ARGV[6])
redis.call('PEXPIRE', key, ARGV[5])
return {'made', epoch}
