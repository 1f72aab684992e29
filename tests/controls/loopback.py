"""Servers on the loopback: HTTP as TensorBoard is, datagrams, and sockets without a network."""
import http.client
import http.server
import socket
import socketserver
import tempfile
import threading


class Board(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.path.encode() * 10000
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Board) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    connection.request("GET", "/scalars")
    answer = connection.getresponse()
    print("HTTP", answer.status, len(answer.read()))
    server.shutdown()
with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
    client = socket.create_connection(server.getsockname()[:2])
    server.accept()[0].sendall(b"IPv6")
    print(client.recv(100))
print("localhost", "127.0.0.1" in {it[4][0] for it in socket.getaddrinfo("localhost", 80)})
a, b = socket.socket(type=socket.SOCK_DGRAM), socket.socket(type=socket.SOCK_DGRAM)
a.bind(("127.0.0.1", 0))
b.sendto(b"datagram", a.getsockname())
print(a.recv(100))
with tempfile.TemporaryDirectory(dir="/tmp") as directory:
    for name, address in [("path", f"{directory}/socket"), ("abstract", f"\0{directory}")]:
        with socketserver.UnixStreamServer(address, socketserver.StreamRequestHandler):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(address)
                print("socket by", name)
print("interfaces", "lo" in [name for _, name in socket.if_nameindex()])
