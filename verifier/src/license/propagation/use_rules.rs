//! R5 and R7 to R11: whether a use is inside the terms that reach the model, and what it owes.

use super::super::catalog::{CommercialUse, License, Metric, Propagation, Threshold, ThresholdEffect, TrainOther};
use super::lineage_rules::{Lineage, deny};
use super::resolve::Resolver;
use super::{Finding, Findings, IntendedUse, Node, Weight, territory};
use crate::number::grouped;

/// Judges the use of the lineage's target.
pub(super) fn apply(resolver: &Resolver<'_>, lineage: &Lineage<'_>, intended: &IntendedUse, findings: &mut Findings) {
    let Some(node) = lineage.target() else { return };
    let mut prefixes = Vec::new();
    for license in lineage.licenses() {
        let Some(row) = resolver.row(license) else { continue };
        let mut rules = Rules { id: license, row: &row, node, lineage, intended, findings };
        rules.judge();
        prefixes.extend(row.derivatives.name_prefix.clone());
    }
    for license in lineage.output_duties() {
        let Some(row) = resolver.row(license) else { continue };
        Rules { id: license, row: &row, node, lineage, intended, findings }.judge_output_duty();
    }
    if intended.distribution && lineage.is_derivative() {
        findings.extend_with(naming_conflict(node, prefixes));
    }
}

struct Rules<'r> {
    id: &'r str,
    row: &'r License,
    node: &'r Node,
    lineage: &'r Lineage<'r>,
    intended: &'r IntendedUse,
    findings: &'r mut Findings,
}

