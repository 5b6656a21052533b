//! The three lists that people know from choosing a license, derived from the typed fields so
//! that page and policy never disagree.

use super::row::{CommercialUse, License, PatentGrant, Propagation, ThresholdEffect, TrainOther};

impl License {
    /// What the license permits, in choosealicense.com's words and ours, sorted.
    pub fn permissions(&self) -> Vec<&'static str> {
        named(&[
            ("commercial-use", self.commercial_use != CommercialUse::Prohibited),
            ("distribution", self.redistribution.allowed != "no"),
            ("modifications", !self.is_without_weights() && self.propagation != Propagation::NoDerivativesDistribution),
            ("patent-use", self.patent_grant == PatentGrant::Express),
            ("private-use", !self.is_without_weights()),
            ("train-on-outputs", self.outputs.train_other_models == TrainOther::Unrestricted),
        ])
    }

    /// What it asks in return, sorted.
    pub fn conditions(&self) -> Vec<&'static str> {
        let redistribution = &self.redistribution;
        named(&[
            ("acceptable-use-policy", self.aup.is_some()),
            ("attribution-badge", self.derivatives.badge.is_some()),
            ("document-changes", redistribution.state_changes),
            ("flow-down-restrictions", redistribution.flow_down_restrictions),
            ("include-copyright", redistribution.keep_notices),
            ("include-license", redistribution.license_copy),
            ("model-name-prefix", self.derivatives.name_prefix.is_some()),
            ("notice-file", redistribution.notice_text.is_some()),
            ("register", self.registration.is_some()),
            ("same-license", self.propagation == Propagation::SameLicense),
            ("threshold-badge", self.has_threshold(ThresholdEffect::Badge)),
        ])
    }

    /// Where it ends or does not reach, sorted.
    pub fn limitations(&self) -> Vec<&'static str> {
        named(&[
            ("field-of-use", self.aup.is_some()),
            ("liability", true),
            ("licensor-owns-outputs", self.outputs.licensor_claims),
            ("litigation-termination", self.termination.on_litigation.is_some()),
            ("no-competing-model", self.outputs.train_other_models == TrainOther::NoCompeting),
            ("no-output-training", self.outputs.train_other_models == TrainOther::Prohibited),
            ("no-redistribution", self.redistribution.allowed == "no"),
            ("no-weights", self.is_without_weights()),
            ("non-commercial", self.commercial_use == CommercialUse::Prohibited),
            ("remote-restriction", self.termination.remote_restriction),
            ("revocable", self.termination.revocable),
            ("territory", self.territory.is_some()),
            ("threshold-license", self.has_threshold(ThresholdEffect::License)),
            ("threshold-terminates", self.has_threshold(ThresholdEffect::Terminates)),
            ("unilateral-update", self.termination.unilateral_update),
            ("warranty", true),
        ])
    }

    fn has_threshold(&self, effect: ThresholdEffect) -> bool {
        self.thresholds.iter().any(|threshold| threshold.effect == effect)
    }

    /// Terms of a service, under which nobody receives weights.
    fn is_without_weights(&self) -> bool {
        self.class == "api-terms"
    }
}

fn named(facts: &[(&'static str, bool)]) -> Vec<&'static str> {
    facts.iter().filter(|(_, holds)| *holds).map(|(name, _)| *name).collect()
}
