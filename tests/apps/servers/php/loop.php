<?php
// An event loop, as ReactPHP's: handlers of streams leave work to the next round, which begins without a wait. Usage: PORT
$listener = stream_socket_server("tcp://127.0.0.1:$argv[1]", context: stream_context_create(['socket' => ['backlog' => 512]]));
stream_set_blocking($listener, false);
$connections = $bytes = $queue = [];

function answer($connection, int $n, bool $close): void
{
    global $connections;
    fwrite(STDOUT, "work n=$n\n");
    $body = "hello n=$n\n";
    fwrite($connection, "HTTP/1.1 200 OK\r\nContent-Length: " . strlen($body) . "\r\n\r\n$body");
    if ($close) {
        unset($connections[(int)$connection]);
        fclose($connection);
    }
}

while (true) {
    $now = $queue;
    $queue = [];
    foreach ($now as $task) {
        $task();
    }
    $ready = [$listener, ...array_values($connections)];
    $none = null;
    stream_select($ready, $none, $none, $queue ? 0 : null);
    foreach ($ready as $stream) {
        if ($stream === $listener) {
            $new = stream_socket_accept($listener, 0);
            stream_set_blocking($new, false);
            $connections[(int)$new] = $new;
            $bytes[(int)$new] = '';
            continue;
        }
        $piece = fread($stream, 8192);
        if ($piece === '' || $piece === false) {
            unset($connections[(int)$stream]);
            fclose($stream);
            continue;
        }
        $bytes[(int)$stream] .= $piece;
        if (str_ends_with($bytes[(int)$stream], "\r\n\r\n")) {
            preg_match('/n=(\d+)/', $bytes[(int)$stream], $found);
            $close = str_contains($bytes[(int)$stream], 'Connection: close');
            $bytes[(int)$stream] = '';
            fwrite(STDOUT, "read n=$found[1]\n");
            $queue[] = fn() => answer($stream, (int)$found[1], $close);
        }
    }
}
