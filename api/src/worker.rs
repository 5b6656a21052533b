//! The worker: claims jobs, keeps their leases alive and runs the probe's child.
//!
//! `serve` runs workers beside the web server; `weighhouse worker` runs them alone. Any
//! number of processes share one queue. A shutdown stops the running probe and gives its job
//! back, so nothing waits for a lease to run out.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use inference_probe::{Limits, ProbeRequest};
use registry_core::{Error, JobOutcome, Lease, ProbeTask, Registry};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::Config;

/// The hidden verb that turns this binary into the probe's child.
pub const PROBE_VERB: &str = "probe-worker";

/// How often housekeeping looks for expired uploads and decisions.
const HOUSEKEEPING: Duration = Duration::from_mins(1);
const SEQUENCER_PAUSE: Duration = Duration::from_millis(500);
const ACCESS_FLUSH_PAUSE: Duration = Duration::from_millis(250);

/// Tells everything that runs in the background to end.
pub type Shutdown = watch::Receiver<bool>;

/// What every worker of this process uses.
#[derive(Debug, Clone)]
struct Worker {
    registry: Registry,
    shutdown: Shutdown,
    poll: Duration,
    renew: Duration,
    probe: ProbeSetup,
}

/// How probes are started here.
#[derive(Debug, Clone)]
struct ProbeSetup {
    executable: PathBuf,
    limits: Limits,
    scratch: PathBuf,
}

/// Starts the configured number of workers.
pub fn start(config: &Config, registry: &Registry, shutdown: &Shutdown) -> std::io::Result<Vec<JoinHandle<()>>> {
    let worker = Worker {
        registry: registry.clone(),
        shutdown: shutdown.clone(),
        poll: Duration::from_millis(config.worker.poll_milliseconds),
        renew: Duration::from_secs(config.worker.lease_seconds) / 3,
        probe: ProbeSetup {
            executable: std::env::current_exe()?,
            limits: limits(config),
            scratch: config.data_dir.join("scratch"),
        },
    };
    fs_err::create_dir_all(&worker.probe.scratch)?;
    Ok((0..config.worker.concurrency).map(|_| tokio::spawn(worker.clone().run())).collect())
}

/// The limits that the configuration sets for probes.
pub fn limits(config: &Config) -> Limits {
    Limits {
        memory_bytes: config.probe.memory_limit_bytes,
        wall: Duration::from_secs(config.probe.wall_limit_seconds),
        threads: config.probe.threads,
    }
}

impl Worker {
    async fn run(mut self) {
        while !*self.shutdown.borrow() {
            match self.registry.claim_job().await {
                Ok(Some(lease)) => self.work(&lease).await,
                Ok(None) => self.rest().await,
                Err(error) => {
                    tracing::error!(%error, "jobs cannot be claimed");
                    self.rest().await;
                }
            }
        }
    }

    async fn rest(&mut self) {
        let poll = self.poll;
        tokio::select! {
            () = tokio::time::sleep(poll) => {}
            _ = self.shutdown.changed() => {}
        }
    }

    async fn work(&self, lease: &Lease) {
        let outcome = self.complete(lease).await;
        let result = match &outcome {
            Ok(ending) => ending,
            Err(Error::LeaseLost) => "lost",
            Err(_) => "failed",
        };
        metrics::counter!("weighhouse_jobs_total", "result" => result).increment(1);
        if let Err(error) = outcome {
            self.report_failure(lease, &error).await;
        }
    }

    async fn report_failure(&self, lease: &Lease, error: &Error) {
        tracing::warn!(job = lease.job_id, attempt = lease.attempt, %error, "a job failed");
        if matches!(error, Error::LeaseLost) {
            return;
        }
        if let Err(second) = self.registry.fail_job(lease, &error.to_string()).await {
            tracing::error!(job = lease.job_id, error = %second, "the failure could not be recorded");
        }
    }

