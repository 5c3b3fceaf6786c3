<%@ page contentType="text/plain" trimDirectiveWhitespaces="true" import="java.io.*, java.net.*, java.util.concurrent.*" %><%!
	private static final ExecutorService WORKERS = Executors.newFixedThreadPool(4);
%><%
	String n = request.getParameter("n");
	System.out.println("begin n=" + n);
	URL up = new URL("http://127.0.0.1:" + System.getenv("UP") + "/up?n=" + n);
	try (BufferedReader reply = new BufferedReader(new InputStreamReader(up.openStream()))) {
		if (!reply.readLine().equals("up n=" + n))
			throw new IOException("another's reply");
	}
	System.out.println("middle n=" + n);
	System.out.println("before n=" + n);
	String body = "hello n=" + n + "\n";
	response.setContentLength(body.length());
	out.print(body);
	out.flush();
	System.out.println("after n=" + n);
	WORKERS.execute(() -> System.out.println("background n=" + n));
%>
