//! The nonlinearity of the feed-forward layer.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::values;
use crate::engine::architecture::Activation;

/// Elements that one task computes.
const PIECE: usize = 8 << 10;
const SWISH_STEEPNESS: f32 = 1.702;
const SWISH_LIMIT: f32 = 7.0;

/// `activation(input)`.
pub(crate) fn activate(activation: Activation, input: &Tensor) -> Result<Tensor> {
    input.apply_op1_no_bwd(&Activate(activation))
}

/// `activation(gate) * up`.
pub(crate) fn activate_gated(activation: Activation, gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    gate.apply_op2_no_bwd(up, &Activate(activation))
}

struct Activate(Activation);

impl Activate {
    fn of(&self, input: f32) -> f32 {
        match self.0 {
            Activation::Silu => input / (1.0 + (-input).exp()),
            Activation::Gelu => {
                let inner = 0.797_884_6 * input * (1.0 + 0.044_715 * input * input);
                0.5 * input * (1.0 + inner.tanh())
            }
            Activation::GeluExact => 0.5 * input * (1.0 + error_function(input * std::f32::consts::FRAC_1_SQRT_2)),
            Activation::SquaredRelu => {
                let positive = input.max(0.0);
                positive * positive
            }
            Activation::ClampedSwish => {
                let input = input.min(SWISH_LIMIT);
                input / (1.0 + (-SWISH_STEEPNESS * input).exp())
            }
        }
    }

    fn gated(&self, gate: f32, up: f32) -> f32 {
        let up = match self.0 {
            Activation::ClampedSwish => up.clamp(-SWISH_LIMIT, SWISH_LIMIT) + 1.0,
            _ => up,
        };
        self.of(gate) * up
    }
}

/// Abramowitz and Stegun 7.1.26, in double precision; its error is below 1.5e-7.
fn error_function(input: f32) -> f32 {
    let magnitude = f64::from(input.abs());
    let t = 1.0 / (1.0 + 0.327_591_1 * magnitude);
    let polynomial =
        t * (0.254_829_592 + t * (-0.284_496_736 + t * (1.421_413_741 + t * (-1.453_152_027 + t * 1.061_405_429))));
    #[expect(clippy::cast_possible_truncation, reason = "the engine computes in 32 bits")]
    let positive = (1.0 - polynomial * (-magnitude * magnitude).exp()) as f32;
    positive.copysign(input)
}

impl CustomOp1 for Activate {
    fn name(&self) -> &'static str {
        "activate"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut output = values(storage, layout)?.to_vec();
        in_pieces(&mut output, |_, piece| piece.iter_mut().for_each(|value| *value = self.of(*value)));
        Ok((CpuStorage::F32(output), layout.shape().clone()))
    }
}

impl CustomOp2 for Activate {
    fn name(&self) -> &'static str {
        "activate-gated"
    }

    fn cpu_fwd(
        &self,
        gate: &CpuStorage,
        gate_layout: &Layout,
        up: &CpuStorage,
        up_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (mut output, up) = (values(gate, gate_layout)?.to_vec(), values(up, up_layout)?);
        if up.len() != output.len() {
            candle_core::bail!("a gate of {} elements for {}", output.len(), up.len());
        }
        in_pieces(&mut output, |start, piece| {
            for (value, up) in piece.iter_mut().zip(&up[start..]) {
                *value = self.gated(*value, *up);
            }
        });
        Ok((CpuStorage::F32(output), gate_layout.shape().clone()))
    }
}

/// On several threads where there is enough to do.
fn in_pieces(values: &mut [f32], work: impl Fn(usize, &mut [f32]) + Sync) {
    if values.len() <= PIECE {
        work(0, values);
    } else {
        values.par_chunks_mut(PIECE).enumerate().for_each(|(number, piece)| work(number * PIECE, piece));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values from tables and from the definitions in double precision.
    #[test]
    fn activations_have_their_known_values() {
        for (activation, input, expected) in [
            (Activation::Silu, 1.0, 0.731_058_6),
            (Activation::Gelu, 1.0, 0.841_192),
            (Activation::GeluExact, 1.0, 0.841_344_7),
            (Activation::GeluExact, -2.0, -0.045_500_26),
            (Activation::SquaredRelu, 1.5, 2.25),
            (Activation::SquaredRelu, -1.5, 0.0),
            (Activation::ClampedSwish, 9.0, 6.999_953_3),
        ] {
            let value = Activate(activation).of(input);
            assert!((value - expected).abs() < 1e-5, "{activation:?} of {input} is {value}");
        }
    }

    #[test]
    fn the_clamped_swish_bounds_and_shifts_what_it_gates() {
        let operation = Activate(Activation::ClampedSwish);
        assert!((operation.gated(9.0, 100.0) - 8.0 * operation.of(7.0)).abs() < 1e-5);
        assert!(operation.gated(1.0, -1.0).abs() < 1e-7);
    }
}
