//! The low-rank matrices of an adapter: each pair must fit together.
//!
//! A pair is A of [rank, inputs] and B of [outputs, rank], named as PEFT names them
//! (`….lora_A.weight` and `….lora_B.weight`, with an adapter's name between for some).

use std::collections::{BTreeMap, BTreeSet};

use super::tensor::Tensor;

/// Ranks told apart; patterns give some layers another one.
const MAX_RANKS: usize = 32;

/// What the matrices of one file say together.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Lora {
    pub(crate) ranks: BTreeSet<u64>,
    /// Modules with only one of both matrices, or with matrices that do not fit.
    pub(crate) broken: Vec<String>,
}

#[derive(Default)]
struct Pair {
    a: Option<u64>,
    b: Option<u64>,
}

impl Lora {
    /// The pairs among `tensors`; none where there are no such matrices.
    pub(crate) fn of(tensors: &[Tensor]) -> Option<Self> {
        let mut pairs: BTreeMap<String, Pair> = BTreeMap::new();
        for tensor in tensors {
            match matrix(&tensor.name) {
                Some((module, true)) => pairs.entry(module).or_default().a = tensor.shape.first().copied(),
                Some((module, false)) => pairs.entry(module).or_default().b = tensor.shape.get(1).copied(),
                None => {}
            }
        }
        if pairs.is_empty() {
            return None;
        }
        let mut lora = Self::default();
        for (module, pair) in pairs {
            match (pair.a, pair.b) {
                (Some(a), Some(b)) if a == b => {
                    if lora.ranks.len() < MAX_RANKS {
                        lora.ranks.insert(a);
                    }
                }
                _ => lora.broken.push(module),
            }
        }
        Some(lora)
    }
}

/// The module that a matrix belongs to, and whether it is A.
fn matrix(name: &str) -> Option<(String, bool)> {
    let stem = name.strip_suffix(".weight")?;
    [(".lora_A", true), (".lora_B", false)].into_iter().find_map(|(mark, is_a)| {
        let at = stem.rfind(mark)?;
        let (module, rest) = (&stem[..at], &stem[at + mark.len()..]);
        (rest.is_empty() || rest.starts_with('.')).then(|| (format!("{module}{rest}"), is_a))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(name: &str, shape: &[u64]) -> Tensor {
        let (name, shape) = (name.to_owned(), shape.to_vec());
        Tensor { name, element_type: "F32".into(), shape, byte_length: 0, offset: None }
    }

    #[test]
    fn pairs_are_matched_by_module_and_rank() {
        let lora = Lora::of(&[
            tensor("q.lora_A.weight", &[8, 64]),
            tensor("q.lora_B.weight", &[32, 8]),
            tensor("k.lora_A.default.weight", &[4, 64]),
            tensor("k.lora_B.default.weight", &[32, 8]),
            tensor("v.lora_A.weight", &[8, 64]),
        ]);
        let expected = Lora { ranks: BTreeSet::from([8]), broken: vec!["k.default".to_owned(), "v".to_owned()] };
        assert_eq!(lora, Some(expected));
        assert_eq!(Lora::of(&[tensor("q.weight", &[8, 64])]), None);
    }
}
