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
    pub(crate) temperature: Option<Temperature>,
    /// How much scores fall with each position of distance, for each head.
    pub(crate) slopes: Option<&'a [f32]>,
    /// One logit for each head beside those of the positions.
    pub(crate) sinks: Option<&'a [f32]>,
    /// Whether a position sees those before it alone.
    pub(crate) causal: bool,
}

/// The slopes of heads for a greatest bias (`ALiBi`): powers of one base, and for a number of heads
/// that is no power of two every second one of the next.
pub(crate) fn slopes(greatest: f64, heads: usize) -> Option<Vec<f32>> {
    let powers = 1 << heads.max(1).ilog2();
    #[expect(clippy::cast_precision_loss, reason = "there are few heads")]
    #[expect(clippy::cast_possible_truncation, reason = "the engine computes in 32 bits")]
    let slope = |head: usize| {
        let steps = if head < powers { (head + 1) as f64 } else { (head - powers) as f64 + 0.5 };
        (-greatest * steps / powers as f64).exp2() as f32
    };
    (greatest > 0.0).then(|| (0..heads).map(slope).collect())
}

/// Scores that grow with the logarithm of the position, by one step for each `stretch` of positions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Temperature {
    pub(crate) growth: f32,
    pub(crate) stretch: usize,
}

impl Temperature {
    fn at(self, position: usize) -> f32 {
        #[expect(clippy::cast_precision_loss, reason = "contexts are far shorter than 2^24 stretches")]
        let stretches = (position / self.stretch.max(1)) as f32;
        1.0 + self.growth * (stretches + 1.0).ln()
    }
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
        let scale = self.scale * self.temperature.map_or(1.0, |temperature| temperature.at(position));
        let slope = self.slopes.and_then(|slopes| slopes.get(head).copied()).unwrap_or(0.0);
        let score = |other: usize| {
            #[expect(clippy::cast_precision_loss, reason = "contexts are far shorter than 2^24")]
            let fall = slope * other.abs_diff(position) as f32;
            self.cap(scale * dot(query, &sides.keys[row(sides.keys, other)])) - fall
        };
        scores.extend(seen.clone().map(score));
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

    fn cap(&self, score: f32) -> f32 {
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
        temperature: None,
        slopes: None,
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
    fn slopes_are_powers_of_one_base_and_halfway_between_for_further_heads() {
        assert_eq!(slopes(8.0, 4).unwrap(), [0.25, 0.0625, 0.015_625, 0.003_906_25]);
        assert_close(&slopes(8.0, 3).unwrap(), &[0.0625, 0.003_906_25, 0.25]);
        assert_eq!(slopes(0.0, 4), None);
    }

    #[test]
    fn a_slope_favors_what_is_near() {
        let ln_two = std::f32::consts::LN_2;
        assert_close(&averages(&Attend { slopes: Some(&[ln_two]), ..PLAIN }, 1), &[(0.25 + 1.0 + 4.0) / 1.75]);
    }

    #[test]
    fn a_sink_takes_its_share_and_gives_nothing() {
        assert_close(&averages(&Attend { sinks: Some(&[0.0]), ..PLAIN }, 1), &[7.0 / 4.0]);
    }

    #[test]
    fn a_soft_cap_bounds_a_score() {
        let attend = Attend { soft_cap: Some(2.0), ..PLAIN };
        assert!((attend.cap(1e6) - 2.0).abs() < 1e-6);
        assert!((attend.cap(0.01) - 0.01).abs() < 1e-6);
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
