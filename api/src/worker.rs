//! The worker: claims jobs, keeps their leases alive and runs the probe's child.
//!
//! `serve` runs workers beside the web server; `weighhouse worker` runs them alone. Any
//! number of processes share one queue. A shutdown stops the running probe and gives its job
//! back, so nothing waits for a lease to run out.

mod admission;
mod memory;

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use inference_probe::{Limits, ProbeRequest, Progress};
use registry_core::{Claim, Error, JobKinds, JobOutcome, Lease, ProbeTask, Registry};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use admission::Admission;

use crate::config::{Config, WorkerJobs};

/// The hidden verb that turns this binary into the probe's child.
pub const PROBE_VERB: &str = "probe-worker";

/// How often housekeeping looks for expired uploads and decisions.
const HOUSEKEEPING: Duration = Duration::from_mins(1);
/// Pause between batches of probes that a new engine makes again, and between looks for them.
const RENEWAL_PAUSE: Duration = Duration::from_mins(1);
const RENEWAL_REST: Duration = Duration::from_hours(1);
/// How often a running probe's progress is stored at most.
const PROGRESS_PAUSE: Duration = Duration::from_secs(1);
const SEQUENCER_PAUSE: Duration = Duration::from_millis(500);
const ACCESS_FLUSH_PAUSE: Duration = Duration::from_millis(250);

/// Tells everything that runs in the background to end.
pub type Shutdown = watch::Receiver<bool>;

/// What every worker of this process uses.
#[derive(Debug, Clone)]
struct Worker {
    registry: Registry,
    shutdown: Shutdown,
    claim: Claim,
    admission: Admission,
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
        claim: Claim {
            kinds: match config.worker.jobs {
                WorkerJobs::All => JobKinds::All,
                WorkerJobs::Probe => JobKinds::Probes,
                WorkerJobs::NoProbe => JobKinds::AllButProbes,
            },
            namespace_probes: config.probe.namespace_concurrency,
        },
        admission: Admission::new(config.probe.total_memory_bytes),
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
            match self.next_job().await {
                Ok(Some(lease)) => self.work(&lease).await,
                Ok(None) => self.rest().await,
                Err(error) => {
                    tracing::error!(%error, "jobs cannot be claimed");
                    self.rest().await;
                }
            }
        }
    }

    /// The next job, and no probe while one waits for memory.
    async fn next_job(&self) -> Result<Option<Lease>, Error> {
        let kinds = match self.claim.kinds {
            JobKinds::Probes if !self.admission.is_open() => return Ok(None),
            JobKinds::All if !self.admission.is_open() => JobKinds::AllButProbes,
            kinds => kinds,
        };
        self.registry.claim_job(Claim { kinds, ..self.claim }).await
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
        let (stop, progress) = (Arc::new(AtomicBool::new(false)), Arc::new(Progress::default()));
        let heartbeat = tokio::spawn(heartbeat(self.clone(), lease.clone(), stop.clone(), progress.clone()));
        let outcome = self.run_job(lease, &stop, &progress).await;
        heartbeat.abort();
        outcome
    }

    async fn run_job(
        &self,
        lease: &Lease,
        stop: &Arc<AtomicBool>,
        progress: &Arc<Progress>,
    ) -> Result<&'static str, Error> {
        let JobOutcome::Probe(task) = self.registry.run_job(lease).await? else { return Ok("done") };
        let needed = memory::estimate(&task, self.probe.limits.memory_bytes);
        let Some(_place) = self.admission.admit(needed) else {
            tracing::info!(job = lease.job_id, bytes = needed, "a probe waits for memory");
            return self.registry.release_job(lease).await.map(|()| "released");
        };
        let request = self.request(&task, stop.clone(), progress.clone()).await?;
        let report = tokio::task::spawn_blocking(move || inference_probe::run(&request)).await?;
        if stop.load(Ordering::SeqCst) {
            return self.registry.release_job(lease).await.map(|()| "released");
        }
        self.registry.finish_probe(lease, &task, report).await.map(|()| "done")
    }

    /// Opens the model's files for the child. Remote ones are staged into unlinked files first.
    async fn request(
        &self,
        task: &ProbeTask,
        stop: Arc<AtomicBool>,
        progress: Arc<Progress>,
    ) -> Result<ProbeRequest, Error> {
        Ok(ProbeRequest {
            executable: self.probe.executable.clone(),
            arguments: vec![PROBE_VERB.into()],
            files: self.open(&task.files).await?,
            base: self.open(&task.base).await?,
            limits: self.probe.limits,
            cancelled: Some(stop),
            progress: Some(progress),
        })
    }

    async fn open(&self, wanted: &[registry_core::ProbeFile]) -> Result<Vec<inference_probe::ProbeFile>, Error> {
        let mut files = Vec::with_capacity(wanted.len());
        for wanted in wanted {
            let file = match self.registry.local_file(&wanted.sha256).await? {
                Some(file) => file,
                None => self.stage(&wanted.sha256, wanted.size).await?,
            };
            files.push(inference_probe::ProbeFile { name: wanted.path.clone(), file });
        }
        Ok(files)
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

/// Renews the lease and tells how far a probe has come; on shutdown, or when the lease is lost, stops
/// the work.
async fn heartbeat(mut worker: Worker, lease: Lease, stop: Arc<AtomicBool>, progress: Arc<Progress>) {
    let (mut told, mut renewed) = (None, Instant::now());
    loop {
        tokio::select! {
            () = tokio::time::sleep(PROGRESS_PAUSE.min(worker.renew)) => {}
            _ = worker.shutdown.changed() => break,
        }
        let reached = progress.get();
        if reached == told && renewed.elapsed() < worker.renew {
            continue;
        }
        match worker.registry.renew_lease(&lease, reached).await {
            Ok(()) => (told, renewed) = (reached, Instant::now()),
            Err(error) => {
                tracing::warn!(job = lease.job_id, %error, "a lease was not renewed");
                if matches!(error, Error::LeaseLost) {
                    break;
                }
            }
        }
    }
    stop.store(true, Ordering::SeqCst);
}

/// Starts the audit sequencer, the flushing of the access log, the sweeper and what notices that the
/// engine is another one.
pub fn start_housekeeping(config: &Config, registry: &Registry, shutdown: &Shutdown) -> Vec<JoinHandle<()>> {
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
    let mut all = vec![sequencer, access, sweeper];
    if config.probe.reprobe_on_upgrade {
        all.push(tokio::spawn(renew_probes(registry.clone(), shutdown.clone())));
    }
    all
}

/// Has heads probed again whose report another version of the engine made, a batch at a time.
async fn renew_probes(registry: Registry, mut shutdown: Shutdown) {
    while !*shutdown.borrow() {
        let pause = match registry.renew_outdated_probes().await {
            Ok(0) => RENEWAL_REST,
            Ok(heads) => {
                tracing::info!(heads, "reports of another version of the engine are made again");
                RENEWAL_PAUSE
            }
            Err(error) => {
                tracing::error!(%error, "outdated reports cannot be found");
                RENEWAL_PAUSE
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = shutdown.changed() => {}
        }
    }
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
