#!/usr/bin/perl
# A FastCGI program in Perl (libfcgi's protocol code): a line and an answer with the request's number.
use strict;
use warnings;
use FCGI;

$| = 1;
open(my $log, '>>', $ENV{PAGE_LOG}) or die;
$log->autoflush(1);
my $request = FCGI::Request();
while ($request->Accept() >= 0) {
	my ($n) = ($ENV{QUERY_STRING} // '') =~ /n=(\d+)/;
	my $body = '';
	read(STDIN, $body, $ENV{CONTENT_LENGTH}) if $ENV{CONTENT_LENGTH};
	print {$log} "page n=$n\n";
	print STDERR "told n=$n\n";
	print "Status: 202 Taken\r\nContent-Type: text/plain\r\n\r\nhello n=$n " . length($body) . "\n";
}
