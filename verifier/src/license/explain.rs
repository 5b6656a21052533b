//! A license in plain words, made from its typed facts, so that what people read is what
//! policies judge by.

use serde::Serialize;
use utoipa::ToSchema;

use super::catalog::{
    Acceptance, CommercialUse, License, PatentGrant, Propagation, Threshold, ThresholdEffect, TrainOther,
};
use crate::number::grouped;

/// A license for people and for machines.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Explained<'a> {
    #[serde(flatten)]
    pub license: &'a License,
    pub permissions: Vec<&'static str>,
    pub conditions: Vec<&'static str>,
    pub limitations: Vec<&'static str>,
    /// Questions a reader has, each answered in sentences.
    pub explanation: Vec<Answer>,
}

/// One question with its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = LicenseAnswer)]
pub struct Answer {
    pub question: &'static str,
    pub sentences: Vec<String>,
}

/// Explains a license.
pub fn explain(license: &License) -> Explained<'_> {
    let answers = [
        ("May I use it commercially?", commercial(license)),
        ("May I give the weights to others?", sharing(license)),
        ("What holds for models made from it?", derivatives(license)),
        ("What holds for what the model puts out?", outputs(license)),
        ("Where and for what may it not be used?", limits(license)),
        ("How do I accept it, and how does it end?", life(license)),
        ("How surely is this known?", knowledge(license)),
    ];
    let filled = answers.into_iter().filter(|(_, sentences)| !sentences.is_empty());
    Explained {
        license,
        permissions: license.permissions(),
        conditions: license.conditions(),
        limitations: license.limitations(),
        explanation: filled.map(|(question, sentences)| Answer { question, sentences }).collect(),
    }
}

fn commercial(license: &License) -> Vec<String> {
    let first = match license.commercial_use {
        CommercialUse::Allowed => "Yes.",
        CommercialUse::Conditional => "Yes, under conditions.",
        CommercialUse::Prohibited => "No.",
    };
    let mut sentences = vec![first.to_owned()];
    sentences.extend(license.thresholds.iter().map(threshold));
    if let Some(registration) = &license.registration {
        let place = registration.url.as_deref().map(|url| format!(" at {url}")).unwrap_or_default();
        sentences.push(format!("For {} use the licensor asks for a registration{place}.", registration.required_for));
    }
    sentences
}

fn threshold(threshold: &Threshold) -> String {
    let effect = match threshold.effect {
        ThresholdEffect::License => "you need a separate license",
        ThresholdEffect::Terminates => "the license ends",
        ThresholdEffect::Badge => "you have to display the model's name",
    };
    let (op, metric) = (threshold.op.as_str(), threshold.metric.as_str());
    format!("With {op} {} {metric}, {effect}; measured: {}.", grouped(threshold.value), threshold.measured)
}

fn sharing(license: &License) -> Vec<String> {
    let terms = &license.redistribution;
    let mut sentences = vec![match terms.allowed.as_str() {
        "yes" => "Yes.".to_owned(),
        "no" => "No.".to_owned(),
        limited => format!("Only so far: {limited}."),
    }];
    let duties = [
        (terms.license_copy, "A copy of the license goes with them."),
        (terms.keep_notices, "Copyright and attribution notices stay."),
        (terms.state_changes, "Changed files say that they were changed."),
        (terms.flow_down_restrictions, "The use restrictions have to bind everyone who receives them."),
        (terms.hosted_service_counts == Some(true), "Offering the model as a service counts as sharing it."),
    ];
    sentences.extend(duties.iter().filter(|(holds, _)| *holds).map(|(_, words)| (*words).to_owned()));
    sentences.extend(terms.notice_text.as_ref().map(|notice| format!("A NOTICE file holds exactly: {notice}")));
    sentences
}

fn derivatives(license: &License) -> Vec<String> {
    let inheritance = match license.propagation {
        Propagation::None => "Nothing follows a derivative.",
        Propagation::NoticeOnly => "They may carry other terms; the notices go along.",
        Propagation::Restrictions => "They may carry other terms if the use restrictions stay enforceable in them.",
        Propagation::Full => "The license keeps applying to them as a whole, whatever their own tag says.",
        Propagation::SameLicense => "They have to carry the same license.",
        Propagation::NoDerivativesDistribution => "They may be made and not shared.",
        Propagation::Unknown => "The id stands for several texts, so nobody can say.",
    };
    let mut sentences = vec![inheritance.to_owned()];
    let own = &license.derivatives;
    sentences.extend(own.name_prefix.as_ref().map(|prefix| format!("Their names begin with \"{prefix}\".")));
    sentences.extend(own.badge.as_ref().map(|badge| format!("They display: \"{badge}\".")));
    if own.covers_distillation == Some(true) {
        sentences.push("A model distilled from it counts as made from it.".to_owned());
    }
    sentences
}

