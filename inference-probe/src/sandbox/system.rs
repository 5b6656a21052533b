//! The system calls that Rust's standard library has no safe form of.
//!
//! The only module of this crate with `unsafe` code: each function wraps one or two calls
//! and is safe to call.

#![expect(unsafe_code, reason = "descriptor inheritance, resource limits and process groups need raw system calls")]

use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// A resource of `setrlimit(2)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resource {
    AddressSpace,
    Data,
    CpuSeconds,
    FileSize,
    CoreSize,
    OpenFiles,
}

impl Resource {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::AddressSpace => "RLIMIT_AS",
            Self::Data => "RLIMIT_DATA",
            Self::CpuSeconds => "RLIMIT_CPU",
            Self::FileSize => "RLIMIT_FSIZE",
            Self::CoreSize => "RLIMIT_CORE",
            Self::OpenFiles => "RLIMIT_NOFILE",
        }
    }
}

/// Makes the child of `command` inherit `descriptors`, lead a process group of its own, and
/// die when the thread that started it ends.
pub(crate) fn inherit(command: &mut Command, descriptors: Vec<RawFd>) {
    command.process_group(0);
    let prepare = move || {
        for descriptor in &descriptors {
            // SAFETY: `fcntl` with F_SETFD takes an integer and touches no memory.
            check(unsafe { libc::fcntl(*descriptor, libc::F_SETFD, 0) })?;
        }
        // SAFETY: `prctl` with PR_SET_PDEATHSIG takes a signal number and touches no memory.
        check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) })
    };
    // SAFETY: between fork and exec the closure makes system calls only; it neither allocates
    // nor takes a lock, and the descriptors are changed in the child's own table.
    unsafe { command.pre_exec(prepare) };
}

/// Kills every process of the group that `leader` leads. `leader` must not have been reaped yet.
pub(crate) fn kill_group(leader: u32) {
    let Ok(group) = libc::pid_t::try_from(leader) else { return };
    // SAFETY: `kill` takes integers and touches no memory. Failure means that the group is already gone.
    unsafe { libc::kill(-group, libc::SIGKILL) };
}

/// Takes ownership of a descriptor that the parent left open for this process.
pub(crate) fn adopt(descriptor: RawFd) -> io::Result<File> {
    // SAFETY: `fcntl` with F_GETFD takes an integer and touches no memory.
    check(unsafe { libc::fcntl(descriptor, libc::F_GETFD) })?;
    // SAFETY: the descriptor is open, as was just seen, and belongs to nobody else: the parent
    // made it inheritable for this purpose, and this process has opened nothing under that number.
    Ok(unsafe { File::from_raw_fd(descriptor) })
}

/// Closes every descriptor above standard error except `kept`.
pub(crate) fn close_all_except(kept: &[RawFd]) -> io::Result<()> {
    let mut kept: Vec<u32> = kept.iter().filter_map(|descriptor| u32::try_from(*descriptor).ok()).collect();
    kept.sort_unstable();
    let mut first = 3;
    for descriptor in kept {
        close_range(first, descriptor.saturating_sub(1))?;
        first = descriptor + 1;
    }
    close_range(first, u32::MAX)
}

fn close_range(first: u32, last: u32) -> io::Result<()> {
    if first > last {
        return Ok(());
    }
    // SAFETY: called before this process opens anything of its own, so no Rust object owns a
    // descriptor of the range; the call touches no memory.
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Lowers the soft and the hard limit of `resource` to `value`, or to the present hard limit where that is lower.
pub(crate) fn limit(resource: Resource, value: u64) -> io::Result<()> {
    let resource = match resource {
        Resource::AddressSpace => libc::RLIMIT_AS,
        Resource::Data => libc::RLIMIT_DATA,
        Resource::CpuSeconds => libc::RLIMIT_CPU,
        Resource::FileSize => libc::RLIMIT_FSIZE,
        Resource::CoreSize => libc::RLIMIT_CORE,
        Resource::OpenFiles => libc::RLIMIT_NOFILE,
    };
    let mut present = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live local of the type that the call fills.
    check(unsafe { libc::getrlimit(resource, &raw mut present) })?;
    let value = value.min(present.rlim_max);
    let lowered = libc::rlimit { rlim_cur: value, rlim_max: value };
    // SAFETY: the pointer is to a live local that the call only reads.
    check(unsafe { libc::setrlimit(resource, &raw const lowered) })
}

/// Sets the number of threads of the engine's pools, which read it from the environment once.
///
/// Must be called while this process has a single thread.
pub(crate) fn set_engine_threads(threads: u32) {
    // SAFETY: the worker has started no thread yet (`confine::enter` refuses otherwise), so
    // nothing reads the environment at the same time.
    unsafe { std::env::set_var("RAYON_NUM_THREADS", threads.to_string()) };
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
