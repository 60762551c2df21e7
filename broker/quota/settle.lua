-- settle: give back what was held and count what was spent, once an id.
--
-- batch     {{id, nodes, nanodollars, day, minute}, ...}, nodes joined by commas
-- answers   {stamp}
--
-- What is held goes back to the windows on record here; what is spent goes to the windows that the caller
-- names, which are those in the ledger. They differ only where a hold was lost and taken anew. Ids are
-- remembered until their day is closed; from then on their settlement has nothing left to change.

local batch = cjson.decode(ARGV[4])
if not is_open() then return {0} end

local days = {}
for index, settlement in ipairs(batch) do days[index] = settlement[4] end
local known = look_up(batch, days)
local ended, remembered = {}, {}

for _, settlement in ipairs(batch) do
  local id, names, nanodollars, day, minute = unpack(settlement)
  local found = known[id]
  if not (found and found.settled) then
    if found then
      give_back(found.hold)
      ended[#ended + 1] = id
    end
    if day >= FIRST_OPEN_DAY then
      add_to_day(names, spent_field, day, nanodollars)
      remembered[day] = remembered[day] or {}
      table.insert(remembered[day], id)
      table.insert(remembered[day], decimal(minute))
    end
    known[id] = {settled = {day = day, minute = minute}}
  end
end

if #ended > 0 then
  redis.call('HDEL', HOLDS, unpack(ended))
  redis.call('ZREM', HELD, unpack(ended))
end
for day, entries in pairs(remembered) do
  redis.call('HSET', settled_key(day), unpack(entries))
  redis.call('EXPIRE', settled_key(day), settled_ttl(day))
end
return {STAMP}
