//! Keeps a file with a hundred thousand like mistakes from costing as many findings.

use std::collections::BTreeMap;

/// Findings of one code that are worth making; further ones cannot make the file any worse.
const MAX_ALIKE: u32 = 32;

/// How many findings of each code were made.
#[derive(Debug, Default)]
pub(super) struct Reports(BTreeMap<&'static str, u32>);

impl Reports {
    /// Whether a further finding of this code shall be made; counts it.
    pub(super) fn wants(&mut self, code: &'static str) -> bool {
        let count = self.0.entry(code).or_default();
        *count += 1;
        *count <= MAX_ALIKE
    }
}