impl Rules<'_> {
    fn judge(&mut self) {
        self.judge_purpose();
        self.judge_sharing();
        self.judge_thresholds();
        self.judge_territory();
        self.judge_output_training();
        self.judge_duties();
        self.judge_knowledge();
    }

    fn finding(&self, code: &str, severity: Weight, clause: String, remedy: &str) -> Finding {
        Finding {
            code: code.to_owned(),
            severity,
            node: self.node.id.clone(),
            license: self.id.to_owned(),
            via: None,
            path: self.lineage.path_to(self.id),
            clause,
            remedy: remedy.to_owned(),
        }
    }

    fn refuse(&mut self, code: &str, clause: String, remedy: &str) {
        let finding = self.finding(code, deny(self.row), clause, remedy);
        self.findings.add(finding);
    }

    fn ask(&mut self, code: &str, clause: String, remedy: &str) {
        let finding = self.finding(code, Weight::Review, clause, remedy);
        self.findings.add(finding);
    }

    fn owe(&mut self, code: &str, clause: String, remedy: &str) {
        let finding = self.finding(code, Weight::Obligation, clause, remedy);
        self.findings.add_duty(self.node, finding);
    }

    /// R7.
    fn judge_purpose(&mut self) {
        if self.intended.commercial && self.row.commercial_use == CommercialUse::Prohibited {
            let clause = "Commercial use is not allowed.".to_owned();
            self.refuse("NONCOMMERCIAL_UPSTREAM", clause, "Use another model, or obtain a commercial license.");
        }
    }

    /// R5, and what may be done with the weights themselves.
    fn judge_sharing(&mut self) {
        let allowed = self.row.redistribution.allowed.as_str();
        if self.intended.distribution && allowed == "no" {
            let clause = "The weights may not be given to others.".to_owned();
            self.refuse("REDISTRIBUTION_PROHIBITED", clause, "Point others to the publisher instead.");
        }
        if self.intended.hosting && allowed.contains("no hosted service") {
            let clause = format!("Redistribution is limited: {allowed}.");
            self.refuse("SERVICE_USE_PROHIBITED", clause, "Do not offer the model as a service.");
        }
        let no_derivatives = self.row.propagation == Propagation::NoDerivativesDistribution;
        if self.intended.distribution && no_derivatives && self.lineage.is_derivative() {
            let clause = "Derivatives may not be shared.".to_owned();
            self.refuse("NO_DERIVATIVES", clause, "Share the original, or keep the derivative to yourself.");
        }
    }

    /// R8.
    fn judge_thresholds(&mut self) {
        let mut unknown: Vec<&Threshold> = Vec::new();
        let mut badge_is_due = false;
        for threshold in &self.row.thresholds {
            let fact = self.intended.measure(threshold.metric);
            match (fact.map(|fact| threshold.op.holds(fact, threshold.value)), threshold.effect) {
                (None, _) => unknown.push(threshold),
                (Some(false), _) => {}
                (Some(true), ThresholdEffect::Badge) => badge_is_due = true,
                (Some(true), ThresholdEffect::License | ThresholdEffect::Terminates) => self.refuse(
                    "THRESHOLD_EXCEEDED",
                    threshold_clause(threshold),
                    "Obtain a license from the licensor for this size.",
                ),
            }
        }
        if badge_is_due {
            self.owe_badge();
        }
        let open = unknown.into_iter().find(|threshold| threshold.effect != ThresholdEffect::Badge || !badge_is_due);
        if let Some(threshold) = open {
            let remedy = "State the number with the use; an unknown one is never taken for a small one.";
            self.ask("THRESHOLD_UNKNOWN", threshold_clause(threshold), remedy);
        }
    }

    /// R9.
    fn judge_territory(&mut self) {
        let Some(limits) = &self.row.territory else { return };
        let modality = self.lineage.is_multimodal();
        if limits.multimodal_only && modality == Some(false) {
            return;
        }
        let scope = if limits.multimodal_only { " for multimodal models" } else { "" };
        let places = limits.excluded.join(", ");
        let clause = format!("No rights{scope} in {places} ({}; in: {}).", limits.basis, limits.located_in);
        let remedy = "Use a model whose license reaches the territory, or a text-only one where that is enough.";
        match self.intended.territory.as_deref() {
            Some(place) if !territory::is_excluded(&limits.excluded, place) => {}
            Some(_) if limits.multimodal_only && modality.is_none() => self.ask("TERRITORY_EXCLUDED", clause, remedy),
            Some(_) => self.refuse("TERRITORY_EXCLUDED", clause, remedy),
            None => self.ask("TERRITORY_UNKNOWN", clause, "State the territory of the use."),
        }
    }

    /// What the license says of outputs that the use in question feeds to another model.
    fn judge_output_training(&mut self) {
        let outputs = self.row.outputs.train_other_models;
        let forbidden = "Outputs may not train or improve another model.".to_owned();
        match outputs {
            TrainOther::Prohibited if self.intended.output_training => {
                self.refuse("OUTPUT_TRAINING_PROHIBITED", forbidden, "Keep the outputs out of training data.");
            }
            TrainOther::Prohibited if self.intended.distribution => {
                let remedy = "Tell recipients that outputs may not train other models.";
                let finding = self.finding("NO_OUTPUT_TRAINING_DOWNSTREAM", Weight::Info, forbidden, remedy);
                self.findings.add(finding);
            }
            TrainOther::NoCompeting | TrainOther::Derivative | TrainOther::Conditional
                if self.intended.output_training =>
            {
                let clause = self.row.outputs.note.clone();
                let clause = clause.unwrap_or_else(|| "Training on outputs has conditions.".to_owned());
                self.ask("OUTPUT_TRAINING_REVIEW", clause, "Have a person compare the plan with the terms.");
            }
            _ => {}
        }
    }

    /// R10.
    fn judge_duties(&mut self) {
        if self.row.aup.is_some() {
            let policy = self.row.aup.clone().unwrap_or_default();
            let clause = format!("A use policy applies: {policy}.");
            self.owe("AUP_APPLIES", clause, "Check the use against the policy and record the outcome.");
        }
        let for_commerce = self.row.registration.as_ref().is_some_and(|needed| needed.required_for == "commercial");
        if self.row.registration.is_some() && (self.intended.commercial || !for_commerce) {
            let clause = "The licensor asks for a registration.".to_owned();
            self.owe("REGISTRATION_REQUIRED", clause, "Register with the licensor and record the confirmation.");
        }
        self.judge_copies();
        if self.intended.distribution {
            self.judge_distribution();
        }
        let by_threshold = self.row.thresholds.iter().any(|threshold| threshold.effect == ThresholdEffect::Badge);
        if (self.intended.distribution || self.intended.hosting) && !by_threshold {
            self.owe_badge();
        }
    }

    /// Duties of a distribution that a service may fall under as well.
    fn judge_copies(&mut self) {
        let terms = &self.row.redistribution;
        let service = self.intended.hosting && terms.hosted_service_counts == Some(true);
        if !self.intended.distribution && !service {
            return;
        }
        if terms.license_copy {
            let clause = "A copy of the license goes with the model.".to_owned();
            self.owe("LICENSE_COPY_MISSING", clause, "Add the license's text as a file.");
        }
        if terms.flow_down_restrictions {
            let clause = "The use restrictions become an enforceable term for everyone who receives it.".to_owned();
            self.owe("FLOW_DOWN_REQUIRED", clause, "Put the restrictions into your own terms and record that.");
        }
    }

    fn judge_distribution(&mut self) {
        let terms = &self.row.redistribution;
        if let Some(notice) = &terms.notice_text {
            let clause = format!("A NOTICE file holds exactly: {notice}");
            self.owe("NOTICE_MISSING", clause, "Add the line to a file called NOTICE.");
        }
        if terms.state_changes && self.lineage.is_derivative() {
            let clause = "Changed files say that they were changed.".to_owned();
            self.owe("STATE_CHANGES_REQUIRED", clause, "Say in the card or in a NOTICE what was changed.");
        }
        if self.lineage.is_derivative() {
            self.owe_name();
        }
    }

    /// R6 for outputs that may train others under a condition.
    fn judge_output_duty(&mut self) {
        if self.row.derivatives.name_prefix.is_some() {
            if self.intended.distribution {
                self.owe_name();
            }
        } else if self.intended.distribution || self.intended.hosting {
            self.owe_badge();
        }
    }

    fn owe_name(&mut self) {
        let Some(prefix) = &self.row.derivatives.name_prefix else { return };
        if !begins_with(&self.node.name, prefix) {
            let clause = format!("The name of a distributed derivative begins with \"{prefix}\".");
            self.owe("NAME_PREFIX_REQUIRED", clause, "Rename the model.");
        }
    }

    fn owe_badge(&mut self) {
        let Some(badge) = &self.row.derivatives.badge else { return };
        let clause = format!("The words \"{badge}\" are displayed.");
        self.owe("BADGE_REQUIRED", clause, "Display the words, and record where.");
    }

    /// R11 for terms that nobody read, or that are no one text.
    fn judge_knowledge(&mut self) {
        if self.row.is_provisional() {
            let clause = format!("The catalog's row is {}.", self.row.confidence.explanation());
            self.ask("LOW_CONFIDENCE_TERMS", clause, "Have a person read the license's text and review the row.");
        }
        if self.row.propagation == Propagation::Unknown {
            let clause = "The id stands for several texts.".to_owned();
            self.ask("LICENSE_AMBIGUOUS", clause, "Find the text that the publisher means.");
        }
    }
}

