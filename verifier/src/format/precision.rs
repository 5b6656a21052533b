//! Tensors, parameters and stored bytes by precision.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::document::QuantizationConfig;
use super::packing::{Packing, Role};
use super::tensor::Tensor;
use crate::evidence::Precision;

/// Precisions told apart; a hostile file may name as many element types as it has tensors.
const MAX_PRECISIONS: usize = 64;

/// The sums of one file or of a model.
#[derive(Debug, Default)]
pub(crate) struct Precisions {
    by_name: BTreeMap<Cow<'static, str>, Sum>,
    /// Bytes of scales, zero points and the like.
    auxiliary_bytes: u64,
}

#[derive(Debug, Default, Clone, Copy)]
struct Sum {
    tensors: u64,
    parameters: u64,
    bytes: u64,
}

impl Precisions {
    pub(crate) fn of(tensors: &[Tensor], config: Option<&QuantizationConfig>) -> Self {
        let packing = Packing::new(tensors, config);
        let mut sums = Self::default();
        for tensor in tensors {
            match packing.role(tensor) {
                Role::Parameters { precision, count } => {
                    sums.add(precision, Sum { tensors: 1, parameters: count, bytes: tensor.byte_length });
                }
                Role::Auxiliary => sums.auxiliary_bytes = sums.auxiliary_bytes.saturating_add(tensor.byte_length),
            }
        }
        sums
    }

    pub(crate) fn sum<'a>(parts: impl Iterator<Item = &'a Self>) -> Self {
        let mut sums = Self::default();
        for part in parts {
            for (name, sum) in &part.by_name {
                sums.add(name.clone(), *sum);
            }
            sums.auxiliary_bytes = sums.auxiliary_bytes.saturating_add(part.auxiliary_bytes);
        }
        sums
    }

    fn add(&mut self, name: Cow<'static, str>, sum: Sum) {
        let is_one_too_many = self.by_name.len() >= MAX_PRECISIONS && !self.by_name.contains_key(&name);
        let total = self.by_name.entry(if is_one_too_many { "others".into() } else { name }).or_default();
        total.tensors = total.tensors.saturating_add(sum.tensors);
        total.parameters = total.parameters.saturating_add(sum.parameters);
        total.bytes = total.bytes.saturating_add(sum.bytes);
    }

    pub(crate) fn parameters(&self) -> u64 {
        self.by_name.values().fold(0, |all, sum| all.saturating_add(sum.parameters))
    }

    /// Stored bytes, scales and zero points included.
    pub(crate) fn bytes(&self) -> u64 {
        self.by_name.values().fold(self.auxiliary_bytes, |all, sum| all.saturating_add(sum.bytes))
    }

    /// The precision that most parameters have.
    pub(crate) fn dominant(&self) -> Option<&str> {
        self.by_name.iter().max_by_key(|(_, sum)| sum.parameters).map(|(name, _)| name.as_ref())
    }

    #[expect(clippy::cast_precision_loss, reason = "a ratio for display; model sizes are far below 2^52")]
    pub(crate) fn bits_per_weight(&self) -> Option<f64> {
        let parameters = self.parameters();
        (parameters > 0).then(|| self.bytes() as f64 / parameters as f64 * 8.0)
    }

    /// The histogram, the precision of most parameters first.
    pub(crate) fn histogram(&self) -> Vec<Precision> {
        let entry = |(name, sum): (&Cow<'static, str>, &Sum)| Precision {
            name: name.clone().into_owned(),
            tensors: sum.tensors,
            parameters: sum.parameters,
            bytes: sum.bytes,
        };
        let mut histogram: Vec<Precision> = self.by_name.iter().map(entry).collect();
        histogram.sort_by(|a, b| b.parameters.cmp(&a.parameters).then_with(|| a.name.cmp(&b.name)));
        histogram
    }
}
