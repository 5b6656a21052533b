//! A real `weighhouse serve` of a test's own, and the verbs that talk to it.
//!
//! Nothing is mocked: the program is the one that `cargo build -p api` leaves beside the
//! test programs, or the one that `WEIGHHOUSE_BINARY` names. Each server has a data folder,
//! a port and an administrator of its own, so tests run side by side.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long anything on a machine that also compiles may take.
pub const PATIENCE: Duration = Duration::from_mins(2);
const TOKEN_LENGTH: usize = 43;

/// The program under test.
///
/// # Panics
///
/// Where it has not been built.
#[expect(clippy::disallowed_methods, reason = "the surroundings of the tests, not configuration")]
pub fn binary() -> PathBuf {
    let named = std::env::var_os("WEIGHHOUSE_BINARY").map(PathBuf::from);
    let beside = || Some(std::env::current_exe().ok()?.parent()?.parent()?.join("weighhouse"));
    let binary = named.or_else(beside).unwrap_or_default();
    assert!(binary.is_file(), "{} is missing; build it with: cargo build -p api", binary.display());
    binary
}

/// A command that runs the program with nothing of this machine's configuration.
pub fn command<S: AsRef<OsStr>>(words: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("WEIGHHOUSE_") {
            command.env_remove(name);
        }
    }
    command.args(words).stdin(Stdio::null());
    command
}

/// Runs an offline verb to its end.
///
/// # Errors
///
/// Where the program cannot be started.
pub fn run<S: AsRef<OsStr>>(words: impl IntoIterator<Item = S>) -> io::Result<Output> {
    command(words).output()
}

/// What a program wrote.
///
/// # Panics
///
/// Where that is no text.
#[expect(clippy::expect_used, reason = "the surroundings of the tests")]
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("the program writes UTF-8")
}

/// Asserts how a run ended; returns its standard output.
///
/// # Panics
///
/// Where it ended otherwise.
#[track_caller]
pub fn exits(code: i32, output: &Output) -> String {
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "stdout: {stdout}\nstderr: {stderr}");
    stdout
}

