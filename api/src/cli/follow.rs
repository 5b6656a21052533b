//! Follows a revision through the pipeline until it is judged.

use std::time::{Duration, Instant};

use registry_core::{ModelName, StageState};
use serde::Serialize;
use verifier::evidence::Stage;
use verifier::policy::Use;

use super::client::Client;
use super::output::{CliError, note};
use super::progress::StatusLine;
use super::summary::gist;
use super::target::model_path;
use super::units::duration;
use crate::v1::wire::{GateAnswer, GateRequest, RevisionDetail, Server, StageStatus};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What the registry found, and what each environment makes of it.
#[derive(Debug, Serialize)]
pub(super) struct Judgement {
    pub(super) revision: RevisionDetail,
    pub(super) decisions: Vec<GateAnswer>,
}

/// Waits until every stage has come to its end, telling each change, and asks the gate.
pub(super) async fn judgement(
    client: &Client,
    model: &ModelName,
    commit: &str,
    limit: Duration,
) -> Result<Judgement, CliError> {
    let started = Instant::now();
    let mut seen: Vec<StageState> = Vec::new();
    let mut pause = FIRST_PAUSE;
    let mut line = StatusLine::default();
    loop {
        let revision: RevisionDetail = client.get(&model_path(model, &["revisions", commit])).await?;
        line.clear();
        seen = tell_changes(&seen, &revision.stages, started.elapsed());
        show_progress(&mut line, &revision.stages);
        if revision.settled || is_stuck(&revision.stages) {
            let decisions = decisions(client, model, commit).await?;
            return Ok(Judgement { revision, decisions });
        }
        if started.elapsed() >= limit {
            return Err(CliError::Protocol(format!(
                "{model} is not judged after {} s; is a worker running?",
                limit.as_secs()
            )));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Says what is different from before; returns the states for the next comparison.
fn tell_changes(before: &[StageState], stages: &[StageStatus], elapsed: Duration) -> Vec<StageState> {
    let milliseconds = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    for (index, status) in stages.iter().enumerate() {
        let is_new = before.get(index) != Some(&status.state);
        if is_new && !matches!(status.state, StageState::Waiting | StageState::Pending) {
            note(&format!("  {:>8}  {:<10}  {}", duration(milliseconds), status.stage.as_str(), gist(status)));
        }
    }
    stages.iter().map(|status| status.state).collect()
}

/// How far the stage has come that says so.
fn show_progress(line: &mut StatusLine, stages: &[StageStatus]) {
    let reached = stages.iter().find_map(|status| Some((status.stage, status.progress.as_ref()?)));
    if let Some((stage, reached)) = reached {
        line.show(&format!("            {:<10}  {}", stage.as_str(), reached.level), reached.percent);
    }
}

/// Behind a dead inspection the other stages wait for a person.
fn is_stuck(stages: &[StageStatus]) -> bool {
    stages.iter().any(|status| status.stage == Stage::Inspect && status.state == StageState::Dead)
}

async fn decisions(client: &Client, model: &ModelName, commit: &str) -> Result<Vec<GateAnswer>, CliError> {
    let server: Server = client.get(&["server"]).await?;
    let mut answers = Vec::with_capacity(server.environments.len());
    for environment in server.environments {
        let question = GateRequest {
            model: Some(format!("{model}@{commit}")),
            content_digest: None,
            environment: Some(environment),
            r#use: Use::default(),
        };
        answers.push(client.post(&["gate"], &question).await?);
    }
    Ok(answers)
}
