//! `token`: issue, list, revoke.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use registry_core::Role;
use serde_json::json;

use super::client::Client;
use super::layout::table;
use super::output::{self, CliError, note};
use super::units::parse_seconds;
use super::{Listing, Remote};
use crate::v1::wire::{CreateToken, IssuedToken, PageQuery, Token as TokenDocument};

#[derive(Debug, Subcommand)]
pub(super) enum Token {
    /// Issue a token and print its secret, which is shown this once
    Create(Create),
    /// List tokens: your own, or everyone's if you administer the registry
    List(List),
    /// End a token at once
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// What it is for
    #[arg(long, default_value = "", hide_default_value = true)]
    label: String,
    /// Whose token [default: your own]
    #[arg(long)]
    subject: Option<String>,
    /// The widest role it can use: reader, writer, maintainer or admin
    #[arg(long, value_name = "ROLE")]
    scope: Role,
    /// Only for this namespace; may be repeated [default: all]
    #[arg(long = "namespace", value_name = "NAMESPACE")]
    namespaces: Vec<String>,
    /// The environment whose decisions bind it [default: the server's]
    #[arg(long)]
    environment: Option<String>,
    /// When it ends, such as 90d, 12h or 30m from now [default: never]
    #[arg(long, value_name = "TIME", value_parser = parse_seconds)]
    expires_in: Option<u64>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    listing: Listing,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
pub(super) struct Revoke {
    /// The token's id, as `token list` shows it
    id: String,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

impl Token {
    pub(super) fn run(&self) -> Result<ExitCode, CliError> {
        super::serve::runtime()?.block_on(async {
            match self {
                Self::Create(create) => create.run().await,
                Self::List(list) => list.run().await,
                Self::Revoke(revoke) => revoke.run().await,
            }
        })
    }
}

impl Create {
    async fn run(&self) -> Result<ExitCode, CliError> {
        let body = CreateToken {
            label: self.label.clone(),
            subject: self.subject.clone(),
            scope: self.scope,
            namespaces: (!self.namespaces.is_empty()).then(|| self.namespaces.clone()),
            environment: self.environment.clone(),
            expires_in_seconds: self.expires_in,
        };
        let issued: IssuedToken = Client::new(&self.remote)?.create_once(&["tokens"], &body).await?;
        if self.json {
            return output::json(&issued);
        }
        note(&format!("token {} for {}; its secret is shown this once:", issued.token.id, issued.token.subject));
        output::text(&format!("{}\n", issued.secret))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl List {
    async fn run(&self) -> Result<ExitCode, CliError> {
        let client = Client::new(&self.remote)?;
        let query = |cursor, limit| PageQuery { limit: Some(limit), cursor };
        let page = client.list::<TokenDocument, _>(&["tokens"], query, self.listing.wanted()).await?;
        self.listing.print(&page, |tokens| {
            let titles = ["ID", "SUBJECT", "SCOPE", "NAMESPACES", "ENVIRONMENT", "ENDS IN", "STATE", "LABEL"];
            table(&titles, &tokens.iter().map(row).collect::<Vec<_>>())
        })
    }
}

fn row(token: &TokenDocument) -> Vec<String> {
    let namespaces = token.namespaces.as_ref().map_or_else(|| "all".to_owned(), |names| names.join(" "));
    let state = match (&token.revoked_at, &token.expires_at) {
        (Some(at), _) => format!("revoked {at}"),
        (None, Some(at)) => format!("until {at}"),
        (None, None) => "for good".to_owned(),
    };
    vec![
        token.id.clone(),
        token.subject.clone(),
        token.scope.to_string(),
        namespaces,
        token.environment.clone().unwrap_or_else(|| "default".to_owned()),
        format!("…{}", token.hint),
        state,
        token.label.clone(),
    ]
}

impl Revoke {
    async fn run(&self) -> Result<ExitCode, CliError> {
        Client::new(&self.remote)?.delete(&["tokens", &self.id]).await?;
        let document = self.json.then(|| json!({ "id": self.id, "revoked": true }));
        output::done(&format!("token {} is revoked", self.id), document.as_ref())
    }
}
