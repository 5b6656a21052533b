//! How many probes one process runs at once: as many as its memory holds.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The memory that the probes of this process share, by estimate.
#[derive(Debug, Clone)]
pub(super) struct Admission(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    budget: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    running: usize,
    estimated: u64,
    /// One was refused, and none of those that were in its way has ended since.
    is_refusing: bool,
}

/// The right of one probe to its memory; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    admission: Admission,
    bytes: u64,
}

impl Admission {
    pub(super) fn new(budget: u64) -> Self {
        Self(Arc::new(Shared { budget, state: Mutex::default() }))
    }

    /// Admits a probe beside those that run if the sum of all estimates fits. One that does not fit by
    /// itself is admitted alone: the sandbox holds its limit, and the report says what was too little.
    pub(super) fn admit(&self, bytes: u64) -> Option<Place> {
        let mut state = self.state();
        let fits = state.estimated.checked_add(bytes).is_some_and(|sum| sum <= self.0.budget);
        if state.running > 0 && !fits {
            state.is_refusing = true;
            return None;
        }
        state.running += 1;
        state.estimated = state.estimated.saturating_add(bytes);
        Some(Place { admission: self.clone(), bytes })
    }

    /// Whether it is of use to claim a probe. After a refusal it is not until a running one ends:
    /// smaller ones would keep the large one waiting forever.
    pub(super) fn is_open(&self) -> bool {
        !self.state().is_refusing
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The numbers are right even where a thread died that held them.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.admission.state();
        state.running -= 1;
        state.estimated = state.estimated.saturating_sub(self.bytes);
        state.is_refusing = false;
    }
}

#[cfg(test)]
mod tests {
    use super::Admission;

    #[test]
    fn probes_run_beside_each_other_while_the_sum_fits() {
        let admission = Admission::new(100);
        let first = admission.admit(60);
        let second = admission.admit(40);
        assert!(first.is_some() && second.is_some());
        assert!(admission.admit(1).is_none());
        drop(first);
        assert!(admission.admit(60).is_some());
    }

    #[test]
    fn refused_probe_is_next_because_no_other_is_claimed_before_one_ends() {
        let admission = Admission::new(100);
        let running = admission.admit(60);
        assert!(admission.is_open());
        assert!(admission.admit(50).is_none());
        assert!(!admission.is_open());
        drop(running);
        assert!(admission.is_open());
        assert!(admission.admit(50).is_some());
    }

    #[test]
    fn probe_larger_than_the_budget_runs_alone() {
        let admission = Admission::new(100);
        let small = admission.admit(1);
        assert!(admission.admit(500).is_none());
        drop(small);
        let large = admission.admit(500);
        assert!(large.is_some());
        assert!(admission.admit(1).is_none());
        drop(large);
        assert!(admission.admit(u64::MAX).is_some());
    }
}
