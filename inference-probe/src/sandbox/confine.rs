//! What the child does to itself before it reads the first byte of a model.
//!
//! Three independent layers, each of which holds where another is missing: resource limits
//! bound memory, time and output; landlock takes every path and TCP port away; a seccomp
//! filter allows the few system calls that computing on open descriptors needs and answers
//! all others with `EPERM`. What the kernel does not enforce is reported, not hidden.

use std::collections::BTreeMap;
use std::io;

use landlock::{ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetStatus, Scope};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use super::system::{self, Resource};
use crate::protocol::Confinement;

/// Address space beyond the memory limit: the program itself, stacks and what the allocator
/// reserves without using. Resident memory is bounded exactly, by `RLIMIT_DATA` and the parent.
const ADDRESS_SPACE_ALLOWANCE: u64 = 1 << 30;
/// Descriptors that standard streams, the model's files and the runtime may use.
const OPEN_FILES: u64 = 64;
/// Processor time beyond `threads * wall`, for rounding.
const CPU_SECONDS_ALLOWANCE: u64 = 5;

/// Why the child cannot confine itself.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    #[error("the worker has {0} threads, but only the calling thread would be confined")]
    Threads(usize),
    #[error("the number of threads is unknown: {0}")]
    UnknownThreads(io::Error),
}

/// Bounds of the child's resources.
#[derive(Debug, Clone, Copy)]
pub struct ResourceBounds {
    pub memory_bytes: u64,
    pub wall_seconds: u64,
    pub threads: u32,
}

/// Confines the calling process for the rest of its life.
///
/// Must run while the process has one thread, because landlock restricts the calling thread
/// and those it starts later.
pub fn enter(bounds: ResourceBounds) -> Result<Confinement, ConfineError> {
    match thread_count().map_err(ConfineError::UnknownThreads)? {
        1 => {}
        threads => return Err(ConfineError::Threads(threads)),
    }
    // Before the limits: a ruleset takes a descriptor, which a model of many files may leave none for.
    let landlock = restrict_paths().to_owned();
    let missing_limits = lower_limits(bounds);
    let seccomp = filter_system_calls();
    Ok(Confinement { landlock, seccomp, missing_limits })
}

fn thread_count() -> io::Result<usize> {
    Ok(fs_err::read_dir("/proc/self/task")?.count())
}

/// Lowers the resource limits; returns the names of those that could not be lowered.
pub fn lower_limits(bounds: ResourceBounds) -> Vec<String> {
    let cpu = bounds.wall_seconds.saturating_mul(u64::from(bounds.threads)).saturating_add(CPU_SECONDS_ALLOWANCE);
    let limits = [
        (Resource::AddressSpace, bounds.memory_bytes.saturating_add(ADDRESS_SPACE_ALLOWANCE)),
        (Resource::Data, bounds.memory_bytes),
        (Resource::CpuSeconds, cpu),
        (Resource::FileSize, 0),
        (Resource::CoreSize, 0),
        (Resource::OpenFiles, OPEN_FILES),
    ];
    let refused = limits.into_iter().filter(|(resource, value)| system::limit(*resource, *value).is_err());
    refused.map(|(resource, _)| resource.name().to_owned()).collect()
}

/// Takes away every path, TCP port, abstract socket and signal target: `full`, `partial` or `none`.
pub fn restrict_paths() -> &'static str {
    let restricted = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V6))
        .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(ABI::V6)))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(ABI::V6)))
        .and_then(Ruleset::create)
        .and_then(landlock::RulesetCreated::restrict_self);
    match restricted.map(|status| status.ruleset) {
        Ok(RulesetStatus::FullyEnforced) => "full",
        Ok(RulesetStatus::PartiallyEnforced) => "partial",
        Ok(RulesetStatus::NotEnforced) | Err(_) => "none",
    }
}

/// Installs the system call filter on all threads.
pub fn filter_system_calls() -> bool {
    // On a tie of severity the filter installed last speaks, so `clone3` is answered by the
    // first of the two although the second, which allows it, is asked as well.
    let programs = [refuse_clone3(), allow_listed()];
    programs
        .into_iter()
        .all(|program| program.is_ok_and(|program: BpfProgram| seccompiler::apply_filter_all_threads(&program).is_ok()))
}

/// `clone3` passes its flags in memory, where a filter cannot see them. "Not implemented"
/// makes the C library fall back to `clone`, whose flags the allow-list checks.
fn refuse_clone3() -> Result<BpfProgram, seccompiler::BackendError> {
    let rules = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    filter(rules, SeccompAction::Allow, errno(libc::ENOSYS))
}

fn allow_listed() -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
    rules.insert(libc::SYS_clone, vec![masked(0, flag(libc::CLONE_THREAD), flag(libc::CLONE_THREAD))?]);
    rules.insert(libc::SYS_mmap, vec![masked(2, flag(libc::PROT_EXEC), 0)?]);
    rules.insert(libc::SYS_mprotect, vec![masked(2, flag(libc::PROT_EXEC), 0)?]);
    rules.insert(libc::SYS_prctl, vec![masked(0, u64::MAX, flag(libc::PR_SET_NAME))?]);
    // Reading a limit, which the C library does when a thread starts; not setting one.
    rules.insert(libc::SYS_prlimit64, vec![masked(2, u64::MAX, 0)?]);
    // `abort` signals its own process.
    rules.insert(libc::SYS_tgkill, vec![masked(0, u64::MAX, u64::from(std::process::id()))?]);
    filter(rules, errno(libc::EPERM), SeccompAction::Allow)
}

/// What computing on open descriptors needs: reading and writing them, memory, threads, time.
const ALLOWED: &[i64] = &[
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_clone3,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_pread64,
    libc::SYS_read,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    libc::SYS_write,
    libc::SYS_writev,
];

fn filter(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<BpfProgram, seccompiler::BackendError> {
    SeccompFilter::new(rules, otherwise, matched, std::env::consts::ARCH.try_into()?)?.try_into()
}

/// A rule that holds when the bits of `mask` in argument `index` are those of `value`.
fn masked(index: u8, mask: u64, value: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    let condition = SeccompCondition::new(index, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(mask), value)?;
    SeccompRule::new(vec![condition])
}

fn flag(bits: i32) -> u64 {
    u64::from(bits.unsigned_abs())
}

fn errno(code: i32) -> SeccompAction {
    SeccompAction::Errno(code.unsigned_abs())
}
