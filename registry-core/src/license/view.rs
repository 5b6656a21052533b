//! Everything that is known and concluded about one revision's licenses.

use sea_orm::ConnectionTrait;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use verifier::evidence::{
    Inspection, LicenseFacts, LicenseSource, LicenseStatement, LicenseVerdict, MatchKind, Openness, Relation,
};
use verifier::license::Catalog;
use verifier::license::openness::{self, Release};
use verifier::license::propagation::{self, Assessment, IntendedUse, Node, Satisfied};
use verifier::license::record::{self, Conclusion, Record, Standing};
use verifier::policy::Use;

use super::lineage::{self, Ancestor};
use super::records::{LicenseRecord, records_of};
use crate::database::now_ms;
use crate::error::{Error, Result};
use crate::identity::FileSpec;
use crate::model::{ModelInfo, ModelKind};
use crate::pipeline::StageView;
use crate::registry::Registry;
use crate::revision::{Revision, files_of};
use crate::trust::attested_edges;

/// What a revision's files and people say of its license, before any use is judged.
#[derive(Debug, Clone, Default)]
pub(crate) struct Basis {
    /// None until the license stage is done.
    pub(crate) facts: Option<LicenseFacts>,
    pub(crate) facts_digest: String,
    pub(crate) records: Vec<Record>,
    /// Parents that verified attestations name by digest.
    pub(crate) attested: Vec<(String, Relation)>,
    multimodal: Option<bool>,
    has_weights: bool,
    has_card: bool,
}

/// The license side of a revision, for one use.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct LicenseView {
    /// What the files say; none until the license stage is done.
    pub facts: Option<LicenseFacts>,
    /// What people concluded, where it counts in this environment.
    pub conclusion: Option<Conclusion>,
    /// Records of conclusions that wait for another person.
    pub awaiting_approval: Vec<String>,
    /// Records of conclusions whose facts changed since.
    pub reopened: Vec<String>,
    pub environment: String,
    pub r#use: Use,
    pub assessment: Assessment,
    pub openness: Openness,
    pub lineage: Vec<LineageNode>,
    /// Every record, oldest first.
    pub records: Vec<LicenseRecord>,
}

/// A model of the lineage graph; the revision's own comes first.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct LineageNode {
    /// As its children write it.
    pub name: String,
    /// `model` or `reference`; none where nothing is known here.
    pub kind: Option<ModelKind>,
    /// The words that count for it.
    pub license: Option<String>,
    pub parents: Vec<LineageParent>,
}

/// A parent and the way it was used.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct LineageParent {
    pub name: String,
    pub relation: Relation,
}

/// What counts for one use at one time.
#[derive(Debug, Clone)]
pub(crate) struct Judged {
    pub(crate) standing: Standing,
    pub(crate) assessment: Assessment,
    pub(crate) openness: Openness,
    /// When the first of the records it rests on ends, in milliseconds since 1970.
    pub(crate) valid_until: Option<i64>,
    graph: Vec<Ancestor>,
}

impl Registry {
    /// What is known of a revision's licenses in an environment, for a stated use over its default.
    pub async fn license_view(
        &self,
        model: &ModelInfo,
        revision: &Revision,
        environment: &str,
        stated: &Use,
    ) -> Result<LicenseView> {
        let complete = self.gate.complete_use(environment, stated)?;
        let basis = self.license_basis(&self.db, model, revision).await?;
        let judged = self.judge_use(&self.db, model, &basis, environment, &complete.intended(), now_ms()).await?;
        let records = basis.records.iter().cloned().map(|record| LicenseRecord::new(record, &basis.facts_digest));
        Ok(LicenseView {
            lineage: lineage_nodes(&judged.graph),
            conclusion: judged.standing.conclusion,
            awaiting_approval: judged.standing.awaiting_approval,
            reopened: judged.standing.reopened,
            environment: environment.to_owned(),
            r#use: complete,
            assessment: judged.assessment,
            openness: judged.openness,
            records: records.collect(),
            facts: basis.facts,
        })
    }

    /// What a revision's files and people say.
    pub(crate) async fn license_basis(
        &self,
        connection: &impl ConnectionTrait,
        model: &ModelInfo,
        revision: &Revision,
    ) -> Result<Basis> {
        let stages = self.stages_in(connection, revision).await?;
        self.basis_of(connection, model, revision, &stages).await
    }

