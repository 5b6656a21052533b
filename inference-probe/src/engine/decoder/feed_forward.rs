//! The layer after attention: one network, or a choice among many.

use candle_core::{Device, Tensor};

use super::{EngineError, Plan, index};
use crate::engine::architecture::{Activation, Gate, Routing, SharedExpert};
use crate::engine::layers::Network;
use crate::engine::weights::Linear;

/// The least sum that shares are divided by, as in llama.cpp: the smallest normal half-precision number.
const LEAST_SUM: f32 = 6.103_515_6e-5;

pub(super) enum FeedForward {
    Dense(Network),
    Experts(Experts),
}

/// Networks of which each token goes through a few.
pub(super) struct Experts {
    router: Linear,
    networks: Vec<Network>,
    shared: Option<(Network, Option<Linear>)>,
    used: usize,
    routing: Routing,
    weights_scale: f32,
}

impl FeedForward {
    pub(super) fn load(plan: Plan<'_>, block: u64) -> Result<Self, EngineError> {
        let kind = plan.architecture.feed_forward;
        if plan.sizes.experts.is_some() {
            return Experts::load(plan, block).map(Self::Experts);
        }
        let activation = kind.activation.exact(plan.sizes.exact_gelu);
        Network::load(plan.weights, block, "", kind.gate, activation).map(Self::Dense)
    }

    pub(super) fn forward(&self, state: &Tensor) -> candle_core::Result<Tensor> {
        match self {
            Self::Dense(network) => network.forward(state),
            Self::Experts(experts) => experts.forward(state),
        }
    }
}

impl Experts {
    fn load(plan: Plan<'_>, block: u64) -> Result<Self, EngineError> {
        let (Some(kind), Some(sizes)) = (plan.architecture.experts, plan.sizes.experts) else {
            return Err(EngineError::MissingTensor(format!("blk.{block}.ffn_gate_inp.weight")));
        };
        let part = |part: &str| format!("blk.{block}.{part}");
        let experts = |name: &str| plan.weights.experts(&part(name));
        let (gates, ups, downs) = (experts("ffn_gate_exps")?, experts("ffn_up_exps")?, experts("ffn_down_exps")?);
        let activation = kind.activation;
        let network = |((gate, up), down)| Network { gate: Some(gate), up, down, fused: false, activation };
        #[expect(clippy::cast_possible_truncation, reason = "the engine computes in 32 bits")]
        let weights_scale = sizes.weights_scale as f32;
        Ok(Self {
            router: plan.weights.linear(&part("ffn_gate_inp"))?,
            networks: gates.into_iter().zip(ups).zip(downs).map(network).collect(),
            shared: shared_expert(plan, block, kind.shared, activation)?,
            used: index(sizes.used)?,
            routing: kind.routing,
            weights_scale,
        })
    }

    fn forward(&self, state: &Tensor) -> candle_core::Result<Tensor> {
        let scores = self.router.forward(state)?.to_vec2::<f32>()?;
        let mut tokens = vec![Vec::new(); self.networks.len()];
        for (number, scores) in (0..).zip(&scores) {
            for (expert, share) in self.choose(scores) {
                tokens[expert].push((number, share));
            }
        }
        let mut sum = state.zeros_like()?;
        for (network, chosen) in self.networks.iter().zip(tokens).filter(|(_, chosen)| !chosen.is_empty()) {
            let (rows, shares): (Vec<u32>, Vec<f32>) = chosen.into_iter().unzip();
            let rows = Tensor::new(rows, &Device::Cpu)?;
            let shares = Tensor::new(shares, &Device::Cpu)?.unsqueeze(1)?;
            let result = network.forward(&state.index_select(&rows, 0)?)?.broadcast_mul(&shares)?;
            sum = sum.index_add(&rows, &result, 0)?;
        }
        match &self.shared {
            None => Ok(sum),
            Some((network, None)) => sum + network.forward(state)?,
            Some((network, Some(gate))) => {
                let open = (gate.forward(state)?.neg()?.exp()? + 1.0)?.recip()?;
                sum + network.forward(state)?.broadcast_mul(&open)?
            }
        }
    }

    /// The experts with the highest scores and how much each counts.
    fn choose(&self, scores: &[f32]) -> Vec<(usize, f32)> {
        let mut ranked: Vec<usize> = (0..scores.len()).collect();
        ranked.sort_by(|left, right| scores[*right].total_cmp(&scores[*left]).then(left.cmp(right)));
        ranked.truncate(self.used);
        let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let power = |expert: usize| (scores[expert] - highest).exp();
        let all: f32 = (0..scores.len()).map(power).sum();
        let chosen: f32 = ranked.iter().map(|expert| power(*expert)).sum();
        let sum = match self.routing {
            Routing::Softmax => all,
            Routing::NormalizedSoftmax => all * (chosen / all).max(LEAST_SUM),
            Routing::SoftmaxOfChosen => chosen,
        };
        ranked.into_iter().map(|expert| (expert, power(expert) / sum * self.weights_scale)).collect()
    }
}

type Shared = Option<(Network, Option<Linear>)>;

fn shared_expert(
    plan: Plan<'_>,
    block: u64,
    kind: SharedExpert,
    activation: Activation,
) -> Result<Shared, EngineError> {
    if plan.sizes.experts.is_none_or(|sizes| sizes.shared_feed_forward_length == 0) {
        return Ok(None);
    }
    let network = Network::load(plan.weights, block, "_shexp", Gate::Separate, activation)?;
    let gate = (kind == SharedExpert::Gated)
        .then(|| plan.weights.linear(&format!("blk.{block}.ffn_gate_inp_shexp")))
        .transpose()?;
    Ok(Some((network, gate)))
}
