import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.ForkJoinPool;

/**
 * Servers of the attribution experiment in Java; see tests/programs/attribution_kit.h for what each request does.
 *
 * <p>java Server.java KIND PORT UP. KIND is one of: threads, a thread a connection; executor, a thread a connection reads, and an
 * executor works for the requests and for what they leave to be done; futures, com.sun.net.httpserver with an executor, and
 * HttpClient's asynchronous calls, whose stages run on its threads; forkjoin, which gives each request to a ForkJoinPool, as a chain of
 * CompletableFutures whose stages may each run on another of its threads.
 */
public final class Server {
	private static final ConcurrentLinkedQueue<Socket> LINKS = new ConcurrentLinkedQueue<>();
	private static final ExecutorService WORKERS = Executors.newFixedThreadPool(8);
	private static final ForkJoinPool STEALERS = new ForkJoinPool(8);
	private static int up;

	private Server() {
	}

	private static void say(String what, long n) {
		System.out.println(what + " n=" + n);
	}

	/** A connection with a client: one request after the other. */
	private static final class Peer {
		private final Socket socket;
		private final InputStream in;
		private final OutputStream out;
		private final StringBuilder bytes = new StringBuilder();
		private boolean close;

		Peer(Socket socket) throws IOException {
			this.socket = socket;
			socket.setTcpNoDelay(true);
			in = socket.getInputStream();
			out = socket.getOutputStream();
		}

		/** The number of the next request; -1: there is none. */
		long read() throws IOException {
			byte[] block = new byte[8192];
			int end;

			while ((end = bytes.indexOf("\r\n\r\n")) < 0) {
				int n = in.read(block);
				if (n < 0)
					return -1;
				bytes.append(new String(block, 0, n, StandardCharsets.ISO_8859_1));
			}
			String head = bytes.substring(0, end);
			bytes.delete(0, end + 4);
			close = head.contains("Connection: close");
			int at = head.indexOf("n=") + 2;
			return Long.parseLong(head.substring(at, head.indexOf(' ', at)));
		}

		void answer(long n) throws IOException {
			String body = "hello n=" + n + "\n";
			out.write(("HTTP/1.1 200 OK\r\nContent-Length: " + body.length() + "\r\n"
				+ (close ? "Connection: close\r\n" : "") + "\r\n" + body).getBytes(StandardCharsets.ISO_8859_1));
		}
	}

	private static void call(long n) throws IOException {
		Socket link = LINKS.poll();
		if (link == null)
			link = new Socket(InetAddress.getLoopbackAddress(), up);
		link.getOutputStream().write(("GET /up?n=" + n + " HTTP/1.1\r\nHost: up.example\r\n\r\n").getBytes());
		StringBuilder reply = new StringBuilder();
		byte[] block = new byte[4096];
		while (!reply.toString().endsWith("up n=" + n + "\n")) {
			int got = link.getInputStream().read(block);
			if (got < 0)
				throw new IOException("another's reply: " + reply);
			reply.append(new String(block, 0, got, StandardCharsets.ISO_8859_1));
		}
		LINKS.add(link);
	}

	private static void work(Peer peer, long n) throws IOException {
		say("begin", n);
		call(n);
		say("middle", n);
		say("before", n);
		peer.answer(n);
		say("after", n);
		WORKERS.execute(() -> say("background", n));
	}

	/** Each step is a task of the pool: another thread may take it. */
	private static CompletableFuture<Void> workInSteps(Peer peer, long n) {
		return CompletableFuture.runAsync(() -> say("begin", n), STEALERS)
			.thenRunAsync(() -> doUnchecked(() -> call(n)), STEALERS)
			.thenRunAsync(() -> say("middle", n), STEALERS)
			.thenRunAsync(() -> doUnchecked(() -> {
				say("before", n);
				peer.answer(n);
				say("after", n);
			}), STEALERS)
			.thenRun(() -> STEALERS.execute(() -> say("background", n)));
	}

	private interface Step {
		void run() throws IOException;
	}

	private static void doUnchecked(Step step) {
		try {
			step.run();
		} catch (IOException error) {
			throw new UncheckedIOException(error);
		}
	}

	private static void serve(Socket socket, String kind) {
		try (socket) {
			Peer peer = new Peer(socket);
			long n;
			while ((n = peer.read()) >= 0) {
				long number = n;
				if (kind.equals("forkjoin")) {
					workInSteps(peer, number).get();
				} else if (kind.equals("executor")) {
					WORKERS.submit(() -> {
						work(peer, number);
						return null;
					}).get();
				} else {
					work(peer, number);
				}
				if (peer.close)
					break;
			}
		} catch (Exception error) {
			System.err.println(error);
		}
	}

	private static void serveFutures(int port) throws IOException {
		/* Else head and body, which it writes one after the other, wait 40 ms for each other. */
		System.setProperty("sun.net.httpserver.nodelay", "true");
		var client = HttpClient.newHttpClient();
		var server = com.sun.net.httpserver.HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), port), 512);
		server.setExecutor(WORKERS);
		server.createContext("/", exchange -> {
			long n = Long.parseLong(exchange.getRequestURI().getQuery().substring(2));
			say("begin", n);
			var request = HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + up + "/up?n=" + n)).build();
			client.sendAsync(request, HttpResponse.BodyHandlers.ofString()).thenAccept(reply -> {
				try {
					say("middle", n);
					byte[] body = ("hello n=" + n + "\n").getBytes(StandardCharsets.ISO_8859_1);
					say("before", n);
					exchange.sendResponseHeaders(200, body.length);
					exchange.getResponseBody().write(body);
					exchange.close();
					say("after", n);
					WORKERS.execute(() -> say("background", n));
				} catch (IOException error) {
					System.err.println(error);
				}
			});
		});
		server.start();
	}

	public static void main(String[] args) throws IOException {
		int port = Integer.parseInt(args[1]);
		up = Integer.parseInt(args[2]);
		if (args[0].equals("futures")) {
			serveFutures(port);
			return;
		}
		try (ServerSocket listener = new ServerSocket(port, 512, InetAddress.getLoopbackAddress())) {
			while (true) {
				Socket socket = listener.accept();
				new Thread(() -> serve(socket, args[0])).start();
			}
		}
	}
}
