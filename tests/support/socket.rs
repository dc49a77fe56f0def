//! Requests to an instance's socket, past the gateway.

/// Sends a file's bytes to a Unix socket and prints the answer.
pub(crate) const SEND: &str = r#"python3 -c '
import socket, sys
line = socket.socket(socket.AF_UNIX)
line.settimeout(10)
line.connect(sys.argv[1])
line.sendall(open(sys.argv[2], "rb").read())
print(line.recv(65536).decode())
'"#;
