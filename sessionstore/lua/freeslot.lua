-- Gives a slot of an account back.
--
-- KEYS[1]  slots
-- ARGV     1 number, 2 session
-- Returns  1 given back, 0 the session does not have it
--
-- Race closed: a slot that was taken for dead and given to another session is not taken from that one.
local was = redis.call('HGET', KEYS[1], ARGV[1])
if was and string.match(was, '^(%S+)') == ARGV[2] then
  redis.call('HDEL', KEYS[1], ARGV[1])
  return 1
end
return 0
