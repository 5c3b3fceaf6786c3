# WEBrick: a thread a connection; its access log, and puts with several arguments. Usage: PORT [UP]
require 'webrick'
require 'net/http'

port, up = ARGV
log = WEBrick::Log.new($stderr, WEBrick::Log::WARN)
server = WEBrick::HTTPServer.new(BindAddress: '127.0.0.1', Port: port.to_i, Logger: log, MaxClients: 100,
                                 AccessLog: [[$stderr, '%m %U %s']])
server.mount_proc('/') do |request, response|
  n = request.query['n']
  warn "begin n=#{n}"
  Net::HTTP.get(URI("http://127.0.0.1:#{up}/up?n=#{n}")) if up
  puts "out n=#{n}"
  response.body = "hello n=#{n}\n"
end
trap('TERM') { server.shutdown }
server.start