    /// Keeps the lease alive around the job; says how it ended.
    async fn complete(&self, lease: &Lease) -> Result<&'static str, Error> {
        let stop = Arc::new(AtomicBool::new(false));
        let heartbeat = tokio::spawn(heartbeat(self.clone(), lease.clone(), stop.clone()));
        let outcome = self.run_job(lease, &stop).await;
        heartbeat.abort();
        outcome
    }

    async fn run_job(&self, lease: &Lease, stop: &Arc<AtomicBool>) -> Result<&'static str, Error> {
        let JobOutcome::Probe(task) = self.registry.run_job(lease).await? else { return Ok("done") };
        let request = self.request(&task, stop.clone()).await?;
        let report = tokio::task::spawn_blocking(move || inference_probe::run(&request)).await?;
        if stop.load(Ordering::SeqCst) {
            return self.registry.release_job(lease).await.map(|()| "released");
        }
        self.registry.finish_probe(lease, &task, report).await.map(|()| "done")
    }

    /// Opens the model's files for the child. Remote ones are staged into unlinked files first.
    async fn request(&self, task: &ProbeTask, stop: Arc<AtomicBool>) -> Result<ProbeRequest, Error> {
        let mut files = Vec::with_capacity(task.files.len());
        for wanted in &task.files {
            let file = match self.registry.local_file(&wanted.sha256).await? {
                Some(file) => file,
                None => self.stage(&wanted.sha256, wanted.size).await?,
            };
            files.push(inference_probe::ProbeFile { name: wanted.path.clone(), file });
        }
        Ok(ProbeRequest {
            executable: self.probe.executable.clone(),
            arguments: vec![PROBE_VERB.into()],
            files,
            limits: self.probe.limits,
            base: Vec::new(),
            cancelled: Some(stop),
            progress: None,
        })
    }

    async fn stage(&self, digest: &registry_core::Sha256Digest, size: u64) -> Result<File, Error> {
        use futures::StreamExt;
        use tokio::io::AsyncWriteExt;
        let scratch = tempfile::tempfile_in(&self.probe.scratch)?;
        let mut writer = tokio::fs::File::from_std(scratch);
        let range = registry_core::ByteRange { start: 0, end: size };
        let mut stream = self.registry.stream_blob(digest, range).await?;
        while let Some(chunk) = stream.next().await {
            writer.write_all(&chunk?).await?;
        }
        writer.flush().await?;
        Ok(writer.into_std().await)
    }
}

/// Renews the lease; on shutdown, or when the lease is lost, stops the work.
async fn heartbeat(mut worker: Worker, lease: Lease, stop: Arc<AtomicBool>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(worker.renew) => {
                if let Err(error) = worker.registry.renew_lease(&lease).await {
                    tracing::warn!(job = lease.job_id, %error, "a lease was not renewed");
                    if matches!(error, Error::LeaseLost) {
                        break;
                    }
                }
            }
            _ = worker.shutdown.changed() => break,
        }
    }
    stop.store(true, Ordering::SeqCst);
}

/// Starts the audit sequencer, the flushing of the access log and the sweeper.
pub fn start_housekeeping(registry: &Registry, shutdown: &Shutdown) -> Vec<JoinHandle<()>> {
    let holder = uuid::Uuid::new_v4().to_string();
    let sequencer = repeat(SEQUENCER_PAUSE, registry, shutdown, "sequencing", move |registry| {
        let holder = holder.clone();
        async move { registry.sequence_audit_log(&holder).await.map(|_| ()) }
    });
    let access = repeat(ACCESS_FLUSH_PAUSE, registry, shutdown, "access log", |registry| async move {
        registry.flush_access_log().await.map(|_| ())
    });
    let sweeper = repeat(HOUSEKEEPING, registry, shutdown, "housekeeping", |registry| async move {
        registry.sweep_uploads().await?;
        registry.renew_expired_decisions().await.map(|_| ())
    });
    vec![sequencer, access, sweeper]
}

/// Runs `task` again and again, and one last time at shutdown.
fn repeat<F, T>(
    pause: Duration,
    registry: &Registry,
    shutdown: &Shutdown,
    name: &'static str,
    task: T,
) -> JoinHandle<()>
where
    T: Fn(Registry) -> F + Send + 'static,
    F: Future<Output = Result<(), Error>> + Send,
{
    let (registry, mut shutdown) = (registry.clone(), shutdown.clone());
    tokio::spawn(async move {
        loop {
            if let Err(error) = task(registry.clone()).await {
                tracing::error!(%error, name, "background work failed");
            }
            if *shutdown.borrow() {
                break;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = shutdown.changed() => {}
            }
        }
    })
}