/// A folder that goes when it is dropped.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// An empty folder.
    ///
    /// # Errors
    ///
    /// Where the machine's temporary folder cannot be written.
    pub fn new() -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("weighhouse-test-{}-{number}", std::process::id()));
        create(&path)?;
        Ok(Self(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn join(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    /// Writes a file, with the folders on its way.
    ///
    /// # Errors
    ///
    /// Where it cannot be written.
    pub fn write(&self, path: &str, content: &[u8]) -> io::Result<PathBuf> {
        let location = self.join(path);
        create(location.parent().unwrap_or(&self.0))?;
        write(&location, content)?;
        Ok(location)
    }
}

// This crate has no dependencies, so it names files in errors itself.
#[expect(clippy::disallowed_methods, reason = "fs_err is a dependency")]
fn create(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path).map_err(|error| named(path, &error))
}

#[expect(clippy::disallowed_methods, reason = "fs_err is a dependency")]
fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    std::fs::write(path, content).map_err(|error| named(path, &error))
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

impl Drop for Folder {
    #[expect(clippy::disallowed_methods, reason = "fs_err is a dependency")]
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running server; dropped, it is killed.
#[derive(Debug)]
pub struct Server {
    process: Child,
    data: Folder,
    /// Such as `127.0.0.1:40123`.
    pub address: String,
    /// The first administrator's.
    pub token: String,
}

impl Server {
    /// Starts a server on an empty data folder and a free port of the loopback.
    ///
    /// # Errors
    ///
    /// Where it does not start.
    pub fn start(settings: &[&str]) -> io::Result<Self> {
        let data = Folder::new()?;
        let (process, lines) = spawn(&data, "127.0.0.1:0", settings)?;
        let token = lines.iter().find_map(|line| line.find("hf_").and_then(|at| line.get(at..at + TOKEN_LENGTH)));
        let token = token.ok_or_else(|| io::Error::other("no first administrator's token"))?.to_owned();
        Ok(Self { process, data, address: address(&lines)?, token })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where the server keeps everything.
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// Ends the process as a power cut would.
    ///
    /// # Errors
    ///
    /// Where it cannot be killed.
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        self.process.kill()?;
        self.process.wait()
    }

    /// Starts another server on the same database, store and keys, with a data folder of its
    /// own. `settings` must name these three.
    ///
    /// # Errors
    ///
    /// Where it does not start.
    pub fn start_beside(&self, settings: &[&str]) -> io::Result<Self> {
        let data = Folder::new()?;
        let (process, lines) = spawn(&data, "127.0.0.1:0", settings)?;
        Ok(Self { process, data, address: address(&lines)?, token: self.token.clone() })
    }

    /// What the server has logged so far, over all its starts.
    ///
    /// # Errors
    ///
    /// Where the log cannot be read.
    #[expect(clippy::disallowed_methods, reason = "fs_err is a dependency")]
    pub fn log(&self) -> io::Result<String> {
        let path = self.data.join("server.log");
        std::fs::read_to_string(&path).map_err(|error| named(&path, &error))
    }

    /// Asks the process to end, as a service manager does.
    ///
    /// # Errors
    ///
    /// Where the signal cannot be sent.
    pub fn terminate(&self) -> io::Result<()> {
        let sent = Command::new("kill").arg("-TERM").arg(self.process.id().to_string()).status()?;
        if sent.success() { Ok(()) } else { Err(io::Error::other("the signal was not sent")) }
    }

    /// How the process ended; none while it runs.
    ///
    /// # Errors
    ///
    /// Where the system does not say.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.process.try_wait()
    }

    /// Starts the server again where it was.
    ///
    /// # Errors
    ///
    /// Where it does not start.
    pub fn start_again(&mut self, settings: &[&str]) -> io::Result<()> {
        (self.process, _) = spawn(&self.data, &self.address, settings)?;
        Ok(())
    }

    /// A verb that talks to this server as its administrator.
    pub fn command<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Command {
        let mut command = command(words);
        command.env("WEIGHHOUSE_URL", self.url()).env("WEIGHHOUSE_TOKEN", &self.token);
        command
    }

    /// Runs a verb to its end.
    ///
    /// # Errors
    ///
    /// Where the program cannot be started.
    pub fn run<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> io::Result<Output> {
        self.command(words).output()
    }

    /// Sends one request with a JSON body, past the command line; returns status and body.
    ///
    /// # Errors
    ///
    /// Where the server does not answer.
    pub fn request(&self, method: &str, path: &str, body: &str) -> io::Result<(u16, String)> {
        let authorization = format!("Authorization: Bearer {}", self.token);
        let answer = self.ask(method, path, &[&authorization, "Content-Type: application/json"], body)?;
        Ok((answer.status, answer.body))
    }

    /// Sends one request with exactly these headers, beside those that HTTP needs.
    ///
    /// # Errors
    ///
    /// Where the server does not answer.
    pub fn ask(&self, method: &str, path: &str, headers: &[&str], body: &str) -> io::Result<Answer> {
        let mut connection = self.open_request(method, path, headers, body.len())?;
        connection.write_all(body.as_bytes())?;
        Answer::read(connection)
    }

    /// Sends the head of a request whose body of `length` bytes is the caller's to send.
    ///
    /// # Errors
    ///
    /// Where the server cannot be reached.
    pub fn open_request(&self, method: &str, path: &str, headers: &[&str], length: usize) -> io::Result<TcpStream> {
        let mut connection = TcpStream::connect(&self.address)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        let headers: String = headers.iter().flat_map(|header| [header, "\r\n"]).collect();
        write!(
            connection,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n",
            self.address
        )?;
        Ok(connection)
    }
}

/// A complete answer whose body is text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Answer {
    /// Reads what comes until the server closes the connection.
    ///
    /// # Errors
    ///
    /// Where it is no answer.
    pub fn read(mut connection: TcpStream) -> io::Result<Self> {
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        let unreadable = || io::Error::other(format!("not an answer: {answer}"));
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(unreadable)?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(unreadable)?;
        let header =
            |line: &str| Some(line.split_once(": ")?).map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        Ok(Self { status, headers: head.lines().filter_map(header).collect(), body: body.to_owned() })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// Where a server says that it listens.
fn address(lines: &[String]) -> io::Result<String> {
    let address = lines.iter().find_map(|line| line.rsplit_once("http://")).map(|(_, address)| address.to_owned());
    address.ok_or_else(|| io::Error::other("no address"))
}

/// Starts the process and reads what it prints until it listens.
fn spawn(data: &Folder, listen: &str, settings: &[&str]) -> io::Result<(Child, Vec<String>)> {
    let log = create_log(&data.join("server.log"))?;
    let mut command = command(["serve"]);
    command.arg("--set").arg(format!("server.listen={listen}"));
    command.arg("--set").arg(format!("data_dir={}", data.join("data").display()));
    for setting in settings {
        command.args(["--set", setting]);
    }
    let mut process = command.stdout(Stdio::piped()).stderr(log).spawn()?;
    let mut lines = Vec::new();
    for line in process.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines) {
        let line = line?;
        let listens = line.contains("listens on");
        lines.push(line);
        if listens {
            return Ok((process, lines));
        }
    }
    let status = process.wait()?;
    Err(io::Error::other(format!("the server ended with {status}; see {}", data.join("server.log").display())))
}

#[expect(clippy::disallowed_methods, reason = "fs_err is a dependency")]
fn create_log(path: &Path) -> io::Result<std::fs::File> {
    std::fs::OpenOptions::new().create(true).append(true).open(path).map_err(|error| named(path, &error))
}

/// Asks again and again until there is an answer.
///
/// # Panics
///
/// After [`PATIENCE`], with what was waited for.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let limit = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < limit, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
