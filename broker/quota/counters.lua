-- counters: what nodes count in the present windows.
--
-- batch     {calendar, {node, ...}}
-- answers   {stamp, day, where it ends, month, where it ends, minute, eleven integers a node}: jobs; of the day
--           nanodollars spent and held, tokens spent and held; of the month the same; of the minute requests
--           and tokens

local turned = turned_away()
if turned then return turned end
sweep()

local reply = {STAMP, DAY, NEXT_DAY, MONTH, NEXT_MONTH, MINUTE}
for _, name in ipairs(BATCH[2]) do
  local found = node(name)
  reply[#reply + 1] = found.jobs
  for _, counters in ipairs({found.day, found.month}) do
    for place = SPENT, TOKENS_HELD do reply[#reply + 1] = counters[place] end
  end
  for place = REQUESTS, TOKENS_OF_MINUTE do reply[#reply + 1] = found.minute[place] end
end
write_nodes()
return reply
