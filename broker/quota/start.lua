-- start: mark holds as started, just before their calls; from here on they do not expire.
--
-- batch     {levels, requests}
--             levels    {{node, nanodollars_per_day, requests_per_minute, jobs_in_flight}, ...}
--             requests  {{id, nanodollars, input, output, {level, ...}}, ...}, level an index into levels
-- answers   {stamp, six integers a request}: see KIND_* of the prelude
--
-- A hold that has expired, or that was lost, is taken anew in the present windows if it fits.

local batch = cjson.decode(ARGV[4])
if not is_open() then return {0} end
sweep()

local known = look_up(batch[2])
local reply, records, started = {STAMP}, {}, {}

for _, request in ipairs(batch[2]) do
  local id = request[1]
  local found = known[id]
  if found and found.settled then
    answer_settled(reply, request, found.settled)
  else
    local hold, refusal = found and found.hold, nil
    if not hold then
      hold, refusal = take(request, batch[1], 'h')
    end
    if hold then
      if hold.state == 'h' then
        hold.state = 's'
        records[#records + 1] = id
        records[#records + 1] = hold_record(hold)
        started[#started + 1] = id
      end
      known[id] = {hold = hold}
      answer_hold(reply, hold)
    else
      answer_refusal(reply, refusal)
    end
  end
end

write_nodes()
if #records > 0 then
  redis.call('HSET', HOLDS, unpack(records))
  redis.call('ZREM', HELD, unpack(started))
end
return reply
