# A Rack application, for puma.
run lambda { |env|
  puts "rack #{env['QUERY_STRING']}"
  $stdout.flush
  [200, { "content-type" => "text/plain" }, ["hello #{env['QUERY_STRING']} #{env['rack.input'].read}\n"]]
}
