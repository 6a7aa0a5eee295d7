-- wrk's script: the requests rotate through the tokens of a file, one a line; with a body they are POST.
local requests = {}
local count = 0

function init()
  local body = os.getenv("BENCHMARK_BODY")
  local method = body and "POST" or "GET"
  for token in io.lines(os.getenv("BENCHMARK_TOKENS")) do
    local headers = { ["Authorization"] = "Bearer " .. token }
    if body then headers["Content-Type"] = "application/json" end
    requests[#requests + 1] = wrk.format(method, "/graphql", headers, body)
  end
end

function request()
  count = count % #requests + 1
  return requests[count]
end
