//! A worker that a hostile file has taken over, as far as the tests need one.
//!
//! `sandbox-escape try LAYER ATTEMPT` confines itself with one layer of the sandbox, or all,
//! and then tries something forbidden: exit code 0 means that it was refused, 1 that it
//! worked. `sandbox-escape worker MISDEED` behaves like a probe worker up to its first line
//! and then commits a misdeed.

#![expect(unsafe_code, reason = "an attacker does not stop at safe code")]

use std::io::{self, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, ExitCode};
use std::time::Duration;

use inference_probe::confine::{self, ResourceBounds};

const BOUNDS: ResourceBounds = ResourceBounds { memory_bytes: 256 << 20, wall_seconds: 60, threads: 2 };
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["try", layer, attempt] => try_to(layer, attempt),
        ["worker", misdeed] => misbehave(misdeed),
        _ => ExitCode::from(USAGE),
    }
}

fn try_to(layer: &str, attempt: &str) -> ExitCode {
    let confined = match layer {
        "all" => confine::enter(BOUNDS).is_ok_and(|confinement| confinement.seccomp),
        "landlock" => confine::restrict_paths() == "full",
        "seccomp" => confine::filter_system_calls(),
        "limits" => confine::lower_limits(BOUNDS).is_empty(),
        "none" => true,
        _ => false,
    };
    if !confined {
        return ExitCode::from(USAGE);
    }
    match perform(attempt) {
        Some(Ok(())) => ExitCode::from(1),
        Some(Err(error)) => {
            writeln!(io::stdout(), "{error}").ok();
            ExitCode::SUCCESS
        }
        None => ExitCode::from(USAGE),
    }
}

/// Tries one forbidden thing; none when the attempt is not known.
fn perform(attempt: &str) -> Option<io::Result<()>> {
    Some(match attempt {
        "udp" => UdpSocket::bind("127.0.0.1:0").map(drop),
        "tcp" => connect(),
        "unix-socket" => UnixListener::bind("/tmp/weighhouse-escape.sock").map(drop),
        "unix-pair" => UnixStream::pair().map(drop),
        "read-passwd" => fs_err::File::open("/etc/passwd").map(drop),
        "read-environment" => fs_err::read("/proc/self/environ").map(drop),
        "list-root" => fs_err::read_dir("/").map(drop),
        "write-file" => fs_err::write("/tmp/weighhouse-escape", "x"),
        "write-here" => fs_err::write("escape", "x"),
        "remove-file" => fs_err::remove_dir("/tmp/weighhouse-no-such-folder"),
        "start-program" => Command::new("/bin/true").status().map(drop),
        "big-file" => write_unlinked_file(),
        "allocate" => allocate(),
        other => return system_call(other),
    })
}

fn connect() -> io::Result<()> {
    // Nobody needs to listen: being refused by the other side proves that the connection was tried.
    match TcpStream::connect("127.0.0.1:9") {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        connected => connected.map(drop),
    }
}

fn write_unlinked_file() -> io::Result<()> {
    // SAFETY: resets the handler to ignoring, so that the refused write returns an error.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    tempfile::tempfile()?.write_all(b"x")
}

fn allocate() -> io::Result<()> {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    for _ in 0..64 {
        let mut block = Vec::new();
        block.try_reserve_exact(16 << 20).map_err(io::Error::other)?;
        block.resize(16 << 20, 1);
        kept.push(block);
    }
    Ok(())
}

