//! What the registry has acknowledged. All of it must be true after every restart.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::content::Spec;

/// A revision whose commit was answered with success.
#[derive(Debug, Clone)]
pub(crate) struct Revision {
    pub(crate) model: String,
    pub(crate) commit: String,
    pub(crate) files: Vec<Spec>,
}

/// Where a ref may be: where it was acknowledged, and after that where a request whose answer
/// never came wanted it. None stands for a ref that does not exist.
pub(crate) type Places = Vec<Option<String>>;

/// Model, kind and name of a ref.
pub(crate) type RefName = (String, &'static str, String);

#[derive(Debug, Default)]
struct State {
    revisions: Vec<Revision>,
    refs: BTreeMap<RefName, Places>,
    /// Bytes that the registry said it holds, by digest.
    offsets: BTreeMap<String, u64>,
    /// Documents by evidence key.
    evidence: BTreeMap<String, String>,
    /// Evidence keys by commit and stage.
    selected: BTreeMap<(String, String), String>,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<State>);

impl Ledger {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn committed(&self, revision: Revision) {
        let mut state = self.state();
        if !state.revisions.iter().any(|known| known.model == revision.model && known.commit == revision.commit) {
            state.revisions.push(revision);
        }
    }

    /// All acknowledged revisions, oldest first.
    pub(crate) fn revisions(&self) -> Vec<Revision> {
        self.state().revisions.clone()
    }

    pub(crate) fn refs(&self) -> BTreeMap<RefName, Places> {
        self.state().refs.clone()
    }

    pub(crate) fn moving(&self, name: &RefName, to: Option<String>) {
        self.state().refs.entry(name.clone()).or_insert_with(|| vec![None]).push(to);
    }

    /// The ref is known to be there.
    pub(crate) fn moved(&self, name: &RefName, to: Option<String>) {
        self.state().refs.insert(name.clone(), vec![to]);
    }

    pub(crate) fn holds(&self, sha256: &str, offset: u64) {
        let mut state = self.state();
        let known = state.offsets.entry(sha256.to_owned()).or_default();
        *known = offset.max(*known);
    }

    /// Bytes of a file that may never be asked for again.
    pub(crate) fn offset(&self, sha256: &str) -> u64 {
        self.state().offsets.get(sha256).copied().unwrap_or_default()
    }

    /// Notes a revision's stages: a key has one document and a stage that is done one key, for ever.
    pub(crate) fn observe(&self, commit: &str, detail: &Value) {
        let mut state = self.state();
        for stage in detail["stages"].as_array().into_iter().flatten() {
            let (Some(name), Some(key)) = (stage["stage"].as_str(), stage["evidence_key"].as_str()) else { continue };
            let document = stage["evidence"].to_string();
            let known = state.evidence.entry(key.to_owned()).or_insert_with(|| document.clone());
            assert_eq!(*known, document, "evidence {key} has two results");
            let selected = state.selected.entry((commit.to_owned(), name.to_owned())).or_insert_with(|| key.to_owned());
            assert_eq!(selected, key, "the stage {name} of {commit} has two results");
        }
    }

    pub(crate) fn evidence_count(&self) -> usize {
        self.state().evidence.len()
    }
}
