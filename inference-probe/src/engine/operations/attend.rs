//! Attention of some positions to those before them.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::{dot, values};

/// Multiplications below which a second thread costs more than it saves.
const PARALLEL_FROM: usize = 1 << 18;

/// Attention in which groups of query heads share one key and value head.
#[derive(Debug)]
pub(crate) struct Attend<'a> {
    pub(crate) heads: usize,
    pub(crate) key_value_heads: usize,
    pub(crate) head_length: usize,
    pub(crate) scale: f32,
    pub(crate) soft_cap: Option<f32>,
    /// Positions that are seen, the present one among them.
    pub(crate) window: Option<usize>,
    /// One logit for each head beside those of the positions.
    pub(crate) sinks: Option<&'a [f32]>,
    /// Whether a position sees those before it alone.
    pub(crate) causal: bool,
}

impl Attend<'_> {
    /// Queries `[new, heads * length]`, keys and values `[all, key heads * length]`, where the new
    /// positions are the last of all; gives `[new, heads * length]`.
    pub(crate) fn apply(&self, query: &Tensor, keys: &Tensor, values: &Tensor) -> Result<Tensor> {
        query.apply_op3_no_bwd(keys, values, self)
    }

    /// The positions that the one with this number sees.
    fn seen(&self, position: usize, all: usize) -> std::ops::Range<usize> {
        if !self.causal {
            return 0..all;
        }
        let first = self.window.map_or(0, |window| (position + 1).saturating_sub(window));
        first..position + 1
    }

    /// One head of one position.
    fn mix(
        &self,
        head: usize,
        position: usize,
        query: &[f32],
        sides: &Sides<'_>,
        scores: &mut Vec<f32>,
        output: &mut [f32],
    ) {
        let length = self.head_length;
        let column = head / (self.heads / self.key_value_heads) * length;
        let seen = self.seen(position, sides.keys.len() / sides.width);
        let row = |side: &'_ [f32], position: usize| -> std::ops::Range<usize> {
            debug_assert!(position * sides.width < side.len());
            position * sides.width + column..position * sides.width + column + length
        };
        scores.clear();
        scores.extend(seen.clone().map(|position| self.score(dot(query, &sides.keys[row(sides.keys, position)]))));
        let share = soften(scores, self.sinks.and_then(|sinks| sinks.get(head).copied()));
        output.fill(0.0);
        for (position, score) in seen.zip(scores.iter()) {
            let value = &sides.values[row(sides.values, position)];
            output.iter_mut().zip(value).for_each(|(output, value)| *output += score * value);
        }
        for value in output {
            *value *= share;
        }
    }

    fn score(&self, product: f32) -> f32 {
        let score = product * self.scale;
        self.soft_cap.map_or(score, |cap| cap * (score / cap).tanh())
    }
}

/// Keys and values of all positions.
struct Sides<'a> {
    keys: &'a [f32],
    values: &'a [f32],
    /// Elements of one position.
    width: usize,
}

/// Turns scores into exponentials; gives the inverse of their sum.
fn soften(scores: &mut [f32], sink: Option<f32>) -> f32 {
    let highest = scores.iter().copied().chain(sink).fold(f32::NEG_INFINITY, f32::max);
    let mut sum = sink.map_or(0.0, |sink| (sink - highest).exp());
    for score in scores.iter_mut() {
        *score = (*score - highest).exp();
        sum += *score;
    }
    sum.recip()
}

