-- inspect: what nodes hold, and every hold of the organization, as of one moment; for checks.
--
-- batch     {calendar, {node, ...}}
-- answers   {stamp, day, month, {hold id, record, ...}, a node after the other: {jobs, of the day, of the month}}
--           as they are stored, or nil
--
-- Nothing is swept and nothing put right before it is told.

local turned = turned_away()
if turned then return turned end

local reply = {STAMP, DAY, MONTH, redis.call('HGETALL', HOLDS)}
for _, name in ipairs(BATCH[2]) do
  reply[#reply + 1] = redis.call('HMGET', node_key(name), 'jobs', THIS_DAY, THIS_MONTH)
end
return reply
