<?php
// A page that writes a line with its number, reads its body, and calls an upstream where there is one.
$n = (int) ($_GET['n'] ?? 0);
error_log("page n=$n");
file_put_contents('php://stderr', "aside n=$n\n");
$body = file_get_contents('php://input');
if (preg_match('~/status(\d+)~', $_SERVER['REQUEST_URI'], $status))
	http_response_code((int) $status[1]);
header('Content-Type: text/plain');
if (strpos($_SERVER['REQUEST_URI'], '/big') !== false)
	echo str_repeat("some text of a page\n", 20000);
if (!empty($_SERVER['UP'])) {
	$call = curl_init("http://127.0.0.1:{$_SERVER['UP']}/called?n=$n");
	curl_setopt($call, CURLOPT_RETURNTRANSFER, true);
	curl_exec($call);
}
echo "hello n=$n ", strlen($body), ' ', md5($body), "\n";
