//! Root mean square and layer normalization.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::{dot, values};

/// Normalizes runs of `length` elements.
#[derive(Debug)]
pub(crate) struct Normalize {
    pub(crate) length: usize,
    /// Whether the mean is taken away first.
    pub(crate) centered: bool,
    pub(crate) epsilon: f32,
    /// For one run, or for several that follow each other again and again.
    pub(crate) gain: Option<Vec<f32>>,
    pub(crate) bias: Option<Vec<f32>>,
}

impl Normalize {
    pub(crate) fn apply(&self, input: &Tensor) -> Result<Tensor> {
        input.apply_op1_no_bwd(self)
    }

    fn run(&self, number: usize, input: &[f32], output: &mut [f32]) {
        #[expect(clippy::cast_precision_loss, reason = "a vector has far fewer elements than 2^24")]
        let length = input.len() as f32;
        let mean = if self.centered { input.iter().sum::<f32>() / length } else { 0.0 };
        for (output, input) in output.iter_mut().zip(input) {
            *output = input - mean;
        }
        let factor = (dot(output, output) / length + self.epsilon).sqrt().recip();
        for value in output.iter_mut() {
            *value *= factor;
        }
        for (gain, output) in self.part(self.gain.as_ref(), number).iter().zip(output.iter_mut()) {
            *output *= gain;
        }
        for (bias, output) in self.part(self.bias.as_ref(), number).iter().zip(output.iter_mut()) {
            *output += bias;
        }
    }

    /// What belongs to the run with this number.
    fn part<'a>(&self, learned: Option<&'a Vec<f32>>, number: usize) -> &'a [f32] {
        let Some(learned) = learned else { return &[] };
        let start = number * self.length % learned.len().max(1);
        learned.get(start..start + self.length).unwrap_or_default()
    }
}

impl CustomOp1 for Normalize {
    fn name(&self) -> &'static str {
        "normalize"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let input = values(storage, layout)?;
        let mut output = vec![0.0; input.len()];
        pulp::Arch::new().dispatch(|| {
            let runs = input.chunks_exact(self.length).zip(output.chunks_exact_mut(self.length));
            for (number, (input, output)) in runs.enumerate() {
                self.run(number, input, output);
            }
        });
        Ok((CpuStorage::F32(output), layout.shape().clone()))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn normalized(operation: &Normalize, input: &[f32]) -> Vec<f32> {
        let input = Tensor::new(input, &Device::Cpu).unwrap();
        operation.apply(&input).unwrap().to_vec1().unwrap()
    }

    fn assert_close(left: &[f32], right: &[f32]) {
        assert!(left.iter().zip(right).all(|(a, b)| (a - b).abs() < 1e-5), "{left:?} {right:?}");
    }

    #[test]
    fn the_root_mean_square_becomes_one_and_the_gain_follows() {
        let operation = Normalize { length: 2, centered: false, epsilon: 0.0, gain: Some(vec![1.0, 10.0]), bias: None };
        let root = 12.5_f32.sqrt();
        assert_close(
            &normalized(&operation, &[3.0, 4.0, 4.0, 3.0]),
            &[3.0 / root, 40.0 / root, 4.0 / root, 30.0 / root],
        );
    }

    #[test]
    fn layer_normalization_takes_the_mean_away_and_adds_a_bias() {
        let operation = Normalize { length: 2, centered: true, epsilon: 0.0, gain: None, bias: Some(vec![5.0, 5.0]) };
        assert_close(&normalized(&operation, &[1.0, 3.0]), &[4.0, 6.0]);
    }

    #[test]
    fn each_head_has_its_own_gain_where_there_are_as_many() {
        let gain = Some(vec![1.0, 1.0, 2.0, 2.0]);
        let operation = Normalize { length: 2, centered: false, epsilon: 0.0, gain, bias: None };
        assert_close(&normalized(&operation, &[1.0; 8]), &[1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 2.0, 2.0]);
    }
}
