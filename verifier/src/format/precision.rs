//! Parameters and stored bytes by element type.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::tensor::Tensor;

/// Parameters and stored bytes by element type.
#[derive(Debug, Default)]
pub(crate) struct Precisions(BTreeMap<Cow<'static, str>, (u64, u64)>);

impl Precisions {
    pub(crate) fn of(tensors: &[Tensor]) -> Self {
        let mut sums = Self::default();
        for tensor in tensors {
            sums.add(&tensor.element_type, tensor.elements(), tensor.byte_length);
        }
        sums
    }

    pub(crate) fn sum<'a>(parts: impl Iterator<Item = &'a Self>) -> Self {
        let mut sums = Self::default();
        for (name, (parameters, bytes)) in parts.flat_map(|part| &part.0) {
            sums.add(name, *parameters, *bytes);
        }
        sums
    }

    fn add(&mut self, name: &Cow<'static, str>, parameters: u64, bytes: u64) {
        let (all_parameters, all_bytes) = self.0.entry(name.clone()).or_default();
        *all_parameters = all_parameters.saturating_add(parameters);
        *all_bytes = all_bytes.saturating_add(bytes);
    }

    pub(crate) fn parameters(&self) -> u64 {
        self.0.values().fold(0, |sum, (parameters, _)| sum.saturating_add(*parameters))
    }

    fn bytes(&self) -> u64 {
        self.0.values().fold(0, |sum, (_, bytes)| sum.saturating_add(*bytes))
    }

    /// The element type that most parameters have.
    pub(crate) fn dominant(&self) -> Option<&str> {
        self.0.iter().max_by_key(|(_, (parameters, _))| *parameters).map(|(name, _)| name.as_ref())
    }

    #[expect(clippy::cast_precision_loss, reason = "a ratio for display; model sizes are far below 2^52")]
    pub(crate) fn bits_per_weight(&self) -> Option<f64> {
        let parameters = self.parameters();
        (parameters > 0).then(|| self.bytes() as f64 / parameters as f64 * 8.0)
    }
}
