//! `serve` and `worker`: opening the registry and ending in order.

use std::io::IsTerminal;
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web;
use clap::Args;
use registry_core::{Opening, Registry, S3Settings, Settings, Storage};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;
use verifier::policy::Policy;

use super::output::{self, CliError};
use super::{keys, license};
use crate::config::{self, Config, ConfigArguments, Loaded, LogFormat, WorkerJobs};
use crate::server::{self, State};
use crate::worker;

/// Largest key, policy or policy data file, in bytes.
const MAX_SMALL_FILE: u64 = 1 << 20;

/// Runs the server until a signal.
pub(super) fn serve(arguments: &ConfigArguments) -> Result<ExitCode, CliError> {
    let mut config = start_process(arguments)?;
    let listener = listen(&mut config.server)?;
    runtime()?.block_on(async {
        let registry = open(&config).await?;
        announce(&config, &registry).await?;
        let (stop, shutdown) = watch::channel(false);
        let mut background = worker::start_housekeeping(&config, &registry, &shutdown);
        if config.worker.enabled {
            background.extend(worker::start(&config, &registry, &shutdown)?);
        }
        let state = web::Data::new(State {
            registry,
            anonymous_read: config.server.anonymous_read,
            public_url: config.server.public_url.clone(),
            trusted_proxies: config.server.trusted_proxies.clone(),
            multipart_bytes: config.upload.multipart_bytes,
            xet_download_bytes: config.server.xet_download_bytes,
            metrics: server::init_metrics().map_err(|error| CliError::Usage(error.to_string()))?,
            silence: Duration::from_secs(config.server.silence_seconds),
        });
        let server = server::start(&config, state, listener)?;
        let handle = server.handle();
        let serving = tokio::spawn(server);
        termination().await?;
        tracing::info!("stopping: no new requests, running ones are finished");
        handle.stop(true).await;
        end(&stop, background).await;
        serving.await.map_err(|error| CliError::Usage(error.to_string()))??;
        Ok(ExitCode::SUCCESS)
    })
}

/// Binds the address. Where any free port will do, the configuration learns which one it is.
fn listen(server: &mut config::Server) -> Result<TcpListener, CliError> {
    let failed = |error| CliError::Io(format!("cannot listen on {}", server.listen), error);
    let listener = TcpListener::bind(server.listen).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    if server.public_url == format!("http://{}", server.listen) {
        server.public_url = format!("http://{address}");
    }
    server.listen = address;
    Ok(listener)
}

/// Workers without a server.
#[derive(Debug, Args)]
pub(super) struct Worker {
    /// Run probes alone; the same as `--set worker.jobs=probe`
    #[arg(long, conflicts_with = "no_probe")]
    probe: bool,
    /// Run everything but probes; the same as `--set worker.jobs=no-probe`
    #[arg(long)]
    no_probe: bool,
    #[command(flatten)]
    config: ConfigArguments,
}

/// Runs workers alone until a signal.
pub(super) fn worker(arguments: &Worker) -> Result<ExitCode, CliError> {
    let mut config = start_process(&arguments.config)?;
    if arguments.probe {
        config.worker.jobs = WorkerJobs::Probe;
    } else if arguments.no_probe {
        config.worker.jobs = WorkerJobs::NoProbe;
    }
    runtime()?.block_on(async {
        let registry = open(&config).await?;
        let (stop, shutdown) = watch::channel(false);
        let mut background = worker::start_housekeeping(&config, &registry, &shutdown);
        background.extend(worker::start(&config, &registry, &shutdown)?);
        tracing::info!("working");
        termination().await?;
        end(&stop, background).await;
        Ok(ExitCode::SUCCESS)
    })
}

/// Tells everything in the background to end and waits for it: jobs are given back and the
/// last events are sequenced.
async fn end(stop: &watch::Sender<bool>, background: Vec<tokio::task::JoinHandle<()>>) {
    stop.send_replace(true);
    for task in background {
        if let Err(error) = task.await {
            tracing::error!(%error, "background work ended badly");
        }
    }
    tracing::info!("stopped");
}

