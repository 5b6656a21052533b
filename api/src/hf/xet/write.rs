//! Uploading: xorbs, then the shard that says how files consist of them.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::rt::task::JoinHandle;
use actix_web::{HttpResponse, ResponseError, web};
use bytes::Bytes;
use futures::StreamExt;
use registry_core::{Error, ShardOutcome, ShardProgress};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::super::refusal::Answer;
use super::super::{Data, read_body};
use super::HashPath;
use super::actor::XetActor;
use crate::server::problem::Failure;

/// Largest shard, in bytes; the core has the same limit.
const MAX_SHARD_BYTES: usize = 64 << 20;
/// How long a shard may take before its progress is streamed. Until then a refusal is an
/// ordinary answer with its own status.
const QUICK: Duration = Duration::from_secs(1);
/// Time between two lines of progress. Clients give up after a minute of silence.
const PROGRESS_PAUSE: Duration = Duration::from_secs(2);

/// Tells a client that the namespace has the xorb already. There is no other way to upload than
/// through this server, so otherwise nothing is granted.
pub(super) async fn grant_upload(state: Data, actor: XetActor, path: web::Path<HashPath>) -> Answer {
    actor.require_write()?;
    if state.registry.has_xorb(&actor.caller, &actor.model.namespace, path.hash()?).await? {
        return Ok(HttpResponse::Ok().finish());
    }
    Ok(HttpResponse::NotFound().finish())
}

pub(super) async fn put_xorb(state: Data, actor: XetActor, path: web::Path<HashPath>, body: web::Payload) -> Answer {
    actor.require_write()?;
    let body = body.map(|piece| piece.map_err(io::Error::other));
    let inserted = state.registry.put_xorb(&actor.caller, &actor.model.namespace, path.hash()?, body).await?;
    Ok(HttpResponse::Ok().json(json!({ "was_inserted": inserted })))
}

pub(super) async fn put_shard(state: Data, actor: XetActor, body: web::Payload) -> Answer {
    actor.require_write()?;
    let shard = read_body(body, MAX_SHARD_BYTES).await?;
    let outcome = state.registry.put_shard(&actor.caller, &actor.model.namespace, shard, |_| {}).await?;
    let result = match outcome {
        ShardOutcome::Present => 0,
        ShardOutcome::Recorded => 1,
    };
    Ok(HttpResponse::Ok().json(json!({ "result": result })))
}

/// As [`put_shard`], with lines of progress: reading all bytes of a large file again takes
/// longer than a client waits for an answer.
pub(super) async fn put_shard_with_progress(state: Data, actor: XetActor, body: web::Payload) -> Answer {
    actor.require_write()?;
    let shard = read_body(body, MAX_SHARD_BYTES).await?;
    let (sender, progress) = watch::channel(ShardProgress::default());
    let registry = state.registry.clone();
    // A task of its own: if the client gives up, its next attempt finds the files recorded.
    let mut work = actix_web::rt::spawn(async move {
        let note = |progress| {
            sender.send_replace(progress);
        };
        registry.put_shard(&actor.caller, &actor.model.namespace, shard, note).await
    });
    let answer = match tokio::time::timeout(QUICK, &mut work).await {
        Ok(outcome) => {
            outcome.map_err(Error::from)??;
            HttpResponse::Ok().content_type("application/x-ndjson").body(line(&json!({ "type": "result" })))
        }
        Err(_) => HttpResponse::Ok().content_type("application/x-ndjson").streaming(lines(work, progress)),
    };
    Ok(answer)
}

type Work = JoinHandle<Result<ShardOutcome, Error>>;

/// Progress until the work is done, then its result.
fn lines(
    work: Work,
    progress: watch::Receiver<ShardProgress>,
) -> impl futures::Stream<Item = Result<Bytes, Infallible>> + 'static {
    futures::stream::unfold(Some((work, progress)), |state| async move {
        let (mut work, progress) = state?;
        if let Ok(outcome) = tokio::time::timeout(PROGRESS_PAUSE, &mut work).await {
            return Some((Ok(line(&last_event(outcome.map_err(Error::from).flatten()))), None));
        }
        let ShardProgress { verified, total } = *progress.borrow();
        let event = json!({ "type": "validating", "verified": verified, "total": total });
        Some((Ok(line(&event)), Some((work, progress))))
    })
}

/// The status has been sent, so a refusal is a line.
fn last_event(outcome: Result<ShardOutcome, Error>) -> Value {
    match outcome {
        Ok(_) => json!({ "type": "result" }),
        Err(error) => {
            let failure = Failure::Core(error);
            let status = failure.status_code();
            let retryable = status.is_server_error() || status == StatusCode::CONFLICT;
            json!({ "type": "error", "message": failure.problem().detail, "retryable": retryable })
        }
    }
}

fn line(event: &Value) -> Bytes {
    format!("{event}\n").into()
}