fn outputs(license: &License) -> Vec<String> {
    let training = match license.outputs.train_other_models {
        TrainOther::Unrestricted => "Outputs may train other models.",
        TrainOther::Conditional => "Outputs may train other models, with a duty to name or show the origin.",
        TrainOther::Derivative => "A model trained on outputs counts as made from it.",
        TrainOther::NoCompeting => "Outputs may not help to build a competing model.",
        TrainOther::Prohibited => "Outputs may not train or improve other models.",
    };
    let mut sentences = vec![training.to_owned()];
    if license.outputs.licensor_claims {
        sentences.push("The licensor claims rights in them.".to_owned());
    }
    sentences.extend(license.outputs.note.as_ref().map(|note| format!("In detail: {note}.")));
    sentences
}

fn limits(license: &License) -> Vec<String> {
    let mut sentences = Vec::new();
    if let Some(territory) = &license.territory {
        let places = territory.excluded.join(", ");
        let (scope, basis, place) = (&territory.applies_to, &territory.basis, &territory.located_in);
        sentences.push(format!("Not in {places}: {scope} (by {basis}; stated in: {place})."));
        if territory.end_users_of_products_exempt {
            sentences.push("End users of products that contain it are exempt.".to_owned());
        }
    }
    for document in &license.incorporated_documents {
        let place = document.url.as_deref().map(|url| format!(" ({url})")).unwrap_or_default();
        sentences.push(format!("Binding beside the license: {}{place}.", document.title));
    }
    sentences
}

fn life(license: &License) -> Vec<String> {
    let mut sentences = vec![match license.acceptance {
        Acceptance::None => "Nothing has to be accepted to receive it.".to_owned(),
        Acceptance::Use => "Using it accepts the terms.".to_owned(),
        Acceptance::Click => "The terms are accepted by a click or a form.".to_owned(),
    }];
    let end = &license.termination;
    if end.on_breach {
        sentences.push("It ends when its terms are broken.".to_owned());
    }
    let suit = end.on_litigation.as_deref().map(|suit| if suit == "ip" { "intellectual property" } else { suit });
    sentences.extend(suit.map(|suit| format!("It ends for who sues over {suit}.")));
    let powers = [
        (end.revocable, "The licensor may revoke it."),
        (end.remote_restriction, "The licensor may restrict its use from afar."),
        (end.unilateral_update, "The licensor may change the terms alone."),
        (license.patent_grant == PatentGrant::Express, "It grants patents expressly."),
    ];
    sentences.extend(powers.iter().filter(|(holds, _)| *holds).map(|(_, words)| (*words).to_owned()));
    sentences
}

fn knowledge(license: &License) -> Vec<String> {
    let mut sentences = vec![format!("Confidence {:?}: {}.", license.confidence, license.confidence.explanation())];
    if license.is_provisional() {
        sentences.push("So it can only lead to a review.".to_owned());
    }
    sentences.push(match (&license.reviewed_by, &license.reviewed_at) {
        (Some(person), Some(day)) => format!("Reviewed by {person} on {day}."),
        (Some(person), None) => format!("Reviewed by {person}."),
        (None, _) => "Nobody here has reviewed the row against the text yet.".to_owned(),
    });
    sentences.extend(license.sources.iter().map(|source| format!("Source: {source}.")));
    sentences.extend(license.notes.as_ref().map(|notes| format!("Notes: {notes}.")));
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::license::Catalog;

    #[test]
    fn every_row_of_the_catalog_is_explained_and_ends_in_sentences() {
        for license in Catalog::built_in().licenses() {
            let explained = explain(license);
            assert!(explained.explanation.len() >= 5, "{}", license.id);
            for sentence in explained.explanation.iter().flat_map(|answer| &answer.sentences) {
                assert!(
                    sentence.ends_with(|end: char| end.is_ascii_punctuation()) || sentence.contains("NOTICE"),
                    "{sentence}"
                );
                assert!(!sentence.ends_with("..") || sentence.ends_with("..."), "{}: {sentence}", license.id);
            }
        }
    }

    #[test]
    fn a_number_is_said_with_its_operator_and_whose_it_is() {
        let explained = explain(Catalog::built_in().find("LicenseRef-llama3.1").unwrap());
        let commercial = &explained.explanation[0].sentences;
        assert!(
            commercial[1].starts_with("With more than 700,000,000 monthly active users, you need"),
            "{commercial:?}"
        );
    }
}
