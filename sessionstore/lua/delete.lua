-- Forgets a session.
--
-- KEYS[1]  record
-- ARGV     1 epoch
-- Returns  1 there is no record any more, 0 the epoch is another one
--
-- Race closed: a replica that lost the session must not end it for the one that has it.
local epoch = redis.call('HGET', KEYS[1], 'ep')
if epoch and epoch ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1])
return 1
