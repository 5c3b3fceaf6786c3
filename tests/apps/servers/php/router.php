<?php
// For PHP's own server: echo in pieces to stdout, error_log to stderr, calls by streams and by the curl extension.
$n = (int)$_GET['n'];
$up = getenv('UP');
$out = fopen('php://stdout', 'w');
fwrite($out, "begin n=$n\n");
fclose($out);
error_log("middle n=$n for 127.0.0.1:$_SERVER[REMOTE_PORT]");
if ($up && $n % 2) {
    file_get_contents("http://127.0.0.1:$up/up?n=$n");
} elseif ($up) {
    $call = curl_init("http://127.0.0.1:$up/up?n=$n");
    curl_setopt($call, CURLOPT_RETURNTRANSFER, true);
    curl_exec($call);
}
header('Content-Type: text/plain');
echo "hello n=$n\n";
