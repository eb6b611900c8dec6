-- Stores counters, renews the expiry, or only checks, for one record or several.
--
-- KEYS     records
-- ARGV     four for each key: epoch, number of the write ("" to leave the counters), time to live in ms ("" to leave the
--          expiry), counters
-- Returns  for each key 1 done, 0 the epoch is another one, -1 no record
--
-- Races closed: a replica that was frozen writes under an old epoch and is refused. A write that was delayed (its sender
-- gave up on it and sent the next one on another connection) does not take the place of a newer one; for it the answer is
-- 1, as what it wanted to store is known to the store, and more. So writes may be repeated at will.
local done = {}
for i, key in ipairs(KEYS) do
  local at = 4 * (i - 1)
  local number, ttl = ARGV[at + 2], ARGV[at + 3]
  local was = redis.call('HMGET', key, 'ep', 'n')
  if was[1] ~= ARGV[at + 1] then
    done[i] = was[1] and 0 or -1
  else
    if number ~= '' and not (was[2] and tonumber(was[2]) >= tonumber(number)) then
      redis.call('HSET', key, 'n', number, 'c', ARGV[at + 4])
    end
    if ttl ~= '' then
      redis.call('PEXPIRE', key, ttl)
    end
    done[i] = 1
  end
end
return done
