-- jobs: how many holds nodes have, held and started.
--
-- batch     {node, ...}
-- answers   {stamp, a number a node}

local batch = cjson.decode(ARGV[4])
if not is_open() then return {0} end
sweep()

local reply = {STAMP}
for _, name in ipairs(batch) do
  reply[#reply + 1] = right_jobs(name, redis.call('HGET', node_key(name), JOBS))
end
return reply
