//! Asks the server of this set-up whether it is ready, for health checks of containers and units.

use std::io::{Error, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use switchboard::clock::Clock;
use switchboard::config::Server;

use super::{fail, print};

/// How long the whole check may take; `HEALTHCHECK` of the Dockerfile waits a little longer.
const PATIENCE: Duration = Duration::from_secs(4);

/// Bytes in which a status line must end.
const STATUS_LINE: usize = 256;

pub(super) fn health(server: &Server) -> ExitCode {
    match check(server) {
        Ok(address) => {
            let _ = print(&format!("ready: http://{address}/readyz"));
            ExitCode::SUCCESS
        }
        Err(reason) => fail(1, &reason),
    }
}

fn check(server: &Server) -> Result<SocketAddr, String> {
    let address = reached_by(server)?;
    match status(address, &Clock::system(), PATIENCE) {
        Ok(200) => Ok(address),
        Ok(503) => Err(format!(
            "http://{address}/readyz says not ready (503): the store does not write, or the server is going down"
        )),
        Ok(other) => {
            Err(format!("http://{address}/readyz says {other}: this is not a switchboard's answer"))
        }
        Err(error) => Err(format!("http://{address}/readyz does not answer: {error}")),
    }
}

/// Where a process beside the server reaches it: on loopback, unless it listens on one other address only.
fn reached_by(server: &Server) -> Result<SocketAddr, String> {
    let (host, port) = (server.host.as_str(), server.port);
    if port == 0 {
        return Err(
            "server.port is 0, a free port that only the server knows; give it a number".into()
        );
    }
    let found = (host, port).to_socket_addrs().map(|mut all| all.next());
    let Ok(Some(mut address)) = found else {
        return Err(format!("server.host \"{host}\" is no address of this machine"));
    };
    if address.ip().is_unspecified() {
        let loopback: IpAddr =
            if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
        address.set_ip(loopback);
    }
    Ok(address)
}

/// The status of `GET /readyz`, within `patience` however slowly the answer comes.
fn status(address: SocketAddr, clock: &Clock, patience: Duration) -> std::io::Result<u16> {
    let deadline = clock.instant() + patience;
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_write_timeout(Some(left(clock, deadline)?))?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::with_capacity(STATUS_LINE);
    let mut buffer = [0; STATUS_LINE];
    loop {
        stream.set_read_timeout(Some(left(clock, deadline)?))?;
        let length = match stream.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(late()),
            other => other?,
        };
        answer.extend(buffer.iter().take(length));
        if let Some(end) = answer.windows(2).position(|pair| pair == b"\r\n") {
            return answer.get(..end).and_then(parse).ok_or_else(foreign);
        }
        if length == 0 || answer.len() >= STATUS_LINE {
            return Err(foreign());
        }
    }
}

/// The time until the deadline, which a socket can be given.
fn left(clock: &Clock, deadline: Instant) -> std::io::Result<Duration> {
    deadline.checked_duration_since(clock.instant()).filter(|left| !left.is_zero()).ok_or_else(late)
}

fn late() -> Error {
    Error::new(ErrorKind::TimedOut, format!("no answer within {} s", PATIENCE.as_secs()))
}

fn foreign() -> Error {
    Error::new(ErrorKind::InvalidData, "it does not speak HTTP/1.1")
}

/// The code of a status line (RFC 9112, section 4).
fn parse(line: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(line).ok()?;
    let code = line.strip_prefix("HTTP/1.1 ")?.split(' ').next()?;
    code.parse().ok().filter(|code| (100..=599).contains(code))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn server(host: &str, port: u16) -> Server {
        Server { host: host.into(), port, ..Server::default() }
    }

    /// Answers one connection with `answer`, and keeps it open where `hold` says so, until the one who asked has gone.
    fn answering(answer: &'static [u8], hold: bool) -> (u16, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                request.extend(byte);
            }
            stream.write_all(answer).unwrap();
            if hold {
                let _ = stream.read(&mut byte);
            }
            String::from_utf8(request).unwrap()
        });
        (port, thread)
    }

    #[test]
    fn what_readyz_says_is_what_health_says() {
        let (port, thread) = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", true);
        assert!(check(&server("0.0.0.0", port)).is_ok());
        let request = thread.join().unwrap();
        assert_eq!(
            request,
            format!("GET /readyz HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n")
        );
        for (answer, says) in [
            (&b"HTTP/1.1 503 Service Unavailable\r\n\r\n"[..], "not ready (503)"),
            (b"HTTP/1.1 404 Not Found\r\n\r\n", "says 404"),
            (b"HTTP/1.1 2000 OK\r\n\r\n", "does not speak HTTP/1.1"),
            (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak HTTP/1.1"),
            (b"HTTP/1.1 200", "does not speak HTTP/1.1"),
            (b"", "does not speak HTTP/1.1"),
            (&[b'x'; 4096], "does not speak HTTP/1.1"),
        ] {
            let (port, thread) = answering(answer, false);
            let refused = check(&server("127.0.0.1", port)).unwrap_err();
            assert!(refused.contains(says), "{refused}");
            let _ = thread.join();
        }
    }

    #[test]
    fn silence_ends_at_the_deadline() {
        let (port, thread) = answering(b"HTTP/1.1 2", true);
        let address = reached_by(&server("127.0.0.1", port)).unwrap();
        let refused = status(address, &Clock::system(), Duration::from_millis(50)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::TimedOut);
        thread.join().unwrap();
    }

    #[test]
    fn nobody_there_and_no_port_are_named() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let refused = check(&server("0.0.0.0", free)).unwrap_err();
        assert!(refused.contains("does not answer"), "{refused}");
        assert!(check(&server("0.0.0.0", 0)).unwrap_err().contains("server.port is 0"));
        assert!(check(&server("", 1)).unwrap_err().contains("server.host"));
    }

    #[test]
    fn every_host_is_reached_by_an_address_of_its_family() {
        for (host, reached) in
            [("0.0.0.0", "127.0.0.1:3001"), ("::", "[::1]:3001"), ("192.0.2.7", "192.0.2.7:3001")]
        {
            assert_eq!(reached_by(&server(host, 3001)).unwrap().to_string(), reached);
        }
    }
}
