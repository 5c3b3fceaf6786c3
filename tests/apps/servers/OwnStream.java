import com.sun.net.httpserver.HttpServer;
import java.io.BufferedOutputStream;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.net.InetSocketAddress;
import java.util.concurrent.Executors;

/** A pool of threads that prints to a stream of the program's own, which keeps 8 KiB back. Usage: PORT */
public class OwnStream {
	public static void main(String[] args) throws Exception {
		PrintStream out = new PrintStream(new BufferedOutputStream(new FileOutputStream(FileDescriptor.out), 8192), false);
		HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(args[0])), 512);

		server.setExecutor(Executors.newFixedThreadPool(8));
		server.createContext("/", exchange -> {
			String n = exchange.getRequestURI().getQuery();
			byte[] body = ("hello " + n + "\n").getBytes();

			out.println("begin " + n);
			out.println("end " + n);
			exchange.sendResponseHeaders(200, body.length);
			exchange.getResponseBody().write(body);
			exchange.close();
		});
		server.start();
	}
}
