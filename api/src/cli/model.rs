//! `model`: create, list, show, change, delete, and who may do what with it.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use registry_core::{ModelKind, ModelName, NewReference, Role};
use serde_json::json;

use super::client::Client;
use super::layout::{Sheet, table};
use super::output::{self, CliError};
use super::push::VisibilityArgument;
use super::target::{Target, model_path};
use super::units::{bytes, count};
use super::{Listing, Remote, summary};
use crate::v1::wire::{
    CatalogItem, CatalogParams, ChangeModel, CreateModel, Member, Model as ModelDocument, ModelDetail, PageQuery,
    ProbeRequested, SetMember,
};

#[derive(Debug, Subcommand)]
pub(super) enum Model {
    /// Create a model without revisions
    Create(Create),
    /// List and search the models that you may see
    List(List),
    /// Show a model with its names and refs
    Show(Show),
    /// Rename a model; the old name keeps leading to it
    Rename(Rename),
    /// Change who sees a model
    Visibility(Visibility),
    /// Delete a model; its name stays reserved
    Delete(Delete),
    /// Have a revision probed again; the report it has counts until then
    Probe(Probe),
    /// List and change the roles in a namespace
    #[command(subcommand)]
    Members(Members),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Has weights here
    Model,
    /// Stands for a model without weights here
    Reference,
}

#[derive(Debug, Args)]
pub(super) struct Create {
    #[arg(value_name = "NAMESPACE/NAME")]
    model: ModelName,
    #[arg(long, value_enum, default_value = "model")]
    kind: Kind,
    /// Who sees it
    #[arg(long, value_enum, default_value = "private")]
    visibility: VisibilityArgument,
    /// Of a reference: the license of the model that is not held here
    #[arg(long, value_name = "ID")]
    license: Option<String>,
    /// Of a reference: where its terms are
    #[arg(long, value_name = "URL", requires = "license")]
    license_link: Option<String>,
    /// Of a reference: it is used through an interface
    #[arg(long, requires = "license")]
    api_access: bool,
    /// Of a reference: what it was made from; may be repeated
    #[arg(long, value_name = "NAMESPACE/NAME", requires = "license")]
    base_model: Vec<String>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Words; each must begin some part of the name
    search: Vec<String>,
    #[arg(long)]
    namespace: Option<String>,
    /// Concluded license, such as `Apache-2.0`
    #[arg(long)]
    license: Option<String>,
    /// Class of openness, such as `open-weight-permissive`
    #[arg(long)]
    openness: Option<String>,
    #[arg(long)]
    architecture: Option<String>,
    #[arg(long)]
    quantization: Option<String>,
    /// `allowed`, `denied` or `pending`
    #[arg(long)]
    verdict: Option<String>,
    /// The environment of the verdicts [default: your own]
    #[arg(long)]
    environment: Option<String>,
    /// By name, or the last changed first [default: name]
    #[arg(long, value_enum, hide_possible_values = true, value_name = "name|updated")]
    sort: Option<Sort>,
    #[command(flatten)]
    listing: Listing,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sort {
    Name,
    Updated,
}

impl Sort {
    const fn word(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Updated => "updated",
        }
    }
}

