-- One body after another from the file BODIES; the answers' statuses are counted into the file STATUSES.
local bodies, index, counting = {}, 0, nil
for line in io.lines(os.getenv("BODIES")) do bodies[#bodies + 1] = line end

function setup(thread) counting = thread end

function request()
  index = index % #bodies + 1
  return wrk.format("POST", nil, { ["Content-Type"] = "application/json" }, bodies[index])
end

statuses = {}
function response(status) statuses[status] = (statuses[status] or 0) + 1 end

function done()
  local parts = {}
  for status, count in pairs(counting:get("statuses")) do parts[#parts + 1] = '"' .. status .. '":' .. count end
  local file = io.open(os.getenv("STATUSES"), "w")
  file:write("{" .. table.concat(parts, ",") .. "}")
  file:close()
end
