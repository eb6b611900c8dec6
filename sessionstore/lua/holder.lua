-- Says who holds a lease.
--
-- KEYS[1]  lease
-- Returns  the incarnation, a space, the address; '' if nobody holds it
--
-- A plain GET would do; a script flies together with all other calls of the moment (redis_batch.go).
return redis.call('GET', KEYS[1]) or ''
