#!/usr/bin/perl
# HTTP::Daemon: one process, block-buffered stdout, STDERR in pieces, calls by LWP. Usage: PORT [UP]
use strict;
use warnings;
use HTTP::Daemon;
use HTTP::Response;
use LWP::UserAgent;

my ($port, $up) = @ARGV;
my $daemon = HTTP::Daemon->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 512, ReuseAddr => 1) or die $!;
my $agent = LWP::UserAgent->new;
$SIG{TERM} = sub { exit 0 };
while (my $connection = $daemon->accept) {
    while (my $request = $connection->get_request) {
        my ($n) = $request->uri =~ /n=(\d+)/;
        print "begin n=$n\n" if defined $n;
        $agent->get("http://127.0.0.1:$up/up?n=$n") if $up;
        print STDERR "middle ", "n=$n", " in pieces\n";
        $connection->send_response(HTTP::Response->new(200, 'OK', ['Content-Type' => 'text/plain'], "hello n=$n\n"));
        last if ($request->header('Connection') // '') eq 'close';
    }
    $connection->close;
}
