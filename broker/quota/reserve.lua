-- reserve: hold money and quota for attempts, each on all of its levels or on none.
--
-- batch     {levels, requests}
--             levels    {{node, nanodollars_per_day, requests_per_minute, jobs_in_flight}, ...}
--             requests  {{id, nanodollars, input, output, {level, ...}, ttl}, ...}, level an index into levels
-- answers   {stamp, six integers a request}: see KIND_* of the prelude
--
-- An id that is held keeps its hold, and its time begins anew.

local batch = cjson.decode(ARGV[4])
if not is_open() then return {0} end
sweep()

local known = look_up(batch[2])
local reply, records, expiries = {STAMP}, {}, {}

local function expire_later(id, ttl)
  expiries[#expiries + 1] = decimal(NOW + ttl)
  expiries[#expiries + 1] = id
end

for _, request in ipairs(batch[2]) do
  local id, ttl = request[1], request[6]
  local found = known[id]
  if found and found.settled then
    answer_settled(reply, request, found.settled)
  elseif found then
    if found.hold.state == 'h' then expire_later(id, ttl) end
    answer_hold(reply, found.hold)
  else
    local hold, refusal = take(request, batch[1], 'h')
    if hold then
      known[id] = {hold = hold}
      records[#records + 1] = id
      records[#records + 1] = hold_record(hold)
      expire_later(id, ttl)
      answer_hold(reply, hold)
    else
      answer_refusal(reply, refusal)
    end
  end
end

write_nodes()
if #records > 0 then redis.call('HSET', HOLDS, unpack(records)) end
if #expiries > 0 then redis.call('ZADD', HELD, unpack(expiries)) end
return reply