fn start_process(arguments: &ConfigArguments) -> Result<Config, CliError> {
    let config = Loaded::read(arguments)?.config;
    init_log(&config.log);
    // Libraries that speak TLS must find one provider, whichever is asked first.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        tracing::debug!("a TLS provider was installed already");
    }
    Ok(config)
}

fn init_log(log: &config::Log) {
    let filter = EnvFilter::try_new(&log.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match log.format {
        LogFormat::Json => builder.json().flatten_event(true).init(),
        LogFormat::Text => builder.with_target(false).with_ansi(std::io::stderr().is_terminal()).init(),
    }
}

pub(super) fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::Io("cannot start".into(), error))
}

async fn termination() -> Result<(), CliError> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).map_err(|error| CliError::Io("cannot listen for signals".into(), error));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Prints the address and, on an empty registry, the first administrator's token.
async fn announce(config: &Config, registry: &Registry) -> Result<(), CliError> {
    if let Some(issued) = registry.first_admin_token().await? {
        output::text(&format!("First administrator's token, shown this once: {}\n", issued.secret))?;
    }
    output::text(&format!("Weighhouse listens on {}\n", config.server.public_url))
}

/// Opens the registry that the configuration describes.
pub(super) async fn open(config: &Config) -> Result<Registry, CliError> {
    fs_err::create_dir_all(&config.data_dir)
        .map_err(|error| CliError::Io("cannot use the data folder".into(), error))?;
    let opening = Opening {
        database_url: config.database.url.expose().to_owned(),
        storage: storage(config),
        keys: keys::load(config).await?,
        policy: policy(config)?,
        settings: settings(config)?,
    };
    Ok(Registry::open(opening).await?)
}

fn storage(config: &Config) -> Storage {
    match &config.storage {
        config::Storage::Local => Storage::Local(config.data_dir.join("objects")),
        config::Storage::S3(s3) => Storage::S3(S3Settings {
            bucket: s3.bucket.clone(),
            region: s3.region.clone(),
            endpoint: s3.endpoint.clone(),
            access_key_id: s3.credentials.as_ref().map(|(id, _)| id.clone()),
            secret_access_key: s3.credentials.as_ref().map(|(_, secret)| secret.expose().to_owned()),
            allow_http: s3.allow_http,
            prefix: s3.prefix.clone(),
        }),
    }
}

fn settings(config: &Config) -> Result<Settings, CliError> {
    let hours = i64::try_from(config.upload.session_ttl_hours).unwrap_or(i64::MAX / 3_600_000);
    let days = i64::try_from(config.xet.xorb_grace_days).unwrap_or(i64::MAX / 86_400_000);
    let lease = i64::try_from(config.worker.lease_seconds).unwrap_or(i64::MAX / 1000);
    let limits = worker::limits(config);
    Ok(Settings {
        default_environment: config.server.environment.clone(),
        max_file_bytes: config.upload.max_file_bytes,
        upload_session_ttl_ms: hours.saturating_mul(3_600_000),
        xet_xorb_grace_ms: days.saturating_mul(86_400_000),
        lease_ms: lease.saturating_mul(1000),
        trust: super::trust::settings(config)?,
        catalog: Arc::new(license::catalog(config.license.catalog_dir.as_deref())?),
        probe_version: inference_probe::VERSION.to_owned(),
        probe_configuration: format!("memory={} wall={}", limits.memory_bytes, limits.wall.as_secs()),
    })
}

fn policy(config: &Config) -> Result<Policy, CliError> {
    let unusable = |error| CliError::Usage(format!("the policy is not usable: {error}"));
    let Some(folder) = &config.gate.policy_dir else { return Policy::standard().map_err(unusable) };
    let text = |name: &str| -> Result<String, CliError> {
        Ok(String::from_utf8_lossy(&output::read_small(&folder.join(name), MAX_SMALL_FILE)?).into_owned())
    };
    Policy::compile(&text("policy.rego")?, &text("data.json")?).map_err(unusable)
}
