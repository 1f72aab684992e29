//! Channels over HTTPS, with a certificate that only the host's variables make known.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use super::*;

const CERTIFICATE: &str = "[req]\ndistinguished_name = name\nx509_extensions = more\nprompt = no\n\
    [name]\nCN = localhost\n\
    [more]\nsubjectAltName = IP:127.0.0.1\nbasicConstraints = critical, CA:FALSE\n";

const SERVER: &str = r"
import functools, http.server, ssl, sys
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1])
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2], sys.argv[3])
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
";

/// Ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn serve(fixture: &Fixture) -> (Server, u16) {
    fs::write(fixture.path("request.cnf"), CERTIFICATE).unwrap();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"])
        .args(["-config", "request.cnf", "-keyout", "key.pem", "-out", "certificate.pem"])
        .current_dir(fixture.directory.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let mut server = Command::new(python())
        .args(["-I", "-c", SERVER])
        .args(["channel", "certificate.pem", "key.pem"].map(|name| fixture.path(name)))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut port = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut port).unwrap();
    (Server(server), port.trim().parse().unwrap())
}

#[test]
fn a_channel_over_https_is_trusted_as_the_host_says() {
    let mut fixture = Fixture::new();
    fixture.tiny_channel(&["1.0"]);
    let (_server, port) = serve(&fixture);
    let text = format!("channels: ['https://127.0.0.1:{port}']\ndependencies: [tinytool]");

    let refused = failed(fixture.build("refused", &text, &[]));
    let certificate = fixture.path("certificate.pem");
    fixture.host.set("SSL_CERT_FILE", certificate.to_str().unwrap());
    let made = fixture.build("made", &text, &[]);

    assert_eq!(refused.cause, FailureCause::NoChannel);
    assert!(refused.last_lines.join("\n").contains("certificate"), "{refused:?}");
    let built = made.result.unwrap_or_else(|error| panic!("{error:?}\n{}", made.log));
    assert_eq!(output(&fixture.path("made/conda/bin/tinytool"), &[]), "1.0\n");
    assert!(made.log.contains(" bytes: Downloading 2 conda packages"), "{}", made.log);
    let lock = &built.lock[0].text;
    assert!(lock.contains(&format!("https://127.0.0.1:{port}/linux-64/tinytool-0.3")), "{lock}");

    let again = fixture.build("again", &text, &built.lock).result.unwrap();
    assert_eq!(again.lock, built.lock);
}