impl Findings {
    fn extend_with(&mut self, finding: Option<Finding>) {
        if let Some(finding) = finding {
            self.add(finding);
        }
    }
}

impl IntendedUse {
    /// The number that a threshold asks for.
    pub const fn measure(&self, metric: Metric) -> Option<u64> {
        match metric {
            Metric::Mau => self.mau,
            Metric::Dau => self.dau,
            Metric::MonthlyVisits => self.monthly_visits,
            Metric::AnnualRevenueUsd => self.annual_revenue_usd,
            Metric::MonthlyRevenueUsd => self.monthly_revenue_usd,
        }
    }
}

fn threshold_clause(threshold: &Threshold) -> String {
    let effect = match threshold.effect {
        ThresholdEffect::License => "a separate license is needed",
        ThresholdEffect::Terminates => "the license ends",
        ThresholdEffect::Badge => "a display duty begins",
    };
    let (value, measured) = (grouped(threshold.value), &threshold.measured);
    format!("At {} {value} {} {effect} ({measured}).", threshold.op.as_str(), threshold.metric.as_str())
}

/// Whether a model's name begins with `prefix`, whatever its case and separators.
fn begins_with(name: &str, prefix: &str) -> bool {
    let plain = |text: &str| -> String {
        text.chars().filter(|character| character.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let own = name.rsplit('/').next().unwrap_or(name);
    plain(own).starts_with(&plain(prefix))
}

fn naming_conflict(node: &Node, mut prefixes: Vec<String>) -> Option<Finding> {
    prefixes.sort();
    prefixes.dedup();
    // "Llama 3" satisfies "Llama" as well.
    let conflict = prefixes.windows(2).any(|pair| matches!(pair, [left, right] if !begins_with(right, left)));
    conflict.then(|| Finding {
        code: "NAMING_CONFLICT".to_owned(),
        severity: Weight::Review,
        node: node.id.clone(),
        license: prefixes.join(" + "),
        via: None,
        path: vec![node.name.clone()],
        clause: "Two licenses each want the name to begin with their own word.".to_owned(),
        remedy: "Ask the licensors, or keep the model to yourself.".to_owned(),
    })
}
