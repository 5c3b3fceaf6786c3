"""A Java machine: compiler, shell and archiver, and a program with the library's own HTTP server and client, pools and processes."""
import os

from harness import Unit, scripted


MAIN = r"""
import com.sun.net.httpserver.*;
import java.io.*;
import java.net.*;
import java.net.http.*;
import java.nio.*;
import java.nio.channels.*;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.stream.*;

public class Main {
	static HttpServer server;

	static String base() {
		return "http://127.0.0.1:" + server.getAddress().getPort();
	}

	static void start(Executor executor) throws Exception {
		server = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 0);
		server.createContext("/echo", x -> {
			byte[] body = x.getRequestBody().readAllBytes();
			byte[] said = (x.getRequestMethod() + " " + x.getRequestURI() + " " + body.length).getBytes();
			x.getResponseHeaders().add("X-Y", "z");
			x.sendResponseHeaders(200, said.length);
			x.getResponseBody().write(said);
			x.close();
		});
		server.createContext("/chunked", x -> {
			x.sendResponseHeaders(200, 0);
			for (int i = 0; i < 100; i++)
				x.getResponseBody().write(("piece " + i + "\n").getBytes());
			x.close();
		});
		server.setExecutor(executor);
		server.start();
	}

	static void http() throws Exception {
		start(Executors.newFixedThreadPool(8));
		HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
		for (int i = 0; i < 20; i++) {
			HttpRequest r = HttpRequest.newBuilder(URI.create(base() + "/echo?" + i))
				.POST(HttpRequest.BodyPublishers.ofString("x".repeat(i * 1000))).build();
			HttpResponse<String> a = client.send(r, HttpResponse.BodyHandlers.ofString());
			System.out.println(a.statusCode() + " " + a.body() + " " + a.headers().firstValue("X-Y").get());
		}
		System.out.println(client.send(HttpRequest.newBuilder(URI.create(base() + "/chunked")).build(),
			HttpResponse.BodyHandlers.ofLines()).body().count());
	}

	static void async() throws Exception {
		start(Executors.newFixedThreadPool(8));
		HttpClient client = HttpClient.newHttpClient();
		List<CompletableFuture<String>> all = IntStream.range(0, 200).mapToObj(i ->
			client.sendAsync(HttpRequest.newBuilder(URI.create(base() + "/echo?" + i)).build(),
				HttpResponse.BodyHandlers.ofString()).thenApply(HttpResponse::body)).collect(Collectors.toList());
		for (CompletableFuture<String> one : all)
			System.out.println(one.get());
	}

	static void url() throws Exception {
		start(null);
		for (int i = 0; i < 10; i++) {
			HttpURLConnection c = (HttpURLConnection) new URL(base() + "/echo?" + i).openConnection();
			c.setDoOutput(true);
			c.setChunkedStreamingMode(100);
			c.getOutputStream().write(new byte[i * 500]);
			System.out.println(c.getResponseCode() + " " + new String(c.getInputStream().readAllBytes()));
		}
		try {
			new URL(base() + "/none").openStream();
		} catch (FileNotFoundException e) {
			System.out.println("not found");
		}
	}

	static void nio() throws Exception {
		ServerSocketChannel l = ServerSocketChannel.open().bind(new InetSocketAddress("127.0.0.1", 0));
		Selector s = Selector.open();
		l.configureBlocking(false);
		l.register(s, SelectionKey.OP_ACCEPT);
		SocketChannel c = SocketChannel.open(l.getLocalAddress());
		c.write(ByteBuffer.wrap("GET / HTTP/1.1\r\nHost: x\r\n\r\n".getBytes()));
		c.shutdownOutput();
		int got = 0;
		boolean end = false;
		while (!end) {
			s.select();
			for (SelectionKey k : s.selectedKeys()) {
				if (k.isAcceptable()) {
					SocketChannel a = l.accept();
					a.configureBlocking(false);
					a.register(s, SelectionKey.OP_READ);
				} else {
					ByteBuffer b = ByteBuffer.allocate(7);
					int n = ((SocketChannel) k.channel()).read(b);
					end = n < 0;
					got += Math.max(n, 0);
					if (end)
						k.channel().close();
				}
			}
			s.selectedKeys().clear();
		}
		System.out.println("read " + (got > 27 ? "more by a header" : "" + got) + " at the end " + c.read(ByteBuffer.allocate(1)));
	}

	static void processes() throws Exception {
		Process p = new ProcessBuilder("sh", "-c", "cat; echo err >&2; exit 3").start();
		p.getOutputStream().write("through\n".getBytes());
		p.getOutputStream().close();
		System.out.print(new String(p.getInputStream().readAllBytes()) + new String(p.getErrorStream().readAllBytes()));
		System.out.println(p.waitFor());
		System.out.flush();
		new ProcessBuilder("echo", "inherited").inheritIO().start().waitFor();
		Process q = new ProcessBuilder("sleep", "100").start();
		q.destroyForcibly();
		System.out.println(q.waitFor());
		List<Process> line = ProcessBuilder.startPipeline(List.of(new ProcessBuilder("seq", "5"), new ProcessBuilder("tac")));
		System.out.print(new String(line.get(1).getInputStream().readAllBytes()));
	}

	static void files() throws Exception {
		Path p = Path.of("f");
		Files.writeString(p, "line\n".repeat(1000));
		try (FileChannel c = FileChannel.open(p, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
			MappedByteBuffer m = c.map(FileChannel.MapMode.READ_WRITE, 0, 10);
			m.put(0, (byte) 'L');
			m.force();
			System.out.println(c.transferTo(0, 100, Channels.newChannel(new ByteArrayOutputStream())));
			try (FileChannel d = FileChannel.open(Path.of("g"), StandardOpenOption.CREATE, StandardOpenOption.WRITE)) {
				System.out.println(c.transferTo(0, 5000, d));
			}
		}
		try (Stream<String> lines = Files.lines(p)) {
			System.out.println(lines.filter(l -> l.startsWith("L")).count());
		}
		Files.copy(p, System.out);
	}

	static void threads() throws Exception {
		ExecutorService e = Executors.newFixedThreadPool(20);
		List<Future<Integer>> all = new ArrayList<>();
		for (int i = 0; i < 200; i++) {
			int n = i;
			all.add(e.submit(() -> n * n));
		}
		int sum = 0;
		for (Future<Integer> f : all)
			sum += f.get();
		e.shutdown();
		System.out.println(sum + " " + IntStream.range(0, 100000).parallel().sum());
	}

	static void output() throws Exception {
		System.out.print("a");
		System.out.print("b\n");
		System.err.println("err");
		System.out.printf("%d %s%n", 1, "x");
		System.out.write("bytes\n".getBytes());
		System.out.write('c');
		System.out.flush();
		System.out.println();
		for (int i = 0; i < 2000; i++)
			System.out.println("line " + i);
		new FileOutputStream(FileDescriptor.out).write("by descriptor\n".getBytes());
		System.out.print("no newline");
	}

	static void hooks() throws Exception {
		Runtime.getRuntime().addShutdownHook(new Thread(() -> System.out.println("hook")));
		System.exit(5);
	}

	static void crash() {
		throw new IllegalStateException("on purpose");
	}

	public static void main(String[] args) throws Exception {
		Main.class.getDeclaredMethod(args[0]).invoke(null);
		System.out.flush();
		if (server != null)
			Runtime.getRuntime().halt(0);
	}
}
"""
RUN = {name: f"java -Xshare:auto -cp ../classes.any Main {name}" for name in
       "http async url nio processes files threads output hooks crash".split()}
