//! A client that notices every broken connection. It repeats nothing by itself: what was
//! acknowledged and what was not is what this test is about.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

const PIECE_BYTES: usize = 64 << 10;

/// Where the server is and who asks.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    pub(crate) address: String,
    pub(crate) token: String,
}

/// A complete answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The code of a problem document.
    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// The document of a success; anything else fails the test.
    pub(crate) fn expect_json(&self, what: &str) -> Value {
        assert!(self.is_success(), "{what}: {} {}", self.status, String::from_utf8_lossy(&self.body));
        self.json()
    }
}

impl Api {
    pub(crate) fn get(&self, path: &str) -> io::Result<Answer> {
        self.send("GET", path, &[], || {})
    }

    pub(crate) fn call(&self, method: &str, path: &str, body: &Value) -> io::Result<Answer> {
        self.send(method, path, body.to_string().as_bytes(), || {})
    }

    /// Sends `body` in pieces with `pause` before each.
    pub(crate) fn send(&self, method: &str, path: &str, body: &[u8], mut pause: impl FnMut()) -> io::Result<Answer> {
        let mut connection = self.connect()?;
        connection.write_all(self.head(method, path, body.len()).as_bytes())?;
        for piece in body.chunks(PIECE_BYTES) {
            pause();
            if let Err(error) = connection.write_all(piece) {
                // A server that takes no more may have said why.
                return read_answer(connection).map_err(|_| error);
            }
        }
        read_answer(connection)
    }

    /// An open connection, for a request that will not be a proper one.
    pub(crate) fn connect(&self) -> io::Result<TcpStream> {
        let connection = TcpStream::connect(&self.address)?;
        connection.set_read_timeout(Some(Duration::from_mins(1)))?;
        connection.set_nodelay(true)?;
        Ok(connection)
    }

    pub(crate) fn head(&self, method: &str, path: &str, length: usize) -> String {
        format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n",
            self.address, self.token
        )
    }
}

/// Reads one answer; one that is cut off is an error.
pub(crate) fn read_answer(connection: TcpStream) -> io::Result<Answer> {
    let mut reader = BufReader::new(connection);
    let cut = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(cut)?;
    let mut length = 0;
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Err(cut());
        }
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().map_err(|_| cut())?;
            }
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Answer { status, body })
}