impl CustomOp3 for Attend<'_> {
    fn name(&self) -> &'static str {
        "attend"
    }

    fn cpu_fwd(
        &self,
        query: &CpuStorage,
        query_layout: &Layout,
        keys: &CpuStorage,
        keys_layout: &Layout,
        side: &CpuStorage,
        side_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (new, _) = query_layout.shape().dims2()?;
        let (all, width) = keys_layout.shape().dims2()?;
        let (query, length) = (values(query, query_layout)?, self.head_length);
        let sides = Sides { keys: values(keys, keys_layout)?, values: values(side, side_layout)?, width };
        if width != self.key_value_heads * length || sides.values.len() != sides.keys.len() || all < new {
            candle_core::bail!("keys of {all} positions of {width} do not fit {new} queries");
        }
        let mut output = vec![0.0; query.len()];
        let arch = pulp::Arch::new();
        let task = |scores: &mut Vec<f32>, (index, (query, output)): (usize, (&[f32], &mut [f32]))| {
            let (row, head) = (index / self.heads, index % self.heads);
            arch.dispatch(|| self.mix(head, all - new + row, query, &sides, scores, output));
        };
        if query.len() * all < PARALLEL_FROM {
            let mut scores = Vec::with_capacity(all);
            let heads = query.chunks_exact(length).zip(output.chunks_exact_mut(length)).enumerate();
            heads.for_each(|head| task(&mut scores, head));
        } else {
            let heads = query.par_chunks_exact(length).zip(output.par_chunks_exact_mut(length)).enumerate();
            heads.for_each_init(|| Vec::with_capacity(all), task);
        }
        Ok((CpuStorage::F32(output), query_layout.shape().clone()))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    const PLAIN: Attend<'_> = Attend {
        heads: 1,
        key_value_heads: 1,
        head_length: 1,
        scale: 1.0,
        soft_cap: None,
        window: None,
        sinks: None,
        causal: true,
    };

    /// Equal keys and the values 1, 2, 4, so that the result tells what was seen.
    fn averages(attend: &Attend<'_>, new: usize) -> Vec<f32> {
        let query = Tensor::ones((new, 1), candle_core::DType::F32, &Device::Cpu).unwrap();
        let keys = Tensor::zeros((3, 1), candle_core::DType::F32, &Device::Cpu).unwrap();
        let values = Tensor::new(&[[1.0_f32], [2.0], [4.0]], &Device::Cpu).unwrap();
        attend.apply(&query, &keys, &values).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    fn assert_close(left: &[f32], right: &[f32]) {
        assert_eq!(left.len(), right.len());
        assert!(left.iter().zip(right).all(|(a, b)| (a - b).abs() < 1e-6), "{left:?} {right:?}");
    }

    #[test]
    fn a_position_sees_itself_and_those_before_it() {
        assert_close(&averages(&PLAIN, 3), &[1.0, 1.5, 7.0 / 3.0]);
        assert_close(&averages(&PLAIN, 1), &[7.0 / 3.0]);
    }

    #[test]
    fn a_window_hides_what_lies_further_back() {
        assert_close(&averages(&Attend { window: Some(2), ..PLAIN }, 3), &[1.0, 1.5, 3.0]);
    }

    #[test]
    fn without_causality_every_position_sees_all() {
        assert_close(&averages(&Attend { causal: false, ..PLAIN }, 3), &[7.0 / 3.0; 3]);
    }

    #[test]
    fn a_sink_takes_its_share_and_gives_nothing() {
        assert_close(&averages(&Attend { sinks: Some(&[0.0]), ..PLAIN }, 1), &[7.0 / 4.0]);
    }

    #[test]
    fn a_soft_cap_bounds_a_score() {
        let attend = Attend { soft_cap: Some(2.0), ..PLAIN };
        assert!((attend.score(1e6) - 2.0).abs() < 1e-6);
        assert!((attend.score(0.01) - 0.01).abs() < 1e-6);
    }

    #[test]
    fn query_heads_of_a_group_share_keys_and_values() {
        let attend = Attend { heads: 2, ..PLAIN };
        let query = Tensor::new(&[[1.0_f32, -1.0]], &Device::Cpu).unwrap();
        let keys = Tensor::new(&[[0.0_f32], [100.0]], &Device::Cpu).unwrap();
        let mixed = attend.apply(&query, &keys, &keys).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        assert_close(&mixed, &[100.0, 0.0]);
    }
}