    /// The same from stages that were read already.
    pub(crate) async fn basis_of(
        &self,
        connection: &impl ConnectionTrait,
        model: &ModelInfo,
        revision: &Revision,
        stages: &[StageView],
    ) -> Result<Basis> {
        let facts = stages.iter().find_map(|view| view.evidence.as_ref()?.as_license()).cloned();
        let found = stages.iter().find_map(|view| view.evidence.as_ref()?.as_inspection());
        let facts_digest = match &facts {
            Some(facts) => facts_digest_of(facts, found, &files_of(connection, &revision.id).await?),
            None => String::new(),
        };
        Ok(Basis {
            facts,
            facts_digest,
            records: records_of(connection, &model.id).await?,
            attested: attested_edges(connection, revision).await?,
            multimodal: found.and_then(|found| is_multimodal(found.architecture.as_deref()?)),
            has_weights: found.is_some_and(|found| found.files.iter().any(|file| file.weights)),
            has_card: found.is_some_and(|found| found.files.iter().any(|file| file.format == "model_card")),
        })
    }

    /// Judges a use of a revision under everything it was made from.
    pub(crate) async fn judge_use(
        &self,
        connection: &impl ConnectionTrait,
        model: &ModelInfo,
        basis: &Basis,
        environment: &str,
        intended: &IntendedUse,
        at: i64,
    ) -> Result<Judged> {
        let people = self.gate.license_reviewers(environment)?;
        let standing = basis.standing(at, people);
        let graph = self.lineage(connection, model, (basis, &standing), at, people).await?;
        let nodes: Vec<Node> = graph.iter().map(|ancestor| ancestor.node.clone()).collect();
        let catalog = &self.settings.catalog;
        let assessment = propagation::assess(catalog, &nodes, &model.name.to_string(), intended);
        let assessment = assessment.map_err(|error| Error::CannotDecide(model.name.to_string(), error.to_string()))?;
        let openness = basis.openness(catalog, &standing);
        // A parent's conclusion that ends changes what follows for the child.
        let valid_until = graph.iter().filter_map(|ancestor| ancestor.valid_until).min();
        Ok(Judged { standing, assessment, openness, valid_until, graph })
    }
}

impl Basis {
    /// Facts that no registry holds: nobody recorded anything about them.
    pub(crate) fn of_files(facts: LicenseFacts) -> Self {
        Self { facts: Some(facts), ..Self::default() }
    }

    pub(crate) fn standing(&self, at: i64, people: usize) -> Standing {
        record::standing(&self.records, &self.facts_digest, at, people)
    }

    pub(crate) fn openness(&self, catalog: &Catalog, standing: &Standing) -> Openness {
        openness::assess(catalog, &self.release(standing).input())
    }

    /// Attested parents that the files do not name, where they name others: one of the two is
    /// mistaken.
    pub(crate) fn base_disagreements(&self) -> Vec<(&'static str, String)> {
        let declared: Vec<&str> =
            self.facts.iter().flat_map(|facts| &facts.lineage).map(|edge| edge.parent.as_str()).collect();
        let differs = |parent: &&str| !declared.iter().any(|name| name.eq_ignore_ascii_case(parent));
        let attested = self.attested.iter().map(|(parent, _)| parent.as_str());
        let note = |parent: &str| {
            let files = declared.join(", ");
            (
                "ATTESTED_BASE_DIFFERS",
                format!("An attestation says it was made from {parent}, and its files say {files}."),
            )
        };
        attested.filter(differs).filter(|_| !declared.is_empty()).map(note).collect()
    }

    /// The model as a node of a graph, under the name that its child writes.
    pub(crate) fn node(&self, name: &str, standing: &Standing) -> Node {
        let parents = lineage::edges(self.facts.as_ref(), standing.parents.iter().chain(&self.attested));
        let mut satisfied = standing.satisfied.clone();
        satisfied.extend(self.facts.iter().flat_map(shown_by_files));
        let words = |statement: Option<&LicenseStatement>| statement.map(|found| found.words().to_owned());
        let agreed = self.facts.as_ref().filter(|facts| facts.verdict == LicenseVerdict::Agreed);
        Node {
            id: name.to_owned(),
            name: name.to_owned(),
            declared: words(self.facts.as_ref().and_then(|facts| facts.declared.first())),
            detected: words(self.facts.as_ref().and_then(|facts| facts.detected.first())),
            concluded: standing
                .conclusion
                .as_ref()
                .map(|conclusion| conclusion.expression.clone())
                .or_else(|| agreed.map(|facts| facts.concluded.clone())),
            parents,
            multimodal: self.multimodal,
            satisfied,
        }
    }

