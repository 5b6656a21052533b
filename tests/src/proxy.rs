//! A network that a test holds in its hand: bytes pass to the server only as far as the test
//! has allowed, so "in the middle of an upload" is a place and not a matter of luck.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Listens on the loopback and forwards every connection to one server.
#[derive(Debug)]
pub struct Proxy {
    /// Such as `127.0.0.1:40124`.
    pub address: String,
    gate: Arc<Gate>,
}

#[derive(Debug, Default)]
struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes that may still pass to the server; none for as many as there are.
    left: Option<u64>,
    /// Bytes that have passed to the server.
    passed: u64,
    /// How often all connections were cut.
    cuts: u32,
}

impl Proxy {
    /// Forwards to `server`, at first at most `allowance` bytes of requests.
    ///
    /// # Errors
    ///
    /// Where the loopback has no free port.
    pub fn start(server: &str, allowance: u64) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let gate = Arc::new(Gate {
            state: Mutex::new(State { left: Some(allowance), ..State::default() }),
            changed: Condvar::new(),
        });
        let (server, at_gate) = (server.to_owned(), gate.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A connection that finds no server ends at once, as without a proxy.
                if let Ok(upstream) = TcpStream::connect(&server) {
                    forward(client, upstream, &at_gate);
                }
            }
        });
        Ok(Self { address, gate })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Bytes of requests that have passed.
    pub fn passed(&self) -> u64 {
        self.gate.lock().passed
    }

    /// Lets `bytes` more pass.
    pub fn allow(&self, bytes: u64) {
        let mut state = self.gate.lock();
        state.left = state.left.map(|left| left + bytes);
        self.gate.changed.notify_all();
    }

    /// Ends all connections there are. A connection that stands still notices nothing else,
    /// not even that its client has died.
    pub fn cut(&self) {
        self.gate.lock().cuts += 1;
        self.gate.changed.notify_all();
    }

    /// Lets everything pass from now on.
    pub fn open(&self) {
        self.gate.lock().left = None;
        self.gate.changed.notify_all();
    }
}

impl Gate {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until some of `wanted` bytes may pass; returns how many, or none when the
    /// connection has been cut since `cuts`.
    fn pass(&self, wanted: usize, cuts: u32) -> Option<usize> {
        let mut state = self.lock();
        while state.left == Some(0) && state.cuts == cuts {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.cuts != cuts {
            return None;
        }
        let allowed = state.left.map_or(wanted, |left| wanted.min(usize::try_from(left).unwrap_or(usize::MAX)));
        state.left = state.left.map(|left| left - allowed as u64);
        state.passed += allowed as u64;
        Some(allowed)
    }
}

fn forward(client: TcpStream, upstream: TcpStream, gate: &Arc<Gate>) {
    let (Ok(mut to_client), Ok(mut from_upstream)) = (client.try_clone(), upstream.try_clone()) else { return };
    let gate = gate.clone();
    std::thread::spawn(move || {
        // Either side may end at any time; that is what the tests are about.
        let _ = io::copy(&mut from_upstream, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Both);
    });
    std::thread::spawn(move || {
        let _ = requests(client, &upstream, &gate);
        let _ = upstream.shutdown(Shutdown::Both);
    });
}

fn requests(mut client: TcpStream, mut upstream: &TcpStream, gate: &Gate) -> io::Result<()> {
    let cuts = gate.lock().cuts;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = client.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        let mut sent = 0;
        while sent < read {
            let Some(allowed) = gate.pass(read - sent, cuts) else { return Ok(()) };
            upstream.write_all(&buffer[sent..sent + allowed])?;
            sent += allowed;
        }
    }
}
