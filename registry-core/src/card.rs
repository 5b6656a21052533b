//! Model cards: what they say, and what the gate will say of them.

use futures::TryStreamExt;
use serde_json::{Map, Value};
use verifier::evidence::{LicenseFacts, Status};
use verifier::license::propagation::{self, Assessment, Node};
use verifier::license::{self, Content, LicenseDocument, LicenseInput, MAX_TEXT_BYTES, card};
use verifier::policy::{EvidenceDocuments, EvidenceState, PolicyInput, PolicyModel, Reason, Use};

use crate::blob::ByteRange;
use crate::database::{now_ms, rfc3339};
use crate::error::{Error, Result};
use crate::identity::Sha256Digest;
use crate::registry::Registry;
use crate::revision::Revision;

/// Where a model card lies.
const CARD: &str = "README.md";

/// What the gate will say of a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardOpinion {
    /// With these the environment would deny every revision that carries the card.
    pub errors: Vec<Reason>,
    pub warnings: Vec<Reason>,
}

impl Registry {
    /// The front matter of a revision's card, as JSON. `None` where there is no card or its
    /// front matter cannot be used; the license stage has a finding then.
    pub async fn model_card(&self, revision: &Revision) -> Result<Option<Map<String, Value>>> {
        let file = match self.revision_file(revision, CARD).await {
            Ok(file) if file.size <= MAX_TEXT_BYTES => file,
            Ok(_) | Err(Error::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let bytes: Vec<u8> = self
            .stream_blob(&file.sha256, ByteRange { start: 0, end: file.size })
            .await?
            .try_fold(Vec::new(), |mut whole, chunk| async move {
                whole.extend_from_slice(&chunk);
                Ok(whole)
            })
            .await?;
        Ok(card::metadata(&String::from_utf8_lossy(&bytes)).ok().flatten())
    }

    /// Judges the license that a card declares by the policy of an environment, as if
    /// everything else about the model were in order.
    pub fn judge_card(&self, environment: &str, text: &str) -> Result<CardOpinion> {
        if let Err(error) = card::metadata(text) {
            return Ok(CardOpinion { errors: vec![unusable(&error)], warnings: Vec::new() });
        }
        let digest = Sha256Digest::of(text.as_bytes());
        let document = LicenseDocument { path: CARD, digest: digest.as_str(), content: Content::Text(text) };
        let facts = license::judge(
            &self.settings.catalog,
            &LicenseInput { documents: vec![document], has_weights: true, api_access: false },
        );
        let complete = self.gate.complete_use(environment, &Use::default())?;
        let settled = || EvidenceState::without_document(Status::Passed);
        let input = PolicyInput {
            schema_version: 1,
            model: PolicyModel { namespace: "none".into(), name: "none".into(), kind: "model".into() },
            content_digest: digest.to_string(),
            environment: environment.to_owned(),
            r#use: complete.clone(),
            evidence: EvidenceDocuments {
                inspect: settled(),
                license: EvidenceState { status: facts.status(), document: serde_json::to_value(&facts)? },
                provenance: settled(),
                probe: settled(),
            },
            license_conclusion: None,
            trust_assessment: None,
            weights_assessment: None,
            license_assessment: Some(self.assess_alone(environment, &facts, &complete)?),
            waivers: Vec::new(),
            advisories: Vec::new(),
        };
        let outcome = self.policy().evaluate(&input, &rfc3339(now_ms()));
        let outcome = outcome.map_err(|error| Error::CannotDecide("the card".into(), error.to_string()))?;
        let about_license = |reason: &Reason| reason.evidence.as_deref() == Some("license");
        let (mut errors, mut warnings) = (outcome.reasons, outcome.warnings);
        errors.retain(about_license);
        warnings.retain(about_license);
        // That the stage failed says nothing beside the reason why.
        if errors.len() > 1 {
            errors.retain(|reason| !reason.code.starts_with("EVIDENCE_"));
        }
        if names_a_text(text) {
            // The license text, which is yet to come, may settle what the card leaves open.
            warnings.append(&mut errors);
        }
        Ok(CardOpinion { errors, warnings })
    }
}

impl Registry {
    /// What follows from the card's own words; parents are not looked at before files are there.
    fn assess_alone(&self, environment: &str, facts: &LicenseFacts, complete: &Use) -> Result<Assessment> {
        let node = Node {
            id: "card".into(),
            name: "the card".into(),
            declared: facts.declared.first().map(|statement| statement.expression.clone()),
            ..Node::default()
        };
        let assessed = propagation::assess(&self.settings.catalog, &[node], "card", &complete.intended());
        assessed.map_err(|error| Error::CannotDecide(environment.to_owned(), error.to_string()))
    }
}

/// Whether the card refers to a license of its own, which only its text can tell.
fn names_a_text(text: &str) -> bool {
    let card = card::parse(text).ok().flatten().unwrap_or_default();
    card.license.iter().any(|license| license == "other")
        && (card.license_name.is_some() || card.license_link.is_some())
}

fn unusable(error: &card::CardError) -> Reason {
    Reason {
        code: "CARD_INVALID".into(),
        msg: format!("The model card cannot be read: {error}."),
        evidence: Some("license".into()),
        remedy: Some("Correct the YAML between the two lines of three dashes.".into()),
        docs: None,
    }
}
