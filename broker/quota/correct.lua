-- correct: count what charges were found to cost more or less than was spent for them, once a batch.
--
-- batch     {calendar, {{id, month, {{nodes, nanodollars, tokens, day}, ...}}, ...}}: of a batch the changes in
--           the charges of one month, amounts of either sign
-- answers   {stamp, a number an item}: 1 where the month is open, 0 where nothing is counted in it any more
--
-- Ids are remembered a month. A rebuild brings them back, with what they changed.

local turned = turned_away()
if turned then return turned end

local reply, known, counted = {STAMP}, {}, {}

for _, item in ipairs(BATCH[2]) do
  local id, month, changes = unpack(item)
  local is_open = month >= FIRST_OPEN_MONTH
  reply[#reply + 1] = is_open and 1 or 0
  local key = corrected_key(month)
  if is_open and not known[key .. id] and redis.call('SISMEMBER', key, id) == 0 then
    known[key .. id] = true
    counted[#counted + 1] = {key, id}
    for _, change in ipairs(changes) do
      local names, nanodollars, tokens, day = unpack(change)
      add_to_windows(names, day, month, SPENT, nanodollars, TOKENS, tokens)
    end
  end
end

write_nodes()
for _, each in ipairs(counted) do
  redis.call('SADD', each[1], each[2])
  redis.call('EXPIRE', each[1], CORRECTED_TTL_S)
end
return reply
