//! How much of what the G7 ask of a bill of materials for AI a document holds.
//!
//! "SBOM for AI – Minimum Elements" (G7 Cybersecurity Working Group, 12 May 2026; voluntary)
//! names seven clusters. Elements are named here in our own words. A registry sees files, cards
//! and its own judgement; what only the provider of the system can know is said to be theirs and
//! still counts as not there.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::described::Described;
use super::{NO_ASSERTION, Subject};

/// Coverage of all clusters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Completeness {
    /// Percent of all elements that are present, rounded down.
    pub score: u8,
    pub clusters: Vec<Cluster>,
}

/// Coverage of one cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cluster {
    pub name: String,
    /// Elements that the documents hold.
    pub present: Vec<String>,
    /// Elements that the model's files could hold and do not.
    pub missing: Vec<String>,
    /// Elements that only the provider can supply.
    pub provider: Vec<String>,
}

impl Cluster {
    /// Counts and what is missing, in one line.
    pub fn summary(&self) -> String {
        let total = self.present.len() + self.missing.len() + self.provider.len();
        let mut line = format!("{} of {total} elements", self.present.len());
        for (label, names) in [("missing", &self.missing), ("the provider's to supply", &self.provider)] {
            if !names.is_empty() {
                line.extend(["; ", label, ": ", &names.join(", ")]);
            }
        }
        line
    }
}

impl Completeness {
    /// The score in one sentence.
    pub fn sentence(&self) -> String {
        format!("Completeness: {} of 100 by the G7 minimum elements of an SBOM for AI.", self.score)
    }
}

/// Which of the G7's elements are there, are missing, or are the provider's to supply.
pub fn completeness(subject: &Subject) -> Completeness {
    let described = subject.described();
    let clusters = vec![
        metadata(),
        system(&described),
        models(subject, &described),
        datasets(&described),
        infrastructure(subject, &described),
        security(subject),
        indicators(&described),
    ];
    let present: usize = clusters.iter().map(|cluster| cluster.present.len()).sum();
    let open: usize = clusters.iter().map(|cluster| cluster.missing.len() + cluster.provider.len()).sum();
    let score = u8::try_from(present * 100 / (present + open).max(1)).unwrap_or(100);
    Completeness { score, clusters }
}

/// Where an element is to come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Present,
    /// From the model's files, which do not have it.
    Files,
    Provider,
}

use Origin::{Files, Present, Provider};

/// Present where `holds`, else to come from elsewhere.
const fn found(holds: bool, otherwise: Origin) -> Origin {
    if holds { Present } else { otherwise }
}

fn cluster(name: &str, elements: &[(&str, Origin)]) -> Cluster {
    let of = |wanted: Origin| -> Vec<String> {
        let elements = elements.iter().filter(|(_, origin)| *origin == wanted);
        elements.map(|(element, _)| (*element).to_owned()).collect()
    };
    Cluster { name: name.to_owned(), present: of(Present), missing: of(Files), provider: of(Provider) }
}

fn metadata() -> Cluster {
    cluster(
        "metadata",
        &[
            ("author", Present),
            ("document version", Present),
            ("data format and its version", Present),
            ("tool and its version", Present),
            ("generation context", Present),
            ("timestamp", Present),
            ("relationships", Present),
            ("signature over the document", Provider),
        ],
    )
}

fn system(described: &Described) -> Cluster {
    cluster(
        "system level properties",
        &[
            ("system name", Provider),
            ("system producer", Provider),
            ("system version", Provider),
            ("components", Present),
            ("timestamp", Present),
            ("data flow", Provider),
            ("data usage", Provider),
            ("input and output properties", found(described.modalities().is_some(), Files)),
            ("intended application area", found(described.task.is_some(), Files)),
        ],
    )
}

fn models(subject: &Subject, described: &Described) -> Cluster {
    let inspection = subject.inspection.as_ref();
    let declared = subject.declared() != NO_ASSERTION;
    cluster(
        "models",
        &[
            ("name", Present),
            ("identifier", Present),
            ("version", Present),
            ("producer", found(subject.supplier.is_some(), Provider)),
            ("description", found(!subject.card.is_empty(), Files)),
            ("timestamp", Present),
            ("hash value", Present),
            ("hash algorithm", Present),
            ("architecture", found(inspection.is_some_and(|found| found.architecture.is_some()), Files)),
            ("number of parameters", found(inspection.is_some_and(|found| found.parameters.is_some()), Files)),
            ("languages", found(!described.languages.is_empty(), Files)),
            ("training properties", Provider),
            ("declared license", found(declared, Files)),
            ("concluded license", found(subject.concluded() != NO_ASSERTION, Files)),
            ("lineage", found(!subject.ancestors.is_empty(), Files)),
            ("external references", found(has_references(subject), Files)),
        ],
    )
}

fn has_references(subject: &Subject) -> bool {
    subject.download_location.is_some() || !subject.terms.documents.is_empty()
}

fn datasets(described: &Described) -> Cluster {
    let named = found(!described.datasets.is_empty(), Files);
    cluster(
        "dataset properties",
        &[
            ("name", named),
            ("identifier", named),
            ("relationship to the model", named),
            ("content", Provider),
            ("provenance", Provider),
            ("hash", Provider),
            ("sensitivity", Provider),
            ("license", Provider),
        ],
    )
}

fn infrastructure(subject: &Subject, described: &Described) -> Cluster {
    let format = subject.inspection.as_ref().is_some_and(|found| found.format.is_some());
    cluster(
        "infrastructure",
        &[
            ("software", found(described.library.is_some(), Files)),
            ("weight format", found(format, Files)),
            ("hardware", found(described.hardware.is_some(), Provider)),
        ],
    )
}

fn security(subject: &Subject) -> Cluster {
    cluster(
        "security properties",
        &[
            ("security controls", Provider),
            ("security compliance", Provider),
            ("cybersecurity policy", Provider),
            ("findings of the files' inspection", found(subject.inspection.is_some(), Files)),
        ],
    )
}

fn indicators(described: &Described) -> Cluster {
    cluster(
        "key performance indicators",
        &[("security metrics", Provider), ("operational performance", found(!described.metrics.is_empty(), Files))],
    )
}