    /// Whether the files say that the model is used through an interface.
    fn is_open_access(&self) -> bool {
        self.facts.as_ref().is_some_and(|facts| facts.openness.access_class == "open-access")
    }

    fn release<'a>(&'a self, standing: &'a Standing) -> Release<'a> {
        let of_files = self.facts.as_ref().map(|facts| facts.concluded.as_str());
        Release {
            has_weights: self.has_weights,
            has_card: self.has_card,
            concluded: standing.conclusion.as_ref().map(|found| found.expression.as_str()).or(of_files),
            components: &standing.components,
            data_information: standing.data_information,
            api_access: standing.api_access || self.is_open_access(),
        }
    }
}

/// What a record is made from: see [`record::facts_digest`].
pub(crate) fn facts_digest_of(facts: &LicenseFacts, found: Option<&Inspection>, files: &[FileSpec]) -> String {
    let holds_weights = |file: &&FileSpec| {
        found.is_some_and(|found| found.files.iter().any(|seen| seen.weights && seen.path == file.path))
    };
    let held = files.iter().filter(holds_weights);
    record::facts_digest(facts, held.map(|file| (&*file.path, file.sha256.as_str())))
}

/// Whether an architecture takes or gives more than text; none where its name does not tell.
fn is_multimodal(architecture: &str) -> Option<bool> {
    const TEXT: [&str; 12] = [
        "llama", "mistral", "mixtral", "qwen2", "qwen3", "gemma", "gemma2", "phi3", "stablelm", "gpt2", "falcon",
        "bert",
    ];
    const MORE: [&str; 9] = ["mllama", "llama4", "vl", "vision", "llava", "imagetext", "audio", "whisper", "diffusion"];
    let name = architecture.to_ascii_lowercase();
    let plain = name.strip_suffix("forcausallm").unwrap_or(&name);
    if MORE.iter().any(|part| name.contains(part)) {
        return Some(true);
    }
    TEXT.contains(&plain).then_some(false)
}

/// Duties that the files themselves show as done.
fn shown_by_files(facts: &LicenseFacts) -> Vec<Satisfied> {
    let shows = |statement: &LicenseStatement| {
        let code = duty_shown_by(statement)?;
        Some(Satisfied { code: code.to_owned(), license: Some(statement.expression.clone()) })
    };
    facts.detected.iter().chain(&facts.declared).filter_map(shows).collect()
}

/// The duty that a statement's file shows as done: the license's own text, or the line that the
/// licensor asks for in a NOTICE.
pub(crate) fn duty_shown_by(statement: &LicenseStatement) -> Option<&'static str> {
    match (statement.source, statement.match_kind) {
        (LicenseSource::LicenseText, Some(MatchKind::Exact | MatchKind::ExactVersion)) => Some("LICENSE_COPY_MISSING"),
        (LicenseSource::Notice, Some(MatchKind::Exact)) => Some("NOTICE_MISSING"),
        _ => None,
    }
}

fn lineage_nodes(graph: &[Ancestor]) -> Vec<LineageNode> {
    let known = |ancestor: &Ancestor| LineageNode {
        name: ancestor.node.name.clone(),
        kind: Some(ancestor.kind),
        license: license_of(&ancestor.node),
        parents: parents(&ancestor.node),
    };
    let mut nodes: Vec<LineageNode> = graph.iter().map(known).collect();
    let unknown = graph.iter().flat_map(|ancestor| &ancestor.node.parents).map(|edge| edge.parent.clone());
    for name in unknown.collect::<std::collections::BTreeSet<_>>() {
        if !nodes.iter().any(|node| node.name == name) {
            nodes.push(LineageNode { name, kind: None, license: None, parents: Vec::new() });
        }
    }
    nodes
}

fn license_of(node: &Node) -> Option<String> {
    node.concluded.clone().or_else(|| node.detected.clone()).or_else(|| node.declared.clone())
}

fn parents(node: &Node) -> Vec<LineageParent> {
    let parent = |edge: &propagation::Edge| LineageParent { name: edge.parent.clone(), relation: edge.relation };
    node.parents.iter().map(parent).collect()
}