# The shell has preferences, and says so when it makes a folder for them: not in the user's home, which the first of all runs would find empty.
TOOLS = {
    "compiler": "mkdir o.any; javac -d o.any ../Main.java; ls o.any; sha256sum o.any/Main.class; javac -nosuch 2>&1 | head -2",
    "one file": "printf 'public class A { public static void main(String[] a) { System.out.println(a.length); } }' >A.java; java A.java x y",
    "shell": "mkdir -p p.any/.java/.userPrefs; printf 'int x = 6 * 7\\nSystem.out.println(x)\\n/exit 3\\n' | "
             "jshell -J-Djava.util.prefs.userRoot=p.any -s - ; echo $?",
    "archive": "mkdir d; echo x >d/a; jar --create --file f.any d; jar --list --file f.any; jar xf f.any; ls",
    "disassembler": "javap -cp ../classes.any Main | head -5",
    "versions": "java -version; java --list-modules | head -3; java -XX:+PrintFlagsFinal -version 2>/dev/null | grep -c =",
    "interpreter only": "java -Xint -cp ../classes.any Main processes",
    "small": "java -Xss256k -Xmx32m -XX:+UseSerialGC -cp ../classes.any Main threads",
    "attach": "java -cp ../classes.any Main http >/dev/null & jps >/dev/null; wait; echo done",
}


def programs(run, scripts):
    with open(os.path.join(run.folder, "Main.java"), "w", encoding="ascii") as file:
        file.write(MAIN)
    built = run.call(["/usr/bin/javac", "-d", "classes.any", "Main.java"])
    if built.status != 0:
        return {"build": f"{built.status}"}
    return scripted(run, scripts)


def units(quick):
    if not quick:
        yield Unit("programs", lambda run: programs(run, RUN))
        yield Unit("tools", lambda run: programs(run, TOOLS))
