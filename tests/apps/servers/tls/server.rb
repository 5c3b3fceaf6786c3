# HTTP inside TLS in Ruby: a thread a connection. Each request prints a line and asks a server inside TLS.
# Usage: server.rb PORT CERTIFICATE UP
require "net/http"
require "webrick/https"

port, file, up = ARGV[0].to_i, ARGV[1], ARGV[2].to_i
$stdout.sync = true
pem = File.read(file)
server = WEBrick::HTTPServer.new(
  Port: port, BindAddress: "127.0.0.1", SSLEnable: true, SSLCertificate: OpenSSL::X509::Certificate.new(pem),
  SSLPrivateKey: OpenSSL::PKey.read(pem), Logger: WEBrick::Log.new(File::NULL), AccessLog: [], MaxClients: 100
)
server.mount_proc("/") do |request, response|
  n = request.query["n"]
  $stdout.write("begin n=#{n}\n")
  client = Net::HTTP.new("127.0.0.1", up)
  client.use_ssl = true
  client.verify_mode = OpenSSL::SSL::VERIFY_NONE
  client.get("/up?n=#{n}").body
  response.body = "hello n=#{n}\n"
end
trap("TERM") { server.shutdown }
server.start