/// One model on a server.
#[derive(Debug, Args)]
pub(super) struct Show {
    #[arg(value_name = "NAMESPACE/NAME")]
    model: ModelName,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(super) struct Rename {
    #[command(flatten)]
    model: Show,
    #[arg(value_name = "NEW_NAMESPACE/NEW_NAME")]
    name: ModelName,
}

#[derive(Debug, Args)]
pub(super) struct Visibility {
    #[command(flatten)]
    model: Show,
    #[arg(value_enum)]
    visibility: VisibilityArgument,
}

#[derive(Debug, Args)]
pub(super) struct Delete {
    #[arg(value_name = "NAMESPACE/NAME")]
    model: ModelName,
    /// Confirm; there is no way back
    #[arg(long)]
    yes: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(super) struct Probe {
    #[arg(value_name = "NAMESPACE/NAME[@REVISION]")]
    target: Target,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Subcommand)]
pub(super) enum Members {
    /// List who has a role; `*` stands for all namespaces
    List(ListMembers),
    /// Give someone a role
    Set(SetRole),
    /// Take someone's role away
    Remove(RemoveMember),
}

#[derive(Debug, Args)]
pub(super) struct ListMembers {
    namespace: String,
    #[command(flatten)]
    listing: Listing,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(super) struct SetRole {
    namespace: String,
    subject: String,
    /// reader, writer, maintainer or admin
    role: Role,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(super) struct RemoveMember {
    namespace: String,
    subject: String,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

impl Model {
    pub(super) fn run(&self) -> Result<ExitCode, CliError> {
        super::serve::runtime()?.block_on(async {
            match self {
                Self::Create(create) => create.run().await,
                Self::List(list) => list.run().await,
                Self::Show(show) => show.run().await,
                Self::Rename(rename) => {
                    let change = ChangeModel { name: Some(rename.name.to_string()), visibility: None };
                    rename.model.change(&change).await
                }
                Self::Visibility(visibility) => {
                    let change = ChangeModel { name: None, visibility: Some(visibility.visibility.into()) };
                    visibility.model.change(&change).await
                }
                Self::Delete(delete) => delete.run().await,
                Self::Probe(probe) => probe.run().await,
                Self::Members(members) => members.run().await,
            }
        })
    }
}

impl Create {
    async fn run(&self) -> Result<ExitCode, CliError> {
        let kind = match self.kind {
            Kind::Model => ModelKind::Model,
            Kind::Reference => ModelKind::Reference,
        };
        let reference = self.license.as_ref().map(|license| NewReference {
            license: license.clone(),
            license_link: self.license_link.clone(),
            api_access: self.api_access,
            base_model: self.base_model.clone(),
            ..NewReference::default()
        });
        let (name, visibility) = (self.model.to_string(), self.visibility.into());
        let body = CreateModel { name, kind, visibility, reference };
        let created: ModelDocument = Client::new(&self.remote)?.create(&["models"], &body).await?;
        print(&created, self.json)
    }
}

fn print(model: &ModelDocument, json: bool) -> Result<ExitCode, CliError> {
    if json {
        return output::json(model);
    }
    let mut sheet = Sheet::default();
    head(&mut sheet, model);
    output::text(&sheet.into_text())?;
    Ok(ExitCode::SUCCESS)
}

fn head(sheet: &mut Sheet, model: &ModelDocument) {
    sheet.heading(&model.name);
    sheet.row("id", &model.id);
    sheet.row("kind", model.kind.as_str());
    sheet.row("visibility", model.visibility.as_str());
    sheet.row("created", &model.created_at);
}

impl List {
    async fn run(&self) -> Result<ExitCode, CliError> {
        let client = Client::new(&self.remote)?;
        let query = |cursor, limit| self.query(cursor, limit);
        let page = client.list::<CatalogItem, _>(&["models"], query, self.listing.wanted()).await?;
        self.listing.print(&page, |models| {
            let titles =
                ["MODEL", "VERDICT", "LICENSE", "FORMAT", "ARCHITECTURE", "QUANTIZATION", "PARAMETERS", "SIZE"];
            table(&titles, &models.iter().map(row).collect::<Vec<_>>())
        })
    }

    fn query(&self, cursor: Option<String>, limit: u64) -> CatalogParams {
        CatalogParams {
            search: (!self.search.is_empty()).then(|| self.search.join(" ")),
            namespace: self.namespace.clone(),
            license: self.license.clone(),
            openness: self.openness.clone(),
            architecture: self.architecture.clone(),
            quantization: self.quantization.clone(),
            verdict: self.verdict.clone(),
            environment: self.environment.clone(),
            order: self.sort.map(|sort| sort.word().to_owned()),
            limit: Some(limit),
            cursor,
        }
    }
}

fn row(model: &CatalogItem) -> Vec<String> {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    vec![
        model.name.clone(),
        model.verdict.clone(),
        or_dash(&model.license),
        or_dash(&model.format),
        or_dash(&model.architecture),
        or_dash(&model.quantization),
        model.parameters.map_or_else(|| "-".to_owned(), count),
        bytes(model.size),
    ]
}

impl Show {
    async fn run(&self) -> Result<ExitCode, CliError> {
        let detail: ModelDetail = Client::new(&self.remote)?.get(&model_path(&self.model, &[])).await?;
        if self.json {
            return output::json(&detail);
        }
        let mut sheet = Sheet::default();
        head(&mut sheet, &detail.model);
        for name in detail.names.iter().filter(|name| name.valid_to.is_some()) {
            sheet.row("former name", &format!("{} until {}", name.name, name.valid_to.as_deref().unwrap_or_default()));
        }
        for found in &detail.refs {
            sheet.row(&summary::word(&found.kind), &format!("{}  {}  {}", found.name, found.commit, found.updated_at));
        }
        output::text(&sheet.into_text())?;
        Ok(ExitCode::SUCCESS)
    }

    async fn change(&self, change: &ChangeModel) -> Result<ExitCode, CliError> {
        let changed: ModelDocument = Client::new(&self.remote)?.patch(&model_path(&self.model, &[]), change).await?;
        print(&changed, self.json)
    }
}

impl Delete {
    async fn run(&self) -> Result<ExitCode, CliError> {
        if !self.yes {
            let text = format!("deleting {} cannot be undone; say --yes to confirm", self.model);
            return Err(CliError::Usage(text));
        }
        Client::new(&self.remote)?.delete(&model_path(&self.model, &[])).await?;
        let document = self.json.then(|| json!({ "name": self.model, "deleted": true }));
        output::done(&format!("{} is deleted", self.model), document.as_ref())
    }
}

impl Probe {
    async fn run(&self) -> Result<ExitCode, CliError> {
        let path = model_path(&self.target.model, &["revisions", self.target.revision(), "probe"]);
        let found: ProbeRequested = Client::new(&self.remote)?.create_once(&path, &json!({})).await?;
        if self.json {
            return output::json(&found);
        }
        output::done(&format!("{} at {}: the probe is {}", found.model, found.commit, found.state.as_str()), None)
    }
}

impl Members {
    async fn run(&self) -> Result<ExitCode, CliError> {
        match self {
            Self::List(list) => list.run().await,
            Self::Set(set) => set.run().await,
            Self::Remove(remove) => remove.run().await,
        }
    }
}

impl SetRole {
    async fn run(&self) -> Result<ExitCode, CliError> {
        let path = ["namespaces", &self.namespace, "members", &self.subject];
        Client::new(&self.remote)?.put(&path, &SetMember { role: self.role }).await?;
        let document = || json!({ "namespace": self.namespace, "subject": self.subject, "role": self.role });
        let line = format!("{} is {} in {}", self.subject, self.role, self.namespace);
        output::done(&line, self.json.then(document).as_ref())
    }
}

impl RemoveMember {
    async fn run(&self) -> Result<ExitCode, CliError> {
        let path = ["namespaces", &self.namespace, "members", &self.subject];
        Client::new(&self.remote)?.delete(&path).await?;
        let document = || json!({ "namespace": self.namespace, "subject": self.subject, "role": null });
        let line = format!("{} has no role in {} any more", self.subject, self.namespace);
        output::done(&line, self.json.then(document).as_ref())
    }
}

impl ListMembers {
    async fn run(&self) -> Result<ExitCode, CliError> {
        let client = Client::new(&self.remote)?;
        let query = |cursor, limit| PageQuery { limit: Some(limit), cursor };
        let path = ["namespaces", self.namespace.as_str(), "members"];
        let page = client.list::<Member, _>(&path, query, self.listing.wanted()).await?;
        self.listing.print(&page, |members| {
            let row = |member: &Member| vec![member.subject.clone(), member.role.to_string(), member.since.clone()];
            table(&["SUBJECT", "ROLE", "SINCE"], &members.iter().map(row).collect::<Vec<_>>())
        })
    }
}
