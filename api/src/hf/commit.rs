//! The commit: a stream of JSON lines, one for each change.

use actix_web::error::PayloadError;
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::Stream;
use registry_core::{Change, ChangeSet, CommitId, Expected, FileSpec, MAX_FILES, Spool, check_path};
use serde::Deserialize;
use serde_json::{Value, json};

use super::ndjson::{Limits, Lines};
use super::origin::origin;
use super::query::Query;
use super::refusal::{Answer, Refusal, Sought};
use super::{Data, RevisionPath, find_model, parse_json};
use crate::server::access::Actor;

/// The largest ordinary file has 5 MiB; older clients put up to 10 MiB into the commit.
const LIMITS: Limits = Limits { line: 16 << 20, body: 2 << 30 };

/// One line.
#[derive(Debug, Deserialize)]
struct Line {
    key: String,
    value: Value,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    summary: String,
    #[serde(default)]
    description: String,
    parent_commit: Option<String>,
}

#[derive(Debug, Deserialize)]
struct InlineFile {
    path: String,
    content: String,
    encoding: Option<String>,
}

#[derive(Debug, Deserialize)]
struct LfsFile {
    path: String,
    algo: Option<String>,
    oid: String,
    /// Missing where the file is a copy of one that the model has.
    size: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Deleted {
    path: String,
}

pub(super) async fn commit(
    state: Data,
    Actor(caller): Actor,
    path: web::Path<RevisionPath>,
    request: HttpRequest,
    body: web::Payload,
) -> Answer {
    super::refuse_pull_requests(&Query::of(&request)?)?;
    let model = find_model(&state, &caller, &path.name()?).await?;
    caller.require_writer(&model.name.namespace)?;
    let branch = path.revision.strip_prefix("refs/heads/").unwrap_or(&path.revision).to_owned();
    let changes = read_changes(branch, body).await?;
    let committed = state.registry.commit_changes(&caller, &model, changes).await;
    let committed = committed.map_err(|error| Refusal::from(error).sought(Sought::Entry))?;
    let commit = committed.revision.commit;
    Ok(HttpResponse::Ok().json(json!({
        "success": true,
        "commitOid": commit.as_str(),
        "commitUrl": format!("{}/{}/commit/{commit}", origin(&request, &state), model.name),
        "hookOutput": "",
    })))
}

async fn read_changes<S>(branch: String, body: S) -> Answer<ChangeSet>
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
{
    let mut lines = Lines::new(body, LIMITS);
    let first = lines.next().await?.ok_or_else(|| Refusal::bad_request("The commit is empty."))?;
    let first: Line = parse_json(&first)?;
    if first.key != "header" {
        return Err(Refusal::bad_request("The first line of a commit must be its header."));
    }
    let header: Header = parse_value(first.value)?;
    let mut spool = Spool::new()?;
    let mut changes = Vec::new();
    while let Some(line) = lines.next().await? {
        if changes.len() >= MAX_FILES {
            return Err(Refusal::bad_request(format!("A commit can have at most {MAX_FILES} changes.")));
        }
        changes.push(read_change(parse_json(&line)?, &mut spool)?);
    }
    if changes.is_empty() {
        return Err(Refusal::bad_request("The commit changes nothing."));
    }
    let expected = header.parent_commit.map(|commit| commit.parse::<CommitId>().map(Expected::At)).transpose()?;
    let message = format!("{}\n\n{}", header.summary, header.description).trim_end().to_owned();
    Ok(ChangeSet { branch, expected: expected.unwrap_or(Expected::Any), message, changes, spool: Some(spool) })
}

fn read_change(line: Line, spool: &mut Spool) -> Answer<Change> {
    match line.key.as_str() {
        "file" => inline_file(parse_value(line.value)?, spool),
        "lfsFile" => lfs_file(parse_value(line.value)?),
        "deletedFile" => Ok(Change::DeleteFile(parse_value::<Deleted>(line.value)?.path)),
        "deletedFolder" => Ok(Change::DeleteFolder(parse_value::<Deleted>(line.value)?.path)),
        "header" => Err(Refusal::bad_request("A commit has one header, in its first line.")),
        other => Err(Refusal::bad_request(format!("{other:?} is not a change that this registry knows."))),
    }
}

fn inline_file(file: InlineFile, spool: &mut Spool) -> Answer<Change> {
    check_path(&file.path)?;
    let content = match file.encoding.as_deref() {
        Some("base64") => STANDARD
            .decode(file.content)
            .map_err(|error| Refusal::bad_request(format!("The content of {:?} is not base64: {error}.", file.path)))?,
        None | Some("utf-8") => file.content.into_bytes(),
        Some(other) => return Err(Refusal::bad_request(format!("{other:?} is not an encoding of contents."))),
    };
    Ok(Change::Write(spool.add(file.path, &content)?))
}

fn lfs_file(file: LfsFile) -> Answer<Change> {
    check_path(&file.path)?;
    if file.algo.is_some_and(|algorithm| algorithm != "sha256") {
        return Err(Refusal::bad_request("Only sha256 names the bytes of a file."));
    }
    let (path, sha256) = (file.path, file.oid.parse()?);
    Ok(match file.size {
        Some(size) => Change::Add(FileSpec { path, sha256, size }),
        None => Change::Link { path, sha256 },
    })
}

fn parse_value<T: serde::de::DeserializeOwned>(value: Value) -> Answer<T> {
    serde_json::from_value(value).map_err(|error| Refusal::bad_request(format!("A line does not parse: {error}.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(text: &str) -> Answer<ChangeSet> {
        let body = futures::stream::iter([Ok(Bytes::from(text.to_owned()))]);
        read_changes("main".into(), body).await
    }

    const HEADER: &str = r#"{"key":"header","value":{"summary":"s","description":"d"}}"#;

    #[actix_web::test]
    async fn every_change_that_clients_make_is_read() {
        let oid = "0".repeat(64);
        let text = [
            HEADER.to_owned(),
            r#"{"key":"file","value":{"path":"a","content":"aGk=","encoding":"base64"}}"#.to_owned(),
            format!(r#"{{"key":"lfsFile","value":{{"path":"b","algo":"sha256","oid":"{oid}","size":3}}}}"#),
            format!(r#"{{"key":"lfsFile","value":{{"path":"c","algo":"sha256","oid":"{oid}"}}}}"#),
            r#"{"key":"deletedFile","value":{"path":"d"}}"#.to_owned(),
            r#"{"key":"deletedFolder","value":{"path":"e/"}}"#.to_owned(),
        ];
        let set = read(&text.join("\n")).await.unwrap();
        assert_eq!((set.message.as_str(), set.expected), ("s\n\nd", Expected::Any));
        let [
            Change::Write(written),
            Change::Add(added),
            Change::Link { .. },
            Change::DeleteFile(_),
            Change::DeleteFolder(_),
        ] = set.changes.as_slice()
        else {
            panic!("{:?}", set.changes);
        };
        assert_eq!((written.spec.size, added.size), (2, 3));
    }

    #[actix_web::test]
    async fn a_commit_that_is_cut_or_shuffled_is_refused() {
        let file = r#"{"key":"deletedFile","value":{"path":"d"}}"#;
        let bad = [
            String::new(),
            HEADER.to_owned(),
            file.to_owned(),
            format!("{file}\n{HEADER}"),
            format!("{HEADER}\n{HEADER}\n{file}"),
            format!("{HEADER}\n{}", &file[..20]),
            format!("{HEADER}\n{}", file.replace("deletedFile", "surprise")),
            format!("{HEADER}\n{}", r#"{"key":"file","value":{"path":"a","content":"*","encoding":"base64"}}"#),
            format!("{HEADER}\n{}", r#"{"key":"file","value":{"path":"../a","content":"","encoding":"base64"}}"#),
            format!("{HEADER}\n{}", r#"{"key":"lfsFile","value":{"path":"a","algo":"sha256","oid":"00"}}"#),
        ];
        for text in bad {
            assert!(read(&text).await.is_err(), "{text}");
        }
    }
}
