-- jobs: how many holds nodes have, held and started.
--
-- batch     {calendar, {node, ...}}
-- answers   {stamp, a number a node}

local turned = turned_away()
if turned then return turned end
sweep()

local reply = {STAMP}
for _, name in ipairs(BATCH[2]) do reply[#reply + 1] = node(name).jobs end
write_nodes()
return reply