fn system_call(name: &str) -> Option<io::Result<()>> {
    const X32: i64 = 0x4000_0000;
    let zero = 0_i64;
    let (number, arguments) = match name {
        "fork" => (libc::SYS_clone, [i64::from(libc::SIGCHLD), zero, zero]),
        "clone3" => (libc::SYS_clone3, [zero, zero, zero]),
        "ptrace" => (libc::SYS_ptrace, [i64::from(libc::PTRACE_TRACEME), zero, zero]),
        "kill-parent" => (libc::SYS_kill, [i64::from(std::os::unix::process::parent_id()), zero, zero]),
        "signal-parent-thread" => {
            let parent = i64::from(std::os::unix::process::parent_id());
            (libc::SYS_tgkill, [parent, parent, zero])
        }
        "read-parent-memory" => {
            (libc::SYS_process_vm_readv, [i64::from(std::os::unix::process::parent_id()), zero, zero])
        }
        "unshare" => (libc::SYS_unshare, [i64::from(libc::CLONE_NEWUSER), zero, zero]),
        "mount" => (libc::SYS_mount, [zero, zero, zero]),
        "memfd" => (libc::SYS_memfd_create, [c"x".as_ptr() as i64, zero, zero]),
        "io-uring" => (libc::SYS_io_uring_setup, [1, zero, zero]),
        "bpf" => (libc::SYS_bpf, [zero, zero, zero]),
        "perf" => (libc::SYS_perf_event_open, [zero, zero, zero]),
        "keyctl" => (libc::SYS_keyctl, [zero, zero, zero]),
        "userfaultfd" => (libc::SYS_userfaultfd, [zero, zero, zero]),
        "ioctl" => (libc::SYS_ioctl, [1, 0x5401, zero]),
        "dumpable" => (libc::SYS_prctl, [i64::from(libc::PR_SET_DUMPABLE), 1, zero]),
        "raise-limit" => (libc::SYS_prlimit64, [zero, i64::from(libc::RLIMIT_AS), c"0123456789abcdef".as_ptr() as i64]),
        "executable-memory" => (libc::SYS_mmap, [zero, 4096, i64::from(libc::PROT_READ | libc::PROT_EXEC)]),
        "x32-getpid" => (X32 | libc::SYS_getpid, [zero, zero, zero]),
        _ => return None,
    };
    Some(call(number, arguments))
}

fn call(number: i64, [first, second, third]: [i64; 3]) -> io::Result<()> {
    let (flags, descriptor) = (i64::from(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS), -1_i64);
    // SAFETY: each call is refused by the sandbox under test; those that are not take no pointer,
    // a null pointer, or a pointer to a literal.
    match unsafe { libc::syscall(number, first, second, third, flags, descriptor, 0_i64) } {
        -1 => Err(io::Error::last_os_error()),
        // The forked child has nothing to do.
        0 if number == libc::SYS_clone => std::process::abort(),
        _ => Ok(()),
    }
}

/// Behaves until its first line, then does `misdeed`.
fn misbehave(misdeed: &str) -> ExitCode {
    io::stdin().lock().read_to_end(&mut Vec::new()).ok();
    if confine::enter(BOUNDS).is_err() {
        return ExitCode::from(USAGE);
    }
    say(
        r#"{"v":1,"event":"start","engine":"escape","engine_version":"1","device":"cpu","confinement":{"landlock":"full","seccomp":true,"missing_limits":[]}}"#,
    );
    say(r#"{"v":1,"event":"stage","level":"L0"}"#);
    match misdeed {
        "flood-lines" => loop {
            say(&"x".repeat(1000));
        },
        "flood-without-line-feed" => loop {
            io::stdout().write_all(&[b'x'; 1 << 14]).ok();
        },
        "flood-errors" => loop {
            io::stderr().write_all(&[b'e'; 1 << 14]).ok();
        },
        "lie" => {
            say(r#"{"v":1,"event":"result","verdict":"passed","reason":"trust me","measured":{"threads":1}}"#);
        }
        "spin" => loop {
            std::hint::spin_loop();
        },
        "sleep" => std::thread::sleep(Duration::from_mins(10)),
        "take-memory" => {
            let mut kept = Vec::new();
            loop {
                kept.push(vec![1_u8; 4 << 20]);
            }
        }
        "take-memory-at-once" => drop(std::hint::black_box(vec![1_u8; 64 << 30])),
        "panic" => panic!("an index was out of bounds\u{1b}[2J"),
        "abort" => std::process::abort(),
        "close-output" => {
            // SAFETY: closes a descriptor by number; nothing is printed afterwards.
            unsafe { libc::close(1) };
            std::thread::sleep(Duration::from_mins(10));
        }
        "silence" => {}
        _ => return ExitCode::from(USAGE),
    }
    ExitCode::SUCCESS
}

fn say(line: &str) {
    writeln!(io::stdout(), "{line}").ok();
}
